"""Blocking calls of async code run on threads of memocache's own."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from memocache import Cache
from memocache.backends import _threads
from memocache.backends._threads import Workers, in_thread
from memocache.backends.base import Busy

_BOUND = 20.0


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only two threads for blocking calls."""
    monkeypatch.setattr(_threads, "_workers", Workers(2))


def _hold(gate: threading.Event, timeout: float | None) -> bool:
    return gate.wait(_BOUND)


def test_a_full_default_executor_delays_nothing(tmp_path: Path) -> None:
    """With every thread of the loop's default executor taken by the program's own work, a cache on disk serves and
    stores as ever, and its breaker stays closed.
    """
    gate = threading.Event()

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        executor = ThreadPoolExecutor(2)
        loop.set_default_executor(executor)
        own = [loop.run_in_executor(None, gate.wait, _BOUND) for _ in range(4)]
        try:
            with Cache(f"disk://{tmp_path}/store") as cache:

                @cache.cached(ttl=600, name="f")
                async def f(key: int) -> bytes:
                    return bytes(2_000_000 if key == 0 else key)

                for _ in range(2):
                    for key in range(5):
                        assert len(await f(key)) in (key, 2_000_000)
                assert f.cache_info()[:2] == (5, 5)
                await f.invalidate(1)
                assert cache.breaker() == {"disk": "closed"}
        finally:
            gate.set()
            await asyncio.gather(*own)

    asyncio.run(scenario())


@pytest.mark.usefixtures("two_threads")
def test_waiting_for_a_thread_is_busy() -> None:
    """A call that finds no thread in time is `Busy` and never carried out; one that overruns its time is late."""
    gate, called = threading.Event(), []

    async def scenario() -> None:
        held = [asyncio.ensure_future(in_thread(_hold, gate, timeout=_BOUND)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await in_thread(lambda timeout: called.append(1), timeout=0.01)
        gate.set()
        assert await asyncio.gather(*held) == [True, True]
        late = threading.Event()
        with pytest.raises(TimeoutError) as info:
            await in_thread(_hold, late, timeout=0.5)  # long enough for a busy machine to begin it
        late.set()
        assert not isinstance(info.value, Busy)

    asyncio.run(scenario())
    assert not called


def test_threads_end_when_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread without work ends after a while, and the next call starts another."""
    monkeypatch.setattr(_threads, "_IDLE_SECONDS", 0.0)
    workers = Workers(2)
    for number in range(20):
        assert workers.submit(lambda number=number: number).result(_BOUND) == number
    ended = threading.Event()
    while workers._threads and not ended.wait(0.005):
        pass


def test_the_context_goes_along() -> None:
    """A call sees the context variables of its task, and its own changes stay with it."""
    number: contextvars.ContextVar[int] = contextvars.ContextVar("number")

    def call(timeout: float | None) -> int:
        seen = number.get()
        number.set(0)
        return seen

    async def scenario() -> None:
        number.set(5)
        assert await in_thread(call, timeout=_BOUND) == 5
        assert number.get() == 5

    asyncio.run(scenario())


def test_the_time_that_the_loop_stood_still_is_nobodys_but_its_own() -> None:
    """A call that ended while its loop was held up has its result; one that goes on is waited for as long again."""

    async def scenario(*, done_meanwhile: bool) -> str:
        begun, go = threading.Event(), threading.Event()

        def method(timeout: float | None) -> str:
            begun.set()
            go.wait(_BOUND)
            return "done"

        def stand_still() -> None:
            begun.wait(_BOUND)
            if done_meanwhile:
                go.set()
            time.sleep(0.2)  # longer than the call has: what a stopped process does
            loop.call_soon(loop.call_soon, go.set)

        loop = asyncio.get_running_loop()
        loop.call_soon(stand_still)
        found: str = await in_thread(method, timeout=0.1)
        return found

    for done_meanwhile in (True, False):
        assert asyncio.run(scenario(done_meanwhile=done_meanwhile)) == "done"


def test_a_cancelled_wait_takes_back_what_has_not_begun() -> None:
    """Whoever is cancelled while his call waits for a thread has it carried out by nobody."""
    called = []

    async def scenario() -> None:
        gate = threading.Event()
        held = [asyncio.ensure_future(in_thread(_hold, gate, timeout=_BOUND)) for _ in range(2)]
        await asyncio.sleep(0)
        waiting = asyncio.ensure_future(in_thread(lambda timeout: called.append(1), timeout=_BOUND))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gate.set()
        await asyncio.gather(*held)
        await in_thread(lambda timeout: None, timeout=_BOUND)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_threads, "_workers", Workers(2))
        asyncio.run(scenario())
    assert called == []
