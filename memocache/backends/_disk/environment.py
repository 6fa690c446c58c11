"""A store on disk as this process has opened it: LMDB's handles, the state of the directory, and what was read lately.

It refuses a directory that holds no store of ours, or one that is not as it was left (`Foreign`). It does not know how
the store is shared or locked.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import lmdb

from memocache.backends._disk.directory import boot_id
from memocache.backends._disk.state_file import EPOCH_WORD, StateFile
from memocache.backends._disk.write_transaction import FORMAT, MAPS, number

UNREADABLE: Final = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.IncompatibleError,
    lmdb.BadChecksumError,
    lmdb.ProblemError,
    lmdb.BadTxnError,  # what follows one of the others within a transaction, and these three what damage leads to
    lmdb.BadDbiError,
    lmdb.CursorFullError,
    lmdb.PageFullError,
)
"""What LMDB raises for a file that it cannot read."""
_READERS = 1024
_LOCK_BYTES = 128 * 1024  # LMDB's header, and 64 bytes for each of more than _READERS readers
_PAGE = 4096


class Foreign(Exception):
    """What is in the directory is no store of ours, or not as we left it; the text says why."""


class Environment:
    """A store as it was opened: LMDB's handles, the state and the files. Valid until closed or set aside."""

    def __init__(self, path: str, map_bytes: int, reading: threading.RLock) -> None:
        self.reading = reading
        self.state = StateFile(os.path.join(path, "state"))
        self.words = memoryview(self.state.map).cast("Q")
        self.epoch = self.words[EPOCH_WORD]
        self.booted = 0.0
        """When this run of the machine began, by the store's clock, epoch seconds."""
        self.looked = 0.0
        """When it was last seen to be in its place, seconds since then."""
        self.standing: tuple[int, dict[str, bytes]] = -1, {}
        """Short values that never expire (markers), as they stand from the write of this number to the next."""
        data = os.path.join(path, "data.mdb")
        try:
            if os.path.exists(data):
                if self.state.fresh:
                    raise Foreign("it is not a store of this version")
                if self.state.torn:
                    raise Foreign("the machine stopped while it was written to")
                if self.state.damaged(data):
                    raise Foreign("it is not as it was left")
            else:
                self.state.soil()
            _reserve(os.path.join(path, "lock.mdb"))
            self.env = lmdb.open(
                path, map_size=map_bytes, max_dbs=len(MAPS), max_readers=_READERS, mode=0o600,
                sync=False, metasync=False, readahead=False,
            )  # fmt: skip
            self.begin: Any = self.env.begin  # its overloads know no bool for `buffers`
            try:
                self._complete(data)
                self.env.reader_check()
                self.maps = {name: self.env.open_db(name.encode()) for name in MAPS}
                self.values = self.maps["values"]
                with self.env.begin(write=True) as txn:
                    if (found := txn.get(FORMAT[0], db=self.maps["facts"])) is None:
                        txn.put(*FORMAT, db=self.maps["facts"])
                    elif found != FORMAT[1]:
                        raise Foreign("it is not a store of this version")
                    self.booted = _booted(txn, self.maps["facts"])
            except BaseException:
                self.env.close()
                raise
        except BaseException:
            self.words.release()
            self.state.close()
            raise

    def _complete(self, data: str) -> None:
        """Make the file as long as its map says: to read past its end would kill; zeros are only unreadable."""
        needed = (self.env.info()["last_pgno"] + 1) * _PAGE
        if os.stat(data).st_size < needed:
            self.state.forget_digest()
            os.truncate(data, needed)

    def overdue(self, now_ms: int, max_bytes: int) -> bool:
        """Whether something has expired or is too much; in one's own turn or another's."""
        with self.reading, self.env.begin(self.maps["ends"]) as txn:
            used = number(txn.get(b"bytes", db=self.maps["facts"]))
            with txn.cursor() as cursor:
                return used > max_bytes or (cursor.first() and int.from_bytes(cursor.key()[:8]) <= now_ms)

    def info(self) -> Mapping[str, Any]:
        """What LMDB says of its map."""
        with self.reading:
            return self.env.info()

    def close(self) -> None:
        """Let go of everything."""
        self.env.close()
        self.words.release()
        self.state.close()


since_boot: Final = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
"""Seconds since the machine began, those that it slept included: they never step."""


def _booted(txn: Any, facts: Any) -> float:
    """When this run of the machine began, as the first who opened the store in it took it: what all who use the store
    count its time from, so that a wall clock that is set while it is in use changes nothing.
    """
    run = boot_id().ljust(36, b"\x00")
    found = txn.get(b"clock", db=facts)
    if found is None or found[:36] != run:
        found = run + int((time.time() - since_boot()) * 1000).to_bytes(8, signed=True)
        txn.put(b"clock", found, db=facts)
    return int.from_bytes(found[36:], signed=True) / 1000


def _reserve(path: str) -> None:
    """Give LMDB's table of readers its blocks: it is a map that is written to, which kills on a full disk.

    To be called before the store is opened in this process: closing the file ends the process's locks on it.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file, 0, _LOCK_BYTES)
        elif os.fstat(file).st_size == 0:
            os.write(file, bytes(_LOCK_BYTES))
    finally:
        os.close(file)
