"""Times, sizes and amounts as texts for people, in the unit that suits the amount.

The command line, the dashboard and log lines share them. Parsing is `memocache._calls.parse_duration`'s.
"""

from __future__ import annotations

import math
import re

_UNSHOWABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Controls (escape sequences begin with one), separators of lines, marks of direction, and what has no shape."""


def printable(text: str) -> str:
    """A text for a terminal or a log: what would move the cursor, turn the direction or end the line is spelled out."""
    return _UNSHOWABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def duration(seconds: float | None) -> str:
    """A time in the unit that suits it."""
    if seconds is None:
        return "-"
    if math.isinf(seconds):
        return "never"
    for unit, size in (("d", 86_400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(seconds) >= size:
            return f"{seconds / size:,.1f} {unit}"
    return "0 s" if seconds == 0 else f"{seconds * 1e9:,.0f} ns"


def size(count: float | None) -> str:
    """A number of bytes in the unit that suits it."""
    if count is None:
        return "-"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"


def amount(number: int, one: str, many: str = "") -> str:
    """A number of things: "1 hit", "2,000 hits"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
