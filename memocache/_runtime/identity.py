"""Who a value is when its content does not say: names of classes and functions, and tokens of this process.

A *name* (module and qualname) holds in every process, and only counts if it leads back to the very object.
A *token* holds in this process alone. Objects that hash by identity get one that dies with them; other hashable
objects are interned under their exact class and their own equality. No number is ever used twice, and tokens of two
registries (or processes) differ by a random salt, so losing track of an object costs a miss and never a wrong answer.
"""

from __future__ import annotations

import itertools
import os
import sys
import types
import weakref
from collections import deque
from typing import Any, Protocol

_module_of = type.__dict__["__module__"].__get__  # past any metaclass that overrides them
_qualname_of = type.__dict__["__qualname__"].__get__
mro_of = type.__dict__["__mro__"].__get__
_namespace_of = type.__dict__["__dict__"].__get__
_NAMES_OF_UNNAMED_BUILTINS = {id(found): name for name, found in vars(types).items() if isinstance(found, type)}


class NoIdentity(Exception):
    """A value has no identity that another process would understand.

    `local_class` tells that only a class is the trouble (it is not importable as itself), so that a registry can
    identify the value within this process. `type_name` is the module and qualname of the offending type; neither it
    nor the message ever holds a value.
    """

    def __init__(self, cls: type, why: str = "has no identity as a value", *, local_class: bool = False) -> None:
        self.type_name = type_name(cls)
        self.local_class = local_class
        super().__init__(f"{self.type_name} {why}")


class TokenSource(Protocol):
    """What the encoder asks for process-local identities."""

    def token(self, obj: object) -> bytes:
        """Return the token of any object; `NoIdentity` if it can have none."""
        ...

    def identity(self, obj: object) -> bytes:
        """Return the token of this very object; `NoIdentity` if it cannot be weakly referenced."""
        ...


def type_name(cls: type) -> str:
    """Return module and qualname of a class, joined by a dot."""
    module = _module_of(cls)
    return f"{module}.{_qualname_of(cls)}" if type(module) is str else str(_qualname_of(cls))


def inherited(cls: type, name: str) -> Any:
    """Return what the classes of `cls` (never its metaclass) define under a name, unbound, or None."""
    for base in mro_of(cls):
        namespace = _namespace_of(base)
        if name in namespace:
            return namespace[name]
    return None


def class_path(cls: type) -> tuple[str, str] | None:
    """Return (module, qualname) of a class if they lead back to that very class, else None."""
    module, qualname = _module_of(cls), _qualname_of(cls)
    if _leads_to(module, qualname, cls):
        return module, qualname
    if module == "builtins" and id(cls) in _NAMES_OF_UNNAMED_BUILTINS:  # NoneType, the type of functions, ...
        return "types", _NAMES_OF_UNNAMED_BUILTINS[id(cls)]
    return None


def function_path(function: Any) -> tuple[str, str] | None:
    """Return (module, qualname) of a function or method descriptor if they lead back to that very object, else None."""
    owner = getattr(function, "__objclass__", None)
    module = function.__module__ if owner is None else _module_of(owner)
    qualname = function.__qualname__
    return (module, qualname) if _leads_to(module, qualname, function) else None


def _leads_to(module: Any, qualname: Any, target: object) -> bool:
    if type(module) is not str or type(qualname) is not str or module not in sys.modules:
        return False
    found: Any = sys.modules[module]
    try:
        for part in qualname.split("."):
            found = getattr(found, part)
    except Exception:  # a module's own __getattr__ may raise anything
        return False
    return found is target


class _Tracked(weakref.ref[Any]):
    """A weak reference that knows the address and the number of its object."""

    __slots__ = ("address", "number")
    address: int
    number: int


class Identities:
    """The process-local identities of one cache; safe for threads.

    It keeps no object alive that hashes by identity. `interned` bounds the objects known by their own equality, which
    it does hold, in two halves: when the young half is full it becomes the old one, and the old one is dropped.
    """

    def __init__(self, interned: int = 65_536) -> None:
        self._salt = os.urandom(8)
        self._numbers = itertools.count(1)
        self._tracked: dict[int, _Tracked] = {}
        self._dead: deque[int] = deque()
        self._half = max(1, interned // 2)
        self._young: dict[tuple[int, object], int] = {}
        self._old: dict[tuple[int, object], int] = {}

    def token(self, obj: object) -> bytes:
        """Return the 16 bytes that stand for an object in this process.

        Raises `NoIdentity` for objects that are unhashable, whose own ``__hash__`` or ``__eq__`` raises, or that hash
        by identity and cannot be weakly referenced.
        """
        hasher = inherited(type(obj), "__hash__")
        if hasher is object.__hash__:
            return self.identity(obj)
        if hasher is None:
            raise NoIdentity(type(obj))
        try:
            return self._spell(self._intern(obj))
        except Exception as error:  # the object's own __hash__ or __eq__
            raise NoIdentity(type(obj)) from error

    def identity(self, obj: object) -> bytes:
        """Return the 16 bytes of this very object while it lives; `NoIdentity` if it has no weak references."""
        tracked = self._tracked.get(id(obj))
        if tracked is None or tracked() is not obj:
            tracked = self._track(obj)
        return self._spell(tracked.number)

    def drain_dead(self) -> list[int]:
        """Return the numbers of identity tokens whose objects died since the last call; each is returned once."""
        numbers: list[int] = []
        if not self._dead:
            return numbers
        try:
            while True:
                numbers.append(self._dead.popleft())
        except IndexError:
            return numbers

    @staticmethod
    def number(token: bytes) -> int:
        """Return the number of a token, as `drain_dead` reports it."""
        return int.from_bytes(token[8:], "big")

    def _spell(self, number: int) -> bytes:
        return self._salt + number.to_bytes(8, "big")

    def _track(self, obj: object) -> _Tracked:
        try:
            fresh = _Tracked(obj, self._forget)
        except TypeError:
            raise NoIdentity(type(obj)) from None
        fresh.address = id(obj)
        fresh.number = next(self._numbers)
        known = self._tracked.setdefault(fresh.address, fresh)  # atomic: another thread may have been first
        if known() is not obj:
            self._tracked[fresh.address] = known = fresh
        return known

    def _forget(self, tracked: _Tracked) -> None:
        """Note a death. It runs inside deallocation, at any bytecode of any thread: atomic operations only."""
        # The address cannot have a new owner yet: memory is released after the callbacks.
        if self._tracked.get(tracked.address) is tracked:
            del self._tracked[tracked.address]
            self._dead.append(tracked.number)

    def _intern(self, obj: object) -> int:
        # No lock: it would be held while the object's own __eq__ runs. A lost race costs a second number.
        key = (id(type(obj)), obj)
        number = self._young.get(key)
        if number is not None:
            return number
        number = self._old.get(key)
        if number is None:
            number = next(self._numbers)
        if len(self._young) >= self._half:
            self._young, self._old = {}, self._young
        return self._young.setdefault(key, number)


class Recorder:
    """The identities of one key: it asks a registry and lists in `numbers` the tokens that went into the key.

    A cache that drops an entry when one of its numbers is in `Identities.drain_dead` keeps nothing of the dead.
    """

    __slots__ = ("_registry", "numbers")

    def __init__(self, registry: Identities) -> None:
        self._registry = registry
        self.numbers: list[int] = []

    def token(self, obj: object) -> bytes:
        """As `Identities.token`."""
        return self._noted(self._registry.token(obj))

    def identity(self, obj: object) -> bytes:
        """As `Identities.identity`."""
        return self._noted(self._registry.identity(obj))

    def _noted(self, token: bytes) -> bytes:
        self.numbers.append(Identities.number(token))
        return token
