"""What a decorated function is: its colour, its name, its signature, and the identity that goes into its keys.

A function is known by its name, if that leads to it; every other also by a digest of its code; and by what it captured,
by value, as at its first call (see `memocache._calls.captures`). ``name=`` vouches that the name alone does it.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import os
import sys
import types
from collections.abc import Callable
from typing import Any

from memocache._calls.captures import Reading, Unnameable
from memocache._calls.code_digest import code_digest, layers
from memocache._calls.exclusions import Excluded, Exclusions
from memocache._calls.keys.canonical import canonical
from memocache._calls.options import Options, check, template_fields
from memocache._calls.signature import Signature
from memocache._runtime.object_identity import NoIdentity, type_name
from memocache.exceptions import ConfigurationError

_numbers = itertools.count()


class Function:
    """One decorated function and its options."""

    def __init__(self, target: Any, settings: dict[str, Any], bulk: bool = False) -> None:
        self.descriptor = type(target) if isinstance(target, classmethod | staticmethod) else None
        plain = target.__func__ if self.descriptor else target
        if isinstance(plain, type):
            raise TypeError(f"cached() takes functions, and {plain.__qualname__} is a class; decorate its methods")
        if not callable(plain):
            raise TypeError(f"cached() takes functions, not {type(plain).__name__} objects")
        inner = _unwrapped(plain)
        self.plain: Callable[..., Any] = plain
        self.run: Callable[..., Any] = plain
        """What a computation calls: `plain`, or for one that streams what gathers its items."""
        streams = settings.get("stream") is True
        # an object with `async def __call__` is as async as a function
        self.is_async = any(map(inspect.iscoroutinefunction, (inner, type(inner).__call__)))
        found = list(layers(plain))
        if streams:
            self.is_async = any(map(inspect.isasyncgenfunction, found))
            if not self.is_async and not any(map(inspect.isgeneratorfunction, found)):
                raise TypeError(
                    f"cached(stream=True) takes generator functions and async ones, and {_qualname(plain)} is neither; "
                    "leave stream= out"
                )
        for layer in () if streams else found:
            if not self.is_async and (inspect.isgeneratorfunction(layer) or inspect.isasyncgenfunction(layer)):
                raise TypeError(
                    f"cached() cannot remember {_qualname(plain)}: a generator is used up by its first reader; "
                    "pass stream=True, or return a list instead (and above a wrapper that does so, delete its "
                    "__wrapped__)"
                )
        if streams:
            self.run = _gathering_soon(plain) if self.is_async else _gathering(plain)
        self.signature = Signature(plain, _qualname(plain))
        outer, _, _ = self.signature.qualname.rpartition(".")
        self.in_class = bool(outer) and not outer.endswith("<locals>")
        # the inside of a class method: its first argument is a class
        self.wants_class = self.descriptor is None and self.in_class and self.signature.names[:1] == ["cls"]
        self.options: Options = check(self.signature, **settings)
        self.name = self.options.name or f"{_module(inner)}.{_qualname(plain)}"
        self.key_fields = (
            template_fields(self.options.key, self.signature, "key") if isinstance(self.options.key, str) else None
        )
        self.given = target, settings, bulk
        self.number = next(_numbers)
        """Another for each decoration."""
        self._read: dict[str, tuple[tuple[Any, ...], str | None]] = {}
        """What it "captured", and why no other process could know it, once that was read."""
        self._bulk = bulk
        self.exclude_also(())

    def exclude_also(self, more: Excluded) -> bool:
        """Leave out of keys what `exclude=` and `more` say; whether that changes the parameters in the key."""
        before = getattr(self, "exclusions", None)
        self.exclusions = Exclusions(self.signature, _innermost(self.plain), (self.options.exclude, more))
        names = self.signature.names
        # whether the key is made of parameter values as they are, so that the compiled look-up can serve it
        self.direct = (
            not self._bulk
            and not callable(self.options.key)
            and all(name in names for name in (*(self.key_fields or ()), *self.exclusions.names))
            and self.exclusions.plain
        )
        return before is not None and before.names != self.exclusions.names

    def become_method(self) -> None:
        """It turned out to be a method: a wrapper that wants to know its object is bound to it before it is run."""
        plain: Any = self.plain
        if self.descriptor is classmethod and sys.version_info >= (3, 13):
            return  # Python's own binds what it wraps no longer
        if type(plain) is not types.FunctionType and hasattr(type(plain), "__get__"):
            self.run = lambda me, /, *args, **kwargs: plain.__get__(me, type(me))(*args, **kwargs)

    @property
    def declared_tags(self) -> tuple[str, ...]:
        """The tags as declared: templates unrendered, a callable by its name."""
        tags = self.options.tags
        return tags if isinstance(tags, tuple) else (f"{getattr(tags, '__name__', 'callable')}()",)

    def included(self) -> list[str]:
        """The parameters whose plain values make the key; empty when a callable or a template with attributes does."""
        if self.key_fields is not None:
            return (
                list(dict.fromkeys(self.key_fields)) if all(f in self.signature.names for f in self.key_fields) else []
            )
        return [name for name in self.signature.names if name not in self.exclusions.names]

    def settings(self) -> tuple[Any, ...]:
        """What of the options makes other keys, or entries that are computed otherwise."""
        options = self.options
        version = options.version
        if version == "auto":
            version = "auto:" + b"".join(map(code_digest, layers(self.plain))).hex()
        key = options.key if isinstance(options.key, str) else bool(options.key)
        excluded: tuple[Any, ...] = self.exclusions.names
        if self.exclusions.classes:
            excluded = (*excluded, tuple(sorted(map(type_name, self.exclusions.classes))))
        kind = "stream" if options.stream else "function"
        return kind, version, tuple(self.signature.names), key, excluded

    @property
    def settled(self) -> bool:
        """Whether its identity was read, as at its first call."""
        return bool(self._read)

    @property
    def more_than_a_name(self) -> bool:
        """Whether code or what it captured is part of its identity."""
        return bool(self._read and self._read["captured"][0])

    def settle(self) -> None:
        """Read what the function captured, once and for all."""
        if not self._read:
            read: tuple[tuple[Any, ...], str | None] = (), None
            if self.options.name is None:
                try:
                    read = Reading().of(self.plain), None
                except Unnameable as reason:
                    read = _apart(str(reason))
            # of threads that make the first call together, all take what the first of them read
            self._read.setdefault("captured", read)

    def identity(self) -> tuple[bytes, str | None]:
        """Canonical bytes of what the function is, and why no other process could know it (None: any could)."""
        self.settle()
        captured, apart = self._read["captured"]
        return canonical((*self.settings(), *captured)), apart

    def code(self) -> bytes:
        """Canonical bytes of the code that the function consists of."""
        return canonical(Reading(code_only=True).of(self.plain))

    def keep_apart(self, why: str) -> None:
        """Make the function known by nothing but itself from now on."""
        self._read["captured"] = _apart(why)

    def defaults_without_value(self) -> dict[int, Any]:
        """The defaults that only being the default of their parameter identifies, by the parameter's number."""
        found: dict[int, Any] = {}
        for number, parameter in enumerate(self.signature.parameters):
            if parameter.default is not parameter.empty:
                try:
                    canonical(parameter.default)
                except NoIdentity:
                    found[number] = parameter.default
        return found


def _gathering(plain: Callable[..., Any]) -> Callable[..., list[Any]]:
    return lambda *args, **kwargs: list(plain(*args, **kwargs))


def _gathering_soon(plain: Callable[..., Any]) -> Callable[..., Any]:
    async def gather(*args: Any, **kwargs: Any) -> list[Any]:
        return [item async for item in plain(*args, **kwargs)]

    return gather


def _apart(why: str) -> tuple[tuple[Any, ...], str]:
    return ("apart", os.urandom(16)), why


def _innermost(function: Any) -> Any:
    *_, last = layers(function)
    return last


def _unwrapped(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _named(function: Any) -> str:
    return f"{_module(function)}.{_qualname(function)}"


def _module(function: Any) -> str:
    return getattr(function, "__module__", None) or type(function).__module__ or "builtins"


def _qualname(function: Any) -> str:
    inner = _unwrapped(function)
    return getattr(inner, "__qualname__", None) or type(inner).__qualname__


def public_name(function: Any) -> str:
    """The name of a decorated function, a plain one, or the name itself; raises `ConfigurationError`."""
    if isinstance(function, str):
        if not function:
            raise ConfigurationError("a function's name is not empty")
        return function
    found = getattr(function, "_self_function", None)  # a Memoized, or a bound one through it
    if isinstance(found, Function):
        return found.name
    if callable(function):
        return f"{function.__module__}.{function.__qualname__}"
    raise ConfigurationError("takes a decorated function or a function's name")


def name_or_none(function: Any) -> str | None:
    """As `public_name`; None for None."""
    return None if function is None else public_name(function)
