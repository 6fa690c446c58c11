"""`DiskBackend`: a directory on this machine, shared by its processes; no server. ``disk:///path`` names it.

An LMDB map holds the keys, files beside it the large values. A hit is one read transaction, which waits for nobody and
writes nothing; only misses write, in turns. `_disk.open_store` has the rules for processes, threads and forks,
`_disk.write_transaction` those for expiry and eviction, `_disk.blob_files` for large values and `_disk.state_file` for
power cuts.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, TypeVar

import lmdb
from xxhash import xxh3_64_digest

from memocache._runtime.humanize import amount, size
from memocache.backends._disk import records
from memocache.backends._disk.async_disk import LARGE, AsyncDisk
from memocache.backends._disk.blob_files import Filed
from memocache.backends._disk.directory import Unusable, make_directory
from memocache.backends._disk.environment import since_boot
from memocache.backends._disk.janitor import STEP, Janitor, room
from memocache.backends._disk.open_store import LOOK_SECONDS, DiskStore, Refused, give_back, share
from memocache.backends._disk.state_file import EPOCH_WORD
from memocache.backends._disk.write_transaction import WriteTransaction, number, touched
from memocache.backends.base import NO_ROOM, BaseBackend, counted, holds, with_member
from memocache.exceptions import ConfigurationError
from memocache.typing import BackendFacts, Finding, Guard, Pieces, Put, Tally

T = TypeVar("T")
DEFAULT_MAX_BYTES: Final = 2 * 10**9
LEAST_MAX_BYTES: Final = 10**6
MAX_VALUE_BYTES: Final = 2**30
_SECONDS = 5.0
_PAGE = 1000
_TALLIES = 500
_COLLECT = 8
_STANDING = 1000
_SHORT = 128  # characters: four bytes each at most, and 511 are a place
_FOREVER_BARE: Final = records.FOREVER + bytes((records.BARE,))
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


class DiskBackend(BaseBackend):
    """The store in the directory `path`, made if there is none, of at most `max_bytes`.

    `now` is epoch seconds, by which entries expire; left out, the store's own clock, which does not step. Nothing is
    touched until first use, which raises `ConfigurationError` where the directory cannot hold a store (read-only, on a
    network file system).
    """

    shared = True
    blocks = True
    pieces_from = LARGE
    max_value_bytes = MAX_VALUE_BYTES

    def __init__(self, path: str, max_bytes: int = DEFAULT_MAX_BYTES, now: Callable[[], float] | None = None) -> None:
        if type(max_bytes) is not int or max_bytes < LEAST_MAX_BYTES:
            raise ConfigurationError(f"max_bytes= takes an int of at least {LEAST_MAX_BYTES}")
        self._path = path
        self._max_bytes = max_bytes
        self._given = now
        self._bound_said = False
        self._store: DiskStore | None = None
        self._janitor: Janitor | None = None
        self._warned = False
        self.aio = AsyncDisk(self)

    @property
    def missing(self) -> str | None:
        """What keeps whoever only looks from doing so: no program has used the directory yet, and looking would make
        it. None where there is a store.
        """
        there = os.path.exists(os.path.join(self._path, "data.mdb")) or os.path.isfile(self._path)
        return None if there else "there is no store yet; a program makes it at its first use"

    # -- reading

    def read(self, keys: Sequence[str], *, timeout: float | None = None) -> list[Any]:
        """Return the values of `keys` in their order, None for what is absent, expired or damaged."""
        found = self.read_now(keys)
        return self._read(keys, timeout) if found is None else found

    def read_now(self, keys: Sequence[str]) -> list[Any] | None:
        """As `read`, in a few microseconds; None where it would take longer: a store to be opened, a large value."""
        store, passed = self._store, since_boot()
        if store is None or (opened := store.opened) is None:
            return None
        found: list[Any] = []
        try:
            if opened.words[EPOCH_WORD] != opened.epoch or not opened.looked <= passed < opened.looked + LOOK_SECONDS:
                return None
            time_ = opened.booted + passed if self._given is None else self._given()
            now = int(time_ * 1000).to_bytes(8)
            with opened.reading:
                txn = opened.begin(opened.values)
                get, written = txn.get, txn.id()
                seen, standing = opened.standing
                if written != seen:
                    standing = {}
                    opened.standing = written, standing
                for key in keys:  # this loop is most of what a hit costs here
                    if (value := standing.get(key)) is not None:
                        found.append(value)
                        continue
                    record = get(key.encode())
                    if record is not None and record.startswith(_FOREVER_BARE):  # a marker
                        found.append(value := record[9:])
                        if len(standing) < _STANDING:
                            standing[key] = value
                    elif record is None:
                        if len(key) >= _SHORT:
                            return None  # it may stand elsewhere
                        found.append(None)
                    elif record[:8] <= now:
                        found.append(None)
                    elif (kind := record[8]) == 0:  # records.BARE
                        found.append(record[9:])
                    elif kind == 1:  # records.CHECKED
                        value = record[17:]
                        found.append(value if xxh3_64_digest(value) == record[9:17] else None)
                    else:
                        return None
                txn.abort()
        except (lmdb.Error, ValueError, IndexError):
            return None  # a long key, a record that is none, a map that has grown, a store closed by another thread
        return found

    def _read(self, keys: Sequence[str], timeout: float | None) -> list[Any]:
        places = [records.place(key) for key in keys]
        found = self._view(lambda txn: [txn.get(place) for place in places], timeout)
        now = self._ms().to_bytes(8)
        return [None if record is None or record[:8] <= now else self._value(record) for record in found]

    def _value(self, record: bytes) -> Any:
        """The value of a record; None if it is damaged, or its file gone."""
        value = records.read(record)
        if value is None or value.filed is None:
            return None if value is None else value.data
        mapped = self._open().files.map(value.filed)
        return mapped if mapped is None or value.mapped else bytes(mapped)

    def scan(self, prefix: str, cursor: Any = None, *, timeout: float | None = None) -> tuple[Any, list[str]]:
        """Return the keys among the next 1,000 places in order; the cursor is the last place."""
        now = self._ms().to_bytes(8)
        start = records.first_place(prefix)

        def work(txn: Any) -> tuple[Any, list[str]]:
            keys: list[str] = []
            at = b""
            with txn.cursor() as places:
                there = places.set_range(cursor or start) if cursor or start else places.first()
                if there and cursor is not None and places.key() == cursor:
                    there = places.next()
                for _ in range(_PAGE):
                    if not there:
                        return None, keys
                    at, record = bytes(places.key()), places.value()
                    if not at.startswith(start):
                        return None, keys
                    key = records.key_at(at, record)
                    if bytes(record[:8]) > now and key is not None and key.startswith(prefix):
                        keys.append(key)
                    there = places.next()
            return at, keys

        # buffers: the values are left where they are
        return self._open().view(work, _seconds(timeout), buffers=True)

    def facts(self, *, timeout: float | None = None) -> BackendFacts:
        """Return LMDB's version, the bytes in use, and how many entries expired or were evicted, by all processes."""

        def work(txn: Any) -> list[int]:
            return [number(txn.get(name, db=maps["facts"])) for name in (b"bytes", b"expired", b"evicted")]

        maps = self._open().ready(_seconds(timeout)).maps
        used, expired, evicted = self._view(work, timeout)
        version = ".".join(map(str, lmdb.version()))
        return BackendFacts("disk", f"LMDB {version}", memory_bytes=used, expired=expired, evicted=evicted)

    def checkup(self, *, timeout: float | None = None) -> list[Finding]:
        """Return what version, size and the room left on the file system mean for a cache."""
        facts = self.facts(timeout=timeout)
        used, free = facts.memory_bytes or 0, shutil.disk_usage(self._path).free
        found = (
            f"{size(used)} of {size(self._max_bytes)} used, {amount(facts.evicted or 0, 'entry', 'entries')} evicted"
        )
        left = Finding("ok", "room", f"{size(free)} free in {self._path}", "")
        if free < self._max_bytes - used:
            left = left._replace(level="warn", advice="less than the store may take: lower max_bytes, or make room")
        return [Finding("ok", "store", facts.version or "LMDB", ""), Finding("ok", "size", found, ""), left]

    # -- writing

    def transact(
        self,
        guards: Sequence[Guard],
        puts: Sequence[Put] = (),
        deletes: Sequence[str] = (),
        *,
        members: Sequence[tuple[str, str]] = (),
        publish: str | None = None,
        timeout: float | None = None,
    ) -> list[Any] | None:
        """Apply all writes at once if every guard holds and return None; else return the guards' values.

        Nobody is woken by `publish`: waiters poll.
        """
        return self.commit(self.file_away(puts), guards, puts, deletes, members=members, timeout=timeout)

    def file_away(self, puts: Sequence[Put]) -> dict[int, Filed]:
        """Write what is large to files, outside of anybody's turn; by position. Raises `Refused`."""
        filed: dict[int, Filed] = {}
        for index, put in enumerate(puts):
            if isinstance(put.value, Pieces) or len(put.value) >= LARGE:
                pieces = put.value.pieces if isinstance(put.value, Pieces) else (put.value,)
                try:
                    if sum(memoryview(piece).nbytes for piece in pieces) > self._max_bytes // 2:
                        raise Refused(NO_ROOM)  # it would put out everything else
                    filed[index] = self._open().files.write(pieces)
                except BaseException as error:
                    self._open().files.remove(one.name for one in filed.values())
                    if isinstance(error, OSError) and error.errno in _FULL:
                        raise Refused(NO_ROOM) from None
                    raise
        return filed

    def commit(
        self,
        filed: dict[int, Filed],
        guards: Sequence[Guard],
        puts: Sequence[Put] = (),
        deletes: Sequence[str] = (),
        *,
        members: Sequence[tuple[str, str]] = (),
        publish: str | None = None,
        timeout: float | None = None,
    ) -> list[Any] | None:
        """The second half of `transact`, whose large values are `filed`."""

        def work(table: WriteTransaction) -> list[bytes | None] | None:
            found = [table.find(guard.key) for guard in guards]
            if not all(map(self._holds, guards, found)):
                return found
            for index, put in enumerate(puts):
                end = records.expiry(table.now_ms, put.ttl_ms)
                if index in filed:
                    mapped = isinstance(put.value, Pieces)
                    record = records.write_filed(put.key, end, filed[index], put.value, mapped)
                    table.put(put.key, record, filed[index])
                else:
                    table.put(put.key, records.write(put.key, end, put.value))
            for key in deletes:
                table.delete(key)
            for key, member in members:
                old = table.find(key)
                blob = None if old is None else self._value(old)
                new = with_member(blob, member)
                if new != blob:
                    table.put(key, records.write(key, records.FOREVER, new))
            if puts:
                table.collect(_COLLECT + 2 * len(puts))
                table.evict(room(self._max_bytes), STEP + 2 * len(puts))
            return None

        stands = False
        try:
            conflict = self._write(work, timeout)
            stands = conflict is None
        finally:
            if filed and not stands:
                self._open().files.remove(one.name for one in filed.values())
        return None if conflict is None else [None if one is None else self._value(one) for one in conflict]

    def _holds(self, guard: Guard, record: bytes | None) -> bool:
        """As `holds`; a large value is not read for its beginning, and what is damaged counts as absent."""
        value = None if record is None else records.read(record)
        if record is None or value is None:
            return guard.head is None
        if value.filed is not None and guard.head is not None and len(guard.head) <= len(value.head):
            return value.head.startswith(guard.head)
        found = self._value(record)
        return holds(guard, bytes(found[: len(guard.head or b"")]) if isinstance(found, memoryview) else found)

    def delete(self, keys: Sequence[str], *, timeout: float | None = None) -> int:
        """Remove `keys` and return how many of them were there."""
        return self._write(lambda table: sum(map(table.delete, keys)), timeout, removes=True) if keys else 0

    def prolong(self, lives: Sequence[tuple[str, int]], *, timeout: float | None = None) -> None:
        """Let each of these keys that is there live for so many milliseconds from now, some hundreds in a turn."""

        def work(some: Sequence[tuple[str, int]], table: WriteTransaction) -> None:
            for key, ttl_ms in some:
                table.prolong(key, records.expiry(table.now_ms, ttl_ms))

        for at in range(0, len(lives), _TALLIES):
            self._write(partial(work, lives[at : at + _TALLIES]), timeout)

    def tally(self, tallies: Sequence[Tally], *, timeout: float | None = None) -> None:
        """Carry out each tally (each step of `once`) at once, some hundreds in a turn; accesses make entries worth
        more.
        """
        steps: list[tuple[Any, list[Tally]]] = []
        for once, together in groupby(tallies, attrgetter("once")):
            some = list(together)
            steps += [(once, some)] if once is not None else [(None, [one]) for one in some]
        turn: list[tuple[Any, list[Tally]]] = []
        for number_, step in enumerate(steps, 1):
            turn.append(step)
            if number_ == len(steps) or sum(len(some) for _, some in turn) >= _TALLIES:
                self._write(partial(self._count, turn), timeout)
                turn = []

    def _count(self, steps: Sequence[tuple[Any, list[Tally]]], table: WriteTransaction) -> None:
        for once, step in steps:
            keys = {one.key for one in step} | (set() if once is None else {once.key})
            found = {key: table.find(key) for key in keys}
            old = {key: None if record is None else self._value(record) for key, record in found.items()}
            for put in counted(step, once, old):
                table.put(put.key, records.write(put.key, records.expiry(table.now_ms, put.ttl_ms), put.value))
            for one in step:
                entry = touched(one.key)
                if entry is not None:
                    table.touch(entry, one.adds.get("n", 1))
        table.evict(room(self._max_bytes), STEP + 2 * len(steps))

    # -- life

    def close(self) -> None:
        """Let go of the directory; what is not on the disk yet gets a moment."""
        store, self._store = self._store, None
        janitor, self._janitor = self._janitor, None
        if janitor is not None:
            janitor.finish()
        if store is not None:
            give_back(store)

    def _open(self) -> DiskStore:
        store = self._store
        if store is None:
            try:
                store = share(make_directory(self._path))
            except Unusable as error:
                if not self._warned:  # decorated calls go on without, and nobody would know
                    self._warned = True
                    warnings.warn(str(error), UserWarning, stacklevel=2)
                raise
            store.want(self._max_bytes)
            self._store, self._janitor = store, Janitor(store, self._max_bytes, self._now)
        return store

    def _view(self, work: Callable[[Any], T], timeout: float | None) -> T:
        return self._open().view(work, _seconds(timeout))

    def _write(self, work: Callable[[WriteTransaction], T], timeout: float | None, *, removes: bool = False) -> T:
        if not self._bound_said and not removes:
            self._bound_said = True
            self._say_bound(timeout)
        result = self._open().write(work, self._now, _seconds(timeout), removes=removes)
        janitor = self._janitor
        if janitor is not None:
            janitor.wake()
        return result

    def _say_bound(self, timeout: float | None) -> None:
        """Note our bound in the store; warn if another was noted."""
        before = self._open().write(lambda table: table.bound(self._max_bytes), self._now, _seconds(timeout))
        if before not in (0, self._max_bytes):
            warnings.warn(
                f"memocache: the store in {self._path} was used with max_bytes={before}, and is now used with "
                f"max_bytes={self._max_bytes}; where both are in use the smaller one holds: give all programs the same",
                UserWarning,
                stacklevel=2,
            )

    def _now(self) -> float:
        """The store's time, epoch seconds."""
        if self._given is not None:
            return self._given()
        opened = None if self._store is None else self._store.opened
        return time.time() if opened is None else opened.booted + since_boot()

    def _ms(self) -> int:
        return int(self._now() * 1000)


def _seconds(timeout: float | None) -> float:
    return _SECONDS if timeout is None else timeout
