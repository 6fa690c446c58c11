"""What can be said of a cache's backend: how `doctor` and the dashboard's health page know."""

from __future__ import annotations

import statistics
import time

from memocache._cache.cache import Cache
from memocache._runtime.humanize import duration
from memocache.backends.null import NullBackend
from memocache.exceptions import BackendError
from memocache.typing import Finding

_PINGS = 20
_SLOW_SECONDS = 0.005


def examine(cache: Cache) -> list[Finding]:
    """Everything that can be said of a cache's backend; blocks for some 25 round trips. Raises `BackendError`."""
    health = cache.health()
    if not health.ok:
        raise BackendError(f"the backend is not healthy: {health.detail}")
    backend = cache.backend
    if backend is None:
        return [Finding("ok", "backend", "this process", "")]
    if isinstance(backend, NullBackend):
        return [Finding("note", "backend", "keeps nothing: every call is computed", "")]
    findings = [_latency(backend)]
    if not health.roundtrip_ok:
        findings.append(
            Finding("fail", "probe key", health.detail, "look for an eviction policy that drops it at once")
        )
    check = getattr(backend, "checkup", None)
    if check is not None:
        findings += check(timeout=5.0)
    return findings


def _latency(backend: object) -> Finding:
    taken = []
    for _ in range(_PINGS):
        begun = time.perf_counter()
        backend.ping(timeout=5.0)  # type: ignore[attr-defined]  # every backend has it
        taken.append(time.perf_counter() - begun)
    median, worst = statistics.median(taken), max(taken)
    found = f"median {duration(median)}, worst {duration(worst)} of {_PINGS}"
    if median < _SLOW_SECONDS:
        return Finding("ok", "latency", found, "")
    return Finding("warn", "latency", found, "each hit costs one of these: move closer, or hold hot keys with local=")
