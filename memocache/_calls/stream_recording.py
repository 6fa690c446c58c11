"""`Recording`: what one run of a generator function has yielded so far, for all callers that read along.

Whoever needs the next item and finds nobody pulling, pulls (sync), or has the task that runs the generator pull
(async, where one task must run all of it). So no reader waits for another's pace, and one that leaves stops nobody.
The run is stored if it ends by itself, fits into `max_value_bytes`, and nothing was invalidated meanwhile; it is closed
when its last reader leaves. Past the limit the record forgets its oldest items: a reader that lags by more than that
begins anew, and skips what it has had (see `memocache._calls.stream_call`).
"""

from __future__ import annotations

import os
import sys
import threading
from enum import Enum
from hashlib import blake2b
from typing import Any, NamedTuple

from memocache._calls.call_and_lead import Call, Lead
from memocache._calls.leading import Leader
from memocache._runtime.effects import Compute, Steps, Wait
from memocache._runtime.outcome import Outcome
from memocache._runtime.singleflight import LEADING, Signal, stop_leading
from memocache._stores.store import Unstorable
from memocache.codecs.codec import Codec
from memocache.exceptions import EncodeError
from memocache.stats import REJECTED
from memocache.typing import MISSING


class _Stage(Enum):
    BEGINNING = 0
    RUNNING = 1
    ENDED = 2
    GONE = 3


class Item(NamedTuple):
    """One item: as held, how a reader's own copy is made (None: it is handed out), its size, and the digest of all
    items up to it.
    """

    held: Any
    thaw: Any
    size: int
    mark: bytes


class Recording:
    """One run of a generator function, read by all its `readers`."""

    def __init__(self, leader: Leader, codec: Codec, call: Call, lead: Lead, max_bytes: int) -> None:
        self.leader, self.codec, self.lead, self.max_bytes = leader, codec, lead, max_bytes
        self.function, self.binding = call.binding.function, call.binding
        self.values = call.values
        self.readers = 0
        self.end: Outcome | None = None
        """What follows the last item: an outcome whose error is the end of iteration, or what the function raised."""
        self._items: list[Item] = []
        self._base = self._size = 0
        self._wanted = -1
        self._mark = b""
        self._seconds = 0.0
        self._stored = True
        self._state = _Stage.BEGINNING
        self._pulling = False
        self._source: Any = None
        self._lock = threading.RLock()
        self._changed = Signal()

    # -- readers

    def take(self, at: int, timeout: float) -> Steps[tuple[Outcome, bytes] | None]:
        """The item of this number (or the end), and the digest of all up to it; None: begin anew.

        Without the item for `timeout` seconds: None too.
        """
        while True:
            pull = False
            with self._lock:
                if at < self._base or self._state is _Stage.GONE:
                    return None
                if at < self._base + len(self._items):
                    return self._given(at - self._base)
                if self._state is _Stage.ENDED:
                    assert self.end is not None
                    return self.end, self._mark
                if self._state is _Stage.RUNNING and not self.function.is_async:
                    pull = not self._pulling
                    self._pulling = True
                wanted, self._wanted = at > self._wanted, max(at, self._wanted)
                signal = self._changed
            if pull:
                yield from self._pull()
            else:
                if wanted:
                    signal = self._change()
                if not (yield Wait(signal, timeout)):
                    return None

    def begun(self) -> Steps[bool]:
        """Wait until the run has begun; False if it came to nothing."""
        while self._state is _Stage.BEGINNING:
            signal = self._changed
            if self._state is _Stage.BEGINNING:
                yield Wait(signal, None)
        return self._state is not _Stage.GONE

    def leave(self) -> None:
        """One reader reads no further; the last one ends a run that is under way. May raise what the generator raises
        when it is closed.
        """
        with self._lock:
            self.readers -= 1
            last = not self.readers and self._state is _Stage.RUNNING
        if last and not self.function.is_async:
            self.gone()
            if self._source is not None and hasattr(self._source, "close"):
                self._source.close()
        elif last:
            self._change()  # the task that runs it closes it

    def closed(self) -> Steps[None]:
        """Wait until a run that nobody reads has been closed."""
        while not self.readers and self._state is _Stage.RUNNING:
            signal = self._changed
            if not self.readers and self._state is _Stage.RUNNING:
                yield Wait(signal, None)

    def _given(self, place: int) -> tuple[Outcome, bytes] | None:
        item = self._items[place]
        if item.held is MISSING:
            return None
        if item.thaw is MISSING:  # it can be used once: the first reader's
            self._items[place] = item._replace(held=MISSING)
            return Outcome(item.held), item.mark
        return Outcome(item.held if item.thaw is None else item.thaw(item.held)), item.mark

    # -- the run

    def run(self) -> None:
        """The right to run is there."""
        self._state = _Stage.RUNNING
        self._change()

    def gone(self) -> None:
        """It came to nothing, or its source is dead: readers begin anew."""
        with self._lock:
            if self._state is not _Stage.ENDED:
                self._state = _Stage.GONE
        self.leader.end(self.lead)
        self._forget()
        self._change()

    def in_task(self) -> Steps[None]:
        """Run an async generator in this task, as far as readers want it, and close it when the last has left."""
        try:
            while self._state is _Stage.RUNNING and self.readers:
                signal = self._changed
                if self._wanted >= self._base + len(self._items):
                    yield from self._advance()
                elif self.readers:
                    yield Wait(signal, None)
            if self._source is not None and self._state is _Stage.RUNNING and hasattr(self._source, "aclose"):
                yield Compute(self._source.aclose, (), {})
        finally:
            if self._state is not _Stage.ENDED:
                self.gone()

    def ended_in_task(self, error: BaseException | None) -> bool:
        """The task has ended; nobody waits for what it raised, for a source that is dead is begun anew."""
        if self._state is not _Stage.ENDED:
            self.gone()
        return True

    def _pull(self) -> Steps[None]:
        try:
            yield from self._advance()
        except BaseException:  # it was torn down with the call that pulled
            self.gone()
            raise
        finally:
            self._pulling = False
            self._change()

    def _advance(self) -> Steps[None]:
        reset = LEADING.set((*LEADING.get(), self.lead.flight))
        clock = self.leader.tier.clock
        begun = clock.monotonic()
        try:
            outcome = yield Compute(self._anext if self.function.is_async else self._next, (), {})
            self._seconds += max(0.0, clock.monotonic() - begun)
            if outcome.error is None:
                self._append(outcome.value)
            else:
                yield from self._finish(outcome)
        finally:
            stop_leading(reset)
        self._change()

    def _next(self) -> Any:
        if self._source is None:
            args, kwargs = self.function.signature.split(self.values)
            self._source = iter(self.function.plain(*args, **kwargs))
        return next(self._source)

    async def _anext(self) -> Any:
        if self._source is None:
            args, kwargs = self.function.signature.split(self.values)
            self._source = aiter(self.function.plain(*args, **kwargs))
        return await anext(self._source)

    def _append(self, value: Any) -> None:
        held: Any = value
        thaw: Any = None
        size = sys.getsizeof(value)
        try:
            if not self.function.options.share:
                held, thaw = self.leader.freeze(value)
            size, self._mark = measured(self.codec, self._mark, value)
        except EncodeError as refused:
            if held is value and thaw is None and not self.function.options.share:
                thaw = MISSING
                self._give_up(Unstorable("unencodable", str(refused)))
            self._mark = os.urandom(16)
        with self._lock:
            self._items.append(Item(held, thaw, size, self._mark))
            self._size += size
        if self._size > self.max_bytes:
            self._give_up(Unstorable("too large", f"it has yielded more than max_value_bytes={self.max_bytes}"))
            with self._lock:
                while self._size > self.max_bytes and len(self._items) > 1:
                    self._size -= self._items.pop(0).size
                    self._base += 1

    def _give_up(self, refusal: Unstorable) -> None:
        """Nothing of this run will be stored, nor read by callers to come; those that read it go on."""
        if not self._stored:
            return
        self._stored = False
        error = self._refused(refusal)
        self.leader.end(self.lead)
        if error is not None:
            self.end, self._state = Outcome(None, error), _Stage.ENDED

    def _refused(self, refusal: Unstorable) -> EncodeError | None:
        self.binding.counters.add(rejected=1)
        self.leader.gone(self.lead.address, self.lead.store, REJECTED)
        return self.binding.rejected(refusal)

    def _finish(self, outcome: Outcome) -> Steps[None]:
        """The generator ended, by itself or by an error: store what is to be stored, and then tell the readers."""
        assert outcome.error is not None
        end, record = outcome, None
        by_itself = isinstance(outcome.error, StopIteration | StopAsyncIteration)
        result = Outcome(self._all()) if by_itself else outcome
        self.leader.computed(self.binding, result, self._seconds)
        if self._stored:
            if by_itself and getattr(outcome.error, "value", None) is not None:
                error = self._refused(Unstorable("unencodable", "a replay would not return the generator's value"))
                end = outcome if error is None else Outcome(None, error)
            elif by_itself or not self._mark:  # an error after items is not to be replayed without them
                try:
                    record = self.leader.record_of(self.binding, result, self._seconds)
                except Exception as error:  # what the user's condition or ttl raised
                    end = result = Outcome(None, error, error.__traceback__)
            settled = yield from self.leader.settle(self.binding, self.lead, record, result)
            end = settled if settled.error is not None else end
        with self._lock:
            self.end, self._state = end, _Stage.ENDED
        self._forget()
        self._change()

    def _forget(self) -> None:
        """Nobody is to join any more; what refers to each other in a circle would wait for the collector."""
        self.lead.recording = self.lead.flight.recording = None

    def _all(self) -> list[Any]:
        if not self._stored:
            return []
        return [item.held if item.thaw is None else item.thaw(item.held) for item in self._items]

    def _change(self) -> Signal:
        """Wake everybody; the signal of the next change."""
        with self._lock:
            old, self._changed = self._changed, Signal()
            new = self._changed
        old.fire()
        return new


def measured(codec: Codec, mark: bytes, value: Any) -> tuple[int, bytes]:
    """The encoded size of an item, and the digest of all up to it, where `mark` is that of those before.

    An item that has no bytes is like no other.
    """
    try:
        data = codec.encode(value)
    except EncodeError:
        return sys.getsizeof(value), os.urandom(16)
    return len(data), blake2b(mark + data, digest_size=16).digest()
