"""The two moments at which misses that are computed side by side ask the backend: to begin, and to store.

Each has a gate. Who comes to it waits for some turns of the event loop, and goes through with whoever has come
meanwhile: one batch for all of them. So nobody is held up, and who computes holds nothing but its own call. What a
batch does not settle, each asks for alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from memocache._calls.call_and_lead import Lead
from memocache._calls.leading import Leader
from memocache._runtime.effects import Pause, Steps, Wait
from memocache._runtime.singleflight import Signal
from memocache._stores.store import Found, Record
from memocache.exceptions import BackendError

T = TypeVar("T")
_PAUSE = Pause()
_TURNS = 3
"""Those who went through a gate together are awake after two, and may come to the next one together."""


class Gathering(Generic[T]):
    """Where tasks of one event loop gather, to ask for something together."""

    def __init__(self, ask: Callable[[list[T]], Steps[None]]) -> None:
        self._ask = ask
        self._waiting: list[T] = []
        self._opened: Signal | None = None

    def go(self, item: T) -> Steps[None]:
        """Ask for what is wanted, with all that comes in these turns of the loop."""
        waiting = self._waiting
        waiting.append(item)
        try:
            if self._opened is not None:
                yield Wait(self._opened, None)
            else:
                yield from self._lead(waiting)
        finally:
            if item in waiting:  # cancelled before it was asked for
                waiting.remove(item)

    def _lead(self, waiting: list[T]) -> Steps[None]:
        opened = self._opened = Signal()
        try:
            for _ in range(_TURNS):
                yield _PAUSE
            self._shut(opened)
            items = waiting.copy()
            waiting.clear()
            yield from self._ask(items)
        finally:
            self._shut(opened)
            opened.fire()

    def _shut(self, opened: Signal) -> None:
        """Let those who come from now on gather anew."""
        if self._opened is opened:
            self._opened, self._waiting = None, []


class Gates:
    """The gates of one bulk call, for the leads of its calls."""

    def __init__(self, leader: Leader, *, fleet: bool) -> None:
        self._leader = leader
        self._patient = None if fleet else 0.0
        self._begins: Gathering[tuple[Lead, Found]] = Gathering(self._begin_many)
        self._ends: Gathering[tuple[Lead, Any]] = Gathering(leader.commit_many)

    def begin(self, lead: Lead, found: Found) -> Steps[None]:
        """Give a lead its `lease`, if nobody stands in the way."""
        yield from self._begins.go((lead, found))

    def commit(self, lead: Lead, record: Record | None) -> Steps[None]:
        """Store what a lead came to, if nobody stands in the way."""
        if lead.lease is not None:
            yield from self._ends.go((lead, record))

    def _begin_many(self, leads: list[tuple[Lead, Found]]) -> Steps[None]:
        try:
            yield from self._leader.begin_many(leads, self._patient)
        except BackendError:
            pass  # each meets it again, and counts it
        finally:
            for lead, _ in leads:
                if lead.flight.ended:  # cancelled meanwhile
                    self._leader.give_up(lead)
