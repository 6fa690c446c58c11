"""What async functions and `cache.aio` do under trio: what they do under asyncio (promise 7.4)."""

from __future__ import annotations

import asyncio
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import pytest

from memocache import Cache
from memocache._runtime import drivers
from memocache.exceptions import ComputeTimeout
from memocache.testing import FakeClock
from tests.promises.flight.support import BOUND, assert_quiet, join, start

trio = pytest.importorskip("trio")


def test_a_call_is_computed_once_and_served_from_any_run(make_cache: Any, run: Any) -> None:
    """Calls of one run, of a later run, of asyncio and of another cache on the same backend share one computation."""
    calls: list[int] = []

    def decorated(cache: Cache) -> Any:
        @cache.cached(name="f", version="1")
        async def f(x: int) -> list[int]:
            calls.append(x)
            await trio.sleep(0)
            return [x]

        return f

    cache = make_cache(on_error="raise")
    f = decorated(cache)

    async def main() -> list[Any]:
        return [await f(1), await f(1), (await f.with_status(1))[1].hit]

    assert run(main) == [[1], [1], True]
    assert run(main) == [[1], [1], True]
    assert asyncio.run(f(1)) == [1]
    assert calls == [1]
    other = make_cache(on_error="raise")
    assert run(lambda: decorated(other)(1)) == [1]
    assert calls == ([1] if make_cache.kind != "memory" else [1, 1])


def test_what_the_function_raises_passes_and_its_scopes_are_its_own(cache: Cache, run: Any) -> None:
    """Errors, nurseries and cancel scopes inside a cached function work as in one that is not cached."""

    @cache.cached(name="f")
    async def f(x: int) -> str:
        if x == 0:
            raise ValueError("mine")
        done = []
        with trio.move_on_after(0):
            await trio.sleep_forever()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.checkpoint)
            nursery.start_soon(lambda: _append(done))
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        return f"{x}{done}"

    async def main() -> str:
        with pytest.raises(ValueError, match="mine"):
            await f(0)
        return await f(1)

    assert run(main) == "1[1]"
    assert_quiet(cache)


async def _append(to: list[int]) -> None:
    await trio.lowlevel.checkpoint()
    to.append(1)


def test_aio_and_the_function_attributes(cache: Cache, run: Any) -> None:
    """`cache.aio` in full, and `put`, `peek`, `refresh`, `invalidate` of a function."""

    calls: list[int] = []

    @cache.cached(name="f", tags="t:{x}")
    async def f(x: int) -> int:
        calls.append(x)
        return x

    async def main() -> None:
        aio = cache.aio
        await aio.set("a", 1, ttl=60)
        assert await aio.get("a") == 1
        assert await aio.add("a", 2) is False
        assert await aio.incr("a", 2) == 3
        await aio.set_many({"b": 2, "c": 3})
        assert await aio.get_many(["a", "b", "z"]) == {"a": 3, "b": 2}
        assert await aio.exists("b")
        assert (await aio.ttl("a") or 0) > 0
        assert await aio.expire("a", 30)
        assert await aio.delete_many(["b", "c"]) == 2
        assert await aio.get_or_compute("k", lambda: 5) == 5
        assert await aio.get_or_compute("k", lambda: 6) == 5
        await f.put(10, 1)
        assert await f.peek(1) == await f(1) == 10
        assert await f.refresh(1) == 1
        assert len([key async for key in aio.keys(f)]) == 1
        assert (await aio.stats()).hits >= 1
        await f.invalidate(1)
        assert await f(1) == 1
        assert len(calls) == 2
        await aio.invalidate(tag="t:1")
        assert await f(1) == 1
        assert len(calls) == 3
        await aio.health()
        await aio.purge()
        await aio.clear()
        assert await aio.get("a") is None

    run(main)


def test_many_at_once(cache: Cache, run: Any) -> None:
    """`cached_many` and `map`, in which misses run side by side, and the first failure cancels the others."""
    running: list[int] = []
    most: list[int] = []
    cancelled: list[int] = []

    @cache.cached_many(name="load")
    async def load(ids: Iterable[int]) -> dict[int, int]:
        await trio.sleep(0)
        return {i: i * 2 for i in ids}

    @cache.cached(name="f")
    async def f(x: int) -> int:
        running.append(x)
        most.append(len(running))
        try:
            if x < 0:
                while len(running) < 3:
                    await trio.sleep(0)
                raise ValueError(str(x))
            await trio.sleep_forever()
            return x
        except trio.Cancelled:
            cancelled.append(x)
            raise
        finally:
            running.remove(x)

    async def main() -> None:
        assert await load([1, 2]) == {1: 2, 2: 4}
        assert await load([2, 3]) == {2: 4, 3: 6}
        with pytest.raises(ValueError, match="-1"):
            await f.map([100, 101, -1])
        assert running == []

    run(main)
    assert sorted(cancelled) == [100, 101]
    assert max(most) == 3
    assert_quiet(cache)


def test_map_passes_a_cancellation_and_a_lone_interrupt(cache: Cache, run: Any) -> None:
    """A scope around `map` ends it; a BaseException of one computation comes out as itself, in no group."""

    @cache.cached(name="f")
    async def f(x: int) -> int:
        if x < 0:
            raise SystemExit(x)
        await trio.sleep_forever()
        return x

    async def main() -> None:
        with trio.move_on_after(0.01) as scope:
            await f.map([1, 2, 3])
        assert scope.cancelled_caught
        with pytest.raises(SystemExit):
            await f.map([1, -1, 3])

    run(main)
    assert_quiet(cache)


def test_a_stale_value_is_served_and_refreshed_behind(make_cache: Any, run: Any, until: Any) -> None:
    """A stale hit returns at once; the refresh runs in a system task, with the context of the call."""
    clock = FakeClock()
    cache = make_cache(clock=clock, on_error="raise")
    go = []

    @cache.cached(name="f", ttl=10, stale=1000)
    async def f(x: int) -> int:
        go.append(x)
        return len(go)

    async def main() -> None:
        assert await f(1) == 1
        clock.advance(20)
        assert await f(1) == 1
        await until(lambda: f.stats().stores == 2)
        assert await f(1) == 2

    if make_cache.kind in ("memory", "disk"):
        run(main)
    assert_quiet(cache)


def test_a_refresh_that_fails_or_is_cut_off_by_the_end_of_the_run(make_cache: Any, run: Any, capsys: Any) -> None:
    """A refresh that raises anything at all, or is under way when the run ends, ends neither run nor process."""
    clock = FakeClock()
    cache = make_cache(clock=clock, default_ttl=10)
    entered: list[int] = []

    @cache.cached(name="f", ttl=10, stale=1000)
    async def f(x: int) -> int:
        entered.append(x)
        if entered.count(x) == 2:
            if x == 1:
                raise SystemExit(3)
            await trio.sleep_forever()
        return x

    async def main(x: int) -> None:
        assert await f(x) == x
        clock.advance(20)
        assert await f(x) == x
        while entered.count(x) < 2:
            await trio.sleep(0.001)

    if make_cache.kind in ("memory", "disk"):
        run(main, 1)
        run(main, 2)
        assert "SystemExit: 3" in capsys.readouterr().err
    assert_quiet(cache)
    assert drivers._background == 0


def test_soft_and_hard_timeouts(cache: Cache, run: Any, until: Any) -> None:
    """A call whose `hard_timeout` is over raises, and its computation goes on behind and is stored."""
    go: list[Any] = []

    @cache.cached(name="f", hard_timeout=0.02)
    async def f(x: int) -> int:
        go.append(trio.Event())
        await go[0].wait()
        return x

    @cache.cached(name="g", hard_timeout=30)
    async def g(x: int) -> int:
        if x < 0:
            raise SystemExit(x)
        return x

    async def main() -> None:
        with pytest.raises(ComputeTimeout):
            await f(1)
        await until(lambda: go)
        go[0].set()
        await until(lambda: f.stats().stores == 1)
        assert await f(1) == 1
        assert await g(1) == await g(1) == 1
        with pytest.raises(SystemExit):
            await g(-1)

    run(main)
    assert len(go) == 1
    assert_quiet(cache)


def test_streams(cache: Cache, run: Any) -> None:
    """An async generator function runs in one task of its own, is read along, recorded and replayed."""
    runs: list[int] = []
    tasks: set[Any] = set()

    @cache.cached(name="s", stream=True)
    async def s(n: int) -> AsyncIterator[int]:
        runs.append(n)
        with trio.CancelScope():
            for i in range(n):
                await trio.sleep(0)
                tasks.add(trio.lowlevel.current_task())
                yield i

    async def read(into: list[Any], at: int) -> None:
        into[at] = [item async for item in s(5)]

    async def main() -> None:
        got: list[Any] = [None] * 50
        async with trio.open_nursery() as nursery:
            for at in range(50):
                nursery.start_soon(read, got, at)
        assert got == [[0, 1, 2, 3, 4]] * 50
        assert await s.peek(5) == [0, 1, 2, 3, 4]
        left = s(6)
        assert await anext(left) == 0
        await left.aclose()

    run(main)
    assert runs == [5, 6]
    assert len(tasks) == 2
    assert run(lambda: _all(s(5))) == [0, 1, 2, 3, 4]
    assert runs == [5, 6]
    assert_quiet(cache)


async def _all(stream: Any) -> list[Any]:
    return [item async for item in stream]


def test_closing(make_cache: Any, run: Any) -> None:
    """`async with cache.aio` and `aio.close` work, and the cache can be used again, under asyncio after trio too."""
    cache = make_cache(on_error="raise")

    @cache.cached(name="f")
    async def f(x: int) -> int:
        return x

    async def main(x: int) -> None:
        async with cache.aio:
            assert await f(x) == x
        assert await f(x + 1) == x + 1
        await cache.aio.close()

    for at in range(3):
        run(main, 10 * at)
        asyncio.run(main(10 * at + 5))
    assert_quiet(cache)


def test_trio_as_a_guest_of_an_asyncio_loop(cache: Cache) -> None:
    """Inside a standing asyncio loop trio tasks are trio's and asyncio tasks asyncio's, and they share computations."""
    calls: list[int] = []

    @cache.cached(name="f")
    async def f(x: int) -> int:
        calls.append(x)
        while len(calls) == 1 and not go:
            await (trio.sleep(0.001) if not _in_asyncio() else asyncio.sleep(0.001))
        return x

    go: list[int] = []

    async def guest() -> list[int]:
        got: list[int] = []

        async def one() -> None:
            got.append(await f(1))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(one)
        for _ in range(5):  # server hits, while asyncio's leave in batches
            got.append(await f(1))
        return got

    async def host() -> Any:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()
        trio.lowlevel.start_guest_run(
            guest, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=done.set_result
        )
        mine = [asyncio.create_task(f(1)) for _ in range(5)]
        while not calls:
            await asyncio.sleep(0.001)
        go.append(1)
        got = await asyncio.gather(*mine)
        while not done.done():
            got.append(await f(1))
            await asyncio.sleep(0)
        return got, (await done).unwrap()

    got, guests = asyncio.run(asyncio.wait_for(host(), BOUND))
    assert set(got) == {1}
    assert guests == [1] * 10
    assert calls == [1]
    assert_quiet(cache)


def _in_asyncio() -> bool:
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_anyio_runs_on_either(cache: Cache, backend: str) -> None:
    """A program written for anyio calls cached functions whatever runs it."""
    anyio = pytest.importorskip("anyio")

    calls: list[int] = []

    @cache.cached(name="f")
    async def f(x: int) -> int:
        calls.append(x)
        await anyio.sleep(0)
        return x

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(f, 1)
        assert await f.map([1, 2]) == [1, 2]

    anyio.run(main, backend=backend)
    assert sorted(calls) == [1, 2]


def test_a_clock_that_jumps_costs_no_backend_its_breaker(make_cache: Any) -> None:
    """Under trio's `MockClock` the time of a test is no time of the threads that ask a backend."""
    cache = make_cache(on_error="raise")

    calls: list[int] = []

    @cache.cached(name="f")
    async def f(x: int) -> int:
        calls.append(x)
        await trio.sleep(1000)
        return x

    async def main() -> list[int]:
        return [await f(1), await f(1), await f(2)]

    assert trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0)) == [1, 1, 2]
    assert calls == [1, 2]


def test_threads_and_loops_share_one_computation(cache: Cache) -> None:
    """Callers in a trio run, in asyncio loops and in further trio runs of other threads get one computation."""
    calls: list[int] = []
    here = threading.Barrier(5)

    @cache.cached(name="f")
    async def f(x: int) -> int:
        calls.append(x)
        here.wait(BOUND)  # every other caller is about to call; the leader's loop stands still meanwhile
        return x

    def trio_call() -> int:
        async def main() -> int:
            return int(await f(1))

        return int(trio.run(main))

    def wait_and(call: Callable[[], int]) -> Callable[[], int]:
        def go() -> int:
            here.wait(BOUND)
            return call()

        return go

    first = start(trio_call)
    while not calls:
        first[0].join(0.001)
    others = [start(wait_and(call)) for call in (trio_call, lambda: asyncio.run(f(1)), trio_call, trio_call)]
    join(first[0], *(thread for thread, _ in others))
    assert [first[1], *(got for _, got in others)] == [[1]] * 5
    assert calls == [1]
    assert_quiet(cache)


def test_nothing_is_warned_of(cache: Cache, run: Any) -> None:
    """A whole run leaves no warning: no coroutine that was never awaited, nothing unclosed."""

    @cache.cached(name="f")
    async def f(x: int) -> int:
        return x

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(lambda: f(1)) == 1
    assert "trio" in sys.modules
