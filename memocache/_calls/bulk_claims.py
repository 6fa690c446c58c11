"""The misses of a bulk call in a thread: a few at a time are claimed together, computed one after the other, and stored
together.

Whoever claims a call holds it: others wait for it, though it has not begun. So as many are claimed as take a few
milliseconds by what the calls before them took, and whatever takes longer lets go: a thread of the store's does, if the
function itself does not return. A call from inside that needs a claimed one dissolves the claims, and goes its own way.

Nobody waits for somebody else while holding a claim: a call that others compute is left until all claims are settled.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from memocache._calls.call_and_lead import Call, Lead
from memocache._calls.call_key import Binding
from memocache._calls.engine import Engine
from memocache._runtime.effects import Steps
from memocache._runtime.outcome import Outcome
from memocache._runtime.singleflight import LEADING, stop_leading
from memocache._stores.remote.lease_batch import BATCH
from memocache._stores.remote.store import SharedStore
from memocache._stores.store import Record
from memocache.exceptions import BackendError

HELD_SECONDS = 0.01
"""How long claims are meant to be held."""
_LATE_SECONDS = 0.25
"""Past it, what is claimed and has not begun is let go between two computations."""
STALL_SECONDS = 1.0
"""Past it, claims are let go by the thread of the store."""
_FIRST = 4
_GROWTH = 4


def claimable(call: Call) -> bool:
    """Whether a call that was looked up can be claimed: nothing was found of it in a backend that answers, and its
    caller waits for the computation whatever comes.
    """
    options = call.binding.function.options
    weighed = options.soft_timeout or options.hard_timeout or options.coalesce is None
    found_nothing = call.asked and call.reachable and call.found.load is None
    return found_nothing and isinstance(call.store, SharedStore) and not weighed


class Claims:
    """What a bulk call has claimed; made, asked and ended by its thread alone, but for `loosen`."""

    def __init__(self, engine: Engine, binding: Binding) -> None:
        self._engine, self._binding = engine, binding
        self._store: SharedStore = binding.places.shared  # type: ignore[assignment]  # see `claimable`
        self._owner = threading.get_ident()
        self._lock = threading.Lock()
        self._ready: dict[Any, Lead] = {}  # by the call's key: claimed, and not begun
        self._computed: list[tuple[Call, Lead, Record | None, Outcome]] = []  # and not stored
        self._dissolved = self._failed = False
        self._seconds = binding.mean_seconds  # of one computation

    def compute(self, calls: Sequence[Call], make: Callable[[Call], Steps[Outcome]]) -> Steps[None]:
        """Give calls their outcomes until one is a failure, but for those that others compute. `make` is for one that
        is better made alone.
        """
        at, size, counters = 0, _FIRST, self._binding.counters
        if self._seconds:
            size = BATCH
        while at < len(calls) and not self._dissolved and not self._failed:
            size = max(1, min(BATCH, size, int(HELD_SECONDS / max(1e-9, self._seconds))))
            some = calls[at : at + size]
            at += size
            if len(some) > 1:
                yield from self._compute_claimed(some)
                size *= _GROWTH
                continue
            before = counters.compute_seconds
            some[0].outcome = outcome = yield from make(some[0])
            self._seconds = max(0.0, counters.compute_seconds - before)
            self._failed = outcome.error is not None
            size = _FIRST

    def _compute_claimed(self, calls: Sequence[Call]) -> Steps[None]:
        reset = LEADING.set(LEADING.get())
        try:
            yield from self._claim(calls)
            begun = stored = time.monotonic()
            for call in calls:
                with self._lock:
                    lead = self._ready.pop(call.address.key, None)
                if lead is None:
                    continue  # others compute it, or have it by now
                began = time.monotonic()
                yield from self._compute_one(call, lead)
                now = time.monotonic()
                self._seconds = now - began
                if self._failed:
                    break
                if now - stored > 2 * HELD_SECONDS:
                    yield from self._settle()
                    stored = now
                if now - begun > _LATE_SECONDS:
                    self._give_back()
            yield from self._settle()
        finally:
            stop_leading(reset)
            self._let_go()

    def _claim(self, calls: Sequence[Call]) -> Steps[None]:
        """Lead those that nobody computes, here or, as far as the backend answers, elsewhere."""
        engine = self._engine
        asked = []
        for call in calls:
            lead = Lead(call.address, call.store)
            # held before it is led: whatever is raised, it is let go
            self._ready[call.address.key] = lead
            if engine.flights.lead_held(call.address.flight_key, engine.marks(call.address), lead):
                lead.flight.claims = self
                asked.append((lead, call.found))
            else:
                del self._ready[call.address.key]
        LEADING.set((*LEADING.get(), *(lead.flight for lead, _ in asked)))
        self._store.keeper.remind(self, STALL_SECONDS)
        try:
            fleet = self._binding.function.options.coalesce == "fleet"
            yield from engine.leader.begin_many(asked, None if fleet else 0.0)
        except BackendError as fault:
            engine.leader.fault(self._binding.counters, fault)
            self._dissolved = True
        with self._lock:
            refused = [key for key, lead in self._ready.items() if lead.lease is None]
            given_up = [self._ready.pop(key) for key in refused]
        for lead in given_up:
            engine.leader.end(lead)

    def _compute_one(self, call: Call, lead: Lead) -> Steps[None]:
        try:
            call.begun, call.flight = time.monotonic(), lead.flight
            served = yield from self._engine.look(call)
            assert served is None, "what may be served is not claimed"
            outcome, record = yield from self._engine.leader.computed_record(self._binding, call.values)
            self._failed = outcome.error is not None
            with self._lock:
                self._computed.append((call, lead, record, outcome))
        except BaseException:
            self._engine.leader.end(lead)
            raise

    def _settle(self) -> Steps[None]:
        """Store what was computed, and end its flights: the calls have their outcomes."""
        engine = self._engine
        with self._lock:
            computed, self._computed = self._computed, []
        try:
            yield from engine.leader.commit_many([(lead, record) for _, lead, record, _ in computed])
            for call, lead, record, outcome in computed:
                settled = yield from engine.leader.settle(self._binding, lead, record, outcome)
                call.outcome = engine.settle(call, settled)
                self._failed = self._failed or call.outcome.error is not None
        finally:
            for _, lead, _, _ in computed:
                engine.leader.end(lead)

    # -- letting go

    def dissolve(self) -> Steps[None]:
        """Hold nothing any more: somebody needs what is claimed."""
        self._dissolved = True
        if threading.get_ident() == self._owner:
            self._give_back()
            yield from self._settle()
        else:
            self.loosen()

    def loosen(self) -> None:
        """Let others have what is claimed, from any thread and without waiting: what is computed is stored still,
        unless somebody else stores it before.
        """
        self._dissolved = True
        self._give_back()
        with self._lock:
            for _, lead, _, _ in self._computed:
                if lead.lease is not None:
                    lead.store.give_up(lead.lease)
                self._engine.flights.finish(lead.flight, None)

    def _give_back(self) -> None:
        with self._lock:
            ready, self._ready = self._ready, {}
        for lead in ready.values():
            self._engine.leader.end(lead)

    def _let_go(self) -> None:
        """End what is held, whatever was raised."""
        self._store.keeper.forget_reminder(self)
        self._give_back()
        with self._lock:
            computed, self._computed = self._computed, []
        for _, lead, _, _ in computed:
            self._engine.leader.end(lead)
