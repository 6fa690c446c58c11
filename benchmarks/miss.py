"""What a miss costs beyond the computation: every call has an argument that was never seen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from benchmarks._loops import Clock, contender
from benchmarks._measure import Bench, Contender, Noted, Panel, Sample, Suite, Unavailable
from benchmarks._peers import OURS, async_memory, async_server_locked, sync_memory, sync_server
from benchmarks._units import COUNT

SIZE = 1_024
_numbers = count(1_000_000)


def _work(a: int) -> int:
    return a


async def _awork(a: int) -> int:
    return a


def _fresh(call: Callable[[int], object], clock: Clock = time.perf_counter) -> Sample:
    """Return a sample of calls with arguments that nobody used before."""

    def sample(number: int) -> float:
        arguments = [next(_numbers) for _ in range(number)]
        start = clock()
        for argument in arguments:
            call(argument)
        return (clock() - start) / number

    return sample


def _fresh_async(call: Callable[[int], Any], runner: asyncio.Runner, clock: Clock = time.perf_counter) -> Sample:
    async def run(number: int) -> float:
        arguments = [next(_numbers) for _ in range(number)]
        start = clock()
        for argument in arguments:
            await call(argument)
        return (clock() - start) / number

    return lambda number: runner.run(run(number))


@contender("plain call")
def _plain(bench: Bench) -> Iterator[Sample]:
    yield _fresh(_work, time.process_time)


@contender("plain awaited call")
def _plain_async(bench: Bench) -> Iterator[Sample]:
    with asyncio.Runner() as runner:
        yield _fresh_async(_awork, runner, time.process_time)


@contender("redis-py GET, then SET")
def _get_set(bench: Bench) -> Iterator[Sample]:
    import redis

    with redis.Redis.from_url(bench.server_url) as client:

        def call(number: int) -> None:
            client.get(f"miss:{number}")
            client.set(f"miss:{number}", b"\x01", ex=3_600)

        yield _fresh(call)


@contender("redis.asyncio GET, then SET")
def _get_set_async(bench: Bench) -> Iterator[Sample]:
    import redis.asyncio

    with asyncio.Runner() as runner:
        client = redis.asyncio.Redis.from_url(bench.server_url)

        async def call(number: int) -> None:
            await client.get(f"miss:{number}")
            await client.set(f"miss:{number}", b"\x01", ex=3_600)

        yield _fresh_async(call, runner)
        runner.run(client.aclose())


def _memory(name: str) -> Contender:
    @contender(name, peer=name not in OURS)
    def setup(bench: Bench) -> Iterator[Sample]:
        yield _fresh(sync_memory[name](SIZE)(_work), time.process_time)

    return setup


def _memory_async(name: str) -> Contender:
    @contender(name, peer=name not in OURS)
    def setup(bench: Bench) -> Iterator[Sample]:
        with asyncio.Runner() as runner:
            yield _fresh_async(async_memory[name](SIZE)(_awork), runner, time.process_time)

    return setup


def _server(name: str) -> Contender:
    @contender(name, peer=name not in OURS)
    def setup(bench: Bench) -> Iterator[Sample]:
        with sync_server[name](bench.server_url) as decorate:
            yield _fresh(decorate(_work))

    return setup


def _server_async(name: str) -> Contender:
    @contender(name, peer=name not in OURS)
    def setup(bench: Bench) -> Iterator[Sample]:
        with asyncio.Runner() as runner:
            context = async_server_locked[name](bench.server_url)
            yield _fresh_async(runner.run(context.__aenter__())(_awork), runner)
            runner.run(context.__aexit__(None, None, None))

    return setup


def _round_trips(name: str) -> Contender:
    """The answers that a proxy passes on during one miss, everything being connected."""

    @contender(name, peer=name not in OURS)
    def setup(bench: Bench) -> Iterator[Sample]:
        from memocache.testing.proxy import FaultProxy

        with FaultProxy(bench.server.port) as proxy, sync_server[name](proxy.url) as decorate:
            proxy.fault("delay", seconds=0.0)
            miss = _fresh(decorate(_work))

            def sample(number: int) -> float:
                before = proxy.answers
                miss(1)
                return proxy.answers - before

            for _ in range(3):
                miss(1)  # connects, and makes what is made once
            yield lambda number: _least(sample)

    return setup


def _least(sample: Sample, tries: int = 7) -> Noted:
    """The least of a few: what is sent in the background now and then is not the miss's own.

    None at all is a cache that believes the server to be away, as after a stall of a busy machine.
    """
    counted = [answers for _ in range(tries) if (answers := sample(1))]
    if not counted:
        raise Unavailable("the server was not reached in time")
    return Noted(min(counted), f"of {len(counted)} misses, the most took {max(counted):.0f}")


def _panels(bench: Bench) -> Iterator[Panel]:
    yield Panel("in the process, sync", base="plain call", contenders=(_plain, *map(_memory, sync_memory)))
    yield Panel(
        "in the process, async", base="plain awaited call", contenders=(_plain_async, *map(_memory_async, async_memory))
    )
    yield Panel(
        "on a server, sync",
        base="redis-py GET, then SET",
        contenders=(_get_set, *map(_server, sync_server)),
        rounds=9,
    )
    yield Panel(
        "on a server, async",
        base="redis.asyncio GET, then SET",
        contenders=(_get_set_async, *map(_server_async, async_server_locked)),
        rounds=9,
    )
    yield Panel(
        "round trips of one miss on a server",
        base="memocache",
        contenders=tuple(map(_round_trips, sync_server)),
        unit=COUNT,
        once=True,
        rounds=1,
    )


SUITE = Suite(
    name="miss",
    about="a miss of a function that costs nothing: what the cache adds",
    counted="time of one call that computes and stores (in the process: processor time); answers seen by a proxy",
    panels=_panels,
)
