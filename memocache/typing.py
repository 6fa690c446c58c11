"""The protocols that others may implement, the sentinels, and what type checkers take a decorated function for.

A **backend** is byte storage with one atomic operation. Everything memocache promises (single-flight, invalidation,
accepted stores) is built on `Backend.read` and `Backend.transact`; the rest has working defaults in
`memocache.backends.base.BaseBackend`. Keys are short `str` without control characters; values are `bytes`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Literal,
    NamedTuple,
    ParamSpec,
    Protocol,
    Self,
    TypeAlias,
    TypeVar,
    final,
    overload,
    runtime_checkable,
)

if TYPE_CHECKING:
    from memocache.stats import CacheInfo, FunctionStats
    from memocache.status import CacheStatus

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")
T = TypeVar("T")


class Missing(Enum):
    """One-member enumeration: a typed sentinel that checkers can narrow."""

    MISSING = "MISSING"

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> Literal[False]:
        return False


MISSING: Final = Missing.MISSING
"""Absence of a value, where ``None`` is a value. It is falsy; its type is `Missing`, and ``is MISSING`` narrows."""


class Put(NamedTuple):
    """One write: `ttl_ms` is the life in whole milliseconds (at least 1), or None for no expiry."""

    key: str
    value: bytes
    ttl_ms: int | None = None


class Guard(NamedTuple):
    """One condition of a transaction: the key is absent (`head` None), or its value begins with the bytes `head`."""

    key: str
    head: bytes | None = None


class Pieces(bytes):
    """A large value in pieces, for backends that have `pieces_from`: as bytes it is only the first of them."""

    pieces: Sequence[bytes | memoryview]

    def __new__(cls, pieces: Sequence[bytes | memoryview]) -> Self:
        self = super().__new__(cls, pieces[0])
        self.pieces = pieces
        return self


class Once(NamedTuple):
    """The number of a step that must not be taken twice, and the key that remembers the last number for `ttl_ms`."""

    key: str
    number: int
    ttl_ms: int


class Tally(NamedTuple):
    """Figures for one key: numbers to add to its counters, numbers to set, and its life from now (None: no expiry).

    Tallies with the same `once` are one step, to be left out if its number, or a higher one, is remembered already.
    """

    key: str
    adds: Mapping[str, int]
    sets: Mapping[str, int]
    ttl_ms: int | None = None
    once: Once | None = None


class BackendFacts(NamedTuple):
    """What a backend knows of itself; None where it does not know."""

    name: str
    version: str | None = None
    memory_bytes: int | None = None
    expired: int | None = None
    evicted: int | None = None


class Finding(NamedTuple):
    """One thing that a check of a backend found: `level` is "ok", "note", "warn" or "fail"; `advice` may be empty."""

    level: str
    what: str
    found: str
    advice: str


Answer: TypeAlias = tuple[str, "bytes | None", "Sequence[bytes | None]"] | Exception
"""What came of reading one entry and its markers: the entry's key, its value, its markers' values; or what went wrong.

Entries that were asked about with the same list of markers may be given one list of values between them.
"""


class ReadSoon(Protocol):
    """Asks for one entry and its markers together with whatever else is asked for in this turn of the event loop."""

    def __call__(self, entry: str, markers: Sequence[str], timeout: float) -> Awaitable[Answer]:
        """To be awaited in the running loop; raises nothing. It may take `timeout` seconds from when it is sent."""
        ...


class Backend(Protocol):
    """Byte storage shared by everything that uses it; see `memocache.backends.base.BaseBackend` for the defaults.

    Every method takes ``timeout``: seconds the whole operation may take, or None for the backend's own bound.
    Any exception a method raises is translated by memocache; a backend need not translate its own.
    A ``read_now(keys)`` method, where the class has one, is `read` for what takes microseconds, or None where `read`
    must be asked; whatever it raises counts as raised by `read`. Sync hits ask it first, and give it no deadline: it
    has its own, of at most 0.3 s.

    A ``pieces_from`` attribute, where there is one, is from how many bytes on a value may come as `Pieces`; `read` then
    gives it back as a writable memoryview that is the reader's own.
    One whose transactions must keep to one of many buckets has a true ``clustered`` (keys then have a bucket: see
    docs/keys) and may have ``together(calls)``: the results of several operations ``(name, arguments, keywords)`` at
    the same time.
    An ``aio`` attribute, where there is one, has the same methods as coroutines (`close` too); without it the
    methods are called in a worker thread from async code, or directly where ``blocks`` is False. A ``read_soon`` of its
    class, where that is not None, is a `ReadSoon`; async hits ask it first.
    """

    shared: bool
    """Whether other processes (or other caches) see what is written."""
    blocks: bool
    """Whether a call may wait for anything outside the process."""

    def read(self, keys: Sequence[str], *, timeout: float | None = None) -> list[bytes | None]:
        """Return the values of `keys` in their order, None for what is absent or expired. One round trip per node."""
        ...

    def transact(
        self,
        guards: Sequence[Guard],
        puts: Sequence[Put] = (),
        deletes: Sequence[str] = (),
        *,
        members: Sequence[tuple[str, str]] = (),
        publish: str | None = None,
        timeout: float | None = None,
    ) -> list[bytes | None] | None:
        """Apply all writes at once if every guard holds, and return None; else change nothing and return the guards'
        values.

        `members` adds strings to sets (`(key, member)`), `publish` wakes the listeners of a channel after the writes.
        All keys of one call live in one bucket (see docs/keys), so that a cluster can do it on one node.
        """
        ...

    def delete(self, keys: Sequence[str], *, timeout: float | None = None) -> int:
        """Remove `keys` and return how many of them were there."""
        ...

    def scan(self, prefix: str, cursor: Any = None, *, timeout: float | None = None) -> tuple[Any, list[str]]:
        """Return `(next cursor, some keys that begin with prefix)`; begin with None, end when the cursor is None again.

        A key present during the whole scan is returned at least once.
        """
        ...

    def close(self) -> None:
        """Let go of connections and files. Using the backend again reopens it."""
        ...

    def ping(self, *, timeout: float | None = None) -> None:
        """Return if the backend answers; raise otherwise."""
        ...

    def members(self, key: str, *, timeout: float | None = None) -> set[str]:
        """Return the strings added under `key` by `transact(members=…)`."""
        ...

    def prolong(self, lives: Sequence[tuple[str, int]], *, timeout: float | None = None) -> None:
        """Let each of these keys that is there live for so many milliseconds (at least 1) from now."""
        ...

    def tally(self, tallies: Sequence[Tally], *, timeout: float | None = None) -> None:
        """Carry out all tallies, each at once, in one round trip per node; absent counters begin at 0.

        Those with the same `once` are one step, left out if it was taken already: a call whose answer was lost can be
        repeated.
        """
        ...

    def counts(self, keys: Sequence[str], *, timeout: float | None = None) -> list[dict[str, int]]:
        """Return the counters under each of `keys`, in their order; one round trip per node."""
        ...

    def subscribe(self, channel: str, wake: Callable[[], None]) -> Callable[[], None] | None:
        """Call `wake` (from any thread) after each publish on `channel` until the returned function is called.

        None means that this backend has no messages and the caller must poll.
        """
        ...

    def facts(self, *, timeout: float | None = None) -> BackendFacts:
        """Return what the backend knows of its version, memory, expiries and evictions."""
        ...

    def watch(self, starts: Sequence[str], watcher: Watcher) -> Callable[[], None] | None:
        """Tell `watcher` (from any thread) of changes to keys that begin with one of `starts`, until the returned
        function is called; returns at once.

        None means that this backend cannot tell.
        """
        ...


class Watcher(Protocol):
    """Who is told of changes in a backend; its methods are quick and do not raise."""

    def changed(self, keys: Iterable[str] | None) -> None:
        """These keys were written, removed or lost; None: any may have been."""
        ...

    def heard(self, since: float) -> None:
        """Every change acknowledged before `since` (as of `time.monotonic`) has been told; minus infinity: nothing is
        certain any more.
        """
        ...

    def refused(self) -> None:
        """The backend does not tell after all."""
        ...


@runtime_checkable
class Clock(Protocol):
    """Where time comes from: `time` is epoch seconds, `monotonic` only moves forward; both in seconds."""

    def time(self) -> float: ...

    def monotonic(self) -> float: ...


class Observer(Protocol):
    """A callable that is given each event: an object of a class that `memocache.instrumentation` exports.

    It runs in the thread of the call, so it must be quick. It must not raise.
    """

    def __call__(self, event: Any, /) -> None: ...


@final
class Nothing:
    """A result that no function has. Only ``Any`` and a free type variable fit it, by which checkers tell functions of
    an unknown result from coroutine functions.
    """


class _Decorated(Protocol[P]):
    """What decorated functions of both colours have in common; nothing here is awaited."""

    __name__: str
    __qualname__: str

    def cache_info(self) -> CacheInfo:
        """Hits, misses, maxsize and currsize, in this process."""
        ...

    def cache_parameters(self) -> dict[str, Any]:
        """The settings in force, by name."""
        ...

    def key_for(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The key of a call as the backend sees it. Raises `UnstableKeyError`."""
        ...

    def stats(self) -> FunctionStats:
        """The counters of this function's name, in this process."""
        ...


class _Sync(_Decorated[P], Protocol[P, R_co]):  # type: ignore[misc]  # covariant although `put` takes one: see CachedFunction
    @property
    def __wrapped__(self) -> Callable[P, R_co]: ...

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    def cache_clear(self) -> None:
        """Forget this function's entries everywhere and zero its counters. Raises `BackendError`."""
        ...

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forget one call. Raises `BackendError`."""
        ...

    def invalidate_all(self) -> None:
        """Forget every call of this function, everywhere. Raises `BackendError`."""
        ...

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Compute now, store, and return the value. Raises `BackendError`, and what the function raises."""
        ...

    def peek(self, *args: P.args, **kwargs: P.kwargs) -> R_co | Missing:
        """The cached value, a stale one too, or `MISSING`; never computes, never counts."""
        ...

    def put(self, value: R_co, /, *args: P.args, **kwargs: P.kwargs) -> None:  # type: ignore[misc]  # see CachedFunction
        """Store a value for one call. Raises `BackendError`, `EncodeError`."""
        ...

    def map(self, *iterables: Iterable[Any]) -> list[R_co]:
        """Like ``map``, but a list: one round trip of look-ups, then only the misses are computed."""
        ...

    def with_status(self, *args: P.args, **kwargs: P.kwargs) -> tuple[R_co, CacheStatus]:
        """The cached call: its value, and how the cache handled it."""
        ...

    def map_with_status(self, *iterables: Iterable[Any]) -> list[tuple[R_co, CacheStatus]]:
        """As `map`: pairs of a value and how the cache handled its call."""
        ...


class _Async(_Decorated[P], Protocol[P, R_co]):  # type: ignore[misc]  # as `_Sync`
    @property
    def __wrapped__(self) -> Callable[P, Coroutine[Any, Any, R_co]]: ...

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]: ...

    async def cache_clear(self) -> None:
        """Forget this function's entries everywhere and zero its counters. Raises `BackendError`."""
        ...

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forget one call. Raises `BackendError`."""
        ...

    async def invalidate_all(self) -> None:
        """Forget every call of this function, everywhere. Raises `BackendError`."""
        ...

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Compute now, store, and return the value. Raises `BackendError`, and what the function raises."""
        ...

    async def peek(self, *args: P.args, **kwargs: P.kwargs) -> R_co | Missing:
        """The cached value, a stale one too, or `MISSING`; never computes, never counts."""
        ...

    async def put(self, value: R_co, /, *args: P.args, **kwargs: P.kwargs) -> None:  # type: ignore[misc]  # see CachedFunction
        """Store a value for one call. Raises `BackendError`, `EncodeError`."""
        ...

    async def map(self, *iterables: Iterable[Any]) -> list[R_co]:
        """Like ``map``, but a list: one round trip of look-ups, then only the misses are computed."""
        ...

    async def with_status(self, *args: P.args, **kwargs: P.kwargs) -> tuple[R_co, CacheStatus]:
        """The cached call: its value, and how the cache handled it."""
        ...

    async def map_with_status(self, *iterables: Iterable[Any]) -> list[tuple[R_co, CacheStatus]]:
        """As `map`: pairs of a value and how the cache handled its call."""
        ...


class CachedFunction(_Sync[P, R_co]):
    """A decorated function of parameters `P` that returns `R`: for annotations, no object has this as its class.

    Read from an object, a method's parameters are those without ``self``. Checkers tell kinds of methods apart by the
    first parameter only: annotate ``self`` and ``cls`` with their own type or not at all. `R` is covariant, so that a
    cached method may be overridden by one with a narrower result; `put` takes one all the same.
    """

    # not a protocol: only of a nominal class does pyright take `self` for a Callable
    @overload  # a static method whose first parameter takes anything
    def __get__(  # type: ignore[misc]  # `self` is not always of this type, which is the point of the overload
        self: Callable[Concatenate[object, Q], object], instance: object, owner: type[Any] | None = None, /
    ) -> CachedFunction[P, R_co]: ...
    @overload  # a class method, of the class or an object
    def __get__(self: Callable[Concatenate[T, Q], S], instance: object, owner: T, /) -> CachedFunction[Q, S]: ...
    @overload  # a method or static method, of the class
    def __get__(self, instance: None, owner: type[Any] | None = None, /) -> CachedFunction[P, R_co]: ...
    @overload  # a method, of an object
    def __get__(
        self: Callable[Concatenate[T, Q], S], instance: T, owner: type[Any] | None = None, /
    ) -> CachedFunction[Q, S]: ...
    @overload  # a static method, of an object
    def __get__(self, instance: object, owner: type[Any] | None = None, /) -> CachedFunction[P, R_co]: ...
    def __get__(self, instance: object, owner: Any = None, /) -> Any: ...


class CachedAnyFunction(CachedFunction[P, R_co]):
    """As `CachedFunction`, for functions of which a checker does not know the result: ``-> Any``, no annotation at all,
    and, to mypy, generic functions (``T -> T``), whose arguments it then cannot check either.
    """

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any: ...
    @overload  # the parameters of a generic function, after mypy has bound its type variable to `Nothing`
    def __call__(self: CachedAnyFunction[..., Nothing], *args: Any, **kwargs: Any) -> Any: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    @overload
    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None: ...
    @overload
    def invalidate(self: CachedAnyFunction[..., Nothing], *args: Any, **kwargs: Any) -> None: ...
    def invalidate(self, *args: Any, **kwargs: Any) -> None: ...

    @overload
    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> Any: ...
    @overload
    def refresh(self: CachedAnyFunction[..., Nothing], *args: Any, **kwargs: Any) -> Any: ...
    def refresh(self, *args: Any, **kwargs: Any) -> Any: ...

    @overload
    def peek(self, *args: P.args, **kwargs: P.kwargs) -> Any: ...
    @overload
    def peek(self: CachedAnyFunction[..., Nothing], *args: Any, **kwargs: Any) -> Any: ...
    def peek(self, *args: Any, **kwargs: Any) -> Any: ...

    @overload
    def with_status(self, *args: P.args, **kwargs: P.kwargs) -> Any: ...
    @overload
    def with_status(self: CachedAnyFunction[..., Nothing], *args: Any, **kwargs: Any) -> Any: ...
    def with_status(self, *args: Any, **kwargs: Any) -> Any: ...

    @overload
    def key_for(self, *args: P.args, **kwargs: P.kwargs) -> str: ...
    @overload
    def key_for(self: CachedAnyFunction[..., Nothing], *args: Any, **kwargs: Any) -> str: ...
    def key_for(self, *args: Any, **kwargs: Any) -> Any: ...

    @overload
    def put(self, value: Any, /, *args: P.args, **kwargs: P.kwargs) -> None: ...
    @overload
    def put(self: CachedAnyFunction[..., Nothing], value: Any, /, *args: Any, **kwargs: Any) -> None: ...
    def put(self, value: Any, /, *args: Any, **kwargs: Any) -> None: ...

    # `self` is no Callable here: a Callable made of the fallback above would take any parameter for the first one
    @overload  # type: ignore[override]  # in the order of CachedFunction, with other types of `self`
    def __get__(
        self: CachedAnyFunction[Concatenate[object, Q], S], instance: object, owner: type[Any] | None = None, /
    ) -> CachedAnyFunction[P, R_co]: ...
    @overload
    def __get__(
        self: CachedAnyFunction[Concatenate[T, Q], S], instance: object, owner: T, /
    ) -> CachedAnyFunction[Q, S]: ...
    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None, /) -> CachedAnyFunction[P, R_co]: ...
    @overload
    def __get__(
        self: CachedAnyFunction[Concatenate[T, Q], S], instance: T, owner: type[Any] | None = None, /
    ) -> CachedAnyFunction[Q, S]: ...
    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None, /) -> CachedAnyFunction[P, R_co]: ...
    def __get__(self, instance: object, owner: Any = None, /) -> Any: ...  # pyright: ignore[reportIncompatibleMethodOverride]  # as above


class AsyncCachedFunction(_Async[P, R_co]):
    """As `CachedFunction`, for ``async def``: the call, and what may need the backend, is awaited."""

    @overload  # in the order of CachedFunction
    def __get__(  # type: ignore[misc]  # `self` is not always of this type, which is the point of the overload
        self: Callable[Concatenate[object, Q], object], instance: object, owner: type[Any] | None = None, /
    ) -> AsyncCachedFunction[P, R_co]: ...
    @overload
    def __get__(
        self: Callable[Concatenate[T, Q], Coroutine[Any, Any, S]], instance: object, owner: T, /
    ) -> AsyncCachedFunction[Q, S]: ...
    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None, /) -> AsyncCachedFunction[P, R_co]: ...
    @overload
    def __get__(
        self: Callable[Concatenate[T, Q], Coroutine[Any, Any, S]], instance: T, owner: type[Any] | None = None, /
    ) -> AsyncCachedFunction[Q, S]: ...
    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None, /) -> AsyncCachedFunction[P, R_co]: ...
    def __get__(self, instance: object, owner: Any = None, /) -> Any: ...


class ReadStream(Iterator[R_co], Protocol[R_co]):
    """What a call of a function with ``stream=True`` gives: an iterator that can be closed."""

    def close(self) -> None:
        """Read no further; the last reader of a computation ends it."""
        ...


class AsyncReadStream(Protocol[R_co]):
    """As `ReadStream`, of an async generator function."""

    def __aiter__(self) -> AsyncIterator[R_co]: ...

    async def __anext__(self) -> R_co: ...

    async def aclose(self) -> None:
        """Read no further; the last reader of a computation ends it."""
        ...


class _Streaming(_Decorated[P], Protocol[P]):
    """What functions that stream have in common."""

    @property
    def __wrapped__(self) -> Callable[P, Any]: ...


class CachedStream(_Streaming[P], Protocol[P, R]):
    """As `CachedFunction`, for generator functions with ``stream=True``: a call gives an iterator, the rest is about
    the list of what it yields.
    """

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> ReadStream[R]: ...

    def with_status(self, *args: P.args, **kwargs: P.kwargs) -> tuple[ReadStream[R], CacheStatus]:
        """The stream of a call, and how the cache handled it up to its beginning."""
        ...

    def peek(self, *args: P.args, **kwargs: P.kwargs) -> list[R] | Missing:
        """The list that is cached, or `MISSING`; never computes, never counts."""
        ...

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> list[R]:
        """Compute now, store, and return the list. Raises `BackendError`, and what the function raises."""
        ...

    def put(self, value: Iterable[R], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Store the items of one call. Raises `BackendError`, `EncodeError`."""
        ...

    def map(self, *iterables: Iterable[Any]) -> list[list[R]]:
        """The lists of many calls: one round trip of look-ups, then only the misses are computed."""
        ...

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forget one call. Raises `BackendError`."""
        ...

    def invalidate_all(self) -> None:
        """Forget every call of this function, everywhere. Raises `BackendError`."""
        ...

    def cache_clear(self) -> None:
        """Forget this function's entries everywhere and zero its counters. Raises `BackendError`."""
        ...


class AsyncCachedStream(_Streaming[P], Protocol[P, R]):
    """As `CachedStream`, for async generator functions; all but the call itself is awaited."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> AsyncReadStream[R]: ...

    async def with_status(self, *args: P.args, **kwargs: P.kwargs) -> tuple[AsyncReadStream[R], CacheStatus]:
        """The stream of a call, and how the cache handled it up to its beginning."""
        ...

    async def peek(self, *args: P.args, **kwargs: P.kwargs) -> list[R] | Missing:
        """The list that is cached, or `MISSING`; never computes, never counts."""
        ...

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> list[R]:
        """Compute now, store, and return the list. Raises `BackendError`, and what the function raises."""
        ...

    async def put(self, value: Iterable[R], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Store the items of one call. Raises `BackendError`, `EncodeError`."""
        ...

    async def map(self, *iterables: Iterable[Any]) -> list[list[R]]:
        """The lists of many calls: one round trip of look-ups, then only the misses are computed."""
        ...

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forget one call. Raises `BackendError`."""
        ...

    async def invalidate_all(self) -> None:
        """Forget every call of this function, everywhere. Raises `BackendError`."""
        ...

    async def cache_clear(self) -> None:
        """Forget this function's entries everywhere and zero its counters. Raises `BackendError`."""
        ...
