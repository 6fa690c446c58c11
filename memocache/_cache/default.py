"""The default cache: what `cached` decorates on when nobody says otherwise."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from memocache._cache.cache import Cache
from memocache._calls.cache_core import Core
from memocache._calls.decorators import Decorator, LoaderDecorator
from memocache._runtime import disabled as _disabled
from memocache.backends.null import NullBackend

_lock = threading.RLock()
_cache: Cache | None = None
_stand_in: Cache | None = None
"""The default cache for the thread that makes the default cache."""


def default_cache() -> Cache:
    """The cache of `cached`; made when first asked for, of ``MEMOCACHE_URL``, ``MEMOCACHE_PREFIX`` and
    ``MEMOCACHE_SECRET``.
    """
    global _cache, _stand_in
    cache = _cache
    if cache is None:
        with _lock:
            cache = _cache
            if cache is None and _stand_in is not None:
                return _stand_in
            if cache is None:
                # a backend that uses cached functions while it is made gets a cache that remembers nothing
                _stand_in = Cache(NullBackend())
                try:
                    cache = Cache(**_from_environment({}))
                finally:
                    stand_in, _stand_in = _stand_in, None
                    stand_in._core.retire()
                if _cache is None:
                    _cache = cache
                cache = _cache
    return cache


def configure(backend: Any = None, **options: Any) -> Cache:
    """Replace the default cache's settings; functions decorated before follow with their next call.

    `backend` and `options` are those of `Cache`; what is left out comes from the environment, then from `Cache`'s
    defaults. Raises `ConfigurationError` for settings that cannot work; then the old default cache stays.
    """
    global _cache
    if backend is not None:
        options["backend"] = backend
    made = Cache(**_from_environment(options))
    with _lock:
        old, _cache = _cache, made
    if old is not None:
        old._core.retire()
        old.close()
    return made


@contextmanager
def replaced(cache: Cache) -> Iterator[None]:
    """Let `cache` be the default one inside the block."""
    global _cache
    with _lock:
        old, _cache = _cache, cache
    if old is not None:
        old._core.unbind()
    try:
        yield
    finally:
        with _lock:
            _cache = old
        cache._core.unbind()


def _from_environment(options: dict[str, Any]) -> dict[str, Any]:
    for name, variable in (
        ("backend", "MEMOCACHE_URL"),
        ("prefix", "MEMOCACHE_PREFIX"),
        ("secret", "MEMOCACHE_SECRET"),
    ):
        if name not in options and variable in os.environ:
            options[name] = os.environ[variable]
    return options


def disabled() -> AbstractContextManager[None]:
    """Inside the block, decorated functions compute and store nothing (in this thread or task, and the tasks it
    starts).
    """
    return _disabled.off(_disabled.ALL)


def _default_core() -> Core:
    return default_cache()._called_core()


cached = Decorator(_default_core)
cached_many = LoaderDecorator(_default_core)
