"""The reader of the hit path: from a reply of the backend to a fresh value, counted, at least cost.

It serves only what most replies hold: a plain value that is fresh under the markers that stand now. Of everything else
it says `UNFIT`, and `SharedStore.read` looks with more care. Both colours come here.

The functions are methods of `memocache._stores.remote.store.SharedStore`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Any, NamedTuple, Protocol

from memocache._runtime.budget import Budget
from memocache._runtime.outcome import Outcome
from memocache._stores.entry import Table
from memocache._stores.remote.envelope import echo_start, fresh_payload
from memocache._stores.remote.envelope_io import UNFIT
from memocache._stores.remote.guard import BackendGuard
from memocache._stores.remote.operation_counts import OperationCounter
from memocache.exceptions import DecodeError
from memocache.stats import BUCKETS
from memocache.typing import Answer, Backend

ReadNow = Callable[[Sequence[str]], "Sequence[Any] | None"]


class HitLog(Protocol):
    """Where hits are noted: `touched` holds times (epoch seconds), and after each the entries that were hit then."""

    touched: deque[str | float]
    thread: Any
    """The thread that reports them; None: `wake` it."""

    def touch(self, entries: Sequence[str]) -> None:
        """Note a hit on each of some entries, now."""
        ...

    def wake(self) -> None:
        """See that somebody reports."""
        ...


class ReadingStore(Protocol):
    """The store that is read."""

    gets: OperationCounter
    guard: BackendGuard
    hits: HitLog
    max_value_bytes: int
    outcomes: Any
    read_now: ReadNow
    sealed: bool
    time: Callable[[], float]
    touched_at: float
    together: tuple[Any, bytes, float]
    decode: Callable[[Any], Any]


def look_now(
    self: ReadingStore, table: Table, entry: str, markers: Sequence[str], begun: float
) -> tuple[Outcome | None, Any]:
    """As `SharedStore.look`, in this thread: a fresh outcome, counted as a hit, or None; and the reply.

    `begun` is when the call began (`time.monotonic`). Raises `BackendError`.
    """
    keys = [entry, *markers]
    values = None
    if not self.outcomes:  # while nothing fails there is nothing to weigh
        asked = monotonic()
        try:
            values = self.read_now(keys)
        except Exception as error:
            self.guard.failed("read", error, Budget(), begun)
        if values is not None:
            took, gets = monotonic() - asked, self.gets
            gets.seconds += took
            index = int(took * 1e6).bit_length()
            gets.times[index if index < BUCKETS else -1] += 1
    if values is None:
        values = self.guard.blocking("read", (keys,), {}, Budget(), "get")
    raw, key = values[0], entry.encode()
    if type(raw) is not bytes or self.sealed or len(raw) > self.max_value_bytes:
        return None, values
    now = self.time()
    try:
        payload = fresh_payload(raw, echo_start(b"".join(values[1:]), len(key)) + key, now)
        if payload is None:
            return None, values
        value = self.decode(payload)
    except (TypeError, DecodeError):  # a marker is missing, or the payload is damaged
        return None, values
    table.counters.hits += 1
    log = self.hits
    self.touched_at = now
    log.touched.extend((now, entry))  # one step of C code: no other thread's hit comes between
    if log.thread is None:
        log.wake()
    # past the named tuple's own `__new__`, which is Python code
    return tuple.__new__(Outcome, (value, None, None)), values


class Soon(NamedTuple):
    """A look-up of `store` under way since `begun` (`time.monotonic`).

    Await `reply`, and give its answer to `value`. If that says `UNFIT`, the rest is for ``path.rest``: it needs the
    `values` of the call and the question that was `asked`.
    """

    reply: Awaitable[Answer]
    begun: float
    store: ReadingStore
    table: Table
    times: list[int]
    path: Any
    values: Any
    asked: Any

    def value(self, answer: Answer) -> Any:
        """The value to serve, counted as a hit whose time goes into the histogram `times`; or `UNFIT`."""
        value = glance(self.store, self.table, answer)
        if value is not UNFIT:
            took, gets = monotonic() - self.begun, self.store.gets
            index = int(took * 1e6).bit_length()
            if index >= BUCKETS:
                index = -1
            self.times[index] += 1
            gets.times[index] += 1
            gets.seconds += took
        return value


def glance(self: ReadingStore, table: Table, answer: Answer) -> Any:
    """The value in an answer of `read_soon`, counted as a hit on an entry of `table`, if it is what most are: plain
    and fresh. `UNFIT` says nothing about what it is instead: ask `replied` and `SharedStore.read`.
    """
    if type(answer) is not tuple:
        return UNFIT
    entry, raw, marks = answer
    if type(raw) is not bytes:
        return UNFIT
    of, generations, now = self.together
    if of is not marks:  # once for all that were answered together
        if None in marks:
            return UNFIT
        generations, now = b"".join(marks), self.time()  # type: ignore[arg-type]  # none of them is None
        self.together = marks, generations, now
    key = entry.encode()
    payload = fresh_payload(raw, echo_start(generations, len(key)) + key, now)
    if payload is None or self.sealed or len(raw) > self.max_value_bytes:
        return UNFIT
    try:
        value = self.decode(payload)
    except DecodeError:
        return UNFIT
    table.counters.hits += 1
    log = self.hits
    if now != self.touched_at:
        self.touched_at = now
        log.touched.append(now)
    log.touched.append(entry)
    if log.thread is None:
        log.wake()
    if self.outcomes:
        self.guard.breaker.succeeded(monotonic())
    return value


def replied(self: ReadingStore, answer: Answer, budget: Budget, begun: float) -> Sequence[bytes | None]:
    """An answer of `read_soon`, asked at `begun`, as of `Backend.read`. Raises `BackendError`, as the guard does."""
    now = monotonic()
    if isinstance(answer, Exception):
        self.guard.failed("read", answer, budget, begun)
    self.guard.breaker.succeeded(now)
    self.gets.add(now - begun)
    _, raw, marks = answer
    return [raw, *marks]


def read_now_of(backend: Backend) -> ReadNow:
    """The `read_now` of a backend whose class defines it beside the `read` that it stands for.

    A wrapper or a subclass with a `read` of its own may have more to do.
    """
    owner = next((kind for kind in type(backend).__mro__ if "read" in vars(kind)), None)
    if owner is None or "read_now" not in vars(owner) or getattr(backend, "clustered", False):
        return _not_now
    found: ReadNow = backend.read_now  # type: ignore[attr-defined]  # its class has one
    return found


def _not_now(keys: Sequence[str]) -> None:
    """The `read_now` of a backend that has none."""
