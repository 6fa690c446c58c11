"""The turns of those who write to one store: threads of this process, and processes of this machine.

LMDB's own lock is waited for without bound. This one goes around it, is waited for until a deadline by trying again and
again, and is the kernel's (POSIX record locks): it is freed when its holder dies, and a forked child neither has it nor
keeps it. While its holder stands still, one short wait in `STALL_SECONDS` is waited; the others fail at once.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from memocache._runtime.randomness import random
from memocache.backends._disk.directory import make_directory, unusable
from memocache.backends.base import Busy

STALL_SECONDS: Final = 1.0
_PATIENT = 1.0  # seconds: who may wait longer than that waits, whatever came before
_TRIES = 4


class _Turn:
    """Who writes: one thread of this process; it ends with the object."""

    __slots__ = ("__weakref__", "thread")

    def __init__(self) -> None:
        self.thread = threading.get_ident()


class WriteLock:
    """The turns of the store in the directory `path`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock_file: int | None = None
        self._turns: dict[int, weakref.ref[_Turn]] = {}
        self._stalled_until = 0.0

    @contextmanager
    def take(self, timeout: float) -> Iterator[None]:
        """Be the only writer of all processes; raises `Busy` if that takes longer than `timeout` seconds."""
        begun = time.monotonic()
        deadline = begun + timeout
        if timeout < _PATIENT and begun < self._stalled_until:
            deadline = begun  # somebody waited in vain a moment ago
        turn = _Turn()
        # a thread torn away between any two steps leaves no turn behind: it ends with its object
        ref = weakref.ref(turn, self._ended)
        pause, mine, alone = 20e-6, False, False
        try:
            while True:
                mine = mine or self._turns.setdefault(0, ref) is ref
                if mine and self._lock():
                    alone = True
                    break
                if not mine:
                    holder = self._turns.get(0)
                    other = holder() if holder is not None else None
                    if other is not None and other.thread == turn.thread:
                        raise Busy("this thread is writing already")
                if time.monotonic() >= deadline:
                    if mine:
                        self._stalled_until = time.monotonic() + STALL_SECONDS
                    raise Busy("the writers' lock of the store is held by another process")
                time.sleep(pause * (0.5 + random.random()))
                pause = min(2 * pause, 2e-3)
            self._stalled_until = 0.0
            yield
        finally:
            if alone:
                self._unlock()
            self._ended(ref)

    def _ended(self, ref: weakref.ref[_Turn]) -> None:
        if self._turns.get(0) is ref:
            del self._turns[0]

    def _lock(self) -> bool:
        """Take the lock between processes, if nobody has it; the kernel frees it with the process."""
        path = os.path.join(self._path, "lock")
        for _ in range(_TRIES):
            if self._lock_file is None:
                make_directory(self._path)
                try:
                    self._lock_file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                except OSError as error:
                    raise unusable(self._path, error) from None
            try:
                # of the process, not of the file handle: a forked child neither has it nor keeps it
                fcntl.lockf(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise unusable(self._path, error) from None
                return False
            try:
                there, ours = os.stat(path), os.fstat(self._lock_file)
                if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
                    return True
            except OSError:
                pass
            # the directory was removed or replaced: this is the lock of nothing
            os.close(self._lock_file)
            self._lock_file = None
        return False

    def _unlock(self) -> None:
        if self._lock_file is not None:
            fcntl.lockf(self._lock_file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the lock file; in a forked child too, which closes only its own copy."""
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None
