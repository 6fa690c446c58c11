"""What a figure is of: how it is written, which way is better, and how it compares with the base's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Unit:
    """A kind of figure. `as_difference` compares by subtraction (points of a hit ratio), otherwise by division."""

    name: str
    spell: Callable[[float], str]
    more_is_better: bool = False
    as_difference: bool = False

    def compare(self, mine: float, base: float) -> float:
        """Return what stands in the column "ratio": 1 (or 0, of differences) is the base."""
        if self.as_difference:
            return mine - base
        if base == 0:
            return 1.0 if mine == 0 else float("inf")
        return mine / base

    def spell_ratio(self, ratio: float) -> str:
        """Write a comparison."""
        if self.as_difference:
            return f"{ratio:+.2f}"
        return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.2f}"


def spell_seconds(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.2f} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def _count(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:.2f}"


def _rate(number: float) -> str:
    return f"{number / 1e6:.2f} M/s" if number >= 1e6 else f"{number / 1e3:.0f} k/s"


SECONDS = Unit("seconds", spell_seconds)
COUNT = Unit("count", _count)
BYTES = Unit("bytes", lambda number: f"{number:,.0f} B")
PERCENT = Unit("percent", lambda number: f"{number:.2f} %", more_is_better=True, as_difference=True)
RATE = Unit("operations a second", _rate, more_is_better=True)
SPEED = Unit("bytes a second", lambda number: f"{number / 1e9:.2f} GB/s", more_is_better=True)

UNITS = {unit.name: unit for unit in (SECONDS, COUNT, BYTES, PERCENT, RATE, SPEED)}
