"""What a call of a function with ``stream=True`` gives: an iterator, or an async one; and the decorated function."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NoReturn, cast

from memocache._calls.cache_core import Core
from memocache._calls.call_key import Binding
from memocache._calls.function import Function
from memocache._calls.lazy_binding import State, no_look
from memocache._calls.stream_call import StreamCall
from memocache._calls.wrapper import Memoized
from memocache._runtime.drivers import arun, run, unwrap
from memocache._runtime.outcome import Outcome

_ONE_WAY = "a cached stream takes nothing from its reader: what was sent or thrown would be missing when it is replayed"


class _Reading:
    """One reader's end of a stream."""

    def __init__(self, call: StreamCall) -> None:
        self._call = call
        self._done = self._busy = False

    def _enter(self) -> None:
        if self._busy:
            raise ValueError("this stream is being read by another thread or task")
        self._busy = True

    def _given(self, outcome: Outcome) -> Any:
        """An item, or the end raised, after which nothing more is read."""
        if outcome.error is not None:
            self._done = True
            self._call.leave()
        return unwrap(outcome)

    def __del__(self) -> None:
        if not self._done:
            self._done = True
            self._call.leave()


class Stream(_Reading, Iterator[Any]):
    """The items of one call, as the generator yields them or as they were recorded."""

    def __next__(self) -> Any:
        if self._done:
            raise StopIteration
        self._enter()
        try:
            return self._given(run(self._call.step()))
        finally:
            self._busy = False

    def close(self) -> None:
        """Read no further; the last reader of a computation ends it."""
        if not self._done:
            self._done = True
            unwrap(run(self._call.close()))

    def send(self, value: Any, /) -> NoReturn:
        """Raises TypeError."""
        raise TypeError(_ONE_WAY)

    def throw(self, *what: Any) -> NoReturn:
        """Raises TypeError."""
        raise TypeError(_ONE_WAY)


class AsyncStream(_Reading, AsyncIterator[Any]):
    """As `Stream`, of an async generator function."""

    async def __anext__(self) -> Any:
        if self._done:
            raise StopAsyncIteration
        self._enter()
        try:
            return self._given(await arun(self._call.step()))
        finally:
            self._busy = False

    async def aclose(self) -> None:
        """Read no further; the last reader of a computation ends it."""
        if not self._done:
            self._done = True
            unwrap(await arun(self._call.close()))

    async def asend(self, value: Any, /) -> NoReturn:
        """Raises TypeError."""
        raise TypeError(_ONE_WAY)

    async def athrow(self, *what: Any) -> NoReturn:
        """Raises TypeError."""
        raise TypeError(_ONE_WAY)


class TenantStream(Stream):
    """A `Stream` whose generator runs for the tenant of the call, wherever it is read."""

    def __next__(self) -> Any:
        with self._call.inside():
            return super().__next__()

    def close(self) -> None:
        """Read no further; the last reader of a computation ends it."""
        with self._call.inside():
            super().close()


class TenantAsyncStream(AsyncStream):
    """As `TenantStream`, of an async generator function."""

    async def __anext__(self) -> Any:
        with self._call.inside():
            return await super().__anext__()

    async def aclose(self) -> None:
        """Read no further; the last reader of a computation ends it."""
        with self._call.inside():
            await super().aclose()


class _StreamState(State):
    """Binds a function that streams; a call gives the iterator, and does nothing before its first item is asked for."""

    def compile(self) -> Callable[..., Any]:
        self._namespace = {}
        self.unbind()

        def lookup(*args: Any, **kwargs: Any) -> Any:
            core, binding = self.bound()
            return self.stream(StreamCall(core, binding, self.function.signature.bind(args, kwargs)))

        return lookup

    def stream(self, call: StreamCall) -> Any:
        """The reader's end of a call."""
        if call.for_tenant:
            return TenantAsyncStream(call) if self.function.is_async else TenantStream(call)
        return AsyncStream(call) if self.function.is_async else Stream(call)

    def fast_path(self, core: Core, binding: Binding) -> Callable[[Any], None]:
        """Streams look by the engine's steps."""
        return no_look


class MemoizedStream(Memoized):
    """A decorated function that streams; what is stored, and what `peek`, `put` and `refresh` are about, is a list."""

    _self_state: _StreamState

    def put(self, value: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Store the items of one call."""
        if isinstance(value, str | bytes | bytearray):
            raise TypeError(f"{self._self_function.name}: put takes the items, and a {type(value).__name__} is one")
        return super().put(list(value), *args, **kwargs)

    def with_status(self, /, *args: Any, **kwargs: Any) -> Any:
        """The stream of a call, and how the cache handled it up to its beginning."""
        core, binding = self._self_state.bound()
        call = StreamCall(core, binding, self._self_values(args, kwargs))
        if self._self_function.is_async:
            return self._self_named(self._self_open(call), "with_status")
        failed = run(call.open())
        if failed is not None:
            unwrap(failed)
        return self._self_state.stream(call), call.status

    async def _self_open(self, call: StreamCall) -> Any:
        failed = await arun(call.open())
        if failed is not None:
            unwrap(failed)
        return self._self_state.stream(call), call.status


def memoize_stream(target: Any, settings: dict[str, Any], find_core: Callable[[], Core]) -> Memoized:
    """Decorate a generator function."""
    function = Function(target, settings)
    namespace: dict[str, Any] = {}
    if function.descriptor is classmethod:
        namespace = {"__class__": property(lambda self: classmethod), "__func__": property(lambda self: function.plain)}
    made = cast("type[MemoizedStream]", type("MemoizedStream", (MemoizedStream,), namespace))
    return made(function, find_core, _StreamState)
