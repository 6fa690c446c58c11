"""`purge` removes what is dead, only that, in bounded batches, and beside live traffic."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest

from memocache import MISSING, Cache
from memocache.backends.memory import MemoryBackend
from memocache.testing import FakeClock
from memocache.testing.servers import Server
from memocache.typing import Guard, Put
from tests.promises.behaviour.world import World
from tests.promises.flight.support import crowd
from tests.promises.invalidation.test_commands import Counted
from tests.promises.statistics import conftest as fewer

shared, world = fewer.shared, fewer.world  # fixtures of fewer kinds


def entries(world: World) -> set[str]:
    """The keys of entries, calls' and plain ones, that are physically in the backend."""
    return {key for key in world.keys_raw() if key.split(":")[1] in "ek"}


@pytest.mark.parametrize("cause", ["expired", "function", "tag", "glob", "plain tag", "clear"])
def test_it_removes_exactly_the_dead(world: World, cause: str) -> None:
    """Of 300 entries those that one cause killed go, whatever it was, and every other one stays and is served."""
    doomed = world.cached(lambda n: [n], name="shop.f", ttl=10, tags=("t",))
    live = world.cached(lambda n: [n], name="other", ttl=1000, tags=("t2",))
    world.call(doomed.map, range(100))
    world.ask("set_many", {f"k{n}": n for n in range(100)}, ttl=1000, tags=("plain",))
    world.call(live.map, range(100))
    kill: dict[str, Callable[[], Any]] = {
        "expired": lambda: world.clock.advance(10),
        "function": lambda: world.ask("invalidate", doomed),
        "tag": lambda: world.ask("invalidate", tag="t"),
        "glob": lambda: world.ask("invalidate", "shop.*"),
        "plain tag": lambda: world.ask("invalidate", tag="plain"),
        "clear": lambda: world.ask("clear"),
    }
    kill[cause]()
    stay = {f"k{n}" for n in range(100)} | {live.key_for(n) for n in range(100)}
    if cause == "plain tag":
        stay = {f.key_for(n) for n in range(100) for f in (doomed, live)}
    if cause == "clear":
        stay = set()
    there = 300
    if world.kind == "object" and cause == "expired":
        there = len(stay)  # this backend's own clock is the test's: they are gone already
    if world.kind == "memory" and cause in ("function", "glob", "clear"):
        there = len(stay)  # in the process these are gone as soon as they are invalidated
    seen: list[tuple[int, int]] = []
    gone = world.ask("purge", lambda looked, deleted: seen.append((looked, deleted)))
    assert set(world.ask("keys")) == stay
    assert gone == there - len(stay)
    if world.shared:
        assert entries(world) == {key if key.startswith("memo:") else f"memo:k:{key}" for key in stay}
        assert seen[-1][0] == there
    assert seen == sorted(seen)
    assert seen[-1][1] == gone
    assert world.ask("purge") == 0
    assert world.call(live.peek, 1) == ([1] if cause != "clear" else MISSING)


def test_what_is_kept_for_staleness_is_not_dead(world: World) -> None:
    """Past its ttl, an entry that may still be served stale stays; past that, it goes."""
    f = world.cached(lambda n: [n], name="f", ttl=10, stale=10)
    world.call(f, 1)
    world.clock.advance(15)
    assert world.ask("purge") == 0
    assert world.call(f.peek, 1) == [1]
    world.clock.advance(5)
    assert world.ask("purge") == (world.kind != "object")  # whose own clock is the test's
    assert world.call(f.peek, 1) is MISSING


def _kept_in_case_of_an_error(world: World) -> None:
    fail: list[int] = []

    def body(n: int) -> list[int]:
        if fail:
            raise LookupError
        return [n]

    f = world.cached(body, name="f", ttl=10, stale_if_error=100)
    world.call(f, 1)
    world.clock.advance(50)
    assert world.ask("purge") == 0
    fail.append(1)
    assert world.call(f, 1) == [1]


def test_what_is_kept_in_case_of_an_error_is_not_dead(local: World) -> None:
    """Past its ttl, an entry that stands in for an exception stays."""
    _kept_in_case_of_an_error(local)


def test_what_a_backend_keeps_in_case_of_an_error_is_not_dead(shared: World) -> None:
    """The same in a shared backend, where only the entry itself says how long it is kept."""
    _kept_in_case_of_an_error(shared)


def test_junk_is_dead(shared: World) -> None:
    """Bytes that no cache can read, where an entry should be, go; what is not an entry's key is nobody's business."""
    f = shared.cached(lambda n: [n], name="f")
    shared.call(f, 1)
    shared.write_raw(f.key_for(1), b"junk")
    shared.write_raw("memo:k:junk", b"")
    shared.write_raw("memox:e:f:00", b"somebody else's")
    assert shared.ask("purge") == 2
    assert shared.read_raw("memox:e:f:00") == b"somebody else's"
    assert entries(shared) == {"memox:e:f:00"}


def test_witnesses_markers_and_statistics_stay(shared: World) -> None:
    """Only entries are removed: a computation under way, the markers and the counters are left alone."""
    f = shared.cached(lambda n: [n], name="f")
    shared.call(f, 1)
    shared.call(f, 1)
    shared.ask("stats", "fleet")
    others = set(shared.keys_raw()) - entries(shared)
    shared.call(f.invalidate, 1)
    shared.ask("purge")
    assert set(shared.keys_raw()) >= {key for key in others if ":w:" not in key}


class Watched(MemoryBackend):
    """Remembers how much each request was about."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        super().__init__(monotonic)
        self.sizes: list[int] = []
        self.between: Callable[[Sequence[str]], None] | None = None

    def read(self, keys: Sequence[str], *, timeout: float | None = None) -> list[bytes | None]:
        self.sizes.append(len(keys))
        found = super().read(keys, timeout=timeout)
        if self.between is not None and len(keys) > 10:
            between, self.between = self.between, None
            between(keys)
        return found

    def transact(
        self, guards: Sequence[Guard], puts: Sequence[Put] = (), deletes: Sequence[str] = (), **options: Any
    ) -> list[bytes | None] | None:
        self.sizes.append(len(guards) + len(deletes))
        return super().transact(guards, puts, deletes, **options)


def test_batches_are_bounded() -> None:
    """Whatever there is, no request is about more than a few hundred keys, and progress is reported on the way."""
    clock = FakeClock()
    backend = Watched(clock.monotonic)
    cache = Cache(backend, clock=clock)
    cache.set_many({f"k{n}": n for n in range(5_000)}, tags=("t",))
    cache.set_many({f"l{n}": n for n in range(1_000)})
    cache.invalidate(tag="t")
    backend.sizes.clear()
    seen: list[int] = []
    assert cache.purge(lambda looked, deleted: seen.append(looked)) == 5_000
    assert max(backend.sizes) <= 300
    assert len(seen) >= 60
    assert max(later - earlier for earlier, later in pairwise(seen)) <= 100


def test_never_keys(valkey: Server) -> None:
    """On a server it scans: no KEYS, and no command that takes the server's time for long."""
    with Cache(valkey.url) as cache, valkey.client() as client:
        cache.set_many({f"k{n}": n for n in range(1_000)}, tags=("t",))
        cache.invalidate(tag="t")
        counted = Counted(client)
        assert cache.purge() == 1_000
        assert "keys" not in counted()
        assert "flushdb" not in counted()


def test_what_is_stored_between_look_and_deletion_stays() -> None:
    """An entry found dead that somebody stores anew before it is deleted is not deleted."""
    clock = FakeClock()
    backend = Watched(clock.monotonic)
    cache, other = Cache(backend, clock=clock), Cache(backend, clock=clock)
    cache.set_many({f"k{n}": n for n in range(50)}, tags=("t",))
    cache.invalidate(tag="t")
    backend.between = lambda keys: other.set("k7", "new")
    assert cache.purge() == 49
    assert cache.get("k7") == "new"
    assert list(cache.keys()) == ["k7"]


def test_it_is_safe_beside_live_traffic(valkey: Server) -> None:
    """While four threads store, invalidate and call, purging again and again deletes nothing that was alive."""
    stop = threading.Event()
    with Cache(valkey.url) as cache:
        f = cache.cached(name="f", tags=("n:{n}",))(lambda n: [n])

        def work(seed: int) -> None:
            if seed == 0:
                for _ in range(15):
                    cache.purge()
                stop.set()
                return
            at = 0
            while not stop.wait(0):
                at += 1
                key = f"{seed}:{at % 10}"
                cache.set(key, at, tags=(f"s:{seed}",))
                assert cache.get(key) == at, "alive, and gone"
                n = 1000 * seed + at % 10
                assert f(n) == [n]
                hits = f.peek(n)
                assert hits == [n], "alive, and gone"
                if at % 3 == 0:
                    cache.invalidate(tag=f"s:{seed}")
                    cache.invalidate(tag=f"n:{n}")

        results = crowd(5, work)
        assert results == [None] * 5
        cache.clear()
        cache.purge()
        with valkey.client() as client:
            assert list(client.scan_iter("memo:[ek]:*")) == []
