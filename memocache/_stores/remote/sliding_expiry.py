"""Sliding expiry in a backend (`idle=`): reads are noted, and a daemon thread prolongs in batches what was read.

The backend's own ttl of such an entry is `idle` and a bit more: `lateness`, within which a read's note arrives. So a
read is no write, a hit stays one round trip, and an entry that is read in time is never gone before its note. The
envelope's own times bound its life in any case.
"""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from typing import Final

from memocache._runtime.budget import DIRECT_SECONDS, Budget
from memocache._stores.remote.guard import BackendGuard
from memocache.exceptions import BackendError

_LAST_SECONDS = 0.3
_REST_SECONDS = 10.0
_MOST_ENTRIES: Final = 20_000
"""Entries whose prolonging waits while the backend does not answer; more are left to expire."""


def lateness(idle: float) -> float:
    """By how many seconds an entry that may stand unread for `idle` may outlive that."""
    return min(idle / 4, 1.0)


class Prolonger:
    """The entries that were read and are to be prolonged, each once a batch."""

    def __init__(self, guard: BackendGuard) -> None:
        self._guard = guard
        self._reset()
        _prolongers.add(self)

    def _reset(self) -> None:
        self._read: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._pause = 1.0

    def note(self, entry: str, idle: float, left: float) -> None:
        """The entry of this key, which has `left` seconds to live at most, was read now."""
        self._read[entry] = idle, time.monotonic() + left
        soon = lateness(idle) / 2
        if soon < self._pause:
            self._pause = soon
            self._wake.set()
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="memocache-idle", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # at exit, or no thread to be had: entries expire as if nobody had read them
                    self._thread = None

    def _work(self) -> None:
        rested = time.monotonic()
        while True:
            if self._wake.wait(self._pause):
                self._wake.clear()
                time.sleep(self._pause)  # a shorter pause than before begins now
            if self.flush():
                rested = time.monotonic()
            elif time.monotonic() - rested > _REST_SECONDS:
                with self._lock:
                    self._thread, self._pause = None, 1.0
                if self._read:  # noted while this thread was still believed to be there
                    self._start()
                return

    def flush(self, seconds: float = DIRECT_SECONDS) -> bool:
        """Prolong what was read; whether there was anything. What cannot be sent waits for the next time."""
        read, self._read = self._read, {}
        now = time.monotonic()
        lives = {entry: min(idle + lateness(idle), until - now) for entry, (idle, until) in read.items() if until > now}
        if not lives:
            return False
        milliseconds = [(entry, max(1, int(life * 1000))) for entry, life in lives.items()]
        try:
            self._guard.io("prolong", milliseconds, budget=Budget(seconds)).blocking()
        except BackendError:  # counted by the guard
            for entry, noted in read.items():
                if len(self._read) < _MOST_ENTRIES:
                    self._read.setdefault(entry, noted)
        return True

    @property
    def pending(self) -> bool:
        """Whether anything was read that is not prolonged yet."""
        return bool(self._read)

    def rest(self) -> None:
        """Prolong what was read until now."""
        self.flush(_LAST_SECONDS)

    def after_fork(self) -> None:
        """In a child: what the parent read is the parent's to prolong."""
        self._reset()


_prolongers: weakref.WeakSet[Prolonger] = weakref.WeakSet()


def _at_exit() -> None:
    for prolonger in list(_prolongers):
        try:
            prolonger.rest()
        except Exception:
            pass  # at exit there is nobody to tell


atexit.register(_at_exit)
