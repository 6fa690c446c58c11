"""`CacheStatus`: how the cache handled one call, in the words of RFC 9211 (the HTTP ``Cache-Status`` header)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Forward = Literal["miss", "stale", "bypass"]


@dataclass(frozen=True, slots=True)
class CacheStatus:
    """How the cache handled one call; ``str()`` is the value of a ``Cache-Status`` header."""

    hit: bool
    """Whether the value came from the cache, a stale one too; never true where `fwd` says something."""
    fwd: Forward | None = None
    """Why the function was asked: nothing was there, what was there had expired, or caching was disabled."""
    collapsed: bool = False
    """Whether somebody else's computation was shared, in this process or another."""
    stored: bool = False
    """Whether the value was stored."""
    ttl: float | None = None
    """Seconds for which the value stays fresh: negative for a stale one, infinite if it never expires, None if it is
    not in the cache."""
    key: str | None = None
    """The key as the backend sees it (``f.key_for``); None for many calls, and for a call that caching was off for."""

    def __str__(self) -> str:
        # no key: it is a digest of arguments, from which a reader of the header could guess them (promise 2.5)
        parts = ["memocache"]
        if self.hit:
            parts.append("hit")
        if self.fwd is not None:
            parts.append(f"fwd={self.fwd}")
        if self.stored:
            parts.append("stored")
        if self.collapsed:
            parts.append("collapsed")
        if self.ttl is not None and abs(self.ttl) < _MOST_SECONDS:
            parts.append(f"ttl={math.floor(self.ttl)}")
        return "; ".join(parts)


_MOST_SECONDS = 1e15
"""From here on a number is no integer of a structured field (RFC 8941, section 3.3.1)."""
BYPASS = CacheStatus(False, "bypass")


def summary(statuses: Sequence[CacheStatus]) -> CacheStatus:
    """The status of many calls as one: a hit if all are, the rest if any is, and the least ttl."""
    forwards = {status.fwd for status in statuses}
    ttls = [status.ttl for status in statuses if status.ttl is not None]
    ways: tuple[Forward, ...] = ("bypass", "miss", "stale")
    return CacheStatus(
        all(status.hit for status in statuses),
        next((way for way in ways if way in forwards), None),
        any(status.collapsed for status in statuses),
        any(status.stored for status in statuses),
        min(ttls, default=None),
    )
