"""Which edition of a function this is: one that a reload or a notebook's cell defines again may read other names.

Its own code can be the same while a constant, a helper or a class beside it was edited. The first definition has its
name and code to itself. A later one is known by a digest of what it reads from its module too, where that is not what
the first one read at its first call. Other processes know nothing of editions: the first one there is the only one.
"""

from __future__ import annotations

import types
import weakref
from collections.abc import Iterator
from hashlib import blake2b
from sys import modules
from typing import Any

from memocache._calls.code_digest import code_digest, layers
from memocache._calls.keys.canonical import canonical
from memocache._runtime.object_identity import type_name

_Parts = tuple[Any, ...]

_SCALARS = frozenset((type(None), bool, int, float, complex, str, bytes))
_CONTAINERS = frozenset((tuple, list, set, frozenset))
_LARGEST = 1000
"""Items, and bits of 1,024 of an int: what is longer is data, and no constant that an edit changes."""
_by_code: dict[int, tuple[weakref.ref[types.CodeType], _Parts]] = {}
"""By address, as in `memocache._calls.code_digest`: the edition of all functions of one code object."""
_first: dict[tuple[str, str, bytes], bytes] = {}
"""What the first function of a name and code read."""


def edition(function: types.FunctionType) -> _Parts:
    """Nothing, for the first definition of a function and those that read the same; else what tells this one apart."""
    code, space = function.__code__, function.__globals__
    known = _by_code.get(id(code))
    if known is not None and known[0]() is code:
        return known[1]
    if getattr(modules.get(str(space.get("__name__"))), "__dict__", None) is not space:
        return ()  # no module's: made by `exec`, and read by value
    read = _Surroundings(function).digest
    name = str(function.__module__), function.__qualname__, code_digest(function)
    parts = () if _first.setdefault(name, read) == read else ("edition", read)
    at = id(code)
    _by_code[at] = weakref.ref(code, lambda _: _by_code.pop(at, None)), parts
    return parts


class _Surroundings:
    """What a function reads from its module, and what the functions and classes there read in turn, each once."""

    def __init__(self, function: types.FunctionType) -> None:
        self._space = function.__globals__
        self._seen: set[int] = set()
        owner = self._space.get(function.__qualname__.partition(".")[0])
        read = self._function(function), self._class(owner) if isinstance(owner, type) else ()
        self.digest = blake2b(canonical(read), digest_size=16).digest()

    def _function(self, function: types.FunctionType) -> _Parts:
        code = function.__code__
        if function.__globals__ is not self._space or id(code) in self._seen:
            return (code_digest(function),)
        self._seen.add(id(code))
        read = ((name, self._part(self._space[name])) for name in sorted(set(_names(code))) if name in self._space)
        return code_digest(function), tuple(read)

    def _class(self, cls: type) -> _Parts:
        if id(cls) in self._seen or vars(cls).get("__module__") != self._space.get("__name__"):
            return (type_name(cls),)
        self._seen.add(id(cls))
        held = sorted(item for item in vars(cls).items() if item[0] not in ("__dict__", "__weakref__", "__doc__"))
        return type_name(cls), tuple((name, self._part(part)) for name, part in held)

    def _part(self, part: Any) -> Any:
        kind = type(part)
        if kind in _SCALARS:
            return part if _is_short(part) else ("long", kind.__name__)
        if kind in _CONTAINERS and len(part) <= _LARGEST and _SCALARS.issuperset(map(type, part)):
            return part if all(map(_is_short, part)) else ("long", kind.__name__)
        if kind is dict and len(part) <= _LARGEST:
            items = list(part.items())
            if all(type(key) in _SCALARS and _is_short(key) for key, _ in items):
                return {key: self._part(value) if type(value) in _SCALARS else "?" for key, value in items}
        if isinstance(part, type):
            return self._class(part)
        *_, last = layers(part)
        if type(last) is property:
            last = last.fget
        return self._function(last) if type(last) is types.FunctionType else ("object", type_name(kind))


def _is_short(scalar: Any) -> bool:
    if type(scalar) in (str, bytes):
        return len(scalar) <= 1024 * _LARGEST
    return type(scalar) is not int or scalar.bit_length() <= 1024 * _LARGEST


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
