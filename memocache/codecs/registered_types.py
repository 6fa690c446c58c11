"""Types that a program taught a cache, or a library published: what identifies their values as arguments.

A library publishes a type by an entry point of the group ``memocache.types``, named after the class
(``shop.money.Money``), of an object with `encode`, `decode` and, if it likes, `key`. It is loaded when a value of that
class comes by, or a payload of one while the class is loaded.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

GROUP: Final = "memocache.types"
readers: Final[weakref.WeakSet[Any]] = weakref.WeakSet()
"""Who keeps how values of a class are known: `forget` is called with its address when it is taught."""
# By address: a metaclass may define __hash__ and __eq__. Of the whole process, as classes are.
_keys: dict[int, tuple[weakref.ref[type], Callable[[Any], Any]]] = {}


def teach(cls: type, key: Callable[[Any], Any]) -> None:
    """Have arguments of exactly `cls` known by what `key` makes of them; the last who teaches a class is believed."""
    address = id(cls)
    _keys[address] = weakref.ref(cls, lambda _: _keys.pop(address, None)), key
    for reader in list(readers):
        reader.forget(address)


def knows(cls: type) -> bool:
    """Whether a class was taught or published."""
    return id(cls) in _keys or (bool(_published()) and published(cls) is not None)


def key_of(value: Any, cls: type) -> tuple[Any, ...] | None:
    """Return the tuple that identifies a value of a class that was taught or published, or None."""
    found = _keys.get(id(cls))
    if found is None:
        if not _published() or published(cls) is None:
            return None
        found = _keys[id(cls)]
    if found[0]() is not cls:
        return None
    return "registered", cls, found[1](value)


def published(cls: type) -> Any:
    """Return the object (`encode`, `decode`) that a library published for `cls`, or None."""
    entry = _published().get(f"{cls.__module__}.{cls.__qualname__}")
    if entry is None:
        return None
    made = _loaded(entry)
    if id(cls) not in _keys:
        teach(cls, getattr(made, "key", None) or made.encode)
    return made


@cache
def _published() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


@cache
def _loaded(entry: EntryPoint) -> Any:
    return entry.load()
