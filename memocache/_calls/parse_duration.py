"""Durations as people write them (``"1h30m"``, numbers, `timedelta`), as seconds.

A duration that makes no sense is refused with `ValueError`. Texts for people are `memocache._runtime.humanize`'s.
"""

from __future__ import annotations

import math
import re
from datetime import timedelta

_UNITS = {"w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_TEXT = re.compile("".join(rf"(?:(?P<{unit}>[0-9]+(?:\.[0-9]+)?){unit}(?![a-z]))?" for unit in _UNITS))
_LONGEST = timedelta.max.total_seconds()
"""2.7 million years: a bound only so that every duration survives as whole milliseconds in a server's 64 bits."""
_FORMS = 'more than 0 seconds as int or float, a timedelta, or a text such as "500ms", "90s", "5m", "1h30m", "7d", "2w"'


def seconds(value: object, name: str = "ttl", *, show: bool = True) -> float:
    """Return `value` as seconds: finite and more than 0.

    `value` is an int or float of seconds, a `timedelta`, or a text of numbers with the units w, d, h, m, s and ms,
    from large to small, each at most once (``"1h30m"``, ``"1.5s"``). Anything else raises `ValueError` (a bool, 0, a
    negative number, NaN, infinity, what is beyond `timedelta.max`), and the message names the parameter `name`.
    With ``show=False`` the message does not repeat `value`: for durations that a user's function returned, which may
    be anything. "Never expires" is ``None``, which the caller handles before calling.
    """
    result = _convert(value)
    if 0 < result <= _LONGEST:
        return result
    simple = isinstance(value, int | float | str | timedelta) and not _huge(value)
    culprit = repr(value) if show and simple else f"this {type(value).__name__}"
    raise ValueError(f"{name}: {culprit} is not a duration; give {_FORMS}")


def _convert(value: object) -> float:
    """Return seconds, or NaN for what is no duration at all."""
    match value:
        case bool():
            return math.nan
        case int() | float():
            try:
                return float(value)
            except OverflowError:
                return math.inf
        case timedelta():
            return value.total_seconds()
        case str() if found := _TEXT.fullmatch(value):
            return sum(float(number) * _UNITS[unit] for unit, number in found.groupdict().items() if number)
        case _:
            return math.nan


def _huge(value: int | float | str | timedelta) -> bool:
    """Whether the repr would be a wall of text (or, for a very long int, an error)."""
    return len(value) > 40 if isinstance(value, str) else isinstance(value, int) and abs(value) > 10**40
