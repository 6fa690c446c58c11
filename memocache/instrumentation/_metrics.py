"""The figures that exporters export: each with its name, its unit and a sentence about it.

Prometheus and OpenTelemetry read the same table, so a new figure is one line here. It knows neither of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple

from memocache.exceptions import ConfigurationError
from memocache.stats import CacheStats, FunctionStats

if TYPE_CHECKING:
    from memocache import Cache


class Figure(NamedTuple):
    """A counter of `FunctionStats`; `unit` as OpenTelemetry writes units."""

    name: str
    unit: str
    about: str

    def of(self, stats: FunctionStats) -> float:
        """Its value."""
        return float(getattr(stats, self.name))


FIGURES = (
    Figure("hits", "{call}", "Calls that were served from the cache, stale ones included."),
    Figure("misses", "{call}", "Calls that were not, coalesced ones included."),
    Figure("stale_hits", "{call}", "Calls that were served a stale value."),
    Figure("coalesced", "{call}", "Misses that shared another caller's computation."),
    Figure("stores", "{outcome}", "Outcomes that were stored."),
    Figure("rejected", "{outcome}", "Outcomes that could not be stored."),
    Figure("backend_errors", "{error}", "Failures of the backend that calls met with."),
    Figure("decode_errors", "{entry}", "Stored entries that could not be read."),
    Figure("compute_seconds", "s", "Time the functions ran."),
)

OPERATIONS = "Time of questions to the backend by kind: get, set, delete, expire, flush, invalidate or scan."

SECONDS = (0.00001, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0)
"""Upper bounds of histogram buckets, from a hit in the process to a long computation."""


def named_tenants(cache: Cache, tenants: Iterable[str]) -> tuple[str, ...]:
    """The tenants to export: those that were named, for a label must not take whatever value a customer has.

    Raises `ConfigurationError` where they do not go with the cache.
    """
    names = (tenants,) if isinstance(tenants, str) else tuple(tenants)
    if (cache._tenants is not None) != bool(names):
        raise ConfigurationError(
            "tenants= names the tenants whose figures are exported, of a cache with tenants=True, and of no other"
        )
    for name in names:
        cache.tenant(name)  # raises for what is no name
    return names


def stats_by_labels(
    cache: Cache, scope: Literal["process", "fleet"], tenants: tuple[str, ...]
) -> list[tuple[list[str], CacheStats]]:
    """The figures of each tenant with its label; of a cache without tenants, its own without one. Raises
    `BackendError`.
    """
    if not tenants:
        return [([], cache.stats(scope, entries=False))]
    found: list[tuple[list[str], CacheStats]] = []
    for name in tenants:
        with cache.tenant(name):
            found.append(([name], cache.stats(scope, entries=False)))
    return found
