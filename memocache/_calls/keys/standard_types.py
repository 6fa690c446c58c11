"""What a value of a known type is, said as a tuple (kind, parts...) of values that are simpler: `lowered`.

A range is its start, stop and step: ``range(0)`` and ``range(1, 1)`` are equal but differ in what a function can see.
A class that inherits from a known type and brings its own ``__eq__`` is also known by the state of its instances,
since its equality may rest on it; otherwise equality is the base's, and class and base value are all there is.
"""

from __future__ import annotations

import math
import pathlib
import re
import types
from collections import OrderedDict, UserDict, UserList, UserString, deque
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from memocache._calls.keys import libraries, newer_types
from memocache._calls.keys.instance_state import shape_of
from memocache._runtime.object_identity import NoIdentity, inherited, mro_of
from memocache.codecs import registered_types
from memocache.codecs.classes import error_state
from memocache.codecs.known import table as known_types


def lowered(value: Any, cls: Any) -> tuple[Any, ...] | None:
    """Return the tuple (kind, parts...) that says everything about a value, or None for "any other object"."""
    lower = _LOWER.get(id(cls))
    if lower is not None:
        return lower(value)
    taught = registered_types.key_of(value, cls)
    if taught is not None:
        return taught
    own_key = inherited(cls, "__cache_key__")
    if own_key is not None:
        return "key", cls, own_key.__get__(value, cls)()
    ancestors = frozenset(map(id, mro_of(cls)))
    if id(Enum) in ancestors:
        name = value._name_
        return ("member", cls, name) if cls._member_map_.get(name) is value else ("flag", cls, value._value_)
    shape = shape_of(cls)
    if shape is None:
        made = libraries.lowered(value, cls, ancestors) or known_types.key_of(value, cls)
        if made is None and id(BaseException) in ancestors:
            return _lowered_error(value, cls)
        return made or _derived(value, cls)
    more = shape.added(value, cls)
    parts = tuple([getattr(value, name, _ABSENT) for name in shape.names])
    made = "fields", cls, shape.names, parts, _base(value, cls)[1]
    return made if more is None else (*made, more)


def _lowered_error(value: BaseException, cls: type) -> tuple[Any, ...] | None:
    """Class, args and attributes; not its traceback, its cause and its context."""
    state = error_state(value)
    return None if state is None else ("error", cls, value.args, state)


def _derived(value: Any, cls: type) -> tuple[Any, ...] | None:
    base, base_value = _base(value, cls)
    if base is None:
        return None
    own_equality = inherited(cls, "__eq__") is not inherited(base, "__eq__")
    return "derived", cls, base_value, object.__getstate__(value) if own_equality else None


def inherits_known(cls: type) -> bool:
    """Whether a class inherits from a known type, whose value its instances have too."""
    return any(id(base) in _LOWER or id(base) in _BASE_VALUE for base in mro_of(cls)[1:])


def _base(value: Any, cls: type) -> tuple[type | None, Any]:
    """Return the known type that a class inherits from, and the value as that type sees it."""
    for base in mro_of(cls)[1:]:
        take = _LOWER.get(id(base)) or _BASE_VALUE.get(id(base))
        if take is not None:
            return base, take(value)
    return None, None


class _Absent:
    """Stands for a field that is declared and not set."""


_ABSENT = _Absent()


def _lower_memoryview(value: memoryview) -> tuple[Any, ...]:
    if "O" in value.format:  # the content is addresses
        raise NoIdentity(memoryview)
    return "memoryview", value.format, value.shape, value.tobytes()


def _lower_decimal(value: Decimal) -> tuple[Any, ...]:
    sign, digits, exponent = Decimal.as_tuple(value)
    return ("Decimal", math.nan) if exponent in ("n", "N") else ("Decimal", sign, bytes(digits), exponent)


def _lower_zone(value: ZoneInfo) -> tuple[Any, ...]:
    if value.key is None:
        raise NoIdentity(type(value))
    return "ZoneInfo", value.key


def _lower_path(value: pathlib.PurePath) -> tuple[Any, ...]:
    flavour = next(cls for cls in mro_of(type(value)) if id(cls) in _LOWER)  # its module differs between versions
    return "path", flavour.__name__, pathlib.PurePath.__str__(value)


_PATHS = (
    pathlib.PurePosixPath,
    pathlib.PureWindowsPath,
    pathlib.PosixPath,
    pathlib.WindowsPath,
)
_WHOLE = slice(None)
# What a subclass is without what it overrides: unbound methods of the base that return an exact base instance.
_BASE_VALUE: dict[int, Callable[[Any], Any]] = {
    id(int): int.__int__,
    id(float): float.__float__,
    id(str): str.__str__,
    id(bytes): lambda value: bytes.__getitem__(value, _WHOLE),
    id(bytearray): lambda value: bytearray.__getitem__(value, _WHOLE),
    id(tuple): lambda value: tuple.__getitem__(value, _WHOLE),
    id(list): list.copy,
    id(dict): dict.copy,
    id(set): set,
    id(frozenset): frozenset,
    # of these the whole state is told
    **dict.fromkeys(map(id, (UserDict, UserList, UserString, types.SimpleNamespace)), object.__getstate__),
}
# The C functions behind pickle give the whole state of dates and times, fold included, also for subclasses.
_LOWER: dict[int, Callable[[Any], tuple[Any, ...] | None]] = {
    id(_Absent): lambda value: ("absent",),
    id(types.EllipsisType): lambda value: ("Ellipsis",),
    id(types.NotImplementedType): lambda value: ("NotImplemented",),
    id(complex): lambda value: ("complex", value.real, value.imag),
    id(memoryview): _lower_memoryview,
    id(range): lambda value: ("range", value.start, value.stop, value.step),
    id(slice): lambda value: ("slice", value.start, value.stop, value.step),
    id(deque): lambda value: ("deque", value.maxlen, tuple(value)),
    id(OrderedDict): lambda value: ("OrderedDict", tuple(OrderedDict.items(value))),
    id(datetime): lambda value: ("datetime", *datetime.__reduce_ex__(value, 4)[1]),
    id(date): lambda value: ("date", *date.__reduce__(value)[1]),
    id(time): lambda value: ("time", *time.__reduce_ex__(value, 4)[1]),
    id(timedelta): lambda value: ("timedelta", *timedelta.__reduce__(value)[1]),
    id(timezone): lambda value: ("timezone", value.utcoffset(None), value.tzname(None)),
    id(ZoneInfo): _lower_zone,
    id(UUID): lambda value: ("UUID", value.int.to_bytes(16, "big")),
    id(Decimal): _lower_decimal,
    id(Fraction): lambda value: ("Fraction", value.numerator, value.denominator),
    id(re.Pattern): lambda value: ("Pattern", value.pattern, value.flags),
    **dict.fromkeys(map(id, _PATHS), _lower_path),
    **newer_types.LOWER,
}
