"""Single-flight among threads, tasks and loops of one process: a crowd makes one call."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from memocache import Cache
from tests.promises.flight.support import BOUND, Slow, acrowd, assert_quiet, auntil, crowd, join, start, until
from tests.worlds import FULL

ELSEWHERE = int(os.environ.get("MEMOCACHE_ROUNDS", "5"))
"""Rounds on a server, where one takes longer; 50 for the long run."""


def _rounds(make_cache: Any) -> int:
    return (50 if FULL else 20) if make_cache.kind == "memory" else ELSEWHERE


def test_200_cold_threads_make_one_call(make_cache: Callable[..., Cache]) -> None:
    """200 threads released together on a cold key make one call and get its value, round after round."""
    cache, calls, rounds = make_cache(), [], _rounds(make_cache)
    barrier = threading.Barrier(200)
    seen: list[set[Any]] = [set() for _ in range(rounds)]

    @cache.cached(name="f")
    def f(n: int) -> int:
        calls.append(n)
        return len(calls)

    def run(_: int) -> None:
        for n in range(rounds):
            barrier.wait(BOUND)
            seen[n].add(f(n))

    assert crowd(200, run) == [None] * 200
    assert calls == list(range(rounds))
    assert [len(values) for values in seen] == [1] * rounds
    stats = f.stats()
    assert stats.hits + stats.misses == 200 * rounds
    assert_quiet(cache)


def test_a_crowd_waits_for_a_slow_leader(cache: Cache) -> None:
    """100 threads that all join while the leader computes share one call, and are counted as coalesced."""
    slow = Slow()

    @cache.cached(name="f")
    def f(n: int) -> int:
        return slow()

    thread, results = start(lambda: crowd(100, lambda n: f(1)))
    until(lambda: f.stats().coalesced == 99)
    slow.go.set()
    join(thread)
    assert results == [[1] * 100]
    assert slow.calls == 1
    assert f.cache_info()[:2] == (0, 100)
    assert_quiet(cache)


def test_1000_cold_tasks_make_one_call(make_cache: Callable[..., Cache]) -> None:
    """1,000 tasks released together on a cold key make one call and get its value, round after round."""
    cache, calls, rounds = make_cache(), [], _rounds(make_cache)

    @cache.cached(name="f")
    async def f(n: int) -> int:
        calls.append(n)
        await asyncio.sleep(0)
        return len(calls)

    async def main() -> None:
        for n in range(rounds):
            values = await acrowd(1000, lambda _, n=n: f(n))
            assert values == [n + 1] * 1000
        await cache.aio.close()

    asyncio.run(main())
    assert calls == list(range(rounds))
    stats = f.stats()
    assert stats.hits + stats.misses == 1000 * rounds
    assert_quiet(cache)


def test_tasks_of_two_loops_make_one_call(cache: Cache) -> None:
    """Tasks of two event loops in two threads share one computation, whichever loop runs it."""
    slow = Slow()

    @cache.cached(name="f")
    async def f(n: int) -> int:
        return await slow.awaited()

    async def main() -> list[int]:
        values = await acrowd(50, lambda _: f(1))
        await cache.aio.close()
        return values

    threads = [start(lambda: asyncio.run(main())) for _ in range(2)]
    until(lambda: f.stats().coalesced == 99)
    slow.go.set()
    join(*(thread for thread, _ in threads))
    assert [results for _, results in threads] == [[[1] * 50], [[1] * 50]]
    assert slow.calls == 1
    assert_quiet(cache)


def test_followers_do_not_share_mutations(cache: Cache) -> None:
    """Callers that share a computation do not see each other's mutations of the result."""
    slow = Slow()

    @cache.cached(name="f")
    def f(n: int) -> list[int]:
        return [slow()]

    def call(n: int) -> list[int]:
        value: list[int] = f(1)
        return value

    thread, results = start(lambda: crowd(10, call))
    until(lambda: f.stats().coalesced == 9)
    slow.go.set()
    join(thread)
    assert results[0] == [[1]] * 10
    assert len({id(value) for value in results[0]}) == 10


def test_followers_get_the_leaders_exception(cache: Cache) -> None:
    """A raising leader's exception reaches every follower, is not remembered, and its traceback does not grow."""
    slow = Slow()

    @cache.cached(name="f")
    def f(n: int) -> int:
        raise LookupError(slow())

    thread, results = start(lambda: crowd(30, lambda n: f(1)))
    until(lambda: f.stats().coalesced == 29)
    slow.go.set()
    join(thread)
    assert [type(error) for error in results[0]] == [LookupError] * 30
    assert {error.args for error in results[0]} == {(1,)}
    with pytest.raises(LookupError, match="2"):
        f(1)
    assert_quiet(cache)


def test_async_followers_get_the_leaders_exception(cache: Cache) -> None:
    """The same among tasks."""
    slow = Slow()

    @cache.cached(name="f")
    async def f(n: int) -> int:
        raise LookupError(await slow.awaited())

    async def main() -> None:
        waiting = asyncio.create_task(acrowd(30, lambda n: f(1)))
        await auntil(lambda: f.stats().coalesced == 29)
        slow.go.set()
        errors = await waiting
        assert {(type(error), error.args) for error in errors} == {(LookupError, (1,))}
        await cache.aio.close()

    asyncio.run(main())
    assert slow.calls == 1
    assert_quiet(cache)


def test_without_coalescing_everyone_computes(cache: Cache) -> None:
    """`coalesce=None` shares nothing: two threads at once compute twice."""
    slow = Slow()

    @cache.cached(name="f", coalesce=None)
    def f(n: int) -> int:
        return slow()

    thread, results = start(lambda: crowd(2, lambda n: f(1)))
    until(lambda: slow.calls == 2)
    slow.go.set()
    join(thread)
    assert sorted(results[0]) == [1, 2]
    assert_quiet(cache)


def test_first_calls_made_together_are_of_one_function() -> None:
    """What a function captured is read once for all threads whose first calls meet, also where it has no value."""

    def make() -> tuple[list[int], Callable[[int], int]]:
        calls, captured = [], threading.Event()

        @Cache().cached
        def f(n: int) -> int:
            calls.append(n)
            captured.wait(0.01)
            return n

        return calls, f

    for calls, f in [make() for _ in range(50)]:
        crowd(2, lambda _, f=f: f(1))
        assert calls == [1]
