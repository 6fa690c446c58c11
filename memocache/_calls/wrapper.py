"""The decorated function: `Memoized`, its bound form, and the compiled look-up that serves a hit.

A `Memoized` is a `wrapt.FunctionWrapper` of a class of its own, whose ``__call__`` is the generated look-up as a
staticmethod: the call goes straight into a function with the user's signature. It is bound to a cache when first
used; until then, and whenever the default cache is replaced, its look-up reads an empty table.
"""

from __future__ import annotations

import copy
import functools
import sys
import types
from collections.abc import Callable, Iterable
from itertools import repeat
from typing import Any, cast

import wrapt

from memocache._calls import bulk_lookup
from memocache._calls.cache_core import Core
from memocache._calls.call_entries import invalidate_call, peek_call, put_call
from memocache._calls.call_key import Binding
from memocache._calls.function import Function
from memocache._calls.lazy_binding import State
from memocache._calls.with_status import (
    call_with_status,
    direct_with_status,
    map_directly_with_status,
    map_with_status,
)
from memocache._runtime.drivers import arun, run, unwrap
from memocache._runtime.effects import Steps
from memocache._runtime.outcome import Outcome
from memocache.stats import CacheInfo, FunctionStats

_CODE = frozenset({"__code__", "__defaults__", "__kwdefaults__"})


def _set_annotations(memoized: Any, annotations: Any) -> None:
    memoized.__wrapped__.__annotations__ = annotations


_annotations = property(lambda memoized: memoized.__wrapped__.__annotations__, _set_annotations)


class Memoized(wrapt.FunctionWrapper):  # type: ignore[type-arg]  # what it wraps may be anything
    """A function whose results are remembered; made by `cached`. `memocache.typing.CachedFunction` says what each
    attribute does."""

    def __init__(
        self, function: Function, find_core: Callable[[], Core], make_state: Callable[..., State] | None = None
    ) -> None:
        super().__init__(function.plain, _never)
        self._self_function = function
        self._self_state = (make_state or State)(self, function, find_core)
        type(self).__call__ = staticmethod(self._self_state.compile())  # type: ignore[method-assign]  # a class of its own

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if sys.version_info < (3, 14):
            # reading a class's annotations gives it some there, which would hide the function's
            cls.__annotations__ = _annotations  # type: ignore[assignment]  # for its objects

    # -- the call

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        kind = self._self_function.descriptor
        if kind is staticmethod or (kind is None and instance is None):
            return self
        self._self_state.become_method()
        return type(self).__get__(self, instance, owner)

    def __set_name__(self, owner: type, name: str) -> None:
        if self._self_function.descriptor is not staticmethod:
            self._self_state.become_method()

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in _CODE:
            self._self_state.redefine()

    def __repr__(self) -> str:
        return f"<memocache.cached {self._self_function.name}>"

    def __reduce__(self) -> str:
        return str(self._self_function.plain.__qualname__)

    def __reduce_ex__(self, protocol: Any) -> str:
        return self.__reduce__()

    def __copy__(self) -> Memoized:
        return self  # as any function

    def __deepcopy__(self, memo: Any) -> Memoized:
        return self

    def __dir__(self) -> list[str]:
        # those that it has beside the function's: a mock made by its spec has them too
        own = {name for base in type(self).__mro__[:-1] if issubclass(base, Memoized) for name in vars(base)}
        return sorted({*super().__dir__(), *(name for name in own if not name.startswith("_"))})

    def _self_bind_as_method(self, of_class: bool) -> None:
        """Bind to objects, or classes, without wrapt's help."""
        memoized, lookup = self, type(self).__call__
        namespace: dict[str, Any] = {"__slots__": (), "__doc__": memoized.__doc__, "__module__": memoized.__module__}
        namespace["_memoized"] = staticmethod(lambda: memoized)
        namespace["__annotations__"] = property(lambda _: memoized.__annotations__)
        bound = type("BoundMemoized", (BoundMemoized,), namespace)
        if of_class:

            def get_class(self: Memoized, instance: Any, owner: type | None = None) -> Any:
                return bound(lookup, type(instance) if owner is None else owner)

            type(memoized).__get__ = get_class  # type: ignore[method-assign]  # a class of its own

        else:

            def get(self: Memoized, instance: Any, owner: type | None = None) -> Any:
                return self if instance is None else bound(lookup, instance)

            type(memoized).__get__ = get  # type: ignore[method-assign]  # a class of its own

    # -- what one can ask and do

    def cache_info(self) -> CacheInfo:
        """Hits, misses, maxsize and currsize, in this process."""
        core, binding = self._self_state.asked()
        counted = core.tier.counted(binding.table)
        size = core.tier.currsize(binding.table)
        return CacheInfo(int(counted["hits"]), int(counted["misses"]), binding.maxsize, size)

    def cache_parameters(self) -> dict[str, Any]:
        """The settings in force, by name."""
        core, binding = self._self_state.asked()
        return core.parameters(binding)

    def stats(self) -> FunctionStats:
        """The counters of this function's name, in this process."""
        core, binding = self._self_state.asked()
        return core.services.function_stats(binding.function.name)

    def key_for(self, /, *args: Any, **kwargs: Any) -> str:
        """The key of a call as the backend sees it."""
        _, binding = self._self_state.bound()
        return binding.key_for(self._self_values(args, kwargs))

    def cache_clear(self) -> Any:
        """Forget this function's entries everywhere and zero its counters."""
        core, binding = self._self_state.asked()
        return self._self_run(_clear(core, binding), "cache_clear")

    def invalidate_all(self) -> Any:
        """Forget every call of this function, everywhere."""
        core, binding = self._self_state.asked()
        return self._self_run(core.services.invalidate_function(binding.function.name), "invalidate_all")

    def invalidate(self, /, *args: Any, **kwargs: Any) -> Any:
        """Forget one call."""
        return self._self_do(invalidate_call, args, kwargs, "invalidate")

    def refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        """Compute now, store, and return the value."""
        core, binding = self._self_state.bound()
        values = self._self_values(args, kwargs)
        if core.off():
            return self._self_result(core.engine.leader.direct(binding.function, values), "refresh")
        return self._self_result(core.engine.refresh(binding, values), "refresh")

    def peek(self, /, *args: Any, **kwargs: Any) -> Any:
        """The cached value, a stale one too, or MISSING; never computes, never counts."""
        return self._self_do(peek_call, args, kwargs, "peek")

    def put(self, value: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Store a value for one call."""
        core, binding = self._self_state.bound()
        return self._self_run(put_call(core.engine, binding, self._self_values(args, kwargs), value), "put")

    def map(self, *iterables: Iterable[Any], concurrency: int | None = None) -> Any:
        """Like ``map``, but a list: one round trip of look-ups, then only the misses are computed."""
        most, calls = self._self_most(concurrency), list(zip(*iterables, strict=False))
        return self._self_map(calls, bulk_lookup.map_calls, bulk_lookup.map_directly, "map", most)

    def with_status(self, /, *args: Any, **kwargs: Any) -> Any:
        """The cached call: its value, and how the cache handled it."""
        core, binding = self._self_state.bound()
        values = self._self_values(args, kwargs)
        binding.check_name()
        ask = direct_with_status if core.off() else call_with_status
        return self._self_result(ask(core.engine, binding, values), "with_status")

    def map_with_status(self, *iterables: Iterable[Any], concurrency: int | None = None) -> Any:
        """As `map`: pairs of a value and how the cache handled its call."""
        most, calls = self._self_most(concurrency), list(zip(*iterables, strict=False))
        return self._self_map(calls, map_with_status, map_directly_with_status, "map_with_status", most)

    def _self_most(self, concurrency: int | None) -> int:
        """How many misses of a bulk call are computed at a time."""
        if concurrency is None:
            return bulk_lookup.CONCURRENCY if self._self_function.is_async else 1
        if not self._self_function.is_async:
            raise TypeError(
                f"{self._self_function.name}: concurrency= is for async functions; this one's misses are computed one "
                "after the other"
            )
        if type(concurrency) is not int or concurrency < 1:
            raise ValueError("concurrency= takes an int of at least 1")
        return concurrency

    def _self_map(
        self,
        calls: list[tuple[Any, ...]],
        cached: Callable[..., Steps[Outcome]],
        direct: Callable[..., Steps[Outcome]],
        name: str,
        most: int,
    ) -> Any:
        core, binding = self._self_state.bound()
        # a thousand at once: the question of the class costs a call each, and is asked where there is one
        bind = self._self_values if self._self_function.wants_class else binding.function.signature.bind
        steps = (direct if core.off() else cached)(core.engine, binding, [bind(args, {}) for args in calls], most)
        return self._self_result(steps, name)

    def _self_do(
        self, what: Callable[..., Steps[Any]], args: tuple[Any, ...], kwargs: dict[str, Any], name: str
    ) -> Any:
        core, binding = self._self_state.bound()
        return self._self_run(what(core.engine, binding, self._self_values(args, kwargs)), name)

    def _self_values(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The values of a call that something is asked about. Raises TypeError where the class of it is not given."""
        function = self._self_function
        if function.wants_class and not isinstance(args[0] if args else kwargs.get("cls"), type):
            # since Python 3.13 a classmethod around us does not tell us its class, and no other call is meant
            raise TypeError(
                f"{function.name}: give the class first, as in C.method.invalidate(C, ...), or decorate it with "
                "@cached above @classmethod"
            )
        return function.signature.bind(args, kwargs)

    def _self_run(self, steps: Steps[Any], name: str) -> Any:
        return self._self_named(arun(steps), name) if self._self_function.is_async else run(steps)

    def _self_result(self, steps: Steps[Outcome], name: str) -> Any:
        # unwrapped outside the steps, where the function's own StopIteration may pass
        return self._self_named(_result(steps), name) if self._self_function.is_async else unwrap(run(steps))

    def _self_named(self, coroutine: Any, name: str) -> Any:
        """The coroutine under the name of what was called: Python says it where an ``await`` was forgotten."""
        coroutine.__qualname__ = f"{self._self_function.name}.{name}"
        return coroutine


class BoundMemoized(functools.partial):  # type: ignore[type-arg]  # what it returns is the function's business
    """A decorated method of one object (or class): the look-up with its first argument filled in.

    A partial, because its construction and its call are C; each decorated method has a class of its own, which knows
    it.
    """

    __slots__ = ()
    _memoized: Callable[[], Memoized]

    def invalidate(self, /, *args: Any, **kwargs: Any) -> Any:
        """Forget one call."""
        return self._memoized().invalidate(*self.args, *args, **kwargs)

    def refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        """Compute now, store, and return the value."""
        return self._memoized().refresh(*self.args, *args, **kwargs)

    def peek(self, /, *args: Any, **kwargs: Any) -> Any:
        """The cached value, a stale one too, or MISSING."""
        return self._memoized().peek(*self.args, *args, **kwargs)

    def put(self, value: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Store a value for one call."""
        return self._memoized().put(value, *self.args, *args, **kwargs)

    def key_for(self, /, *args: Any, **kwargs: Any) -> str:
        """The key of a call as the backend sees it."""
        return self._memoized().key_for(*self.args, *args, **kwargs)

    def map(self, *iterables: Iterable[Any], concurrency: int | None = None) -> Any:
        """Like ``map``, but a list."""
        return self._memoized().map(repeat(self.args[0]), *iterables, concurrency=concurrency)

    def with_status(self, /, *args: Any, **kwargs: Any) -> Any:
        """The cached call: its value, and how the cache handled it."""
        return self._memoized().with_status(*self.args, *args, **kwargs)

    def map_with_status(self, *iterables: Iterable[Any], concurrency: int | None = None) -> Any:
        """As `map`: pairs of a value and how the cache handled its call."""
        return self._memoized().map_with_status(repeat(self.args[0]), *iterables, concurrency=concurrency)

    @property
    def __wrapped__(self) -> Any:
        return types.MethodType(self._memoized().__wrapped__, self.args[0])

    @property
    def __self__(self) -> Any:
        return self.args[0]

    @property
    def __func__(self) -> Memoized:
        return self._memoized()

    @property  # type: ignore[misc]  # so that inspect takes it for the bound method that it is
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]  # nobody sets it
        return types.MethodType

    def __getattr__(self, name: str) -> Any:
        return getattr(self._memoized(), name)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bool(self.args[0] is other.args[0])

    def __hash__(self) -> int:
        return hash((type(self), id(self.args[0])))

    def __repr__(self) -> str:
        return f"<bound {self._memoized()!r}>"

    def __deepcopy__(self, memo: Any) -> BoundMemoized:
        return type(self)(self.func, copy.deepcopy(self.args[0], memo))  # as any bound method

    def __reduce__(self) -> Any:
        return getattr, (self.args[0], self._memoized().__name__)


def memoize(target: Any, settings: dict[str, Any], find_core: Callable[[], Core]) -> Memoized:
    """Decorate `target`; `find_core` gives the cache's core at call time."""
    # a class of its own, because Python looks __call__ up on the type
    function = Function(target, settings)
    namespace: dict[str, Any] = {}
    if function.descriptor is classmethod:
        # what a class's dict holds of one: so the standard library sees that its class is bound already
        namespace = {"__class__": property(lambda self: classmethod), "__func__": property(lambda self: function.plain)}
    made = cast("type[Memoized]", type("Memoized", (Memoized,), namespace))
    return made(function, find_core)


def _clear(core: Core, binding: Binding) -> Steps[None]:
    tier, name = core.tier, binding.function.name
    if core.places.shared is None:
        # others of its name have tables of their own, and only the process to be forgotten by
        tables = tier.own(binding.table)
        tier.invalidate_tables(name, tables)
    else:
        yield from core.services.invalidate_function(name)
        tables = tier.tables(name)
    yield from core.services.zero(name, tables)


async def _result(steps: Steps[Outcome]) -> Any:
    return unwrap(await arun(steps))


def _never(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    raise AssertionError("the compiled look-up replaces wrapt's call")
