"""Every field of `CacheStats`, `FunctionStats` and `EntryInfo` is what happened, in the process and on a backend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import pytest

from memocache import Cache, UncacheableWarning
from memocache.backends.memory import MemoryBackend
from memocache.stats import CacheStats, EntryInfo, FunctionStats
from memocache.testing.servers import Server
from tests.promises.behaviour.world import World
from tests.promises.flight.support import Slow, crowd, join, start, until

SCOPES = ("process", "fleet")


def slow_function(world: World, **settings: Any) -> Any:
    """A function that takes two seconds of the world's clock."""

    def f(n: int) -> list[int]:
        world.clock.advance(2)
        return [n]

    return world.cached(f, name="f", **settings)


@pytest.mark.parametrize("scope", SCOPES)
def test_function_stats(world: World, scope: str) -> None:
    """Hits, misses, stores, seconds computing and saved; process and fleet agree."""
    f = slow_function(world, ttl=100)
    for n in (1, 2, 1, 1, 2, 1):
        world.call(f, n)
    figures = world.ask("stats", scope).functions["f"]
    held = 0 if world.shared else 2
    expected = FunctionStats("f", hits=4, misses=2, stores=2, compute_seconds=4.0, saved_seconds=8.0, currsize=held)
    assert figures == expected
    assert f.stats() == expected


def test_an_idle_function_has_zeroes(world: World) -> None:
    """Nothing called, nothing counted, nothing divided by zero."""
    f = slow_function(world)
    assert f.stats() == FunctionStats("f")


@pytest.mark.parametrize("scope", SCOPES)
def test_stale_hits(world: World, scope: str) -> None:
    """A stale hit is a hit; a value served in place of an error too, and its computation took time all the same."""
    fail: list[int] = []

    def f(n: int) -> int:
        world.clock.advance(2)
        if fail:
            raise LookupError
        return n

    g = world.cached(f, name="f", ttl=10, stale_if_error=100)
    world.call(g, 1)
    world.clock.advance(11)
    fail.append(1)
    assert world.call(g, 1) == 1
    figures = world.ask("stats", scope).functions["f"]
    assert (figures.hits, figures.misses, figures.stale_hits, figures.stores) == (1, 1, 1, 1)
    assert (figures.compute_seconds, figures.saved_seconds) == (4.0, 2.0)


@pytest.mark.parametrize("scope", SCOPES)
def test_rejected(shared: World, scope: str) -> None:
    """A result that the backend cannot hold is counted as rejected, and not as stored; so is one that is too large."""
    cache = shared.new_cache(max_value_bytes=100)
    f = shared.cached(lambda n: object() if n else "x" * 200, cache=cache, name="f")
    for n in (0, 1):
        with pytest.warns(UncacheableWarning) if not n else nullcontext():
            shared.call(f, n)
    figures = shared.ask("stats", scope, cache=cache).functions["f"]
    assert (figures.misses, figures.stores, figures.rejected, figures.hits) == (2, 0, 2, 0)


@pytest.mark.parametrize("scope", SCOPES)
def test_decode_errors(shared: World, scope: str) -> None:
    """Bytes that are no entry are counted once a look-up, as a miss, and overwritten."""
    f = shared.cached(lambda n: [n], name="f")
    shared.call(f, 1)
    shared.write_raw(f.key_for(1), b"junk")
    shared.call(f, 1)
    shared.call(f, 1)
    figures = shared.ask("stats", scope).functions["f"]
    assert (figures.hits, figures.misses, figures.stores) == (1, 2, 2)
    assert figures.decode_errors == 1


def test_coalesced() -> None:
    """Followers are misses, and counted as coalesced; there is one computation for all."""
    cache, slow = Cache(), Slow()

    @cache.cached(name="f")
    def f(n: int) -> int:
        return slow()

    callers = [start(lambda: f(1)) for _ in range(5)]
    until(lambda: f.stats().coalesced == 4)
    slow.go.set()
    join(*(thread for thread, _ in callers))
    figures = f.stats()
    assert (figures.hits, figures.misses, figures.coalesced, figures.stores) == (0, 5, 4, 1)


def test_backend_errors() -> None:
    """A request that failed is counted once; the call is a miss and has its value."""

    class Broken(MemoryBackend):
        def read(self, keys: Sequence[str], *, timeout: float | None = None) -> list[bytes | None]:
            raise OSError

    f = Cache(Broken()).cached(name="f")(lambda n: [n])
    assert f(1) == [1]
    figures = f.stats()
    assert (figures.hits, figures.misses, figures.stores, figures.backend_errors) == (0, 1, 0, 1)


@pytest.mark.parametrize("scope", SCOPES)
def test_cache_stats(world: World, scope: str) -> None:
    """Keys, rates, time remaining over the sample it says it took, and memory, of calls and plain keys together."""
    f = world.cached(lambda n: [n], name="f", ttl=100)
    g = world.cached(lambda n: [n], name="g", ttl=None)
    for n in (1, 2, 1):
        world.call(f, n)
    world.call(g, 1)
    world.ask("set", "k", "v", ttl=60)
    world.ask("get", "k")
    world.ask("get", "nothing")
    world.clock.advance(10)
    stats = world.ask("stats", scope)
    assert type(stats) is CacheStats
    assert stats.total_keys == 4
    assert (stats.hits, stats.misses) == (2, 4)
    assert stats.hit_rate == pytest.approx(1 / 3)
    assert stats.miss_rate == pytest.approx(2 / 3)
    assert stats.ttl_sample_size == 3, "what never expires has no time remaining"
    assert stats.average_ttl_seconds == pytest.approx((90 + 90 + 50) / 3)
    assert stats.memory_usage_bytes is not None
    assert stats.memory_usage_bytes > 0
    assert set(stats.most_accessed_keys) == {f.key_for(1), "k"}
    assert set(stats.functions) == {"f", "g"}
    assert (stats.expired_keys, stats.evicted_keys) == (0, 0)


def test_dead_entries_are_no_keys(world: World) -> None:
    """Expired and invalidated entries are not counted, and not in the average."""
    f = world.cached(lambda n: [n], name="f", ttl=100, tags=("t:{n}",))
    g = world.cached(lambda n: [n], name="g", ttl=20)
    for n in range(4):
        world.call(f, n)
        world.call(g, n)
    world.ask("invalidate", tag="t:1")
    world.call(f.invalidate, 2)
    world.clock.advance(30)
    stats = world.ask("stats")
    assert (stats.total_keys, stats.ttl_sample_size) == (2, 2)
    assert stats.average_ttl_seconds == pytest.approx(70)
    world.ask("clear")
    stats = world.ask("stats")
    assert (stats.total_keys, stats.ttl_sample_size, stats.average_ttl_seconds) == (0, 0, None)


def test_expired_and_evicted_in_the_process(local: World) -> None:
    """What ran out of time and what gave way to others are counted apart, each once."""
    f = local.cached(lambda n: [n], name="f", ttl=10, maxsize=5)
    for n in range(8):
        local.call(f, n)
    stats = local.ask("stats")
    assert (stats.evicted_keys, stats.expired_keys, stats.total_keys) == (3, 0, 5)
    local.clock.advance(10)
    local.ask("purge")
    stats = local.ask("stats")
    assert (stats.evicted_keys, stats.expired_keys, stats.total_keys) == (3, 5, 0)


def test_entries_kept_beside_a_server_expire_and_are_evicted_in_the_fleets_figures(valkey: Server) -> None:
    """What left another process is in the fleet's figures, and not in this process's."""
    with Cache(valkey.url) as cache, Cache(valkey.url) as other:
        connection = object()

        @cache.cached(maxsize=2)
        def f(n: int) -> int:
            assert connection is not None
            return n

        with pytest.warns(UserWarning, match="stay in this process"):
            f(0)
        f(1)
        f(2)
        assert cache.stats().evicted_keys == cache.stats("fleet").evicted_keys == 1
        assert (other.stats().evicted_keys, other.stats("fleet").evicted_keys) == (0, 1)
        assert other.stats("fleet").functions[f.stats().name].misses == 3


def test_memory_grows_with_what_is_held(world: World) -> None:
    """A megabyte more in the cache is a megabyte more in the figure."""
    before = world.ask("stats").memory_usage_bytes
    world.ask("set", "k", b"x" * 2**20)
    grown = world.ask("stats").memory_usage_bytes - before
    assert 2**20 <= grown < 3 * 2**20


def test_entry_info(world: World) -> None:
    """Every field of an entry's info; times are the clock's, tags as declared, the version as given."""
    begun = world.clock.time()
    f = slow_function(world, ttl=100, version=3, tags=("all", "n:{n}"))
    world.call(f, 1)
    world.clock.advance(5)
    world.call(f, 1)
    world.clock.advance(5)
    world.call(f, 1)
    world.clock.advance(1)
    info = world.ask("inspect", f.key_for(1))
    assert info == EntryInfo(
        function="f",
        created_at=begun + 2,
        expires_at=begun + 102,
        access_count=2,
        last_accessed=begun + 12,
        version="3",
        size_bytes=2,  # [1] in msgpack
        compute_seconds=2.0,
        tags=("all", "n:{n}"),
    )


def test_entry_info_of_a_plain_key(world: World) -> None:
    """A plain key has no function, no version and cost nothing; `get` and `get_many` are its accesses."""
    now = world.clock.time()
    world.ask("set", "k", "value", ttl=None, tags=("t",))
    for _ in range(2):
        world.ask("get", "k")
    world.ask("get_many", ["k", "nothing"])
    info = world.ask("inspect", "k")
    assert info == EntryInfo(None, now, math.inf, 3, now, None, 6, 0.0, ("t",))


def test_another_process_sees_the_accesses(shared: World) -> None:
    """Accesses that were sent are in what another cache says, added up over both."""
    other = shared.new_cache()
    f = shared.cached(lambda n: [n], name="f")
    g = shared.cached(lambda n: [n], name="f", cache=other)
    for _ in range(3):
        shared.call(f, 1)
    last = shared.clock.time()
    shared.ask("stats", "fleet")
    info = shared.ask("inspect", f.key_for(1), cache=other)
    assert (info.access_count, info.last_accessed) == (2, last)
    shared.clock.advance(7)
    shared.call(g, 1)
    assert shared.ask("inspect", f.key_for(1), cache=other).access_count == 3
    assert shared.ask("inspect", f.key_for(1), cache=other).last_accessed == last + 7


def test_what_never_counts(world: World) -> None:
    """`peek`, `put`, `refresh`, `inspect`, `keys`, `exists` and deletions are neither hits nor accesses."""
    f = world.cached(lambda n: [n], name="f")
    world.call(f.put, [0], 1)
    world.call(f.peek, 1)
    world.call(f.refresh, 1)
    world.ask("keys")
    world.ask("exists", f.key_for(1))
    world.ask("ttl", f.key_for(1))
    world.ask("set", "k", 1)
    world.ask("delete", "k")
    world.ask("set", "k", 1)
    world.ask("delete_many", ["k", "nothing"])
    info = world.ask("inspect", f.key_for(1))
    assert (info.access_count, info.last_accessed) == (0, None)
    stats = world.ask("stats")
    assert (stats.hits, stats.misses, stats.most_accessed_keys) == (0, 0, [])
    assert f.stats().stores == 2


def test_keys_and_inspect_over_5_000_entries(world: World) -> None:
    """`keys` gives each of 5,000 entries once, of one function or all, and `inspect` knows every one it gives."""
    world.ask("set_many", {f"k{n}": n for n in range(4_000)}, ttl=50)
    f = world.cached(lambda n: [n], name="f", tags=("n:{n}",))
    g = world.cached(lambda n: [n], name="ff")
    world.call(f.map, range(800))
    world.call(g.map, range(200))
    mine = {f.key_for(n) for n in range(800)}
    keys = world.ask("keys")
    assert len(keys) == 5_000
    assert set(keys) == {f"k{n}" for n in range(4_000)} | mine | {g.key_for(n) for n in range(200)}
    for function in (f, "f"):
        found = world.ask("keys", function)
        assert (len(found), set(found)) == (800, mine)
    for key in keys[::50]:
        info = world.ask("inspect", key)
        assert info.function == (None if key.startswith("k") else "f" if key in mine else "ff")
    assert world.ask("stats").total_keys == 5_000


def test_threads_that_ask_while_others_call(valkey: Server) -> None:
    """Figures asked for by four threads while four others call never fail and never go back."""
    with Cache(valkey.url) as cache:
        f = cache.cached(name="f")(lambda n: n)

        def work(n: int) -> None:
            calls = 0
            for i in range(60):
                if n % 2:
                    f(i % 5)
                else:
                    stats = cache.stats("fleet" if n % 4 else "process")
                    assert stats.hits + stats.misses >= calls
                    calls = stats.hits + stats.misses

        assert crowd(8, work) == [None] * 8
        assert cache.stats("fleet").functions["f"].hits + f.stats().misses == 240
