"""What happens on a call, written once for both colours.

::

    look ─ fresh ────────────────────────────────► serve
      │ └─ stale ──► refresh in the background ──► serve
      │
      └─ miss ─ enter the flight of the key
                  ├─ lead:   begin (lease) ─ compute ─ seal ─ commit ─ finish the flight
                  ├─ follow: wait; take the outcome if joined before the seal and it was valid; else look again
                  └─ direct: a recursive or circular call; compute, share with nobody

Every backend failure is caught where it was asked for and costs the call its caching, never its answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from random import SystemRandom
from typing import Any, TypeAlias

from memocache._calls.call_key import Binding
from memocache._calls.freshness import Verdict, jittered, judge, retention, servable_on_failure, smoothed
from memocache._calls.function import Function
from memocache._calls.options import ttl_setting
from memocache._calls.signature import Values
from memocache._runtime import events
from memocache._runtime.budget import Budget
from memocache._runtime.effects import Compute, Effect, Spawn, Wait
from memocache._runtime.outcome import Outcome
from memocache._runtime.singleflight import LEADING, Flight, Flights, Role, Token
from memocache._stores.memory.tier import LocalTier
from memocache._stores.remote.guard import NoRoom
from memocache._stores.remote.store import SharedStore
from memocache._stores.store import Address, Found, Record, Store, Unstorable
from memocache.codecs import single_use
from memocache.exceptions import BackendError, ComputeTimeout, DecodeError, EncodeError
from memocache.stats import EXPIRED, INVALIDATED, REJECTED, UNREACHABLE, UNREADABLE, Counters, bucket
from memocache.typing import MISSING

random = SystemRandom()  # of our own: the program's seeded generator is left alone

REFRESH_THROTTLE = 30.0
"""Seconds after a failed background refresh before the next one of the same key."""
_AGAIN = Outcome(MISSING)
UNREACHABLE_FOUND = Found(cause=UNREACHABLE)
Begun: TypeAlias = tuple[Address, Store, Found | None]
"""What `Engine.call` goes on with: where the outcome is kept, and what was found there (None: nobody looked yet).

See `memocache._calls.fast_path`.
"""


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
        freeze: Callable[[Any], tuple[Any, Callable[[Any], Any] | None]],
    ) -> None:
        self.tier = tier
        self.flights = flights
        self.default_ttl = default_ttl
        self.max_wait = max_wait
        self.raise_faults = raise_faults
        self.emit = emit
        self._freeze = freeze
        self._throttled: dict[Any, float] = {}

    # -- the call

    def call(
        self, binding: Binding, values: Values, begun_with: Begun | None = None
    ) -> Generator[Effect, Any, Outcome]:
        """One cached call that the compiled look-up did not serve."""
        address, store, looked = begun_with or (*binding.address(values), None)
        options, counters = binding.function.options, binding.counters
        begun = address.begun or time.monotonic()
        missed = shared = False
        found = UNREACHABLE_FOUND
        while True:
            reachable = True
            try:
                if looked is None:
                    found = yield from store.look(address)
                else:
                    found, looked, reachable = looked, None, looked is not UNREACHABLE_FOUND
            except BackendError as fault:
                self.fault(counters, fault)
                found, reachable = UNREACHABLE_FOUND, False
            served = self._serve(binding, address, store, found, missed, begun)
            if served is not None:
                outcome, due = served
                if missed:
                    self._missed(binding, shared, begun)
                else:
                    self._timed(counters.hit_times, begun)
                if due:
                    yield from self._start_refresh(binding, values, address, store, found)
                return outcome
            if not missed:
                missed = True
                self.count_miss(binding, address, store, found)
            leading = LEADING.get()
            marks = self.tier.marks(address.name, address.tags)
            key = address.flight_key
            token: Token | None
            if options.coalesce is None:
                flight, token = self.flights.solo(key, marks)
                role = Role.LEAD
            else:
                flight, role, token = self.flights.enter(key, marks, leading)
            if role is Role.LEAD and not (options.soft_timeout or options.hard_timeout):
                outcome = yield from self._lead(
                    binding, values, address, store, found, flight, token, reachable=reachable, begun=begun
                )
                del token
                if outcome is _AGAIN:
                    continue
                return self._settle(binding, address, store, found, outcome, shared, begun)
            if role is Role.DIRECT:
                outcome, _ = yield from self.compute(binding, values, ())
                return self._settle(binding, address, store, found, outcome, shared, begun)
            joined_open = flight.open
            if role is Role.LEAD:
                steps = self._lead(
                    binding, values, address, store, found, flight, token, reachable=reachable, begun=begun
                )
                del token  # the steps hold it
                started = yield Spawn(steps, urgent=True)
                # since Python 3.12 a closed generator that never ran keeps its arguments as long as itself
                del steps
                if not started:
                    self.flights.finish(flight, None)
                    outcome = yield from self._give_up_waiting(binding, values, address, store, found, "wait", begun)
                    if outcome is _AGAIN:
                        continue
                    return self._settle(binding, address, store, found, outcome, shared, begun)
            elif not shared:
                shared = True
                counters.add(coalesced=1)
            soft = True
            try:
                while True:
                    limit, why = self._patience(binding, found, begun, soft=soft)
                    ended = yield Wait(flight.signal, limit)
                    if ended or why != "soft":
                        break
                    old = self._old_value(binding, address, store, found, begun)
                    if old is not None:
                        return old
                    soft = False
            finally:
                self.flights.leave(flight, leading)
            if not ended:
                outcome = yield from self._give_up_waiting(binding, values, address, store, found, why, begun)
                if outcome is _AGAIN:
                    continue
                return self._settle(binding, address, store, found, outcome, shared, begun)
            taken = flight.shared_outcome() if joined_open else None
            if taken is not None:
                return self._settle(binding, address, store, found, taken, shared, begun)

    def direct(self, function: Function, values: Values) -> Generator[Effect, Any, Outcome]:
        """A call with caching disabled."""
        args, kwargs = function.signature.split(values)
        outcome: Outcome = yield Compute(function.plain, args, kwargs)
        return outcome

    def refresh(self, binding: Binding, values: Values) -> Generator[Effect, Any, Outcome]:
        """Compute now and store, voiding computations under way. Raises `BackendError`."""
        address, store = binding.address(values)
        marks = self.tier.marks(address.name, address.tags)
        flight, token = self.flights.takeover(address.flight_key, marks)
        found = yield from store.look(address)
        return (
            yield from self._lead(binding, values, address, store, found, flight, token, reachable=True, force=True)
        )

    def fresh(
        self, binding: Binding, address: Address, store: Store, found: Found, *, counted: bool = False
    ) -> Outcome | None:
        """A fresh outcome of a bulk look-up, a hit unless it was `counted` before; None: leave it to `call`."""
        if found.load is None or found.now >= found.expires:
            return None
        served = self._serve(binding, address, store, found, counted, None)
        return None if served is None else served[0]

    # -- serving

    def _serve(
        self, binding: Binding, address: Address, store: Store, found: Found, missed: bool, begun: float | None
    ) -> tuple[Outcome, bool] | None:
        """What can be served of what was found, counted as a hit, and whether a refresh is due; None for nothing.

        `begun` is when the call began, None for one of many.
        """
        if found.load is None:
            return None
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
        outcome = self._loaded(binding, found)
        if outcome is None:
            return None
        if missed:
            # counted as a miss when it found nothing; what somebody else stored meanwhile makes it no hit
            return outcome, False
        store.touch(address, found)
        if verdict is Verdict.STALE:
            counters.add(stale_hits=1)
        if self.emit is not None:
            kind = events.StaleHit if verdict is Verdict.STALE else events.Hit
            self.emit(kind(binding.function.name, _since(begun)))
        return outcome, verdict is not Verdict.FRESH

    def _loaded(self, binding: Binding, found: Found) -> Outcome | None:
        assert found.load is not None
        try:
            return found.load()
        except DecodeError:
            found.cause = UNREADABLE
            binding.counters.add(decode_errors=1)
            return None

    def count_miss(self, binding: Binding, address: Address, store: Store, found: Found | None) -> None:
        """Count a look-up that found nothing to serve, and why (None: it could not ask)."""
        cause = UNREACHABLE if found is None else found.cause
        if found is not None and not cause:
            cause = EXPIRED if found.load is not None else self._why(address, store)
        address.cause = cause
        counters = binding.counters
        counters.causes[cause] += 1
        counters.add(misses=1)

    def _why(self, address: Address, store: Store) -> str:
        return self.tier.causes.why(self._place(address, store), self.tier.clock.monotonic())

    def _place(self, address: Address, store: Store) -> int:
        """What an address is known by to those who remember what happened there."""
        if isinstance(store, SharedStore):
            return hash(store.spot(address).entry)
        return hash(address.flight_key)  # as `Entry.ghost`

    def gone(self, address: Address, store: Store, cause: str) -> None:
        """Have it remembered why nothing is stored at an address."""
        self.tier.causes.gone(self._place(address, store), cause)

    def stored(self, address: Address, store: Store, until: float) -> None:
        """Have it remembered that something is stored at an address that is fresh until then.

        What the process holds it knows when it goes.
        """
        if isinstance(store, SharedStore):
            self.tier.causes.stored(self._place(address, store), until)

    def _settle(
        self,
        binding: Binding,
        address: Address,
        store: Store,
        found: Found,
        outcome: Outcome,
        shared: bool,
        begun: float,
    ) -> Outcome:
        """What the caller of a missed call gets: the outcome, or the old value where the function raised (or timed out)
        and `stale_if_error` allows it.
        """
        options = binding.function.options
        if outcome.error is not None and options.stale_if_error and not isinstance(outcome.error, options.errors):
            old = self._old_value(binding, address, store, found, begun)
            if old is not None:
                return old
        self._missed(binding, shared, begun)
        return outcome

    def _old_value(
        self, binding: Binding, address: Address, store: Store, found: Found, begun: float
    ) -> Outcome | None:
        if not self._servable(binding, found):
            return None
        outcome = self._loaded(binding, found)
        if outcome is None or outcome.error is not None:
            return None
        counters = binding.counters
        counters.causes[address.cause] -= 1
        counters.add(misses=-1, stale_hits=1)
        store.touch(address, found)
        self._timed(counters.hit_times, begun)
        self._say(events.StaleHit, binding.function.name, _since(begun))
        return outcome

    def _servable(self, binding: Binding, found: Found) -> bool:
        if found.load is None or found.is_error:
            return False
        stale_if_error = binding.function.options.stale_if_error
        return servable_on_failure(found.now, found.expires, found.stale_until, stale_if_error)

    def _missed(self, binding: Binding, shared: bool, begun: float) -> None:
        self._timed(binding.counters.miss_times, begun)
        self._say(events.Miss, binding.function.name, shared, _since(begun))

    # -- waiting

    def _patience(self, binding: Binding, found: Found, begun: float, *, soft: bool) -> tuple[float, str]:
        """How long a call that began at `begun` waits for a flight, and what its patience ends with.

        With `soft`, it ends early where there is an old value to fall back on.
        """
        options = binding.function.options
        spent = time.monotonic() - begun
        limits = [(self.max_wait - spent, "wait")]
        if options.hard_timeout:
            limits.append((options.hard_timeout - spent, "hard"))
        if soft and options.soft_timeout and self._servable(binding, found):
            limits.append((options.soft_timeout - spent, "soft"))
        limit, why = min(limits)
        return max(0.0, limit), why

    def _give_up_waiting(
        self,
        binding: Binding,
        values: Values,
        address: Address,
        store: Store,
        found: Found,
        why: str,
        begun: float,
    ) -> Generator[Effect, Any, Outcome]:
        """What a call comes to whose patience with a flight has ended."""
        if why == "hard":
            old = self._old_value(binding, address, store, found, begun)
            if old is not None:
                return old
            limit = binding.function.options.hard_timeout
            return Outcome(
                None, ComputeTimeout(f"{binding.function.name} did not finish within hard_timeout={limit:g} seconds")
            )
        flight, token = self.flights.solo(address.flight_key, self.tier.marks(address.name, address.tags))
        return (
            yield from self._lead(binding, values, address, store, found, flight, token, reachable=True, patient=0.0)
        )

    # -- leading

    def _lead(
        self,
        binding: Binding,
        values: Values,
        address: Address,
        store: Store,
        found: Found,
        flight: Flight,
        token: Token | None,
        *,
        reachable: bool,
        force: bool = False,
        patient: float | None = -1.0,
        begun: float | None = None,
    ) -> Generator[Effect, Any, Outcome]:
        """Compute as the leader of `flight`, whose `token` lives as long as these steps; _AGAIN if somebody else
        stored.

        `patient` is for how many seconds to wait for another process (None: not at all, and _AGAIN; -1: for what is
        left of `max_wait` to a call that began at `begun`).
        """
        options, counters = binding.function.options, binding.counters
        lease: Any = None
        committed = False
        try:
            if reachable:
                if options.coalesce != "fleet" and patient is not None:
                    patient = 0.0
                elif patient == -1.0:
                    spent = 0.0 if begun is None else time.monotonic() - begun
                    patient = max(0.0, self.max_wait - spent)
                try:
                    got = yield from store.begin(address, found, flight, patient=patient, force=force)
                except BackendError as fault:
                    self.fault(counters, fault, raising=force)
                    if patient is None:
                        return _AGAIN
                else:
                    if got is None or isinstance(got, Found):
                        return _AGAIN
                    lease = got
            outcome, seconds = yield from self.compute(binding, values, (flight,))
            try:
                record = self._record(binding, address, outcome, seconds)
            except Exception as error:  # what the user's condition or ttl raised: the call's outcome, for followers too
                outcome, record = Outcome(None, error, error.__traceback__), None
            outcome = yield from self.settle_flight(
                binding, address, store, lease, record, outcome, flight, force=force
            )
            committed = True
            return outcome
        finally:
            if not committed:
                if lease is not None:
                    store.give_up(lease)
                self.flights.finish(flight, None)

    def settle_flight(
        self,
        binding: Binding,
        address: Address,
        store: Store,
        lease: Any,
        record: Record | None,
        outcome: Outcome,
        flight: Flight,
        *,
        force: bool = False,
    ) -> Generator[Effect, Any, Outcome]:
        """Store what a flight came to, and end it; the outcome for its leader."""
        # from here on nobody who joins may take the outcome: the command that validates it is on its way
        self.flights.seal(flight)
        valid = True
        if lease is not None:
            valid, outcome = yield from self._commit(
                binding, address, store, lease, record, outcome, flight, force=force
            )
        self.flights.finish(flight, self._for_followers(binding, flight, outcome) if valid else None)
        return outcome

    def _for_followers(self, binding: Binding, flight: Flight, outcome: Outcome) -> Outcome | None:
        """What a flight's followers take: they do not share what they could change, with its leader or each other.

        None: what can be used once is the leader's alone.
        """
        if not flight.followed or outcome.error is not None:
            return outcome
        try:
            if binding.function.options.share:
                single_use.check(outcome.value)
                return outcome
            value, flight.thaw = self._freeze(outcome.value)
        except EncodeError:
            return None
        return Outcome(value)

    def _commit(
        self,
        binding: Binding,
        address: Address,
        store: Store,
        lease: Any,
        record: Record | None,
        outcome: Outcome,
        flight: Flight,
        *,
        force: bool,
    ) -> Generator[Effect, Any, tuple[bool, Outcome]]:
        """Store `record`; whether the outcome is valid, and the outcome (an error in its place if `strict`)."""
        counters, name = binding.counters, binding.function.name
        now = self.tier.clock.monotonic()
        try:
            try:
                valid = yield from store.commit(address, lease, record, flight)
            except Unstorable as refusal:
                counters.add(rejected=1)
                self.gone(address, store, REJECTED)
                self._say(events.Rejected, name, refusal.cause)
                record = None
                valid = yield from store.commit(address, lease, None, flight)
                error = binding.rejected(refusal)
                if error is not None:
                    outcome = Outcome(None, error)
        except BackendError as fault:
            store.give_up(lease)
            if isinstance(fault, NoRoom):
                self.gone(address, store, REJECTED)
            self.fault(counters, fault, raising=force)
            return True, outcome  # cut off from the backend: nothing can be validated, and callers share what there is
        if record is not None:
            if valid:
                counters.add(stores=1)
                self.stored(address, store, now + record.ttl)
                self._say(events.Stored, name, record.compute_seconds)
            else:
                self.gone(address, store, INVALIDATED)
                self._say(events.Rejected, name, "invalidated")
        elif valid and outcome.error is None:
            self.gone(address, store, REJECTED)
        return valid, outcome

    def compute(
        self, binding: Binding, values: Values, flights: tuple[Flight, ...]
    ) -> Generator[Effect, Any, tuple[Outcome, float]]:
        """Run the function as leader of `flights`: its outcome and the seconds it took."""
        args, kwargs = binding.function.signature.split(values)
        clock = self.tier.clock
        begun = clock.monotonic()
        outcome: Outcome = yield Compute(binding.function.plain, args, kwargs, flights)
        seconds = max(0.0, clock.monotonic() - begun)
        binding.counters.compute_times[bucket(seconds)] += 1
        binding.counters.add(computations=1, compute_seconds=seconds)
        error = None if outcome.error is None else type(outcome.error).__qualname__
        self._say(events.Computed, binding.function.name, seconds, error is None, error)
        binding.mean_seconds = smoothed(binding.mean_seconds, seconds)
        return outcome, seconds

    def _record(self, binding: Binding, address: Address, outcome: Outcome, seconds: float) -> Record | None:
        """What is to be stored of an outcome, or None. Raises what a `condition` or `ttl` callable raises."""
        options = binding.function.options
        if outcome.error is not None:
            if not isinstance(outcome.error, options.errors):
                return None
            ttl = options.error_ttl or (self.default_ttl if callable(options.ttl) else self._ttl(options.ttl, None))
        elif self.admits(binding, outcome):
            ttl = self._ttl(options.ttl, outcome.value)
        else:
            return None
        return self._sealed(binding, outcome, ttl, seconds)

    def admits(self, binding: Binding, outcome: Outcome) -> bool:
        """Whether the function's `condition` lets a result be stored."""
        condition = binding.function.options.condition
        if condition is None or condition(outcome.value):
            return True
        self._say(events.Rejected, binding.function.name, "condition")
        return False

    def _sealed(self, binding: Binding, outcome: Outcome, ttl: float, seconds: float) -> Record:
        options = binding.function.options
        return Record(
            outcome,
            jittered(ttl, options.jitter, random.random()) if options.jitter else ttl,
            options.stale if outcome.error is None else 0.0,
            retention(options.stale, options.stale_if_error) if outcome.error is None else 0.0,
            # with `early`, what later readers weigh: the smoothed cost rather than one sample
            binding.mean_seconds if options.early else seconds,
            options.version,
            binding.function.declared_tags,
            options.share,
            binding.held_by_reference,
        )

    def _ttl(self, ttl: Any, result: Any) -> float:
        if ttl is MISSING:
            return self.default_ttl
        if callable(ttl):
            made = ttl_setting(ttl(result), show=False)
            return self.default_ttl if made is MISSING or callable(made) else float(made)
        return float(ttl)

    def record(self, binding: Binding, value: Any, seconds: float = 0.0) -> Record:
        """What is to be stored of a value that did not come from a call of its own."""
        return self._sealed(binding, Outcome(value), self._ttl(binding.function.options.ttl, value), seconds)

    # -- background refresh

    def _start_refresh(
        self, binding: Binding, values: Values, address: Address, store: Store, found: Found
    ) -> Generator[Effect, Any, None]:
        key = address.flight_key
        now = self.tier.clock.monotonic()
        if self.flights.busy(key) or self._throttled.get(key, 0.0) > now:
            return
        marks = self.tier.marks(address.name, address.tags)
        flight, role, token = self.flights.enter(key, marks, ())
        if role is not Role.LEAD:
            return
        background = Address(
            address.table, address.key, address.name, address.digest, address.tags, address.tokens, Budget()
        )
        yield Spawn(self._refresh(binding, values, background, store, found, flight, token, key))

    def _refresh(
        self,
        binding: Binding,
        values: Values,
        address: Address,
        store: Store,
        found: Found,
        flight: Flight,
        token: Token | None,
        key: Any,
    ) -> Generator[Effect, Any, None]:
        outcome = yield from self._lead(
            binding, values, address, store, found, flight, token, reachable=True, patient=None
        )
        if outcome is _AGAIN:
            return
        ok = outcome.error is None
        if ok:
            self._throttled.pop(key, None)
        else:
            self._throttle(key)
        self._say(events.Refreshed, binding.function.name, ok)

    def _throttle(self, key: Any) -> None:
        now = self.tier.clock.monotonic()
        if len(self._throttled) > 1024:
            self._throttled = {k: until for k, until in list(self._throttled.items()) if until > now}
        self._throttled[key] = now + REFRESH_THROTTLE

    # -- reporting

    def fault(self, counters: Counters, fault: BackendError, *, raising: bool = False) -> None:
        """Count a backend failure, and raise it where the caller must know of it."""
        if isinstance(fault, NoRoom):
            counters.add(rejected=1)
        else:
            counters.add(backend_errors=1)
        if raising or self.raise_faults:
            raise fault

    def _timed(self, times: list[int], begun: float) -> None:
        index = bucket(time.monotonic() - begun)
        times[index] += 1

    def _say(self, kind: Callable[..., events.Event], *facts: Any) -> None:
        """Tell the observers; where there are none, no event is made."""
        if self.emit is not None:
            self.emit(kind(*facts))


def _since(begun: float | None) -> float | None:
    return None if begun is None else time.monotonic() - begun
