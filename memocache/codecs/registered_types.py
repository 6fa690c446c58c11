"""Types that a program taught a cache, or a library published: what identifies their values as arguments.

A library publishes a type by an entry point of the group ``memocache.types``, named after the class
(``shop.money.Money``), of an object with `encode`, `decode` and, if it likes, `key` and `subclasses`. It is loaded
when a value of that class comes by, or a payload of one while the class is loaded.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, NamedTuple

GROUP: Final = "memocache.types"
_mro_of: Final = type.__dict__["__mro__"].__get__
readers: Final[weakref.WeakSet[Any]] = weakref.WeakSet()
"""Who keeps how values of a class are known: `forget` is called with its address when it is taught."""


class _Taught(NamedTuple):
    cls: weakref.ref[type]
    key: Callable[[Any], Any]


# By address: a metaclass may define __hash__ and __eq__. Of the whole process, as classes are.
_keys: dict[int, _Taught] = {}
_families: dict[int, _Taught] = {}  # of these, those whose subclasses are known by the same


def teach(cls: type, key: Callable[[Any], Any], *, subclasses: bool = False) -> None:
    """Have arguments of exactly `cls`, or of its subclasses too that are not taught, known by what `key` makes of
    them; the last who teaches a class is believed.
    """
    address, changed = id(cls), [cls]
    if subclasses or address in _families:
        changed += below(cls)
    _families.pop(address, None)
    _note(_keys, cls, key)
    if subclasses:
        _note(_families, cls, key)
    _wider.cache_clear()
    for reader in list(readers):
        for one in changed:
            reader.forget(id(one))


def _note(taught: dict[int, _Taught], cls: type, key: Callable[[Any], Any]) -> None:
    address = id(cls)
    taught[address] = _Taught(weakref.ref(cls, lambda _: taught.pop(address, None)), key)


def below(cls: type) -> list[type]:
    """Return the subclasses that a class has by now, and theirs; some of them more than once."""
    found: list[type] = type.__dict__["__subclasses__"](cls) if cls is not type else []
    return found + [one for subclass in found for one in below(subclass)]


def knows(cls: type) -> bool:
    """Whether a class, or for its subclasses one of its bases, was taught or published."""
    return id(cls) in _keys or (_wider() and _found(cls) is not None)


def key_of(value: Any, cls: type) -> tuple[Any, ...] | None:
    """Return the tuple that identifies a value of a class that was taught or published, or None."""
    found = _keys.get(id(cls))
    if found is None or found.cls() is not cls:
        found = _found(cls) if _wider() else None
    return None if found is None else ("registered", cls, found.key(value))


def published(cls: type) -> tuple[type, Any] | None:
    """Return the object (`encode`, `decode`) that a library published for `cls`, and that class; or for one of its
    bases, if it says that this has `subclasses`. None if there is none.
    """
    for base in _mro_of(cls):
        entry = _published().get(f"{base.__module__}.{base.__qualname__}")
        made = None if entry is None else _loaded(entry)
        subclasses = getattr(made, "subclasses", False)
        if made is not None and (base is cls or subclasses):
            if id(base) not in _keys:
                teach(base, getattr(made, "key", None) or made.encode, subclasses=subclasses)
            return base, made
    return None


@cache
def _wider() -> bool:
    """Whether a class can be known by more than what it was taught itself."""
    return bool(_families or _published())


def _found(cls: type) -> _Taught | None:
    for base in _mro_of(cls):
        found = _families.get(id(base))
        if found is not None and found.cls() is base:
            return found
    there = published(cls)
    return None if there is None else _keys[id(there[0])]


@cache
def _published() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


@cache
def _loaded(entry: EntryPoint) -> Any:
    return entry.load()
