"""The housekeeping of a store on disk: a daemon thread that runs while this process writes to it, and a while longer.

Once a second it collects what expired and evicts what is too much, in bounded steps; when nobody has written for a
second it brings the map to the disk and marks the store clean. Now and then it removes stray files.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from memocache.backends._disk.environment import Environment
from memocache.backends._disk.open_store import DiskStore
from memocache.backends._disk.state_file import digest_of
from memocache.backends._disk.write_transaction import WriteTransaction

TICK_SECONDS = 1.0
STRAYS_EVERY = 600.0
STEP = 256
_IDLE_SECONDS = 30.0
_TURN_SECONDS = 5.0
_LAST_SECONDS = 0.3


def room(max_bytes: int) -> int:
    """What entries may take of a bound: a tenth is for LMDB's pages that are free, or of the transaction before."""
    return max_bytes - max_bytes // 10


class Janitor:
    """The housekeeping of one store, for one bound."""

    def __init__(self, store: DiskStore, max_bytes: int, now: Callable[[], float]) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._now = now
        self._thread: threading.Thread | None = None
        self._hurry = threading.Event()
        self._strays_at = 0.0
        _living.add(self)

    def wake(self) -> None:
        """See that the thread runs; called after each write."""
        if self._thread is None:
            thread = self._thread = threading.Thread(target=self._work, name="memocache-disk", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # at exit, or no thread to be had
                self._thread = None

    def finish(self) -> None:
        """Bring to the disk what is not there yet, if that takes no longer than a moment, and stop."""
        thread = self._thread
        self._hurry.set()
        if thread is not None:
            try:
                thread.join(_LAST_SECONDS)
            except RuntimeError:
                pass  # another thread is just starting it: it sees the hurry as soon as it runs
        self._thread, self._hurry = None, threading.Event()

    def after_fork(self) -> None:
        """In a child: the thread is the parent's."""
        self._thread, self._hurry = None, threading.Event()

    def _work(self) -> None:
        hurry, written, idle = self._hurry, -1, 0.0
        while idle < _IDLE_SECONDS:
            last = hurry.wait(TICK_SECONDS)
            try:
                before, written = written, self.step(written, last)
                idle = idle + TICK_SECONDS if before == written else 0.0
            except Exception:
                idle += TICK_SECONDS  # whatever it is, those who use the store meet it too, and say so
            if last:
                return
        self._thread = None

    def step(self, written: int, last: bool = False) -> int:
        """One round; `written` is what the round before returned. With `last`, only what must not wait for another."""
        store = self._store
        opened = store.opened
        if opened is None:
            return written
        if not last:
            while self._remove_some():
                pass
            if time.monotonic() >= self._strays_at:
                self._strays_at = time.monotonic() + STRAYS_EVERY
                store.files.remove_strays(lambda name: store.read(opened, lambda txn: _known(txn, opened, name)))
        found = int(opened.info()["last_txnid"])
        if opened.state.dirty and (found == written or last):
            self._checkpoint(opened, found)
        return found

    def _remove_some(self) -> bool:
        """Remove what expired and what is too much, in one bounded step; whether there may be more."""
        opened = self._store.opened
        if opened is None or not opened.overdue(int(self._now() * 1000), room(self._max_bytes)):
            return False

        def work(table: WriteTransaction) -> bool:
            return STEP in (table.collect(STEP), table.evict(room(self._max_bytes), STEP))

        return self._store.write(work, self._now, _TURN_SECONDS)

    def _checkpoint(self, opened: Environment, found: int) -> None:
        """Bring the map to the disk, without keeping anybody from writing; mark it clean if nobody did."""
        # a handle of our own: LMDB's must not be in use when the process forks
        path = os.path.join(self._store.path, "data.mdb")
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)
        digest = digest_of(path)  # if nobody wrote until our turn, nobody did meanwhile
        with self._store.turn(_TURN_SECONDS):
            if self._store.opened is opened and opened.state.current and opened.info()["last_txnid"] == found:
                opened.state.clean(digest)


def _known(txn: Any, opened: Environment, name: str) -> bool:
    return txn.get(name.encode(), db=opened.maps["files"]) is not None


_living: weakref.WeakSet[Janitor] = weakref.WeakSet()


def _finish_all() -> None:
    for janitor in list(_living):
        janitor.finish()


atexit.register(_finish_all)
