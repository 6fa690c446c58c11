"""The pytest plugin's fixtures, used as a user's test would use them."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

from memocache import Cache, cached, default_cache
from memocache.backends.memory import MemoryBackend
from memocache.testing import FailingBackend, FakeClock, in_memory

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


_away = FailingBackend(MemoryBackend())  # every request fails
_own = Cache(_away, prefix="shop", default_ttl=60)


@_own.cached
def of_module(x: int) -> int:
    """Of a module's own cache, whose backend cannot be reached."""
    return next(_serials)


@_own.cached
async def awaited(x: int) -> int:
    """The same, async."""
    return next(_serials)


def test_a_cache_of_a_module_is_kept_in_the_process() -> None:
    """Its functions hit, its own backend is asked nothing, and each block begins with an empty store."""
    clock = FakeClock()
    assert of_module(1) != of_module(1)
    faults = of_module.stats().backend_errors
    with in_memory(_own, clock=clock):
        first = of_module(1)
        assert of_module(1) == first
        assert asyncio.run(awaited(1)) == asyncio.run(awaited(1))
        assert _own.stats().total_keys == 2
        assert of_module.stats().backend_errors == 0
        clock.advance(61)
        assert of_module(1) != first
    assert of_module(1) != of_module(1)
    assert of_module.stats().backend_errors > faults
    with in_memory(_own):
        assert _own.stats().total_keys == 0


@pytest.mark.memocache("memory", _own)
def test_the_marker_takes_caches() -> None:
    """As the block does."""
    assert of_module(2) == of_module(2)


def test_what_is_no_cache_is_refused() -> None:
    """By the name of its class."""
    with pytest.raises(TypeError, match="takes caches, and a str is none"), in_memory("redis://localhost"):  # type: ignore[arg-type]
        pass


def test_an_error_inside_brings_the_backend_back() -> None:
    """The cache is on its own backend again, however the block ended."""
    with pytest.raises(LookupError), in_memory(_own):
        raise LookupError
    assert _own.backend is _away
