"""What threads do to each other between two steps of a flight, and what its drivers make of it."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest

from memocache._runtime import asyncio_tasks
from memocache._runtime import drivers as _runtime
from memocache._runtime.drivers import arun, run
from memocache._runtime.effects import Compute, Effect, Spawn, Wait
from memocache._runtime.outcome import Outcome
from memocache._runtime.singleflight import LEADING, Flight, Flights, Role, Signal, Token, Wake, stop_leading, waits_for


def lead(flights: Flights, key: str) -> tuple[Flight, Token]:
    """A flight that this test leads."""
    flight, role, token = flights.enter(key, (), ())
    assert role is Role.LEAD
    assert token is not None
    return flight, token


def test_leaving_twice_or_after_the_end_is_no_error() -> None:
    """A follower may leave when what it led has ended, and with it what that waited for."""
    flights = Flights()
    (mine, _token), (other, _other_token) = lead(flights, "mine"), lead(flights, "other")
    assert flights.enter("other", (), (mine,)) == (other, Role.FOLLOW, None)
    assert mine.blocked_on == [other]
    flights.finish(mine, None)
    flights.leave(other, (mine,))
    flights.leave(other, (mine,))
    assert mine.blocked_on == []


def test_sealing_and_ending_what_has_ended_changes_nothing() -> None:
    """The outcome that followers were given stays what it was, and nobody can join any more."""
    flights = Flights()
    flight, _token = lead(flights, "key")
    flights.finish(flight, Outcome(1))
    flights.seal(flight)
    flights.finish(flight, Outcome(2))
    assert flight.shared_outcome() == Outcome(1)
    assert not flight.open
    assert len(flights) == 0


def test_what_nobody_may_join_is_voided_all_the_same() -> None:
    """An invalidation of a key reaches every lone flight of it, and none of another key."""
    flights = Flights()
    (one, _t1), (two, _t2), (other, _t3) = (flights.solo(key, ()) for key in ("key", "key", "other"))
    flights.void("key")
    assert [one.void, two.void, other.void] == [True, True, False]
    for flight in (one, two, other):
        flights.finish(flight, None)
    assert len(flights) == 0


def test_who_waits_for_whom_is_found_in_any_shape() -> None:
    """Through several ways to the same flight and through circles, and the search ends."""
    top, left, right, bottom, led = (Flight(name, ()) for name in "tlrbm")
    top.blocked_on, left.blocked_on, right.blocked_on = [left, right], [bottom], [bottom]
    bottom.blocked_on = [top]
    assert not waits_for(top, (led,))
    bottom.blocked_on.append(led)
    assert waits_for(top, (led,))
    assert waits_for(led, (led,))


class Twice(Signal):
    """Fires while a waiter is added, and once more: as if the first `fire` had been interrupted."""

    def add(self, wake: Wake) -> bool:
        wake()
        wake()
        return super().add(wake)


def waiting(signal: Signal) -> Generator[Effect, Any, Any]:
    """Wait without a bound."""
    return (yield Wait(signal, None))


async def undisturbed(steps: Any) -> Any:
    """What steps come to in a task, if nothing was raised in a callback of the loop."""
    raised: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: raised.append(context))
    reply = await arun(steps)
    await asyncio.sleep(0)
    assert raised == []
    return reply


COLOURS: dict[str, Callable[[Any], Any]] = {"sync": run, "async": lambda steps: asyncio.run(undisturbed(steps))}


@pytest.mark.parametrize("colour", COLOURS)
def test_being_woken_twice_is_being_woken(colour: str) -> None:
    """A waiter that is woken again by a `fire` that was made again hears nothing of it."""
    assert COLOURS[colour](waiting(Twice())) is True


def refreshing() -> list[threading.Thread]:
    """The threads that run something in the background now."""
    return [thread for thread in threading.enumerate() if thread.name == "memocache-refresh"]


def test_a_background_run_that_raises_disturbs_nobody() -> None:
    """It has no caller: its exception ends with it, in a thread and in a task, and its place is free again."""
    ran: list[str] = []

    def background() -> Generator[Effect, Any, None]:
        ran.append(threading.current_thread().name)
        raise LookupError("nobody's")
        yield  # a generator

    def steps() -> Generator[Effect, Any, bool]:
        return (yield Spawn(background(), lambda error: False))

    before = set(refreshing())
    taken = _runtime._background
    assert run(steps())
    for thread in set(refreshing()) - before:
        thread.join(20.0)

    async def together() -> None:
        tasks = set(asyncio_tasks._tasks)
        assert await arun(steps())
        done, _ = await asyncio.wait(asyncio_tasks._tasks - tasks, timeout=20.0)
        assert [task.exception() for task in done] == [None]

    asyncio.run(together())
    assert ran == ["memocache-refresh", threading.current_thread().name]
    assert _runtime._background <= taken


def test_a_call_that_is_closed_elsewhere_ends_in_peace() -> None:
    """A coroutine may be closed, or collected, in another context than the one in which it leads a flight."""

    class Forever:
        def __await__(self) -> Generator[None, None, None]:
            yield

    async def compute() -> None:
        await Forever()

    def steps() -> Generator[Effect, Any, Any]:
        reset = LEADING.set((Flight("key", ()),))
        try:
            return (yield Compute(compute, (), {}))
        finally:
            stop_leading(reset)

    call = arun(steps())
    contextvars.copy_context().run(call.send, None)
    call.close()
    assert LEADING.get() == ()
