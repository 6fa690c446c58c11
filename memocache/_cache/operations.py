"""The operations of one cache, wired: everything it can be asked besides calling a function.

Both faces, `Cache` and `AsyncCache`, hold this one object and carry out the same `Steps`. Each operation stands in
the module of its name; nothing is decided here.
"""

from __future__ import annotations

from memocache._cache.dashboard_queries import FunctionDetailsReader, KeyPages, Notes, Processes
from memocache._cache.function_registry import FunctionNames
from memocache._cache.health import HealthCheck
from memocache._cache.inspect import Inspector
from memocache._cache.invalidation import Invalidation
from memocache._cache.key_locator import KeyResolver
from memocache._cache.key_value import KeyValue
from memocache._cache.scan import Scanner
from memocache._cache.statistics import Statistics
from memocache._cache.stats_reporter import StatsReporter
from memocache._calls.call_key import Places
from memocache._calls.engine import Engine
from memocache._stores.remote.guard import BackendGuard


class Operations:
    """What can be asked of one cache."""

    def __init__(
        self, places: Places, engine: Engine, guard: BackendGuard | None, reporter: StatsReporter | None
    ) -> None:
        self.guard = guard
        resolver = KeyResolver(places, guard)
        self.key_value = KeyValue(resolver, engine)
        self.names = FunctionNames(resolver)
        self.invalidation = Invalidation(resolver, self.names)
        self.scanner = Scanner(resolver)
        self.inspector = Inspector(resolver)
        self.health = HealthCheck(resolver)
        self.statistics = Statistics(self.scanner, self.inspector, self.names, reporter)
        self.details = FunctionDetailsReader(self.scanner, self.statistics, reporter)
        self.pages = KeyPages(self.scanner)
        self.processes = Processes(self.scanner, self.statistics, reporter)
        self.notes = Notes(self.scanner, reporter)
