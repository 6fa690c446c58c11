"""What a hit costs on a server on this machine, one caller at a time, beside a plain GET of the same bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from benchmarks._measure import KEYS, Bench, Panel, Sample, Suite, async_loop, contender, sync_loop

TTL = 3_600


def record(key: int) -> dict[str, Any]:
    """Return what the cached function computes: a record of about 700 bytes, plain enough for every serializer."""
    return {
        "id": key,
        "name": "Ada Lovelace",
        "email": "ada@example.org",
        "active": True,
        "scores": [key * 0.5 + step for step in range(20)],
        "tags": ["analyst", "countess", "first"],
        "notes": "The Analytical Engine weaves algebraical patterns. " * 8,
    }


def stored(key: int) -> bytes:
    """Return the record as msgpack: the bytes that the plain GET fetches."""
    import msgpack

    packed: bytes = msgpack.packb(record(key))
    return packed


@contender("redis-py GET")
def _plain(bench: Bench) -> Iterator[Sample]:
    import redis

    with redis.Redis.from_url(bench.server_url) as client:
        for key in KEYS:
            client.set(f"plain:{key}", stored(key))
        yield sync_loop(client.get, 'f(f"plain:{k}")')


@contender("redis-py GET, then msgpack")
def _plain_decoded(bench: Bench) -> Iterator[Sample]:
    import msgpack
    import redis

    with redis.Redis.from_url(bench.server_url) as client:
        for key in KEYS:
            client.set(f"decoded:{key}", stored(key))
        yield sync_loop(lambda key: msgpack.unpackb(client.get(f"decoded:{key}")))


@contender("memocache")
def _memocache(bench: Bench) -> Iterator[Sample]:
    from memocache import Cache

    with Cache(bench.server_url, prefix="bench-sync") as cache:
        yield sync_loop(cache.cached(ttl=TTL)(record))


@contender("memocache, local=1000")
def _near(bench: Bench) -> Iterator[Sample]:
    from memocache import Cache

    with Cache(bench.server_url, prefix="bench-near", local=1000) as cache:
        yield sync_loop(cache.cached(ttl=TTL)(record))


@contender("memocache, memory://")
def _process(bench: Bench) -> Iterator[Sample]:
    from memocache import Cache

    with Cache("memory://") as cache:
        yield sync_loop(cache.cached(ttl=TTL)(record))


@contender("dogpile.cache")
def _dogpile(bench: Bench) -> Iterator[Sample]:
    from dogpile.cache import make_region

    region = make_region().configure(
        "dogpile.cache.redis",
        expiration_time=TTL,
        arguments={"url": bench.server_url, "redis_expiration_time": TTL},
    )
    yield sync_loop(region.cache_on_arguments()(record))
    region.backend.writer_client.close()


@contender("python-redis-cache")
def _python_redis_cache(bench: Bench) -> Iterator[Sample]:
    import redis
    import redis_cache

    with redis.Redis.from_url(bench.server_url, decode_responses=True) as client:
        yield sync_loop(redis_cache.RedisCache(client).cache(ttl=TTL)(record))


async def _record(key: int) -> dict[str, Any]:
    return record(key)


@contender("redis.asyncio GET")
def _plain_async(bench: Bench) -> Iterator[Sample]:
    import redis.asyncio

    with asyncio.Runner() as runner:
        client = redis.asyncio.Redis.from_url(bench.server_url)

        async def fill() -> None:
            for key in KEYS:
                await client.set(f"async:{key}", stored(key))

        runner.run(fill())
        yield async_loop(client.get, runner.run, 'f(f"async:{k}")')
        runner.run(client.aclose())


@contender("memocache")
def _memocache_async(bench: Bench) -> Iterator[Sample]:
    from memocache import Cache

    with asyncio.Runner() as runner:
        cache = Cache(bench.server_url, prefix="bench-async")
        yield async_loop(cache.cached(ttl=TTL)(_record), runner.run)
        runner.run(cache.aio.close())


@contender("aiocache")
def _aiocache(bench: Bench) -> Iterator[Sample]:
    import aiocache

    server = urlsplit(bench.server_url)
    with asyncio.Runner() as runner:
        cached = aiocache.cached(ttl=TTL, cache=aiocache.Cache.REDIS, endpoint=server.hostname, port=server.port)
        yield async_loop(cached(_record), runner.run)
        runner.run(cached.cache.close())


@contender("cashews")
def _cashews(bench: Bench) -> Iterator[Sample]:
    import cashews

    with asyncio.Runner() as runner:
        cache = cashews.Cache()
        cache.setup(bench.server_url)
        yield async_loop(cache(ttl=TTL)(_record), runner.run)
        runner.run(cache.close())


SUITE = Suite(
    name="hit-server",
    about="a hit on a server, beside a plain GET by redis-py of the same bytes",
    panels=(
        Panel(
            "sync, one caller",
            base="redis-py GET",
            contenders=(_plain, _plain_decoded, _memocache, _dogpile, _python_redis_cache),
        ),
        Panel(
            "sync, copies in the process",
            base="memocache, memory://",
            contenders=(_process, _near, _memocache),
        ),
        Panel(
            "async, one caller",
            base="redis.asyncio GET",
            contenders=(_plain_async, _memocache_async, _aiocache, _cashews),
        ),
    ),
)
