"""What an instance of a class with declared fields is: the fields that count, and whatever state it has besides.

Fields that a class leaves out of its equality (``compare=False``) take no part, as long as the equality in force is the
one that was generated from the fields. State beside the fields is what a subclass adds, or what is set on an instance;
what a ``cached_property`` keeps follows from the rest. State that is not there to be read is refused, never left out.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Iterable
from types import MemberDescriptorType
from typing import Any, TypeVar

from memocache._runtime.object_identity import NoIdentity, inherited, mro_of

_ROW = "_sa_instance_state"
_NOTES = (_ROW, "__orig_class__")
"""Where SQLAlchemy keeps what it knows of a row, and `typing` as which generic class an instance was made: notes of
others on an instance, and no state of it.
"""
_NOT_LOADED = (
    "is a row of which something is not loaded (it is expired, deferred or detached): load it before the call, as with "
    "session.refresh(), or pass its primary key"
)


class Shape:
    """Where the state of the instances of one class is: `names` are the fields that count, `fields` all of them."""

    __slots__ = ("_slots", "equality", "fields", "names", "of")
    of: weakref.ref[type]

    def __init__(self, cls: type, names: tuple[str, ...], fields: tuple[str, ...]) -> None:
        self.equality = inherited(cls, "__eq__")
        self.names = names
        self.fields = frozenset(fields)
        beside = self.fields | _cached_by_attrs(cls)
        self._slots = tuple(
            [
                (name, slot)
                for owner in mro_of(cls)
                if "__slots__" in vars(owner)
                for name, slot in vars(owner).items()
                if type(slot) is MemberDescriptorType and name not in beside and not name.startswith("__pydantic_")
            ]
        )

    @property
    def whole(self) -> bool:
        """Whether all fields count, and no slot holds anything beside them."""
        return len(self.names) == len(self.fields) and not self._slots

    def added(self, value: Any, cls: type) -> dict[str, Any] | None:
        """Return the state of an instance beside its fields by name, or None. Raises `NoIdentity` for a row of which
        fields are not loaded.
        """
        fields, more = self.fields, {}
        try:
            held: dict[str, Any] = object.__getattribute__(value, "__dict__")
        except AttributeError:
            held = {}
        if not held.keys() <= fields:
            stored = getattr(held.get(_ROW), "key", None)  # one that was never stored has nothing to load
            if stored is not None and not fields <= held.keys():
                raise NoIdentity(cls, _NOT_LOADED)
            others = inherited(cls, "__sqlmodel_relationships__") or ()  # rows, none of which a row is equal by
            more = {
                name: item
                for name, item in list(held.items())
                if name not in fields
                and name not in _NOTES
                and name not in others
                and not _is_cache(inherited(cls, name))
            }
        for name, slot in self._slots:  # past the ``__getattr__`` of the user's class
            try:
                more[name] = slot.__get__(value, cls)
            except AttributeError:  # not set
                pass
        return more or None


_S = TypeVar("_S", Shape, Shape | None)
# by address: a metaclass may define __hash__ and __eq__
_by_fields: dict[int, Shape] = {}
_by_names: dict[int, Shape] = {}


def shape_of(cls: type) -> Shape | None:
    """Return the shape of a dataclass or attrs class, else None."""
    return _known(cls, _by_fields) or _kept(cls, _declared(cls), _by_fields)


def shape_of_names(cls: type, names: Iterable[str]) -> Shape:
    """Return the shape of a class whose fields have these names, and all count."""
    return _known(cls, _by_names) or _kept(cls, Shape(cls, tuple(names), tuple(names)), _by_names)


def _known(cls: type, shapes: dict[int, Shape]) -> Shape | None:
    shape = shapes.get(id(cls))
    known = shape is not None and shape.of() is cls and shape.equality is inherited(cls, "__eq__")
    return shape if known else None


def _kept(cls: type, shape: _S, shapes: dict[int, Shape]) -> _S:
    if shape is not None:
        address = id(cls)
        shape.of = weakref.ref(cls, lambda _: shapes.pop(address, None))
        shapes[address] = shape
    return shape


def _declared(cls: Any) -> Shape | None:
    if inherited(cls, "__dataclass_fields__") is not None:
        return _compared(cls, {field.name: field.compare for field in dataclasses.fields(cls)})
    attributes = inherited(cls, "__attrs_attrs__")
    return None if attributes is None else _compared(cls, {one.name: bool(one.eq) for one in attributes})


def _compared(cls: type, compared: dict[str, bool]) -> Shape:
    """The shape of a class whose fields say whether its equality compares them."""
    read = _read_by_generated(inherited(cls, "__eq__"), compared)
    names = [name for name, counts in compared.items() if counts or read is None or name in read]
    return Shape(cls, tuple(names), tuple(compared))


def _read_by_generated(equality: Any, compared: dict[str, bool]) -> frozenset[str] | None:
    """The names that an ``__eq__`` reads which was generated from the fields; None for one of the class's own."""
    code = getattr(equality, "__code__", None)
    if code is None:
        return None
    if code.co_filename.startswith("<attrs generated"):
        return frozenset(code.co_names)
    # what dataclasses generates stands in no file and reads what is compared; any other such code is as good
    allowed = {"__class__", "NotImplemented", *(name for name, counts in compared.items() if counts)}
    read = frozenset(code.co_names)
    return read if code.co_filename == "<string>" and read <= allowed and not code.co_freevars else None


def _is_cache(attribute: Any) -> bool:
    """Whether a class attribute keeps on the instance what it computed, as functools, Django and others do."""
    return type(attribute).__name__ == "cached_property"


def _cached_by_attrs(cls: type) -> frozenset[str]:
    """The names of the slots in which attrs keeps the values of a ``cached_property``."""
    function = inherited(cls, "__getattr__")
    code = getattr(function, "__code__", None)
    if code is None or not code.co_filename.startswith("<attrs generated"):
        return frozenset()
    return frozenset(function.__defaults__[0])
