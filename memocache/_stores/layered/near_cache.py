"""The near tier (`local=N`): copies, in this process, of fresh entries of a shared backend.

A copy may be served while two things are certain: that nobody changed the entry or one of its markers on the backend,
as far as the backend has told (`NearTier.changed`), and that what is untold is younger than `TRUST_SECONDS`
(`NearTier.heard`). The backend's connection says both (`memocache.backends._redis.client_tracking`). Where a backend
cannot tell, a copy is believed for `TRUST_SECONDS` after it was read. Either way a call is at most that much behind an
invalidation elsewhere, also in a process that was stopped or cut off, because the bound is a deadline and not an event.

A reader can overtake a message: it reads, the entry changes, the message arrives, and then the reader would hold what
is no longer true. So it announces itself first (`expect`), by the `Mark`s of what it will depend on; a message kills
those, and `keep` refuses (Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013, section 3.2.1, has the same race
and the same answer; Redis' documentation of client-side caching calls it the placeholder).
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from math import inf
from typing import Any, Final

from memocache._runtime.generations import Mark
from memocache._stores.entry import Entry, Place, Table, Thaw
from memocache._stores.memory.tier import LocalTier
from memocache.typing import Backend, Clock

TRUST_SECONDS: Final = 0.9
"""How far the near tier may be behind: promise 3.2 allows 1 s."""


_CORRECTION_SECONDS: Final = 3600.0
"""A wall clock that is set back by more was wrong before, and is right now."""


class KeyMark(Mark):
    """The mark of one entry's key in the backend; `told` of its hits have been reported."""

    __slots__ = ("at", "key", "told")

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key
        self.at: tuple[Table, Hashable] | None = None
        self.told = 0


class NearTier(LocalTier):
    """Copies of up to `maxsize` entries; a `Watcher` of the backend's keys that begin with one of `starts`."""

    at_once = sys.maxsize  # `Copies` hold the dicts

    def __init__(self, maxsize: int, clock: Clock, starts: Sequence[str]) -> None:
        super().__init__(maxsize, clock)
        self.until = -inf
        """Until when (on the clock's monotonic time) copies may be believed."""
        self._starts = tuple(starts)
        self._stop: Callable[[], None] | None = None
        self._watching = False
        self._lease = False
        self._hits: deque[tuple[str, int, float]] = deque()
        self._ahead = -inf
        """By how much the wall clock was ahead of the monotonic one when it was so most."""

    # -- what the backend tells

    def watch(self, backend: Backend) -> None:
        """Begin to be told, if not begun; returns at once."""
        if self._watching:
            return
        with self.lock:
            if self._watching:
                return
            self._watching = True
            try:
                self._stop = backend.watch(self._starts, self)
            except Exception:  # one without the method, or whatever another's raises: nobody will tell
                self._stop = None
            if self._stop is None:
                self.refused()

    def changed(self, keys: Iterable[str] | None) -> None:
        """These keys were changed or removed by somebody; None: any may have been."""
        if keys is None:
            self.clear()
            return
        for key in keys:
            with self.lock:
                mark = self.all_marks.find(key)
                if mark is None:
                    continue
                if not isinstance(mark, KeyMark):
                    self.invalidate_tag(key)
                    continue
                self.all_marks.kill_alone(key)
                if mark.at is not None:
                    self.discard(*mark.at)

    def heard(self, since: float) -> None:
        """Every change acknowledged before `since` has been told; minus infinity: nothing is known."""
        if not self._lease:
            # in this order: a thread (or process) held up between the two believes for less time, not for more
            now = self.clock.monotonic()
            self.until = now + TRUST_SECONDS - (time.monotonic() - since)

    def refused(self) -> None:
        """Nobody will tell: believe each copy for `TRUST_SECONDS` after its reading."""
        self.clear()
        self._lease = True
        self.until = inf

    # -- copies

    def trusted(self) -> bool:
        """Whether copies may be served now."""
        return self.until > self.clock.monotonic()

    def expect(self, name: str, markers: Sequence[str], key: str) -> tuple[tuple[Mark, ...], float] | None:
        """Announce a reading of the entry `key` and its markers: what `keep` takes; None: keep nothing."""
        now = self.clock.monotonic()
        if self.until <= now:
            return None
        with self.lock:
            place = self.all_marks.find(key)
            if place is None:
                place = KeyMark(key)
                self.all_marks.add(key, place)
            return (*self.marks(name, tuple(markers)), place), now

    def keep(
        self,
        expected: tuple[tuple[Mark, ...], float],
        table: Table,
        key: Hashable,
        value: Any,
        thaw: Thaw | None,
        *,
        ttl: float,
        compute: float,
    ) -> None:
        """Hold what was read, fresh for `ttl` seconds after `expect`, unless something it depends on changed since."""
        marks, begun = expected
        ttl -= self._set_back()
        until = begun + (min(ttl, TRUST_SECONDS) if self._lease else ttl)
        place = marks[-1]
        assert isinstance(place, KeyMark)
        with self.lock:
            if place.at is not None:
                self.discard(*place.at)
            place.told = 0
            ttl = until - self.clock.monotonic()
            if ttl > 0 and self.put(table, key, value, thaw, ttl=ttl, compute=compute, marks=marks):
                place.at = table, key
                # however long it took to come here
                table.entries[key].fresh_until = until

    def _set_back(self) -> float:
        """Seconds by which the wall clock has been set back: by so much too late an entry expires by it."""
        ahead = self.clock.time() - self.clock.monotonic()
        if not 0.0 < self._ahead - ahead < _CORRECTION_SECONDS:
            self._ahead = ahead
        return self._ahead - ahead

    def holds(self) -> bool:
        """Whether there are copies that are fresh."""
        now = self.clock.monotonic()
        with self.lock:
            return any(entry.fresh_until > now for table in self._tables.held() for entry in table.entries.values())

    # -- hits

    def report(self) -> list[tuple[str, int, float]]:
        """The hits since the last report: (the entry's key, how many, monotonic time of the last)."""
        with self.lock:
            for table in self._tables.held():
                for entry in table.entries.values():
                    self._tell(entry)
        return [self._hits.popleft() for _ in range(len(self._hits))]

    def _tell(self, entry: Entry) -> None:
        place = entry.marks[-1] if entry.marks else None
        if isinstance(place, KeyMark) and entry.hits > place.told:
            self._hits.append((place.key, entry.hits - place.told, entry.last or 0.0))
            place.told = entry.hits

    def _gone(self, entry: Entry, cause: str) -> None:
        """A copy that is gone makes no miss: the backend is asked."""

    def _bury(self, entry: Entry) -> None:
        super()._bury(entry)
        self._tell(entry)

    def _inherit(self, place: Place) -> None:
        """What a table of copies counted is its front table's."""

    # -- life

    def close(self) -> None:
        """Forget everything and stop listening; the next look begins anew."""
        with self.lock:
            stop, self._stop = self._stop, None
            if stop is not None:
                stop()
            self._forget()

    def after_fork(self) -> None:
        """In a child: the parent's connection tells the parent."""
        super().after_fork()
        self._stop = None
        self._forget()
        self._hits.clear()  # those are the parent's to report

    def _forget(self) -> None:
        self._watching = self._lease = False
        self.until = -inf
        self.clear()


class Copies:
    """The copies of one table as the compiled look-up reads them: only those that may be served are there."""

    __slots__ = ("_entries", "_marks", "_monotonic", "_near", "_table")

    def __init__(self, near: NearTier, table: Table) -> None:
        self._near = near
        self._table = table
        self._entries = table.entries
        self._monotonic = near.clock.monotonic
        self._marks = near.all_marks

    def __getitem__(self, key: Hashable) -> Entry:
        """The copy under a key; raises KeyError."""
        entry = self._entries[key]
        if self._near.until <= self._monotonic():
            raise KeyError
        if entry.epoch != self._marks.epoch and self._near.find(self._table, key) is not entry:
            raise KeyError
        return entry
