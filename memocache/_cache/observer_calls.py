"""`Reports`: what the parts of a cache tell its observers and count when something happened beside a call.

It knows observers and tier, and not the cache, which can so be collected while its parts are at work.
"""

from __future__ import annotations

from collections.abc import Sequence

from memocache._runtime import events
from memocache._stores.memory.tier import LocalTier
from memocache.typing import Observer


class Reports:
    """Tells observers; a trouble of theirs is not the caller's."""

    def __init__(self, observers: Sequence[Observer], tier: LocalTier) -> None:
        self._observers = tuple(observers)
        self._tier = tier

    def emit(self, event: events.Event) -> None:
        """Tell every observer of an event."""
        for observer in self._observers:
            try:
                observer(event)
            except Exception:
                pass

    def on_fault(self, operation: str, error: str, cause: str) -> None:
        """The backend failed."""
        if self._observers:
            self.emit(events.BackendFault(None, operation, error, cause))

    def on_asked(self, kind: str, seconds: float, error: str | None) -> None:
        """Something was asked of the backend; there are observers."""
        self.emit(events.Asked(None, kind, seconds, error))

    def on_evict(self, name: str, cause: str) -> None:
        """An entry of the process had to go."""
        self.emit(events.Evicted(name or None, cause))

    def on_decode_error(self, name: str) -> None:
        """An entry of a function could not be read."""
        for table in self._tier.tables(name):
            table.counters.add(decode_errors=1)
            break
