"""`Cache.keys_page` and `Cache.breaker`: keys in bounded steps, and who is left alone, without asking."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from memocache import Cache
from memocache.backends.memory import MemoryBackend
from memocache.exceptions import ConfigurationError
from memocache.testing import FailingBackend, FakeClock
from tests.promises.behaviour.world import World
from tests.promises.statistics import conftest as fewer

world = fewer.world  # fixtures of fewer kinds


def pages(world: World, function: Any = None, limit: int = 100) -> list[list[str]]:
    """All pages, each cursor through JSON."""
    found, cursor = [], None
    while True:
        keys, cursor = world.ask("keys_page", function, cursor, limit)
        found.append(keys)
        if cursor is None:
            return found
        cursor = json.loads(json.dumps(cursor))


@pytest.mark.parametrize("limit", [1, 7, 100, 1000])
def test_pages_are_the_keys(world: World, limit: int) -> None:
    """The pages hold, in all, the keys that `keys` gives, of all or of one function, and none is longer than asked."""
    f, g = (world.cached(lambda n: n, name=name) for name in ("f", "fg"))
    world.run(f.map(range(23)))
    world.run(g.map(range(5)))
    world.ask("set", "plain", 1)
    for function in (None, f, "f", "fg", "nobody"):
        found = pages(world, function, limit)
        assert all(len(page) <= limit for page in found)
        assert {key for page in found for key in page} == set(world.ask("keys", function))


def test_dead_entries_are_on_no_page(world: World) -> None:
    """What expired or was removed, also between two pages, is left out."""
    f = world.cached(lambda n: n, name="f", ttl=10)
    world.run(f.map(range(5)))
    world.clock.advance(11)
    world.run(f.map(range(5, 15)))
    first = world.ask("keys_page", "f", None, 4)
    assert len(first.keys) == 4
    world.call(f.invalidate_all)
    keys, cursor = [], first.cursor
    while cursor is not None:
        more, cursor = world.ask("keys_page", "f", cursor, 4)
        keys += more
    assert keys == []


def test_a_page_can_be_asked_for_again(world: World) -> None:
    """A cursor stays good: the same page comes again, as a browser's way back needs it."""
    f = world.cached(lambda n: n, name="f")
    world.run(f.map(range(20)))
    cursor = world.ask("keys_page", "f", None, 6).cursor
    once, again = (world.ask("keys_page", "f", cursor, 6).keys for _ in range(2))
    assert once == again
    assert len(once) == 6


@pytest.mark.parametrize("cursor", ["", "junk", "0"])
def test_cursors_that_are_not_known_are_refused(world: World, cursor: str) -> None:
    """A cursor of another cache, of other keys, forgotten or made up, is refused; so is a limit that makes no sense."""
    f = world.cached(lambda n: n, name="f")
    world.run(f.map(range(5)))
    mine = world.ask("keys_page", "f", None, 2).cursor
    for wrong, function in ((cursor, "f"), (mine, None)):
        with pytest.raises(ConfigurationError, match="cursor="):
            world.ask("keys_page", function, wrong, 2)
    for limit in (0, -1, 1001, 1.5, True):
        with pytest.raises(ConfigurationError, match="limit="):
            world.ask("keys_page", "f", None, limit)


def test_old_cursors_are_forgotten(local: World) -> None:
    """Only the last pages' cursors are kept, so that leaving pages unread costs nothing."""
    f = local.cached(lambda n: n, name="f")
    local.run(f.map(range(5)))
    first = local.ask("keys_page", "f", None, 2).cursor
    for _ in range(60):
        local.ask("keys_page", "f", None, 2)
    assert len(local.cache._operations.pages._rests) == 50
    with pytest.raises(ConfigurationError, match="cursor="):
        local.ask("keys_page", "f", first, 2)


class Counted(MemoryBackend):
    """Counts what it is asked, and gives keys in small steps most of which hold none of a function's."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def scan(self, prefix: str, cursor: Any = None, *, timeout: float | None = None) -> tuple[Any, list[str]]:
        self.asked += 1
        at = cursor or 0
        return (at + 1 if at < 10_000 else None), []

    def read(self, keys: Sequence[str], *, timeout: float | None = None) -> list[bytes | None]:
        self.asked += 1
        return super().read(keys, timeout=timeout)


def test_a_page_takes_a_bounded_number_of_requests() -> None:
    """A scan that finds nothing for long ends the page, empty and with a cursor to go on from; so does a sample's."""
    backend = Counted()
    cache = Cache(backend, clock=FakeClock())
    keys, cursor = cache.keys_page("f")
    assert keys == []
    assert cursor is not None
    assert backend.asked <= 100
    assert cache.keys_page("f", cursor).cursor is not None
    cache.cached(name="f")(lambda n: n)(1)
    backend.asked = 0
    assert cache.details("f") is not None
    assert backend.asked <= 101
    cache.close()


def test_breakers() -> None:
    """A breaker is open or closed by the backend's kind; where the process is the only place there is none."""
    assert Cache().breaker() == {}
    backend = FailingBackend(MemoryBackend(), operations=["read"])
    cache = Cache(backend)
    assert cache.breaker() == {"failing": "closed"}
    f = cache.cached(name="f")(lambda n: n)
    for n in range(10):
        f(n)
    assert cache.breaker() == {"failing": "open"}
    cache.close()


def test_breakers_of_nodes() -> None:
    """In a cluster each node that is known has its own."""
    from memocache.backends._cluster.slots import SlotTable
    from memocache.backends.cluster import ClusterBackend

    cache = Cache("redis+cluster://127.0.0.1:1,127.0.0.1:2")
    assert cache.breaker() == {"cluster": "closed"}
    backend = cache.backend
    assert isinstance(backend, ClusterBackend)
    addresses = (("127.0.0.1", 1), ("127.0.0.1", 2))
    backend._router.table = SlotTable((addresses[0],) * 16384, addresses, frozenset())
    backend._router.node_at(addresses[1]).breaker.failed(0.0, timeout=True)
    assert cache.breaker() == {"cluster": "closed", "127.0.0.1:1": "closed", "127.0.0.1:2": "open"}
    cache.close()
