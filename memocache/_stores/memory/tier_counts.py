"""The counts of a process tier: how many entries a table holds, and how often they were hit.

Hits on an entry that is held are counted on the entry, so a table's hits are its counters' and those of its entries.
Long counts come in parts: an event loop gets its turn between them. What leaves the process is counted too, and it is
remembered why. Tables that are gone stay counted under their name. Nothing here changes an entry.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from memocache._stores.entry import Entry, Place, Table
from memocache._stores.memory.miss_reasons import Causes
from memocache._stores.memory.tables_by_name import TableIndex
from memocache._stores.s3fifo import S3Fifo
from memocache.stats import EVICTED, EXPIRED
from memocache.typing import Clock

PART: Final = 500
"""Entries that are looked at before an event loop gets its turn: some milliseconds of work."""


class TierCounts:
    """What a tier counts; the tier has the lock, the clock and the tier of copies."""

    clock: Clock
    lock: threading.RLock
    near: Any
    causes: Causes
    expired: int
    evicted: int
    on_evict: Callable[[str, str], None] | None
    on_count: Callable[[], None] | None
    pool: S3Fifo[Entry]
    _tables: TableIndex

    def currsize(self, table: Table) -> int:
        """How many fresh entries the table holds."""
        return sum(self.currsize_in_parts(table))

    def currsize_in_parts(self, table: Table) -> Iterator[int]:
        """How many fresh entries the table holds, a few hundred looked at each time."""
        now = self.clock.monotonic()
        with self.lock, self._beside_lock:
            entries = [e for one in (table, table.beside) if one is not None for e in one.entries.values()]
        for at in range(0, len(entries), PART):
            part = entries[at : at + PART]
            yield sum(
                (e.fresh_until > now or self._slides(e, now)) and all(mark.alive for mark in e.marks) for e in part
            )

    def _slides(self, entry: Entry, now: float) -> bool:
        """Whether an entry that was fresh until now has been given more time by its reads."""
        with self.lock:
            return not entry.past(now, entry.table.retention) and entry.fresh_until > now

    def counted(self, table: Table) -> dict[str, float]:
        """The counters of a table by name, with the hits of the entries it holds."""
        with self.lock, self._beside_lock:
            counted = table.counters.read()
            counted["hits"] += _held_hits(table)
            return counted

    def zero(self, table: Table) -> None:
        """Begin the counters of a table again at nothing."""
        with self.lock, self._beside_lock:
            table.counters.zero()
            table.counters.hits -= _held_hits(table)

    def _bury_tables(self) -> None:
        """What tables counted that are gone stays counted, under the name alone; nobody can ask for copies beside."""
        for place in self._tables.buried():
            if self.near is not None and place.beside is not None:
                self.near.empty(place.beside)
            self._inherit(place)

    def _inherit(self, place: Place) -> None:
        rest = self._tables.get(place.name, None)
        if rest is None:
            rest = Table(place.name, self.pool, self.on_count)
            self._tables.add(rest, None)
            self._tables.hold(rest)
        rest.counters.absorb(place.counters)

    @property
    def _beside_lock(self) -> AbstractContextManager[object]:
        return nullcontext() if self.near is None else self.near.lock

    def _count_gone(self, cause: str, entry: Entry) -> None:
        if cause == "expired":
            self.expired += 1
            self._gone(entry, EXPIRED)
        else:
            self.evicted += 1
            self._gone(entry, EVICTED)
        if self.on_evict is not None:
            self.on_evict(entry.table.name, cause)

    def _gone(self, entry: Entry, cause: str) -> None:
        """Have it remembered why an entry is no longer here."""
        self.causes.gone(entry.ghost(), cause)


def _held_hits(table: Table) -> int:
    """The hits that entries of a table, and copies beside it, have counted."""
    tables = [table] if table.beside is None else [table, table.beside]
    return sum(entry.hits for one in tables for held in (one.entries, *one.unburied) for entry in held.values())
