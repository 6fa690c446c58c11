"""Figures of the fleet: what this process counted, added up in the backend in batches.

A read is never a write: hits are counted here, in a dict, and a daemon thread sends what has gathered once a second,
in one round trip: the deltas of every function's counters, and access count and last access of each entry that was
hit. A process that is killed loses at most what one interval gathered; one that exits sends the rest, for at most 0.3
s.

Each flush is numbered, and the backend remembers the last number beside the counters: a flush whose answer was lost is
sent again as it was, and counts once. (Twice at most where the server evicted the number, or the backend is one that
does not remember it.)

The hottest keys go through Space-Saving with 4,096 counters (see `memocache._stores.memory.space_saving`). Those of
the fleet are added up a
day in a hash of the backend: each process sends what is certain of the keys that surely had more hits than any key may
have been counted too high. So a count there is never too high, and too low by at most 2/4,096 of the hits of each
process, and the hash stays small however many keys there are.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from memocache._runtime.budget import DIRECT_SECONDS, Budget
from memocache._runtime.effects import Io
from memocache._stores.memory.space_saving import SpaceSaving
from memocache._stores.memory.tier import LocalTier
from memocache._stores.remote.guard import Guard as BackendGuard
from memocache._stores.remote.keyspace import Layout, escape
from memocache.exceptions import BackendError
from memocache.stats import added
from memocache.typing import Clock, Once, Put, Tally

if TYPE_CHECKING:
    from memocache._stores.layered.near_cache import NearTier

FLUSH_SECONDS = 1.0
DAY = 86_400
_IDLE_SECONDS = 30.0
_LAST_SECONDS = 0.3
_MOST_KEYS = 20_000
"""Entries whose accesses one flush carries; the others' wait for the next."""
_STEP = 100
"""Tallies that the backend carries out in one step, during which it does nothing else."""
_REMEMBERED = 2 * DAY
"""Seconds for which the backend remembers a number; a flush that could not be sent for half of that is given up."""
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


class Sender:
    """A name under which flushes are numbered; one flush at a time, so that the numbers arrive in order."""

    __slots__ = ("keys", "name", "number")

    def __init__(self) -> None:
        self.name = os.urandom(8).hex()
        self.number = 0
        self.keys: set[str] = set()
        """Where the backend keeps its numbers."""


class Batch(NamedTuple):
    """One flush: the tallies, what is in them by touched key, who numbered them, and when (monotonic seconds)."""

    tallies: list[Tally]
    touched: dict[str, tuple[int, float]]
    sender: Sender
    made: float


class Sending(Io):
    """One flush: what could not be confirmed before is sent again, then what has gathered; what fails is kept."""

    __slots__ = ("_seconds", "_tallies", "something")

    def __init__(self, tallies: Tallies, seconds: float) -> None:
        self._tallies = tallies
        self._seconds = seconds
        self.something = False

    def blocking(self) -> None:
        """Send in this thread."""
        for batch in self._tallies.batches():
            self.something = True
            try:
                self._request(batch).blocking()
            except BaseException:
                self._tallies.keep(batch)
                raise
            self._tallies.confirm(batch)
        for announcement in self._tallies.announcements():
            announcement.blocking()

    async def awaiting(self) -> None:
        """Send in this task."""
        for batch in self._tallies.batches():
            self.something = True
            try:
                await self._request(batch).awaiting()
            except BaseException:
                self._tallies.keep(batch)
                raise
            self._tallies.confirm(batch)
        for announcement in self._tallies.announcements():
            await announcement.awaiting()

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
        self._settings: dict[str, bytes] = {}
        # times, and after each the entries that were hit then: a pair each would be one more thing for the garbage
        # collector to follow, a hundred thousand times a second
        self._touched: deque[str | float] = deque()
        self._touched_at = 0.0
        self._gathered_at = 0.0
        self._unsent: dict[str, tuple[int, float]] = {}
        self._hot_sent: dict[str, int] = {}
        self._senders: list[Sender] = []
        self._unconfirmed: list[Batch] = []
        # what was counted up to the last flush, by function name: counters, and what they are made of
        self._sent: dict[str, dict[str, int]] = {}
        self._sent_details: dict[str, dict[str, int]] = {}
        self._flushing = threading.Lock()
        # apart from it: what wakes may hold the tier's lock, which a flush takes
        self._waking = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def touch(self, entries: Sequence[str]) -> None:
        """Count a hit on each of some entries' keys, in steps of C code that are atomic each: none is lost, and what
        another thread puts between them moves a time by a moment.
        """
        self._touched.append(self._clock.time())
        self._touched.extend(entries)
        if self._thread is None:
            self.wake()

    def touch_one(self, entry: str, now: float) -> None:
        """Count a hit on an entry's key at `now` (epoch seconds)."""
        if now != self._touched_at:
            self._touched_at = now
            self._touched.append(now)
        self._touched.append(entry)
        if self._thread is None:
            self.wake()

    def _counted(self) -> None:
        if self._thread is None:
            self.wake()

    def pending(self, entry: str) -> tuple[int, float | None]:
        """Hits of an entry's key that are not in the backend yet, and the time of the last of them."""
        self.gather()
        with self._flushing:
            waiting = [self._unsent, *(batch.touched for batch in self._unconfirmed)]
            found = [touched[entry] for touched in waiting if entry in touched]
        return sum(hits for hits, _ in found), max((last for _, last in found), default=None)

    def gather(self) -> None:
        """Sort what was touched by key."""
        with self._flushing:
            self._gather()

    def _gather(self) -> None:
        fresh: Counter[str] = Counter()
        last: dict[str, float] = {}
        for _ in range(len(self._touched)):
            one = self._touched.popleft()
            if isinstance(one, str):
                fresh[one] += 1
                last[one] = self._gathered_at
            else:
                self._gathered_at = one
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
        """Send what has gathered; whether there was anything. What was not confirmed is kept for the next time."""
        try:
            io = self.sending(seconds)
            io.blocking()
        except BackendError:
            return True
        return io.something

    def sending(self, seconds: float = DIRECT_SECONDS) -> Sending:
        """The effect of sending what has gathered."""
        return Sending(self, seconds)

    def batches(self) -> Iterator[Batch]:
        """What is to be sent now: what was sent before and not confirmed, then what has gathered since."""
        for _ in range(len(self._unconfirmed)):
            with contextlib.suppress(IndexError):  # another flush has it
                batch = self._unconfirmed.pop(0)
                if time.monotonic() - batch.made < _REMEMBERED / 2:
                    yield batch
        batch = self._gathered()
        if batch.tallies:
            yield batch
        else:
            self.confirm(batch)

    def keep(self, batch: Batch) -> None:
        """What was sent may or may not have arrived: it is sent again, the same."""
        self._unconfirmed.append(batch)

    def confirm(self, batch: Batch) -> None:
        """What was sent has arrived."""
        self._senders.append(batch.sender)

    def _gathered(self) -> Batch:
        """A new batch; the functions first, which are most likely to arrive if a flush is cut short."""
        with self._flushing:
            self._gather()
            counts, details = self._counts(), self._details()
            functions, made_of = _deltas(counts, self._sent), _deltas(details, self._sent_details)
            self._sent, self._sent_details = counts, details
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
            sender = self._senders.pop() if self._senders else Sender()
        tallies = [Tally(self.function_key(name), delta, {}) for name, delta in functions.items()]
        tallies += [Tally(self.details_key(name), delta, {}) for name, delta in made_of.items()]
        tallies += [Tally(self.hot_key(day), counts, {}, 3 * DAY * 1000) for day, counts in days.items()]
        tallies += [
            Tally(self.access_key(key), {"n": hits}, {"last": int(last * 1000)}, DAY * 1000)
            for key, (hits, last) in touched.items()
        ]
        return Batch(self._numbered(tallies, sender), touched, sender, time.monotonic())

    def _numbered(self, tallies: list[Tally], sender: Sender) -> list[Tally]:
        """The tallies in steps of one bucket each, every step with a number of its own."""
        buckets: dict[str, list[Tally]] = {}
        for one in tallies:
            _, bucket, _ = self._layout.parse(one.key) or ("", "", "")
            buckets.setdefault(bucket, []).append(one)
        numbered = []
        for bucket, those in buckets.items():
            key = self._layout.key("s", bucket, f"u:{sender.name}")
            sender.keys.add(key)
            for at in range(0, len(those), _STEP):
                sender.number += 1
                once = Once(key, sender.number, _REMEMBERED * 1000)
                numbered += [one._replace(once=once) for one in those[at : at + _STEP]]
        return numbered

    def _counts(self) -> dict[str, dict[str, int]]:
        """What this process has counted, by function name; plain keys are "", and with them what left the process."""
        totals = {"": {"expired": self._tier.expired, "evicted": self._tier.evicted}}
        seconds: dict[str, float] = {}
        for table in self._tier.tables():
            counted = self._tier.counted(table)
            total = totals.setdefault(table.name, {})
            for key in _KEPT:
                total[key] = total.get(key, 0) + int(counted[key])
            seconds[table.name] = seconds.get(table.name, 0.0) + counted["compute_seconds"]
            total["compute_us"] = int(seconds[table.name] * 1e6)
        return totals

    def _details(self) -> dict[str, dict[str, int]]:
        """Times and causes that this process has counted, by function name."""
        totals: dict[str, dict[str, int]] = {}
        for table in self._tier.tables():
            if table.name:
                more, total = table.counters.read_details(), totals.get(table.name)
                totals[table.name] = more if total is None else added(total, more)
        return totals

    def zeroed(self, name: str) -> None:
        """The counters of a function begin again at nothing."""
        with self._flushing:
            self._sent.pop(name, None)
            self._sent_details.pop(name, None)
            keys = self.function_key(name), self.details_key(name)
            for batch in self._unconfirmed:
                batch.tallies[:] = [one for one in batch.tallies if one.key not in keys]

    # -- settings

    def announce(self, name: str, settings: bytes) -> None:
        """Have the settings of a function stored with the next flush."""
        self._settings[name] = settings

    def announcements(self) -> Iterator[Io]:
        """The requests that store the settings announced, each in one bucket; one that fails comes again next time."""
        buckets: dict[str, dict[str, Put]] = {}
        for name, settings in list(self._settings.items()):
            key = self.settings_key(name)
            _, bucket, _ = self._layout.parse(key) or ("", "", "")
            buckets.setdefault(bucket, {})[name] = Put(key, settings)
        for puts in buckets.values():
            yield self.guard.io("transact", (), list(puts.values()), budget=Budget(DIRECT_SECONDS))
            for name, put in puts.items():
                if self._settings.get(name) == put.value:
                    del self._settings[name]

    # -- names in the backend

    def function_key(self, name: str) -> str:
        """Where the counters of a function name are added up."""
        return self._key_of(name, "f")

    def details_key(self, name: str) -> str:
        """Where times and causes of a function name are added up, beside its counters."""
        return self._key_of(name, "d")

    def settings_key(self, name: str) -> str:
        """Where the settings of a function are, as some process last told them."""
        return self._key_of(name, "p")

    def _key_of(self, name: str, letter: str) -> str:
        """A key in the bucket of the function's counters."""
        escaped = escape(name)
        return self._layout.key("s", self._layout.bucket(f"f:{escaped}"), f"{letter}:{escaped}")

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
        self._forget_senders()

    def _forget_senders(self) -> None:
        """What was numbered has arrived, so nobody needs the numbers any more; they expire by themselves too."""
        done, self._senders = self._senders, []
        keys = [key for sender in done for key in sender.keys]
        if keys:
            with contextlib.suppress(BackendError):
                self.guard.io("delete", keys, budget=Budget(_LAST_SECONDS)).blocking()

    def after_fork(self) -> None:
        """In a child: what the parent counted is the parent's to send."""
        self._reset()
        self.hottest = SpaceSaving()
        self._sent, self._sent_details = self._counts(), self._details()


def _deltas(now: dict[str, dict[str, int]], before: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """What came to each function's counters since `before`; without what did not change."""
    deltas = {}
    for name, counts in now.items():
        then = before.get(name, {})
        if counts is not then and counts != then:
            delta = {key: counts.get(key, 0) - then.get(key, 0) for key in {**then, **counts}}
            deltas[name] = {key: amount for key, amount in delta.items() if amount}
    return {name: delta for name, delta in deltas.items() if delta}


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
