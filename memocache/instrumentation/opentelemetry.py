"""OpenTelemetry metrics and spans (extra ``opentelemetry``).

::

    observer = OpenTelemetryObserver()
    cache = configure("redis://…", observers=[observer])
    observe(cache)

Names, units and attributes follow the semantic conventions: times are in seconds and do not say so in their names,
counts have an annotation for a unit, what failed has an ``error.type`` and what succeeded has none. What they have no
name for is in the namespace ``memocache``. Functions are named, arguments and values never.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation
from opentelemetry.trace import SpanKind, Status, StatusCode, TracerProvider

from memocache.exceptions import BackendError
from memocache.instrumentation import Asked, BackendFault, Computed, Event, Hit, Miss, StaleHit
from memocache.instrumentation._metrics import FIGURES, OPERATIONS, SECONDS, Figure, named_tenants, stats_by_labels

if TYPE_CHECKING:
    from memocache import Cache

FUNCTION = "code.function.name"
_TENANT = "memocache.tenant"
_ERROR = "error.type"
_NAME = "memocache"
_VERSION = version(_NAME)
_NAMES = {
    "coalesced": "call.coalesced",
    "rejected": "outcome.rejected",
    "backend_errors": "backend.errors",
    "compute_seconds": "computation.time",
}
"""Figures that the conventions want called otherwise: in a namespace of what is counted, and without the unit."""


def observe(
    cache: Cache,
    *,
    scope: Literal["process", "fleet"] = "process",
    meter_provider: MeterProvider | None = None,
    tenants: Iterable[str] = (),
) -> None:
    """Export a cache's counters as observable counters, read when they are collected.

    With scope "fleet" their names begin with ``memocache.fleet.``; nothing is observed while the backend fails.
    Of a cache with tenants, the figures of those that `tenants` names are exported, with the attribute
    ``memocache.tenant``.
    """
    names = named_tenants(cache, tenants)
    meter: Meter = metrics.get_meter(_NAME, _VERSION, meter_provider=meter_provider)
    start = f"{_NAME}.fleet." if scope == "fleet" else f"{_NAME}."

    def reader(figure: Figure) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def read(_: CallbackOptions) -> Iterable[Observation]:
            try:
                every = stats_by_labels(cache, scope, names)
            except BackendError:
                return []
            return [
                Observation(figure.of(one), {FUNCTION: name, **({_TENANT: labels[0]} if labels else {})})
                for labels, stats in every
                for name, one in stats.functions.items()
            ]

        return read

    for figure in FIGURES:
        meter.create_observable_counter(
            start + _NAMES.get(figure.name, figure.name),
            callbacks=[reader(figure)],
            unit=figure.unit,
            description=figure.about,
        )


class OpenTelemetryObserver:
    """Histograms of the times of calls, computations and questions to the backend, a counter of faults, and a span for
    each computation.

    A computation's span is a child of whatever span is current where the cached call was made. With any observer,
    hits in the process leave the compiled fast path: a few microseconds each.
    """

    def __init__(
        self, *, meter_provider: MeterProvider | None = None, tracer_provider: TracerProvider | None = None
    ) -> None:
        meter = metrics.get_meter(_NAME, _VERSION, meter_provider=meter_provider)
        self._tracer = trace.get_tracer(_NAME, _VERSION, tracer_provider=tracer_provider)
        bounds = list(SECONDS)
        self._calls = meter.create_histogram(
            "memocache.call.duration", "s", "Time of calls by outcome.", explicit_bucket_boundaries_advisory=bounds
        )
        self._computations = meter.create_histogram(
            "memocache.computation.duration", "s", "Time functions ran.", explicit_bucket_boundaries_advisory=bounds
        )
        self._operations = meter.create_histogram(
            "memocache.operation.duration", "s", OPERATIONS, explicit_bucket_boundaries_advisory=bounds
        )
        self._faults = meter.create_counter("memocache.backend.faults", "{fault}", "Requests that failed.")

    def __call__(self, event: Event) -> None:
        """Take in one event."""
        about = {} if event.function is None else {FUNCTION: event.function}
        match event:
            case Hit(seconds=seconds) | StaleHit(seconds=seconds) | Miss(seconds=seconds):
                if seconds is not None:
                    self._calls.record(seconds, {**about, "memocache.outcome": _OUTCOMES[type(event)]})
            case Computed(function=function, seconds=seconds, error=error):
                failed = {} if error is None else {_ERROR: error}
                self._computations.record(seconds, {**about, **failed})
                ended = time.time_ns()
                span = self._tracer.start_span(
                    f"compute {function}",
                    kind=SpanKind.INTERNAL,
                    attributes={**about, **failed},
                    start_time=ended - int(seconds * 1e9),
                )
                if failed:
                    span.set_status(Status(StatusCode.ERROR))
                span.end(ended)
            case Asked(kind=kind, seconds=seconds, error=error):
                failed = {} if error is None else {_ERROR: error}
                self._operations.record(seconds, {"memocache.operation": kind, **failed})
            case BackendFault(operation=operation, error=error):
                self._faults.add(1, {"memocache.backend.operation": operation, _ERROR: error})


_OUTCOMES: dict[type[Event], str] = {Hit: "hit", StaleHit: "stale_hit", Miss: "miss"}
