"""A cache that keeps everything in the process for a while: for tests of modules that have a cache of their own.

The functions that it decorated follow, and find an empty store. Afterwards they are on the former backend again, which
was not asked anything meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from memocache import Cache
from memocache._cache.settings import clock_of
from memocache.backends._settings import MemorySettings
from memocache.typing import Clock


@contextmanager
def in_memory(*caches: Cache, clock: Clock | Callable[[], float] | None = None) -> Iterator[None]:
    """Inside the block these caches are fresh ones in the process, with their own prefix, ttl and observers.

    Args:
        caches: caches on any backend.
        clock: their clock inside the block (a `FakeClock`, say); left out, the one that each has.

    Calls of other threads that begin inside the block are in the process too. Raises TypeError for what is no cache.
    """
    for cache in caches:
        if not isinstance(cache, Cache):
            raise TypeError(f"in_memory() takes caches, and a {type(cache).__name__} is none")
    with ExitStack() as stack:
        for cache in caches:
            stack.enter_context(_swapped(cache, clock))
        yield


@contextmanager
def _swapped(cache: Cache, clock: Clock | Callable[[], float] | None) -> Iterator[None]:
    kept, settings = dict(vars(cache)), cache._settings
    own = settings._replace(local=0, clock=settings.clock if clock is None else clock_of(clock))
    cache._connect(MemorySettings(), own, owned=True)
    kept["_core"].unbind()
    try:
        yield
    finally:
        fresh = cache._core
        cache.close()
        vars(cache).update(kept)
        fresh.unbind()
