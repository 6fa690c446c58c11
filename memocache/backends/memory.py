"""`MemoryBackend`: the reference backend, a dict under a lock.

Not what ``memory://`` uses (that tier holds objects): this one holds bytes, so that two caches given the same
`MemoryBackend` behave as two processes that share a server. It is what tests of anything above a backend run on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from memocache.backends.base import BaseBackend, holds, with_member
from memocache.typing import BackendFacts, Guard, Put

_PAGE = 1000


class _Cell(NamedTuple):
    value: bytes
    dies: float | None


class MemoryBackend(BaseBackend):
    """Bytes in this process, shared by everything that holds this object; `monotonic` is seconds that only grow."""

    shared = True
    blocks = False

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        # Reentrant, so that a signal handler that uses the cache cannot deadlock its own thread.
        self._lock = threading.RLock()
        self._cells: dict[str, _Cell] = {}
        self._sweep_at = _PAGE
        self._expired = 0
        self._wakes: dict[str, list[Callable[[], None]]] = {}

    def read(self, keys: Sequence[str], *, timeout: float | None = None) -> list[bytes | None]:
        """Return the values of `keys` in their order, None for what is absent or expired."""
        with self._lock:
            return [self._get(key) for key in keys]

    def transact(
        self,
        guards: Sequence[Guard],
        puts: Sequence[Put] = (),
        deletes: Sequence[str] = (),
        *,
        members: Sequence[tuple[str, str]] = (),
        publish: str | None = None,
        timeout: float | None = None,
    ) -> list[bytes | None] | None:
        """Apply all writes at once if every guard holds and return None; else return the guards' values."""
        with self._lock:
            found = [self._get(guard.key) for guard in guards]
            if not all(map(holds, guards, found)):
                return found
            now = self._monotonic()
            for put in puts:
                dies = None if put.ttl_ms is None else now + put.ttl_ms / 1000
                self._cells[put.key] = _Cell(bytes(put.value), dies)
            for key in deletes:
                self._cells.pop(key, None)
            for key, member in members:
                self._cells[key] = _Cell(with_member(self._get(key), member), None)
            if len(self._cells) > self._sweep_at:
                self._sweep()
            channels = publish.split("\n") if publish is not None else ()
            wakes = [wake for channel in channels for wake in self._wakes.get(channel, ())]
        for wake in wakes:
            wake()
        return None

    def delete(self, keys: Sequence[str], *, timeout: float | None = None) -> int:
        """Remove `keys` and return how many of them were there."""
        with self._lock:
            there = {key for key in keys if self._get(key) is not None}
            for key in there:
                del self._cells[key]
            return len(there)

    def prolong(self, lives: Sequence[tuple[str, int]], *, timeout: float | None = None) -> None:
        """Let each of these keys that is there live for so many milliseconds from now."""
        with self._lock:
            now = self._monotonic()
            for key, ttl_ms in lives:
                value = self._get(key)
                if value is not None:
                    self._cells[key] = _Cell(value, now + ttl_ms / 1000)

    def scan(self, prefix: str, cursor: Any = None, *, timeout: float | None = None) -> tuple[Any, list[str]]:
        """Return up to 1,000 keys in order; the cursor is the last one."""
        with self._lock:
            names = sorted(key for key in self._cells if key.startswith(prefix) and (cursor is None or key > cursor))
            page = names[:_PAGE]
            cursor = page[-1] if len(names) > _PAGE else None
            return cursor, [key for key in page if self._get(key) is not None]

    def subscribe(self, channel: str, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake`, in the thread that published, after each publish on `channel`, until told to stop."""
        with self._lock:
            self._wakes.setdefault(channel, []).append(wake)

        def stop() -> None:
            with self._lock:
                wakes = self._wakes.get(channel, [])
                if wake in wakes:
                    wakes.remove(wake)
                if not wakes:
                    self._wakes.pop(channel, None)

        return stop

    def facts(self, *, timeout: float | None = None) -> BackendFacts:
        """Return the bytes of keys and values (without Python's own overhead), and the expiries noticed so far."""
        with self._lock:
            size = sum(len(key) + len(cell.value) for key, cell in self._cells.items())
            return BackendFacts("memory", memory_bytes=size, expired=self._expired, evicted=0)

    def close(self) -> None:
        """Do nothing: what others share stays."""

    def _get(self, key: str) -> bytes | None:
        cell = self._cells.get(key)
        if cell is None:
            return None
        if cell.dies is not None and cell.dies <= self._monotonic():
            del self._cells[key]
            self._expired += 1
            return None
        return cell.value

    def _sweep(self) -> None:
        """Drop what expired unread; done each time the table doubles, so its cost stays constant per write."""
        for key in list(self._cells):
            self._get(key)
        self._sweep_at = max(_PAGE, 2 * len(self._cells))
