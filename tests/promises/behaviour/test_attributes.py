"""What a decorated function can be asked and told."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from memocache import MISSING, CacheInfo, EncodeError, FunctionStats
from tests.promises.behaviour.world import World, unbucketed

LOG: list[Any] = []


@pytest.fixture(autouse=True)
def _fresh_log() -> None:
    LOG.clear()


def square(x: int, y: int = 0) -> int:
    """What is decorated here."""
    LOG.append((x, y))
    return x * x + y


def test_a_hit_computes_nothing(world: World) -> None:
    """The second call is served, and counted as a hit."""
    f = world.cached(square)
    assert [world.call(f, 3) for _ in range(3)] == [9, 9, 9]
    assert LOG == [(3, 0)]
    assert f.cache_info()[:2] == (2, 1)


def test_cache_info(world: World) -> None:
    """`cache_info()` is a tuple of exactly hits, misses, maxsize and currsize."""
    f = world.cached(square, maxsize=7)
    assert f.cache_info() == CacheInfo(0, 0, 7, 0) == (0, 0, 7, 0)
    for x in (1, 2, 1):
        world.call(f, x)
    info = f.cache_info()
    assert (type(info), len(info), info._fields) == (CacheInfo, 4, ("hits", "misses", "maxsize", "currsize"))
    assert info == (1, 2, 7, {"memory": 2, "tiered": 1}.get(world.kind, 0))


def test_cache_clear(world: World) -> None:
    """`cache_clear()` forgets every entry and zeroes every counter."""
    f = world.cached(square)
    for x in (1, 2, 1):
        world.call(f, x)
    assert world.call(f.cache_clear) is None
    assert f.cache_info() == (0, 0, 1000 if world.kind == "tiered" else 10_000, 0)
    stats = f.stats()
    assert (stats.hits, stats.misses, stats.stores, stats.compute_seconds, stats.saved_seconds) == (0, 0, 0, 0.0, 0.0)
    world.call(f, 1)
    assert len(LOG) == 3


def test_cache_parameters(world: World) -> None:
    """`cache_parameters()` is a dict of the settings in force, the cache's defaults filled in."""
    given = world.cached(square, ttl="5m", maxsize=3, exclude="y", tags="t", version=2, name="sq").cache_parameters()
    assert {
        name: given[name] for name in ("ttl", "maxsize", "name", "version", "tags", "exclude")
    } == {"ttl": 300.0, "maxsize": 3, "name": "sq", "version": "2", "tags": ("t",), "exclude": ("y",)}  # fmt: skip
    default = world.cached(square).cache_parameters()
    assert (type(default), default["ttl"], default["maxsize"]) == (dict, 3600, None)
    assert (default["coalesce"], default["share"], default["strict"], default["stale"]) == ("fleet", False, False, None)
    assert default["name"] == f"{__name__}.square"
    assert world.cached(square, ttl=None).cache_parameters()["ttl"] is None


def test_invalidate_one_call(world: World) -> None:
    """`invalidate` forgets that one call, however it is spelled, and no other."""
    f = world.cached(square)
    for x in (1, 2):
        world.call(f, x)
    assert world.call(f.invalidate, y=0, x=1) is None
    world.call(f.invalidate, 99)
    for x in (1, 2):
        world.call(f, x)
    assert LOG == [(1, 0), (2, 0), (1, 0)]


def test_invalidate_all(world: World) -> None:
    """`invalidate_all` forgets every call of this function, no other's, and keeps the counters."""
    f, other = world.cached(square, name="f"), world.cached(square, name="other")
    for one in (f, other):
        world.call(one, 1)
        world.call(one, 2)
    assert world.call(f.invalidate_all) is None
    assert f.cache_info()[:2] == (0, 2)
    for one in (f, other):
        world.call(one, 1)
    assert LOG == [(1, 0), (2, 0)] * 2 + [(1, 0)]


def test_refresh(world: World) -> None:
    """`refresh` computes now, stores and returns the value; the next call is a hit on it."""
    f = world.cached(lambda x: LOG.append(x) or len(LOG), name="refresh")
    assert world.call(f, 1) == 1
    assert world.call(f.refresh, 1) == 2
    assert world.call(f, 1) == 2
    assert world.call(f.refresh, 7) == 3
    assert world.call(f, x=7) == 3


def test_refresh_raises_what_the_function_raises(world: World) -> None:
    """A failing refresh raises the function's own exception and keeps the old value."""

    def f(x: int) -> int:
        LOG.append(x)
        if len(LOG) == 2:
            raise KeyError("mine")
        return len(LOG)

    f = world.cached(f, name="failing-refresh")
    assert world.call(f, 1) == 1
    with pytest.raises(KeyError, match="mine"):
        world.call(f.refresh, 1)
    assert world.call(f, 1) == 1


def test_peek(world: World) -> None:
    """`peek` gives the cached value or MISSING; it never computes and never counts."""
    f = world.cached(lambda x: LOG.append(x), name="peek")
    assert world.call(f.peek, 1) is MISSING
    assert world.call(f, 1) is None
    assert world.call(f.peek, 1) is None
    assert world.call(f.peek, 2) is MISSING
    assert (f.cache_info()[:2], len(LOG)) == ((0, 1), 1)


def test_peek_sees_stale_values(world: World) -> None:
    """`peek` gives a value past its ttl as long as it may be served stale, then MISSING."""
    f = world.cached(square, ttl=10, stale=10)
    world.call(f, 2)
    world.clock.advance(15)
    assert world.call(f.peek, 2) == 4
    world.clock.advance(6)
    assert world.call(f.peek, 2) is MISSING


def test_put(world: World) -> None:
    """`put` stores a value for one call, with the function's ttl."""
    f = world.cached(square, ttl=10)
    assert world.call(f.put, "mine", 3) is None
    assert world.call(f, x=3, y=0) == "mine"
    world.call(f.put, None, y=1, x=3)
    assert world.call(f, 3, 1) is None
    assert LOG == []
    world.clock.advance(10)
    assert world.call(f, 3) == 9


def test_put_overwrites(world: World) -> None:
    """`put` replaces what was computed, and a later `put` what was put."""
    f = world.cached(square)
    world.call(f, 3)
    for value in ("a", "b"):
        world.call(f.put, value, 3)
        assert world.call(f, 3) == value


def test_put_of_what_cannot_be_stored(shared: World) -> None:
    """On a shared backend a value that cannot be held faithfully is refused with EncodeError."""
    f = shared.cached(square, name="put-refused")
    with pytest.raises(EncodeError, match="put-refused"):
        shared.call(f.put, object(), 1)
    assert shared.call(f.peek, 1) is MISSING


def test_put_of_what_cannot_be_stored_in_the_process(local: World) -> None:
    """memory:// holds such a value by reference."""
    f = local.cached(square)
    thing = object()
    local.call(f.put, thing, 1)
    assert local.call(f, 1) is thing


def test_key_for(world: World) -> None:
    """`key_for` is a plain str with the prefix, a kind, the function's name and a digest, and no argument's text."""
    f = world.cached(lambda x: x, name="shop.price")
    key = f.key_for("a-secret-argument")
    assert type(key) is str
    prefix, kind, name, digest = unbucketed(key).split(":")
    assert (prefix, kind, name) == ("memo", "e", "shop.price")
    assert len(digest) == 32
    assert int(digest, 16) >= 0
    assert "secret-argument" not in key
    assert f.key_for("a-secret-argument") == key
    assert f.cache_info()[:2] == (0, 0)


def test_key_for_is_exactly_where_the_entry_is(shared: World) -> None:
    """The backend has the envelope as one string value under `key_for`."""
    f = shared.cached(square)
    assert shared.read_raw(f.key_for(3)) is None
    shared.call(f, 3)
    assert shared.read_raw(f.key_for(3)) is not None
    shared.call(f.invalidate, 3)
    assert shared.read_raw(f.key_for(3)) is None


def test_map(world: World) -> None:
    """`map` is a list in order, computes only what is missing, and takes several iterables as `map` does."""
    f = world.cached(square)
    world.call(f, 2)
    assert world.call(f.map, [1, 2, 3, 1]) == [1, 4, 9, 1]
    assert sorted(LOG) == [(1, 0), (2, 0), (3, 0)]
    assert world.call(f.map, iter([1, 2]), (5, 6, 7)) == [6, 10]
    assert world.call(f.map, []) == []
    info = f.cache_info()
    assert info.hits + info.misses == 1 + 4 + 2


def test_map_raises_what_the_function_raises(world: World) -> None:
    """The first failing call's exception comes out of `map`, as out of a loop; what was computed before it stays."""
    f = world.cached(lambda x: 1 // x, name="map-raises")
    # side by side, the failure cancels the calls that run: whether the first was stored by then is luck
    one_at_a_time = {"concurrency": 1} if world.is_async else {}
    with pytest.raises(ZeroDivisionError):
        world.call(f.map, [1, 0, 2], **one_at_a_time)
    assert world.call(f.peek, 1) == 1


def test_stats(world: World) -> None:
    """`stats()` has the figures of this function's name, and hits + misses = calls."""
    f = world.cached(lambda x: world.clock.advance(2) or x, name="stats")
    for x in (1, 1, 2, 1):
        world.call(f, x)
    stats = f.stats()
    assert type(stats) is FunctionStats
    assert (stats.name, stats.hits, stats.misses, stats.stores, stats.rejected) == ("stats", 2, 2, 2, 0)
    assert stats.compute_seconds == pytest.approx(4)
    assert stats.saved_seconds == pytest.approx(4)
    assert stats.currsize == {"memory": 2, "tiered": 1}.get(world.kind, 0)


def test_the_colour_of_the_attributes(world: World) -> None:
    """On an async function the attributes that may wait are awaited, and the others are plain; on a sync one all are
    plain.
    """
    f = world.cached(square)
    waits = [
        f(1),
        f.invalidate(1),
        f.refresh(1),
        f.peek(1),
        f.put(1, 1),
        f.map([1]),
        f.invalidate_all(),
        f.cache_clear(),
    ]
    assert [inspect.isawaitable(one) for one in waits] == [world.is_async] * 8
    for one in waits:
        world.run(one)
    for plain in (f.cache_info(), f.cache_parameters(), f.key_for(1), f.stats()):
        assert not inspect.isawaitable(plain)


def test_none_is_a_value(world: World) -> None:
    """None results are cached."""
    f = world.cached(lambda x: LOG.append(x), name="none")
    assert [world.call(f, 1) for _ in range(3)] == [None, None, None]
    assert LOG == [1]


def test_exceptions_are_not_cached(world: World) -> None:
    """An exception is the caller's, each time anew, and counts as a miss."""

    def f(x: int) -> None:
        LOG.append(x)
        raise KeyError(len(LOG))

    f = world.cached(f, name="raises")
    for n in (1, 2, 3):
        with pytest.raises(KeyError) as raised:
            world.call(f, 1)
        assert raised.value.args == (n,)
    assert f.cache_info()[:2] == (0, 3)
    assert f.stats().stores == 0


def test_stop_iteration_passes(local: World) -> None:
    """StopIteration of a sync function comes out as it is."""
    if local.is_async:
        return

    def f(x: int) -> None:
        raise StopIteration(x)

    with pytest.raises(StopIteration) as raised:
        local.cached(f)(1)
    assert raised.value.value == 1
