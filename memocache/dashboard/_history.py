"""The last hour in bounded ring buffers: what the poller saw, and the rates between two looks. Pure; `now` is
passed in.

Counters of a fleet only grow, but for `cache_clear`, which zeroes a function's: a fall reads as nothing happened.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from memocache.stats import CacheStats, FunctionStats

HOUR = 3600.0
POINTS = 1800
"""Points kept of the totals: an hour of looks, one every 2 s."""
FUNCTION_POINTS = 60
"""Points kept of each function: one a minute."""
MAX_FUNCTIONS = 2000
"""Functions that have spark lines; the most called ones where there are more."""


class Point(NamedTuple):
    """What happened between two looks, per second; None where the backend did not answer."""

    number: int
    at: float
    calls: float | None = None
    hit_rate: float | None = None
    saved: float | None = None
    memory: int | None = None
    evicted: float | None = None
    faults: float | None = None


class Totals(NamedTuple):
    """The growing counters of a fleet."""

    hits: int
    misses: int
    saved: float
    evicted: int
    faults: int


def totals(stats: CacheStats) -> Totals:
    """The counters whose growth is shown."""
    functions = stats.functions.values()
    return Totals(
        stats.hits,
        stats.misses,
        sum(one.saved_seconds for one in functions),
        stats.evicted_keys,
        sum(one.faults for one in functions),
    )


class History:
    """Points of the totals, and a spark line of each function."""

    def __init__(self) -> None:
        self.points: deque[Point] = deque(maxlen=POINTS)
        self._number = 0
        self._last: tuple[float, Totals] | None = None
        self._sparks: dict[str, deque[float]] = {}
        self._minute: tuple[float, dict[str, int]] | None = None

    def seen(self, stats: CacheStats, now: float) -> None:
        """The backend answered at `now` (epoch seconds)."""
        what = totals(stats)
        if self._last is not None and now > self._last[0]:
            before, last = self._last
            seconds = now - before
            hits, misses, saved, evicted, faults = (max(0.0, new - old) for new, old in zip(what, last, strict=True))
            calls = hits + misses
            self._add(
                now,
                calls=calls / seconds,
                hit_rate=hits / calls if calls else None,
                saved=saved / seconds,
                memory=stats.memory_usage_bytes,
                evicted=evicted / seconds,
                faults=faults / seconds,
            )
        self._last = now, what
        self._spark(stats.functions, now)

    def missed(self, now: float) -> None:
        """The backend did not answer at `now`."""
        self._last = None  # the next difference would spread an outage's calls over one look
        self._add(now)

    def since(self, number: int, now: float) -> list[Point]:
        """The points of the last hour after the one of this number."""
        return [point for point in self.points if point.number > number and point.at > now - HOUR]

    def spark(self, name: str) -> list[float]:
        """Calls per second of a function, minute by minute, oldest first."""
        return list(self._sparks.get(name, ()))

    def _add(
        self,
        now: float,
        calls: float | None = None,
        hit_rate: float | None = None,
        saved: float | None = None,
        memory: int | None = None,
        evicted: float | None = None,
        faults: float | None = None,
    ) -> None:
        self._number += 1
        self.points.append(Point(self._number, now, calls, hit_rate, saved, memory, evicted, faults))

    def _spark(self, functions: dict[str, FunctionStats], now: float) -> None:
        if self._minute is not None and now - self._minute[0] < HOUR / FUNCTION_POINTS:
            return
        kept = sorted(functions.values(), key=lambda one: one.hits + one.misses, reverse=True)[:MAX_FUNCTIONS]
        calls = {one.name: one.hits + one.misses for one in kept}
        if self._minute is not None:
            at, before = self._minute
            for name, count in calls.items():
                line = self._sparks.setdefault(name, deque(maxlen=FUNCTION_POINTS))
                line.append(max(0, count - before.get(name, count)) / (now - at))
        self._sparks = {name: line for name, line in self._sparks.items() if name in calls}
        self._minute = now, calls
