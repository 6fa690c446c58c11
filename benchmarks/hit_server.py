"""What a hit costs on a server on this machine, beside a plain GET of the same bytes; and what it sends."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from benchmarks._loops import KEYS, Threads, async_loop, burst, contender, crowd, sync_loop
from benchmarks._measure import Bench, Contender, Noted, Panel, Sample, Suite
from benchmarks._peers import OURS, async_server, sync_server
from benchmarks._units import COUNT

LoopOf = Callable[..., Sample]


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


async def arecord(key: int) -> dict[str, Any]:
    """Return the same, awaited."""
    return record(key)


def stored(key: int) -> bytes:
    """Return the record as msgpack: the bytes that the plain GET fetches."""
    import msgpack

    packed: bytes = msgpack.packb(record(key))
    return packed


# -- the floor: redis-py itself


def _plain(loop: LoopOf, *, decoded: bool = False) -> Contender:
    @contender("redis-py GET, then msgpack" if decoded else "redis-py GET")
    def setup(bench: Bench) -> Iterator[Sample]:
        import msgpack
        import redis

        with redis.Redis.from_url(bench.server_url, max_connections=1_100) as client:
            for key in KEYS:
                client.set(f"plain:{key}", stored(key))
            if decoded:
                yield loop(lambda key: msgpack.unpackb(client.get(f"plain:{key}")))
            else:
                yield loop(lambda key: client.get(f"plain:{key}"))

    return setup


def _plain_async(loop: LoopOf) -> Contender:
    @contender("redis.asyncio GET")
    def setup(bench: Bench) -> Iterator[Sample]:
        import redis.asyncio

        with asyncio.Runner() as runner:
            # a pool that waits: at 1,000 callers the default one refuses them
            pool = redis.asyncio.BlockingConnectionPool.from_url(bench.server_url, max_connections=100, timeout=None)
            client = redis.asyncio.Redis.from_pool(pool)

            async def fill() -> None:
                for key in KEYS:
                    await client.set(f"plain:{key}", stored(key))

            runner.run(fill())
            yield loop(lambda key: client.get(f"plain:{key}"), runner.run)
            runner.run(client.aclose())

    return setup


# -- the caches


def _sync(name: str, loop: LoopOf) -> Contender:
    @contender(name, peer=name not in OURS)
    def setup(bench: Bench) -> Iterator[Sample]:
        with sync_server[name](bench.server_url) as decorate:
            yield loop(decorate(record))

    return setup


def _async(name: str, loop: LoopOf) -> Contender:
    @contender(name, peer=name not in OURS)
    def setup(bench: Bench) -> Iterator[Sample]:
        with asyncio.Runner() as runner:
            context = async_server[name](bench.server_url)
            decorate = runner.run(context.__aenter__())
            yield loop(decorate(arecord), runner.run)
            runner.run(context.__aexit__(None, None, None))

    return setup


# -- many at once, each for another key

_LEISURE = "?timeout=30&connect_timeout=30"
"""What is measured is how fast, not the deadlines, which ten thousand at once on a busy machine may pass."""


def _distinct_plain(keys: int, *, waiting: bool) -> Contender:
    """redis-py's own; its pool waits for a free connection, or is as it comes and refuses a caller too many."""

    @contender("redis.asyncio GET" if waiting else "redis.asyncio GET, pool by default", peer=not waiting)
    def setup(bench: Bench) -> Iterator[Sample]:
        import redis.asyncio

        with asyncio.Runner() as runner:
            if waiting:
                pool = redis.asyncio.BlockingConnectionPool.from_url(
                    bench.server_url, max_connections=100, timeout=None
                )
                client = redis.asyncio.Redis.from_pool(pool)
            else:
                client = redis.asyncio.Redis.from_url(bench.server_url)
            yield _distinct(
                lambda key: client.set(f"plain:{key}", stored(key)),
                lambda key: client.get(f"plain:{key}"),
                runner,
                keys,
            )
            runner.run(client.aclose())

    return setup


def _distinct_bytes(keys: int) -> Contender:
    """What the shared connections give by themselves: bytes by key, as redis-py's GET has them."""

    @contender("memocache, the backend's read_soon")
    def setup(bench: Bench) -> Iterator[Sample]:
        from memocache.backends.redis import RedisBackend
        from memocache.typing import Put

        backend = RedisBackend.from_url(bench.server_url + _LEISURE)
        with asyncio.Runner() as runner:
            yield _distinct(
                lambda key: backend.aio.transact([], [Put(f"plain:{key}", stored(key))]),
                lambda key: backend.aio.multiplexer.read_soon(f"plain:{key}", (), 30.0),
                runner,
                keys,
            )
            runner.run(backend.aio.close())
        backend.close()

    return setup


def _distinct_ours(keys: int, *, cached: bool) -> Contender:
    @contender("memocache" if cached else "memocache aio.get")
    def setup(bench: Bench) -> Iterator[Sample]:
        from memocache import Cache

        cache = Cache(bench.server_url + _LEISURE, prefix="bench")
        with asyncio.Runner() as runner:
            if cached:
                function = cache.cached(ttl=3_600)(arecord)
                yield _distinct(function, function, runner, keys)
            else:
                yield _distinct(
                    lambda key: cache.aio.set(f"plain:{key}", stored(key)),
                    lambda key: cache.aio.get(f"plain:{key}"),
                    runner,
                    keys,
                )
            runner.run(cache.aio.close())

    return setup


def _distinct(
    fill: Callable[[int], Awaitable[object]], get: Callable[[int], Awaitable[object]], runner: asyncio.Runner, keys: int
) -> Sample:
    return burst(fill, get, lambda work: runner.run(work), range(keys))


# -- what is sent


def _sent(bench: Bench, loop: Sample) -> Sample:
    """Return a sample of the commands a hit sends, as the server counts them."""
    # hits are counted once a second in the background, and connections say who they are: not the hit's own
    background = {"info", "hello", "client|setname", "client|setinfo", "select", "hincrby", "hset", "pexpire"}

    def counted() -> Counter[str]:
        with bench.server.client() as client:
            stats = client.info("commandstats")
        sent = {name.removeprefix("cmdstat_"): one["calls"] for name, one in stats.items()}
        return Counter({name: calls for name, calls in sent.items() if name not in background})

    def sample(number: int) -> float:
        before = counted()
        loop(1)
        sent = {name: calls / len(KEYS) for name, calls in (counted() - before).items() if calls >= len(KEYS) / 2}
        return Noted(sum(sent.values()), ", ".join(f"{name.upper()} {calls:.2f}" for name, calls in sent.items()))

    return sample


def _counting(make: Callable[[LoopOf], Contender], loop: LoopOf) -> Contender:
    """Return that contender with its commands counted instead of its time."""
    made = make(loop)

    @contender(made.name, peer=made.peer)
    def setup(bench: Bench) -> Iterator[Sample]:
        with made.setup(bench) as inner:
            yield _sent(bench, inner)

    return setup


def _panels(bench: Bench) -> Iterator[Panel]:
    for callers in bench.effort.pick(full=(1, 10, 100, 1_000), quick=(1,), tiny=(1, 3)):
        loop: LoopOf = sync_loop if callers == 1 else lambda call, callers=callers: Threads(call, callers)
        yield Panel(
            "sync, one caller" if callers == 1 else f"sync, {callers:,} threads",
            base="redis-py GET",
            contenders=(
                _plain(loop),
                _plain(loop, decoded=True),
                *(_sync(name, loop) for name in sync_server),
            ),
            cpu=True,
            rounds=None if callers == 1 else 9 if callers < 1_000 else 3,
        )
    for callers in bench.effort.pick(full=(1, 10, 100, 1_000), quick=(1, 100), tiny=(1, 3)):
        loop = async_loop if callers == 1 else lambda call, run, callers=callers: crowd(call, run, callers)
        yield Panel(
            "async, one caller" if callers == 1 else f"async, {callers:,} tasks",
            base="redis.asyncio GET",
            contenders=(_plain_async(loop), *(_async(name, loop) for name in async_server)),
            cpu=True,
            rounds=None if callers == 1 else 9,
        )
    for keys in bench.effort.pick(full=(100, 1_000, 10_000), quick=(100,), tiny=(3,)):
        yield Panel(
            f"async, {keys:,} distinct gets at once",
            base="redis.asyncio GET",
            contenders=(
                _distinct_plain(keys, waiting=True),
                _distinct_plain(keys, waiting=False),
                _distinct_bytes(keys),
                _distinct_ours(keys, cached=False),
                _distinct_ours(keys, cached=True),
            ),
            cpu=True,
            rounds=None if keys == 100 else 9,
        )
    yield Panel(
        "commands sent",
        base="redis-py GET",
        contenders=(
            _counting(_plain, sync_loop),
            *(_counting(lambda loop, name=name: _sync(name, loop), sync_loop) for name in sync_server),  # type: ignore[misc]
            *(
                _counting(lambda loop, name=name: _async(name, loop), async_loop)  # type: ignore[misc]
                for name in async_server
                if name not in sync_server
            ),
        ),
        unit=COUNT,
        once=True,
        rounds=1,
    )


SUITE = Suite(
    name="hit-server",
    about="a hit on a server on this machine, beside a plain GET by redis-py of the same bytes",
    counted="time of one hit (with many callers: elapsed time by hits), and CPU time of this process by hits",
    panels=_panels,
)
