"""Prometheus metrics (extra ``prometheus``).

::

    observer = PrometheusObserver()                    # latency histograms; leave it out and hits cost nothing more
    cache = configure("redis://…", observers=[observer])
    REGISTRY.register(PrometheusCollector(cache))      # counters, read when scraped
    REGISTRY.register(PrometheusCollector(cache, scope="fleet"))

Names follow Prometheus' conventions: base units, ``_total`` for counters. Labels are function names, never arguments.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from memocache.exceptions import BackendError
from memocache.instrumentation import BackendFault, Computed, Event, Hit, Miss, Rejected, StaleHit
from memocache.instrumentation._metrics import FIGURES, OPERATIONS, SECONDS
from memocache.stats import CacheStats

if TYPE_CHECKING:
    from memocache import Cache


class PrometheusCollector(Collector):
    """The counters of a cache, of this process (``memocache_…``) or of the fleet (``memocache_fleet_…``).

    A scrape of the fleet costs the backend the registry of names and one read of all counters. While the backend
    cannot be reached ``memocache_fleet_up`` is 0 and the other fleet metrics are left out.
    """

    def __init__(self, cache: Cache, *, scope: Literal["process", "fleet"] = "process") -> None:
        self._cache = cache
        self._scope: Literal["process", "fleet"] = scope
        self._start = "memocache_fleet_" if scope == "fleet" else "memocache_"

    def describe(self) -> Iterator[Metric]:
        """Nothing: a registry would otherwise collect once to learn the names."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """One family for each figure, labelled by function, and the operations on the backend."""
        try:
            stats = self._cache.stats(self._scope, entries=False)
        except BackendError:
            if self._scope == "fleet":
                yield self._gauge("up", "Whether the backend could be asked.", 0)
            return
        if self._scope == "fleet":
            yield self._gauge("up", "Whether the backend could be asked.", 1)
        for figure in FIGURES:
            family = CounterMetricFamily(self._start + figure.name, figure.about, labels=["function"])
            for name, one in stats.functions.items():
                family.add_metric([name], figure.of(one))
            yield family
        yield from self._operations(stats)
        yield CounterMetricFamily(self._start + "expired_keys", "Entries dropped past their ttl.", stats.expired_keys)
        yield CounterMetricFamily(self._start + "evicted_keys", "Entries dropped for space.", stats.evicted_keys)
        if stats.memory_usage_bytes is not None:
            about = "Memory of the entries, or of the whole server where there is one."
            yield self._gauge("memory_bytes", about, stats.memory_usage_bytes)

    def _operations(self, stats: CacheStats) -> Iterator[Metric]:
        times = HistogramMetricFamily(self._start + "operation_seconds", OPERATIONS, labels=["operation"])
        errors = CounterMetricFamily(
            self._start + "operation_errors", "Questions to the backend that failed.", labels=["operation"]
        )
        for kind, one in stats.operations.items():
            ends = [f"{bound:g}" for bound in one.histogram.bounds[:-1]] + ["+Inf"]
            reached = accumulate(one.histogram.counts)
            times.add_metric([kind], [*zip(ends, map(float, reached), strict=True)], one.seconds)
            errors.add_metric([kind], one.errors)
        yield times
        yield errors

    def _gauge(self, name: str, about: str, value: float) -> GaugeMetricFamily:
        return GaugeMetricFamily(self._start + name, about, value)


class PrometheusObserver:
    """Histograms of call and computation times, and counters of faults, made of a cache's events.

    With any observer, hits in the process leave the compiled fast path: a few microseconds each.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._calls = Histogram(
            "memocache_call_seconds",
            "Time of calls by outcome: hit, stale_hit or miss.",
            ["function", "outcome"],
            buckets=SECONDS,
            registry=registry,
        )
        self._computations = Histogram(
            "memocache_computation_seconds",
            "Time the function itself ran, by whether it returned.",
            ["function", "ok"],
            buckets=SECONDS,
            registry=registry,
        )
        self._faults = Counter(
            "memocache_backend_faults",
            "Requests to the backend that failed.",
            ["operation", "error"],
            registry=registry,
        )
        self._rejected = Counter(
            "memocache_rejections", "Outcomes that were not stored, by cause.", ["function", "cause"], registry=registry
        )

    def __call__(self, event: Event) -> None:
        """Take in one event."""
        function = event.function or ""
        match event:
            case Hit(seconds=seconds) | StaleHit(seconds=seconds) | Miss(seconds=seconds):
                if seconds is not None:
                    self._calls.labels(function, _OUTCOMES[type(event)]).observe(seconds)
            case Computed(seconds=seconds, ok=ok):
                self._computations.labels(function, str(ok).lower()).observe(seconds)
            case BackendFault(operation=operation, error=error):
                self._faults.labels(operation, error).inc()
            case Rejected(cause=cause):
                self._rejected.labels(function, cause).inc()


_OUTCOMES: dict[type[Event], str] = {Hit: "hit", StaleHit: "stale_hit", Miss: "miss"}
