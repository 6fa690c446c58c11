"""What the process tier holds: an `Entry` is one outcome, a `Table` the entries of one function identity.

Entries are many and small, so they hold what every hit needs and little else: what most have no use for stands in
`MarkedEntry`, three small counts of the eviction share an int, and what can be told from something else is not held.
"""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Hashable, Iterable
from math import inf
from typing import Any, Final, Self

from memocache._runtime.generations import Mark
from memocache._runtime.object_identity import Held
from memocache._stores.s3fifo import S3Fifo, placed
from memocache.stats import Counters

Thaw = Callable[[Any], Any]

NEVER: Final = 2.0**36
"""The ttl in seconds (two thousand years) that stands for none: finite, so that what is left of it tells the age."""


class Entry:
    """One outcome in the process. `thaw` makes a hit's own copy of `value` (None: hand out `value` itself).

    It is served while ``fresh_until > monotonic()``; one that left its table has ``fresh_until`` minus infinity.
    `micros` are the microseconds it took to compute: small ones are ints that Python shares.
    """

    __slots__ = ("fresh_until", "hits", "key", "last", "micros", "rank", "table", "thaw", "ttl", "value")

    # what a `MarkedEntry` has of its own; no epoch of the tier is -1
    epoch = -1
    marks: tuple[Mark, ...] = ()
    sealed: bytes | None = None
    tags: tuple[str, ...] = ()
    arguments: tuple[Held, ...] = ()

    def __init__(
        self, table: Table, key: Hashable, value: Any, thaw: Thaw | None, *, now: float, ttl: float, compute: float
    ) -> None:
        self.table = table
        self.key = key
        self.value = value
        self.thaw = thaw
        self.ttl = ttl = min(ttl, NEVER)
        self.fresh_until = now + ttl
        self.micros = round(compute * 1e6)
        self.hits = self.rank = 0
        self.last: float | None = None

    @property
    def expires(self) -> float:
        """When it stops being fresh (monotonic seconds), infinite if it never does."""
        return self.fresh_until if self.ttl < NEVER else inf

    @property
    def born(self) -> float:
        """When it was stored (monotonic seconds)."""
        return self.fresh_until - self.ttl

    def past(self, now: float, retention: float) -> bool:
        """Whether it is not to be kept any longer, where stale entries are kept for `retention` seconds."""
        return now >= self.fresh_until + retention

    @property
    def held(self) -> bool:
        """Whether it is in its table."""
        return placed(self.rank)

    @property
    def compute(self) -> float:
        """The seconds it took to compute."""
        return self.micros / 1e6

    def touch(self, now: float) -> None:
        """Count a hit at `now` (monotonic seconds): here, or on the table if the entry has left it since."""
        if self.fresh_until != -inf:  # no step between comparing and counting at which Python would change threads
            self.hits += 1
            self.last = now
        else:
            self.table.counters.hits += 1

    def ghost(self) -> int:
        """A hash that names the entry's key after the entry is gone."""
        return hash((id(self.table), self.key))


class MarkedEntry(Entry):
    """An entry that has tags, or agrees with markers in a backend, or holds arguments of its call.

    `marks` are those of its tags, asked again when the tier's epoch is no longer `epoch`; `tags` are the declared ones;
    `sealed` are the backend's generations it was computed under; `arguments` are those that its key stands for.
    """

    __slots__ = ("arguments", "epoch", "marks", "sealed", "tags")

    def __init__(
        self,
        *what: Any,
        marks: tuple[Mark, ...],
        epoch: int,
        sealed: bytes | None,
        tags: tuple[str, ...],
        arguments: tuple[Held, ...] = (),
        **more: Any,
    ) -> None:
        super().__init__(*what, **more)
        self.marks = marks
        self.epoch = epoch
        self.sealed = sealed
        self.tags = tags
        self.arguments = arguments


class SlidingEntry(MarkedEntry):
    """An entry that is gone when nobody has read it for `idle` seconds, and at its `end` in any case.

    `fresh_until` is what it has for sure. A look-up that finds it past that asks `past`, which adds what the reads
    since have earned: so a hit is counted as any other's, and nothing is written for it.
    """

    __slots__ = ("end", "idle")

    def __init__(self, *what: Any, now: float, ttl: float, idle: float, **more: Any) -> None:
        super().__init__(*what, now=now, ttl=ttl, **more)
        self.idle = idle
        self.end = self.fresh_until
        self.fresh_until = min(self.end, now + idle)

    @property
    def expires(self) -> float:
        """When it stops being fresh, however often it is read."""
        return self.end if self.ttl < NEVER else inf

    @property
    def born(self) -> float:
        """When it was stored (monotonic seconds)."""
        return self.end - self.ttl

    def past(self, now: float, retention: float) -> bool:
        """As of `Entry`; what reads have earned is added. Under the tier's lock."""
        if self.fresh_until == -inf:
            return True
        until = max(self.born, self.last or -inf) + self.idle
        if now >= min(until, self.end + retention):
            return True
        self.fresh_until = min(self.end, until)
        return False


class Place(weakref.ref["Table"]):
    """Where a table is among those of its tier, and what is known of it when it is gone: two of them are never equal.

    `identity` and `owner` tell it from the others of its name; `beside` is the table's; `digest` gives the digest of an
    entry's key, and is set by who makes the keys.
    """

    __slots__ = ("beside", "counters", "digest", "identity", "name", "owner")

    def __new__(cls, table: Table, died: Callable[[Place], object], identity: Hashable, owner: Hashable) -> Self:
        """Of a table: `died` is called with the place when it is gone."""
        return super().__new__(cls, table, died)

    def __init__(self, table: Table, died: Callable[[Place], object], identity: Hashable, owner: Hashable) -> None:
        self.name = table.name
        self.counters = table.counters
        self.identity = identity
        self.owner = owner
        self.beside: Table | None = None
        self.digest: Callable[[Any], str] = str

    __hash__ = object.__hash__
    __eq__ = object.__eq__


class Table:
    """The entries of one function identity, and its counters.

    Entries may be served for `stale` seconds after their ttl and are kept for `retention` seconds after it; unread for
    `idle` seconds (0: that is no matter) they are gone. Hits are counted on the entry alone; those of entries that left
    are in `counters`.
    """

    __slots__ = (
        "__weakref__",
        "alone",
        "beside",
        "counters",
        "defaults",
        "entries",
        "idle",
        "name",
        "place",
        "pool",
        "retention",
        "stale",
        "unburied",
        "users",
    )

    def __init__(self, name: str, pool: S3Fifo[Entry], on_count: Callable[[], None] | None = None) -> None:
        self.name = name
        self.stale = self.idle = 0.0
        self.entries: dict[Any, Entry] = {}
        """Another dict after `memocache._stores.memory.burial` has set this one aside."""
        self.unburied: list[dict[Any, Entry]] = []
        """What was set aside, until it is buried. It is not to be served, and its hits count."""
        self.counters = Counters(on_count)
        self.pool = pool
        self.retention = 0.0
        self.beside: Table | None = None
        """The table of the copies of what these addresses name in a backend; its counters are this one's."""
        self.place: Place
        """Set by the index that it is in."""
        self.users: weakref.WeakSet[Any] = weakref.WeakSet()
        self.alone: list[weakref.ref[Any]] = []
        """Whose deaths are noted: without a living user its entries are for nobody. Empty: others may come."""
        self.defaults: list[Callable[[], Any]] | None = None
        """What gives the defaults without a value that the functions of this identity have; None: none came yet."""

    def admits(self, defaults: Iterable[Any]) -> bool:
        """Whether a function with these defaults without a value may have its entries here: the first one may, and
        those with the very same.
        """
        given = list(defaults)
        if self.defaults is None:
            self.defaults = [_reference(default) for default in given]
        known = [reference() for reference in self.defaults]
        return len(known) == len(given) and all(map(operator.is_, known, given))


def _reference(value: Any) -> Callable[[], Any]:
    """A weak reference where there can be one."""
    try:
        return weakref.ref(value)
    except TypeError:
        return lambda: value
