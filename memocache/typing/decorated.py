"""What type checkers take a decorated function for: for annotations, no object has one of these as its class."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, final, overload

from memocache.typing.missing import Missing

if TYPE_CHECKING:
    from memocache.stats import CacheInfo, CacheStatus, FunctionStats

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")
T = TypeVar("T")


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

    async def map(self, *iterables: Iterable[Any], concurrency: int = 64) -> list[R_co]:
        """Like ``map``, but a list: one round trip of look-ups, then only the misses are computed, side by side.

        `concurrency` is how many of them at a time. The first failure is raised, and cancels those that run.
        """
        ...

    async def with_status(self, *args: P.args, **kwargs: P.kwargs) -> tuple[R_co, CacheStatus]:
        """The cached call: its value, and how the cache handled it."""
        ...

    async def map_with_status(self, *iterables: Iterable[Any], concurrency: int = 64) -> list[tuple[R_co, CacheStatus]]:
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

    async def map(self, *iterables: Iterable[Any], concurrency: int = 64) -> list[list[R]]:
        """The lists of many calls: one round trip of look-ups, then only the misses are computed, side by side."""
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
