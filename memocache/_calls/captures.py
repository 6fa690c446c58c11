"""What a function is beyond its name: its code where the name says too little, and what it captured, by value.

One `Reading` follows a function through its layers (partials, bound methods, wrappers) and through the functions that
it captured, as they stand now. It ends with a tuple that is equal in every process for functions that behave alike, or
with `Unnameable` if something is not bound yet or has no value; then nothing but the function itself says what it is.
It does not know caches, arguments or options.
"""

from __future__ import annotations

import dis
import functools
import gc
import inspect
import operator
import re
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any

from memocache._calls.code_digest import code_digest
from memocache._calls.keys.canonical import canonical
from memocache._calls.redefinitions import edition
from memocache._calls.signature import declared
from memocache._runtime.object_identity import NoIdentity, function_path, inherited, type_name

_Parts = tuple[Any, ...]

_OPERATORS = (operator.itemgetter, operator.attrgetter, operator.methodcaller)
# CPython has a subclass for methods of extension types that are told their class; no name leads to it.
_BUILTINS = (types.BuiltinFunctionType, type(re.compile("").sub), types.MethodWrapperType)
_DESCRIPTORS = (types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType)
_PLACEHOLDER = getattr(functools, "Placeholder", functools)
_LOCKS = frozenset({type(threading.Lock()), type(threading.RLock())})
_NAMES_OF_PROGRAMS = ("__main__", "__mp_main__")
"""Modules whose names say nothing: every program has one."""
_INNER = ("__wrapped__", "__func__", "fget", "func")
"""Where decorators and descriptors keep the function they were given."""
_REDUCED_BY = ("__reduce__", "__reduce_ex__", "__getstate__", "__getnewargs__", "__getnewargs_ex__")
_claimed: dict[tuple[str, str, int], bytes] = {}
"""The code of the first function in this process that was known by its name alone, by that name."""


class Unnameable(Exception):
    """A function is known by nothing but itself; the text says why, as the end of a sentence about the function."""


class Reading:
    """One reading of a function and of the functions it captured; each is read once and then known by its number.

    With `code_only` it reads what was written, whatever its name leads to and however its values stand.
    """

    def __init__(self, *, code_only: bool = False) -> None:
        self._code_only = code_only
        self._numbers: dict[int, int] = {}
        self._kept: list[Any] = []  # so that no number is that of a dead object

    def of(self, function: Any) -> _Parts:
        """What a decorated function is besides its name: nothing, if its name says everything. Raises `Unnameable`."""
        if type(function) is types.FunctionType and not function.__closure__ and self._leads_to(function):
            return edition(function)
        return self._callable(function, decorated=True)

    # -- functions and their layers

    def _callable(self, function: Any, *, decorated: bool = False) -> _Parts:
        number = self._numbers.setdefault(id(function), len(self._numbers))
        if number < len(self._kept):
            return "again", number
        self._kept.append(function)
        kind = type(function)
        if kind is types.FunctionType:
            return self._function(function, decorated)
        if kind is types.MethodType:
            return "method", self._callable(function.__func__), self._value(function.__self__)
        if issubclass(kind, functools.partial):
            return self._partial(function)
        if kind in _BUILTINS:
            return self._builtin(function)
        if _is_proxy(kind):
            return self._proxy(function)
        if kind is functools._lru_cache_wrapper:
            return "lru_cache", self._callable(function.__wrapped__)
        if kind in _OPERATORS:
            made, given = function.__reduce__()
            return "operator", kind.__name__, self._value(made), self._values(given)
        if kind in _DESCRIPTORS:
            path = function_path(function)
            return ("named", path) if path is not None else self._apart(function)
        return self._object(function)

    def _function(self, function: types.FunctionType, decorated: bool) -> _Parts:
        named = self._leads_to(function)
        # code alone: a qualname differs with where a function stands
        parts: list[Any] = ["function", function.__module__ if self._code_only else _name(function)]
        if not named:
            parts.append(code_digest(function))
            parts += self._defaults(function, decorated)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            if name == "__class__" and named:
                continue  # the class that its name leads through
            try:
                held = cell.cell_contents
            except ValueError:
                parts.append(self._refuse(f"the name {name!r} in it is not bound yet"))
            else:
                parts.append(self._value(held))
        if not named:
            if not decorated or id(function) in map(id, self._cells(function)):
                seen = {k: v for k, v in vars(function).items() if k != "__wrapped__"}
                parts.append(self._mapping(seen))
            parts += self._globals(function)
        if not self._code_only:
            parts += edition(function)
        return tuple(parts)

    def _defaults(self, function: types.FunctionType, decorated: bool) -> Iterator[Any]:
        """The defaults that a call does not show: those of captured functions, and of a wrapper's hidden parameters."""
        shown: frozenset[str] = frozenset()
        if decorated:
            try:
                shown = frozenset(declared(function).parameters)
            except (ValueError, TypeError):
                pass
        names = function.__code__.co_varnames[: function.__code__.co_argcount]
        given = function.__defaults__ or ()
        # from the last; a wrapper may have been given more defaults than it has parameters
        defaults = dict(zip(reversed(names), reversed(given), strict=False)) | (function.__kwdefaults__ or {})
        for name, default in defaults.items():
            if name not in shown:
                yield name, self._value(default)

    def _globals(self, function: types.FunctionType) -> Iterator[Any]:
        """What a function reads from a namespace that is no module's: made by `exec`, or from another's code."""
        space = function.__globals__
        module = sys.modules.get(str(space.get("__name__")))
        if getattr(module, "__dict__", None) is space:
            return
        for name in sorted(set(_global_names(function.__code__))):
            if name in space:
                yield name, self._value(space[name])
            elif not _is_builtin(space, name):
                yield name, self._refuse(f"the name {name!r} in it is not bound yet")

    def _partial(self, function: Any) -> _Parts:
        kind = type(function)
        if kind is functools.partial:
            return (
                "partial",
                self._callable(function.func),
                self._values(function.args),
                self._mapping(function.keywords),
            )
        if hasattr(kind, "_memoized"):  # a decorated method of one object
            return "method", self._callable(function.__func__), self._value(function.__self__)
        return self._object(function)

    def _builtin(self, function: Any) -> _Parts:
        owner = function.__self__
        if owner is None or type(owner) is types.ModuleType:
            return "built-in", _name(function)
        return "built-in method", function.__qualname__, self._value(owner)

    def _proxy(self, function: Any) -> _Parts:
        """A wrapper made with wrapt: all that it refers to. Its attributes would be those of the wrapped function."""
        decoration = getattr(function, "_self_function", None)
        if decoration is not None and hasattr(decoration, "settings"):  # one of ours
            return "cached", decoration.settings(), self._callable(decoration.plain)
        kind = type(function)
        held = [it for it in gc.get_referents(function) if it is not kind]
        return "proxy", self._value(kind), self._values(held)

    def _object(self, function: Any) -> _Parts:
        """A callable object: by name, by value, or by its class and whole state."""
        if self._leads_to(function):
            return "named", _name(function)
        if isinstance(function, type):
            return "class", self._plain(function)
        state = None if inherited(type(function), "__cache_key__") else _state(function)
        if state is None:
            return "object", self._plain(function)
        return "state", self._plain(type(function)), *map(self._mapping, state)

    def _leads_to(self, function: Any) -> bool:
        return not self._code_only and leads_to(function)

    # -- what they hold

    def _value(self, held: Any) -> Any:
        """What something captured is: a function as above, and all else by value."""
        kind = type(held)
        if kind in _HELD_AS_FUNCTIONS or issubclass(kind, functools.partial) or _is_proxy(kind):
            return self._callable(held)
        if self._code_only:
            return "?"
        if issubclass(kind, types.ModuleType):
            known = sys.modules.get(held.__name__) is held
            return ("module", held.__name__) if known else self._apart(held)
        if kind in _LOCKS or held is _PLACEHOLDER:
            return ("constant", kind.__name__)
        if _is_logger(held):
            return "logger", held.name
        try:
            return "value", canonical(held)
        except NoIdentity as refusal:
            if kind in (tuple, list, dict):  # of functions, perhaps
                return self._container(held)
            return self._apart(held, refusal)

    def _container(self, held: Any) -> _Parts:
        number = self._numbers.setdefault(id(held), len(self._numbers))
        if number < len(self._kept):
            return "again", number
        self._kept.append(held)
        if type(held) is dict:
            return "dict", tuple((self._value(key), self._value(value)) for key, value in list(held.items()))
        return type(held).__name__, self._values(held)

    def _plain(self, held: Any) -> Any:
        if self._code_only:
            return type_name(held if isinstance(held, type) else type(held))
        try:
            return canonical(held)
        except NoIdentity as refusal:
            return self._apart(held, refusal)

    def _values(self, held: Any) -> _Parts:
        return tuple(map(self._value, held))

    def _mapping(self, held: dict[str, Any]) -> _Parts:
        return tuple((name, self._value(value)) for name, value in sorted(held.items()))

    @staticmethod
    def _cells(function: types.FunctionType) -> Iterator[Any]:
        for cell in function.__closure__ or ():
            try:
                held = cell.cell_contents
            except ValueError:
                continue
            yield held
            if _is_proxy(type(held)):
                yield held.__wrapped__

    def _apart(self, held: Any, refusal: NoIdentity | None = None) -> Any:
        name = type_name(type(held)) if refusal is None else refusal.type_name
        return self._refuse(f"it captured an object of {name}, which no other process can name")

    def _refuse(self, why: str) -> Any:
        if self._code_only:
            return "?"
        raise Unnameable(why)


_HELD_AS_FUNCTIONS = frozenset(
    {
        types.FunctionType,
        types.MethodType,
        *_BUILTINS,
        functools._lru_cache_wrapper,
        *_OPERATORS,
    }
)


def leads_to(function: Any) -> bool:
    """Whether a function's name leads to it, perhaps through decorators, and no other code had that name before."""
    module, qualname = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if type(module) is not str or type(qualname) is not str or module in _NAMES_OF_PROGRAMS:
        return False
    found: Any = sys.modules.get(module)
    try:
        for part in qualname.split("."):
            found = inspect.getattr_static(found, part)
        for step in range(100):
            if found is function:
                digest = code_digest(function)
                return _claimed.setdefault((module, qualname, step), digest) == digest
            found = next(getattr(found, name) for name in _INNER if hasattr(found, name))
    except Exception:  # no such name, nothing within, or whatever a module's or an object's own __getattr__ raises
        pass
    return False


def _state(value: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The attributes and slots of an object that has no other state; None where C may hold some."""
    if any(inherited(type(value), name) is not inherited(object, name) for name in _REDUCED_BY):
        return None
    try:
        reduced: Any = object.__reduce_ex__(value, 2)
    except (TypeError, ValueError):
        return None
    made, given, state, *items = reduced
    if made.__name__ != "__newobj__" or len(given) != 1 or items != [None, None]:
        return None
    attributes, slots = state if type(state) is tuple else (state, None)
    return attributes or {}, slots or {}


def _is_proxy(kind: type) -> bool:
    """Whether objects of a class are proxies of wrapt, which is not imported before the first decoration."""
    wrapt = sys.modules.get("wrapt")
    return wrapt is not None and issubclass(kind, wrapt.FunctionWrapper.__mro__[-2])


def _name(function: Any) -> str:
    return f"{getattr(function, '__module__', None)}.{getattr(function, '__qualname__', None)}"


def _global_names(code: types.CodeType) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield step.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _global_names(constant)


def _is_builtin(space: dict[str, Any], name: str) -> bool:
    builtins = space.get("__builtins__", __builtins__)
    return name in (builtins if isinstance(builtins, dict) else vars(builtins))


def _is_logger(held: Any) -> bool:
    logging = sys.modules.get("logging")
    if logging is None or not isinstance(held, logging.Logger):
        return False
    return held is logging.root or logging.root.manager.loggerDict.get(held.name) is held
