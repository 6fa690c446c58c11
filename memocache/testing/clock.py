"""A clock that stands still until a test moves it.

Give it to ``Cache(clock=…)``. It moves for all threads at once, and never by itself.
"""

from __future__ import annotations

import threading


class FakeClock:
    """A clock for ``Cache(clock=…)`` that stands still until `advance`; safe for threads.

    `epoch` is where `time` begins, in epoch seconds; `monotonic` begins at 1,000 seconds.
    """

    def __init__(self, epoch: float = 1_800_000_000.0) -> None:
        self._lock = threading.Lock()
        self._epoch = epoch
        self._elapsed = 0.0

    def time(self) -> float:
        """Return epoch seconds."""
        return self._epoch + self._elapsed

    def monotonic(self) -> float:
        """Return seconds that only grow."""
        return 1_000.0 + self._elapsed

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass; raises ValueError for a negative number, since no clock runs backwards."""
        if seconds < 0:
            raise ValueError("a clock does not run backwards")
        with self._lock:
            self._elapsed += seconds
