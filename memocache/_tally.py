"""Figures of the fleet: what this process counted, added up in the backend in batches.

A read is never a write: hits are counted here, in a dict, and a daemon thread sends what has gathered once a second,
in one round trip: the deltas of every function's counters, and access count and last access of each entry that was
hit. A process that is killed loses at most what one interval gathered; one that exits sends the rest, for at most 0.3
s.

The hottest keys go through Space-Saving with 4,096 counters (see `memocache._topk`). Those of the fleet are added up a
day in a hash of the backend: each process sends what is certain of the keys that surely had more hits than any key may
have been counted too high. So a count there is never too high, and too low by at most 2/4,096 of the hits of each
process, and the hash stays small however many keys there are.
"""

from __future__ import annotations

import atexit
import sys
import threading
import weakref
from collections import Counter, deque
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from memocache._guard import DIRECT_SECONDS, Budget
from memocache._guard import Guard as BackendGuard
from memocache._layout import Layout, escape
from memocache._local import LocalTier
from memocache._runtime import Io
from memocache._topk import SpaceSaving
from memocache.exceptions import BackendError
from memocache.typing import Clock, Tally

if TYPE_CHECKING:
    from memocache._near import NearTier

FLUSH_SECONDS = 1.0
DAY = 86_400
_IDLE_SECONDS = 30.0
_LAST_SECONDS = 0.3
_MOST_KEYS = 20_000
"""Entries whose accesses one flush carries; the others' wait for the next."""
_KEPT = (
    "stores",
    "hits",
    "misses",
    "stale_hits",
    "coalesced",
    "rejected",
    "backend_errors",
    "decode_errors",
    "computations",
)


class Batch(NamedTuple):
    """One flush: the tallies, and what is in them by touched key, function name and hot key."""

    tallies: list[Tally]
    touched: dict[str, tuple[int, float]]
    functions: dict[str, dict[str, int]]
    hot: dict[str, int]


class Sending(Io):
    """One flush: takes what has gathered, sends it, and gives it back if that fails."""

    __slots__ = ("_seconds", "_tallies", "something")

    def __init__(self, tallies: Tallies, seconds: float) -> None:
        self._tallies = tallies
        self._seconds = seconds
        self.something = False

    def blocking(self) -> None:
        """Send in this thread."""
        batch = self._tallies.prepare()
        self.something = bool(batch.tallies)
        if batch.tallies:
            try:
                self._request(batch).blocking()
            except BaseException:
                self._tallies.take_back(batch)
                raise

    async def awaiting(self) -> None:
        """Send in this task."""
        batch = self._tallies.prepare()
        self.something = bool(batch.tallies)
        if batch.tallies:
            try:
                await self._request(batch).awaiting()
            except BaseException:
                self._tallies.take_back(batch)
                raise

    def _request(self, batch: Batch) -> Io:
        return self._tallies.guard.io("tally", batch.tallies, budget=Budget(self._seconds))


class Tallies:
    """What one process has counted and not yet sent."""

    def __init__(self, guard: BackendGuard, layout: Layout, tier: LocalTier, clock: Clock) -> None:
        self.guard = guard
        self._layout = layout
        self._tier = tier
        self._clock = clock
        self.hottest: SpaceSaving[str] = SpaceSaving()
        tier.on_count = self._counted
        self.near: NearTier | None = None
        self._reset()
        atexit.register(_flush_at_exit, weakref.ref(self))

    def _reset(self) -> None:
        self._touched: deque[tuple[str, float]] = deque()
        self._unsent: dict[str, tuple[int, float]] = {}
        self._hot_sent: dict[str, int] = {}
        # what was counted up to the last flush, by function name
        self._sent: dict[str, dict[str, int]] = {}
        self._flushing = threading.Lock()
        # apart from it: what wakes may hold the tier's lock, which a flush takes
        self._waking = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def touch(self, entry: str) -> None:
        """Count a hit on an entry's key: one append, which is atomic."""
        self._touched.append((entry, self._clock.time()))
        if self._thread is None:
            self.wake()

    def _counted(self) -> None:
        if self._thread is None:
            self.wake()

    def pending(self, entry: str) -> tuple[int, float | None]:
        """Hits of an entry's key that are not in the backend yet, and the time of the last of them."""
        self.gather()
        hits, last = self._unsent.get(entry, (0, None))
        return hits, last

    def gather(self) -> None:
        """Sort what was touched by key."""
        with self._flushing:
            self._gather()

    def _gather(self) -> None:
        fresh: Counter[str] = Counter()
        last: dict[str, float] = {}
        for _ in range(len(self._touched)):
            entry, at = self._touched.popleft()
            fresh[entry] += 1
            last[entry] = at
        if self.near is not None:
            ago = self._clock.time() - self._clock.monotonic()
            for entry, hits, at in self.near.report():
                fresh[entry] += hits
                last[entry] = max(ago + at, last.get(entry, 0.0))
        for entry, hits in fresh.items():
            self.hottest.add(entry, hits)
            self._unsent[entry] = (self._unsent.get(entry, (0, 0.0))[0] + hits, last[entry])

    def wake(self) -> None:
        """See that somebody flushes."""
        with self._waking:
            if self._thread is None:
                _flush_when_child_ends(self)
                self._thread = threading.Thread(target=self._work, name="memocache-tally", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # at exit, or no thread to be had
                    self._thread = None

    def _work(self) -> None:
        stop, idle = self._stop, 0.0
        while not stop.wait(FLUSH_SECONDS):
            idle = 0.0 if self.flush() else idle + FLUSH_SECONDS
            # hits on copies wake nobody; what makes a copy does
            if idle >= _IDLE_SECONDS and (self.near is None or not self.near.holds()):
                self._thread = None
                self.flush()  # what came while this thread was still believed to be there
                break

    def flush(self, seconds: float = DIRECT_SECONDS) -> bool:
        """Send what has gathered; whether there was anything. What could not be sent is kept for the next time."""
        try:
            io = self.sending(seconds)
            io.blocking()
        except BackendError:
            return True
        return io.something

    def sending(self, seconds: float = DIRECT_SECONDS) -> Sending:
        """The effect of sending what has gathered."""
        return Sending(self, seconds)

    def prepare(self) -> Batch:
        """What is to be sent now; the functions first, which are most likely to arrive if a flush is cut short."""
        with self._flushing:
            self._gather()
            functions = self._functions()
            touched = dict(islice(self._unsent.items(), _MOST_KEYS))
            for key in touched:
                del self._unsent[key]
            self._hot_sent = {key: sent for key, sent in self._hot_sent.items() if key in self.hottest.counts}
            days: dict[int, dict[str, int]] = {}
            for key, (_, last) in touched.items():
                sure, sent = self.hottest.sure(key), self._hot_sent.get(key, 0)
                # surely above what any key may have been counted too high: few keys are, however many there are
                if sure > max(self.hottest.floor, sent):
                    days.setdefault(int(last) // DAY, {})[key] = sure - sent
                    self._hot_sent[key] = sure
        tallies = [Tally(self.function_key(name), delta, {}) for name, delta in functions.items()]
        tallies += [Tally(self.hot_key(day), counts, {}, 3 * DAY * 1000) for day, counts in days.items()]
        tallies += [
            Tally(self.access_key(key), {"n": hits}, {"last": int(last * 1000)}, DAY * 1000)
            for key, (hits, last) in touched.items()
        ]
        return Batch(tallies, touched, functions, {key: n for counts in days.values() for key, n in counts.items()})

    def take_back(self, batch: Batch) -> None:
        """What was not sent after all: keep it for the next time."""
        with self._flushing:
            for key, (hits, last) in batch.touched.items():
                more, later = self._unsent.get(key, (0, last))
                self._unsent[key] = (hits + more, later)
            for key, hits in batch.hot.items():
                self._hot_sent[key] = self._hot_sent.get(key, 0) - hits
            for name, delta in batch.functions.items():
                sent = self._sent.get(name)  # None: zeroed since
                if sent is not None:
                    self._sent[name] = {key: amount - delta.get(key, 0) for key, amount in sent.items()}

    def _functions(self) -> dict[str, dict[str, int]]:
        """What was counted since the last flush, by function name."""
        counts, before = self._counts(), self._sent
        deltas = {}
        for name, now in counts.items():
            then = before.get(name, {})
            deltas[name] = {key: amount - then.get(key, 0) for key, amount in now.items() if amount != then.get(key, 0)}
        self._sent = counts
        return {name: delta for name, delta in deltas.items() if delta}

    def _counts(self) -> dict[str, dict[str, int]]:
        """What this process has counted, by function name; plain keys are "", and with them what left the process."""
        totals = {"": {"expired": self._tier.expired, "evicted": self._tier.evicted}}
        seconds: dict[str, float] = {}
        for table in self._tier.tables():
            counted = table.counters.read()
            total = totals.setdefault(table.name, {})
            for key in _KEPT:
                total[key] = total.get(key, 0) + int(counted[key])
            seconds[table.name] = seconds.get(table.name, 0.0) + counted["compute_seconds"]
            total["compute_us"] = int(seconds[table.name] * 1e6)
        return totals

    def zeroed(self, name: str) -> None:
        """The counters of a function begin again at nothing."""
        with self._flushing:
            self._sent.pop(name, None)

    # -- names in the backend

    def function_key(self, name: str) -> str:
        """Where the counters of a function name are added up."""
        rest = f"f:{escape(name)}"
        return self._layout.key("s", self._layout.bucket(rest), rest)

    def hot_key(self, day: int) -> str:
        """Where a day's hottest keys are added up."""
        rest = f"h:{day}"
        return self._layout.key("s", self._layout.bucket(rest), rest)

    def access_key(self, entry: str) -> str:
        """Where the accesses of an entry's key are counted."""
        parsed = self._layout.parse(entry)
        if parsed is None:
            raise ValueError("not an entry's key")
        kind, bucket, rest = parsed
        return self._layout.key("a", bucket, kind + rest)

    def close(self) -> None:
        """Send the rest and stop."""
        self._stop.set()
        self._stop, self._thread = threading.Event(), None
        self.flush(_LAST_SECONDS)

    def after_fork(self) -> None:
        """In a child: what the parent counted is the parent's to send."""
        self._reset()
        self.hottest = SpaceSaving()
        self._sent = self._counts()


def _flush_when_child_ends(tallies: Tallies) -> None:
    """Children of `multiprocessing` end without `atexit`, with finalizers of their own."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, _flush_at_exit, (weakref.ref(tallies),), exitpriority=0)


def _flush_at_exit(ref: Any) -> None:
    tallies = ref()
    if tallies is not None:
        try:
            tallies.flush(_LAST_SECONDS)
        except Exception:
            pass  # at exit there is nobody to tell
