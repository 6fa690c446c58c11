"""Tables: a decoration with a `maxsize` has one of its own; who left it out shares one with the same function."""

from __future__ import annotations

import pytest

from memocache import Cache
from tests.promises.behaviour.world import World


def plain(x: int) -> int:
    return x


def test_none_is_unbounded_and_in_no_pool(local: World) -> None:
    """Neither its own entries nor another function's push one out."""
    cache = local.new_cache() if local.is_async else Cache("memory://?maxsize=10")
    singleton = local.cached(lambda: object, cache=cache, maxsize=None, name="singleton")
    many = local.cached(plain, cache=cache, maxsize=None)
    other = local.cached(lambda x: x, cache=cache)
    local.call(singleton)
    for x in range(50):
        local.call(many, x)
        local.call(other, x)
    local.call(singleton)
    assert (singleton.cache_info().hits, many.cache_info().currsize) == (1, 50)
    assert (singleton.cache_info().maxsize, many.cache_info().maxsize) == (None, None)


@pytest.mark.parametrize("bounds", [(5, 40, 2, 5), (None, 3, None)])
def test_each_decoration_with_a_maxsize_has_its_own_table(local: World, bounds: tuple[int | None, ...]) -> None:
    """Its own entries, bound and counters, though the function and the key are the same."""
    made = [local.cached(plain, maxsize=bound) for bound in bounds]
    for number, (f, bound) in enumerate(zip(made, bounds, strict=True)):
        assert f.cache_info() == (0, 0, bound, 0), number
        for x in range(50):
            local.call(f, x)
        assert f.cache_info() == (0, 50, bound, min(bound or 50, 50))
    assert len({f.key_for(1) for f in made}) == 1


def test_an_invalidation_reaches_every_table(local: World) -> None:
    """What is forgotten by one decoration is computed anew by the others."""
    calls: list[int] = []

    def count(x: int) -> int:
        calls.append(x)
        return len(calls)

    one, other, pooled = (local.cached(count, name="count", **more) for more in ({"maxsize": 3}, {"maxsize": 4}, {}))
    for f in (one, other, pooled):
        local.call(f, 1)
    local.call(one.invalidate, 1)
    assert [local.call(f, 1) for f in (one, other, pooled)] == [4, 5, 6]
    local.call(other.invalidate_all)
    assert [local.call(f, 1) for f in (one, other, pooled)] == [7, 8, 9]


def test_the_bound_in_force() -> None:
    """Left out, `cache_info` shows the bound that the cache's functions share."""
    for url, bound in (("memory://", 10_000), ("memory://?maxsize=7", 7), ("memory://?maxsize=none", None)):
        assert Cache(url).cached(plain).cache_info().maxsize == bound
    assert Cache("memory://?maxsize=7").cached(maxsize=3)(plain).cache_info().maxsize == 3
