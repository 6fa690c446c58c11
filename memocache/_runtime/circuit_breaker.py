"""Circuit breaker: when to leave a failing backend alone. Pure policy; `now` is passed in, in seconds.

A timeout opens it at once (each one cost its caller the whole budget), other failures by their rate over a window.
While it is open nobody is let through; one probe at a time, in the background, decides when it closes.
Source: Nygard, "Release It!", 2nd ed., Circuit Breaker; half-open by probe rather than by a caller's request.
"""

from __future__ import annotations

from collections import deque

WINDOW_SECONDS = 10.0
WINDOW_CALLS = 20
MIN_FAILURES = 5
FAILURE_SHARE = 0.5
PROBE_AFTER = 0.4
STALL_EVERY = 1.0


class Breaker:
    """Closed (calls pass) or open (they do not)."""

    __slots__ = ("_stalled_at", "open", "outcomes")

    def __init__(self) -> None:
        self.open = False
        # one and the same object throughout, and empty while nothing fails
        self.outcomes: deque[tuple[float, bool]] = deque(maxlen=WINDOW_CALLS)
        self._stalled_at = float("-inf")

    def succeeded(self, now: float) -> None:
        """A call was answered."""
        if self.outcomes:  # nothing to weigh against while nothing fails
            self.outcomes.append((now, True))

    def failed(self, now: float, *, timeout: bool) -> bool:
        """A call failed; return whether this opened the breaker."""
        self.outcomes.append((now, False))
        if self.open:
            return False
        # a copy, made in one step: other threads report meanwhile
        recent = [ok for at, ok in list(self.outcomes) if now - at <= WINDOW_SECONDS]
        failures = recent.count(False)
        if timeout:
            self._stalled_at = now
        elif failures < MIN_FAILURES or failures < FAILURE_SHARE * len(recent):
            return False
        self.open = True
        return True

    def closed(self) -> None:
        """A probe was answered."""
        self.open = False
        self.outcomes.clear()

    def probe_in(self, now: float, draw: float) -> float:
        """Seconds until the next probe, jittered by `draw` in [0, 1); callers stall at most once a second."""
        pause = PROBE_AFTER * (0.75 + 0.5 * draw)
        return max(pause, self._stalled_at + STALL_EVERY - now)
