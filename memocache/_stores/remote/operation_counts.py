"""What is asked of a backend, counted and timed by kind.

A kind is what an operation is about, in words of people who run caches; the backend's own protocol has fewer. What the
cache asks to know itself (pings, figures, names) has none. Counting is as exact, and as free of locks, as in
`memocache.stats.Counters`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from memocache.stats import BUCKETS, Histogram, OperationStats

KINDS: Final = ("get", "set", "delete", "expire", "flush", "invalidate", "scan")
KIND_OF: Final = {"read": "get", "transact": "set", "delete": "delete", "prolong": "expire", "scan": "scan"}
"""The kind of each operation of a backend, unless who asks knows better."""


class OperationCounter:
    """How often one kind was asked, how often in vain, and how long that took, in this process."""

    __slots__ = ("errors", "seconds", "times")

    def __init__(self) -> None:
        self.errors = 0
        self.seconds = 0.0
        self.times = [0] * BUCKETS
        """Counts by `bucket`, failures included."""

    def add(self, seconds: float) -> None:
        """Count one that took so long."""
        # `bucket` written out: hits come here
        index = int(seconds * 1e6).bit_length()
        self.times[index if index < BUCKETS else -1] += 1
        self.seconds += seconds


class OperationCounts:
    """The counters of every kind."""

    __slots__ = ("by_kind", "gets")

    def __init__(self) -> None:
        self.by_kind = {kind: OperationCounter() for kind in KINDS}
        self.gets = self.by_kind["get"]
        """The counter that hits come to."""

    def read(self) -> dict[str, int]:
        """What was counted, by texts that `operation_stats` understands, without what is 0."""
        flat: dict[str, int] = {}
        for kind, one in self.by_kind.items():
            flat |= {f"{kind}:{index}": count for index, count in enumerate(one.times) if count}
            flat |= {f"{kind}:errors": one.errors, f"{kind}:us": int(one.seconds * 1e6)}
        return {name: amount for name, amount in flat.items() if amount}


def operation_stats(flat: Mapping[str, int]) -> dict[str, OperationStats]:
    """Every kind's figures, of what `OperationCounts.read` gave."""
    made = {}
    for kind in KINDS:
        histogram = Histogram(tuple(max(0, flat.get(f"{kind}:{index}", 0)) for index in range(BUCKETS)))
        errors, seconds = flat.get(f"{kind}:errors", 0), flat.get(f"{kind}:us", 0) / 1e6
        made[kind] = OperationStats(histogram.total, errors, seconds, histogram)
    return made
