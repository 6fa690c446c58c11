"""Puts memocache in the place of `functools.lru_cache` and `functools.cache`, in the packages that MEMOCACHE_INSTEAD
names; the mapping is that of docs/migrating.md. Python imports this module when it starts.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import Any

PACKAGES = frozenset(filter(None, os.environ.get("MEMOCACHE_INSTEAD", "").split(",")))

if PACKAGES:
    from memocache import Cache

    CACHE = Cache()
    CACHE.cached(lambda: None)()  # its own modules keep what they were written with
    lru_cache, cache = functools.lru_cache, functools.cache

    def _ours() -> bool:
        caller = str(sys._getframe(2).f_globals.get("__name__"))
        return caller.partition(".")[0] in PACKAGES

    def _decorate(function: Any, maxsize: int | None) -> Any:
        return CACHE.cached(ttl=None, maxsize=maxsize, share=True)(function)

    def instead_of_lru_cache(maxsize: Any = 128, typed: bool = False) -> Any:
        """As `functools.lru_cache`; `typed` is always so."""
        if not _ours() or maxsize == 0:
            return lru_cache(maxsize, typed)
        if callable(maxsize):
            return _decorate(maxsize, 128)
        return lambda function: _decorate(function, maxsize)

    def instead_of_cache(function: Any, /) -> Any:
        """As `functools.cache`."""
        return _decorate(function, None) if _ours() else cache(function)

    functools.lru_cache, functools.cache = instead_of_lru_cache, instead_of_cache  # type: ignore[assignment, misc]
