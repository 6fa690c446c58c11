"""Races under trio: a leader that is cancelled, an invalidation half way, a crowd; and a cancellation at every step."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from memocache import Cache
from tests.promises.flight.support import BOUND, assert_quiet

trio = pytest.importorskip("trio")


def test_a_cancelled_leader_passes_on(cache: Cache, run: Any, until: Any) -> None:
    """Of fifty followers of a leader that is cancelled, one computes, and the others take what it computed."""
    calls: list[int] = []
    go = []

    @cache.cached(name="f")
    async def f(x: int) -> int:
        calls.append(x)
        if len(calls) == 1:
            await trio.sleep_forever()
        await until(lambda: go)
        return len(calls)

    async def main() -> None:
        got: list[int] = []
        scope = trio.CancelScope()

        async def lead() -> None:
            with scope:
                await f(1)

        async def follow() -> None:
            got.append(await f(1))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lead)
            await until(lambda: calls)
            for _ in range(50):
                nursery.start_soon(follow)
            await until(lambda: f.stats().coalesced >= 50)
            scope.cancel()
            await until(lambda: len(calls) == 2)
            go.append(1)
        assert scope.cancelled_caught
        assert got == [2] * 50
        assert len(calls) == 2

    run(main)
    assert_quiet(cache)


def test_a_cancelled_follower_leaves_alone(cache: Cache, run: Any, until: Any) -> None:
    """A follower whose scope ends leaves; leader and other followers get their value."""
    calls: list[int] = []
    go = []

    @cache.cached(name="f")
    async def f(x: int) -> int:
        calls.append(x)
        await until(lambda: go)
        return x

    async def main() -> None:
        got: list[int] = []

        async def call() -> None:
            got.append(await f(1))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await until(lambda: len(cache._flights))
            nursery.start_soon(call)
            with trio.move_on_after(0.01) as scope:
                await f(1)
            assert scope.cancelled_caught
            go.append(1)
        assert got == [1, 1]

    run(main)
    assert calls == [1]
    assert_quiet(cache)


def test_invalidated_half_way(cache: Cache, run: Any, until: Any) -> None:
    """A computation that an invalidation overtakes is not stored, and a call after the invalidation computes anew."""
    source = [1]
    entered: list[int] = []
    go = []

    @cache.cached(name="f")
    async def f(x: int) -> int:
        read = source[0]
        entered.append(read)
        if len(entered) == 1:
            await until(lambda: go)
        return read

    async def main() -> None:
        got: list[int] = []

        async def call() -> None:
            got.append(await f(1))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await until(lambda: entered)
            source[0] = 2
            await f.invalidate(1)
            assert await f(1) == 2
            go.append(1)
        assert got == [1]
        assert await f(1) == 2

    run(main)
    assert entered == [1, 2]
    assert_quiet(cache)


@pytest.mark.parametrize("settings", [{}, {"hard_timeout": 30}, {"tags": "t:{x}"}, {"coalesce": None}])
def test_cancelled_at_every_checkpoint(cache: Cache, run: Any, settings: dict[str, Any]) -> None:
    """A call that is cancelled at its first, second, third … checkpoint leaves nothing, and the next is whole."""

    @cache.cached(name="f", **settings)
    async def f(x: int) -> int:
        await trio.lowlevel.checkpoint()
        return x

    async def main() -> None:
        for x in range(200):
            if not await _cut(x, lambda x=x: f(x)):
                break
            with trio.fail_after(BOUND):
                assert await f(x) == x
        else:
            raise AssertionError("it never came to its end")
        assert x > 0  # it was cut short somewhere

    run(main)
    assert_quiet(cache)


def test_invalidations_and_closing_cancelled_at_every_checkpoint(cache: Cache, run: Any) -> None:
    """The same of `invalidate`, `aio.set`, `map` and `aio.close`."""

    @cache.cached(name="f")
    async def f(x: int) -> int:
        await trio.lowlevel.checkpoint()
        return x

    async def all_of_it(x: int) -> None:
        await f(x)
        await f.invalidate(x)
        await cache.aio.set(f"k{x}", x)
        assert await f.map([x, x + 1000]) == [x, x + 1000]
        await cache.aio.close()

    async def main() -> None:
        for x in range(400):
            if not await _cut(x, lambda x=x: all_of_it(x)):
                break
            with trio.fail_after(BOUND):
                assert await f(x) == x
        else:
            raise AssertionError("it never came to its end")

    run(main)
    assert_quiet(cache)


async def _cut(steps: int, call: Any) -> bool:
    """Call in a task that is cancelled after it was stepped so many times; whether it was cut short."""

    class Counting(trio.abc.Instrument):  # type: ignore[misc]  # trio may be absent where types are checked
        left = steps

        def before_task_step(self, task: Any) -> None:
            if task is target[0]:
                if self.left == 0:
                    scope.cancel()
                self.left -= 1

    target: list[Any] = [None]
    scope = trio.CancelScope()
    counting = Counting()

    async def cut() -> None:
        target[0] = trio.lowlevel.current_task()
        if not steps:
            scope.cancel()
        counting.left -= 1
        with scope:
            await call()

    trio.lowlevel.add_instrument(counting)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cut)
    finally:
        trio.lowlevel.remove_instrument(counting)
    return bool(scope.cancelled_caught)


def test_a_stream_whose_leader_is_cancelled_goes_on(cache: Cache, run: Any, until: Any) -> None:
    """The reader that began a run leaves half way; the others get all of it, and it is stored."""
    runs: list[int] = []

    @cache.cached(name="s", stream=True)
    async def s(n: int) -> AsyncIterator[int]:
        runs.append(n)
        for i in range(n):
            await trio.lowlevel.checkpoint()
            yield i

    async def main() -> None:
        got: list[list[int]] = []
        scope = trio.CancelScope()
        read: list[int] = []

        async def lead() -> None:
            with scope:
                async for item in s(6):
                    read.append(item)
                    if item == 2:
                        await trio.sleep_forever()

        async def follow() -> None:
            got.append([item async for item in s(6)])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lead)
            await until(lambda: len(read) == 3)
            for _ in range(10):
                nursery.start_soon(follow)
            await until(lambda: s.stats().coalesced >= 10 or got)
            scope.cancel()
        assert got == [[0, 1, 2, 3, 4, 5]] * 10

    run(main)
    assert runs == [6]
    assert_quiet(cache)


def test_nested_scopes_and_cycles(cache: Cache, run: Any) -> None:
    """Cached functions that call each other, under scopes of their own and in a circle, do not hang."""

    @cache.cached(name="fib")
    async def fib(n: int) -> int:
        if n < 2:
            return n
        got: list[int] = []

        async def add(k: int) -> None:
            with trio.move_on_after(30):
                got.append(await fib(k))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(add, n - 1)
            nursery.start_soon(add, n - 2)
        return sum(got)

    @cache.cached(name="a")
    async def a(x: int) -> int:
        await trio.lowlevel.checkpoint()
        return 1 if x == 0 else await b(x)

    @cache.cached(name="b")
    async def b(x: int) -> int:
        await trio.lowlevel.checkpoint()
        return await a(0) + 1

    async def main() -> None:
        assert await fib(12) == 144
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(a, 1)
                nursery.start_soon(b, 1)
        assert await a(1) == 2

    run(main)
    assert_quiet(cache)


def test_calls_after_the_end_of_main_come_to_an_end(cache: Cache, run: Any) -> None:
    """A system task that calls while the run ends, when nothing runs behind it any more, computes by itself."""
    got: list[Any] = []

    @cache.cached(name="f", hard_timeout=30)
    async def f(x: int) -> int:
        await trio.lowlevel.checkpoint()
        return x

    @cache.cached(name="s", stream=True)
    async def s(n: int) -> AsyncIterator[int]:
        for i in range(n):
            await trio.lowlevel.checkpoint()
            yield i

    async def late() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                got.append(await f(7))
                got.append([item async for item in s(3)])

    async def main() -> None:
        trio.lowlevel.spawn_system_task(late)
        await trio.testing.wait_all_tasks_blocked()

    run(main)
    assert got == [7, [0, 1, 2]]
    assert_quiet(cache)
