"""How entries leave a process tier: one by one, or all of a table at once.

Who takes an entry out buries it: it is dead to whoever still holds it, its hits are counted on its table, its arguments
are let go of. When a table is emptied, a few entries are buried at once. More are set aside: the table begins with a
new dict, and its look-ups are told to read that, so it takes as long for a million entries as for a thousand. What is
set aside keeps its space until it is buried. Who stores something buries more in the same space than it takes up, so
nothing has to go for what is dead. A sweep buries the rest, and so does `cache_clear`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from math import inf

from memocache._stores.entry import Entry, Place, Table
from memocache._stores.memory.miss_reasons import REMEMBERED
from memocache._stores.memory.space_saving import SpaceSaving
from memocache._stores.memory.tables_by_name import TableIndex
from memocache._stores.memory.tier_counts import PART, TierCounts
from memocache._stores.memory.weak_keys import Lifetimes
from memocache._stores.s3fifo import S3Fifo
from memocache.stats import INVALIDATED

_FEW = 2  # more than one: whoever stores something needs the space of one


class Burial(TierCounts):
    """What a tier does with entries that leave. Every method with an underscore runs under the tier's lock."""

    lifetimes: Lifetimes
    departed: SpaceSaving[tuple[Place, Hashable]]
    _tables: TableIndex
    at_once = PART
    """How many entries a table may have for all of them to be buried when it is emptied."""

    def __init__(self) -> None:
        # a table once for each dict of its that was set aside, the newest last
        self._unburied: dict[S3Fifo[Entry], list[Table]] = {}

    # -- one entry

    def _drop(self, entry: Entry) -> None:
        entry.table.pool.remove(entry)
        self._unlink(entry)

    def _unlink(self, entry: Entry) -> None:
        table = entry.table
        table.entries.pop(entry.key, None)
        self._bury(entry)
        if not table.entries:
            self._emptied(table)
        if entry.hits:
            self.departed.add((table.place, entry.key), entry.hits)

    def _emptied(self, table: Table) -> None:
        """The index keeps it no longer, and neither do entries that left, in the queues, if they are a good part."""
        if table.place.identity is not None:
            self._tables.free(table)
        table.pool.removed_many()

    def _bury(self, entry: Entry) -> None:
        # in this order: see rule 2 of `memocache._stores.memory.tier`
        entry.fresh_until = -inf
        entry.table.counters.hits += entry.hits
        if entry.arguments:
            self.lifetimes.part(entry)

    def release(self) -> None:
        """Let go of the arguments of entries that left; who changes something under the lock calls it after that."""
        if self.lifetimes.parted and not self.lock._is_owned():  # type: ignore[attr-defined]  # as Condition asks
            self.lifetimes.release()

    # -- all of a table

    def empty(self, *tables: Table) -> None:
        """Remove every entry of some tables."""
        with self.lock:
            dead = [entry for table in tables for entry in self._take_all(table)]
            for table in tables:
                self._emptied(table)
        del dead  # destructors of values run outside the lock
        self.release()

    def _take_all(self, table: Table) -> list[Entry]:
        if len(table.entries) > self.at_once:
            self._set_aside(table)
            return []
        dead = list(table.entries.values())
        table.entries.clear()
        for entry in dead:
            table.pool.remove(entry)
            self._bury(entry)
        for entry in dead[-REMEMBERED:]:
            self._gone(entry, INVALIDATED)
        return dead

    def _set_aside(self, table: Table) -> None:
        table.unburied.append(table.entries)
        self._unburied.setdefault(table.pool, []).append(table)
        table.entries = {}
        for user in list(table.users):
            user.entries_moved()

    def unearth(self, table: Table, key: Hashable) -> None:
        """Bury what was set aside under a key, before anything else happens to that key."""
        with self.lock:
            dead = self._unearth(table, key)
        del dead  # as in `empty`
        self.release()

    def _unearth(self, table: Table, key: Hashable) -> list[Entry]:
        dead = [entry for entries in table.unburied if (entry := entries.pop(key, None)) is not None]
        for entry in dead:
            self._bury_invalidated(entry)
        return dead

    def bury_in_parts(self, table: Table) -> Iterator[None]:
        """Bury what was set aside of a table, a few hundred entries at a time."""
        while table.unburied:
            with self.lock:
                dead = self._bury_some(table.pool, PART)
            del dead  # as in `empty`
            self.release()
            yield
        with self.lock:
            table.pool.removed_many()

    def _bury_all(self) -> list[Entry]:
        """Bury all that was set aside: what is dead now."""
        dead = []
        for pool in list(self._unburied):
            while pool in self._unburied:
                dead += self._bury_some(pool, PART)
            pool.removed_many()
        return dead

    def _bury_some(self, pool: S3Fifo[Entry], most: int = _FEW) -> list[Entry]:
        """Bury some of what was set aside in a space, at least one if there is any: what is dead now."""
        dead: list[Entry] = []
        tables = self._unburied.get(pool, [])
        while tables and len(dead) < most:
            if entries := tables[-1].unburied[-1]:
                dead.append(entries.popitem()[1])
            else:
                tables.pop().unburied.pop()
                pool.removed_many()  # what was buried before
        if not tables:
            self._unburied.pop(pool, None)
        for entry in dead:
            self._bury_invalidated(entry)
        return dead

    def _bury_invalidated(self, entry: Entry) -> None:
        entry.table.pool.remove(entry)
        self._bury(entry)
        self._gone(entry, INVALIDATED)
