"""Cancellation at every suspension point, of leader and of follower: nobody else is harmed, nothing is left behind."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from memocache import Cache
from memocache._stores.remote import lease as _leases
from tests.promises.flight.support import Slow, assert_quiet, auntil

_POINTS = 40
_OTHERS = 3


async def _cancel_at(cache: Cache, who: str, point: int) -> tuple[bool, int]:
    """Cancel a leader or follower after `point` turns of the loop; whether it had ended, and the calls made."""
    serials = itertools.count(1)
    calls: list[int] = []
    loop = asyncio.get_running_loop()

    @cache.cached(name=f"{who}{point}")
    async def f(n: int) -> int:
        serial = next(serials)
        calls.append(serial)
        for _ in range(3):
            await asyncio.sleep(0)
        return serial

    victims = [asyncio.create_task(f(1))]
    others: list[asyncio.Task[int]] = []
    if who == "leader":
        await asyncio.sleep(0)
        others = [asyncio.create_task(f(1)) for _ in range(_OTHERS)]
    else:
        others, victims = victims, []
        await auntil(lambda: len(cache._flights) == 1 or others[0].done())
        victims = [asyncio.create_task(f(1))]
        others += [asyncio.create_task(f(1)) for _ in range(_OTHERS)]
    (victim,) = victims
    for _ in range(point):
        await asyncio.sleep(0)
    ended = victim.done()
    victim.cancel()
    begun = loop.time()
    async with asyncio.timeout(8):  # less than a lease: nobody waits for one that this very process holds
        values = await asyncio.gather(*others)
        last = await f(1)
    await asyncio.gather(victim, return_exceptions=True)
    assert loop.time() - begun < 8
    assert set(values) <= set(calls)
    assert last in calls
    if not ended and victim.cancelled() and who == "leader":
        assert len(calls) <= 2, "more than one extra computation"
    else:
        assert len(calls) == 1, "a computation although nobody who computed was cancelled"
    return ended, len(calls)


@pytest.mark.parametrize("who", ["leader", "follower"])
def test_cancelled_at_every_turn_of_the_loop(cache: Cache, who: str) -> None:
    """After any number of turns: others get a right value with at most one extra computation, and all is quiet."""

    async def main() -> None:
        for point in range(_POINTS):
            ended, _ = await _cancel_at(cache, who, point)
            if ended and point > 12:
                break
        await auntil(lambda: not [t for t in asyncio.all_tasks() if t is not asyncio.current_task()])
        await cache.aio.close()

    asyncio.run(main())
    assert_quiet(cache)


class _Stop:
    """A backend operation that once never answers: it is applied, or not, and then its caller is cancelled."""

    def __init__(self, honest: Any, applied: bool, skip: int) -> None:
        self.honest = honest
        self.applied = applied
        self.skip = skip
        self.reached = asyncio.Event()

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.skip -= 1
        if self.skip != -1:
            return await self.honest(*args, **kwargs)
        if self.applied:
            await self.honest(*args, **kwargs)
        self.reached.set()
        return await asyncio.Event().wait()


@pytest.mark.parametrize("applied", [True, False], ids=["applied", "lost"])
@pytest.mark.parametrize("where", ["look", "begin", "commit"])
def test_cancelled_in_each_request(
    make_cache: Callable[..., Cache], monkeypatch: pytest.MonkeyPatch, where: str, applied: bool
) -> None:
    """Cancelled while a request is on its way, whether it arrives or not: the next call does not wait for a lease."""
    if make_cache.kind in ("memory", "object"):  # type: ignore[attr-defined]  # set by the fixture
        pytest.skip("its requests have no middle")
    cache = make_cache()
    calls: list[int] = []

    @cache.cached(name="f")
    async def f(n: int) -> int:
        calls.append(n)
        return len(calls)

    async def main() -> None:
        guard: Any = cache._guard
        asked, operation = guard._aio, "read" if where == "look" else "transact"
        if where == "look" and guard.ask_soon:
            asked, operation = cache._places.shared, "ask_soon"
        stop = _Stop(getattr(asked, operation), applied, 1 if where == "commit" else 0)
        monkeypatch.setattr(asked, operation, stop)
        leader = asyncio.create_task(f(1))
        await stop.reached.wait()
        leader.cancel()
        await asyncio.gather(leader, return_exceptions=True)
        assert leader.cancelled()
        async with asyncio.timeout(_leases.LEASE_SECONDS / 2):
            assert await f(1) in (1, 2)
        await cache.aio.close()

    asyncio.run(main())
    assert len(calls) <= 2
    assert_quiet(cache)


def test_a_coroutine_closed_elsewhere_frees_its_followers(cache: Cache) -> None:
    """A leader's coroutine that is thrown away, closed from another context, leaves no flight."""
    import contextvars

    class Pause:
        def __await__(self) -> Any:
            yield

    @cache.cached(name="f")
    async def f(n: int) -> int:
        await Pause()
        return n

    async def main() -> None:
        coroutine = f(1)
        context = contextvars.copy_context()
        while True:  # the backend's futures are the loop's business; the bare yield is the computation's
            future = context.run(coroutine.send, None)
            if future is None:
                break
            future._asyncio_future_blocking = False
            await asyncio.wait([future])
        assert len(cache._flights) == 1
        coroutine.close()
        assert len(cache._flights) == 0
        await cache.aio.close()

    asyncio.run(main())
    assert_quiet(cache)


def test_a_cancelled_follower_harms_nobody(cache: Cache) -> None:
    """The leader and the other followers of a cancelled follower get the one value."""
    slow = Slow()

    @cache.cached(name="f")
    async def f(n: int) -> int:
        return await slow.awaited()

    async def main() -> None:
        tasks = [asyncio.create_task(f(1)) for _ in range(10)]
        await auntil(lambda: f.stats().coalesced == 9)
        for task in tasks[3:6]:
            task.cancel()
        await asyncio.wait(tasks[3:6])
        slow.go.set()
        assert await asyncio.gather(*tasks[:3], *tasks[6:]) == [1] * 7
        await cache.aio.close()

    asyncio.run(main())
    assert slow.calls == 1
    assert_quiet(cache)


def test_a_function_that_cancels_itself_is_not_shared(cache: Cache) -> None:
    """A CancelledError out of the function is its caller's alone: a follower takes over."""
    slow = Slow()

    @cache.cached(name="f")
    async def f(n: int) -> int:
        serial = await slow.awaited()
        if serial == 1:
            raise asyncio.CancelledError
        return serial

    async def main() -> None:
        tasks = [asyncio.create_task(f(1)) for _ in range(5)]
        await auntil(lambda: f.stats().coalesced == 4)
        slow.go.set()
        await asyncio.wait(tasks)
        assert sorted(task.cancelled() for task in tasks) == [False] * 4 + [True]
        assert {task.result() for task in tasks if not task.cancelled()} == {2}
        await cache.aio.close()

    asyncio.run(main())
    assert_quiet(cache)
