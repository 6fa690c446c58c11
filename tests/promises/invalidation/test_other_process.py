"""The matrix once more with a real other process that knows the functions by name only."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memocache import Cache
from memocache.testing.servers import Server, available_servers
from tests.promises.flight.support import until
from tests.promises.invalidation.support import FLIGHTS, NAME, Scene

COMMANDS: dict[str, dict[str, Any]] = {
    "name": {"do": "invalidate", "args": [NAME]},
    "glob": {"do": "invalidate", "args": ["*op.?"]},
    "tag": {"do": "invalidate", "kwargs": {"tag": "t:1"}},
    "clear": {"do": "clear"},
}


@pytest.fixture(scope="module")
def stranger(running_server: Callable[[str], Server]) -> Iterator[Callable[..., None]]:
    """A function that has the other process carry out one command, and returns when that has returned."""
    if not available_servers():
        pytest.skip("no server on this machine")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.promises.invalidation.worker", running_server(available_servers()[0]).url],
        cwd=Path(__file__).parents[3],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def tell(prefix: str, command: dict[str, Any]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"prefix": prefix, **command}) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == '"done"\n'

    yield tell
    process.stdin.close()
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("way", COMMANDS)
@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("flight", FLIGHTS)
def test_what_is_under_way_loses_to_another_process(
    valkey: Server, stranger: Callable[..., None], flight: str, colour: str, way: str
) -> None:
    """A call that begins after another process's invalidation computes anew, and nothing from before is stored."""

    def make_cache(**options: Any) -> Cache:
        return Cache(valkey.url, prefix="stranger", **options)

    scene = Scene(make_cache, flight, colour, elsewhere=False)
    try:
        old = scene.start_old()
        stranger("stranger", COMMANDS[way])
        later = scene.call()
        until(lambda: scene.body.calls[1] > old or scene.f.stats().coalesced or len(scene.cache._flights) > 1)
        scene.body.go.set()
        assert scene.serial(later) == old + 1
        assert scene.old is None or scene.serial(scene.old) == old
        until(scene.quiet)
        assert scene.serial(scene.call()) == old + 1
    finally:
        scene.close()
        scene.cache.close()
