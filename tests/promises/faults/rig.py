"""What the fault tests share: calls in either colour whose results are checked and timed, and a loop that must tick.

The function under test is `truth`: every result is known, some calls raise its own exception. A `Trial` of many calls
counts what no caller may see: wrong values, exceptions that are not the function's, and how long the slowest took.

How many calls: a quick share of docs/reliability.md's pass figure, all of it with ``MEMOCACHE_FAULTS=full``.

How promises of time are asserted: the machine may be busy, or stand still for seconds. `Stalls` is the control: a
thread that only sleeps, and whose oversleeping is subtracted from calls. `within` measures up to five times and takes
the best, against three times what is promised. Tests that count hits call at `leisure`, without a deadline that a stall
could meet; what is "at most once a second" is counted in events.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Self

from memocache import Cache

FULL = os.environ.get("MEMOCACHE_FAULTS") == "full"
"""Whether every row runs at its full pass figure."""
BOUND = 30.0
"""Seconds something that must happen may take before the test fails."""
STALL = 0.3
"""What backend trouble may cost a call (promise 5.2)."""
TIMES = 3
"""How many times a promised duration the best of `ROUNDS` measurements may be, on a busy machine."""
ROUNDS = 5
RECOVERY = 2.0
"""Within this many seconds of the backend's return calls use it again (promise 5.3)."""


def share(full: int, quick: int | None = None) -> int:
    """The number of calls or rounds where the table asks for `full`: `quick` or a tenth, unless all are asked for."""
    return full if FULL else quick or max(1, full // 10)


class OwnError(Exception):
    """What the function under test raises."""


def truth(x: int) -> dict[str, Any]:
    """The function under test; for every 17th argument it raises."""
    if x % 17 == 0:
        raise OwnError(str(x))
    return {"x": x, "square": x * x, "text": f"value of {x} " * 3}


def right(x: int, result: Any) -> bool:
    """Whether `result` (an exception as a value) is what `truth(x)` comes to."""
    if x % 17 == 0:
        return isinstance(result, OwnError) and str(result) == str(x)
    return not isinstance(result, BaseException) and result == truth(x)


class Stalls:
    """The control: for how long the machine, or the interpreter's lock, kept a thread waiting that only sleeps."""

    PAUSE = 0.005
    WORTH = 0.02
    """Seconds of oversleeping that count as a stall."""

    def __init__(self) -> None:
        self._late: deque[tuple[float, float]] = deque(maxlen=10_000)
        self._at = time.perf_counter()
        threading.Thread(target=self._sleep, name="control", daemon=True).start()

    def _sleep(self) -> None:
        while True:
            due = time.perf_counter() + self.PAUSE
            time.sleep(self.PAUSE)
            now = time.perf_counter()
            if now - due > self.WORTH:
                self._late.append((due, now))
            self._at = now

    def during(self, begun: float, ended: float) -> float:
        """Seconds of stalls between two moments of `time.perf_counter`."""
        until(lambda: self._at > ended)
        return sum(max(0.0, min(ended, now) - max(begun, due)) for due, now in list(self._late))


_stalls: list[Stalls] = []


def stalled(begun: float, ended: float) -> float:
    """See `Stalls.during`; one control thread serves all tests."""
    if not _stalls:
        _stalls.append(Stalls())
    return _stalls[0].during(begun, ended)


@dataclass
class Trial:
    """What became of many calls; times are seconds less the machine's stalls, `slowest` is as it was."""

    calls: int = 0
    wrong: int = 0
    raised: list[BaseException] = field(default_factory=list)
    worst: float = 0.0
    total: float = 0.0
    slowest: float = 0.0

    def add(self, x: int, result: Any, begun: float, ended: float) -> None:
        """Take in one call."""
        seconds = ended - begun
        self.calls += 1
        self.slowest = max(self.slowest, seconds)
        if seconds > 0.1:
            seconds -= stalled(begun, ended)
        self.worst = max(self.worst, seconds)
        self.total += seconds
        if not right(x, result):
            if isinstance(result, BaseException):
                self.raised.append(result)
            else:
                self.wrong += 1

    def __iadd__(self, other: Trial) -> Self:
        self.calls += other.calls
        self.wrong += other.wrong
        self.raised += other.raised
        self.worst = max(self.worst, other.worst)
        self.total += other.total
        self.slowest = max(self.slowest, other.slowest)
        return self

    def check(self) -> None:
        """The default pass of docs/reliability.md."""
        assert not self.raised, [type(error).__name__ for error in self.raised]
        assert self.wrong == 0


class Rig:
    """One colour: caches that are closed in the end, and an event loop with a ticker where the colour is async."""

    def __init__(self, colour: str) -> None:
        self.colour = colour
        self.ticks = 0
        self.seen = Trial()
        """All calls of all trials."""
        self.recovery: float | None = None
        """The longest time until the backend was used again, less the machine's stalls."""
        stalled(0.0, 0.0)  # the control runs from here on
        self.caches: list[Cache] = []
        self._runner = asyncio.Runner() if colour == "async" else None
        self._ticker: asyncio.Task[None] | None = None

    @property
    def is_async(self) -> bool:
        """Whether functions under test are ``async def``."""
        return self._runner is not None

    def cache(self, backend: Any, **options: Any) -> Cache:
        """A cache, closed with the rig."""
        self.caches.append(Cache(backend, **options))
        return self.caches[-1]

    def cached(self, cache: Cache, body: Callable[..., Any] = truth, *, name: str = "truth", **settings: Any) -> Any:
        """`body`, a function of one argument, decorated in this colour."""
        if self.is_async:

            async def coloured(x: int) -> Any:
                return body(x)
        else:

            def coloured(x: int) -> Any:  # type: ignore[misc]  # the other colour
                return body(x)

        return cache.cached(name=name, **settings)(coloured)

    def run(self, result: Any) -> Any:
        """What a call came to."""
        if self._runner is None:
            return result

        async def wait() -> Any:
            if self._ticker is None:
                self._ticker = asyncio.create_task(self._tick())
            return await result

        return self._runner.run(wait())

    def call(self, function: Any, *args: Any) -> Any:
        """A call's result; what it raised, as a value."""
        try:
            return self.run(function(*args))
        except Exception as error:
            return error

    def ask(self, cache: Cache, operation: str, *args: Any, **kwargs: Any) -> Any:
        """A method of the cache in this colour."""
        return self.run(getattr(cache.aio if self.is_async else cache, operation)(*args, **kwargs))

    def talk(self, backend: Any, operation: str, *args: Any, **kwargs: Any) -> Any:
        """A method of a backend in this colour."""
        return self.run(getattr(backend.aio if self.is_async else backend, operation)(*args, **kwargs))

    def trial(
        self,
        function: Any,
        arguments: Any,
        *,
        width: int = 1,
        between: Callable[[int], None] | None = None,
        account: Callable[[str, int, Any, float, float], None] | None = None,
    ) -> Trial:
        """Call `function` with each argument, `width` at a time; `between(n)` is called before the nth batch.

        `account` is told each call's colour, argument, result, beginning and end, in place of the trial.
        """
        trial = Trial()
        arguments = list(arguments)
        with ThreadPoolExecutor(width) if width > 1 and not self.is_async else contextlib.nullcontext() as threads:
            for number, at in enumerate(range(0, len(arguments), width)):
                if between is not None:
                    between(number)
                batch = arguments[at : at + width]
                if self.is_async:
                    timed = self.run(self._gather(function, batch))
                elif threads is not None:
                    timed = list(threads.map(lambda x: self._timed(function, x), batch))
                else:
                    timed = [self._timed(function, batch[0])]
                for x, (result, begun, ended) in zip(batch, timed, strict=True):
                    if account is None:
                        trial.add(x, result, begun, ended)
                    else:
                        account(self.colour, x, result, begun, ended)
        self.seen += trial
        return trial

    @staticmethod
    def _timed(function: Any, x: int) -> tuple[Any, float, float]:
        begun = time.perf_counter()
        try:
            result = function(x)
        except Exception as error:
            result = error
        return result, begun, time.perf_counter()

    @staticmethod
    async def _gather(function: Any, batch: list[int]) -> list[tuple[Any, float, float]]:
        async def one(x: int) -> tuple[Any, float, float]:
            begun = time.perf_counter()
            try:
                result = await function(x)
            except Exception as error:
                result = error
            return result, begun, time.perf_counter()

        return list(await asyncio.gather(*map(one, batch)))

    async def _tick(self) -> None:
        while True:
            self.ticks += 1
            await asyncio.sleep(0.01)

    @contextlib.contextmanager
    def untimed(self) -> Iterator[None]:
        """What calls take here says nothing about a promise: it stays out of the report."""
        worst = self.seen.worst
        yield
        self.seen.worst = worst

    def must_tick(self, act: Callable[[], Any], ticks: int = 3) -> Any:
        """What `act` returns, which takes a stall's time; in an async world the loop went on meanwhile.

        Raises `Blocked` if not, which `within` takes for a measurement that failed.
        """
        before = self.ticks
        result = act()
        if self.is_async and self.ticks - before < ticks:
            raise Blocked("the event loop was blocked")
        return result

    def recovers(self, function: Any, arguments: Any = range(1, 4)) -> float:
        """Seconds until calls are hits again (two calls of one argument make one), from now; fails after `BOUND`."""
        begun = time.perf_counter()
        while True:
            for x in arguments:
                assert right(x, self.call(function, x))
                hits = function.cache_info().hits
                assert right(x, self.call(function, x))
                if function.cache_info().hits > hits:
                    ended = time.perf_counter()
                    taken = ended - begun - stalled(begun, ended)
                    self.recovery = max(taken, self.recovery or 0.0)
                    return taken
            assert time.perf_counter() - begun < BOUND, "the backend is never used again"
            self.pause(0.02)

    def pause(self, seconds: float) -> None:
        """Let a little time pass between attempts, the loop running."""
        if self.is_async:
            self.run(asyncio.sleep(seconds))
        else:
            time.sleep(seconds)

    def close(self) -> None:
        """Close what was opened."""
        if self._runner is not None:
            for cache in self.caches:
                self._runner.run(cache.aio.close())
            if self._ticker is not None:
                self._ticker.cancel()
            self._runner.close()
        for cache in self.caches:
            cache.close()


class Blocked(AssertionError):
    """The event loop did not go on while a call waited."""


def within(seconds: float, measure: Callable[[], float]) -> None:
    """The best of up to `ROUNDS` measurements is at most `TIMES` what is promised."""
    taken: list[float | Blocked] = []
    for _ in range(ROUNDS):
        try:
            taken.append(measure())
        except Blocked as blocked:
            taken.append(blocked)
            continue
        if taken[-1] <= TIMES * seconds:
            return
    raise AssertionError(f"{taken} seconds, where {seconds} are promised")


def until(condition: Callable[[], Any]) -> None:
    """Wait for what another thread or process brings about."""
    deadline = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


@contextlib.contextmanager
def repeatedly(seconds: float, *acts: Callable[[], None]) -> Iterator[None]:
    """Carry out the acts in turn, `seconds` apart, in a thread, and in the end those that complete the round."""
    over = threading.Event()

    def work() -> None:
        turn = 0
        while not over.wait(seconds):
            acts[turn % len(acts)]()
            turn += 1
        while turn % len(acts):
            acts[turn % len(acts)]()
            turn += 1

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(BOUND)
