"""`cached` and `cached_many` of one cache: callable objects whose options are written once, as an overload.

That overload is what type checkers and editors read. At run time it gives the decorator its signature and
documentation, and calling it lets Python itself refuse unknown names.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar, get_overloads, overload

from memocache._calls.cache_core import Core
from memocache._calls.options import Coalesce, Duration, Ttl
from memocache.typing import (
    MISSING,
    AsyncCachedFunction,
    AsyncCachedStream,
    CachedAnyFunction,
    CachedFunction,
    CachedStream,
    Missing,
    Nothing,
)

P = ParamSpec("P")
R = TypeVar("R")
N = TypeVar("N", bound=Nothing)
M = TypeVar("M", bound=Mapping[Any, Any])
Values: TypeAlias = list[R] | tuple[R, ...]


class Decorate(Protocol):
    """What `cached` returns when given options: it takes the function.

    A function that returns an iterator streams: without ``stream=True`` it is refused, or not cached.
    """

    @overload  # an unknown result fits all, a coroutine function or a stream the last too: the first is meant
    def __call__(self, function: Callable[P, N], /) -> CachedAnyFunction[P, N]: ...
    @overload
    def __call__(self, function: Callable[P, AsyncIterator[R]], /) -> AsyncCachedStream[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, function: Callable[P, Iterator[R]], /) -> CachedStream[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncCachedFunction[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, function: Callable[P, R], /) -> CachedFunction[P, R]: ...


class DecorateLoader(Protocol):
    """What `cached_many` returns when given options: it takes the loader."""

    @overload
    def __call__(self, loader: Callable[P, Coroutine[Any, Any, M]], /) -> AsyncCachedFunction[P, M]: ...
    @overload
    def __call__(
        self, loader: Callable[P, Coroutine[Any, Any, Values[R]]], /
    ) -> AsyncCachedFunction[P, dict[Any, R]]: ...
    @overload
    def __call__(self, loader: Callable[P, M], /) -> CachedFunction[P, M]: ...
    @overload
    def __call__(self, loader: Callable[P, Values[R]], /) -> CachedFunction[P, dict[Any, R]]: ...


class Decorator:
    """`cached`: decorates functions so that a cache remembers their results.

    ``@cached``, ``@cached()`` and ``@cached(ttl=60)`` are all legal, on functions, methods, class and static methods,
    sync or async. The decorated function is a `memocache.typing.CachedFunction` or `AsyncCachedFunction`.
    """

    def __init__(self, find_core: Callable[[], Core]) -> None:
        self._find_core = find_core

    def __repr__(self) -> str:
        return "<memocache.cached>"

    @overload  # an unknown result fits all three, a coroutine function the last two: in each case the first is meant
    def __call__(self, function: Callable[P, N], /) -> CachedAnyFunction[P, N]: ...
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncCachedFunction[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, function: Callable[P, R], /) -> CachedFunction[P, R]: ...
    @overload
    def __call__(
        self,
        function: None = None,
        /,
        *,
        ttl: Ttl | Missing = MISSING,
        idle: Duration | None = None,
        stale: Duration | None = None,
        stale_if_error: Duration | None = None,
        early: float = 0.0,
        jitter: float = 0.0,
        soft_timeout: Duration | None = None,
        hard_timeout: Duration | None = None,
        key: str | Callable[..., object] | None = None,
        exclude: str | type | Iterable[str | type] = (),
        tags: str | Iterable[str] | Callable[..., str | Iterable[str]] = (),
        condition: Callable[[Any], bool] | None = None,
        errors: type[Exception] | Iterable[type[Exception]] = (),
        error_ttl: Duration | None = None,
        name: str | None = None,
        version: str | int | None = None,
        maxsize: int | Missing | None = MISSING,
        coalesce: Coalesce = "fleet",
        share: bool = False,
        stream: bool = False,
        strict: bool = False,
    ) -> Decorate:
        """Remember the results of a function.

        A duration is seconds (int or float), a `timedelta`, or a text such as ``"500ms"``, ``"5m"`` or ``"1h30m"``.

        Args:
            function: what to decorate; left out, options are given and a decorator is returned.
            ttl: how long a result is fresh: a duration, or a callable of the result that returns one. None: for ever,
                so that only an invalidation or lack of space ends it. Left out: the cache's ``default_ttl``, an hour
                unless set.
            idle: duration for which an entry may stand unread: one that nobody read for so long is gone, and in any
                case at the end of `ttl` (and `stale`). Reads prolong it at most a quarter of `idle`, or 1 s, late.
                None (default): off.
            stale: duration after `ttl` in which the old value is served at once while one background refresh runs;
                callers may see values of age `ttl` + `stale`. None (default): off.
            stale_if_error: duration after `ttl` in which the old value is served when the function raises, which hides
                the error from the caller. None (default): off.
            early: beta of XFetch (Vattani, Chierichetti, Lowenstein, VLDB 2015): how eagerly a background refresh may
                begin before expiry, weighed by the measured compute time; 1 suits most, more refreshes earlier. 0
                (default): off.
            jitter: from 0 to 1: up to this share of `ttl` is subtracted at random, so that entries stored together do
                not expire together. 0 (default): off.
            soft_timeout: duration after which a stale value, if there is one, is served while the computation goes on
                in the background. A sync function then runs on a worker thread: mind thread-local state. None
                (default): wait.
            hard_timeout: duration after which the caller gets `ComputeTimeout`; the computation still finishes and
                stores, so side effects happen, on a worker thread if sync. None (default): wait.
            key: what identifies a call in place of its arguments: a template over parameter names
                (``"{user_id}:{lang}"``) or a callable of the call's arguments. None (default): all arguments. Whatever
                the key leaves out must not change the result, or one caller gets another's.
            exclude: what takes no part in the key, a connection or a logger, say: names of parameters, or classes (a
                parameter annotated with one, and any argument that is an instance); the same danger as with `key`.
                Default: none but the cache's own ``exclude``.
            tags: names by which entries can be invalidated together: texts, templates over parameter names
                (``"user:{user_id}"``), or a callable of the call's arguments. Default: none.
            condition: called with the result, which is stored only if it returns true. None (default): always.
            errors: exception classes to remember and raise again (negative caching). Default: none. A passing failure
                that is remembered lasts for `error_ttl`.
            error_ttl: duration for which they are remembered. None (default): `ttl`, or ``default_ttl`` where `ttl` is
                a callable.
            name: the function's public name in keys, statistics and invalidation. None (default): module.qualname, so
                a rename or move begins with an empty cache. Two functions of one name must do the same: they share
                entries.
            version: any text or number; another one is another keyspace. ``"auto"`` follows the function's own code,
                though not that of what it calls. None (default): no version.
            maxsize: bound on this decoration's entries held in the process, in a table of its own; None: unbounded.
                Left out: the bound that the cache's functions share.
            coalesce: who shares one computation of a key: ``"fleet"`` (default: everything that shares the backend),
                ``"process"``, or None (nobody: a crowd of callers computes as often as it is large).
            share: True: callers get the very object that is held, as with `functools.lru_cache`; faster, and whoever
                mutates it does so for all. False (default): each has its own.
            stream: True, for generator functions and async ones: what they yield is recorded, and a hit yields it
                again. Callers that come while it runs read along, each at its own pace. Stored only when it ended by
                itself; a reader that stops early stops nobody else. `peek`, `put`, `refresh`, `condition` and `ttl` are
                about the list. False (default): such functions are refused.
            strict: True: a result that cannot be stored faithfully raises `EncodeError`. False (default): it is
                returned uncached, with one `UncacheableWarning`.

        Raises `ConfigurationError` for values that cannot work and names that are no parameters, `ValueError` for bad
        durations, `TypeError` for unknown options, classes and generator functions; all of them when decorating.
        """

    def __call__(self, function: Any = None, /, **settings: Any) -> Any:
        _declared(self, **settings)
        from memocache._calls.wrapper import memoize  # not before: wrapt brings asyncio with it

        def decorate(target: Any) -> Any:
            if settings.get("stream") is True:
                from memocache._calls.stream import memoize_stream

                return memoize_stream(target, settings, self._find_core)
            return memoize(target, settings, self._find_core)

        return decorate if function is None else decorate(function)


class LoaderDecorator:
    """`cached_many`: decorates loaders so that a cache remembers what they return, id by id."""

    def __init__(self, find_core: Callable[[], Core]) -> None:
        self._find_core = find_core

    def __repr__(self) -> str:
        return "<memocache.cached_many>"

    @overload
    def __call__(self, loader: Callable[P, Coroutine[Any, Any, M]], /) -> AsyncCachedFunction[P, M]: ...
    @overload
    def __call__(
        self, loader: Callable[P, Coroutine[Any, Any, Values[R]]], /
    ) -> AsyncCachedFunction[P, dict[Any, R]]: ...
    @overload
    def __call__(self, loader: Callable[P, M], /) -> CachedFunction[P, M]: ...
    @overload
    def __call__(self, loader: Callable[P, Values[R]], /) -> CachedFunction[P, dict[Any, R]]: ...
    @overload
    def __call__(
        self,
        loader: None = None,
        /,
        *,
        ttl: Ttl | Missing = MISSING,
        cache_missing: bool = False,
        name: str | None = None,
        version: str | int | None = None,
        exclude: str | type | Iterable[str | type] = (),
        tags: str | Iterable[str] | Callable[..., str | Iterable[str]] = (),
        coalesce: Coalesce = "fleet",
        strict: bool = False,
    ) -> DecorateLoader:
        """Remember what a loader ``load(ids, *rest) -> Mapping[id, value]`` returns, id by id.

        Ids found in the cache are not passed on; the rest go to one call of the loader, as a list. The loader may also
        return a list with one value for each of these, in their order (`memocache.MISSING`: this one has none). The
        decorated loader always returns a dict of the ids that have a value, in the order asked for. Sync or async.

        Args:
            loader: what to decorate; left out, options are given and a decorator is returned.
            cache_missing: True: an id without a value is remembered as absent for `ttl`, so one that is
                created meanwhile stays unseen until then. False (default): it is asked for each time.
            tags: as of `cached`; in templates and callables, the ids parameter is one id.

        The other options, and what is raised, are those of `cached`.
        """

    def __call__(self, loader: Any = None, /, **settings: Any) -> Any:
        _declared_many(self, **settings)
        from memocache._calls.bulk_loader import memoize_loader

        def decorate(target: Any) -> Any:
            return memoize_loader(target, settings, self._find_core)

        return decorate if loader is None else decorate(loader)


def _declare(call: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The overload of `call` that lists the options. `call` takes its signature, types and documentation over."""
    declared = get_overloads(call)[-1]
    declared.__qualname__ = name  # for Python's message about an unknown option
    functools.update_wrapper(call, declared, assigned=("__doc__", "__annotations__"))
    return declared


_declared = _declare(Decorator.__call__, "cached")
_declared_many = _declare(LoaderDecorator.__call__, "cached_many")
