"""The Prometheus collector and observer, scraped by the real client library."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from memocache import Cache, ConfigurationError
from memocache.backends.memory import MemoryBackend
from memocache.testing import FailingBackend, FakeClock

prometheus_client = pytest.importorskip("prometheus_client")
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402  # skipped where it is missing

from memocache.instrumentation.prometheus import PrometheusCollector, PrometheusObserver  # noqa: E402

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana" / "memocache.json"
SECRET = "s3cr3t-argument"


def scraped(registry: prometheus_client.CollectorRegistry) -> dict[tuple[str, ...], float]:
    """Every sample of a scrape, by its name and its labels' values."""
    text = prometheus_client.generate_latest(registry).decode()
    families = text_string_to_metric_families(text)
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def test_counters_are_those_of_stats() -> None:
    """A scrape shows the counters as they stand, by function, without an observer."""
    registry = prometheus_client.CollectorRegistry()
    clock = FakeClock()
    cache = Cache(clock=clock)
    registry.register(PrometheusCollector(cache))
    f = cache.cached(ttl=10, stale=10, name="shop.f")(lambda x: clock.advance(2) or x)
    f(1), f(1), f(2)
    samples = scraped(registry)
    assert samples["memocache_hits_total", "shop.f"] == f.stats().hits == 1
    assert samples["memocache_misses_total", "shop.f"] == 2
    assert samples["memocache_stores_total", "shop.f"] == 2
    assert samples["memocache_compute_seconds_total", "shop.f"] == 4.0
    f(1)
    assert scraped(registry)["memocache_hits_total", "shop.f"] == 2


def test_the_fleet() -> None:
    """With scope "fleet" the counters are those of every cache on the backend; a backend that fails is down, not an
    error of the scrape.
    """
    backend = FailingBackend(MemoryBackend())
    backend.active = False
    registry = prometheus_client.CollectorRegistry()
    watching, serving = Cache(backend), Cache(backend)
    registry.register(PrometheusCollector(watching, scope="fleet"))
    f = serving.cached(name="shop.f")(lambda x: x)
    f(1), f(1)
    serving.stats("fleet")  # sends what was counted
    samples = scraped(registry)
    assert samples["memocache_fleet_hits_total", "shop.f"] == 1
    assert samples["memocache_fleet_up",] == 1
    backend.active = True
    assert scraped(registry) == {("memocache_fleet_up",): 0}


def test_operations() -> None:
    """What was asked of the backend is a histogram by kind, without an observer; what failed is counted beside it."""
    registry = prometheus_client.CollectorRegistry()
    backend = FailingBackend(MemoryBackend())
    backend.active = False
    cache = Cache(backend)
    registry.register(PrometheusCollector(cache))
    cache.set("k", 1), cache.get("k"), cache.clear()
    backend.active = True
    with pytest.raises(ConnectionError):
        cache.get("k")
    samples = scraped(registry)
    stats = cache.stats(entries=False).operations
    assert samples["memocache_operation_seconds_count", "get"] == stats["get"].count == 3
    assert samples["memocache_operation_seconds_sum", "get"] == pytest.approx(stats["get"].seconds)
    assert samples["memocache_operation_seconds_bucket", "+Inf", "get"] == 3
    assert samples["memocache_operation_seconds_count", "flush"] == 1
    assert samples["memocache_operation_errors_total", "get"] == 1
    assert samples["memocache_operation_errors_total", "set"] == 0
    cache.close()


def test_histograms_and_faults() -> None:
    """The observer times calls by outcome and computations, and counts faults and rejections; no argument is named."""
    registry = prometheus_client.CollectorRegistry()
    backend = FailingBackend(MemoryBackend())
    backend.active = False
    clock = FakeClock()
    cache = Cache(backend, observers=[PrometheusObserver(registry)], clock=clock)

    @cache.cached(ttl=10, stale=100, name="shop.f", condition=lambda value: value != SECRET * 2)
    def f(x: str) -> str:
        clock.advance(2)
        return x

    f(SECRET), f(SECRET), f(SECRET * 2)
    backend.active = True
    f("other")
    samples = scraped(registry)
    assert samples["memocache_call_seconds_count", "shop.f", "hit"] == 1
    assert samples["memocache_call_seconds_count", "shop.f", "miss"] == 3
    assert samples["memocache_computation_seconds_sum", "shop.f", "true"] == 6.0
    assert samples["memocache_rejections_total", "condition", "shop.f"] == 1
    assert sum(value for key, value in samples.items() if key[0] == "memocache_backend_faults_total") > 0
    assert SECRET not in prometheus_client.generate_latest(registry).decode()


def test_the_dashboard_asks_for_what_there_is() -> None:
    """Every metric in the Grafana dashboard is one that a scrape of both has."""
    registry = prometheus_client.CollectorRegistry()
    backend = FailingBackend(MemoryBackend())
    backend.active = False
    cache = Cache(observers=[PrometheusObserver(registry)])
    broken = Cache(backend, observers=[PrometheusObserver(prometheus_client.CollectorRegistry())])
    registry.register(PrometheusCollector(cache))
    cache.cached(name="f")(lambda: 1)()
    broken.close()
    text = prometheus_client.generate_latest(registry).decode()
    known = set(re.findall(r"^# TYPE (memocache_\w+)", text, re.M))
    asked = set(re.findall(r"memocache_\w+", json.dumps(json.loads(DASHBOARD.read_text())["panels"])))
    assert asked
    for name in asked:
        assert name in known or re.sub(r"_(total|bucket)$", "", name) in known, name


def test_tenants_are_named() -> None:
    """Of a cache with tenants the figures of those named are exported, each with its label, and of no other; a cache
    with tenants and no names, or names and no tenants, is refused.
    """
    registry = prometheus_client.CollectorRegistry()
    cache = Cache(tenants=True)
    f = cache.cached(ttl=60, name="shop.f")(lambda x: x)
    for name, count in (("acme", 2), ("umbrella", 3), ("other", 4)):
        with cache.tenant(name):
            for _ in range(count):
                f(1)
    registry.register(PrometheusCollector(cache, tenants=["acme", "umbrella"]))
    samples = scraped(registry)
    assert samples["memocache_hits_total", "shop.f", "acme"] == 1
    assert samples["memocache_hits_total", "shop.f", "umbrella"] == 2
    assert not any("other" in labels for labels in samples)
    for one, tenants in ((cache, ()), (Cache(), ("acme",))):
        with pytest.raises(ConfigurationError, match="tenants= names"):
            PrometheusCollector(one, tenants=tenants)
