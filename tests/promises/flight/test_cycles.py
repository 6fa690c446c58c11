"""Recursion and cycles: whoever would wait for itself runs directly; every wait has a deadline."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from memocache import Cache
from tests.promises.flight.support import BOUND, Slow, assert_quiet, auntil, join, start, until


def test_recursion_on_the_same_key_runs_directly(cache: Cache) -> None:
    """A function that calls itself with the same key computes again instead of waiting for itself."""
    depth: list[int] = []

    @cache.cached(name="f")
    def f(n: int) -> int:
        depth.append(n)
        return len(depth) if len(depth) == 3 else f(n)

    assert start_and_join(lambda: f(1)) == 3
    assert len(depth) == 3
    assert_quiet(cache)


def test_recursion_through_gather_runs_directly(cache: Cache) -> None:
    """The same where the recursive calls are tasks of their own."""
    calls: list[int] = []

    @cache.cached(name="f")
    async def f(n: int) -> int:
        calls.append(n)
        if len(calls) > 1:
            return 1
        return sum(await asyncio.gather(f(n), f(n), asyncio.create_task(f(n))))

    async def main() -> int:
        async with asyncio.timeout(BOUND):
            value: int = await f(1)
        await cache.aio.close()
        return value

    assert asyncio.run(main()) == 3
    assert_quiet(cache)


def test_memoized_recursion_computes_each_key_once(cache: Cache) -> None:
    """Fibonacci, the classic: one call a number."""
    calls: list[int] = []

    @cache.cached(name="fib")
    def fib(n: int) -> int:
        calls.append(n)
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    assert fib(60) == 1548008755920
    assert sorted(calls) == list(range(61))
    assert_quiet(cache)


def start_and_join(call: Callable[[], Any]) -> Any:
    """A call in a thread that must end."""
    thread, results = start(call)
    join(thread)
    return results[0]


@pytest.mark.parametrize("length", [2, 3])
def test_cycles_across_threads_do_not_hang(cache: Cache, length: int) -> None:
    """Thread i leads i and wants i + 1, all at once: somebody runs directly, and everybody gets an answer."""
    barrier = threading.Barrier(length)

    @cache.cached(name="f", exclude=("first",))
    def f(n: int, first: bool) -> int:
        if first:
            barrier.wait(BOUND)
            return n + int(f((n + 1) % length, first=False))
        return n

    started = [start(lambda n=n: f(n, first=True)) for n in range(length)]
    join(*(thread for thread, _ in started))
    for n, (_, results) in enumerate(started):
        assert type(results[0]) is int
        assert results[0] >= n
    assert_quiet(cache)


def test_cycles_across_tasks_do_not_hang(cache: Cache) -> None:
    """The same with tasks of one loop, whose inner calls are gathered."""

    async def main() -> None:
        arrived: list[int] = []

        @cache.cached(name="f", exclude=("first",))
        async def f(n: int, first: bool) -> int:
            if first:
                arrived.append(n)
                await auntil(lambda: len(arrived) == 2)
                return n + sum(await asyncio.gather(f(1 - n, first=False), f(1 - n, first=False)))
            return n

        async with asyncio.timeout(BOUND):
            await asyncio.gather(f(0, first=True), f(1, first=True))
        await cache.aio.close()

    asyncio.run(main())
    assert_quiet(cache)


def test_cycles_across_two_functions_and_colours_of_wait(cache: Cache) -> None:
    """A → B → A over two functions, one of them with a hard_timeout (its computation runs on another thread)."""
    barrier = threading.Barrier(2)

    @cache.cached(name="a", exclude=("first",))
    def a(n: int, first: bool) -> str:
        if first:
            barrier.wait(BOUND)
            return "a" + str(b(n, first=False))
        return "a"

    @cache.cached(name="b", exclude=("first",), hard_timeout=BOUND)
    def b(n: int, first: bool) -> str:
        if first:
            barrier.wait(BOUND)
            return "b" + str(a(n, first=False))
        return "b"

    started = [start(lambda: a(1, first=True)), start(lambda: b(1, first=True))]
    join(*(thread for thread, _ in started))
    assert all(type(results[0]) is str for _, results in started)
    assert_quiet(cache)


def test_max_wait_releases_followers_of_a_hung_leader(make_cache: Callable[..., Cache]) -> None:
    """A leader that never ends: its followers compute by themselves after max_wait, and their value is kept."""
    cache = make_cache(max_wait=0.2)
    hung, calls = threading.Event(), []

    @cache.cached(name="f")
    def f(n: int) -> int:
        calls.append(n)
        if len(calls) == 1:
            assert hung.wait(BOUND)
            return 1
        return 2

    leader, led = start(lambda: f(1))
    until(lambda: calls)
    followers = [start(lambda: f(1)) for _ in range(5)]
    join(*(thread for thread, _ in followers))
    assert {results[0] for _, results in followers} == {2}
    assert f(1) == 2
    hung.set()
    join(leader)
    assert led == [1]
    assert_quiet(cache)


def test_async_max_wait_releases_followers_of_a_hung_leader(make_cache: Callable[..., Cache]) -> None:
    """The same among tasks."""
    cache = make_cache(max_wait=0.2)
    slow = Slow()

    @cache.cached(name="f")
    async def f(n: int) -> int:
        return await slow.awaited() if not slow.calls else 2

    async def main() -> None:
        leader = asyncio.create_task(f(1))
        await auntil(slow.entered.is_set)
        async with asyncio.timeout(BOUND):
            assert await asyncio.gather(*(f(1) for _ in range(5))) == [2] * 5
            slow.go.set()
            assert await leader == 1
        await cache.aio.close()

    asyncio.run(main())
    assert_quiet(cache)
