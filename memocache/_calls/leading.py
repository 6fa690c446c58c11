"""The leader's part of a call: begin (lease), compute, record, commit, finish the flight.

A `Leader` promises that the flight of a `Lead` ends, whatever its steps or the user's code raise: whoever makes a
`Lead` calls `Leader.end` in the end. It knows neither look-ups nor waiting; those are `memocache._calls.engine`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from memocache._calls.call_and_lead import Call, Lead
from memocache._calls.call_key import Binding
from memocache._calls.freshness import jittered, retention, smoothed
from memocache._calls.function import Function
from memocache._calls.options import ttl_setting
from memocache._calls.signature import Values
from memocache._runtime import events
from memocache._runtime.effects import Compute, Steps
from memocache._runtime.outcome import Outcome
from memocache._runtime.randomness import random
from memocache._runtime.singleflight import Flight, Flights
from memocache._stores.memory.tier import LocalTier
from memocache._stores.remote.guard import NoRoom
from memocache._stores.remote.store import SharedStore
from memocache._stores.store import Address, Found, Record, Store, Unstorable
from memocache.codecs import single_use
from memocache.exceptions import BackendError, EncodeError
from memocache.stats import EXPIRED, INVALIDATED, REJECTED, Counters, bucket
from memocache.typing import MISSING

AGAIN = Outcome(MISSING)
"""What steps return that came to nothing, because somebody else stored meanwhile: look again."""
Freeze = Callable[[Any], tuple[Any, Callable[[Any], Any] | None]]


class Leader:
    """Computes and stores for the calls of one cache."""

    def __init__(
        self,
        tier: LocalTier,
        flights: Flights,
        *,
        default_ttl: float,
        raise_faults: bool,
        emit: Callable[[events.Event], None] | None,
        freeze: Freeze,
    ) -> None:
        self.tier = tier
        self.flights = flights
        self.default_ttl = default_ttl
        self.raise_faults = raise_faults
        self.emit = emit
        self.freeze = freeze

    # -- the steps

    def lead(self, call: Call, lead: Lead, *, patient: float | None, force: bool = False) -> Steps[Outcome]:
        """Compute for `call`, store, and finish the flight; AGAIN if somebody else stored meanwhile.

        `patient` is for how many seconds to wait for another process (None: not at all, and AGAIN).
        """
        gates = call.gates
        if call.reachable:
            if gates is not None:
                yield from gates.begin(lead, call.found)
            if lead.lease is None:
                begun = yield from self.begin(call, lead, patient, force=force)
                if not begun:
                    return AGAIN
        outcome, record = yield from self.computed_record(call.binding, call.values)
        if gates is not None:
            yield from gates.commit(lead, record)
        return (yield from self.settle(call.binding, lead, record, outcome, force=force))

    def begin(self, call: Call, lead: Lead, patient: float | None, *, force: bool) -> Steps[bool]:
        """Ask for the right to store; whether to compute, with it or (the backend does not answer) without."""
        try:
            got = yield from lead.store.begin(lead.address, call.found, lead.flight, patient=patient, force=force)
        except BackendError as fault:
            self.fault(call.binding.counters, fault, raising=force)
            return patient is not None
        if got is None or isinstance(got, Found):
            if call.missed and not call.shared:  # another process computes, or just did
                call.shared = True
                call.binding.counters.add(coalesced=1)
            return False
        lead.lease = got
        return True

    def begin_many(self, leads: Sequence[tuple[Lead, Found]], patient: float | None) -> Steps[None]:
        """Ask for many rights to store at once; a lead that has no `lease` then is left for `begin`.

        Raises `BackendError`. What stays in the process has nothing to ask for together.
        """
        shared = [(lead, found) for lead, found in leads if isinstance(lead.store, SharedStore)]
        if len(shared) > 1:
            yield from shared[0][0].store.begin_many(shared, lead=patient is None)  # type: ignore[attr-defined]  # it is shared

    def commit_many(self, done: Sequence[tuple[Lead, Record | None]]) -> Steps[None]:
        """Store many outcomes at once; `settle` stores what is not `committed` then, and ends the flights."""
        shared = [one for one in done if one[0].lease is not None and isinstance(one[0].store, SharedStore)]
        if len(shared) > 1:
            for lead, _ in shared:  # as in `settle`
                self.flights.seal(lead.flight)
            yield from shared[0][0].store.commit_many(shared)  # type: ignore[attr-defined]  # it is shared

    def compute(self, binding: Binding, values: Values) -> Steps[tuple[Outcome, float]]:
        """Run the function: its outcome and the seconds it took."""
        args, kwargs = binding.function.signature.split(values)
        clock = self.tier.clock
        begun = clock.monotonic()
        outcome: Outcome = yield Compute(binding.function.run, args, kwargs)
        seconds = max(0.0, clock.monotonic() - begun)
        self.computed(binding, outcome, seconds)
        return outcome, seconds

    def computed_record(self, binding: Binding, values: Values) -> Steps[tuple[Outcome, Record | None]]:
        """Run the function: its outcome, and what is to be stored of it."""
        outcome, seconds = yield from self.compute(binding, values)
        try:
            return outcome, self.record_of(binding, outcome, seconds)
        except Exception as error:  # what the user's condition or ttl raised: the call's outcome, for followers too
            return Outcome(None, error, error.__traceback__), None

    def computed(self, binding: Binding, outcome: Outcome, seconds: float) -> None:
        """Count a computation and what it took."""
        counters = binding.counters
        counters.compute_times[bucket(seconds)] += 1
        counters.add(computations=1, compute_seconds=seconds)
        if self.emit is not None:
            error = None if outcome.error is None else type(outcome.error).__qualname__
            self.emit(events.Computed(binding.function.name, seconds, error is None, error))
        binding.mean_seconds = smoothed(binding.mean_seconds, seconds)

    def direct(self, function: Function, values: Values) -> Steps[Outcome]:
        """Run the function with caching disabled."""
        args, kwargs = function.signature.split(values)
        outcome: Outcome = yield Compute(function.run, args, kwargs)
        return outcome

    def settle(
        self, binding: Binding, lead: Lead, record: Record | None, outcome: Outcome, *, force: bool = False
    ) -> Steps[Outcome]:
        """Store what a flight came to, and finish it; the outcome for its leader."""
        flight = lead.flight
        # from here on nobody who joins may take the outcome: the command that validates it is on its way
        self.flights.seal(flight)
        if lead.lease is None:
            # cut off, callers who are so too share what there is; else others may have invalidated it
            valid = flight.unvalidated = lead.store.cut_off
        else:
            valid, outcome = yield from self._commit(binding, lead, record, outcome, force=force)
            lead.lease = None
        lead.outcome = outcome
        self.flights.finish(flight, self._for_followers(binding, flight, outcome) if valid else None)
        return outcome

    def _commit(
        self, binding: Binding, lead: Lead, record: Record | None, outcome: Outcome, *, force: bool
    ) -> Steps[tuple[bool, Outcome]]:
        """Store `record`; whether the outcome is valid, and the outcome (an error in its place if `strict`)."""
        address, store, lease = lead.address, lead.store, lead.lease
        counters, name = binding.counters, binding.function.name
        now = self.tier.clock.monotonic()
        try:
            try:
                if isinstance(lead.committed, BackendError):
                    raise lead.committed
                valid = lead.committed or (yield from store.commit(address, lease, record, lead.flight))
            except Unstorable as refusal:
                counters.add(rejected=1)
                self.gone(address, store, REJECTED)
                self.say(events.Rejected, name, refusal.cause)
                record = None
                valid = yield from store.commit(address, lease, None, lead.flight)
                error = binding.rejected(refusal)
                if error is not None:
                    outcome = Outcome(None, error)
        except BackendError as fault:
            if isinstance(fault, NoRoom):
                self.gone(address, store, REJECTED)
            lead.flight.unvalidated = store.cut_off
            valid = lead.flight.unvalidated or (yield from self._validated(lead))
            self.give_up(lead)
            self.fault(counters, fault, raising=force)
            return valid, outcome
        if record is not None:
            if valid:
                counters.add(stores=1)
                lead.flight.stored_for = record.ttl
                self.stored(address, store, now + record.ttl)
                self.say(events.Stored, name, record.compute_seconds)
            else:
                self.gone(address, store, INVALIDATED)
                self.say(events.Rejected, name, "invalidated")
        elif valid and outcome.error is None:
            self.gone(address, store, REJECTED)
        return valid, outcome

    def _validated(self, lead: Lead) -> Steps[bool]:
        """Whether nothing was invalidated meanwhile, of an outcome that could not be stored."""
        try:
            return (yield from lead.store.commit(lead.address, lead.lease, None, lead.flight))
        except BackendError:
            return False

    def _for_followers(self, binding: Binding, flight: Flight, outcome: Outcome) -> Outcome | None:
        """What a flight's followers take: they do not share what they could change, with its leader or each other.

        None: what can be used once is the leader's alone.
        """
        if not flight.followed or outcome.error is not None:
            return outcome
        try:
            if binding.function.options.share:
                single_use.refuse_single_use(outcome.value)
                return outcome
            value, flight.thaw = self.freeze(outcome.value)
        except EncodeError:
            return None
        return Outcome(value)

    def give_up(self, lead: Lead) -> None:
        """Give back the right to store."""
        # in this order: whoever is interrupted in between gives it back again at the flight's end
        if lead.lease is not None:
            lead.store.give_up(lead.lease)
            lead.lease = None

    def end(self, lead: Lead) -> None:
        """End a flight that has not ended: its followers look again, and its lease goes back."""
        self.give_up(lead)
        if not lead.flight.ended:
            self.flights.finish(lead.flight, None)
        lead.token = None

    # -- records

    def record(self, binding: Binding, value: Any, seconds: float = 0.0) -> Record:
        """What is to be stored of a value that did not come from a call of its own."""
        return self._sealed(binding, Outcome(value), self._ttl(binding.function.options.ttl, value), seconds)

    def record_of(self, binding: Binding, outcome: Outcome, seconds: float) -> Record | None:
        """What is to be stored of an outcome, or None. Raises what a `condition` or `ttl` callable raises."""
        options = binding.function.options
        if outcome.error is not None:
            if not isinstance(outcome.error, options.errors):
                return None
            ttl = options.error_ttl or (self.default_ttl if callable(options.ttl) else self._ttl(options.ttl, None))
        elif options.condition is None or options.condition(outcome.value):
            ttl = self._ttl(options.ttl, outcome.value)
        else:
            self.say(events.Rejected, binding.function.name, "condition")
            return None
        return self._sealed(binding, outcome, ttl, seconds)

    def _sealed(self, binding: Binding, outcome: Outcome, ttl: float, seconds: float) -> Record:
        options = binding.function.options
        good = outcome.error is None
        return Record(
            outcome,
            jittered(ttl, options.jitter, random.random()) if options.jitter else ttl,
            options.stale if good else 0.0,
            retention(options.stale, options.stale_if_error) if good else 0.0,
            # with `early`, what later readers weigh: the smoothed cost rather than one sample
            binding.mean_seconds if options.early else seconds,
            options.version,
            binding.function.declared_tags,
            options.share,
            binding.held_by_reference,
            options.idle,
        )

    def _ttl(self, ttl: Any, result: Any) -> float:
        if ttl is MISSING:
            return self.default_ttl
        if callable(ttl):
            made = ttl_setting(ttl(result), show=False)
            return self.default_ttl if made is MISSING or callable(made) else float(made)
        return float(ttl)

    # -- reporting

    def fault(self, counters: Counters, fault: BackendError, *, raising: bool = False) -> None:
        """Count a backend failure, and raise it where the caller must know of it."""
        if isinstance(fault, NoRoom):
            counters.add(rejected=1)
        else:
            counters.add(backend_errors=1)
        if raising or self.raise_faults:
            raise fault

    def say(self, kind: Callable[..., events.Event], *facts: Any) -> None:
        """Tell the observers; where there are none, no event is made."""
        if self.emit is not None:
            self.emit(kind(*facts))

    def count_miss(self, call: Call) -> None:
        """Count a look-up that found nothing to serve, and why."""
        found, address = call.found, call.address
        cause = found.cause
        if not cause:
            if address.table.unburied:
                self.tier.unearth(address.table, address.key)
            place = _place(address, call.store)
            cause = EXPIRED if found.load is not None else self.tier.causes.why(place, self.tier.clock.monotonic())
        address.cause = cause
        counters = call.binding.counters
        counters.causes[cause] += 1
        counters.add(misses=1)

    def missed(self, call: Call) -> None:
        """Time a call that missed and has come to its end, and tell of it."""
        call.timed(call.binding.counters.miss_times)
        if self.emit is not None:
            self.emit(events.Miss(call.binding.function.name, call.shared, time.monotonic() - call.begun))

    def gone(self, address: Address, store: Store, cause: str) -> None:
        """Remember why the entry at an address is absent."""
        self.tier.causes.gone(_place(address, store), cause)

    def stored(self, address: Address, store: Store, until: float) -> None:
        """Remember a shared entry's expiry, so that a later miss can be told expired from evicted.

        Entries of the process report their own removal.
        """
        if isinstance(store, SharedStore):
            self.tier.causes.stored(_place(address, store), until)


def _place(address: Address, store: Store) -> int:
    """The hash under which miss reasons are kept for an address."""
    if isinstance(store, SharedStore):
        return hash(store.spot(address).entry)
    return hash((id(address.table), address.key))  # as `Entry.ghost`
