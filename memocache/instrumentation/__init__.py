"""Observers, and the events that they are called with.

An observer is a callable of one event: ``Cache(observers=[observer])``. The modules `logging`, `prometheus` and
`opentelemetry` have ready ones; the last two need the extras of their names. No event holds an argument, a key or a
value.
"""

from memocache._runtime.events import (
    Asked,
    BackendFault,
    Computed,
    Event,
    Evicted,
    Hit,
    Miss,
    Refreshed,
    Rejected,
    StaleHit,
    Stored,
)

__all__ = [
    "Asked", "BackendFault", "Computed", "Event", "Evicted", "Hit", "Miss", "Refreshed", "Rejected", "StaleHit",
    "Stored",
]  # fmt: skip
