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
facts    name                            a number: bytes in use, entries expired and evicted; the format
=======  ==============================  ============================================================

Eviction takes the lowest stamp. A stamp is a time in milliseconds: of the store, or of the last access that was
reported with the batched counters, and a minute more for each doubling of the accesses reported at once. A stamp within
a minute of the truth is left alone, so that an entry that is hit all the time costs one small write a minute, and a
read costs none.
"""

from __future__ import annotations

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
_KEPT: Final = frozenset("grsawlc")
"""Kinds of keys (see `memocache._stores.remote.keyspace`) that are small and needed, and never evicted: they expire,
or are few."""


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
        old = self._txn.get(place, db=self._values)
        if old is not None:
            self._forget(place, mark, old, keep_end=record[:8])
        if record[:8] != records.FOREVER and (old is None or old[:8] != record[:8]):
            self._txn.put(record[:8] + mark, place, db=self._ends)
        self._txn.put(place, record, db=self._values)
        if filed is not None:
            self._txn.put(filed.name.encode(), filed.size.to_bytes(8), db=self._files)
        self._count(b"bytes", _footprint(place, record, filed))
        if _evictable(key):
            self._stamp(place, mark, self.now_ms)

    def delete(self, key: str) -> bool:
        """Remove a key; whether it was there and alive."""
        return self._delete(records.place(key))

    def _delete(self, place: bytes) -> bool:
        record = self._txn.pop(place, db=self._values)
        if record is None:
            return False
        mark = xxh3_64_digest(place)
        self._forget(place, mark, record)
        stamp = self._txn.pop(mark, db=self._stamps)
        if stamp is not None:
            self._txn.delete(stamp + mark, db=self._uses)
        return bool(record[:8] > self._now)

    def _forget(self, place: bytes, mark: bytes, record: bytes, keep_end: bytes = b"") -> None:
        """Undo what a record brought with it, but for its stamp."""
        if record[:8] not in (records.FOREVER, keep_end):
            self._txn.delete(record[:8] + mark, db=self._ends)
        value = records.read(record) if record[8] != records.BARE else None
        filed = value.filed if value is not None else None
        if filed is not None:
            self._txn.delete(filed.name.encode(), db=self._files)
            self.removed.append(filed.name)
        self._count(b"bytes", -_footprint(place, record, filed))

    # -- worth

    def touch(self, key: str, hits: int) -> None:
        """Note that a key was accessed, `hits` times in all."""
        place = records.place(key)
        mark = xxh3_64_digest(place)
        stamp = self._txn.get(mark, db=self._stamps)
        worth = self.now_ms + _GRAIN * hits.bit_length()
        if stamp is not None and worth - int.from_bytes(stamp) >= _GRAIN:
            self._stamp(place, mark, worth)

    def _stamp(self, place: bytes, mark: bytes, worth: int) -> None:
        new = worth.to_bytes(6)
        old = self._txn.get(mark, db=self._stamps)
        if old != new:
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
            while found < most and self.fact(b"bytes") > max_bytes and cursor.first():
                place = cursor.value()
                self._delete(_access_place(place))
                # what is left then is an index without its entry, which must not stop what comes after
                if not self._delete(place) and cursor.first() and cursor.value() == place:
                    cursor.delete()
                found += 1
        if found:
            self._count(b"evicted", found)
        return found

    # -- facts

    def fact(self, name: bytes) -> int:
        """A number as it stands."""
        return number(self._txn.get(name, db=self._facts)) + self._changes.get(name, 0)

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


def _evictable(key: str) -> bool:
    kind = key.partition(":")[2].partition(":")[0]
    return kind not in _KEPT


def _footprint(place: bytes, record: bytes, filed: Filed | None) -> int:
    """The bytes on disk that an entry takes, its share of the indexes included."""
    length = len(place) + len(record) + _NODE
    slack = _SLACK if length < _BULKY else _BULKY_SLACK
    value = length * slack if length < _IN_LEAVES else -(-length // _PAGE) * _PAGE
    indexes = (2 * len(place) + 90) * _SLACK
    return int(value + indexes) + (0 if filed is None else filed.size + _PAGE)
