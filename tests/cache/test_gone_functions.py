"""`purge` takes what a backend knows of functions that nobody uses any more, and only that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from memocache import Cache
from memocache.backends.memory import MemoryBackend
from memocache.testing import FakeClock
from memocache.testing.servers import Server

DAY = 86_400.0


@pytest.fixture(params=["object", "disk", "server"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """What `Cache` takes for each kind of shared backend."""
    if request.param == "server":
        server: Server = request.getfixturevalue("valkey")
        return server.url
    return MemoryBackend() if request.param == "object" else f"disk://{tmp_path}"


def keys_of(cache: Cache, *names: str) -> list[str]:
    """The keys in the backend that speak of these names."""
    backend: Any = cache.backend
    found: list[str] = []
    cursor = None
    while True:
        cursor, keys = backend.scan("memo:", cursor)
        found += keys
        if cursor is None:
            return [key for key in found if any(key.endswith(f":{name}") for name in names)]


def known(cache: Cache) -> set[str]:
    """Which of the names of this test a pattern finds."""
    names = ("gone.0", "gone.1", "alive", "recent", "here")
    return {name for name in names if cache.invalidate(f"{name}*")}


def test_functions_that_are_gone_leave_nothing(backend: Any) -> None:
    """Names, markers and figures of functions without entries go a month after their last call; those with entries,
    called since, or defined here stay.
    """
    clock = FakeClock()
    with Cache(backend, clock=clock) as elsewhere:
        for name, ttl in (("gone.0", 10), ("gone.1", None), ("alive", None), ("recent", 10)):
            assert elsewhere.cached(name=name, ttl=ttl)(lambda x: x)(1) == 1
        elsewhere.invalidate("gone.1")
    with Cache(backend, clock=clock) as cache:
        assert (here := cache.cached(name="here", ttl=10)(lambda x: x))(1) == 1
        clock.advance(20 * DAY)
        with Cache(backend, clock=clock) as elsewhere:
            assert elsewhere.cached(name="recent", ttl=10)(lambda x: x)(2) == 2
        cache.purge(unused=None)
        assert cache.purge() == 0
        assert keys_of(cache, "gone.0", "gone.1"), "nobody used them for 20 days only"
        clock.advance(11 * DAY)
        cache.purge()
        assert keys_of(cache, "gone.0", "gone.1") == []
        assert len(keys_of(cache, "f:alive", "f:recent", "f:here")) >= 3
        assert known(cache) == {"alive", "recent", "here"}
        assert here.cache_info().misses == 1


def test_a_function_that_is_used_after_all_is_known_again(backend: Any) -> None:
    """One whose name was taken computes, stores, and is found by a pattern as before."""
    clock = FakeClock()
    with Cache(backend, clock=clock) as cache, Cache(backend, clock=clock) as other:
        calls: list[int] = []
        f = other.cached(name="gone.0", ttl=10)(lambda x: calls.append(x))
        f(1)
        clock.advance(40 * DAY)
        cache.purge()
        assert keys_of(cache, "gone.0") == []
        f(1)
        f(1)
        assert calls == [1, 1]
        assert known(cache) == {"gone.0"}
        f(1)
        assert calls == [1, 1, 1]


def test_how_long_is_a_duration() -> None:
    """Anything else is refused by name."""
    with Cache() as cache, pytest.raises(ValueError, match="unused: 0 is not a duration"):
        cache.purge(unused=0)
