"""`StreamCall`: one call of a function that streams: a hit is replayed, a miss reads along with a `Recording`.

Where a record is of no more use to a reader (its source died with the task that ran it, or the reader lags by more than
`max_value_bytes`), the call begins anew and skips what it has given, if that is what it gives again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from memocache._calls.cache_core import Core
from memocache._calls.call_and_lead import Call, Lead
from memocache._calls.call_key import Binding
from memocache._calls.leading import AGAIN
from memocache._calls.signature import Values
from memocache._calls.stream_recording import Recording, measured
from memocache._calls.with_status import status_of
from memocache._runtime.effects import Compute, Spawn, Steps
from memocache._runtime.outcome import Outcome
from memocache._runtime.singleflight import LEADING, Flight, Role
from memocache.exceptions import BackendError
from memocache.stats import BYPASS, CacheStatus


class StreamCall:
    """One call under way: where its items come from, and how many it has given."""

    def __init__(self, core: Core, binding: Binding, values: Values) -> None:
        self._core, self._binding, self._values = core, binding, values
        self._call: Call | None = None
        self._opened = self._ended = False
        self.replay: Iterator[Any] | None = None
        """What a hit has left to give."""
        self._recording: Recording | None = None
        self._source: Any = None
        self._left: tuple[Flight, tuple[Flight, ...]] | None = None
        self._at = self._given = 0
        self._mark = self._seen = b""

    @property
    def status(self) -> CacheStatus:
        """How the cache has handled the call up to now."""
        return BYPASS if self._call is None else status_of(self._call)

    @property
    def for_tenant(self) -> bool:
        """Whether it is for a tenant."""
        return self._core.tenant is not None

    def inside(self) -> AbstractContextManager[None]:
        """Inside the block, the tenant of the call is bound, also where another is (or none)."""
        tenant = self._core.tenant
        return nullcontext() if tenant is None else tenant.inside()

    def step(self) -> Steps[Outcome]:
        """The next item, or an outcome whose error is the end or what the function raised."""
        while True:
            failed = yield from self.open()
            if failed is not None:
                return failed
            got = yield from self._take()
            if got is None:
                self._begin_anew()
                continue
            outcome, mark = got
            if outcome.error is None:
                self._at += 1
                self._seen = mark
                if self._at < self._given:
                    continue
                if self._at == self._given:
                    if self._seen != self._mark:
                        return Outcome(None, RuntimeError(self._other_items()))
                    continue
                if not self._given and self._call is not None and self._call.missed:
                    self._core.engine.leader.missed(self._call)
                self._given, self._mark = self._at, mark
                return outcome
            if self._at < self._given:
                return Outcome(None, RuntimeError(self._other_items()))
            if not self._given and self._call is not None and self._call.missed:
                stopped = isinstance(outcome.error, StopIteration | StopAsyncIteration)
                old = None if stopped else self._core.engine.settle(self._call, outcome)
                if old is not None and old.error is None:
                    self.leave()
                    self.replay = iter(old.value)
                    continue
            return outcome

    def open(self) -> Steps[Outcome | None]:
        """Look, and begin to read along or to replay; an outcome if there is an error in place of items."""
        if self._opened:
            return None
        self._opened = True
        if self._core.off():
            self._go_alone()
            return None
        if self._call is None:
            self._binding.check_name()
            self._call = Call(self._binding, self._values, *self._binding.address(self._values))
        call = self._call
        while True:
            outcome: Outcome | None = yield from self._core.engine.look(call)
            if outcome is None:
                outcome = yield from self._enter(call)
            if outcome is None:
                return None
            if outcome is not AGAIN:
                break
        if outcome.error is not None:
            return outcome
        self.replay = iter(outcome.value)
        return None

    def _enter(self, call: Call) -> Steps[Outcome | None]:
        """Lead or join the run of this call; None: there are items to come."""
        engine = self._core.engine
        call.tries += 1
        if call.alone or (call.tries > 1 and time.monotonic() - call.begun >= engine.max_wait):
            self._go_alone()
            return None
        lead = Lead(call.address, call.store)
        max_bytes = self._core.max_value_bytes
        lead.recording = recording = Recording(engine.leader, self._core.codec, call, lead, max_bytes)
        leading = LEADING.get()
        role = engine.enter(call, lead, leading)
        flight = call.flight
        if role is Role.DIRECT:
            self._go_alone()
            return None
        if role is Role.FOLLOW:
            if flight.recording is None or not flight.open:
                return (yield from engine.follow(call, flight, leading))
            self._left = flight, leading
            return (yield from self._join(call, flight.recording))
        try:
            if call.reachable and not (yield from engine.leader.begin(call, lead, engine.patient(call), force=False)):
                recording.gone()
                return AGAIN
            self._recording = recording
            recording.readers += 1
            recording.run()
            if self._binding.function.is_async:
                lead.apart = yield Spawn(recording.in_task(), recording.ended_in_task, urgent=True)
                if not lead.apart:
                    self.leave()
                    recording.gone()
                    self._go_alone()
        except BaseException:
            recording.gone()
            raise
        return None

    def _join(self, call: Call, recording: Recording) -> Steps[Outcome | None]:
        """Read along, if nothing was invalidated since the run began."""
        if not call.shared:
            call.shared = True
            self._binding.counters.add(coalesced=1)
        recording.readers += 1
        self._recording = recording
        lead = recording.lead
        stands = False
        if (yield from recording.begun()):
            stands = True
            if lead.lease is not None:
                try:
                    stands = yield from lead.store.stands(call.address, lead.lease, lead.flight)
                except BackendError as fault:  # cut off: there is nobody to ask, and callers share what there is
                    self._core.engine.leader.fault(self._binding.counters, fault)
        if stands:
            return None
        self._core.engine.flights.void(call.address.flight_key)
        self.leave()
        return AGAIN

    def _take(self) -> Steps[tuple[Outcome, bytes] | None]:
        if self._recording is not None:
            got = yield from self._recording.take(self._at, self._core.engine.max_wait)
            return got
        if self.replay is not None:
            try:
                outcome = Outcome(next(self.replay))
            except StopIteration as end:
                return Outcome(None, StopAsyncIteration() if self._binding.function.is_async else end), b""
        else:
            step = self._source.__anext__ if self._binding.function.is_async else self._source.__next__
            outcome = yield Compute(step, (), {})
        if outcome.error is not None or self._at >= self._given:
            return outcome, b""
        return outcome, measured(self._core.codec, self._seen, outcome.value)[1]

    def _go_alone(self) -> None:
        function = self._binding.function
        args, kwargs = function.signature.split(self._values)
        made = function.plain(*args, **kwargs)
        self._source = aiter(made) if function.is_async else iter(made)

    def _begin_anew(self) -> None:
        self.leave()
        self._opened, self._at, self._seen = False, 0, b""
        if self._call is not None:
            begun = self._call.begun
            self._call.begin_anew()
            self._call.begun = begun

    def _other_items(self) -> str:
        return (
            f"{self._binding.function.name}: the computation that this caller read along with is gone, and the one "
            "that takes its place yields other items: call it again (a stream of more than max_value_bytes is not "
            "held for callers that lag behind)"
        )

    def leave(self) -> None:
        """Read no further. May raise what the generator raises when it is closed."""
        left, self._left = self._left, None
        if left is not None:
            self._core.engine.flights.leave(*left)
        recording, self._recording = self._recording, None
        self.replay = None
        if recording is not None:
            recording.leave()

    def close(self) -> Steps[Outcome]:
        """Read no further, and wait until what nobody reads is closed."""
        recording, source, self._source = self._recording, self._source, None
        self.leave()
        if recording is not None and self._binding.function.is_async:
            yield from recording.closed()
        name = "aclose" if self._binding.function.is_async else "close"
        if source is not None and hasattr(source, name):
            closed: Outcome = yield Compute(getattr(source, name), (), {})
            return closed
        return Outcome()
