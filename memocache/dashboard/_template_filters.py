"""How figures, names and lines are shown: the filters of the templates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from memocache._runtime.humanize import duration, size
from memocache.stats import Histogram

COLUMNS = ("number", "at", "calls", "hit_rate", "saved", "memory", "evicted", "faults")
LONGEST = 160


def count(number: float | None) -> str:
    """A number in at most five characters."""
    if number is None:
        return "-"
    for unit, of in (("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if abs(number) >= of:
            return f"{number / (1e3 if unit == 'k' else of):.1f}{unit}"
    return f"{number:,.0f}" if number == int(number) or abs(number) >= 100 else f"{number:.1f}"


def percentage(part: float | None) -> str:
    """A share from 0 to 1 as a percentage."""
    return "-" if part is None else f"{part:.1%}"


def rate(one: Any) -> float | None:
    """The hit rate of a function's figures, None without calls."""
    calls = one.hits + one.misses
    return one.hits / calls if calls else None


def ago(seconds: float) -> str:
    """How long ago something was, in words."""
    return "now" if seconds < 3 else f"{duration(seconds).replace('.0 ', ' ')} ago"


def moment(at: float | None) -> str:
    """Epoch seconds as a time in UTC."""
    if at is None:
        return "never"
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return "never"


def shorten(text: str) -> str:
    """A name or key, printable and of a length that a page bears."""
    shown = "".join(c if c.isprintable() else "�" for c in text[: LONGEST + 1])
    return shown[:LONGEST] + "…" if len(text) > LONGEST else shown


def line(values: Sequence[float | None], width: int = 120, height: int = 28) -> str:
    """The points of an SVG polyline through `values`; gaps are left out."""
    known = [(at, value) for at, value in enumerate(values) if value is not None]
    if len(known) < 2:
        return ""
    top = max(value for _, value in known) or 1.0
    step = width / (len(values) - 1)
    return " ".join(f"{at * step:.1f},{height - 1 - value / top * (height - 2):.1f}" for at, value in known)


class Bar(NamedTuple):
    """One bucket of a histogram: how many, its height as a share of the highest, and its ends in seconds."""

    number: int
    height: float
    low: float
    high: float


def bars(histogram: Histogram) -> list[Bar]:
    """The buckets from the first to the last that holds anything."""
    held = [at for at, count in enumerate(histogram.counts) if count]
    if not held:
        return []
    highest, lows = max(histogram.counts), (0.0, *histogram.bounds)
    return [
        Bar(count, count / highest, lows[at], histogram.bounds[at])
        for at, count in enumerate(histogram.counts)
        if held[0] <= at <= held[-1]
    ]


FILTERS: dict[str, Callable[..., Any]] = {
    "ago": ago,
    "bars": bars,
    "before": str.removesuffix,
    "count": count,
    "line": line,
    "moment": moment,
    "rate": rate,
    "seconds": duration,
    "share": percentage,
    "shorten": shorten,
    "size": size,
}
