"""What one process has counted, by function name, and how much of it is new since some moment.

The counters of a function's decorations are added up under its name; "" stands for plain keys, and carries what left
the process. Pure reading: nothing here sends, and nothing changes a counter.
"""

from __future__ import annotations

from memocache._stores.memory.tier import LocalTier
from memocache.stats import added

_KEPT = (
    "stores",
    "hits",
    "misses",
    "stale_hits",
    "coalesced",
    "rejected",
    "backend_errors",
    "decode_errors",
    "computations",
)


def counts_of(tier: LocalTier) -> dict[str, dict[str, int]]:
    """What this process has counted, by function name; plain keys are "", and with them what left the process."""
    totals = {"": {"expired": tier.expired, "evicted": tier.evicted}}
    seconds: dict[str, float] = {}
    for table in tier.tables():
        counted = tier.counted(table)
        total = totals.setdefault(table.name, {})
        for key in _KEPT:
            total[key] = total.get(key, 0) + int(counted[key])
        seconds[table.name] = seconds.get(table.name, 0.0) + counted["compute_seconds"]
        total["compute_us"] = int(seconds[table.name] * 1e6)
    return totals


def details_of(tier: LocalTier) -> dict[str, dict[str, int]]:
    """Times and causes that this process has counted, by function name."""
    totals: dict[str, dict[str, int]] = {}
    for table in tier.tables():
        if table.name:
            more, total = table.counters.read_details(), totals.get(table.name)
            totals[table.name] = more if total is None else added(total, more)
    return totals


def deltas_of(now: dict[str, dict[str, int]], before: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """What came to each function's counters since `before`; without what did not change."""
    deltas = {}
    for name, counts in now.items():
        then = before.get(name, {})
        if counts is not then and counts != then:
            delta = {key: counts.get(key, 0) - then.get(key, 0) for key in {**then, **counts}}
            deltas[name] = {key: amount for key, amount in delta.items() if amount}
    return {name: delta for name, delta in deltas.items() if delta}
