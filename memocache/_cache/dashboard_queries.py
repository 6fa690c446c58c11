"""What serves the dashboard alone: the details of one function, the keys of a cache a page at a time, and its notes.

Details are the times of a function's calls, why they miss (see `memocache._stores.memory.miss_reasons`), its settings,
and what its entries have left. Each process tells a function's settings once, as text: what was declared, never an
argument or a value. A page of keys costs a bounded number of requests, however many keys there are; where the next one
begins is remembered here under a token, for a backend's own cursor need not be text. Notes are small texts that a
dashboard keeps in the backend, so that its history outlives it.

`Cache.details` and `Cache.keys_page` are public. No other part of a cache needs this module.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Generator, Hashable, Mapping, Sequence
from math import isinf
from typing import Any, NamedTuple

from memocache._cache.counter_snapshots import counts_of
from memocache._cache.key_locator import S
from memocache._cache.process_rows import HOUR, ProcessRow, own_row, rows_of
from memocache._cache.scan import Scanner
from memocache._cache.statistics import Statistics, of_fleet
from memocache._cache.stats_reporter import StatsReporter
from memocache._runtime.effects import Effect
from memocache._stores.entry import Table
from memocache.exceptions import ConfigurationError
from memocache.stats import LIFE_BUCKETS, Histogram, KeysPage, added, bucket, function_details
from memocache.typing import Put

SAMPLE = 200
"""Entries of which is read what they have left."""
_AT_ONCE = 20
_SAMPLE_STEPS = 50
"""Requests for keys or entries after which a sample is what it is."""
_SAMPLE_BYTES = 2**21
"""Bytes of entries after which it is, too: what they have left cannot be read without the rest of them."""
_LONGEST = 300
_SETTINGS_BYTES = 16_384
_PAGE_STEPS = 50
"""Steps of a scan, of about a thousand keys each, that one page takes at most."""
_REMEMBERED = 50
"""Pages whose next one can be asked for."""
_MOST = 1000


class _Rest(NamedTuple):
    """What comes after a page: those of `held`, the process's own, from `at` on, then what the scan comes to."""

    function: str | None
    held: list[tuple[Table, Hashable]]
    at: int
    scan: Any


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


class Notes:
    """Texts that a dashboard keeps in the backend by name; without one nothing is kept."""

    def __init__(self, scanner: Scanner, reporter: StatsReporter | None) -> None:
        self._ask = scanner.resolver.ask
        self._reporter = reporter

    def read(self, names: Sequence[str]) -> Generator[Effect, Any, dict[str, bytes]]:
        """Those texts that are there. Raises `BackendError`."""
        if self._reporter is None:
            return {}
        found = yield self._ask("read", [self._reporter.keys.note(name) for name in names])
        return {name: bytes(text) for name, text in zip(names, found, strict=True) if text is not None}

    def write(self, texts: Mapping[str, bytes], seconds: float) -> Generator[Effect, Any, None]:
        """Keep texts for so long. Raises `BackendError`."""
        if self._reporter is not None:
            life = int(seconds * 1000)
            yield self._ask(
                "transact", (), [Put(self._reporter.keys.note(name), text, life) for name, text in texts.items()]
            )


class Processes:
    """Who has told of figures lately."""

    def __init__(self, scanner: Scanner, statistics: Statistics, reporter: StatsReporter | None) -> None:
        self._ask = scanner.resolver.ask
        self._tier = scanner.tier
        self._statistics = statistics
        self._reporter = reporter

    def rows(self) -> Generator[Effect, Any, list[ProcessRow]]:
        """The processes of this hour and the last one; without a backend this one alone. Raises `BackendError`."""
        now = self._tier.clock.time()
        if self._reporter is None:
            return [own_row(counts_of(self._tier), now)]
        yield from self._statistics.send()
        hour = int(now) // HOUR
        return rows_of((yield self._ask("counts", [self._reporter.keys.processes(one) for one in (hour - 1, hour)])))


class KeyPages:
    """Keys by pages, for one cache."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._rests: OrderedDict[str, _Rest] = OrderedDict()

    def page(self, function: str | None, cursor: str | None, limit: int) -> Generator[Effect, Any, KeysPage]:
        """The next keys of live entries. Raises `ConfigurationError` for a cursor that is not known."""
        if type(limit) is not int or not 1 <= limit <= _MOST:
            raise ConfigurationError(f"limit= takes an int from 1 to {_MOST}")
        scanner = self._scanner
        rest = self._first(function) if cursor is None else self._known(function, cursor)
        _, held, at, scan = rest
        keys: list[str] = []
        while at < len(held) and len(keys) < limit:
            table, key = held[at]
            if scanner.tier.find(table, key) is not None:
                keys.append(scanner.shown(table, key))
            at += 1
        for _ in range(_PAGE_STEPS):
            if scan is None or len(keys) >= limit:
                break
            scan, scanned = yield from scanner.entries_step(scan, function, limit - len(keys))
            keys += [scanner.given(one.key) for one in scanned if one.alive and function in (None, one.name)]
        if scan is None and at >= len(held):
            return KeysPage(keys, None)
        token = os.urandom(8).hex()
        self._rests[token] = rest._replace(at=at, scan=scan)
        while len(self._rests) > _REMEMBERED:
            self._rests.popitem(last=False)
        return KeysPage(keys, token)

    def _first(self, function: str | None) -> _Rest:
        live = self._scanner.tier.live(function)
        held = [(entry.table, entry.key) for entry in live if function is None or entry.table.name]
        return _Rest(function, held, 0, self._scanner.begin(function))

    def _known(self, function: str | None, cursor: str) -> _Rest:
        rest = self._rests.get(cursor)
        if rest is None or rest.function != function:
            raise ConfigurationError("cursor= takes what this cache's last pages of the same keys gave, or None")
        return rest
