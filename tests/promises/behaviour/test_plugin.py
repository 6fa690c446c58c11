"""The pytest plugin's fixtures, used as a user's test would use them."""

from __future__ import annotations

from itertools import count

from memocache import Cache, cached, default_cache

_serials = count()


@cached(ttl=60)
def serial(x: int) -> int:
    """A number that tells one computation from another."""
    return next(_serials)


def test_disabled(memocache_disabled: None) -> None:
    """Under `memocache_disabled` every call computes and none is stored."""
    assert serial(1) != serial(1)


def test_memory(memocache_memory: Cache) -> None:
    """Under `memocache_memory` the default cache is the fixture's own, and empty."""
    assert default_cache() is memocache_memory
    assert serial(2) == serial(2)
    assert memocache_memory.stats().total_keys == 1


def test_memory_is_fresh(memocache_memory: Cache) -> None:
    """Nothing that another test stored is there."""
    assert memocache_memory.stats().total_keys == 0
    assert serial(2) == serial(2)


def test_the_former_default_comes_back() -> None:
    """Outside the fixture functions are on the former default cache again."""
    first = serial(3)
    assert default_cache().stats().functions[f"{__name__}.serial"].misses >= 1
    assert serial(3) == first
