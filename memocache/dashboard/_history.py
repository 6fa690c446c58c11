"""What the poller saw over the last week, in bounded buffers: rates between two looks, finer the newer. Pure; `now` is
passed in.

The last hour is kept as it was looked at, a day by the minute, and a week by ten minutes. `texts` and `restore` turn
the two long ones into texts for the backend and back, so that they outlive the process.

Counters of a fleet only grow, but for `cache_clear`, which zeroes a function's: a fall reads as nothing happened.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from memocache.stats import CacheStats, FunctionStats

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
POINTS: Final = 1800
"""Points kept of the totals as they were looked at: an hour of looks, one every 2 s."""
FUNCTION_POINTS: Final = 60
"""Points kept of each function: one a minute."""
MAX_FUNCTIONS: Final = 2000
"""Functions that have spark lines; the most called ones where there are more."""
_LONGEST_TEXT: Final = 65_536
"""Bytes of a text that is read back, at most."""
_LARGEST: Final = 1e18


class Range(NamedTuple):
    """A span that can be shown: its name, its seconds, and how it is called."""

    name: str
    seconds: float
    words: str


RANGES: Final = {
    one.name: one
    for one in (
        Range("15m", 900.0, "15 minutes"),
        Range("1h", HOUR, "hour"),
        Range("24h", DAY, "24 hours"),
        Range("7d", 7 * DAY, "7 days"),
    )
}


class Point(NamedTuple):
    """What happened between two looks, per second; None where the backend did not answer. Points that were there when
    this process began, and those of a coarser line before the first of this one, have the number 0.
    """

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

    hits: float = 0
    misses: float = 0
    saved: float = 0.0
    evicted: float = 0
    faults: float = 0


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


class Line:
    """Points that are at least `step` seconds apart, so many at most; the oldest goes first."""

    def __init__(self, step: float, most: int) -> None:
        self._step = step
        self.points: deque[Point] = deque(maxlen=most)
        self._number = 0
        self._begun: tuple[float, Totals] | None = None

    def seen(self, grown: Totals, memory: int | None, now: float) -> bool:
        """So much has happened up to `now`; whether that made a point."""
        if self._begun is None:
            self._begun = now, grown
            return False
        at, before = self._begun
        seconds = now - at
        if seconds <= 0 or seconds < self._step:
            return False
        hits, misses, saved, evicted, faults = (new - old for new, old in zip(grown, before, strict=True))
        calls = hits + misses
        rate = hits / calls if calls else None
        self.add(now, calls / seconds, rate, saved / seconds, memory, evicted / seconds, faults / seconds)
        self._begun = now, grown
        return True

    def missed(self, now: float) -> None:
        """The backend did not answer at `now`: a gap, where it is as long as a step."""
        last = self.points[-1] if self.points else None
        since = self._begun[0] if self._begun is not None else last.at if last is not None else now - self._step
        if now - since >= self._step:
            self._begun = None  # the next difference would spread an outage's calls over one look
            self.add(now)

    def add(self, now: float, *figures: Any) -> None:
        """One more point."""
        self._number += 1
        self.points.append(Point(self._number, now, *figures))

    def put_before(self, points: Iterable[Point]) -> None:
        """Points from before this line began, and the gap up to it."""
        older = sorted(points, key=lambda point: point.at)
        if older:
            gap = Point(0, older[-1].at + max(self._step, 1.0))
            self.points = deque([*older, gap, *self.points], maxlen=self.points.maxlen)


class History:
    """Points of the totals, and a spark line of each function."""

    def __init__(self) -> None:
        self.looks = Line(0.0, POINTS)
        self.minutes = Line(MINUTE, int(DAY / MINUTE))
        self.tens = Line(10 * MINUTE, int(7 * DAY / (10 * MINUTE)))
        self._last: Totals | None = None
        self._grown = Totals()
        self._sparks: dict[str, deque[float]] = {}
        self._minute: tuple[float, dict[str, int]] | None = None

    def seen(self, stats: CacheStats, now: float) -> bool:
        """The backend answered at `now` (epoch seconds); whether `texts` would say something new."""
        what = totals(stats)
        if self._last is not None:
            growth = (max(0.0, new - old) for new, old in zip(what, self._last, strict=True))
            self._grown = Totals(*(old + more for old, more in zip(self._grown, growth, strict=True)))
        self._last = what
        new = [line.seen(self._grown, stats.memory_usage_bytes, now) for line in (self.looks, self.minutes, self.tens)]
        self._spark(stats.functions, now)
        return any(new[1:])

    def missed(self, now: float) -> None:
        """The backend did not answer at `now`."""
        for line in (self.looks, self.minutes, self.tens):
            line.missed(now)

    def since(self, number: int, now: float, span: str = "1h") -> list[Point]:
        """The points of a span (a name of `RANGES`) after the one of this number; 0: all of them, those from before
        this line began too.
        """
        seconds = RANGES[span].seconds
        line = self.tens if seconds > DAY else self.minutes if seconds > HOUR else self.looks
        points = [point for point in line.points if point.at > now - seconds]
        if number:
            return [point for point in points if point.number > number]
        first = points[0].at if points else now
        before = (
            [] if line is not self.looks else [one for one in self.minutes.points if now - seconds < one.at < first]
        )
        return [*(one._replace(number=0) for one in before), *points]

    def spark(self, name: str) -> list[float]:
        """Calls per second of a function, minute by minute, oldest first."""
        return list(self._sparks.get(name, ()))

    # -- outliving the process

    def texts(self, now: float) -> dict[str, bytes]:
        """The long lines' newest parts by name: two hours by the minute, two days by ten minutes.

        The one before is told again: the backend may have refused what was new at its end.
        """
        parts = (("m", self.minutes, HOUR), ("t", self.tens, DAY))
        return {
            f"{letter}:{at}": _text(one for one in line.points if one.at // span == at)
            for letter, line, span in parts
            for at in (int(now // span), int(now // span) - 1)
        }

    @staticmethod
    def names(now: float) -> list[str]:
        """The names of all texts that a span may reach into."""
        hour, day = int(now // HOUR), int(now // DAY)
        return [*(f"m:{hour - ago}" for ago in range(25)), *(f"t:{day - ago}" for ago in range(8))]

    def restore(self, texts: Mapping[str, bytes], now: float) -> None:
        """Take what stood in a backend; what cannot be read is passed over."""
        for line, letter in ((self.minutes, "m:"), (self.tens, "t:")):
            first = line.points[0].at if line.points else now
            found = (point for name, text in texts.items() if name.startswith(letter) for point in _points(text))
            line.put_before(point for point in found if now - 7 * DAY < point.at < first)

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


def _text(points: Iterable[Point]) -> bytes:
    rows = [[None if figure is None else round(figure, 4) for figure in point[1:]] for point in points]
    return json.dumps(rows, separators=(",", ":")).encode()


def _points(text: bytes) -> list[Point]:
    """The points in a text; none where it is not one of ours."""
    if len(text) > _LONGEST_TEXT:
        return []
    try:
        rows = json.loads(bytes(text))
        points = [Point(0, *row) for row in rows if len(row) == len(Point._fields) - 1]
    except (ValueError, TypeError, RecursionError):
        return []
    sound = all(
        isinstance(point.at, int | float)
        and all(one is None or (type(one) in (int, float) and -_LARGEST < one < _LARGEST) for one in point)
        for point in points
    )
    return points if sound and len(points) <= HOUR else []
