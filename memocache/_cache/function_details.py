"""The details of one function: the times of its calls, why they miss, its settings, and what its entries have left.

`memocache._stores.memory.miss_reasons` names the reasons. Each process tells a function's settings once, as text: they
say what was declared, never an argument or a value. `Cache.details` is the public face.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isinf
from typing import Any

from memocache._cache.key_resolver import S
from memocache._cache.scan import Scanner
from memocache._cache.statistics import Statistics, of_fleet
from memocache._cache.stats_reporter import StatsReporter
from memocache.exceptions import ConfigurationError
from memocache.stats import LIFE_BUCKETS, Histogram, added, bucket, function_details

SAMPLE = 200
"""Entries of which is read what they have left."""
_AT_ONCE = 20
_SAMPLE_STEPS = 50
"""Requests for keys or entries after which a sample is what it is."""
_SAMPLE_BYTES = 2**21
"""Bytes of entries after which it is, too: what they have left cannot be read without the rest of them."""
_LONGEST = 300
_SETTINGS_BYTES = 16_384


class FunctionDetailsReader:
    """Reads the details of the functions of one cache."""

    def __init__(self, scanner: Scanner, statistics: Statistics, reporter: StatsReporter | None) -> None:
        self._scanner = scanner
        self._ask = scanner.resolver.ask
        self._statistics = statistics
        self._reporter = reporter
        self._tier = scanner.tier
        self._settings: dict[str, dict[str, str]] = {}

    def declare(self, name: str, parameters: Mapping[str, Any]) -> None:
        """A function was bound to the cache with these settings."""
        settings = {key: _text(value)[:_LONGEST] for key, value in parameters.items()}
        if self._settings.get(name) != settings:
            self._settings[name] = settings
            if self._reporter is not None:
                self._reporter.announce(name, json.dumps(settings).encode())

    def details(self, name: str, scope: str, entries: bool = True) -> S:
        """The details of a function name in this process, or in all that share the backend; None if it is not known.

        Without `entries` no entry is scanned at.
        """
        if scope not in ("process", "fleet"):
            raise ConfigurationError('scope= takes "process" or "fleet"')
        fleet = scope == "fleet" and self._reporter is not None
        if not name:
            return None
        if fleet:
            stats, counted, settings = yield from self._of_fleet(name)
        else:
            tables = self._tier.tables(name)
            counted = {}
            for table in tables:
                counted = added(counted, table.counters.read_details())
            settings = self._settings.get(name)
            stats = self._statistics.function(name) if tables else None
        if stats is None:
            return None
        hottest = yield from self._statistics.hottest(fleet, name)
        left = (yield from self._left(name)) if entries else None
        return function_details(stats, counted, settings=settings, ttl_left=left, hottest=hottest)

    def _of_fleet(self, name: str) -> S:
        """Figures (None: nothing is known), times and causes, and settings, as far as they were sent."""
        reporter = self._reporter
        assert reporter is not None
        yield from self._statistics.send()
        keys = [reporter.keys.function(name), reporter.keys.details(name)]
        counts, details = yield self._ask("counts", keys)
        (told,) = yield self._ask("read", [reporter.keys.settings(name)])
        settings = _read(told)
        known = counts or settings is not None
        return of_fleet(name, counts) if known else None, details, settings

    def _left(self, name: str) -> S:
        """The seconds that a sample of the function's entries has left; the process's first."""
        now = self._tier.clock.monotonic()
        counts = [0] * LIFE_BUCKETS
        live = [entry.expires - now for entry in self._tier.live(name) if entry.fresh_until > now]
        for left in live[:SAMPLE]:
            counts[bucket(left, LIFE_BUCKETS)] += 1
        at, size = self._scanner.begin(name), 0
        for _ in range(_SAMPLE_STEPS):
            room = SAMPLE - sum(counts)
            if at is None or room <= 0 or size > _SAMPLE_BYTES:
                break
            at, scanned = yield from self._scanner.entries_step(at, name, min(room, _AT_ONCE))
            size += sum(one.size for one in scanned)
            for one in scanned:
                if one.name == name and one.alive and one.left > 0:
                    counts[bucket(one.left, LIFE_BUCKETS)] += 1
        return Histogram(tuple(counts))


def _text(value: Any) -> str:
    """A setting as text. Callables and classes by name: their own text may tell what they hold."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return "never" if isinf(value) else f"{value:g}"
    if value is None or isinstance(value, bool | int):
        return str(value)
    if isinstance(value, tuple | list | frozenset):
        return ", ".join(map(_text, value))
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def _read(told: Any) -> dict[str, str] | None:
    """The settings that stand in a backend; None for what is none."""
    if told is None or len(told) > _SETTINGS_BYTES:
        return None
    try:
        settings = json.loads(bytes(told))
    except (ValueError, RecursionError):
        return None
    if not isinstance(settings, dict) or not all(isinstance(text, str) for text in settings.values()):
        return None
    return settings
