"""Circuit breaker: decides when a failing backend is left alone, and when it is used again.

A timeout opens the breaker at once, because it cost its caller the whole budget. Other failures open it by their rate
over a window. While it is open no call is let through, and one probe at a time decides when it closes (promise 5.3).
It is pure policy: `now` is passed in, in seconds, and it knows neither the backend nor the probe.
Source: Nygard, "Release It!", 2nd ed., Circuit Breaker. There a caller's request half-opens it; here a probe does.
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
