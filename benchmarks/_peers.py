"""How each library is told to cache a function: the one place that knows their interfaces.

`sync_memory`, `async_memory`: a decorator of at most `size` entries in the process, with a ttl where there is one.
`sync_server`, `async_server`: a decorator on a server, closed at the end. A library that is not installed raises
ModuleNotFoundError when it is asked for.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from datetime import timedelta
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from benchmarks._measure import Unavailable

Decorator = Callable[[Callable[..., Any]], Any]
TTL = 3_600
OURS = frozenset({"memocache", "functools.lru_cache"})
"""What is here without the extra ``bench``."""

# -- in the process


def _memocache(size: int) -> Decorator:
    from memocache import Cache

    return Cache(f"memory://?maxsize={size}").cached(ttl=TTL)


def _lru_cache(size: int) -> Decorator:
    from functools import lru_cache

    return lru_cache(maxsize=size)


def _cachetools(size: int) -> Decorator:
    import cachetools

    return cachetools.cached(cachetools.TTLCache(size, TTL), lock=Lock())


def _cachebox(size: int) -> Decorator:
    import cachebox

    return cachebox.cached(cachebox.TTLCache(size, TTL))


def _moka(size: int) -> Decorator:
    import moka_py

    return moka_py.cached(maxsize=size, ttl=TTL)


def _theine(size: int) -> Decorator:
    import theine

    return theine.Memoize(size, timedelta(seconds=TTL))


def _cachekit(size: int) -> Decorator:
    import cachekit

    return cachekit.cache(backend=None, ttl=TTL)


def _async_lru(size: int) -> Decorator:
    import async_lru

    return async_lru.alru_cache(maxsize=size, ttl=TTL)


def _aiocache(size: int) -> Decorator:
    import aiocache

    return aiocache.cached(ttl=TTL)


def _cashews(size: int) -> Decorator:
    import cashews

    cache = cashews.Cache()
    cache.setup(f"mem://?size={size}")
    decorate: Decorator = cache(ttl=TTL)
    return decorate


def _cashews_locked(size: int) -> Decorator:
    import cashews

    cache = cashews.Cache()
    cache.setup(f"mem://?size={size}")
    decorate: Decorator = cache(ttl=TTL, lock=True)
    return decorate


def _aiocache_locked(size: int) -> Decorator:
    import aiocache

    return aiocache.cached_stampede(lease=10, ttl=TTL)


Maker = Callable[[int], Decorator]
sync_memory: dict[str, Maker] = {
    "functools.lru_cache": _lru_cache,
    "memocache": _memocache,
    "cachebox": _cachebox,
    "cachetools": _cachetools,
    "moka-py": _moka,
    "theine": _theine,
    "cachekit": _cachekit,
}
async_memory: dict[str, Maker] = {
    "memocache": _memocache,
    "cachebox": _cachebox,
    "async-lru": _async_lru,
    "aiocache": _aiocache,
    "cashews": _cashews,
    "cachekit": _cachekit,
}
async_memory_locked: dict[str, Maker] = async_memory | {"aiocache": _aiocache_locked, "cashews": _cashews_locked}
"""The same, told to let one caller compute where that has to be asked for."""

# -- on a server


@contextmanager
def _memocache_on(url: str) -> Iterator[Decorator]:
    from memocache import Cache

    with Cache(url, prefix="bench") as cache:
        yield cache.cached(ttl=TTL)


@contextmanager
def _dogpile_on(url: str) -> Iterator[Decorator]:
    from dogpile.cache import make_region

    region = make_region().configure(
        "dogpile.cache.redis",
        expiration_time=TTL,
        arguments={"url": url, "redis_expiration_time": TTL, "distributed_lock": True, "thread_local_lock": False},
    )
    yield region.cache_on_arguments()
    region.backend.writer_client.close()


@contextmanager
def _python_redis_cache_on(url: str) -> Iterator[Decorator]:
    import redis
    import redis_cache

    with redis.Redis.from_url(url, decode_responses=True) as client:
        yield redis_cache.RedisCache(client).cache(ttl=TTL)


@contextmanager
def _cachekit_on(url: str) -> Iterator[Decorator]:
    import cachekit
    from cachekit.backends.redis import RedisBackend

    yield cachekit.cache(backend=RedisBackend(redis_url=url), ttl=TTL, l1_enabled=False)


@contextmanager
def _cachier_on(url: str) -> Iterator[Decorator]:
    import cachier
    import redis

    with redis.Redis.from_url(url) as client:
        yield cachier.cachier(backend="redis", redis_client=client, stale_after=timedelta(seconds=TTL))


@asynccontextmanager
async def _memocache_on_async(url: str) -> AsyncIterator[Decorator]:
    from memocache import Cache

    cache = Cache(url, prefix="bench")
    yield cache.cached(ttl=TTL)
    await cache.aio.close()


@asynccontextmanager
async def _aiocache_on(url: str) -> AsyncIterator[Decorator]:
    import aiocache

    server = urlsplit(url)
    cached = aiocache.cached(ttl=TTL, cache=aiocache.Cache.REDIS, endpoint=server.hostname, port=server.port)
    yield cached
    await cached.cache.close()


@asynccontextmanager
async def _aiocache_locked_on(url: str) -> AsyncIterator[Decorator]:
    import aiocache

    server = urlsplit(url)
    where = {"cache": aiocache.Cache.REDIS, "endpoint": server.hostname, "port": server.port}
    cached = aiocache.cached_stampede(lease=10, ttl=TTL, **where)
    yield cached
    await cached.cache.close()


@asynccontextmanager
async def _cashews_on(url: str) -> AsyncIterator[Decorator]:
    import cashews

    cache = cashews.Cache()
    cache.setup(url)
    yield cache(ttl=TTL)
    await cache.close()


@asynccontextmanager
async def _cashews_locked_on(url: str) -> AsyncIterator[Decorator]:
    import cashews

    cache = cashews.Cache()
    cache.setup(url)
    yield cache(ttl=TTL, lock=True)
    await cache.close()


sync_server: dict[str, Callable[[str], AbstractContextManager[Decorator]]] = {
    "memocache": _memocache_on,
    "dogpile.cache": _dogpile_on,
    "python-redis-cache": _python_redis_cache_on,
    "cachekit": _cachekit_on,
    "cachier": _cachier_on,
}
async_server: dict[str, Callable[[str], AbstractAsyncContextManager[Decorator]]] = {
    "memocache": _memocache_on_async,
    "aiocache": _aiocache_on,
    "cashews": _cashews_on,
}
async_server_locked = async_server | {"aiocache": _aiocache_locked_on, "cashews": _cashews_locked_on}

# -- on disk


@contextmanager
def _memocache_on_disk() -> Iterator[Decorator]:
    from memocache import Cache
    from memocache.exceptions import ConfigurationError

    with tempfile.TemporaryDirectory() as directory:
        try:
            cache = Cache(f"disk://{directory}/cache")
        except ConfigurationError as refused:
            raise Unavailable("memocache has no disk backend in this version") from refused
        with cache:
            yield cache.cached(ttl=TTL)


@contextmanager
def _diskcache() -> Iterator[Decorator]:
    import diskcache

    with tempfile.TemporaryDirectory() as directory, diskcache.Cache(directory) as cache:
        yield cache.memoize(expire=TTL)


@contextmanager
def _joblib() -> Iterator[Decorator]:
    import joblib

    with tempfile.TemporaryDirectory() as directory:
        yield joblib.Memory(directory, verbose=0).cache


@contextmanager
def _cachier() -> Iterator[Decorator]:
    import cachier

    with tempfile.TemporaryDirectory() as directory:
        yield cachier.cachier(cache_dir=directory, stale_after=timedelta(seconds=TTL))


on_disk: dict[str, Callable[[], AbstractContextManager[Decorator]]] = {
    "memocache": _memocache_on_disk,
    "diskcache": _diskcache,
    "joblib": _joblib,
    "cachier": _cachier,
}
