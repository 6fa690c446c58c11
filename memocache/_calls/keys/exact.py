"""Which arguments the process looks up by themselves, without encoding them: `ExactTypes`.

An argument is a part of a key: the number of the very object, or plain scalars beside their exact types. Two arguments
share a part only if they share canonical bytes. Where equality could not tell that (zero, NaN, long texts), and for
every other argument, there is no part. No hash and no equality runs here but those of built-in types.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from enum import Enum
from operator import attrgetter, itemgetter
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final

from memocache._calls.keys.instance_state import Shape, shape_of
from memocache._calls.keys.standard_types import inherits_known, lowered
from memocache._runtime.object_identity import Identities, NoIdentity, inherited, mro_of
from memocache.codecs import registered_types
from memocache.codecs.known.table import known_type

_Way = Callable[..., Any]
_Shapes = Callable[[tuple[int, ...]], int]

LONGEST: Final = 1024
"""Texts with more characters, and ints with more bytes, are left to the digest; a row has an eighth as many items."""
LARGEST: Final = 1 << 8 * LONGEST
_SCALARS = (int, str, bytes, float, type(None), bool)
PLAIN_KINDS: Final = frozenset(map(id, _SCALARS))  # by address: a metaclass may define __hash__ and __eq__
SHAPES: Final[dict[tuple[int, ...], int]] = {}
"""Types of the items of rows of plain scalars that were admitted, by address, each with a number. What holds anything
else is not here, so nothing of it is hashed.
"""
_MOST = 4096
_numbers = itertools.count()
_READS = object.__getattribute__
_CLASS = object.__dict__["__class__"]
_GENERIC = "__pydantic_generic_metadata__"


def is_plain(value: Any, kind: Any) -> bool:
    """Whether a value of exactly this type equals no other value of it, and is small.

    Zero and NaN are no plain floats: ``0.0 == -0.0``, ``nan != nan``.
    """
    if kind is int:
        return bool(-LARGEST < value < LARGEST)
    if kind is str or kind is bytes:
        return len(value) <= LONGEST
    if kind is float:
        return bool(value == value and value != 0.0)  # NaN is the one float unequal to itself
    return bool(value is None or kind is bool)


class ExactTypes:
    """How the arguments of one cache become parts of keys, by their exact types."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities
        self.tracked: Final = identities._tracked
        self._classes: dict[int, weakref.ref[type]] = {}
        self._numbers: dict[int, int] = {}
        self.number: Final = _numbering(self.tracked)
        self.ways: dict[int, _Way | None] = {
            **dict.fromkeys(PLAIN_KINDS),
            id(tuple): _row,
            id(frozenset): _set,
        }
        """By the address of a type, what makes the part of one of its values; None for a plain scalar, which is one.
        It raises KeyError for a value that has none, and gives parts that `admit` would not, under which nothing is.
        """
        registered_types.readers.add(self)

    def admit(self, value: Any, tokens: list[int]) -> Any:
        """The part under which a value may be stored; lists in `tokens` the objects that it dies with.

        Raises KeyError for a value that has none.
        """
        cls = type(value)
        if id(cls) not in self.ways:
            self._learn(value, cls)
        way = self.ways[id(cls)]
        if way is self.number:
            return self._named(value, tokens)
        if way is None:
            raise KeyError
        part = way(value, _learned)
        if id(cls) in self._numbers:
            tokens.append(self._numbers[id(cls)])
        if type(part[0]) is not int:
            _check_small(part[0])
        return part

    def forget(self, address: int) -> None:
        """A type is gone, or is known by something else from now on."""
        _forget((self.ways, self._numbers, self._classes), address)

    def _named(self, value: Any, tokens: list[int]) -> int:
        generic = vars(value).get(_GENERIC) if isinstance(value, type) else None
        if generic is not None and generic["origin"] is not None:
            raise KeyError  # known by what it is made of
        token = self._identities.identity(value)
        if type(token) is not int:
            raise KeyError
        tokens.append(token)
        return token

    def _learn(self, value: Any, cls: type) -> None:
        """Find out how values of a type become parts."""
        try:
            way = self._way(value, cls) or _refuse
        except NoIdentity:  # of this value
            return
        address, known = id(cls), (self.ways, self._numbers, self._classes)
        self._classes[address] = weakref.ref(cls, lambda _: _forget(known, address))
        self.ways[address] = way

    def _way(self, value: Any, cls: type) -> _Way | None:
        if issubclass(cls, type) or cls is FunctionType:
            return self.number
        if registered_types.knows(cls) or inherited(cls, "__cache_key__") is not None:
            return None
        ancestors = frozenset(map(id, mro_of(cls)))
        if id(Enum) in ancestors:
            return self._members(cls)
        if inherited(cls, "__getattribute__") is not _READS:
            return None
        shape = shape_of(cls)
        if shape is not None:
            return None if inherits_known(cls) else self._fields(cls, shape)
        by_identity = (
            inherited(cls, "__hash__") is object.__hash__
            and inherited(cls, "__class__") is _CLASS
            and known_type(cls) is None
            and id(BaseException) not in ancestors
            and cls.__weakrefoffset__ != 0
            and lowered(value, cls) is None
        )
        return self.number if by_identity else None

    def _class_number(self, cls: type) -> int:
        token = self._identities.identity(cls)
        assert type(token) is int, "classes can be referred to weakly"
        self._numbers[id(cls)] = token
        return token

    def _members(self, cls: Any) -> _Way | None:
        """The members of an enumeration, which live as long as it does; not the combinations of flags."""
        number = self._class_number(cls)
        parts = {id(member): (number, name) for name, member in cls._member_map_.items() if member._name_ == name}
        return lambda value, shape=None: parts[id(value)]

    def _fields(self, cls: type, shape: Shape) -> _Way | None:
        """The fields of a dataclass or attrs class, all of which count, of an instance without other state."""
        names = shape.names
        if not names or not shape.whole:
            return None
        kept = [inherited(cls, name) for name in names]
        if cls.__dictoffset__ == 0:
            if not all(type(one) is MemberDescriptorType for one in kept):
                return None
            return _slotted(names, self._class_number(cls))
        if any(hasattr(type(one), "__get__") for one in kept) or (
            type(inherited(cls, "__dict__")) is not GetSetDescriptorType
        ):
            return None
        return _held(cls, shape, self._class_number(cls))


def _forget(known: tuple[dict[int, Any], ...], address: int) -> None:
    for one in known:
        one.pop(address, None)


def _numbering(tracked: dict[int, Any]) -> _Way:
    def number(value: Any) -> int:
        reference = tracked[id(value)]
        if reference() is not value:
            raise KeyError
        return int(reference.number)

    return number


def _refuse(value: Any, shape: _Shapes | None = None) -> Any:
    raise KeyError


def _learned(kinds: tuple[int, ...]) -> int:
    """The number of these types of items, which are known from now on if all are plain scalars."""
    if len(kinds) <= LONGEST >> 3 and PLAIN_KINDS.issuperset(kinds) and len(SHAPES) < _MOST:
        SHAPES.setdefault(kinds, next(_numbers))
    return SHAPES[kinds]


def _row(value: tuple[Any, ...], shape: _Shapes = SHAPES.__getitem__) -> Any:
    return value, shape(tuple(map(id, map(type, value))))


def _set(value: frozenset[Any], shape: _Shapes = SHAPES.__getitem__) -> Any:
    """Items of one type, which is their shape: those of several types would be equal where their types are not."""
    kinds = set(map(id, map(type, value)))
    if len(kinds) > 1:
        raise KeyError
    return value, shape(tuple(kinds))


def _check_small(items: Any) -> None:
    if len(items) > LONGEST >> 3:
        raise KeyError
    size = 0
    for item in items:
        kind = type(item)
        if not is_plain(item, kind):
            raise KeyError
        size += len(item) if kind is str or kind is bytes else 0
    if size > LONGEST:
        raise KeyError


def _slotted(names: tuple[str, ...], number: int) -> _Way:
    read = attrgetter(*names)
    alone = len(names) == 1

    def fields(value: Any, shape: _Shapes = SHAPES.__getitem__) -> Any:
        try:
            items = (read(value),) if alone else read(value)
        except AttributeError:  # not set
            raise KeyError from None
        return items, shape(tuple(map(id, map(type, items)))), number

    return fields


def _held(cls: type, state: Shape, number: int) -> _Way:
    read: Callable[[Any], Any] = itemgetter(*state.names)
    count = len(state.names)
    added, owner = state.added, weakref.ref(cls)

    def fields(value: Any, shape: _Shapes = SHAPES.__getitem__) -> Any:
        held = value.__dict__
        items = (read(held),) if count == 1 else read(held)
        if len(held) != count and added(value, owner()) is not None:  # type: ignore[arg-type]  # its instance lives
            raise KeyError
        return items, shape(tuple(map(id, map(type, items)))), number

    return fields
