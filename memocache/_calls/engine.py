"""One cached call as named steps, written once for both colours.

::

    look ─ fresh ────────────────────────────────► serve
      │ └─ stale ──► refresh in the background ──► serve
      │
      └─ miss ─ enter the flight of the key
                  ├─ lead:   begin (lease) ─ compute ─ seal ─ commit ─ finish the flight
                  ├─ follow: wait; take the outcome if joined before the seal and it was valid; else look again
                  └─ direct: a recursive or circular call; compute, share with nobody

Every backend failure is caught where it was asked for and costs the call its caching, never its answer. The leader's
part stands in `memocache._calls.leading`. The engine knows no thread and no event loop: it yields effects.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from functools import partial
from typing import TypeVar

from memocache._calls.call_and_lead import Call, Lead
from memocache._calls.call_key import Binding
from memocache._calls.freshness import Verdict, judge
from memocache._calls.leading import AGAIN, Freeze, Leader
from memocache._calls.signature import Values
from memocache._runtime import events
from memocache._runtime.effects import Spawn, Steps, Wait
from memocache._runtime.generations import Mark
from memocache._runtime.outcome import Outcome
from memocache._runtime.randomness import random
from memocache._runtime.singleflight import LEADING, Flight, Flights, Role, stop_leading
from memocache._stores.memory.tier import LocalTier
from memocache._stores.store import Address, Found
from memocache.exceptions import BackendError, ComputeTimeout
from memocache.stats import UNREACHABLE

T = TypeVar("T")

REFRESH_THROTTLE = 30.0
"""Seconds after a failed background refresh before the next one of the same key."""
UNREACHABLE_FOUND = Found(cause=UNREACHABLE)


class Engine:
    """Carries out the calls of every function of one cache."""

    def __init__(
        self,
        tier: LocalTier,
        flights: Flights,
        *,
        default_ttl: float,
        max_wait: float,
        raise_faults: bool,
        emit: Callable[[events.Event], None] | None,
        freeze: Freeze,
    ) -> None:
        self.tier = tier
        self.flights = flights
        self.default_ttl = default_ttl
        self.max_wait = max_wait
        self.emit = emit
        self.leader = Leader(
            tier, flights, default_ttl=default_ttl, raise_faults=raise_faults, emit=emit, freeze=freeze
        )
        self._throttled: dict[Hashable, float] = {}

    # -- the call

    def call(self, binding: Binding, values: Values, begun: Call | None = None) -> Steps[Outcome]:
        """One cached call that the fast path did not serve; `begun` where that has looked already."""
        call = begun or Call(binding, values, *binding.address(values))
        while True:
            outcome = yield from self.look(call)
            if outcome is not None:
                return outcome
            outcome = yield from self._lead_or_follow(call)
            if outcome is not AGAIN:
                return outcome

    def refresh(self, binding: Binding, values: Values) -> Steps[Outcome]:
        """Compute now and store, voiding computations under way. Raises `BackendError`."""
        call = Call(binding, values, *binding.address(values))
        lead = Lead(call.address, call.store)
        return (yield from self._ending(lead, self._refresh_now(call, lead)))

    def _refresh_now(self, call: Call, lead: Lead) -> Steps[Outcome]:
        self.flights.takeover(call.address.flight_key, self.marks(call.address), lead)
        call.found = yield from call.store.look(call.address)
        return (yield from self._lead(call, lead, patient=self.patient(call), force=True))

    # -- looking and serving

    def look(self, call: Call) -> Steps[Outcome | None]:
        """Look for the outcome and serve it, refreshing in the background what is due; None counts as a miss."""
        if call.asked:
            call.asked = False
        else:
            try:
                call.found = yield from call.store.look(call.address)
                call.reachable = True
            except BackendError as fault:
                self.leader.fault(call.binding.counters, fault)
                call.found, call.reachable = UNREACHABLE_FOUND, False
        served = self._serve(call, call.begun)
        if served is None:
            if not call.missed:
                call.missed = True
                self.leader.count_miss(call)
            return None
        outcome, due = served
        if call.missed:
            self.leader.missed(call)
        else:
            call.timed(call.binding.counters.hit_times)
        if due:
            yield from self._start_refresh(call)
        return outcome

    def fresh(self, call: Call) -> Outcome | None:
        """The fresh outcome of one of many, a hit unless it was counted as a miss; None: leave it to `call`."""
        found = call.found
        if found.load is None or found.now >= found.expires:
            return None
        served = self._serve(call, None)
        return None if served is None else served[0]

    def _serve(self, call: Call, begun: float | None) -> tuple[Outcome, bool] | None:
        """What can be served of what was found, counted as a hit, and whether a refresh is due; None for nothing.

        `begun` is when the call began, None for one of many.
        """
        found = call.found
        if found.load is None:
            return None
        binding = call.binding
        options, counters = binding.function.options, binding.counters
        verdict = judge(
            found.now,
            found.expires,
            min(found.stale_until, found.expires + options.stale),
            early=options.early,
            cost=found.compute_seconds,
            draw=1.0 - random.random() if options.early else 1.0,
        )
        if verdict is Verdict.MISS:
            return None
        outcome = call.load()
        if outcome is None:
            return None
        if call.missed:
            # counted as a miss when it found nothing; what somebody else stored meanwhile makes it no hit
            return outcome, False
        call.store.touch(call.address, found)
        if verdict is Verdict.STALE:
            counters.add(stale_hits=1)
        if self.emit is not None:
            kind = events.StaleHit if verdict is Verdict.STALE else events.Hit
            self.emit(kind(binding.function.name, None if begun is None else time.monotonic() - begun))
        return outcome, verdict is not Verdict.FRESH

    # -- leading or following

    def _lead_or_follow(self, call: Call) -> Steps[Outcome]:
        """Compute for a call that missed, or share somebody else's computation; AGAIN: look again."""
        call.tries += 1
        if call.alone or (call.tries > 1 and time.monotonic() - call.begun >= self.max_wait):
            return (yield from self._compute_alone(call))
        lead = Lead(call.address, call.store)
        return (yield from self._ending(lead, self._take_part(call, lead)))

    def _take_part(self, call: Call, lead: Lead) -> Steps[Outcome]:
        """Play the part that is left for this call."""
        options, leading = call.binding.function.options, LEADING.get()
        role = self.enter(call, lead, leading)
        if role is Role.FOLLOW:
            return (yield from self.follow(call, call.flight, leading))
        if role is Role.DIRECT:
            if call.flight.claims is not None:
                yield from call.flight.claims.dissolve()
                if call.flight.ended:
                    return AGAIN
            return (yield from self._compute_directly(call))
        if options.soft_timeout or options.hard_timeout:
            return (yield from self._lead_apart(call, lead))
        outcome = yield from self._lead(call, lead, patient=self.patient(call))
        return outcome if outcome is AGAIN else self.settle(call, outcome)

    def enter(self, call: Call, lead: Lead, leading: tuple[Flight, ...]) -> Role:
        """Enter the flight of the key, which becomes the call's: the part that is left for the call."""
        key, marks = call.address.flight_key, self.marks(call.address)
        if call.binding.function.options.coalesce is not None:
            call.flight, role, _ = self.flights.enter(key, marks, leading, lead)
            return role
        call.flight, _ = self.flights.solo(key, marks, lead)
        return Role.LEAD

    def _lead(self, call: Call, lead: Lead, *, patient: float | None, force: bool = False) -> Steps[Outcome]:
        """Lead in this context, whose recursive calls are then seen; the caller ends the flight."""
        reset = LEADING.set((*LEADING.get(), lead.flight))
        try:
            return (yield from self.leader.lead(call, lead, patient=patient, force=force))
        finally:
            stop_leading(reset)

    def _ending(self, lead: Lead, steps: Steps[T]) -> Steps[T]:
        """Carry out steps, and end their flight whatever they raise."""
        try:
            return (yield from steps)
        finally:
            if not lead.apart:
                try:
                    self.leader.end(lead)
                except BaseException:  # a signal handler's, at any moment: every step of the end can be made again
                    self.leader.end(lead)
                    raise

    def _lead_apart(self, call: Call, lead: Lead) -> Steps[Outcome]:
        """Lead in the background, for a caller whose patience may end before the computation does."""
        lead.waited = True
        steps = self._lead(call, lead, patient=self.patient(call))
        lead.apart = yield Spawn(steps, partial(self._ended_apart, lead), urgent=True)
        # since Python 3.12 a closed generator that never ran keeps its arguments as long as itself
        del steps
        if not lead.apart:
            self.leader.end(lead)
            return (yield from self._compute_alone(call))
        try:
            outcome = yield from self._wait(call, lead.flight, ())
        finally:
            lead.waited = False
        if outcome is None and lead.raised is not None:
            raised, lead.raised = lead.raised, None  # its traceback holds these steps
            raise raised
        if outcome is not None:
            return outcome
        return AGAIN if lead.outcome is None else self.settle(call, lead.outcome)

    def _ended_apart(self, lead: Lead, error: BaseException | None) -> bool:
        """Steps in the background have ended, with this error; whether the caller they were for will raise it."""
        lead.raised = error
        taken = lead.waited
        self.leader.end(lead)
        return taken

    def follow(self, call: Call, flight: Flight, leading: tuple[Flight, ...]) -> Steps[Outcome]:
        """Wait for somebody else's computation, and take its outcome if it was joined early enough; or AGAIN."""
        joined_open = flight.open
        if not call.shared:
            call.shared = True
            call.binding.counters.add(coalesced=1)
        outcome = yield from self._wait(call, flight, leading)
        if outcome is not None:
            return outcome
        taken = flight.shared_outcome(reachable=call.reachable) if joined_open else None
        return AGAIN if taken is None else self.settle(call, taken)

    def _wait(self, call: Call, flight: Flight, leading: tuple[Flight, ...]) -> Steps[Outcome | None]:
        """Wait for a flight with the call's patience: None when it ended, or the outcome of having given up."""
        soft = True
        try:
            while True:
                limit, why = self._patience(call, soft=soft)
                ended = yield Wait(flight.signal, limit)
                if ended or why != "soft":
                    break
                old = self._old_value(call)
                if old is not None:
                    return old
                soft = False
        finally:
            self.flights.leave(flight, leading)
        if ended:
            return None
        if why == "hard":
            return self._timed_out(call)
        return (yield from self._compute_alone(call))

    def _patience(self, call: Call, *, soft: bool) -> tuple[float, str]:
        """How long a call waits for a flight, and what its patience ends with.

        With `soft`, it ends early where there is an old value to fall back on.
        """
        options = call.binding.function.options
        spent = time.monotonic() - call.begun
        limits = [(self.max_wait - spent, "wait")]
        if options.hard_timeout:
            limits.append((options.hard_timeout - spent, "hard"))
        if soft and options.soft_timeout and call.servable():
            limits.append((options.soft_timeout - spent, "soft"))
        limit, why = min(limits)
        return max(0.0, limit), why

    def patient(self, call: Call) -> float:
        """For how many seconds the call waits for another process."""
        if call.binding.function.options.coalesce != "fleet":
            return 0.0
        return max(0.0, self.max_wait - (time.monotonic() - call.begun))

    # -- giving up

    def _timed_out(self, call: Call) -> Outcome:
        """The outcome of a call whose `hard_timeout` is over."""
        old = self._old_value(call)
        if old is not None:
            return old
        function = call.binding.function
        limit = function.options.hard_timeout
        error = ComputeTimeout(f"{function.name} did not finish within hard_timeout={limit:g} seconds")
        return self.settle(call, Outcome(None, error))

    def _compute_alone(self, call: Call) -> Steps[Outcome]:
        """Compute for a call that waits no longer; nobody joins. The second time nothing is asked of the store."""
        if call.alone:
            return (yield from self._compute_directly(call))
        call.alone = call.reachable = True
        lead = Lead(call.address, call.store)
        outcome = yield from self._ending(lead, self._solo(call, lead))
        return outcome if outcome is AGAIN else self.settle(call, outcome)

    def _solo(self, call: Call, lead: Lead) -> Steps[Outcome]:
        call.flight, _ = self.flights.solo(call.address.flight_key, self.marks(call.address), lead)
        return (yield from self._lead(call, lead, patient=0.0))

    def _compute_directly(self, call: Call) -> Steps[Outcome]:
        """Compute for a recursive or circular call; nothing is stored."""
        outcome, _ = yield from self.leader.compute(call.binding, call.values)
        return self.settle(call, outcome)

    def settle(self, call: Call, outcome: Outcome) -> Outcome:
        """What the caller of a missed call gets: the outcome, or the old value if `stale_if_error` allows it."""
        options = call.binding.function.options
        if outcome.error is not None and options.stale_if_error and not isinstance(outcome.error, options.errors):
            old = self._old_value(call)
            if old is not None:
                return old
        self.leader.missed(call)
        return outcome

    def _old_value(self, call: Call) -> Outcome | None:
        """The value past its ttl, if it may be served in place of a failure: the miss becomes a stale hit."""
        if not call.servable():
            return None
        outcome = call.load()
        if outcome is None or outcome.error is not None:
            return None
        counters = call.binding.counters
        counters.causes[call.address.cause] -= 1
        counters.add(misses=-1, stale_hits=1)
        call.missed = False
        call.store.touch(call.address, call.found)
        call.timed(counters.hit_times)
        if self.emit is not None:
            self.emit(events.StaleHit(call.binding.function.name, time.monotonic() - call.begun))
        return outcome

    # -- background refresh

    def _start_refresh(self, call: Call) -> Steps[None]:
        """Have one refresh run in the background, unless one runs or failed a moment ago."""
        key = call.address.flight_key
        if self.flights.busy(key) or self._throttled.get(key, 0.0) > self.tier.clock.monotonic():
            return
        background = Call(call.binding, call.values, call.address.for_another_call(), call.store)
        background.found = call.found
        lead = Lead(background.address, background.store)
        yield from self._ending(lead, self._spawn_refresh(background, lead))

    def _spawn_refresh(self, call: Call, lead: Lead) -> Steps[None]:
        _, role, _ = self.flights.enter(call.address.flight_key, self.marks(call.address), (), lead)
        if role is Role.LEAD:
            lead.apart = yield Spawn(self._refresh(call, lead), partial(self._ended_apart, lead))

    def _refresh(self, call: Call, lead: Lead) -> Steps[None]:
        try:
            outcome = yield from self._lead(call, lead, patient=None)
        finally:
            self.leader.end(lead)
        if outcome is AGAIN:
            return
        ok = outcome.error is None
        if ok:
            self._throttled.pop(call.address.flight_key, None)
        else:
            self._throttle(call.address.flight_key)
        if self.emit is not None:
            self.emit(events.Refreshed(call.binding.function.name, ok))

    def _throttle(self, key: Hashable) -> None:
        now = self.tier.clock.monotonic()
        if len(self._throttled) > 1024:
            self._throttled = {k: until for k, until in list(self._throttled.items()) if until > now}
        self._throttled[key] = now + REFRESH_THROTTLE

    def marks(self, address: Address) -> tuple[Mark, ...]:
        """The marks of an entry, alive from now on."""
        return self.tier.marks(address.name, address.tags)
