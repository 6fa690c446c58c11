"""The stats reporter: sends to the backend what this process counted, where the fleet's figures are added up.

A read is never a write. Hits are noted here, and a daemon thread sends what has gathered once a second, in one round
trip: what came to every function's counters, and access count and last access of each entry that was hit. A process
that is killed loses at most what one interval gathered; one that exits sends the rest, for at most 0.3 s.

Each flush is numbered, and the backend remembers the last number beside the counters: a flush whose answer was lost is
sent again as it was, and counts once. (Twice at most where the server evicted the number, or the backend is one that
does not remember it.)

The hottest keys go through Space-Saving with 4,096 counters (see `memocache._stores.memory.space_saving`). Those of
the fleet are added up for each day in a hash of the backend: each process sends the certain part of the hits of keys
that surely had more hits than any key may have been counted too high. So a count there is never too high, and too low
by at most 2/4,096 of the hits of each process, and the hash stays small however many keys there are.
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

from memocache._cache.counter_snapshots import counts_of, deltas_of, details_of
from memocache._cache.process_rows import HOUR, row_tally
from memocache._cache.stats_keys import DAY, LAST_CALL, StatsKeys
from memocache._runtime.budget import DIRECT_SECONDS, Budget
from memocache._runtime.drivers import arun, run
from memocache._runtime.effects import Steps
from memocache._stores.memory.space_saving import SpaceSaving
from memocache._stores.memory.tier import LocalTier
from memocache._stores.remote.guard import BackendGuard
from memocache._stores.remote.keyspace import Layout
from memocache.exceptions import BackendError
from memocache.typing import Clock, Once, Put, Tally

if TYPE_CHECKING:
    from memocache._stores.layered.near_cache import NearTier

FLUSH_SECONDS = 1.0
_IDLE_SECONDS = 30.0
_LAST_SECONDS = 0.3
_MOST_KEYS = 20_000
"""Entries whose accesses one flush carries; the others' wait for the next."""
_STEP = 100
"""Tallies that the backend carries out in one step, during which it does nothing else."""
_REMEMBERED = 2 * DAY
"""Seconds for which the backend remembers a number; a flush that could not be sent for half of that is given up."""


class Sender:
    """A name under which flushes are numbered; one flush at a time, so that the numbers arrive in order."""

    __slots__ = ("keys", "name", "number")

    def __init__(self) -> None:
        self.name = os.urandom(8).hex()
        self.number = 0
        self.keys: set[str] = set()
        """Where the backend keeps its numbers."""


class Flush(NamedTuple):
    """One flush: the tallies, what is in them by touched key, who numbered them, and when (monotonic seconds)."""

    tallies: list[Tally]
    touched: dict[str, tuple[int, float]]
    sender: Sender
    made: float


class StatsReporter:
    """What one process has counted and not yet sent."""

    def __init__(self, guard: BackendGuard, layout: Layout, tier: LocalTier, clock: Clock) -> None:
        self.guard = guard
        self.keys = StatsKeys(layout)
        self._tier = tier
        self._clock = clock
        self.hottest: SpaceSaving[str] = SpaceSaving()
        tier.on_count = self._counted
        self.near: NearTier | None = None
        self._reset()
        _reporters.add(self)

    def _reset(self) -> None:
        self._settings: dict[str, bytes] = {}
        # times, and after each the entries that were hit then: a pair each would be one more thing for the garbage
        # collector to follow, a hundred thousand times a second
        self.touched: deque[str | float] = deque()
        self._gathered_at = 0.0
        self._unsent: dict[str, tuple[int, float]] = {}
        self._hot_sent: dict[str, int] = {}
        self._senders: list[Sender] = []
        self._unconfirmed: list[Flush] = []
        # what was counted up to the last flush, by function name: counters, and what they are made of
        self._sent: dict[str, dict[str, int]] = {}
        self._sent_details: dict[str, dict[str, int]] = {}
        self._sent_operations = self.guard.operations.read()
        self._token = ""
        """What tells this cache from others of its process; nothing before its first flush."""
        self._closed = False
        self._flushing = threading.Lock()
        # held by the thread while it sends: who ends the process waits for that, for it would be cut off half way
        self._under_way = threading.Lock()
        # apart from it: what wakes may hold the tier's lock, which a flush takes
        self._waking = threading.Lock()
        self.thread: threading.Thread | None = None
        self._stop = threading.Event()

    def touch(self, entries: Sequence[str]) -> None:
        """Count a hit on each of some entries' keys, in steps of C code that are atomic each: none is lost, and what
        another thread puts between them moves a time by a moment.
        """
        self.touched.append(self._clock.time())
        self.touched.extend(entries)
        if self.thread is None:
            self.wake()

    def _counted(self) -> None:
        if self.thread is None:
            self.wake()

    def pending(self, entry: str) -> tuple[int, float | None]:
        """Hits of an entry's key that are not in the backend yet, and the time of the last of them."""
        self.gather()
        with self._flushing:
            waiting = [self._unsent, *(flush.touched for flush in self._unconfirmed)]
            found = [touched[entry] for touched in waiting if entry in touched]
        return sum(hits for hits, _ in found), max((last for _, last in found), default=None)

    def gather(self) -> None:
        """Sort what was touched by key."""
        with self._flushing:
            self._gather()

    def _gather(self) -> None:
        fresh: Counter[str] = Counter()
        last: dict[str, float] = {}
        for _ in range(len(self.touched)):
            one = self.touched.popleft()
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
            self._closed = False
            if self.thread is None:
                _flush_when_child_ends(self)
                self.thread = threading.Thread(target=self._work, name="memocache-tally", daemon=True)
                try:
                    self.thread.start()
                except RuntimeError:  # at exit, or no thread to be had
                    self.thread = None

    def _work(self) -> None:
        stop, idle = self._stop, 0.0
        while not stop.wait(FLUSH_SECONDS):
            with self._under_way:
                sent = self.flush()
            idle = 0.0 if sent else idle + FLUSH_SECONDS
            # hits on copies wake nobody; what makes a copy does
            if idle >= _IDLE_SECONDS and (self.near is None or not self.near.holds()):
                self.thread = None
                self.flush()  # what came while this thread was still believed to be there
                break

    def flush(self, seconds: float = DIRECT_SECONDS) -> bool:
        """Send what has gathered; whether there was anything. What was not confirmed is kept for the next time."""
        try:
            return run(self.sending(seconds))
        except BackendError:
            return True

    def sending(self, seconds: float = DIRECT_SECONDS) -> Steps[bool]:
        """Send what could not be confirmed before, and then what has gathered; whether there was anything. What fails
        is kept.
        """
        something = False
        for flush in self.flushes():
            something = True
            try:
                yield self.guard.io("tally", flush.tallies, budget=Budget(seconds))
            except BaseException:
                self.keep(flush)
                raise
            self.confirm(flush)
        yield from self.announcements()
        return something

    def flushes(self) -> Iterator[Flush]:
        """What is to be sent now: what was sent before and not confirmed, then what has gathered since."""
        for _ in range(len(self._unconfirmed)):
            with contextlib.suppress(IndexError):  # another flush has it
                flush = self._unconfirmed.pop(0)
                if time.monotonic() - flush.made < _REMEMBERED / 2:
                    yield flush
        flush = self._gathered()
        if flush.tallies:
            yield flush
        else:
            self.confirm(flush)

    def keep(self, flush: Flush) -> None:
        """What was sent may or may not have arrived: it is sent again, the same."""
        self._unconfirmed.append(flush)

    def confirm(self, flush: Flush) -> None:
        """What was sent has arrived."""
        self._senders.append(flush.sender)

    def _gathered(self) -> Flush:
        """A new flush; the functions first, which are most likely to arrive if a flush is cut short."""
        with self._flushing:
            self._gather()
            counts, details = counts_of(self._tier), details_of(self._tier)
            functions, made_of = deltas_of(counts, self._sent), deltas_of(details, self._sent_details)
            asked, operations = {"": self.guard.operations.read()}, {}
            # to close asks for a few things too: they are no reason to open the backend again
            if functions or self._unsent or not self._closed:
                operations = deltas_of(asked, {"": self._sent_operations})
                self._sent_operations = asked[""]
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
        called = {LAST_CALL: int(self._tier.clock.time() * 1000)}
        tallies = [Tally(self.keys.function(name), delta, called) for name, delta in functions.items()]
        tallies += [Tally(self.keys.details(name), delta, {}) for name, delta in made_of.items()]
        tallies += [Tally(self.keys.operations(), delta, {}) for delta in operations.values()]
        tallies += [Tally(self.keys.hot(day), counts, {}, 3 * DAY * 1000) for day, counts in days.items()]
        tallies += [
            Tally(self.keys.access(key), {"n": hits}, {"last": int(last * 1000)}, DAY * 1000)
            for key, (hits, last) in touched.items()
        ]
        if tallies and self._token:
            now = self._clock.time()
            tallies.append(row_tally(self.keys.processes(int(now) // HOUR), self._token, counts, now))
        elif tallies:
            self._token = os.urandom(4).hex()
        return Flush(self._numbered(tallies, sender), touched, sender, time.monotonic())

    def _numbered(self, tallies: list[Tally], sender: Sender) -> list[Tally]:
        """The tallies in steps of one bucket each, every step with a number of its own."""
        buckets: dict[str, list[Tally]] = {}
        for one in tallies:
            buckets.setdefault(self.keys.bucket_of(one.key), []).append(one)
        numbered = []
        for bucket, those in buckets.items():
            key = self.keys.sender(bucket, sender.name)
            sender.keys.add(key)
            for at in range(0, len(those), _STEP):
                sender.number += 1
                once = Once(key, sender.number, _REMEMBERED * 1000)
                numbered += [one._replace(once=once) for one in those[at : at + _STEP]]
        return numbered

    def zeroed(self, name: str) -> None:
        """The counters of a function begin again at nothing."""
        with self._flushing:
            self._sent.pop(name, None)
            self._sent_details.pop(name, None)
            keys = self.keys.function(name), self.keys.details(name)
            for flush in self._unconfirmed:
                flush.tallies[:] = [one for one in flush.tallies if one.key not in keys]

    # -- settings

    def announce(self, name: str, settings: bytes) -> None:
        """Have the settings of a function stored with the next flush."""
        self._settings[name] = settings

    def announcements(self) -> Steps[None]:
        """The requests that store the settings announced, each in one bucket; one that fails comes again next time."""
        buckets: dict[str, dict[str, Put]] = {}
        for name, settings in list(self._settings.items()):
            key = self.keys.settings(name)
            buckets.setdefault(self.keys.bucket_of(key), {})[name] = Put(key, settings)
        for puts in buckets.values():
            yield self.guard.io("transact", (), list(puts.values()), budget=Budget(DIRECT_SECONDS))
            for name, put in puts.items():
                if self._settings.get(name) == put.value:
                    del self._settings[name]

    def flush_at_exit(self) -> None:
        """Send the rest, after what the thread is sending; each may take `_LAST_SECONDS`."""
        waited = self._under_way.acquire(timeout=_LAST_SECONDS)
        try:
            self.flush(_LAST_SECONDS)
        finally:
            if waited:
                self._under_way.release()

    def close(self) -> None:
        """Send the rest and stop."""
        self._stop.set()
        self._stop, self.thread = threading.Event(), None
        self.flush(_LAST_SECONDS)
        self._closed = True
        self._forget_senders()

    async def aclose(self) -> None:
        """As `close`, without blocking the event loop."""
        self._stop.set()
        self._stop, self.thread = threading.Event(), None
        with contextlib.suppress(BackendError):  # kept, and sent at the next occasion
            await arun(self.sending(_LAST_SECONDS))
        self._closed = True
        keys = self._done_senders()
        if keys:
            with contextlib.suppress(BackendError):
                await self.guard.io("delete", keys, budget=Budget(_LAST_SECONDS)).awaiting()

    def _forget_senders(self) -> None:
        keys = self._done_senders()
        if keys:
            with contextlib.suppress(BackendError):
                self.guard.io("delete", keys, budget=Budget(_LAST_SECONDS)).blocking()

    def _done_senders(self) -> list[str]:
        """Where the numbers stand of what has arrived: nobody needs them any more. They expire by themselves too."""
        done, self._senders = self._senders, []
        return [key for sender in done for key in sender.keys]

    def after_fork(self) -> None:
        """In a child: what the parent counted is the parent's to send."""
        self._reset()
        self.hottest = SpaceSaving()
        self._sent, self._sent_details = counts_of(self._tier), details_of(self._tier)


_reporters: weakref.WeakSet[StatsReporter] = weakref.WeakSet()


def _flush_all_at_exit() -> None:
    for reporter in list(_reporters):
        _flush_at_exit(weakref.ref(reporter))


atexit.register(_flush_all_at_exit)


def _flush_when_child_ends(reporter: StatsReporter) -> None:
    """Children of `multiprocessing` end without `atexit`, with finalizers of their own."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, _flush_at_exit, (weakref.ref(reporter),), exitpriority=0)


def _flush_at_exit(ref: Any) -> None:
    reporter = ref()
    if reporter is not None:
        try:
            reporter.flush_at_exit()
        except Exception:
            pass  # at exit there is nobody to tell
