"""What a cache tells of itself and of its entries; invalidation by name; closing and using again."""

from __future__ import annotations

import math
from typing import Any

import pytest

from memocache import MISSING, CacheStats, ConfigurationError, EntryInfo, Health
from tests.promises.behaviour.world import World, unbucketed


def test_invalidate_by_function_and_by_name(world: World) -> None:
    """`Cache.invalidate` takes the function, its name, or a pattern over names."""
    made = {name: world.cached(lambda x: [x], name=name) for name in ("shop.a", "shop.b", "shopping", "other")}

    def cached_now() -> set[str]:
        return {name for name, f in made.items() if world.call(f.peek, 1) is not MISSING}

    for f in made.values():
        world.call(f, 1)
    world.ask("invalidate", made["shop.a"])
    assert cached_now() == {"shop.b", "shopping", "other"}
    world.ask("invalidate", "other")
    assert cached_now() == {"shop.b", "shopping"}
    world.ask("invalidate", "shop.*")
    assert cached_now() == {"shopping"}
    world.ask("invalidate", "sh?pp[i]ng")
    assert cached_now() == set()
    world.ask("invalidate", "nobody.knows")


def test_invalidate_by_name_from_a_cache_that_never_saw_the_function(shared: World) -> None:
    """A process that never imported a function can forget it by name and by pattern."""
    f = shared.cached(lambda x: [x], name="shop.price")
    for culprit in ("shop.price", "shop.*"):
        shared.call(f, 1)
        shared.ask("invalidate", culprit, cache=shared.new_cache())
        assert shared.call(f.peek, 1) is MISSING


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), (("f",), {"tag": "t"}), ((1,), {}), (("",), {}), ((), {"tag": ""}), ((), {"tag": 1})]
)
def test_bad_invalidations(world: World, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Nothing, both, or what is no function, name or tag is refused."""
    with pytest.raises(ConfigurationError):
        world.ask("invalidate", *args, **kwargs)


def test_keys(world: World) -> None:
    """`keys` gives the live entries: plain keys as given, calls as `key_for`; or those of one function."""
    f, g = world.cached(lambda x: [x], name="f", ttl=10), world.cached(lambda x: [x], name="g")
    calls: list[Any] = [1, "a", (1, 2), None]
    for argument in calls:
        world.call(f, argument)
    world.call(g, 1)
    world.ask("set", "plain:key", 1)
    expected = {f.key_for(argument) for argument in calls}
    assert set(world.ask("keys")) == expected | {g.key_for(1), "plain:key"}
    assert set(world.ask("keys", f)) == set(world.ask("keys", "f")) == expected
    assert world.ask("keys", "unknown") == []
    world.call(f.invalidate, 1)
    assert set(world.ask("keys", f)) == expected - {f.key_for(1)}
    world.clock.advance(10)
    assert world.ask("keys", f) == []


def test_many_keys(world: World) -> None:
    """More keys than fit one page come out exactly once each."""
    wanted = {f"k{n}": n for n in range(2500)}
    world.ask("set_many", wanted)
    found = world.ask("keys")
    assert (len(found), set(found)) == (2500, set(wanted))


def test_inspect_a_call(world: World) -> None:
    """`inspect` tells function, times, version, size, cost and tags as declared."""
    begun = world.clock.time()
    f = world.cached(
        lambda x: world.clock.advance(2) or "value", name="shop.price", ttl=60, tags=["t", "x:{x}"], version=3
    )
    world.call(f, 1)
    info = world.ask("inspect", f.key_for(1))
    assert type(info) is EntryInfo
    assert (info.function, info.version, info.tags) == ("shop.price", "3", ("t", "x:{x}"))
    assert info.created_at == pytest.approx(begun + 2)
    assert info.expires_at == pytest.approx(begun + 62)
    assert info.compute_seconds == pytest.approx(2)
    assert info.size_bytes == 6
    assert info.access_count == 0


def test_inspect_a_plain_key(world: World) -> None:
    """A plain key has no function; one that never expires has an infinite `expires_at`."""
    world.ask("set", "k", "value", ttl=None, tags="t")
    info = world.ask("inspect", "k")
    assert (info.function, info.expires_at, info.tags, info.size_bytes) == (None, math.inf, ("t",), 6)


def test_inspect_of_nothing(world: World) -> None:
    """An unknown key gives None, as an expired and a forgotten one does."""
    assert world.ask("inspect", "nothing") is None
    assert world.ask("inspect", "memo:e:f:00") is None
    world.ask("set", "k", 1, ttl=5)
    world.clock.advance(5)
    assert world.ask("inspect", "k") is None


def test_access_counts(world: World) -> None:
    """`access_count` counts hits, and `last_accessed` is when the last one was."""
    f = world.cached(lambda x: [x], name="f")
    for _ in range(4):
        world.call(f, 1)
        world.clock.advance(10)
    info = world.ask("inspect", f.key_for(1))
    assert info.access_count == 3
    assert info.last_accessed == pytest.approx(world.clock.time() - 10, abs=1.01)


def test_stats(world: World) -> None:
    """Every total of `stats` is what happened."""
    f = world.cached(lambda x: [x], name="f", ttl=100)
    for x in (1, 1, 1, 2):
        world.call(f, x)
    world.ask("set", "k", 1, ttl=50)
    world.ask("get", "k")
    world.ask("get", "nothing")
    world.clock.advance(10)
    stats = world.ask("stats")
    assert type(stats) is CacheStats
    assert (stats.total_keys, stats.hits, stats.misses) == (3, 3, 3)
    assert (stats.hit_rate, stats.miss_rate) == (0.5, 0.5)
    assert set(stats.functions) == {"f"}
    assert stats.functions["f"].hits == 2
    assert stats.average_ttl_seconds is None or stats.average_ttl_seconds == pytest.approx((90 + 90 + 40) / 3)
    assert stats.memory_usage_bytes is None or stats.memory_usage_bytes > 0
    assert all(type(key) is str for key in stats.most_accessed_keys)


def test_stats_in_the_process(local: World) -> None:
    """In the process the hottest keys come first, expired and evicted entries are counted apart."""
    cache = local.new_cache()
    f = local.cached(lambda x: [x], cache=cache, name="f", ttl=100, maxsize=2)
    for x in (1, 1, 1, 2, 2):
        local.call(f, x)
    stats = local.ask("stats", cache=cache)
    assert stats.most_accessed_keys == [f.key_for(1), f.key_for(2)]
    assert stats.average_ttl_seconds == pytest.approx(100)
    local.call(f, 3)
    stats = local.ask("stats", cache=cache)
    assert (stats.evicted_keys, stats.expired_keys, stats.total_keys) == (1, 0, 2)
    local.clock.advance(100)
    local.call(f, 3)
    assert local.ask("stats", cache=cache).expired_keys >= 1
    assert local.ask("stats", cache=cache).evicted_keys == 1


def test_stats_of_nothing(world: World) -> None:
    """A fresh cache has zeroes, and no rate is a division by zero."""
    stats = world.ask("stats")
    assert (stats.total_keys, stats.hits, stats.misses, stats.hit_rate, stats.miss_rate) == (0, 0, 0, 0.0, 0.0)
    assert (stats.average_ttl_seconds, stats.most_accessed_keys, stats.functions) == (None, [], {})
    with pytest.raises(ConfigurationError, match="scope"):
        world.ask("stats", "galaxy")


def test_health(world: World) -> None:
    """`health` pings, and writes, reads and deletes a probe key, which leaves no trace."""
    health = world.ask("health")
    assert type(health) is Health
    assert (health.ok, health.roundtrip_ok) == (True, True)
    assert health.latency_ms >= 0
    assert world.ask("keys") == []


def test_purge(world: World) -> None:
    """`purge` deletes what is dead, keeps what lives, and says how many went and how far it is."""
    world.ask("set", "live", 1, ttl=None)
    world.ask("set_many", {f"tagged{n}": n for n in range(20)}, tags="t")
    world.ask("set_many", {f"short{n}": n for n in range(10)}, ttl=5)
    world.ask("invalidate", tag="t")
    world.clock.advance(5)
    seen: list[tuple[int, int]] = []
    gone = world.ask("purge", lambda looked, deleted: seen.append((looked, deleted)))
    assert world.ask("keys") == ["live"]
    assert world.ask("get", "live") == 1
    assert seen
    assert seen[-1][1] == gone
    if world.shared:
        assert [unbucketed(key) for key in world.keys_raw() if ":k:" in key] == ["memo:k:live"]
    assert world.ask("purge") == 0


def test_close_and_use_again(world: World) -> None:
    """`close` may be called twice; using the cache again reopens it."""
    f = world.cached(lambda x: [x], name="f")
    for _ in range(2):
        assert world.call(f, 1) == [1]
        world.ask("set", "k", 1)
        assert world.ask("get", "k") == 1
        world.ask("close")
        world.ask("close")
    assert world.ask("get", "k") == 1


def test_context_managers(world: World) -> None:
    """`with` and `async with` give the cache (or its aio) and close it."""
    cache = world.new_cache()
    if world.is_async:

        async def use() -> Any:
            async with cache.aio as aio:
                assert aio is cache.aio
                await aio.set("k", 1)
                return await aio.get("k")

        assert world.run(use()) == 1
    else:
        with cache as same:
            assert same is cache
            cache.set("k", 1)
            assert cache.get("k") == 1


def test_one_cache_serves_both_colours(world: World) -> None:
    """What a sync caller stores an async caller sees, on one cache object, and over several event loops."""
    import asyncio

    cache = world.cache

    async def use(n: int) -> Any:
        before = await cache.aio.get("k")
        await cache.aio.set("k", n)
        await cache.aio.close()
        return before

    cache.set("k", 0)
    assert [asyncio.run(use(n)) for n in (1, 2, 3)] == [0, 1, 2]
    assert cache.get("k") == 3


def test_the_repr_of_a_cache_has_no_secrets(world: World) -> None:
    """A cache's repr shows neither secret nor URL."""
    assert "s3cret" not in repr(world.new_cache(secret="s3cret"))
