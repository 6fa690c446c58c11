"""Single-flight in the process: leaders, followers, and who waits for whom. Both colours.

1. A flight is one computation of one key under way. The first caller leads it, the others follow.
2. A follower takes the leader's outcome only if it joined while the flight was OPEN, that is before the leader sent the
   command that validates it (`seal`). Whoever joins later waits for the end and looks up again. A void or abandoned
   flight ends without outcome: its followers look up again, and one of them leads.
3. A call that begins after an invalidation never joins an older flight: invalidating a call voids its flights by key;
   invalidating a function, tag or prefix kills the marks that the flight was begun under.
4. A leader holds a `Token`. When the token is gone without an outcome, for whatever reason, the flight is abandoned: a
   `weakref` callback needs no cooperation from a frame that a signal handler's exception tore down.
5. A caller that would wait for a flight that (directly or not) waits for a flight the caller leads runs directly
   instead. `LEADING` holds the flights led by the current context; tasks started inside inherit it, so recursion
   through ``gather`` is seen.
"""

from __future__ import annotations

import operator
import threading
import weakref
from collections import deque
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from contextvars import Token as Reset
from enum import Enum
from typing import Any, Final, Protocol

from memocache._runtime.generations import Mark
from memocache._runtime.outcome import Outcome

Wake = Callable[[], None]


class Role(Enum):
    """What a caller is to a flight."""

    LEAD = "lead"
    FOLLOW = "follow"
    DIRECT = "direct"  # a recursive or circular call: compute without waiting


class Signal:
    """Something to wait for: fired once or many times; waiters are callables."""

    __slots__ = ("_waiters", "fired")

    def __init__(self) -> None:
        self.fired = False
        self._waiters: list[Wake] = []

    def add(self, wake: Wake) -> bool:
        """Have `wake` called at the next `fire`; False (and nothing added) if it has already fired."""
        self._waiters.append(wake)
        # looked at after adding: a fire in between has called wake already or left it to us
        if self.fired:
            self.discard(wake)
            return False
        return True

    def discard(self, wake: Wake) -> None:
        """Wait no longer."""
        try:
            self._waiters.remove(wake)
        except ValueError:
            pass

    def fire(self) -> None:
        """Wake every waiter; from any thread."""
        self.fired = True
        while self._waiters:
            waiters = self._waiters.copy()
            # in one step of C code; each is woken before it is taken off: an interrupt in between must not lose it
            deque(map(_wake, waiters), maxlen=0)
            for wake in waiters:
                self.discard(wake)

    def clear(self) -> None:
        """Make ready to be waited for again."""
        self.fired = False


_wake = operator.call
_UNHEARD: Final = Signal()
"""The signal of a flight that nobody waits for yet."""


class Token:
    """Held by the leader of a flight, and by nothing else that outlives it."""

    __slots__ = ("__weakref__",)


class FlightLeader(Protocol):
    """Whoever leads a flight, and ends it."""

    flight: Flight


class FlightHolder(FlightLeader, Protocol):
    """A leader with a token, whose computation may be a stream that others read along."""

    token: Token | None
    recording: Any


class _State(Enum):
    OPEN = 0
    SEALED = 1
    DONE = 2


_OPEN, _SEALED, _DONE = _State


class Flight:
    """One computation of one key under way."""

    # what a plain flight never changes, so that to begin one costs little
    outcome: Outcome | None = None
    thaw: Callable[[Any], Any] | None = None
    """How each follower makes its own copy of the outcome's value; None: they share it."""
    followed = False
    recording: Any = None
    """What its computation yields, where that is a stream to read along with."""
    claims: Any = None
    """Who holds it together with others, and lets them go for a call from inside."""
    stored_for: float | None = None
    """Seconds for which the outcome was stored; None: it was not."""
    state = _OPEN
    void = False
    unvalidated = False
    """Whether the backend, left alone after failures, could not say that nothing was invalidated meanwhile."""
    _token: weakref.ref[Any] | None = None

    def __init__(self, key: Hashable, marks: tuple[Mark, ...], signal: Signal | None = None) -> None:
        self.key = key
        self.marks = marks
        self.signal = Signal() if signal is None else signal
        self.blocked_on: list[Flight] = []

    @property
    def open(self) -> bool:
        """Whether one who joins now may take the outcome."""
        return self.state is _OPEN

    @property
    def ended(self) -> bool:
        """Whether it is finished, and everybody woken."""
        return self._token is None

    def shared_outcome(self, *, reachable: bool = True) -> Outcome | None:
        """What a follower takes, for whom the backend was `reachable`: a copy of its own; None: look again."""
        outcome = self.outcome
        if self.unvalidated and reachable:
            return None
        if outcome is None or self.thaw is None:
            return outcome
        return Outcome(self.thaw(outcome.value))

    def joinable(self) -> bool:
        """Whether a call that begins now may wait for this flight at all."""
        return not self.void and all(mark.alive for mark in self.marks)


NO_FLIGHT: Final = Flight(None, (), _UNHEARD)
"""Stands for a flight where there is none yet: it has ended."""
LEADING: ContextVar[tuple[Flight, ...]] = ContextVar("memocache_leading", default=())


def stop_leading(reset: Reset[tuple[Flight, ...]]) -> None:
    """Undo a ``LEADING.set``."""
    try:
        LEADING.reset(reset)
    except ValueError:
        pass  # steps closed or collected in another context: what led there leads nothing here


class Flights:
    """The flights of one cache."""

    def __init__(self) -> None:
        # re-entrant: a token's weakref callback may run wherever the collector does, also inside a section of ours
        self._lock = threading.RLock()
        self._joinable: dict[Hashable, Flight] = {}
        self._solo: dict[Hashable, list[Flight]] = {}

    def __len__(self) -> int:
        return len(self._joinable) + sum(map(len, self._solo.values()))

    def enter(
        self, key: Hashable, marks: tuple[Mark, ...], leading: tuple[Flight, ...], holder: FlightHolder | None = None
    ) -> tuple[Flight, Role, Token | None]:
        """Lead a new flight of `key` (with its token), or be told which flight to follow, or to run directly.

        A `holder` is given the flight before anybody can join it: whatever is raised from then on, it can end it.
        """
        with self._lock:
            flight = self._joinable.get(key)
            if flight is not None:
                if flight in leading:
                    return flight, Role.DIRECT, None
                if flight.joinable():
                    if leading and waits_for(flight, leading):
                        return flight, Role.DIRECT, None
                    for led in leading:
                        led.blocked_on.append(flight)
                    flight.followed = True
                    if flight.signal is _UNHEARD:
                        flight.signal = Signal()
                    return flight, Role.FOLLOW, None
                flight.void = True
                self._retire(flight)
            flight, token = self._new(key, marks)
            if holder is not None:
                holder.flight, holder.token = flight, token
                flight.recording = holder.recording
            self._joinable[key] = flight
            return flight, Role.LEAD, token

    def lead_held(self, key: Hashable, marks: tuple[Mark, ...], holder: FlightHolder) -> bool:
        """As `enter`, for who leads or leaves it: whether the holder leads a flight now."""
        with self._lock:
            if key in self._joinable:
                return False
            holder.flight, holder.token = flight, _ = self._new(key, marks)
            self._joinable[key] = flight
            return True

    def lead(self, key: Hashable, marks: tuple[Mark, ...], leader: FlightLeader) -> bool:
        """As `lead_held`, for a leader that is its own token; the flight is made ready for others when one comes."""
        flight = Flight(key, marks, _UNHEARD)
        with self._lock:
            if key in self._joinable:
                return False
            flight._token = weakref.ref(leader, lambda _, flight=flight: self.finish(flight, None))  # type: ignore[misc]  # as in `_new`
            leader.flight = flight
            self._joinable[key] = flight
            return True

    def solo(self, key: Hashable, marks: tuple[Mark, ...], holder: FlightHolder | None = None) -> tuple[Flight, Token]:
        """Lead a flight that nobody may join, but which an invalidation of `key` voids."""
        with self._lock:
            flight, token = self._new(key, marks)
            if holder is not None:
                holder.flight, holder.token = flight, token
            self._solo.setdefault(key, []).append(flight)
            return flight, token

    def takeover(
        self, key: Hashable, marks: tuple[Mark, ...], holder: FlightHolder | None = None
    ) -> tuple[Flight, Token]:
        """Lead a flight that voids every other flight of `key` (a forced refresh)."""
        with self._lock:
            self.void(key)
            flight, token = self._new(key, marks)
            if holder is not None:
                holder.flight, holder.token = flight, token
            self._joinable[key] = flight
            return flight, token

    def busy(self, key: Hashable) -> bool:
        """Whether a flight of `key` is under way."""
        return key in self._joinable

    def leave(self, flight: Flight, leading: tuple[Flight, ...]) -> None:
        """Stop waiting for `flight`."""
        with self._lock:
            for led in leading:
                if flight in led.blocked_on:
                    led.blocked_on.remove(flight)

    def seal(self, flight: Flight) -> None:
        """From here on, nobody who joins may take the outcome."""
        with self._lock:
            if flight.state is _OPEN:
                flight.state = _SEALED

    def finish(self, flight: Flight, outcome: Outcome | None) -> None:
        """End a flight, with the outcome its followers may take, or None: look up again."""
        with self._lock:
            if flight.state is not _DONE:
                flight.outcome = outcome
                flight.state = _DONE
            # also when done: an interrupt may have come between that and what follows, which is harmless twice
            flight.blocked_on = []
            self._retire(flight)
        if flight.signal is not _UNHEARD:
            flight.signal.fire()
        flight._token = None  # last: until here the token's death would have done the rest

    def void(self, key: Hashable) -> None:
        """Let no later call join the flights of `key`, and none of them store."""
        with self._lock:
            flight = self._joinable.pop(key, None)
            if flight is not None:
                # its followers from before keep waiting for it; it stays voidable through its own reference
                flight.void = True
            for lone in self._solo.get(key, ()):
                lone.void = True

    def void_where(self, chosen: Callable[[Any], bool]) -> None:
        """`void` every key that is `chosen`, which must not wait for anything."""
        with self._lock:
            for key in [key for key in (*self._joinable, *self._solo) if chosen(key)]:
                self.void(key)

    def after_fork(self) -> None:
        """In a child: only the flights led by the forking context still have a leader."""
        self._lock = threading.RLock()
        mine = LEADING.get()
        self._solo = {}
        self._joinable = {key: flight for key, flight in self._joinable.items() if flight in mine}

    def _new(self, key: Hashable, marks: tuple[Mark, ...]) -> tuple[Flight, Token]:
        flight, token = Flight(key, marks), Token()
        flight._token = weakref.ref(token, lambda _, flight=flight: self.finish(flight, None))  # type: ignore[misc]  # the default binds the loop-free closure early
        return flight, token

    def _retire(self, flight: Flight) -> None:
        if self._joinable.get(flight.key) is flight:
            del self._joinable[flight.key]
        solo = self._solo.get(flight.key) if self._solo else None
        if solo and flight in solo:
            solo.remove(flight)
            if not solo:
                del self._solo[flight.key]


def waits_for(flight: Flight, led: tuple[Flight, ...]) -> bool:
    """Whether `flight` waits, directly or through others, for one of `led`."""
    seen: list[Flight] = []
    todo = [flight]
    while todo:
        at = todo.pop()
        if at in led:
            return True
        if at not in seen:
            seen.append(at)
            todo.extend(at.blocked_on)
    return False
