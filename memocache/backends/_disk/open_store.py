"""The store in one directory, as this process has it: opened, shared by its threads, locked, set aside, forked.

It carries out work in a transaction, and raises this package's errors for LMDB's. It does not know what the work is.

``data.mdb`` and ``lock.mdb`` are LMDB's, ``state`` is `StateFile`, ``lock`` the writers' lock, ``files`` the large
values, ``spare`` the room to remove something on a full disk.

1. A directory is opened once in a process, whoever asks (LMDB's locks belong to process and file).
2. Writers of all processes take turns (`memocache.backends._disk.write_lock`), until a deadline.
3. `reading` or `writing` is held around each transaction here: a fork waits for both, since a transaction must not be
   copied, and so does closing. LMDB's handles are of no use in a child, which opens its own.
4. What LMDB cannot read is renamed once, with a warning, and a fresh store begun; the epoch in `StateFile` tells the
   other processes before their next read. A directory that was removed or replaced is noticed within `LOOK_SECONDS`.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from memocache.backends._disk.blob_files import BlobFiles
from memocache.backends._disk.directory import unusable
from memocache.backends._disk.environment import UNREADABLE, Environment, Foreign, since_boot
from memocache.backends._disk.reserve_file import SpareRoom
from memocache.backends._disk.state_file import StateFile
from memocache.backends._disk.write_lock import WriteLock
from memocache.backends._disk.write_transaction import WriteTransaction
from memocache.backends.base import NO_ROOM, Busy, ReplyError

T = TypeVar("T")
LOOK_SECONDS = 1.0
_TRIES = 4
_ROOM = 64 * 2**20


class Refused(ReplyError):
    """A write that the disk, or the bound of the store, has no room for; reads go on."""


class DiskStore:
    """One directory. `time` is what entries expire by, in epoch seconds."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.files = BlobFiles(Path(path, "files"))
        self.spare = SpareRoom(os.path.join(path, "spare"))
        self.map_bytes = self.max_bytes = 0
        self.opened: Environment | None = None
        self._reset()

    def _reset(self) -> None:
        self.writing = threading.RLock()
        self.reading = threading.RLock()
        self._turns = WriteLock(self.path)

    # -- opening

    def ready(self, timeout: float) -> Environment:
        """The store as it is opened now, opened if need be. Raises `Unusable`, `Busy`."""
        opened = self.opened
        if opened is not None and opened.state.current and self._is_in_place(opened):
            opened.looked = since_boot()
            return opened
        with self.turn(timeout):
            return self.reopen()

    def reopen(self) -> Environment:
        """As `ready`, in one's turn."""
        opened = self.opened
        if opened is None or not opened.state.current or not self._is_in_place(opened):
            with self._still():
                self.shut()
                try:
                    opened = self._open()
                except OSError as error:
                    raise unusable(self.path, error) from None
                self.opened = opened
        opened.looked = since_boot()
        return opened

    def _open(self) -> Environment:
        try:
            return Environment(self.path, self.map_bytes, self.reading)
        except UNREADABLE as error:
            reason = f"LMDB cannot read it ({type(error).__name__})"
        except Foreign as found:
            reason = str(found)
        except lmdb.Error as error:
            raise _as_ours(error) from None
        self._set_aside(reason)
        return Environment(self.path, self.map_bytes, self.reading)

    def _is_in_place(self, opened: Environment) -> bool:
        try:
            found = os.stat(os.path.join(self.path, "state"))
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == opened.state.inode

    def _set_aside(self, reason: str) -> None:
        """Rename what LMDB cannot read and begin another epoch; only the last one set aside is kept."""
        data = os.path.join(self.path, "data.mdb")
        aside = f"{data}.set-aside"
        if os.path.exists(data):
            os.replace(data, aside)
        for name in ("lock.mdb", "data.mdb-lock"):
            try:
                os.unlink(os.path.join(self.path, name))
            except OSError:
                pass
        shutil.rmtree(os.path.join(self.path, "files"), ignore_errors=True)
        state = StateFile(os.path.join(self.path, "state"))
        state.renew()
        state.close()
        # not where the caller stands: the store is the process's, and the warning is about the directory
        warnings.warn(
            f"memocache: the store in {self.path} was set aside as {aside} and begun anew: {reason}",
            UserWarning,
            stacklevel=2,
        )

    def spoiled(self, opened: Environment, error: Exception, timeout: float) -> None:
        """LMDB found damage: set the store aside, unless that was done already."""
        with self.turn(timeout), self._still():
            if self.opened is opened and opened.state.current and self._is_in_place(opened):
                self.shut()
                self._set_aside(f"LMDB cannot read it ({type(error).__name__})")
            else:
                self.shut()

    @contextmanager
    def _still(self) -> Iterator[None]:
        """No transaction of this process is under way."""
        with self.writing, self.reading:
            yield

    def shut(self) -> None:
        """Close what is opened; using the store again opens it."""
        with self._still():
            opened, self.opened = self.opened, None
            if opened is not None:
                opened.close()

    def close(self) -> None:
        """Let go of the directory."""
        self.shut()
        self._turns.close()

    def turn(self, timeout: float) -> AbstractContextManager[None]:
        """Be the only writer of all processes; raises `Busy` if that takes longer than `timeout` seconds."""
        return self._turns.take(timeout)

    # -- transactions

    def write(
        self, work: Callable[[WriteTransaction], T], now: Callable[[], float], timeout: float, *, removes: bool = False
    ) -> T:
        """Carry out `work` in a transaction of its own, in turn; what LMDB raises comes out as this package's errors.

        One that only `removes` may use the spare room, where the disk is full. Raises `Busy`, `Refused`, `Unusable`.
        """
        deadline = time.monotonic() + timeout
        for _ in range(_TRIES):
            left = deadline - time.monotonic()
            with self.turn(max(left, 0.0)):
                opened = self.reopen()
                if not removes and not self.spare.there(self.max_bytes):
                    raise Refused(NO_ROOM)
                try:
                    opened.state.soil()
                    with self.writing, opened.env.begin(write=True) as txn:
                        table = WriteTransaction(txn, opened.maps, int(now() * 1000))
                        result = work(table)
                        table.settle()
                    self.files.remove(table.removed)
                    return result
                except lmdb.MapResizedError:
                    self._grow(opened, 0)
                    continue
                except lmdb.MapFullError:
                    opened.env.reader_check()
                    raise Refused(NO_ROOM) from None
                except UNREADABLE as error:
                    trouble = error
                except lmdb.PanicError:
                    self.shut()
                    continue
                except lmdb.Error as error:
                    self.shut()  # after a failed write LMDB's handle may be of no use
                    if removes and self.spare.give():
                        continue
                    raise _as_ours(error) from None
            self.spoiled(opened, trouble, max(deadline - time.monotonic(), 0.0))
        raise Busy("the store is being opened again and again")

    def read(self, opened: Environment, work: Callable[[Any], T], *, buffers: bool = False) -> T:
        """Carry out `work` on a read transaction; raises what LMDB raises."""
        for _ in range(_TRIES):
            try:
                with self.reading, opened.begin(opened.values, buffers=buffers) as txn:
                    return work(txn)
            except lmdb.MapResizedError:
                self._grow(opened, 0)
            except lmdb.ReadersFullError:
                opened.env.reader_check()
        raise Busy("no place among the readers of the store")

    def view(self, work: Callable[[Any], T], timeout: float, *, buffers: bool = False) -> T:
        """As `read`, with the store opened if need be, and set aside if it cannot be read."""
        deadline = time.monotonic() + timeout
        for _ in range(_TRIES):
            opened = self.ready(max(deadline - time.monotonic(), 0.0))
            try:
                return self.read(opened, work, buffers=buffers)
            except UNREADABLE as error:
                self.spoiled(opened, error, max(deadline - time.monotonic(), 0.0))
            except lmdb.Error:
                if self.opened is opened:
                    raise  # else it was closed under us: opened again, it will do
        raise Busy("the store is being opened again and again")

    def _grow(self, opened: Environment, size: int) -> None:
        """Take over the size that the map has by now (0), or give it one."""
        with self._still():
            opened.env.set_mapsize(size)

    def want(self, max_bytes: int) -> None:
        """See that the map has room for entries of `max_bytes`: for as much again, since its free pages may not fit."""
        self.max_bytes = max(self.max_bytes, max_bytes)
        map_bytes = 2 * max_bytes + _ROOM
        if map_bytes > self.map_bytes:
            with self._still():
                self.map_bytes = map_bytes
                if self.opened is not None:
                    self._grow(self.opened, map_bytes)

    # -- forks

    def after_fork(self) -> None:
        """In a child: nothing of the parent's is of use. Nothing was under way, see `_before_fork`."""
        opened, self.opened = self.opened, None
        self._turns.close()
        self._reset()
        if opened is not None:
            opened.close()  # frees this process's copies only: LMDB's locks and slots are the parent's by its id


def _as_ours(error: lmdb.Error) -> Exception:
    """What a failure of the file system, told by LMDB, is here."""
    code = getattr(error, "code", 0)
    if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
        return Refused(NO_ROOM)  # a write that the disk took half of is EIO to LMDB
    if code > 0:
        return OSError(code, os.strerror(code))
    return OSError(errno.EIO, type(error).__name__)


_stores: dict[str, DiskStore] = {}
_users: dict[str, int] = {}
_registry = threading.RLock()


def share(path: str) -> DiskStore:
    """The one store of this process at a real path; to be given back by `give_back`."""
    with _registry:
        store = _stores.get(path)
        if store is None:
            store = _stores[path] = DiskStore(path)
        _users[path] = _users.get(path, 0) + 1
        return store


def give_back(store: DiskStore) -> None:
    """Close the store if nobody else in the process uses it."""
    with _registry:
        _users[store.path] -= 1
        if _users[store.path] == 0:
            del _users[store.path], _stores[store.path]
            store.close()


_held: list[DiskStore] = []


def _before_fork() -> None:
    _registry.acquire()
    for _, store in sorted(_stores.items()):
        store.writing.acquire()
        store.reading.acquire()
        _held.append(store)


def _after_fork_in_parent() -> None:
    while _held:
        store = _held.pop()
        store.reading.release()
        store.writing.release()
    _registry.release()


def _after_fork_in_child() -> None:
    _held.clear()
    _registry.release()
    for store in _stores.values():
        store.after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
