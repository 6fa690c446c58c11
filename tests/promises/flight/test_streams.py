"""Streams in races: crowds of readers, leaders that are cancelled, interrupted, invalidated or killed half way."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from memocache import MISSING, Cache
from memocache.testing import servers
from tests.patience import unhurried
from tests.promises.flight.support import BOUND, assert_quiet, auntil, crowd, join, start, until


async def collect(stream: Any) -> list[Any]:
    """All that an async stream gives."""
    return [item async for item in stream]


def test_fifty_threads_read_one_run(cache: Cache) -> None:
    """All begin while it runs, none waits for another's pace, and each has everything."""
    calls: list[int] = []
    begun, go = threading.Event(), threading.Event()

    @cache.cached(name="s", stream=True)
    def s(n: int) -> Iterator[list[int]]:
        calls.append(n)
        for i in range(n):
            if i == 3:
                begun.set()
                assert go.wait(BOUND)
            yield [i]

    thread, results = start(lambda: crowd(50, lambda _: list(s(20))))
    assert begun.wait(BOUND)
    until(lambda: s.stats().coalesced == 49)
    go.set()
    join(thread)
    assert results == [[[[i] for i in range(20)]] * 50]
    assert calls == [20]
    assert s.peek(20) == [[i] for i in range(20)]
    assert_quiet(cache)


def test_fifty_tasks_read_one_run_in_two_loops(cache: Cache) -> None:
    """Readers of another event loop are given the items too."""
    calls: list[int] = []

    @cache.cached(name="s", stream=True)
    async def s(n: int) -> AsyncIterator[list[int]]:
        calls.append(n)
        for i in range(n):
            if i == 3:
                await auntil(lambda: s.stats().coalesced == 49)
            yield [i]

    async def main() -> list[Any]:
        return list(await asyncio.gather(*(collect(s(20)) for _ in range(25))))

    results = crowd(2, lambda _: asyncio.run(main()))
    assert results == [[[[i] for i in range(20)]] * 25] * 2
    assert calls == [20]
    assert_quiet(cache)


def test_a_cancelled_leader_stops_nobody(cache: Cache) -> None:
    """The task that began it is cancelled while an item is awaited; the other reads on, and it is stored."""
    calls: list[int] = []

    async def main() -> None:
        go = asyncio.Event()

        @cache.cached(name="s", stream=True)
        async def s(n: int) -> AsyncIterator[int]:
            calls.append(n)
            for i in range(n):
                if i == 2:
                    await go.wait()
                yield i

        leader = asyncio.ensure_future(collect(s(4)))
        await auntil(lambda: calls)
        follower = asyncio.ensure_future(collect(s(4)))
        await auntil(lambda: s.stats().coalesced == 1)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        go.set()
        assert await follower == [0, 1, 2, 3]
        assert await s.peek(4) == [0, 1, 2, 3]

    asyncio.run(main())
    assert calls == [4]
    assert_quiet(cache)


def test_a_lone_cancelled_reader_ends_the_run_and_stores_nothing(cache: Cache) -> None:
    """The generator is closed in the task that ran it, and the next call runs anew."""
    closed: list[bool] = []

    async def main() -> None:
        @cache.cached(name="s", stream=True)
        async def s(n: int) -> AsyncIterator[int]:
            try:
                for i in range(n):
                    yield i
                await asyncio.Event().wait()
            finally:
                closed.append(True)

        reader = asyncio.ensure_future(collect(s(4)))
        await asyncio.sleep(0.01)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        del reader
        stream = s(2)
        assert await anext(stream) == 0
        await stream.aclose()
        assert await s.peek(2) is MISSING
        assert await s.peek(4) is MISSING

    asyncio.run(main())
    assert closed
    assert_quiet(cache)


def test_a_loop_that_ends_half_way_leaves_its_readers_a_new_run(cache: Cache) -> None:
    """The task that ran it is gone with its loop; a reader in another loop begins anew, and skips what it has had."""
    calls: list[int] = []
    reading = threading.Event()

    @cache.cached(name="s", stream=True)
    async def s(n: int) -> AsyncIterator[int]:
        calls.append(n)
        for i in range(n):
            yield i
            if i == 1 and len(calls) == 1:
                await asyncio.Event().wait()

    async def lead() -> None:
        stream = s(4)
        assert [await anext(stream), await anext(stream)] == [0, 1]
        await asyncio.to_thread(reading.wait, BOUND)

    async def follow() -> list[int]:
        await auntil(lambda: calls)
        stream = s(4)
        first = [await anext(stream), await anext(stream)]
        asyncio.get_running_loop().call_later(0.05, reading.set)
        return first + await collect(stream)

    led, followed = crowd(2, lambda n: asyncio.run(follow() if n else lead()))
    assert led is None
    assert followed == [0, 1, 2, 3]
    assert calls == [4, 4]
    assert_quiet(cache)


def test_an_interrupt_reaches_one_reader_and_another_begins_anew(cache: Cache) -> None:
    """A KeyboardInterrupt inside the generator ends it; whoever else read along runs it again."""
    calls: list[int] = []

    @cache.cached(name="s", stream=True)
    def s(n: int) -> Iterator[int]:
        calls.append(n)
        for i in range(n):
            if i == 2 and len(calls) == 1:
                raise KeyboardInterrupt
            yield i

    first, second = s(4), s(4)
    assert [next(first), next(second)] == [0, 0]
    assert next(first) == 1
    with pytest.raises(KeyboardInterrupt):
        next(first)
    assert list(second) == [1, 2, 3]
    assert calls == [4, 4]
    assert s.peek(4) == [0, 1, 2, 3]
    assert_quiet(cache)


@pytest.mark.parametrize("how", ["call", "function", "elsewhere"])
def test_invalidated_half_way_it_is_not_stored_nor_joined(make_cache: Any, how: str) -> None:
    """Who read along goes on; a call that begins after the invalidation runs anew, wherever it was invalidated."""
    if how == "elsewhere" and make_cache.kind == "memory":
        pytest.skip("there is nowhere else")
    cache = make_cache()
    calls: list[int] = []

    def generate(n: int) -> Iterator[int]:
        calls.append(n)
        run = len(calls)
        for _ in range(n):
            yield run

    s = cache.cached(name="s", stream=True, ttl=60)(generate)
    first = s(3)
    assert next(first) == 1
    if how == "elsewhere":
        make_cache().cached(name="s", stream=True, ttl=60)(generate).invalidate(3)
    elif how == "call":
        s.invalidate(3)
    else:
        s.invalidate_all()
    later = s(3)
    assert next(later) == 2
    assert list(first) == [1, 1]
    assert s.peek(3) is MISSING
    assert list(later) == [2, 2]
    assert s.peek(3) == [2, 2, 2]
    assert_quiet(cache)


_DIES = """
import os, sys
from memocache import Cache

@Cache(sys.argv[1]).cached(name="s", stream=True, ttl=60)
def s(n):
    for i in range(n):
        yield i

stream = s(4)
print(next(stream), flush=True)
sys.stdin.read()
os._exit(1)
"""


def test_a_process_that_dies_half_way_is_taken_over(valkey: servers.Server) -> None:
    """Its lease ends with it, and whoever waited runs the generator; nothing of the dead run was stored."""
    cache = Cache(unhurried(valkey.url))
    calls: list[int] = []

    @cache.cached(name="s", stream=True, ttl=60)
    def s(n: int) -> Iterator[int]:
        calls.append(n)
        yield from range(n)

    command = [sys.executable, "-c", _DIES, valkey.url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == b"0"
        thread, results = start(lambda: list(s(4)))
        other.kill()
    join(thread)
    assert results == [[0, 1, 2, 3]]
    assert calls == [4]
    assert s.peek(4) == [0, 1, 2, 3]
    cache.close()


def test_a_stream_waits_for_the_end_of_one_in_another_cache(make_cache: Any) -> None:
    """Across processes there is nothing to read along with: the other one's end is waited for, and replayed."""
    if make_cache.kind == "memory":
        pytest.skip("one process")
    calls: list[int] = []

    def generate(n: int) -> Iterator[int]:
        calls.append(n)
        yield from range(n)

    s, t = (make_cache().cached(name="s", stream=True, ttl=60)(generate) for _ in range(2))
    first = s(3)
    assert next(first) == 0
    thread, results = start(lambda: list(t(3)))
    until(lambda: t.stats().misses == 1)
    assert list(first) == [1, 2]
    join(thread)
    assert results == [[0, 1, 2]]
    assert calls == [3]
