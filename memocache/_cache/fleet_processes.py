"""The processes of a fleet, read from the backend: one row each, of this hour and the last one."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from memocache._cache.counter_snapshots import counts_of
from memocache._cache.process_rows import HOUR, ProcessRow, own_row, rows_of
from memocache._cache.scan import Scanner
from memocache._cache.statistics import Statistics
from memocache._cache.stats_reporter import StatsReporter
from memocache._runtime.effects import Effect


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
