"""What the flight tests share: crowds released together, computations that wait to be let go, and quiet afterwards."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

from memocache import Cache
from memocache._runtime import asyncio_tasks
from memocache._runtime import drivers as _runtime

BOUND = 20.0
"""Seconds something that must happen may take before the test fails."""


def until(condition: Callable[[], Any]) -> None:
    """Wait for a condition that another thread or process brings about."""
    deadline = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.001)


async def auntil(condition: Callable[[], Any]) -> None:
    """`until`, letting the loop run."""
    deadline = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.001)


def crowd(count: int, call: Callable[[int], Any]) -> list[Any]:
    """What `call(n)` came to in each of `count` threads released by one barrier; an exception in place of its value."""
    results: list[Any] = [None] * count
    barrier = threading.Barrier(count)

    def run(n: int) -> None:
        barrier.wait(BOUND)
        try:
            results[n] = call(n)
        except BaseException as error:
            results[n] = error

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    join(*threads)
    return results


async def acrowd(count: int, call: Callable[[int], Awaitable[Any]]) -> list[Any]:
    """The same with tasks released by one event."""
    release = asyncio.Event()

    async def run(n: int) -> Any:
        await release.wait()
        return await call(n)

    tasks = [asyncio.create_task(run(n)) for n in range(count)]
    await asyncio.sleep(0)
    release.set()
    async with asyncio.timeout(BOUND):
        return await asyncio.gather(*tasks, return_exceptions=True)


def start(call: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """A thread that calls, and the list its outcome will be the only item of."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, results


def join(*threads: threading.Thread) -> None:
    """Wait for threads, and fail if one hangs."""
    for thread in threads:
        thread.join(BOUND)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"


class Slow:
    """The body of a function: serial numbers, each given out only after `go` is set."""

    def __init__(self) -> None:
        self.calls = 0
        self.entered = threading.Event()
        self.go = threading.Event()
        self._lock = threading.Lock()

    def __call__(self) -> int:
        with self._lock:
            self.calls += 1
            serial = self.calls
        self.entered.set()
        assert self.go.wait(BOUND)
        return serial

    async def awaited(self) -> int:
        """The same for a coroutine."""
        self.calls += 1
        serial = self.calls
        self.entered.set()
        await auntil(self.go.is_set)
        return serial

    def wait_entered(self) -> None:
        assert self.entered.wait(BOUND), "nobody computes"


def traces(cache: Cache) -> dict[str, Any]:
    """What is still under way in a cache and this process: empty when nothing was left behind."""
    left: dict[str, Any] = {}
    if len(cache._flights):
        left["flights"] = len(cache._flights)
    if _runtime._background or asyncio_tasks._tasks:
        left["background"] = _runtime._background
    shared = cache._places.shared
    held = getattr(getattr(shared, "keeper", None), "_held", None)
    if held:
        left["leases"] = len(held)
    threads = [t.name for t in threading.enumerate() if t.name == "memocache-refresh"]
    if threads:
        left["threads"] = threads
    return left


def assert_quiet(cache: Cache) -> None:
    """Nothing is left behind: no flight, task, thread or lease."""
    deadline = time.monotonic() + 3.0
    while traces(cache) and time.monotonic() < deadline:
        gc.collect()  # an exception that was kept and its frames hold each other, and so what the frames held
        time.sleep(0.002)
    left = traces(cache)
    assert left == {}, str(left)
