"""How the parts of a cache are put together, from the ground up.

`wire` reads like the architecture: the process's tier, then the backend's store where there is one, then the engine
over both, then whatever can be asked of them. It checks nothing; `memocache._cache.settings` has done so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from memocache._cache.closing import Lifetime
from memocache._cache.dashboard_storage import Notes
from memocache._cache.fleet_processes import Processes
from memocache._cache.function_details import FunctionDetailsReader
from memocache._cache.health import HealthCheck
from memocache._cache.inspect import Inspector
from memocache._cache.invalidation import Invalidation
from memocache._cache.key_pages import KeyPages
from memocache._cache.key_resolver import KeyResolver
from memocache._cache.key_value import KeyValue
from memocache._cache.known_function_names import FunctionNames
from memocache._cache.observer_calls import Reports
from memocache._cache.scan import Scanner
from memocache._cache.settings import Settings
from memocache._cache.statistics import Statistics
from memocache._cache.stats_reporter import StatsReporter
from memocache._calls.cache_core import Core, Services
from memocache._calls.call_key import Places
from memocache._calls.engine import Engine
from memocache._runtime.singleflight import Flights
from memocache._stores.layered.unshared_entries import ProcessBoundStore
from memocache._stores.memory.store import LocalStore
from memocache._stores.memory.tier import LocalTier
from memocache._stores.remote.guard import BackendGuard, tell_of_writes
from memocache._stores.remote.keyspace import Layout
from memocache._stores.remote.store import SharedStore
from memocache.backends._settings import MemorySettings
from memocache.codecs.codec import Codec
from memocache.codecs.copying import copier

if TYPE_CHECKING:
    from memocache._stores.layered.near_cache import NearTier

_MAXSIZE = 10_000


class Operations:
    """What can be asked of one cache, besides calling a function; `Cache` and `AsyncCache` both hold it."""

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
        self.soon: tuple[Callable[[str], Any], Callable[[Any], Any]] = self.key_value.get_soon, self.key_value.glance
        """What an awaited get of a plain key begins with, and what it makes of the answer."""


class Parts(NamedTuple):
    """The parts of one cache; those of a backend are None for ``memory://``."""

    core: Core
    operations: Operations
    guard: BackendGuard | None
    near: NearTier | None
    lifetime: Lifetime | None


class _Remote(NamedTuple):
    """The parts that a backend brings."""

    guard: BackendGuard
    reporter: StatsReporter
    near: NearTier | None
    store: SharedStore


def wire(backend: Any, settings: Settings, codec: Codec, *, owned: bool) -> Parts:
    """Put a cache together over a backend, which ends with it if it is `owned`. No I/O."""
    tier = LocalTier(backend.maxsize if isinstance(backend, MemorySettings) else _MAXSIZE, settings.clock)
    flights, reports = Flights(), Reports(settings.observers, tier)
    emit = reports.emit if settings.observers else None
    if emit is not None:
        tier.on_evict = reports.on_evict
    layout = Layout(settings.prefix, clustered=getattr(backend, "clustered", False))
    remote = None if isinstance(backend, MemorySettings) else _remote(backend, settings, codec, layout, tier, reports)
    guard, reporter, near, shared = remote or (None, None, None, None)
    places = Places(
        tier,
        layout,
        LocalStore(tier, flights, codec),
        shared,
        None if shared is None else ProcessBoundStore(tier, flights, codec, shared),
        settings.digest_key,
        tiered=near is not None,
        maxsize=settings.local or tier.maxsize,
        exclude=settings.exclude,
    )
    engine = Engine(
        tier,
        flights,
        default_ttl=settings.default_ttl,
        max_wait=settings.max_wait,
        raise_faults=settings.on_error == "raise",
        emit=emit,
        freeze=partial(_copier, codec),
    )
    operations = Operations(places, engine, guard, reporter)
    services = Services(
        operations.invalidation.invalidate_function,
        operations.statistics.zero,
        operations.statistics.function,
        operations.details.declare,
        operations.statistics.after_fork,
    )
    core = Core(places, engine, codec, services, guard=guard, near=near, max_value_bytes=settings.max_value_bytes)
    lifetime = None
    if remote is not None:
        lifetime = Lifetime(remote.guard.backend, remote.reporter, near, remote.store.keeper, remote.store.prolonger)
        lifetime.end_with(core, owned=owned)
    return Parts(core, operations, guard, near, lifetime)


def _remote(
    backend: Any, settings: Settings, codec: Codec, layout: Layout, tier: LocalTier, reports: Reports
) -> _Remote:
    """The store of a backend behind its guard, with a near tier in front where ``local=`` asks for one."""
    guard = BackendGuard(backend, reports.on_fault, reports.on_asked if settings.observers else None)
    reporter = StatsReporter(guard, layout, tier, settings.clock)
    near: NearTier | None = None
    make_store: Any = SharedStore
    if settings.local:
        from memocache._stores.layered.near_cache import NearTier
        from memocache._stores.layered.store import TieredStore

        near = NearTier(settings.local, settings.clock, [layout.start(kind) for kind in "ekg"])
        tell_of_writes(near)
        reporter.near = near
        make_store = partial(TieredStore, near=near, tier=tier)
    store = make_store(
        guard,
        layout,
        codec,
        settings.clock,
        settings.sealer,
        settings.compression,
        max_value_bytes=settings.max_value_bytes,
        on_decode_error=reports.on_decode_error,
        hits=reporter,
    )
    return _Remote(guard, reporter, near, store)


def _copier(codec: Codec, value: Any) -> tuple[Any, Callable[[Any], Any] | None]:
    return copier(value, codec)
