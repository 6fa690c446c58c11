"""What stands in the map of a store on disk, as one write transaction sees it.

It keeps values, indexes and figures in step. It does not know who may write, nor when a transaction is on the disk.

=======  ==============================  ============================================================
map      key                             value
=======  ==============================  ============================================================
values   the place of a key              its record (`memocache.backends._disk.records`)
ends     end of life, hash of the place  the place: what expires, in order
uses     stamp, hash of the place        the place: what may be evicted, in order of worth
stamps   hash of the place               the stamp under which it stands in `uses`
files    name of a file                  its length: what is known to have an entry
facts    name                            a number: bytes in use, those of what is needed, entries expired and evicted,
                                         the bound; the format; the clock
=======  ==============================  ============================================================

Eviction takes the lowest stamp. A stamp is a time in milliseconds: of the store, or of the last access that was
reported with the batched counters, and a minute more for each doubling of the accesses reported at once. A stamp within
a minute of the truth is left alone, so that an entry that is hit all the time costs one small write a minute, and a
read costs none.

Markers, witnesses, counters and registries are needed as long as their entries are, and most are small. They have
stamps above those of all entries, and go, the oldest first, only where they take more than half of the room, or where
no entry is left. Each may go: without it a result is computed again, or a count begins anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from xxhash import xxh3_64_digest

from memocache.backends._disk import records
from memocache.backends._disk.blob_files import Filed

MAPS: Final = ("values", "ends", "uses", "stamps", "files", "facts")
FORMAT: Final = (b"format", b"memocache 1")
_GRAIN = 60_000  # milliseconds
_PAGE = 4096
_IN_LEAVES = 2000  # LMDB gives what is larger pages of its own
_SLACK = 1.5  # pages of a B-tree are two thirds full,
_BULKY, _BULKY_SLACK = 300, 2.0  # and less where few entries make one
_NODE = 16
_NEEDED: Final = frozenset("grsaw")
"""Kinds of keys (see `memocache._stores.remote.keyspace`) that are needed as long as their entries are."""
_BRIEF: Final = frozenset("l")
"""Kinds that are gone in seconds, and are never evicted."""
_NEEDED_STAMPS: Final = 1 << 47
_NEEDED_SHARE: Final = 2


class WriteTransaction:
    """One write transaction: `txn` and `maps` are LMDB's, `now_ms` the time of all that is written."""

    def __init__(self, txn: Any, maps: dict[str, Any], now_ms: int) -> None:
        self._txn = txn
        self._values, self._ends, self._uses, self._stamps, self._files, self._facts = (maps[name] for name in MAPS)
        self.now_ms = now_ms
        self._now = now_ms.to_bytes(8)
        self._changes: dict[bytes, int] = {}
        self.removed: list[str] = []
        """Names of files to remove once the transaction stands."""

    # -- values

    def find(self, key: str) -> bytes | None:
        """The record of a key, unless it has expired."""
        record: bytes | None = self._txn.get(records.place(key), db=self._values)
        return None if record is None or record[:8] <= self._now else record

    def put(self, key: str, record: bytes, filed: Filed | None = None) -> None:
        """Write a record in place of whatever is there."""
        place = records.place(key)
        mark = xxh3_64_digest(place)
        kind = _kind(key)
        old = self._txn.get(place, db=self._values)
        if old is not None:
            freed = self._forget(place, mark, old, keep_end=record[:8])
            if kind in _NEEDED and _is_needed(self._txn.get(mark, db=self._stamps)):
                self._count(b"needed", -freed)
        if record[:8] != records.FOREVER and (old is None or old[:8] != record[:8]):
            self._txn.put(record[:8] + mark, place, db=self._ends)
        self._txn.put(place, record, db=self._values)
        if filed is not None:
            self._txn.put(filed.name.encode(), filed.size.to_bytes(8), db=self._files)
        taken = _footprint(place, record, filed)
        self._count(b"bytes", taken)
        if kind in _NEEDED:
            self._count(b"needed", taken)
            self._stamp(place, mark, self.now_ms | _NEEDED_STAMPS, grain=_GRAIN)
        elif kind not in _BRIEF:
            self._stamp(place, mark, self.now_ms)

    def prolong(self, key: str, end: bytes) -> None:
        """Let a record that is there end at another time."""
        record = self.find(key)
        if record is not None and record[:8] != end:
            place = records.place(key)
            mark = xxh3_64_digest(place)
            if record[:8] != records.FOREVER:
                self._txn.delete(record[:8] + mark, db=self._ends)
            if end != records.FOREVER:
                self._txn.put(end + mark, place, db=self._ends)
            self._txn.put(place, end + bytes(record[8:]), db=self._values)

    def delete(self, key: str) -> bool:
        """Remove a key; whether it was there and alive."""
        return self._delete(records.place(key))

    def _delete(self, place: bytes) -> bool:
        record = self._txn.pop(place, db=self._values)
        if record is None:
            return False
        mark = xxh3_64_digest(place)
        freed = self._forget(place, mark, record)
        stamp = self._txn.pop(mark, db=self._stamps)
        if stamp is not None:
            self._txn.delete(stamp + mark, db=self._uses)
            if _is_needed(stamp):
                self._count(b"needed", -freed)
        return bool(record[:8] > self._now)

    def _forget(self, place: bytes, mark: bytes, record: bytes, keep_end: bytes = b"") -> int:
        """Undo what a record brought with it, but for its stamp; the bytes that it took."""
        if record[:8] not in (records.FOREVER, keep_end):
            self._txn.delete(record[:8] + mark, db=self._ends)
        value = records.read(record) if record[8] != records.BARE else None
        filed = value.filed if value is not None else None
        if filed is not None:
            self._txn.delete(filed.name.encode(), db=self._files)
            self.removed.append(filed.name)
        taken = _footprint(place, record, filed)
        self._count(b"bytes", -taken)
        return taken

    # -- worth

    def touch(self, key: str, hits: int) -> None:
        """Note that a key was accessed, `hits` times in all."""
        place = records.place(key)
        mark = xxh3_64_digest(place)
        stamp = self._txn.get(mark, db=self._stamps)
        worth = self.now_ms + _GRAIN * hits.bit_length()
        if stamp is not None and worth - int.from_bytes(stamp) >= _GRAIN:
            self._stamp(place, mark, worth)

    def _stamp(self, place: bytes, mark: bytes, worth: int, grain: int = 1) -> None:
        new = worth.to_bytes(6)
        old = self._txn.get(mark, db=self._stamps)
        if old is None or abs(worth - int.from_bytes(old)) >= grain:
            if old is not None:
                self._txn.delete(old + mark, db=self._uses)
            self._txn.put(new + mark, place, db=self._uses)
            self._txn.put(mark, new, db=self._stamps)

    def collect(self, most: int) -> int:
        """Remove up to `most` entries that have expired; how many."""
        found = 0
        with self._txn.cursor(self._ends) as cursor:
            while found < most and cursor.first() and cursor.key()[:8] <= self._now:
                end, place = cursor.item()
                record = self._txn.get(place, db=self._values)
                if record is not None and record[:8] == end[:8]:
                    self._delete(place)
                else:  # cannot be, but must not stop what comes after
                    cursor.delete()
                found += 1
        if found:
            self._count(b"expired", found)
        return found

    def evict(self, max_bytes: int, most: int) -> int:
        """Remove up to `most` entries, those of least worth first, until what is left fits; how many."""
        found = 0
        with self._txn.cursor(self._uses) as cursor:
            while found < most and self.fact(b"bytes") > max_bytes:
                first = cursor.first
                if self.fact(b"needed") > max_bytes // _NEEDED_SHARE:
                    first = self._first_needed(cursor)
                if not first():
                    break
                place = cursor.value()
                self._delete(_access_place(place))
                # what is left then is an index without its entry, which must not stop what comes after
                if not self._delete(place) and first() and cursor.value() == place:
                    cursor.delete()
                found += 1
        if found:
            self._count(b"evicted", found)
        return found

    @staticmethod
    def _first_needed(cursor: Any) -> Callable[[], bool]:
        """What goes to the oldest of what is needed, else to what is evicted first."""
        return lambda: cursor.set_range(_NEEDED_STAMPS.to_bytes(6)) or cursor.first()

    # -- facts

    def fact(self, name: bytes) -> int:
        """A number as it stands."""
        return number(self._txn.get(name, db=self._facts)) + self._changes.get(name, 0)

    def bound(self, max_bytes: int) -> int:
        """Note the bound of who writes; the one that was noted before, or 0."""
        before = number(self._txn.get(b"bound", db=self._facts))
        if before != max_bytes:
            self._txn.put(b"bound", max_bytes.to_bytes(8), db=self._facts)
        return before

    def _count(self, name: bytes, amount: int) -> None:
        self._changes[name] = self._changes.get(name, 0) + amount

    def settle(self) -> None:
        """Write the numbers that changed; to be called last."""
        for name, amount in self._changes.items():
            if amount:
                total = max(0, number(self._txn.get(name, db=self._facts)) + amount)
                self._txn.put(name, total.to_bytes(8), db=self._facts)
        self._changes = {}

    def knows_file(self, name: str) -> bool:
        """Whether an entry has the file of this name."""
        return self._txn.get(name.encode(), db=self._files) is not None


def number(packed: bytes | None) -> int:
    """A number of `facts`."""
    return int.from_bytes(packed or b"")


def touched(key: str) -> str | None:
    """The key of the entry whose accesses are counted under `key`; None if that is no access counter."""
    start, _, after = key.partition(":")
    kind, _, rest = after.partition(":")
    return f"{start}:{rest[0]}:{rest[1:]}" if kind == "a" and rest else None


def _access_place(place: bytes) -> bytes:
    start, _, after = place.partition(b":")
    kind, _, rest = after.partition(b":")
    return start + b":a:" + kind + rest


def _kind(key: str) -> str:
    return key.partition(":")[2].partition(":")[0]


def _is_needed(stamp: bytes | None) -> bool:
    return stamp is not None and stamp[0] >= 0x80


def _footprint(place: bytes, record: bytes, filed: Filed | None) -> int:
    """The bytes on disk that an entry takes, its share of the indexes included."""
    length = len(place) + len(record) + _NODE
    slack = _SLACK if length < _BULKY else _BULKY_SLACK
    value = length * slack if length < _IN_LEAVES else -(-length // _PAGE) * _PAGE
    indexes = (2 * len(place) + 90) * _SLACK
    return int(value + indexes) + (0 if filed is None else filed.size + _PAGE)
