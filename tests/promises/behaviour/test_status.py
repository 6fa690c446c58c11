"""`with_status`: what the cache did for one call, in the words of RFC 9211, in every world."""

from __future__ import annotations

import math
import re
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memocache import MISSING, CacheStatus, disabled
from memocache.stats import summary
from tests.promises.behaviour.world import World, unbucketed
from tests.promises.flight.support import until

# RFC 8941: a list of one item whose parameters are keys with tokens, integers, or nothing (true); RFC 9211, section 2
_TOKEN = r"[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*"
_HEADER = re.compile(
    rf"{_TOKEN}(; *(hit|stored|collapsed|ttl=-?\d{{1,15}}"
    r"|fwd=(bypass|method|uri-miss|vary-miss|miss|request|stale|partial)))*"
)


def both(world: World, settings: dict[str, Any]) -> Any:
    """A cached function that tells how often it ran."""
    runs: list[int] = []

    @world.cached(**settings)
    def f(x: int) -> tuple[int, int]:
        runs.append(x)
        return x, len(runs)

    return f


def test_a_miss_is_stored_and_then_it_is_a_hit(world: World) -> None:
    """The first call is forwarded and stored with its ttl; the next is a hit with what is left of it, under f's key."""
    f = both(world, {"ttl": 60})
    value, first = world.call(f.with_status, 1)
    assert value == (1, 1)
    assert first == CacheStatus(False, "miss", stored=True, ttl=60.0, key=f.key_for(1))
    world.clock.advance(20)
    world.settle()
    value, second = world.call(f.with_status, 1)
    assert value == (1, 1)
    assert (second.hit, second.fwd, second.stored, second.key) == (True, None, False, f.key_for(1))
    assert second.ttl == pytest.approx(40.0, abs=0.01)
    assert world.call(f, 1) == (1, 1)
    assert (f.cache_info().hits, f.cache_info().misses) == (2, 1)


def test_an_expired_entry_is_fwd_stale_and_a_served_one_a_hit_past_its_ttl(world: World) -> None:
    """A stale value that is served is a hit of negative ttl; one too old to be served is why the function was asked."""
    f, g = both(world, {"ttl": 10, "stale": 100, "name": "f"}), both(world, {"ttl": 10, "stale_if_error": 100})
    world.call(f, 1)
    world.call(g, 1)
    world.clock.advance(15)
    world.settle()
    value, status = world.call(f.with_status, 1)
    assert value == (1, 1)
    assert status.hit
    assert status.ttl == pytest.approx(-5.0, abs=0.01)
    assert str(status) == "memocache; hit; ttl=-5" or str(status) == "memocache; hit; ttl=-6"
    _, status = world.call(g.with_status, 1)
    assert (status.hit, status.fwd, status.stored, status.ttl) == (False, "stale", True, 10.0)


def test_an_old_value_in_place_of_an_error_is_a_hit(world: World) -> None:
    """As in the counters, where it is a stale hit; an error without an old value is raised, and has no status."""
    broken: list[int] = []

    @world.cached(ttl=10, stale_if_error=100)
    def f(x: int) -> int:
        if broken:
            raise OSError("down")
        return x

    world.call(f, 1)
    broken.append(1)
    world.clock.advance(15)
    world.settle()
    value, status = world.call(f.with_status, 1)
    assert value == 1
    assert status.hit
    assert status.fwd is None
    assert status.ttl == pytest.approx(-5.0, abs=0.01)
    with pytest.raises(OSError, match="down"):
        world.call(f.with_status, 2)


def test_what_is_not_stored_says_so(world: World) -> None:
    """What `condition` refuses is not stored and has no ttl; the ttl of a value without expiry is infinite."""

    @world.cached(ttl=None, condition=lambda result: result > 0)
    def f(x: int) -> int:
        return x

    _, refused = world.call(f.with_status, -1)
    assert (refused.fwd, refused.stored, refused.ttl) == ("miss", False, None)
    _, kept = world.call(f.with_status, 1)
    assert (kept.stored, kept.ttl) == (True, math.inf)
    assert str(kept) == "memocache; fwd=miss; stored"


def test_caching_switched_off_is_a_bypass(world: World) -> None:
    """Inside `disabled()` the function is asked because caching is off, by `map` too."""
    f = both(world, {"ttl": 60})
    world.call(f, 1)
    with disabled():
        value, status = world.call(f.with_status, 1)
        pairs = world.call(f.map_with_status, [1])
    assert value == (1, 2)
    assert status == CacheStatus(False, "bypass")
    assert str(status) == "memocache; fwd=bypass"
    assert pairs == [((1, 3), CacheStatus(False, "bypass"))]


def test_a_shared_computation_is_collapsed(local: World) -> None:
    """Who waits for another's computation has its value and its ttl, and has stored nothing itself."""
    import asyncio

    entered, go = threading.Event(), threading.Event()
    got: list[Any] = []
    if local.is_async:

        @local.cache.cached(ttl=60)
        async def g(x: int) -> int:
            while not go.is_set():
                await asyncio.sleep(0)
            return x

        async def two() -> list[Any]:
            calls = [asyncio.ensure_future(g.with_status(1)) for _ in range(2)]
            while g.stats().coalesced < 1:
                await asyncio.sleep(0)
            go.set()
            return list(await asyncio.gather(*calls))

        got = local.run(two())
    else:

        @local.cache.cached(ttl=60)
        def f(x: int) -> int:
            entered.set()
            assert go.wait(30)
            return x

        threads = [threading.Thread(target=lambda: got.append(f.with_status(1)), daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        until(lambda: f.stats().coalesced == 1)
        go.set()
        for thread in threads:
            thread.join(30)
    led, followed = sorted((status for _, status in got), key=lambda status: status.collapsed)
    assert (led.fwd, led.stored, led.collapsed, led.ttl) == ("miss", True, False, 60.0)
    assert (followed.fwd, followed.stored, followed.collapsed, followed.ttl) == ("miss", False, True, 60.0)
    assert str(followed) == "memocache; fwd=miss; collapsed; ttl=60"


def test_map_tells_of_each_call(world: World) -> None:
    """`map_with_status` is `map` with a status each, the second of two equal calls a hit."""
    f = both(world, {"ttl": 60})
    world.call(f, 1)
    world.settle()
    pairs = world.call(f.map_with_status, [1, 2, 2])
    assert [value[0] for value, _ in pairs] == [1, 2, 2]
    assert [(status.hit, status.fwd, status.stored) for _, status in pairs] == [
        (True, None, False),
        (False, "miss", True),
        (True, None, False),
    ]
    assert [status.key for _, status in pairs] == [f.key_for(1), f.key_for(2), f.key_for(2)]


def test_a_loader_tells_of_all_its_ids_at_once(world: World) -> None:
    """The status of many ids is a hit if all are, forwarded if any is, and has the least ttl."""
    ttls = {"ttl": 60}

    def load(ids: list[int]) -> dict[int, int]:
        return {one: one * 2 for one in ids}

    loader = world.cache.cached_many(**ttls)(world.colourful(load))
    value, status = world.call(loader.with_status, [1, 2])
    assert value == {1: 2, 2: 4}
    assert (status.hit, status.fwd, status.stored, status.ttl) == (False, "miss", True, 60.0)
    world.clock.advance(20)
    world.settle()
    _, status = world.call(loader.with_status, [1, 2])
    assert (status.hit, status.fwd, status.stored) == (True, None, False)
    assert status.ttl == pytest.approx(40, abs=0.01)
    _, status = world.call(loader.with_status, [2, 3])
    assert (status.hit, status.fwd, status.stored) == (False, "miss", True)
    assert status.ttl == pytest.approx(40, abs=0.01)
    assert status.key is None
    with disabled():
        assert world.call(loader.with_status, [1])[1] == CacheStatus(False, "bypass")
    (value, status), _ = world.call(loader.map_with_status, [[1], [2]])
    assert value == {1: 2}
    assert status.hit


def test_a_method_tells_of_its_object(local: World) -> None:
    """On a bound method the arguments are those of the call."""

    class Shop:
        @local.cached(ttl=60)
        def price(self, item: int) -> int:
            return item

    shop = Shop()
    assert local.call(shop.price.with_status, 2)[1].fwd == "miss"
    assert local.call(shop.price.with_status, 2)[1].hit
    assert [status.hit for _, status in local.call(shop.price.map_with_status, [2, 3])] == [True, False]


_STATUSES = st.builds(
    CacheStatus,
    st.booleans(),
    st.sampled_from([None, "miss", "stale", "bypass"]),
    st.booleans(),
    st.booleans(),
    st.none() | st.floats(allow_nan=False),
    st.none() | st.text(),
)


@given(_STATUSES)
def test_the_text_is_a_cache_status_header(status: CacheStatus) -> None:
    """Whatever a status holds, its text has the grammar of RFC 9211 and tells nothing of the key."""
    assert _HEADER.fullmatch(str(status))
    assert ("; hit" in str(status), "collapsed" in str(status), "stored" in str(status)) == (
        status.hit,
        status.collapsed,
        status.stored,
    )


@given(st.lists(_STATUSES))
def test_the_status_of_many_is_their_least(statuses: list[CacheStatus]) -> None:
    """Many calls are a hit only if each is one, and stay fresh as long as the first to expire."""
    one = summary(statuses)
    assert one.hit == all(status.hit for status in statuses)
    assert (one.fwd is None) == all(status.fwd is None for status in statuses)
    assert one.ttl == min((status.ttl for status in statuses if status.ttl is not None), default=None)


def test_plain_keys_in_bulk(world: World) -> None:
    """Each key that is asked has a value (or MISSING) and a status: a hit with what is left, or a miss."""
    world.ask("set", "a", None, ttl=60)
    world.ask("set", "b", 2, ttl=None)
    found = world.ask("get_many_with_status", ["a", "x", "b", "a"])
    assert {key: value for key, (value, _) in found.items()} == {"a": None, "x": MISSING, "b": 2}
    statuses = {key: status for key, (_, status) in found.items()}
    assert list(statuses) == ["a", "x", "b"]
    assert [(s.hit, s.fwd, s.stored, s.collapsed) for s in statuses.values()] == [
        (True, None, False, False),
        (False, "miss", False, False),
        (True, None, False, False),
    ]
    assert statuses["a"].ttl == pytest.approx(60)
    assert (statuses["x"].ttl, statuses["b"].ttl) == (None, math.inf)
    assert [unbucketed(status.key or "") for status in statuses.values()] == ["memo:k:a", "memo:k:x", "memo:k:b"]
    stats = world.ask("stats", entries=False)
    assert (stats.hits, stats.misses) == (2, 1)
    world.clock.advance(61)
    world.settle()
    assert world.ask("get_many_with_status", ["a"])["a"][1].hit is False
    assert world.ask("get_many_with_status", []) == {}
    with pytest.raises(TypeError, match="key"):
        world.ask("get_many_with_status", [1])
