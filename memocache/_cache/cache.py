"""`Cache`: wires the parts, and is the face of their operations in both colours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, cast

from memocache._cache.aio import AsyncCache, describe_as
from memocache._cache.invalidation import Count
from memocache._cache.settings import Settings, backend_of, checked
from memocache._cache.tenants import Tenants
from memocache._cache.wiring import Parts, wire
from memocache._calls.cache_core import Core
from memocache._calls.decorators import Decorator, LoaderDecorator
from memocache._calls.function import name_or_none
from memocache._calls.options import Ttl
from memocache._runtime import disabled as _disabled
from memocache._runtime.drivers import run, unwrap
from memocache.codecs.codec import Codec
from memocache.exceptions import ConfigurationError
from memocache.stats import CacheStats, CacheStatus, EntryInfo, FunctionDetails, Health, KeysPage
from memocache.typing import MISSING, Backend, Clock, Missing, Observer

if TYPE_CHECKING:
    from ssl import SSLContext


T = TypeVar("T")
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

        tenants: True: every use is for the tenant that `tenant` binds in its context, and raises where none is. An int:
            how many tenants the process holds at a time (True: 1,000).

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
        tenants: bool | int = False,
    ) -> None:
        made = backend_of(backend, credentials, tls)
        settings = checked(
            prefix=prefix,
            default_ttl=default_ttl,
            local=local,
            secret=secret,
            encrypt=encrypt,
            compress=compress,
            compress_above=compress_above,
            on_error=on_error,
            max_value_bytes=getattr(made, "max_value_bytes", None) if max_value_bytes is None else max_value_bytes,
            max_wait=max_wait,
            clock=clock,
            observers=observers,
            exclude=exclude,
            tenants=tenants,
        )
        if not isinstance(trust, Iterable):
            raise ConfigurationError("trust takes the names of modules, as in trust=['shop.models']")
        self._codec = Codec(trust=trust, max_bytes=max(settings.max_value_bytes, CODEC_BYTES))
        self._connect(made, settings, owned=isinstance(backend, str))

    def _connect(self, made: Any, settings: Settings, *, owned: bool) -> None:
        """Wire the parts on a backend; `memocache.testing.in_memory` does so again. Decorated functions hold a core."""
        self._settings = settings
        parts = wire(made, settings, self._codec, owned=owned)
        self._tenants: Tenants | None = None
        if settings.tenants:
            make = partial(_tenant_parts, made, settings, self._codec)
            self._tenants = Tenants(parts, make, settings.prefix, settings.tenants)
            parts = self._tenants.parts
        self._core, self._operations, self._guard, self._near, self._lifetime = parts
        self._places, self._engine, self._tier = self._core.places, self._core.engine, self._core.tier
        self._flights = self._engine.flights
        self.aio = AsyncCache(self._operations, self._core, self._lifetime)

    def __repr__(self) -> str:
        kind = "memory" if self._guard is None else type(self._guard.backend).__name__
        return f"<Cache {kind} prefix={self._settings.prefix!r}>"

    @property
    def backend(self) -> Backend | None:
        """The backend; None where the process itself is the only place."""
        return None if self._guard is None else self._guard.backend

    # -- decorators

    @property
    def cached(self) -> Decorator:
        """Decorates functions whose results this cache is to remember; see `memocache.cached` for the options."""
        return Decorator(self._called_core)

    @property
    def cached_many(self) -> LoaderDecorator:
        """Decorates loaders ``load(ids, *rest) -> Mapping[id, value]``; see `memocache.cached_many` for the options."""
        return LoaderDecorator(self._called_core)

    def _called_core(self) -> Core:
        """The core that a decorated function is to be bound to now."""
        return self._core if self._tenants is None else self._tenants.core()

    def tenant(self, name: str) -> AbstractContextManager[None]:
        """Inside the block, this cache and the functions on it are for the tenant `name`, in this thread or task and in
        what it starts; entries, flights, figures and invalidations are apart from every other tenant's.

        Raises `ConfigurationError` for a cache without ``tenants=True``, and for what is no name.
        """
        if self._tenants is None:
            raise ConfigurationError("tenant() is for a cache with tenants, as in Cache(tenants=True)")
        return self._tenants.inside(name)

    def register(
        self,
        type_: type[T],
        encode: Callable[[T], object],
        decode: Callable[[Any], T],
        *,
        key: Callable[[T], object] | None = None,
        subclasses: bool = False,
    ) -> None:
        """Teach the cache a type: `encode` makes of an instance something storable, `decode` the instance of that.

        As arguments its instances are known by `key`, else by what `encode` makes of them; of two caches that teach one
        class, the last is believed in that. With `subclasses` it all goes for instances of subclasses too, unless
        they are taught themselves: `decode` must tell them apart. Raises `ConfigurationError` for a type that is
        stored already.
        """
        self._codec.register(type_, encode, decode, key=key, subclasses=subclasses)

    def disabled(self) -> AbstractContextManager[None]:
        """Inside the block, functions on this cache compute and store nothing (in this thread or task)."""
        return _disabled.off(frozenset({self._core.switch}))

    # -- key-value use

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `key`, or `default`. Raises `BackendError`."""
        return run(self._operations.key_value.get(key, default))

    def set(self, key: str, value: Any, ttl: Any = MISSING, tags: Iterable[str] = ()) -> None:
        """Store `value` for `ttl` (left out: `default_ttl`; None: for ever). Raises `BackendError`, `EncodeError`,
        `ValueError`.
        """
        run(self._operations.key_value.set(key, value, ttl, tags))

    def add(self, key: str, value: Any, ttl: Any = MISSING, tags: Iterable[str] = ()) -> bool:
        """Store `value` as `set` does, if `key` has no value; whether it was stored. Of callers in any number of
        processes one stores. Raises `BackendError`, `EncodeError`, `ValueError`.
        """
        return cast(bool, run(self._operations.key_value.add(key, value, ttl, tags)))

    def incr(self, key: str, delta: float = 1) -> Any:
        """Add `delta` to the number that `key` has, and return the sum; None if it has no value. Its ttl and tags
        stay, and no step of anybody is lost. Raises `BackendError`; `TypeError` where there is no number.
        """
        return run(self._operations.key_value.incr(key, delta))

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

    def get_many_with_status(self, keys: Iterable[str]) -> dict[str, tuple[Any, CacheStatus]]:
        """Of each key its value (`MISSING` if it has none) and how it was found, as by `get_many`. Raises
        `BackendError`.
        """
        found = run(self._operations.key_value.get_many_with_status(keys))
        return cast("dict[str, tuple[Any, CacheStatus]]", found)

    def set_many(self, mapping: Mapping[str, Any], ttl: Any = MISSING, tags: Iterable[str] = ()) -> None:
        """Store every value of `mapping`. Raises `BackendError`, `EncodeError`, `ValueError`."""
        run(self._operations.key_value.set_many(mapping, ttl, tags))

    def delete_many(self, keys: Iterable[str]) -> int:
        """Remove `keys`; how many were there. Raises `BackendError`."""
        return cast(int, run(self._operations.key_value.delete_many(keys)))

    def get_or_compute(
        self, key: str, function: Callable[[], T], ttl: Ttl | Missing = MISSING, tags: Iterable[str] = ()
    ) -> T:
        """The value of `key`, or what `function`, called without arguments, returns: it is stored for `ttl` (as of
        `cached`: a callable of the result too) under `tags`. Callers that ask at the same time, in threads, tasks and
        processes, share one computation.

        A backend that fails costs the caching and no answer, as with decorated functions; what cannot be stored is
        returned, with one `UncacheableWarning`. What `function` raises is raised, and not stored. Raises `TypeError`,
        `ValueError`, `ConfigurationError` for bad input, before anything is computed.
        """
        off = self._core.off()
        steps = self._operations.key_value.get_or_compute(key, function, ttl, tags, is_async=False, off=off)
        return cast(T, unwrap(run(steps)))

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

    def purge(self, progress: Callable[[int, int], None] | None = None, *, unused: Any = "30d") -> int:
        """Delete dead entries for good, in bounded batches; how many. `progress` is called with (looked at, deleted).

        What the backend knows of functions that have no entry and were not called for `unused` (a duration; None: for
        ever) goes too: names, markers, figures. Raises `BackendError`.
        """
        return cast(int, run(self._operations.statistics.purge(progress, unused)))

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


def _tenant_parts(made: Any, settings: Settings, codec: Codec, prefix: str) -> Parts:
    return wire(made, settings._replace(prefix=prefix), codec, owned=False)


describe_as(AsyncCache, Cache)
