"""Prometheus metrics (extra ``prometheus``).

::

    observer = PrometheusObserver()                    # latency histograms; leave it out and hits cost nothing more
    cache = configure("redis://…", observers=[observer])
    REGISTRY.register(PrometheusCollector(cache))      # counters, read when scraped
    REGISTRY.register(PrometheusCollector(cache, scope="fleet"))

Names follow Prometheus' conventions: base units, ``_total`` for counters. Labels are function names, never arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from memocache.exceptions import BackendError
from memocache.instrumentation import BackendFault, Computed, Event, Hit, Miss, Rejected, StaleHit
from memocache.instrumentation._metrics import FIGURES, OPERATIONS, SECONDS, named_tenants, stats_by_labels
from memocache.stats import CacheStats

if TYPE_CHECKING:
    from memocache import Cache


class PrometheusCollector(Collector):
    """The counters of a cache, of this process (``memocache_…``) or of the fleet (``memocache_fleet_…``).

    A scrape of the fleet costs the backend the registry of names and one read of all counters. While the backend
    cannot be reached ``memocache_fleet_up`` is 0 and the other fleet metrics are left out. Of a cache with tenants, the
    figures of those that `tenants` names are exported, with the label ``tenant``.
    """

    def __init__(
        self, cache: Cache, *, scope: Literal["process", "fleet"] = "process", tenants: Iterable[str] = ()
    ) -> None:
        self._cache = cache
        self._tenants = named_tenants(cache, tenants)
        self._labels = ["tenant"] if self._tenants else []
        self._scope: Literal["process", "fleet"] = scope
        self._start = "memocache_fleet_" if scope == "fleet" else "memocache_"

    def describe(self) -> Iterator[Metric]:
        """Nothing: a registry would otherwise collect once to learn the names."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """One family for each figure, labelled by function, and the operations on the backend."""
        try:
            every = stats_by_labels(self._cache, self._scope, self._tenants)
        except BackendError:
            if self._scope == "fleet":
                yield self._gauge("up", "Whether the backend could be asked.", 0)
            return
        if self._scope == "fleet":
            yield self._gauge("up", "Whether the backend could be asked.", 1)
        for figure in FIGURES:
            family = self._counter(figure.name, figure.about, "function")
            for labels, stats in every:
                for name, one in stats.functions.items():
                    family.add_metric([name, *labels], figure.of(one))
            yield family
        yield from self._operations(every)
        expired = self._counter("expired_keys", "Entries dropped past their ttl.")
        evicted = self._counter("evicted_keys", "Entries dropped for space.")
        for labels, stats in every:
            expired.add_metric(labels, stats.expired_keys)
            evicted.add_metric(labels, stats.evicted_keys)
        yield from (expired, evicted)
        memory = [(labels, stats.memory_usage_bytes) for labels, stats in every if stats.memory_usage_bytes is not None]
        if memory:
            about = "Memory of the entries, or of the whole server where there is one."
            family_of_memory = GaugeMetricFamily(self._start + "memory_bytes", about, labels=self._labels)
            for labels, size in memory:
                family_of_memory.add_metric(labels, size)
            yield family_of_memory

    def _operations(self, every: list[tuple[list[str], CacheStats]]) -> Iterator[Metric]:
        named = ["operation", *self._labels]
        times = HistogramMetricFamily(self._start + "operation_seconds", OPERATIONS, labels=named)
        errors = self._counter("operation_errors", "Questions to the backend that failed.", "operation")
        for labels, stats in every:
            for kind, one in stats.operations.items():
                ends = [f"{bound:g}" for bound in one.histogram.bounds[:-1]] + ["+Inf"]
                reached = accumulate(one.histogram.counts)
                times.add_metric([kind, *labels], [*zip(ends, map(float, reached), strict=True)], one.seconds)
                errors.add_metric([kind, *labels], one.errors)
        yield times
        yield errors

    def _counter(self, name: str, about: str, *labels: str) -> CounterMetricFamily:
        return CounterMetricFamily(self._start + name, about, labels=[*labels, *self._labels])

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
