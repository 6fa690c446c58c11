"""Invalidating a function, or a tag, whose keys are few or many: the same command, and so the same time.

The keys are real entries of a real server, copied there by a script. Each sample computes one entry anew, so that the
marker is there to be deleted, and times the invalidation alone; a sample that sends anything but one UNLINK fails.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks._loops import contender
from benchmarks._measure import Bench, Broken, Contender, Panel, Sample, Suite

COUNTS = (100, 1_000, 10_000, 100_000, 1_000_000)
_COPY = """
local raw = redis.call('GET', KEYS[1])
for i = tonumber(ARGV[2]), tonumber(ARGV[3]) - 1 do redis.call('SET', ARGV[1] .. string.format('%032x', i), raw) end
"""
_CHUNK = 50_000
_PATIENT = "timeout=10&connect_timeout=10"
"""A stall of a busy machine must not make the cache do without the server: here each entry has to be there."""


def _contender(keys: int, *, tag: bool) -> Contender:
    @contender(f"{keys:,} keys")
    def setup(bench: Bench) -> Iterator[Sample]:
        import redis

        from memocache import Cache

        name = f"bench.{'tagged' if tag else 'plain'}{keys}"
        with (
            Cache(f"{bench.server_url}?{_PATIENT}", prefix="bench") as cache,
            redis.Redis.from_url(bench.server_url) as client,
        ):

            @cache.cached(ttl="1h", name=name, tags=(name,))
            def f(x: int) -> int:
                return x

            f(0)
            entry = f.key_for(0)
            copy = client.register_script(_COPY)
            for start in range(1, keys, _CHUNK):
                copy(keys=[entry], args=[entry[:-32], start, min(start + _CHUNK, keys)])

            def sample(number: int) -> float:
                total = 0.0
                for _ in range(number):
                    f(0)
                    before = _sent(client)
                    begun = time.perf_counter()
                    cache.invalidate(tag=name) if tag else cache.invalidate(name)
                    total += time.perf_counter() - begun
                    sent = {command: n for command, n in (_sent(client) - before).items() if command != "info"}
                    if sent != {"unlink": 1}:
                        raise Broken(f"an invalidation sent {sent}")
                return total / number

            yield sample

    return setup


def _sent(client: Any) -> Any:
    from collections import Counter

    stats = client.info("commandstats")
    # hits are counted once a second in the background: those commands are not the invalidation's
    background = {"hincrby", "hset", "pexpire", "info"}
    sent = {command.removeprefix("cmdstat_"): one["calls"] for command, one in stats.items()}
    return Counter({command: calls for command, calls in sent.items() if command not in background})


# -- beside the peers: what their own way to forget all of a function's entries costs


def _entries(bench: Bench) -> int:
    return bench.effort.pick(full=10_000, quick=300, tiny=5)


@contender("memocache")
def _memocache(bench: Bench) -> Iterator[Sample]:
    from memocache import Cache

    with Cache(f"{bench.server_url}?{_PATIENT}", prefix="bench-peers") as cache:
        f: Any = cache.cached(ttl="1h", name="bench.f")(_identity)

        def fill() -> None:
            f.map(range(_entries(bench)))

        yield _refilled(fill, f.invalidate_all)


@contender("cachekit", peer=True)
def _cachekit(bench: Bench) -> Iterator[Sample]:
    import cachekit
    from cachekit.backends.redis import RedisBackend

    f = cachekit.cache(backend=RedisBackend(redis_url=bench.server_url), ttl=3600, l1_enabled=False)(_identity)
    yield _refilled(lambda: [f(number) for number in range(_entries(bench))], f.cache_clear)


@contender("python-redis-cache", peer=True)
def _python_redis_cache(bench: Bench) -> Iterator[Sample]:
    import redis
    import redis_cache

    with redis.Redis.from_url(bench.server_url, decode_responses=True) as client:
        f = redis_cache.RedisCache(client).cache(ttl=3600)(_identity)
        yield _refilled(lambda: [f(number) for number in range(_entries(bench))], f.invalidate_all)


@contender("cashews", peer=True)
def _cashews(bench: Bench) -> Iterator[Sample]:
    import asyncio

    import cashews

    with asyncio.Runner() as runner:
        cache = cashews.Cache()
        cache.setup(bench.server_url)

        async def fill() -> None:
            for number in range(_entries(bench)):
                await cache.set(f"cashews:{number}", number, expire=3600)

        yield _refilled(lambda: runner.run(fill()), lambda: runner.run(cache.delete_match("cashews:*")))
        runner.run(cache.close())


@contender("aiocache", peer=True)
def _aiocache(bench: Bench) -> Iterator[Sample]:
    import asyncio
    from urllib.parse import urlsplit

    import aiocache

    server = urlsplit(bench.server_url)
    with asyncio.Runner() as runner:
        cache = aiocache.Cache(
            aiocache.Cache.REDIS, endpoint=server.hostname, port=server.port, namespace="aiocache", timeout=60
        )

        async def fill() -> None:
            for number in range(_entries(bench)):
                await cache.set(f":{number}", number, ttl=3600)

        yield _refilled(lambda: runner.run(fill()), lambda: runner.run(cache.clear(namespace="aiocache")))
        runner.run(cache.close())


def _identity(x: int) -> int:
    return x


def _refilled(fill: Callable[[], object], forget: Callable[[], object]) -> Sample:
    """Return a sample of `forget` alone, with the entries put back before each."""

    def sample(number: int) -> float:
        fill()
        begun = time.perf_counter()
        forget()
        return time.perf_counter() - begun

    return sample


def _panels(bench: Bench) -> Iterator[Panel]:
    counts = bench.effort.pick(full=COUNTS, quick=COUNTS[:2], tiny=(10, 100))
    for tag in (False, True):
        yield Panel(
            f"invalidate a {'tag' if tag else 'function'}",
            base=f"{counts[0]:,} keys",
            contenders=tuple(_contender(keys, tag=tag) for keys in counts),
        )
    entries = bench.effort.pick(full="10,000", quick="300", tiny="5")
    yield Panel(
        f"forget the {entries} entries of a function, on a server that holds those of the others too",
        base="memocache",
        contenders=(_memocache, _cachekit, _python_redis_cache, _cashews, _aiocache),
        once=True,
        rounds=3,
    )


SUITE = Suite(
    name="invalidation",
    about="forgetting a function or a tag of 100 to 1,000,000 keys",
    counted="time of the one call that forgets them, over the connection",
    panels=_panels,
)
