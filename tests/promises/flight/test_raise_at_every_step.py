"""A flight ends whatever raises: every path of a call, with every effect in turn raising every kind of exception.

The steps of a path are carried out by the real drivers. One effect is exchanged for one that raises, the first at the
first run, the next at the next, until a run comes to its end. After each run nothing may be left: no flight, no token,
no waiter, no lease, nothing that this context leads. Steps in the background are part of it.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from memocache import BackendError, Cache
from memocache._calls.bulk_lookup import map_calls
from memocache._calls.call_entries import invalidate_call, put_call
from memocache._runtime import asyncio_tasks, drivers
from memocache._runtime.effects import Compute, Io, Spawn
from memocache._runtime.singleflight import LEADING, Flight, Flights
from memocache.testing import FakeClock
from memocache.testing.servers import Server
from tests.promises.flight.support import until

RAISED = [ValueError, BackendError, TimeoutError, KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError]


class Poison(Io):
    """Raises in place of an effect."""

    def __init__(self, error: type[BaseException]) -> None:
        self._error = error

    def blocking(self) -> Any:
        raise self._error

    async def awaiting(self) -> Any:
        raise self._error


class Poisoner:
    """Exchanges the effect number `left` of some steps, and of those that they spawn, for one that raises."""

    def __init__(self, left: int, error: type[BaseException]) -> None:
        self.left = left
        self.error = error

    def __call__(self, steps: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        reply: Any = None
        raised: Exception | None = None
        try:
            while True:
                try:
                    effect = steps.send(reply) if raised is None else steps.throw(raised)
                except StopIteration as stop:
                    return stop.value
                raised = None
                self.left -= 1
                if self.left == -1:
                    effect = self._poisoned(effect)
                elif isinstance(effect, Spawn):
                    effect = Spawn(self(effect.steps), effect.ended, urgent=effect.urgent)
                try:
                    reply = yield effect
                except Exception as error:
                    raised = error
        finally:
            steps.close()

    def _poisoned(self, effect: Any) -> Any:
        error = self.error
        if not isinstance(effect, Compute):
            return Poison(error)

        def compute(*args: Any, **kwargs: Any) -> Any:
            raise error

        async def acompute(*args: Any, **kwargs: Any) -> Any:
            raise error

        return Compute(acompute if asyncio.iscoroutinefunction(effect.function) else compute, (), {})


@pytest.fixture(params=["memory", "disk", "server"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Cache, FakeClock]]:
    """A cache on each kind of backend, and its clock."""
    if request.param == "memory":
        url = "memory://"
    elif request.param == "disk":
        url = f"disk://{tmp_path}"
    else:
        server: Server = request.getfixturevalue("valkey")
        url = server.url
    clock = FakeClock()
    with Cache(url, clock=clock, max_wait=5, prefix=f"steps-{request.param}") as cache:
        yield cache, clock


def paths(cache: Cache, clock: FakeClock, colour: str) -> dict[str, Callable[[], Generator[Any, Any, Any]]]:
    """The steps of every path of a call, each on a function that has been called before."""

    def decorated(name: str, **options: Any) -> Any:
        def body(x: int) -> int:
            return x

        async def abody(x: int) -> int:
            return x

        return cache.cached(name=name, **options)(body if colour == "sync" else abody)

    def loader(ids: list[int]) -> dict[int, int]:
        return dict.fromkeys(ids, 1)

    async def aloader(ids: list[int]) -> dict[int, int]:
        return dict.fromkeys(ids, 1)

    plain, stale = decorated("plain"), decorated("stale", ttl=10, stale=1000)
    hasty, alone = decorated("hasty", soft_timeout=50, hard_timeout=60), decorated("alone", coalesce=None)
    many: Any = cache.cached_many(name="many")(loader if colour == "sync" else aloader)  # type: ignore[type-var]
    numbers = iter(range(10**6))

    def of(function: Any, make: Callable[..., Any]) -> Callable[[], Any]:
        core, binding = function._self_state.bound()
        return lambda: make(core, binding, next(numbers))

    def found_stale(core: Any, binding: Any, n: int) -> Any:
        drive(colour, put_call(core.engine, binding, (n,), 1))
        clock.advance(20)
        return core.engine.call(binding, (n,))

    return {
        "call": of(plain, lambda core, binding, n: core.engine.call(binding, (n,))),
        "alone": of(alone, lambda core, binding, n: core.engine.call(binding, (n,))),
        "timeouts": of(hasty, lambda core, binding, n: core.engine.call(binding, (n,))),
        "stale": of(stale, found_stale),
        "refresh": of(plain, lambda core, binding, n: core.engine.refresh(binding, (n,))),
        "map": of(plain, lambda core, binding, n: map_calls(core.engine, binding, [(-n - 1,), (-n - 2,)])),
        "put": of(plain, lambda core, binding, n: put_call(core.engine, binding, (n,), 1)),
        "invalidate": of(plain, lambda core, binding, n: invalidate_call(core.engine, binding, (n,))),
        "many": of(many, lambda core, binding, n: many._self_state.load(core, binding, ([n, -n - 1],)).steps()),
        "many refresh": of(many, lambda core, binding, n: many._self_state.load(core, binding, (n,)).refresh()),
    }


def drive(colour: str, steps: Generator[Any, Any, Any]) -> None:
    """Carry out steps, and what they spawn, to their end."""
    if colour == "sync":
        drivers.run(steps)
        return

    async def together() -> None:
        try:
            await drivers.arun(steps)
        finally:
            while asyncio_tasks._tasks:
                await asyncio.wait(list(asyncio_tasks._tasks))

    asyncio.run(together())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_flight_ends_whatever_raises(
    made: tuple[Cache, FakeClock], colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each effect of each path raises each class in turn: no flight, token, waiter or lease is left, and nothing is
    led, while the exception itself is kept, as a caller might keep it."""
    cache, clock = made
    flights: list[Flight] = []
    honest = Flights._new

    def new(self: Flights, *args: Any) -> Any:
        flight, token = honest(self, *args)
        flights.append(flight)
        return flight, token

    monkeypatch.setattr(Flights, "_new", new)
    shared: Any = cache._places.shared
    for name, make in paths(cache, clock, colour).items():
        for error in RAISED:
            number, reached = 0, True
            while reached:
                kept: list[BaseException] = []
                poisoner = Poisoner(number, error)
                flights.clear()
                steps = make()
                try:
                    drive(colour, poisoner(steps))
                except BaseException as raised:
                    kept.append(raised)
                del steps
                until(lambda: not drivers._background)
                where = f"{name}, effect {number} raises {error.__name__}"
                assert len(cache._flights) == 0, where
                assert LEADING.get() == (), where
                assert [flight for flight in flights if not flight.ended or flight.signal._waiters] == [], where
                if shared is not None:
                    with suppress(BackendError):
                        shared.keeper._give_back()
                    gc.collect(0)
                    assert not shared.keeper._held, where
                reached, number = poisoner.left < 0, number + 1
            assert number > 1 or name in ("put", "invalidate"), f"{name} has no effects"
