"""`Cache`: wires the parts, and is the face of their operations in both colours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, cast

from memocache._cache.aio import AsyncCache
from memocache._cache.invalidation import Count
from memocache._cache.lifetime import Lifetime
from memocache._cache.operations import Operations
from memocache._cache.reports import Reports
from memocache._cache.settings import clock_of, digest_key, sealer_of, secrets_of
from memocache._cache.stats_reporter import StatsReporter
from memocache._calls.call_key import Places
from memocache._calls.core import Core, Services
from memocache._calls.decorators import Decorator, LoaderDecorator
from memocache._calls.engine import Engine
from memocache._calls.exclusions import checked_exclusions
from memocache._calls.function import name_or_none
from memocache._calls.options import ttl_setting
from memocache._runtime import disabled as _disabled
from memocache._runtime.drivers import run
from memocache._runtime.singleflight import Flights
from memocache._stores.layered.process_bound import ProcessBoundStore
from memocache._stores.memory.store import LocalStore
from memocache._stores.memory.tier import LocalTier
from memocache._stores.remote.compression import Compression
from memocache._stores.remote.guard import BackendGuard, tell_of_writes
from memocache._stores.remote.keyspace import Layout
from memocache._stores.remote.store import SharedStore
from memocache.backends._registry import make_backend
from memocache.backends._settings import MemorySettings
from memocache.codecs.codec import Codec
from memocache.codecs.copying import copier
from memocache.exceptions import ConfigurationError
from memocache.stats import CacheStats, EntryInfo, FunctionDetails, Health, KeysPage
from memocache.typing import MISSING, Backend, Clock, Observer

if TYPE_CHECKING:
    from ssl import SSLContext

    from memocache._stores.layered.near_cache import NearTier

T = TypeVar("T")
MAX_VALUE_BYTES = 16 * 2**20
CODEC_BYTES = 64 * 2**20
COMPRESS_ABOVE = 1024


class Cache:
    """A cache over one backend; for sync and async callers, any number of threads and event loops.

    Args:
        backend: a URL (``memory://?maxsize=10000``, ``redis://``, ``rediss://``, ``unix://``, ``valkey://``,
            ``redis+cluster://``, ``redis+sentinel://``,
            ``null://``, or a scheme registered under the entry points ``memocache.backends``), or an object of
            `memocache.typing.Backend`.
        prefix: what every key in the backend begins with; caches of different prefixes share nothing.
        default_ttl: seconds (or any duration) for entries whose ttl is left out; None: they never expire.
        local: entries held in the process in front of a shared backend, at most 1 s behind it; 0 is off. ``memory://``
            is in the process as it is.
        secret: text or bytes (or several: the first signs, all verify) that make key digests a MAC and sign envelopes.
        encrypt: encrypt results and errors under `secret` too (extra ``encryption``); only envelopes so encrypted are
            believed.
        compress: "zstd" or "lz4" (extras of these names) for what is stored in a shared backend, or None. Entries
            compressed by other caches are read whatever this says.
        compress_above: encoded results of at most this many bytes are not compressed.
        on_error: "compute" (backend trouble costs a decorated call its caching) or "raise" (`BackendError`).
        max_value_bytes: encoded results larger than this are not stored in a shared backend; left out, 16 MiB, and on
            ``disk://`` 1 GiB.
        max_wait: seconds a call waits for somebody else's computation before it computes itself.
        clock: an object with ``time()`` and ``monotonic()``, or one callable for both.
        observers: callables that are given each event (`memocache.instrumentation` exports the events' classes).
        exclude: what takes no part in the keys of any function: classes (`Session`, `Request`), or names of
            parameters, in addition to a function's own ``exclude``.
        trust: modules whose classes may be rebuilt from stored values, besides those seen as results or annotations.
        credentials: a credential provider of redis-py's, asked for a login for each new connection to a server.
        tls: an `ssl.SSLContext` for ``rediss://`` and its kin, in place of the URL's ``ssl_`` options.

    Raises `ConfigurationError` or `ValueError` for settings that cannot work. No I/O until first use.
    """

    def __init__(
        self,
        backend: str | Backend = "memory://",
        *,
        prefix: str = "memo",
        default_ttl: Any = 3600,
        local: int = 0,
        secret: str | bytes | Sequence[str | bytes] | None = None,
        encrypt: bool = False,
        compress: Literal["zstd", "lz4"] | None = None,
        compress_above: int = COMPRESS_ABOVE,
        on_error: Literal["compute", "raise"] = "compute",
        max_value_bytes: int | None = None,
        max_wait: Any = 300,
        clock: Clock | Callable[[], float] | None = None,
        observers: Iterable[Observer] = (),
        trust: Iterable[str] = (),
        credentials: Any = None,
        tls: SSLContext | None = None,
        exclude: str | type | Iterable[str | type] = (),
    ) -> None:
        if not isinstance(prefix, str) or not prefix:
            raise ConfigurationError("prefix= takes a text that is not empty")
        if on_error not in ("compute", "raise"):
            raise ConfigurationError('on_error= takes "compute" or "raise"')
        if type(local) is not int or local < 0:
            raise ConfigurationError("local= takes how many entries to hold in the process: an int, 0 for none")
        if max_value_bytes is not None and (type(max_value_bytes) is not int or max_value_bytes < 1):
            raise ConfigurationError("max_value_bytes= takes an int of at least 1")
        if type(compress_above) is not int or compress_above < 0:
            raise ConfigurationError("compress_above= takes a number of bytes, an int of at least 0")
        ttl = ttl_setting(default_ttl, "default_ttl")
        if ttl is MISSING or callable(ttl):
            raise ValueError("default_ttl takes a duration or None")
        wait = ttl_setting(max_wait, "max_wait")
        if wait is MISSING or callable(wait):
            raise ValueError("max_wait takes a duration or None")
        if not isinstance(backend, str) and (credentials is not None or tls is not None):
            raise ConfigurationError("credentials= and tls= go with a URL; a backend object has its own")
        made: Any = make_backend(backend, credentials, tls) if isinstance(backend, str) else backend
        if not isinstance(made, MemorySettings) and not callable(getattr(made, "transact", None)):
            raise ConfigurationError("backend= takes a URL or an object with the methods of memocache.typing.Backend")
        largest: int = max_value_bytes or getattr(made, "max_value_bytes", None) or MAX_VALUE_BYTES
        observers = (observers,) if callable(observers) else observers
        if not isinstance(observers, Iterable) or not all(map(callable, observers := tuple(observers))):
            raise ConfigurationError("observers= takes callables of one event")
        excluded = checked_exclusions(exclude)
        self._settings = {"prefix": prefix, "default_ttl": ttl, "on_error": on_error, "max_wait": wait}
        time_source = clock_of(clock)
        secrets = secrets_of(secret)
        key = digest_key(secrets)
        sealer = sealer_of(secrets, encrypt)
        compression = Compression(compress, compress_above)
        layout = Layout(prefix, clustered=getattr(made, "clustered", False))
        if not isinstance(trust, Iterable):
            raise ConfigurationError("trust takes the names of modules, as in trust=['shop.models']")
        self._codec = Codec(trust=trust, max_bytes=max(largest, CODEC_BYTES))
        self._tier = LocalTier(made.maxsize if isinstance(made, MemorySettings) else 10_000, time_source)
        reports = Reports(tuple(observers), self._tier)
        emit = reports.emit if observers else None
        self._flights = Flights()
        local_store = LocalStore(self._tier, self._flights, self._codec)
        self._guard: BackendGuard | None = None
        self._lifetime: Lifetime | None = None
        self._near: NearTier | None = None
        shared: SharedStore | None = None
        reporter: StatsReporter | None = None
        if not isinstance(made, MemorySettings):
            self._guard = BackendGuard(made, reports.on_fault)
            reporter = StatsReporter(self._guard, layout, self._tier, time_source)
            make_store: Any = SharedStore
            if local:
                from memocache._stores.layered.near_cache import NearTier
                from memocache._stores.layered.store import TieredStore

                self._near = NearTier(local, time_source, [layout.start(kind) for kind in "ekg"])
                tell_of_writes(self._near)
                reporter.near = self._near
                make_store = partial(TieredStore, near=self._near, tier=self._tier)
            shared = make_store(
                self._guard,
                layout,
                self._codec,
                time_source,
                sealer,
                compression,
                max_value_bytes=largest,
                on_decode_error=reports.on_decode_error,
                hits=reporter,
            )
        unshared = None if shared is None else ProcessBoundStore(self._tier, self._flights, self._codec, shared)
        self._places = Places(
            self._tier,
            layout,
            local_store,
            shared,
            unshared,
            key,
            tiered=bool(local),
            maxsize=local or self._tier.maxsize,
            exclude=excluded,
        )
        self._engine = Engine(
            self._tier,
            self._flights,
            default_ttl=ttl,
            max_wait=wait,
            raise_faults=on_error == "raise",
            emit=emit,
            freeze=partial(_copier, self._codec),
        )
        self._operations = Operations(self._places, self._engine, self._guard, reporter)
        if emit is not None:
            self._tier.on_evict = reports.on_evict
        self._core = Core(
            self._places,
            self._engine,
            self._codec,
            Services(
                self._operations.invalidation.invalidate_function,
                self._operations.statistics.zero,
                self._operations.statistics.function,
                self._operations.details.declare,
                self._operations.statistics.after_fork,
            ),
            guard=self._guard,
            near=self._near,
        )
        if self._guard is not None and reporter is not None and shared is not None:
            self._lifetime = Lifetime(self._guard.backend, reporter, self._near, shared.keeper)
            self._lifetime.end_with(self._core, owned=isinstance(backend, str))
        self.aio = AsyncCache(self._operations, self._core, self._lifetime)

    def __repr__(self) -> str:
        kind = "memory" if self._guard is None else type(self._guard.backend).__name__
        return f"<Cache {kind} prefix={self._settings['prefix']!r}>"

    @property
    def backend(self) -> Backend | None:
        """The backend; None where the process itself is the only place."""
        return None if self._guard is None else self._guard.backend

    # -- decorators

    @property
    def cached(self) -> Decorator:
        """Decorates functions whose results this cache is to remember; see `memocache.cached` for the options."""
        return Decorator(lambda: self._core)

    @property
    def cached_many(self) -> LoaderDecorator:
        """Decorates loaders ``load(ids, *rest) -> Mapping[id, value]``; see `memocache.cached_many` for the options."""
        return LoaderDecorator(lambda: self._core)

    def register(
        self,
        type_: type[T],
        encode: Callable[[T], object],
        decode: Callable[[Any], T],
        *,
        key: Callable[[T], object] | None = None,
    ) -> None:
        """Teach the cache a type: `encode` makes of an instance something storable, `decode` the instance of that.

        As arguments its instances are known by `key`, else by what `encode` makes of them; of two caches that teach one
        class, the last is believed in that. Raises `ConfigurationError` for a type that is stored already.
        """
        self._codec.register(type_, encode, decode, key=key)

    def disabled(self) -> AbstractContextManager[None]:
        """Inside the block, functions on this cache compute and store nothing (in this thread or task)."""
        return _disabled.off(frozenset({id(self._core)}))

    # -- key-value use

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `key`, or `default`. Raises `BackendError`."""
        return run(self._operations.key_value.get(key, default))

    def set(self, key: str, value: Any, ttl: Any = MISSING, tags: Iterable[str] = ()) -> None:
        """Store `value` for `ttl` (left out: `default_ttl`; None: for ever). Raises `BackendError`, `EncodeError`,
        `ValueError`.
        """
        run(self._operations.key_value.set(key, value, ttl, tags))

    def delete(self, key: str) -> bool:
        """Remove `key`; whether it was there. Raises `BackendError`."""
        return cast(bool, run(self._operations.key_value.delete(key)))

    def exists(self, key: str) -> bool:
        """Whether `key` has a value. Raises `BackendError`."""
        return cast(bool, run(self._operations.key_value.exists(key)))

    def expire(self, key: str, ttl: Any) -> bool:
        """Let `key` live for `ttl` from now; whether it was there. Raises `BackendError`, `ValueError`."""
        return cast(bool, run(self._operations.key_value.expire(key, ttl)))

    def ttl(self, key: str) -> float | None:
        """Seconds left; `math.inf` if it never expires; None if there is no such key. Raises `BackendError`."""
        return cast("float | None", run(self._operations.key_value.ttl(key)))

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """The values of those of `keys` that have one, in one round trip a node. Raises `BackendError`."""
        return cast("dict[str, Any]", run(self._operations.key_value.get_many(keys)))

    def set_many(self, mapping: Mapping[str, Any], ttl: Any = MISSING, tags: Iterable[str] = ()) -> None:
        """Store every value of `mapping`. Raises `BackendError`, `EncodeError`, `ValueError`."""
        run(self._operations.key_value.set_many(mapping, ttl, tags))

    def delete_many(self, keys: Iterable[str]) -> int:
        """Remove `keys`; how many were there. Raises `BackendError`."""
        return cast(int, run(self._operations.key_value.delete_many(keys)))

    # -- invalidation

    def invalidate(self, function: Any = None, *, tag: str | None = None) -> int:
        """Forget every call of a function (the function, its name, or a pattern such as ``"shop.*"``), or every entry
        with `tag`; return how many known functions it was about (of a tag: 1).

        Raises `BackendError` when the backend cannot be reached: then nothing may be believed forgotten.
        """
        return Count(run(self._operations.invalidation.invalidate(function, tag)))

    def clear(self) -> None:
        """Forget everything under the prefix. Raises `BackendError`."""
        run(self._operations.invalidation.clear())

    def purge(self, progress: Callable[[int, int], None] | None = None) -> int:
        """Delete dead entries for good, in bounded batches; how many. `progress` is called with (looked at, deleted).

        Raises `BackendError`.
        """
        return cast(int, run(self._operations.statistics.purge(progress)))

    # -- looking in

    def keys(self, function: Any = None) -> Iterator[str]:
        """The keys of live entries, plain ones as they were given, or those of one function. Raises `BackendError`."""
        step = run(self._operations.scanner.keys_step(None, name_or_none(function)))
        seen: set[str] = set()
        while True:
            cursor, found = step
            for key in found:
                if key not in seen:
                    seen.add(key)
                    yield key
            if cursor is None:
                return
            step = run(self._operations.scanner.keys_step(cursor, name_or_none(function)))

    def keys_page(self, function: Any = None, cursor: str | None = None, limit: int = 100) -> KeysPage:
        """At most `limit` keys as `keys` gives them, and the cursor for the next ones; each page takes a bounded number
        of requests.

        A page may be short, or empty, before the last, whose cursor is None; a key may come twice. A cursor is a text
        that only this object understands, for about 50 pages. Raises `BackendError`, `ConfigurationError`.
        """
        return run(self._operations.pages.page(name_or_none(function), cursor, limit))

    def inspect(self, key: str) -> EntryInfo | None:
        """What is known about the entry of `key` (plain, or as `keys` and ``key_for`` give it), or None. Raises
        `BackendError`.
        """
        return cast("EntryInfo | None", run(self._operations.statistics.inspect(key)))

    def stats(self, scope: Literal["process", "fleet"] = "process", *, entries: bool = True) -> CacheStats:
        """The figures of this process, or of every process that shares the backend; without `entries`, only those that
        need no look at every key (no total_keys, no average ttl).

        While the backend is away this process's figures are to be had, with None for those that only the backend
        knows; the fleet's raise `BackendError`.
        """
        return cast(CacheStats, run(self._operations.statistics.stats(scope, entries)))

    def details(
        self, name: str, scope: Literal["process", "fleet"] = "process", *, entries: bool = True
    ) -> FunctionDetails | None:
        """What there is to know of one function name, in this process or in every one that shares the backend; None if
        it is not known there. Without `entries` none is looked at (no ttl_left). Raises `BackendError`.
        """
        return cast("FunctionDetails | None", run(self._operations.details.details(name, scope, entries)))

    def health(self) -> Health:
        """Whether the backend answers and a probe key comes back as written. Never raises."""
        return cast(Health, run(self._operations.health.check()))

    def breaker(self) -> dict[str, Literal["closed", "open"]]:
        """Whether this process leaves the backend alone ("open"), by the backend's kind ("redis", "disk" …), and in a
        cluster each node known by now, by its address; nothing for ``memory://``. Asks nobody.
        """
        return {} if self._guard is None else self._guard.breakers()

    def _connections(self) -> dict[str, str]:
        """The breakers in words: "connected", or since when and why the backend is not asked. Asks nobody."""
        return {} if self._guard is None else self._guard.connections(time.monotonic())

    def close(self) -> None:
        """Let go of connections and threads, and of entries that hold arguments. Using the cache again reopens it."""
        self._core.tier.let_go()
        if self._lifetime is not None:
            self._lifetime.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _copier(codec: Codec, value: Any) -> tuple[Any, Callable[[Any], Any] | None]:
    return copier(value, codec)
