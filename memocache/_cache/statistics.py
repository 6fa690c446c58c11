"""What a cache says about itself: figures of functions, entries, the process and the fleet; the removal of dead
entries.

On a shared backend some figures are sampled, and say so: `CacheStats.ttl_sample_size` is how many entries the average
ttl was taken over.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import replace
from math import inf, isinf
from operator import itemgetter
from typing import Any

from memocache._cache.gone_functions import GoneFunctions
from memocache._cache.inspect import Inspector
from memocache._cache.known_function_names import FunctionNames
from memocache._cache.scan import PAUSE, Scanner, in_parts
from memocache._cache.stats_keys import DAY
from memocache._cache.stats_reporter import StatsReporter
from memocache._calls.parse_duration import seconds
from memocache._runtime.effects import Effect
from memocache._stores.entry import Place, Table
from memocache._stores.memory.sizeof import sizeof
from memocache._stores.remote.operation_counts import operation_stats
from memocache.exceptions import BackendError, ConfigurationError
from memocache.stats import COUNTED, CacheStats, EntryInfo, FunctionStats, function_stats

S = Generator[Effect, Any, Any]
TOP_KEYS = 20
TTL_SAMPLE = 1000


class Statistics:
    """Reads the counters of one cache."""

    def __init__(
        self, scanner: Scanner, inspector: Inspector, names: FunctionNames, reporter: StatsReporter | None
    ) -> None:
        self._scanner = scanner
        self._inspector = inspector
        self._names = names
        self._reporter = reporter
        self._gone = None if reporter is None else GoneFunctions(scanner.resolver, names, reporter.keys)
        self._ask = scanner.resolver.ask
        self._tier = scanner.tier

    # -- figures

    def function(self, name: str) -> FunctionStats:
        """The figures of one function name, in this process."""
        return self._of_tables(name, self._tier.tables(name))

    def _of_tables(self, name: str, tables: list[Table], size: int | None = None) -> FunctionStats:
        total: dict[str, float] = dict.fromkeys(COUNTED, 0.0)
        for table in tables:
            for key, amount in self._tier.counted(table).items():
                total[key] += amount
        return function_stats(name, total, sum(map(self._tier.currsize, tables)) if size is None else size)

    def stats(self, scope: str, entries: bool = True) -> S:
        """The figures of this process, or of all that share the backend; without `entries` no key is looked at.

        While the backend is away this process's are those that it knows itself; the fleet's raise `BackendError`.
        """
        if scope not in ("process", "fleet"):
            raise ConfigurationError('scope= takes "process" or "fleet"')
        fleet = scope == "fleet" and self._reporter is not None
        asked: dict[str, int] = {} if self._reporter is None else self._reporter.guard.operations.read()
        if fleet:
            counts, asked = yield from self._fleet()
            gone = counts.get("", {})
            plain = of_fleet("", gone)
            functions = {name: of_fleet(name, one) for name, one in counts.items() if name and one}
        else:
            gone = {"expired": self._tier.expired, "evicted": self._tier.evicted}
            tables: dict[str, list[Table]] = {"": []}
            for table in self._tier.tables():
                tables.setdefault(table.name, []).append(table)
            functions = {}
            for name, those in sorted(tables.items()):
                size = 0
                for table in those:
                    for part in self._tier.currsize_in_parts(table):
                        size += part
                        yield PAUSE
                functions[name] = self._of_tables(name, those, size)
            plain = functions.pop("")
        hits = sum(one.hits for one in functions.values()) + plain.hits
        misses = sum(one.misses for one in functions.values()) + plain.misses
        calls = hits + misses
        return (yield from self._of_entries(fleet, entries))(
            hits=hits,
            misses=misses,
            hit_rate=hits / calls if calls else 0.0,
            miss_rate=misses / calls if calls else 0.0,
            expired_keys=gone.get("expired", 0),
            evicted_keys=gone.get("evicted", 0),
            functions=functions,
            operations=operation_stats(asked),
        )

    def _of_entries(self, fleet: bool, counted: bool) -> S:
        """The figures that entries give, as a function of the others."""
        count: int | None
        memory: int | None
        count, memory, left = yield from self._process_entries()
        hottest = yield from self.hottest(fleet)
        if self._reporter is not None:
            try:
                more, left_there = (yield from self._backend_entries(TTL_SAMPLE - len(left))) if counted else (0, [])
                facts = yield self._ask("facts")
            except BackendError:
                if fleet:
                    raise
                count, memory, left = None, None, []  # the backend alone knows them
            else:
                count += more
                left += left_there
                memory = facts.memory_bytes
        base = CacheStats(
            total_keys=count,
            memory_usage_bytes=memory,
            average_ttl_seconds=sum(left) / len(left) if left else None,
            ttl_sample_size=len(left),
            most_accessed_keys=hottest,
        )
        return lambda **figures: replace(base, **figures)

    def _process_entries(self) -> Generator[Effect, Any, tuple[int, int, list[float]]]:
        """How many fresh entries this process holds, their bytes, and the seconds that the first of them have left."""
        now = self._tier.clock.monotonic()
        count = memory = 0
        left: list[float] = []
        for part in in_parts(self._tier.live()):
            fresh = [entry for entry in part if entry.fresh_until > now]
            left += [entry.expires - now for entry in fresh[: max(0, TTL_SAMPLE - count)] if not isinf(entry.expires)]
            memory += sum(sizeof(entry) + sizeof(entry.key) + sizeof(entry.value) for entry in fresh)
            count += len(fresh)
            yield PAUSE
        return count, memory, left

    def hottest(self, fleet: bool, function: str | None = None) -> S:
        """The hottest keys, or those of one function, hottest first."""
        reporter = self._reporter
        if reporter is None:
            top = yield from self._hottest_in_process(function)
            return [self._scanner.shown(place, key) for _, place, key in top]
        counts: Counter[str] = Counter()
        if fleet:
            today = int(self._tier.clock.time()) // DAY
            days = [reporter.keys.hot(today - 1), reporter.keys.hot(today)]
            for some in (yield self._ask("counts", days)):
                counts.update(some)
        else:
            reporter.gather()
            counts.update(reporter.hottest.counts)
        if function is not None:
            counts = Counter({key: hits for key, hits in counts.items() if self._scanner.is_of(key, function)})
        return [self._scanner.given(key) for key, _ in counts.most_common(TOP_KEYS)]

    def _hottest_in_process(self, function: str | None) -> S:
        """Hits, table's place, and key of the hottest keys in the process: those that left it, and those it holds."""
        counted = list(self._tier.departed.counts.items())
        departed = {place: hits for place, hits in counted if function in (None, place[0].name)}
        top: list[tuple[int, Place, Any]] = []
        for part in in_parts(self._tier.live(function)):
            held = [(entry.table.place, entry.key, entry.hits) for entry in part]
            hit = [(hits + departed.pop((place, key), 0), place, key) for place, key, hits in held]
            top = heapq.nlargest(TOP_KEYS, [*top, *(one for one in hit if one[0])], key=itemgetter(0))
            yield PAUSE
        gone = [(hits, place, key) for (place, key), hits in departed.items()]
        return heapq.nlargest(TOP_KEYS, [*top, *gone], key=itemgetter(0))

    def _fleet(self) -> S:
        """The counters by function name ("" for plain keys), and what was asked of the backend, of all processes, as
        far as they have sent them.
        """
        reporter = self._reporter
        assert reporter is not None
        yield from self.send()
        names = ["", *sorted((yield from self._names.known()))]
        keys = [reporter.keys.function(name) for name in names]
        *replies, asked = yield self._ask("counts", [*keys, reporter.keys.operations()])
        return dict(zip(names, replies, strict=True)), asked

    def send(self) -> S:
        """Send what this process has counted, so that its own figures are in the fleet's."""
        assert self._reporter is not None
        yield from self._reporter.sending()

    def _backend_entries(self, sample: int) -> S:
        """How many live entries the backend holds, and the seconds left of the first `sample` that expire."""
        seen: set[str] = set()
        left: list[float] = []
        at: Any = None
        while True:
            at, looked = yield from self._scanner.entries_step(at)
            for one in looked:
                if one.alive and one.key not in seen:
                    seen.add(one.key)
                    if 0 < one.left < inf and len(left) < sample:
                        left.append(one.left)
            if at is None:
                return len(seen), left

    def zero(self, name: str, tables: list[Table]) -> S:
        """Begin the counters of some tables of a function again at nothing; the fleet's figures of its name too."""
        if self._reporter is not None:
            yield from self.send()
            keys = [self._reporter.keys.function(name), self._reporter.keys.details(name)]
            yield self._ask("delete", keys)
        for one in tables:
            for _ in self._tier.bury_in_parts(one):
                yield PAUSE
            self._tier.zero(one)
        if self._reporter is not None:
            self._reporter.zeroed(name)

    def inspect(self, key: str) -> S:
        """What is known about one entry, its accesses included."""
        info: EntryInfo | None = yield from self._inspector.inspect(key)
        full = yield from self._inspector.full_key(key)
        if info is None or self._reporter is None or full is None:
            return info
        access = self._reporter.keys.access(full)
        (counts,) = yield self._ask("counts", [access])
        pending, last = self._reporter.pending(full)
        last = last or (counts["last"] / 1000 if "last" in counts else None)
        return replace(info, access_count=counts.get("n", 0) + pending, last_accessed=last)

    # -- removal

    def purge(self, progress: Callable[[int, int], None] | None, unused: Any = None) -> S:
        """Delete dead entries, in batches, and what is left of functions that were `unused` for long; how many entries
        there were.
        """
        idle = None if unused is None else seconds(unused, "unused")
        looked = deleted = 0
        for part in in_parts(entry for table in self._tier.tables() for entry in list(table.entries.values())):
            deleted += sum(self._tier.find(entry.table, entry.key) is None for entry in part)
            yield PAUSE
        self._tier.sweep()
        living: set[str] = set()
        at: Any = None
        while self._scanner.shared is not None:
            at, batch = yield from self._scanner.entries_step(at)
            looked += len(batch)
            living.update(one.name for one in batch if one.alive)
            deleted += yield from self._scanner.bury([one for one in batch if not one.alive])
            if progress is not None:
                progress(looked, deleted)
            if at is None:
                if self._gone is not None and idle is not None:
                    yield from self._gone.remove(living, idle)
                return deleted
        if progress is not None:
            progress(looked, deleted)
        return deleted

    # -- life

    def after_fork(self) -> None:
        """In a child: what the parent counted is not ours to send."""
        if self._reporter is not None:
            self._reporter.after_fork()


def of_fleet(name: str, counts: dict[str, int]) -> FunctionStats:
    """The figures of one function of its counters in the backend."""
    return function_stats(name, {**counts, "compute_seconds": counts.get("compute_us", 0) / 1e6})
