"""What most suites make their contenders of: hot loops over calls that hit."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks._measure import Bench, Contender, Sample

KEYS = tuple(range(1_000, 1_256))
"""The arguments that a hot loop goes round: 256 of them, so that no contender is measured on one lucky entry."""


def contender(name: str, *, peer: bool = False) -> Callable[[Callable[[Bench], Iterator[Sample]]], Contender]:
    """Make a `Contender` of a generator function that yields its `Sample` once."""
    return lambda setup: Contender(name, contextmanager(setup), peer)


Clock = Callable[[], float]
"""What a loop is timed with: `time.perf_counter`, or `time.process_time` where nothing is waited for, which on a busy
machine counts only our own work (that of a library's own threads included).
"""


def sync_loop(call: object, expression: str = "f(k)", clock: Clock = time.perf_counter) -> Sample:
    """Return a sample of `expression` (in `f` and `k`) over `KEYS`, after one pass that fills the cache."""
    return _per_operation(_compiled(call, expression, colour="", wait="", clock=clock))


def async_loop(
    call: object, run_until: Callable[..., float], expression: str = "f(k)", clock: Clock = time.perf_counter
) -> Sample:
    """Return a sample like `sync_loop`'s of an awaited `expression`; `run_until` runs a coroutine on one loop."""
    run = _compiled(call, expression, colour="async ", wait="await ", clock=clock)
    return _per_operation(lambda loops: run_until(run(loops)))


def crowd(call: Callable[..., Awaitable[object]], run_until: Callable[..., float], tasks: int) -> Sample:
    """Return a sample of awaited ``call(k)`` by so many tasks at once."""

    async def worker(first: int, turns: int) -> None:
        for turn in range(first, first + turns):
            await call(KEYS[turn % len(KEYS)])

    async def run(turns: int) -> float:
        start = time.perf_counter()
        await asyncio.gather(*(worker(first, turns) for first in range(tasks)))
        return (time.perf_counter() - start) / (tasks * turns)

    async def fill() -> float:
        for key in KEYS:
            await call(key)
        return 0.0

    run_until(fill())
    return lambda number: run_until(run(number))


def burst(
    fill: Callable[[int], Awaitable[object]],
    get: Callable[[int], Awaitable[object]],
    run_until: Callable[..., float],
    keys: Sequence[int],
) -> Sample:
    """Return a sample of awaited ``get(k)`` of all keys at once, after ``fill(k)`` of each in turn."""

    async def filled() -> float:
        for key in keys:
            await fill(key)
        return 0.0

    async def run(turns: int) -> float:
        start = time.perf_counter()
        for _ in range(turns):
            await asyncio.gather(*map(get, keys))
        return (time.perf_counter() - start) / (turns * len(keys))

    run_until(filled())
    run_until(run(1))  # opens the connections
    return lambda number: run_until(run(number))


class Threads:
    """A sample of ``call(k)`` by so many threads at once: seconds per call, all threads taken together.

    They share `KEYS` among them; where there are more threads than keys, each has one.
    """

    def __init__(self, call: Callable[..., object], number: int) -> None:
        for key in KEYS:
            call(key)  # fills the cache
        shares = [KEYS[first % len(KEYS) :: number] for first in range(number)]
        self._runs = [_compiled(call, "f(k)", colour="", wait="", keys=share) for share in shares]
        self._keys = sum(map(len, shares))
        self._turns = max(1, number // 64)  # so that each of many threads has something to do

    def calls(self, loops: int) -> int:
        """How many calls so many loops are."""
        return loops * self._turns * self._keys

    def __call__(self, loops: int) -> float:
        barrier = threading.Barrier(len(self._runs) + 1)

        def work(run: Callable[[int], Any]) -> None:
            barrier.wait()
            run(loops * self._turns)

        workers = [threading.Thread(target=work, args=(run,)) for run in self._runs]
        for worker in workers:
            worker.start()
        barrier.wait()
        start = time.perf_counter()
        for worker in workers:
            worker.join()
        return (time.perf_counter() - start) / self.calls(loops)


def _compiled(
    call: object,
    expression: str,
    *,
    colour: str,
    wait: str,
    keys: Sequence[int] = KEYS,
    clock: Clock = time.perf_counter,
) -> Callable[[int], Any]:
    """Return a function that goes round `keys` so many times and returns seconds, with nothing else in its loop."""
    scope: dict[str, Any] = {"f": call, "keys": keys, "clock": clock}
    exec(
        f"{colour}def run(loops):\n"
        "    start = clock()\n"
        "    for _ in range(loops):\n"
        f"        for k in keys: {wait}{expression}\n"
        "    return clock() - start\n",
        scope,
    )
    run: Callable[[int], Any] = scope["run"]
    return run


def _per_operation(run: Callable[[int], float]) -> Sample:
    run(1)  # fills the cache
    return lambda loops: run(loops) / (loops * len(KEYS))
