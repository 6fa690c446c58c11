"""Clients that cannot be loaded: a URL says what is missing, in one error."""

from __future__ import annotations

import sys

import pytest

from memocache import ConfigurationError
from memocache.backends._registry import make_backend


@pytest.mark.parametrize(
    "url", ["redis://h", "rediss://h", "unix:///s", "redis+cluster://h:1", "redis+sentinel://h:1/m"]
)
def test_a_client_that_cannot_be_loaded(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where hiredis has no build, or refuses a subinterpreter, one error says what to install."""
    for name in [name for name in sys.modules if name.startswith("memocache.backends.") or name == "hiredis"]:
        if name.rpartition(".")[2] not in ("_settings", "_registry", "base"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "hiredis", None)
    with pytest.raises(ConfigurationError, match=r"redis\[hiredis\]"):
        make_backend(url)


def test_a_browser_has_no_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under Pyodide a server's URL is refused in words."""
    monkeypatch.setattr(sys, "platform", "emscripten")
    with pytest.raises(ConfigurationError, match="sockets"):
        make_backend("redis://localhost")
