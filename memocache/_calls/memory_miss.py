"""The miss of a plain function on ``memory://``, straight on: one begin and one end around the function's own call.

A `MissPath` is bound when its function is, and only to one of whose options none is to be weighed. What it does is what
`memocache._calls.engine` would: flight, marks, computation, entry, counters, in the same order. Whatever is unusual (a
flight to follow, a failure, a value that cannot be held, an invalidation meanwhile) it leaves to the engine or to its
leader. The compiled look-up calls the function, so a memoized recursion costs no frame but the look-up's and its own.
"""

from __future__ import annotations

import os
from contextvars import Token as Reset
from time import monotonic
from typing import Any, Final

from memocache._calls.call_and_lead import Lead
from memocache._calls.call_key import Binding
from memocache._calls.engine import Engine
from memocache._calls.options import Options
from memocache._calls.signature import Values
from memocache._runtime.async_library import refuse_other_library
from memocache._runtime.disabled import DISABLED
from memocache._runtime.drivers import run, unwrap
from memocache._runtime.outcome import Outcome
from memocache._runtime.singleflight import LEADING, NO_FLIGHT, Flight, stop_leading
from memocache._stores.entry import Entry
from memocache._stores.memory.store import LocalLease, LocalStore, freezer
from memocache._stores.store import Address
from memocache.codecs.copying import IMMUTABLE
from memocache.exceptions import EncodeError
from memocache.stats import bucket
from memocache.typing import MISSING

STRAIGHT: Final = os.environ.get("MEMOCACHE_STRAIGHT") != "0"
"""Whether plain misses go here; a switch for tests, which compare both ways."""


class MissPath:
    """The misses of one function; see `serves` for which functions have one."""

    __slots__ = (
        "_included",
        "_scalar_key",
        "binding",
        "counters",
        "engine",
        "flights",
        "freeze",
        "marks",
        "monotonic",
        "store",
        "table",
        "table_id",
        "tier",
        "ttl",
    )

    def __init__(self, engine: Engine, binding: Binding) -> None:
        self.engine, self.binding = engine, binding
        self.tier, self.table, self.counters = engine.tier, binding.table, binding.counters
        self.monotonic = engine.tier.clock.monotonic
        self.store: LocalStore = binding.places.local  # type: ignore[assignment]  # it is one; binding must not know
        self.freeze = freezer(self.store.codec, binding.function.options.share)
        signature, self._included = binding.function.signature, binding.function.included()
        self._scalar_key = signature.scalar_key
        ttl: Any = binding.function.options.ttl  # a number: see `serves`
        self.ttl = float(engine.default_ttl if ttl is MISSING else ttl)
        self.flights, self.table_id = engine.flights, id(binding.table)
        self.marks = self.tier.marks(self.table.name)

    @staticmethod
    def serves(engine: Engine, binding: Binding) -> bool:
        """Whether calls miss here: in the process alone, and with nothing to weigh or to tell."""
        function = binding.function
        return (
            STRAIGHT
            and binding.places.shared is None
            and engine.emit is None
            and function.direct
            and not binding.method
            and not function.signature.spelled
            and _is_plain(function.options)
        )

    def look(self, values: Values) -> PlainMiss | None:
        """A call that the look-up did not serve, if it can miss here; None: it is the engine's."""
        if DISABLED.get() is not None or self.binding.named_twice is None:
            return None
        key = self._scalar_key(values, self._included)
        # what is there all the same is past its time, or was stored a moment ago
        if key is None or key in self.table.entries:
            return None
        return PlainMiss(self, key)

    def look_soon(self, values: Values) -> PlainMiss | None:
        """As `look`, for a call that is awaited. Raises RuntimeError under an async library that is not served."""
        missed = self.look(values)
        if missed is not None:
            refuse_other_library()
        return missed


def _is_plain(options: Options) -> bool:
    """Whether an outcome is stored whatever it is, for a ttl that is known, and never served past it."""
    weighed = options.stale, options.stale_if_error, options.early, options.jitter, options.soft_timeout
    more = options.hard_timeout, options.idle, options.tags, options.condition, options.errors, options.stream
    return not any(weighed) and not any(more) and options.coalesce is not None and not callable(options.ttl)


class PlainMiss:
    """A call that misses, from `begin` to `done` or `failed`; who has begun it calls `end` if anything is raised."""

    __slots__ = ("__weakref__", "_begun", "_ghost", "_key", "_path", "_reset", "_started", "flight")

    def __init__(self, path: MissPath, key: Values) -> None:
        self._begun = monotonic()
        self._path, self._key = path, key
        self._reset: Reset[tuple[Flight, ...]] | None = None
        self.flight: Flight = NO_FLIGHT
        """Set by `Flights` before anybody can join the flight; this object is its token."""

    def begin(self) -> bool:
        """Lead the flight of this call, and count it as a miss; False: it is the engine's after all."""
        path, key = self._path, self._key
        table, tier, counters, marks = path.table, path.tier, path.counters, path.marks
        if not (marks[0].alive and marks[1].alive):
            marks = path.marks = tier.marks(table.name)
        place = (path.table_id, key)  # as `Address.flight_key` and `Entry.ghost`
        if not path.flights.lead(place, marks, self):
            return False
        self._reset = LEADING.set((*LEADING.get(), self.flight))
        if key in table.entries:  # somebody stored it since `look`
            self.end()
            return False
        if table.unburied:
            tier.unearth(table, key)
        self._ghost = ghost = hash(place)
        self._started = now = path.monotonic()
        counters.causes[tier.causes.why(ghost, now)] += 1
        counters.misses += 1
        return True

    def done(self, value: Any) -> Any:
        """Hold what the function returned, and end the flight; what the caller gets."""
        path, flight = self._path, self.flight
        counters, now = path.counters, path.monotonic()
        seconds = now - self._started if now > self._started else 0.0
        path.flights.seal(flight)
        counters.computed(seconds)
        if not flight.followed and self._held(value, now, seconds):
            counters.stores += 1
        else:
            value = unwrap(self._settled(Outcome(value), seconds))
        self.end()
        counters.miss_times[bucket(monotonic() - self._begun)] += 1
        return value

    def failed(self, error: Exception) -> None:
        """Give what the function raised to those who follow, and end the flight."""
        path, counters = self._path, self._path.counters
        seconds = max(0.0, path.monotonic() - self._started)
        counters.computed(seconds)
        self._settled(Outcome(None, error, error.__traceback__), seconds)
        self.end()
        counters.miss_times[bucket(monotonic() - self._begun)] += 1

    def end(self) -> None:
        """Lead no longer; a flight that has not ended has no outcome: its followers look again."""
        reset, self._reset = self._reset, None
        if reset is not None:
            stop_leading(reset)
        if not self.flight.ended:
            self._path.flights.finish(self.flight, None)
        # a failure's traceback holds this call: it is not to hold the failure
        self.flight = NO_FLIGHT

    def _held(self, value: Any, now: float, seconds: float) -> bool:
        """Hold a value in the process; False if it cannot be, or if something was invalidated meanwhile."""
        path = self._path
        if type(value) in IMMUTABLE:
            kept, thaw = value, None
        else:
            try:
                kept, thaw = path.freeze(value, told=path.binding.held_by_reference)
            except EncodeError:
                return False
        entry = Entry(path.table, self._key, kept, thaw, now=now, ttl=path.ttl, compute=seconds)
        return path.tier.hold(entry, self.flight, self._ghost)

    def _settled(self, outcome: Outcome, seconds: float) -> Outcome:
        """Have the leader settle an outcome that is not for the leader's caller alone, or cannot be held."""
        engine, binding = self._path.engine, self._path.binding
        lead = Lead(Address(binding.table, self._key, binding.table.name, None), self._path.store)
        lead.flight, lead.lease = self.flight, LocalLease(self.flight.marks)
        record = engine.leader.record(binding, outcome.value, seconds) if outcome.error is None else None
        return run(engine.leader.settle(binding, lead, record, outcome))  # in the process: it waits for nothing
