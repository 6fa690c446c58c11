"""The process tier: entries held as objects, found without a lock.

It serves ``memory://`` and, on a shared backend, the entries that no other process could name. The compiled look-up
reads the `Table` of its function directly. Everything that changes a table takes the tier's lock. Rules:

1. An entry's outcome is never updated in place; a new outcome is a new entry. Under the lock, and only while it is in
   its table, its ttl may change; its hit count and last access change without.
2. A hit needs ``fresh_until > monotonic()``; that one comparison also covers eviction and invalidation of a call. It is
   counted on the entry, with no step between comparing and counting at which Python would change threads. Who takes an
   entry out first sets `fresh_until` to minus infinity and then moves its hits to the table's counters: none is lost.
3. A computation holds the marks it read before it ran, and is void if one was killed meanwhile (marks:
   `memocache._runtime.generations`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from math import inf
from typing import Any, Final

from memocache._runtime.generations import Mark, Marks
from memocache._runtime.object_identity import Held
from memocache._runtime.singleflight import Flight
from memocache._stores.entry import NEVER, Entry, MarkedEntry, Place, SlidingEntry, Table, Thaw
from memocache._stores.memory.burial import Burial
from memocache._stores.memory.miss_reasons import Causes
from memocache._stores.memory.space_saving import SpaceSaving
from memocache._stores.memory.tables_by_name import TableIndex
from memocache._stores.memory.tier_counts import PART
from memocache._stores.memory.weak_keys import Lifetimes, is_abandoned
from memocache._stores.s3fifo import S3Fifo
from memocache.stats import INVALIDATED
from memocache.typing import MISSING, Clock, Missing


class LocalTier(Burial):
    """All tables of one cache, their shared space of `maxsize` entries, and the marks."""

    def __init__(self, maxsize: int | None, clock: Clock) -> None:
        super().__init__()
        self.maxsize: Final = maxsize
        self.clock = clock
        self.lock = threading.RLock()
        self.pool: S3Fifo[Entry] = S3Fifo(maxsize)
        self.lifetimes = Lifetimes()
        self.identities = self.lifetimes.identities
        self.all_marks = Marks()
        self.causes = Causes()
        self.expired = 0
        self.evicted = 0
        # hits of the keys that have left, so that eviction does not make a hot key look cold
        self.departed: SpaceSaving[tuple[Place, Hashable]] = SpaceSaving()
        self.near: LocalTier | None = None
        """The tier of the copies of what is in a backend, if there is one."""
        self.on_evict: Callable[[str, str], None] | None = None
        self.on_count: Callable[[], None] | None = None
        self._tables = TableIndex()
        self._since_sweep, self._sweep_at = 0, 64

    # -- tables

    def table(
        self,
        name: str,
        identity: Hashable,
        *,
        maxsize: int | Missing | None = MISSING,
        owner: Hashable = None,
        idle: float = 0.0,
        stale: float = 0.0,
        retention: float = 0.0,
    ) -> Table:
        """The table of a function identity, made where nobody refers to one; a `maxsize` (None: unbounded) gives it a
        space of its own. An `owner` has a table of its own beside those that others have of the same identity.
        """
        with self.lock:
            self._bury_tables()
            table = self._tables.get(name, identity, owner)
            if table is None:
                pool = self.pool if isinstance(maxsize, Missing) else S3Fifo[Entry](maxsize)
                table = Table(name, pool, self.on_count)
                self._tables.add(table, identity, owner)
            table.idle = max(table.idle, idle)
            table.stale = max(table.stale, stale)
            table.retention = max(table.retention, retention)
            return table

    def alike(self, table: Table) -> list[Table]:
        """The tables of the same identity: where else the entry of a call may be."""
        with self.lock:
            return self._tables.alike(table)

    def own(self, table: Table) -> list[Table]:
        """The tables of a function alone: those alike, and what the gone ones of its name have counted."""
        with self.lock:
            self._bury_tables()
            gone = self._tables.get(table.name, None)
            return [*self._tables.alike(table), *(() if gone is None else (gone,))]

    def tables(self, name: str | None = None) -> list[Table]:
        """All tables, or those of one function name."""
        with self.lock:
            self._bury_tables()
            return self._tables.all() if name is None else self._tables.named(name)

    # -- looking

    def find(self, table: Table, key: Hashable) -> Entry | None:
        """The entry under `key` if it is not past keeping and no mark of it was invalidated; fresh or stale."""
        entry = table.entries.get(key)
        if entry is None:
            return None
        if self.clock.monotonic() >= entry.fresh_until and self._past(entry):
            with self.lock:
                if table.entries.get(key) is entry:
                    self._drop(entry)
                    self._count_gone("expired", entry)
            self.release()
            return None
        if isinstance(entry, MarkedEntry) and entry.epoch != self.all_marks.epoch and not self._revalidate(entry):
            return None
        return entry

    def _revalidate(self, entry: MarkedEntry) -> bool:
        epoch = self.all_marks.epoch
        if all(mark.alive for mark in entry.marks):
            # stamped with the epoch read before the marks: an invalidation in between raises it again
            entry.epoch = epoch
            return True
        with self.lock:
            if entry.table.entries.get(entry.key) is entry:
                self._drop(entry)
                self._gone(entry, INVALIDATED)
        self.release()
        return False

    def live(self, name: str | None = None) -> Iterator[Entry]:
        """The entries that `find` would return now."""
        for table in self.tables(name):
            with self.lock:
                entries = list(table.entries.values())
            yield from (entry for entry in entries if self.find(table, entry.key) is entry)

    # -- marks

    def marks(self, function: str, tags: tuple[str, ...] = ()) -> tuple[Mark, ...]:
        """The marks of the prefix, the function and the tags, in this order, made alive where there is none."""
        with self.lock:
            return self.all_marks.of(function, tags)

    def invalidate_tag(self, tag: str) -> None:
        """Void every entry and every computation under way that has this tag (by its hash)."""
        with self.lock:
            self.all_marks.kill_tag(tag)

    def invalidate_function(self, name: str) -> None:
        """Void every entry and every computation under way of this function name."""
        self.invalidate_tables(name, self.tables(name))

    def invalidate_tables(self, name: str, tables: list[Table]) -> None:
        """Void every entry of some tables of this function name, and every computation under way of that name."""
        with self.lock:
            self.all_marks.kill_function(name)
        self.empty(*tables)

    def clear(self) -> None:
        """Void everything."""
        with self.lock:
            self.all_marks.kill_prefix()
        self.empty(*self.tables())

    def clear_in_parts(self) -> Iterator[None]:
        """Void everything, a few hundred entries at a time: what is stored meanwhile may stay, for it is newer."""
        with self.lock:
            self.all_marks.kill_prefix()
            tables = self.tables()
        for table in tables:
            with self.lock:
                doomed = list(table.entries.values())
            for at in range(0, len(doomed), PART):
                with self.lock:
                    for entry in doomed[at : at + PART]:
                        if table.entries.get(entry.key) is entry:
                            del table.entries[entry.key]
                            table.pool.remove(entry)
                            self._bury(entry)
                            self._gone(entry, INVALIDATED)
                self.release()
                yield
            yield from self.bury_in_parts(table)
            with self.lock:
                if not table.entries:
                    self._emptied(table)

    # -- changing

    def put(
        self,
        table: Table,
        key: Hashable,
        value: Any,
        thaw: Thaw | None,
        *,
        ttl: float,
        compute: float = 0.0,
        marks: tuple[Mark, ...] = (),
        sealed: bytes | None = None,
        tokens: tuple[int | Held, ...] = (),
        tags: tuple[str, ...] = (),
        idle: float = 0.0,
        unless: Callable[[], bool] | None = None,
    ) -> bool:
        """Hold an outcome for `ttl` seconds; False, and nothing changed, if a mark was invalidated or `unless` says so.

        `marks` are those read before the outcome was computed; the entry keeps the tags' (a function's entries are
        removed when it is invalidated, a tag's are found out).
        `tags` are the declared ones, `tokens` are the identity tokens the key is made of: the entry goes when one of
        their objects dies, and holds those that it must. Unread for `idle` seconds (0: that is no matter) it is gone.
        """
        arguments = tuple([token for token in tokens if type(token) is Held])
        with self.lock:
            if not all(mark.alive for mark in marks) or (unless is not None and unless()):
                return False
            now = self.clock.monotonic()
            if idle:
                entry: Entry = SlidingEntry(
                    table, key, value, thaw, now=now, ttl=ttl, idle=idle, compute=compute, marks=marks[2:],
                    epoch=self.all_marks.epoch, sealed=sealed, tags=tags, arguments=arguments,
                )  # fmt: skip
            elif len(marks) > 2 or tags or sealed is not None or arguments:
                entry = MarkedEntry(
                    table, key, value, thaw, now=now, ttl=ttl, compute=compute,
                    marks=marks[2:], epoch=self.all_marks.epoch, sealed=sealed, tags=tags, arguments=arguments,
                )  # fmt: skip
            else:
                entry = Entry(table, key, value, thaw, now=now, ttl=ttl, compute=compute)
            dead = self._place(entry)
            self.lifetimes.name(entry, tokens)
        del dead  # destructors of values run outside the lock
        self.release()
        return True

    def hold(self, entry: Entry, flight: Flight, ghost: int) -> bool:
        """As `put`, for an entry without marks and tokens of its own: False if its flight or a mark of it is void."""
        with self.lock:
            prefix, function = flight.marks
            if flight.void or not (prefix.alive and function.alive):
                return False
            dead = self._place(entry, ghost)
        del dead  # as in `put`
        if self.lifetimes.parted:
            self.release()
        return True

    def _place(self, entry: Entry, ghost: int | None = None) -> list[Entry]:
        """Let an entry be the one under its key; those that had to go for it, of which others know nothing more."""
        self._sweep()
        table, key = entry.table, entry.key
        dead = self._bury_some(table.pool) if self._unburied else None
        if table.unburied:
            dead = [*(dead or ()), *self._unearth(table, key)]
        old = table.entries.get(key)
        if old is not None:
            table.pool.remove(old)
        gone = table.pool.add(entry, 0 if old is None else old.hits, ghost)
        for evicted in gone:
            past = evicted.past(self.clock.monotonic(), evicted.table.retention)
            self._count_gone("expired" if past else "size", evicted)
            self._unlink(evicted)
        if not table.entries:
            self._tables.hold(table)
        table.entries[key] = entry
        if old is not None:
            # dead before its hits are read: whoever still holds it looks again
            old.fresh_until = -inf
            entry.hits += old.hits
            entry.last = entry.last or old.last
            self.lifetimes.part(old)
            gone.append(old)
        return gone + dead if dead else gone

    def expire(self, table: Table, key: Hashable, ttl: float) -> bool:
        """Give an entry another ttl from now; whether it was there."""
        with self.lock:
            entry = self.find(table, key)
            if entry is None:
                return False
            now, born = self.clock.monotonic(), entry.born
            until = now + min(ttl, NEVER)
            entry.ttl, entry.fresh_until = until - born, until
            if isinstance(entry, SlidingEntry):
                entry.end, entry.fresh_until = until, min(until, now + entry.idle)
            return True

    def discard(self, table: Table, key: Hashable) -> bool:
        """Remove one entry; whether it was there."""
        with self.lock:
            entry = table.entries.get(key)
            if entry is None:
                return False
            self._drop(entry)
            self._gone(entry, INVALIDATED)
        self.release()
        return True

    def let_go(self) -> None:
        """Remove the entries that hold arguments of their calls."""
        with self.lock:
            dead = self._bury_all()
            for table in self._tables.held():
                for entry in [entry for entry in table.entries.values() if entry.arguments]:
                    self._drop(entry)
                table.pool.removed_many()
        del dead
        self.release()

    def _past(self, entry: Entry) -> bool:
        with self.lock:  # an entry that slides may be given more time
            return entry.past(self.clock.monotonic(), entry.table.retention)

    def _sweep(self) -> None:
        """Remove what expired, what belonged to dead objects, and unused tables; amortised constant time a put."""
        if self.lifetimes.left or self.identities.dead or self.identities.emptied:
            self._sweep_dead()
        self._since_sweep += 1
        if self._since_sweep >= self._sweep_at:
            self.sweep()

    def _sweep_dead(self) -> None:
        for entry in self.lifetimes.orphans():
            if entry.table.entries.get(entry.key) is entry:
                self._drop(entry)
        for table in self.lifetimes.abandoned():
            self._desert(table)

    def _desert(self, table: Table) -> None:
        for entry in list(table.entries.values()):
            self._drop(entry)
        while table.unburied:
            self._bury_some(table.pool, PART)
        table.pool.removed_many()

    def sweep(self) -> int:
        """Remove everything that is past keeping; how many entries."""
        with self.lock:
            before, self._since_sweep = self.expired, 0
            dead, now = self._bury_all(), self.clock.monotonic()
            tables = self._tables.held()
            for table in tables:
                retention = table.retention
                for entry in [e for e in table.entries.values() if now >= e.fresh_until and e.past(now, retention)]:
                    self._drop(entry)
                    self._count_gone("expired", entry)
                if is_abandoned(table):  # what was stored by a call that outlived its function
                    self._desert(table)
            self._sweep_at = 64 + sum(len(table.entries) for table in tables)
            self._bury_tables()
            self.lifetimes.prune()
            swept = self.expired - before
        del dead
        self.release()
        return swept

    def after_fork(self) -> None:
        """In a child: if a thread that is not here holds the lock, what it was changing cannot be trusted."""
        self.lifetimes.after_fork()
        if self.lock.acquire(blocking=False):
            self.lock.release()
            return
        self.lock = threading.RLock()
        waiting = [table for tables in self._unburied.values() for table in tables]
        self._unburied = {}
        for table in {*self._tables.held(), *waiting}:
            doomed = [entry for entries in (table.entries, *table.unburied) for entry in entries.values()]
            table.entries.clear()
            table.unburied.clear()
            table.pool.clear()
            for entry in doomed:
                self._bury(entry)
            self._emptied(table)
