"""A thousand hits at once, beside one MGET and a thousand decodings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks._loops import Clock, contender
from benchmarks._measure import Bench, Panel, Sample, Suite
from benchmarks.hit_server import record, stored


def _timed(bench: Bench, call: Callable[[list[int]], object], clock: Clock = time.perf_counter) -> Sample:
    """Return a sample of `call` on all keys at once, after one that fills the cache: seconds per call."""
    keys = list(range(bench.effort.pick(full=1_000, quick=1_000, tiny=5)))
    call(keys)

    def sample(number: int) -> float:
        start = clock()
        for _ in range(number):
            call(keys)
        return (clock() - start) / number

    return sample


def _records(keys: list[int]) -> dict[int, Any]:
    return {key: record(key) for key in keys}


@contender("redis-py MGET, msgpack")
def _mget(bench: Bench) -> Iterator[Sample]:
    import msgpack
    import redis

    with redis.Redis.from_url(bench.server_url) as client:
        for key in range(1_000):
            client.set(f"bulk:{key}", stored(key))
        unpack = msgpack.unpackb
        yield _timed(bench, lambda keys: [unpack(raw) for raw in client.mget([f"bulk:{key}" for key in keys])])


@contender("memocache f.map")
def _map(bench: Bench) -> Iterator[Sample]:
    from memocache import Cache

    with Cache(bench.server_url, prefix="bench-map") as cache:
        yield _timed(bench, cache.cached(ttl=3_600)(record).map)


@contender("memocache cached_many")
def _many(bench: Bench) -> Iterator[Sample]:
    from memocache import Cache

    with Cache(bench.server_url, prefix="bench-many") as cache:
        yield _timed(bench, cache.cached_many(ttl=3_600)(_records))


@contender("memocache f.map, async")
def _map_async(bench: Bench) -> Iterator[Sample]:
    from memocache import Cache

    async def arecord(key: int) -> Any:
        return record(key)

    with asyncio.Runner() as runner:
        cache = Cache(bench.server_url, prefix="bench-amap")
        function = cache.cached(ttl=3_600)(arecord)
        yield _timed(bench, lambda keys: runner.run(function.map(keys)))
        runner.run(cache.aio.close())


@contender("memocache, one call each")
def _calls(bench: Bench) -> Iterator[Sample]:
    from memocache import Cache

    with Cache(bench.server_url, prefix="bench-calls") as cache:
        function = cache.cached(ttl=3_600)(record)
        yield _timed(bench, lambda keys: [function(key) for key in keys])


@contender("dogpile.cache, multi", peer=True)
def _dogpile(bench: Bench) -> Iterator[Sample]:
    from dogpile.cache import make_region

    region = make_region().configure(
        "dogpile.cache.redis",
        expiration_time=3_600,
        arguments={"url": bench.server_url, "redis_expiration_time": 3_600},
    )

    @region.cache_multi_on_arguments()
    def records(*keys: int) -> list[Any]:
        return [record(key) for key in keys]

    yield _timed(bench, lambda keys: records(*keys))
    region.backend.writer_client.close()


@contender("aiocache, multi_cached", peer=True)
def _aiocache(bench: Bench) -> Iterator[Sample]:
    from urllib.parse import urlsplit

    import aiocache

    server = urlsplit(bench.server_url)
    with asyncio.Runner() as runner:
        cached = aiocache.multi_cached(
            keys_from_attr="keys",
            key_builder=lambda key, function, *args, **kwargs: f"multi:{key}",
            ttl=3_600,
            cache=aiocache.Cache.REDIS,
            endpoint=server.hostname,
            port=server.port,
            timeout=60,
        )

        async def records(keys: list[str]) -> dict[str, Any]:
            return {key: record(int(str(key).rpartition(":")[2])) for key in keys}  # it passes its own keys on

        loader = cached(records)
        yield _timed(bench, lambda keys: runner.run(loader(keys=keys)))
        runner.run(cached.cache.close())


@contender("functools.lru_cache, one call each")
def _lru(bench: Bench) -> Iterator[Sample]:
    from functools import lru_cache

    function = lru_cache(maxsize=2_000)(record)
    yield _timed(bench, lambda keys: [function(key) for key in keys], time.process_time)


@contender("memocache f.map")
def _map_local(bench: Bench) -> Iterator[Sample]:
    from memocache import Cache

    yield _timed(bench, Cache().cached(ttl=3_600)(record).map, time.process_time)


@contender("memocache f.map, share=True")
def _map_shared(bench: Bench) -> Iterator[Sample]:
    from memocache import Cache

    yield _timed(bench, Cache().cached(ttl=3_600, share=True)(record).map, time.process_time)


@contender("memocache, one call each")
def _calls_local(bench: Bench) -> Iterator[Sample]:
    from memocache import Cache

    function = Cache().cached(ttl=3_600)(record)
    yield _timed(bench, lambda keys: [function(key) for key in keys], time.process_time)


def _panels(bench: Bench) -> Iterator[Panel]:
    yield Panel(
        "1,000 hits on a server",
        base="redis-py MGET, msgpack",
        contenders=(_mget, _map, _many, _map_async, _calls, _dogpile, _aiocache),
        cpu=True,
    )
    yield Panel(
        "1,000 hits in the process",
        base="functools.lru_cache, one call each",
        contenders=(_lru, _map_local, _map_shared, _calls_local),
    )


SUITE = Suite(
    name="bulk",
    about="a thousand hits asked for at once, beside one MGET and its decoding",
    counted="time of the whole call (in the process: processor time), for records of about 700 bytes",
    panels=_panels,
)
