"""`await f.map(…)`: misses of an async function are computed side by side, `concurrency` of them at a time."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest

from memocache import MISSING
from tests.promises.behaviour.world import World
from tests.promises.flight.support import BOUND, assert_quiet
from tests.worlds import SERVERS, TIERED, worlds

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
_ASYNC = [one for one in worlds(("memory", "disk", *SERVERS[:1], *TIERED)) if "async" in str(one)]
world = pytest.mark.parametrize("world", _ASYNC, indirect=True)


class _Room:
    """Those who compute at the same time, each of whom waits until `size` are there."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.inside = self.most = 0
        self.full = asyncio.Event()

    async def enter(self) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        if self.inside >= self.size:
            self.full.set()
        async with asyncio.timeout(BOUND):
            await self.full.wait()
        self.inside -= 1


@world
def test_misses_are_computed_side_by_side(world: World) -> None:
    """Ten misses are under way at once; the results are in the order of the calls, hits and calls made twice too."""
    room = _Room(10)

    @world.cache.cached(name="f")
    async def f(n: int) -> list[int]:
        await room.enter()
        return [n]

    async def main() -> None:
        await f.put([20], 20)
        assert await f.map([20, *range(10), 5, 3]) == [[20], *([n] for n in range(10)), [5], [3]]
        assert await f.map(range(10)) == [[n] for n in range(10)]

    world.run(main())
    assert (f.stats().hits, f.stats().misses) == (13, 10)
    assert_quiet(world.cache)


@world
def test_concurrency_bounds_them(world: World) -> None:
    """With ``concurrency=3`` no more than three run at a time, and with 1 one after the other."""

    async def main(most: int) -> int:
        room = _Room(most)

        @world.cache.cached(name=f"f{most}")
        async def f(n: int) -> int:
            await room.enter()
            return n

        values = await f.map_with_status(range(7), concurrency=most)
        assert [value for value, _ in values] == list(range(7))
        return room.most

    assert world.run(main(3)) == 3
    assert world.run(main(1)) == 1


@world
def test_the_first_failure_is_raised_and_ends_the_others(world: World) -> None:
    """What else runs is cancelled and has ended when the failure is raised; what had come to a value is kept."""
    ended: list[int] = []
    began: list[int] = []

    @world.cache.cached(name="f")
    async def f(n: int) -> int:
        if n == 0:
            return n
        began.append(n)
        try:
            if n == 2:
                while 1 not in began or await f.peek(0) is MISSING:  # the order in which a disk answers is its own
                    await asyncio.sleep(0)
                raise LookupError(n)
            await asyncio.Event().wait()
        finally:
            ended.append(n)
        return n

    async def main() -> None:
        with pytest.raises(LookupError):
            await f.map(range(5), concurrency=3)
        assert set(ended) <= {1, 2, 3}
        assert {1, 2} <= set(ended)
        assert await f.peek(0) == 0
        assert len(asyncio.all_tasks()) == 1

    world.run(main())
    assert_quiet(world.cache)


@world
def test_a_map_that_is_cancelled_ends_its_calls(world: World) -> None:
    """Cancelling the map cancels the calls under way, and leaves no flight and no task."""
    ended: list[int] = []

    @world.cache.cached(name="f")
    async def f(n: int) -> int:
        try:
            inside.set()
            await asyncio.Event().wait()
        finally:
            ended.append(n)
        return n

    async def main() -> None:
        task = asyncio.create_task(f.map(range(3)))
        async with asyncio.timeout(BOUND):
            await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1

    inside = asyncio.Event()
    world.run(main())
    assert ended
    assert_quiet(world.cache)


@world
def test_calls_that_need_each_other_are_computed_once(world: World) -> None:
    """A dynamic program asked for from its far end: every call runs once, and none waits for itself."""
    ran: list[int] = []

    @world.cache.cached(name="f")
    async def f(n: int) -> int:
        ran.append(n)
        await asyncio.sleep(0)
        return n if n < 2 else await f(n - 1) + await f(n - 2)

    async def main() -> None:
        assert (await f.map(range(20, 0, -1)))[0] == 6765

    world.run(main())
    assert sorted(ran) == list(range(21))
    assert_quiet(world.cache)


_USER: contextvars.ContextVar[str] = contextvars.ContextVar("user")


@world
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_what_tears_a_call_down_reaches_the_caller(world: World, error: type[BaseException]) -> None:
    """A computation that is torn down tears the map down, in the caller's context; the next map computes."""
    poisoned = True

    @world.cache.cached(name="f")
    async def f(n: int) -> str:
        if poisoned and n == 1:
            raise error
        return _USER.get()

    async def main() -> Any:
        _USER.set("ann")
        return await f.map(range(3))

    with pytest.raises(error):
        world.run(main())
    poisoned = False
    assert world.run(main()) == ["ann"] * 3


def test_a_sync_function_takes_no_concurrency(world: World) -> None:
    """It has no tasks, and says so; an int of at least 1 is asked for."""

    @world.cached(name="f")
    def f(n: int) -> int:
        return n

    if world.is_async:
        with pytest.raises(ValueError, match="concurrency="):
            world.call(f.map, [1], concurrency=0)
    else:
        with pytest.raises(TypeError, match="concurrency="):
            f.map([1], concurrency=2)  # type: ignore[call-arg]  # what this is about
