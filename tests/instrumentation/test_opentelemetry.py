"""The OpenTelemetry metrics and spans, through the real SDK's in-memory readers and exporters."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pytest

from memocache import Cache
from memocache.backends.memory import MemoryBackend
from memocache.testing import FailingBackend

pytest.importorskip("opentelemetry.sdk")
from opentelemetry.sdk.metrics import MeterProvider  # skipped where it is missing
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from memocache.instrumentation.opentelemetry import OpenTelemetryObserver, observe


class Telemetry:
    """Providers that keep what they are told."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider(metric_readers=[self.reader])
        self.spans = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))

    def metrics(self) -> list[Any]:
        """Every metric."""
        data = self.reader.get_metrics_data()
        return [] if data is None else [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics]

    def points(self, name: str) -> list[Any]:
        """The data points of one metric."""
        return [point for metric in self.metrics() if metric.name == name for point in metric.data.data_points]


def test_counters() -> None:
    """Observable counters show the cache's own, by function."""
    telemetry = Telemetry()
    cache = Cache()
    observe(cache, meter_provider=telemetry.meters)
    f = cache.cached(name="shop.f")(lambda x: x)
    f(1), f(1), f(2)
    (hits,) = telemetry.points("memocache.hits")
    assert (hits.value, dict(hits.attributes)) == (1, {"code.function.name": "shop.f"})
    assert [point.value for point in telemetry.points("memocache.misses")] == [2]


def test_tenants_are_named() -> None:
    """Of a cache with tenants the figures of those named are observed, each with its attribute, and of no other."""
    telemetry = Telemetry()
    cache = Cache(tenants=True)
    observe(cache, meter_provider=telemetry.meters, tenants="acme")
    f = cache.cached(ttl=60, name="shop.f")(lambda x: x)
    for name in ("acme", "umbrella"):
        with cache.tenant(name):
            f(1), f(1)
    (hits,) = telemetry.points("memocache.hits")
    assert (hits.value, dict(hits.attributes)) == (1, {"code.function.name": "shop.f", "memocache.tenant": "acme"})


def test_histograms_spans_and_faults() -> None:
    """Calls and computations are timed, each computation is a span under the caller's, a fault is counted."""
    telemetry = Telemetry()
    backend = FailingBackend(MemoryBackend())
    backend.active = False
    observer = OpenTelemetryObserver(meter_provider=telemetry.meters, tracer_provider=telemetry.tracers)
    cache = Cache(backend, observers=[observer])

    @cache.cached(name="shop.f")
    def f(x: int) -> float:
        return 1 / x

    tracer = telemetry.tracers.get_tracer("test")
    with tracer.start_as_current_span("request") as request:
        f(1), f(1)
    with pytest.raises(ZeroDivisionError):
        f(0)
    outcomes = {
        point.attributes["memocache.outcome"]: point.count for point in telemetry.points("memocache.call.duration")
    }
    assert outcomes == {"hit": 1, "miss": 2}
    good, bad = (span for span in telemetry.spans.get_finished_spans() if span.name == "compute shop.f")
    assert good.parent is not None
    assert good.parent.span_id == request.get_span_context().span_id
    assert good.attributes is not None
    assert good.attributes["code.function.name"] == "shop.f"
    assert good.start_time is not None
    assert good.end_time is not None
    assert good.start_time <= good.end_time
    assert good.status.is_ok is True or good.status.status_code.name == "UNSET"
    assert bad.parent is None
    assert bad.status.status_code.name == "ERROR"
    assert "error.type" not in good.attributes
    assert bad.attributes is not None
    assert bad.attributes["error.type"] == "ZeroDivisionError"
    runs = {
        point.attributes.get("error.type"): point.count for point in telemetry.points("memocache.computation.duration")
    }
    assert runs == {None: 1, "ZeroDivisionError": 1}
    kinds = {
        point.attributes["memocache.operation"]: point for point in telemetry.points("memocache.operation.duration")
    }
    assert set(kinds) == {"get", "set"}
    assert kinds["get"].count == cache.stats(entries=False).operations["get"].count
    backend.active = True
    f(2)
    failed = [p for p in telemetry.points("memocache.operation.duration") if "error.type" in p.attributes]
    assert failed
    fault = telemetry.points("memocache.backend.faults")[0]
    assert set(fault.attributes) == {"memocache.backend.operation", "error.type"}


def test_a_backend_that_fails_is_no_error_of_the_reader() -> None:
    """While the fleet cannot be asked nothing is observed."""
    telemetry = Telemetry()
    backend = FailingBackend(MemoryBackend())
    backend.active = False
    observe(Cache(backend), scope="fleet", meter_provider=telemetry.meters)
    backend.active = True
    assert telemetry.points("memocache.fleet.hits") == []


def test_names_and_units() -> None:
    """As the semantic conventions want them: in our namespace, dots between parts, the unit not in the name; times in
    seconds, counts with an annotation in the singular; the scope has a version.
    """
    telemetry = Telemetry()
    backend = FailingBackend(MemoryBackend())
    cache = Cache(backend, observers=[OpenTelemetryObserver(meter_provider=telemetry.meters)])
    observe(cache, meter_provider=telemetry.meters)
    cache.cached(name="shop.f")(lambda: 1)()
    backend.active = False  # else the counters could not be read
    units = {metric.name: metric.unit for metric in telemetry.metrics()}
    assert units == {
        "memocache.hits": "{call}",
        "memocache.misses": "{call}",
        "memocache.stale_hits": "{call}",
        "memocache.call.coalesced": "{call}",
        "memocache.call.duration": "s",
        "memocache.stores": "{outcome}",
        "memocache.outcome.rejected": "{outcome}",
        "memocache.backend.errors": "{error}",
        "memocache.backend.faults": "{fault}",
        "memocache.decode_errors": "{entry}",
        "memocache.computation.time": "s",
        "memocache.computation.duration": "s",
        "memocache.operation.duration": "s",
    }
    data = telemetry.reader.get_metrics_data()
    assert data is not None
    assert {s.scope.version for r in data.resource_metrics for s in r.scope_metrics} == {version("memocache")}
