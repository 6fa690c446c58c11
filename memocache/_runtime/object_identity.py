"""Who a value is when its content does not say: names of classes and functions, and tokens of this process.

A *name* (module and qualname) holds in every process, and only counts if it leads back to the very object.
A *token* holds in this process alone. Objects that hash by identity get one that dies with them; other hashable
objects are interned under their exact class and their own equality, for as long as somebody holds their `Held`. No
number is ever used twice, and tokens of two registries (or processes) differ by a random salt, so losing track of an
object costs a miss and never a wrong answer.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
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
    identify the value within this process; `unhashable` that the value has no hash. `type_name` is the module and
    qualname of the offending type `cls`, `why` a clause about it, `way_out` what to pass instead, where that is known;
    none ever holds a value.
    """

    def __init__(
        self,
        cls: type,
        why: str = "has no identity as a value",
        *,
        local_class: bool = False,
        unhashable: bool = False,
        way_out: str = "",
    ) -> None:
        self.cls = cls
        self.type_name = type_name(cls)
        self.way_out = way_out
        self.why = why
        self.local_class = local_class
        self.unhashable = unhashable
        super().__init__(f"{self.type_name} {why}")


class TokenSource(Protocol):
    """What the encoder asks for process-local identities."""

    def token(self, obj: object) -> bytes:
        """Return the token of any object; `NoIdentity` if it has no hash. Raises what its own code raises."""
        ...

    def identity(self, obj: object) -> bytes:
        """Return the token of this very object."""
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
    if cls is types.UnionType:
        return "types", "UnionType"  # from Python 3.14 on another name is its own
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


def sentinel_path(value: Any) -> tuple[str, str] | None:
    """Return (module, name) of a sentinel of Python 3.15 if they lead back to that very object, else None."""
    module, name = value.__module__, value.__name__
    return (module, name) if _leads_to(module, name, value) else None


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


class Held:
    """An object known by its own hash and equality, or that nothing can refer to weakly, with its number.

    Whoever has a key that the number is part of holds this; when nobody does, the object is let go of.
    """

    __slots__ = ("__weakref__", "number", "value")

    def __init__(self, value: object, number: int) -> None:
        self.value = value
        self.number = number


_Slot = tuple[int, int]
"""The id of a class and a hash: what those have in common among whom an equal object is looked for."""


class _Filed(weakref.ref[Held]):
    """A weak reference to a `Held` that knows its slot."""

    __slots__ = ("slot",)
    slot: _Slot


class Identities:
    """The process-local identities of one cache; safe for threads.

    It keeps no object alive: one that hashes by identity is referred to weakly, every other is held by the `Held` that
    `token` hands out.
    """

    def __init__(self) -> None:
        self._salt = os.urandom(8)
        self._numbers = itertools.count(1)
        self._tracked: dict[int, _Tracked] = {}
        self.dead: deque[int] = deque()
        self._held: dict[_Slot, tuple[_Filed, ...]] = {}
        self.emptied: deque[_Slot] = deque()
        self._lock = threading.Lock()

    def token(self, obj: object) -> int | Held:
        """Return the number that stands for an object while it lives, or what holds it and its number.

        Asks for its hash once. Raises `NoIdentity` for objects that are unhashable, and whatever else their own
        ``__hash__`` or ``__eq__`` raises.
        """
        cls = type(obj)
        hasher = inherited(cls, "__hash__")
        if hasher is object.__hash__:
            return self.identity(obj)
        if hasher is None:
            raise NoIdentity(cls, unhashable=True)
        try:
            code = hash(obj)
        except TypeError as error:
            if _says_unhashable(error):
                raise NoIdentity(cls, unhashable=True) from error
            raise
        return self._hold(obj, (id(cls), code), by_identity=False)

    def identity(self, obj: object) -> int | Held:
        """Return the number of this very object while it lives; where its death cannot be seen, what holds it."""
        tracked = self._tracked.get(id(obj))
        if tracked is None or tracked() is not obj:
            try:
                tracked = self._track(obj)
            except TypeError:  # it cannot be referred to weakly
                return self._hold(obj, (id(type(obj)), id(obj)), by_identity=True)
        return tracked.number

    def spell(self, token: int | Held) -> bytes:
        """Return the 16 bytes of a token."""
        return self._salt + (token if type(token) is int else token.number).to_bytes(8, "big")  # type: ignore[union-attr]

    def drain_dead(self) -> list[int]:
        """Return the numbers whose objects died since the last call, each once; of those that nobody had to hold."""
        if self.emptied:
            self._forget_emptied()
        numbers: list[int] = []
        if not self.dead:
            return numbers
        try:
            while True:
                numbers.append(self.dead.popleft())
        except IndexError:
            return numbers

    def after_fork(self) -> None:
        """In a child: a thread that is not here may hold the lock. What it guards is changed in single steps."""
        self._lock = threading.Lock()

    def _track(self, obj: object) -> _Tracked:
        fresh = _Tracked(obj, self._forget)
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
            self.dead.append(tracked.number)

    def _hold(self, obj: object, slot: _Slot, *, by_identity: bool) -> Held:
        held: Held | None = None
        made: _Filed | None = None
        compared: tuple[_Filed, ...] = ()
        while True:
            filed = self._held.get(slot, ())
            for reference in filed:
                known = None if reference in compared else reference()
                # outside the lock, for equality is the object's own code
                if known is not None and (known.value is obj or (not by_identity and known.value == obj)):
                    return known
            if held is None or made is None:
                held = Held(obj, next(self._numbers))
                made = _Filed(held, self._note_emptied)
                made.slot = slot
            with self._lock:
                if self._held.get(slot, ()) is filed:  # else another thread filed one, which may be equal
                    self._held[slot] = (*filed, made)
                    return held
            compared = filed

    def _note_emptied(self, filed: _Filed) -> None:
        """Note that nobody holds an object any more; as `_forget`, at any moment."""
        self.emptied.append(filed.slot)

    def _forget_emptied(self) -> None:
        while self.emptied:
            try:
                slot = self.emptied.popleft()
            except IndexError:
                return
            with self._lock:
                left = tuple(filed for filed in self._held.get(slot, ()) if filed() is not None)
                if left:
                    self._held[slot] = left
                else:
                    self._held.pop(slot, None)


def _says_unhashable(error: TypeError) -> bool:
    """Whether a TypeError is that of `hash` itself, not of what a class's own ``__hash__`` met."""
    trace = error.__traceback__
    return trace is None or trace.tb_next is None or str(error).startswith("unhashable type:")


class Recorder:
    """The identities of one key: it asks a registry and lists in `tokens` those that went into the key.

    Who keeps the tokens with an entry, and drops it when one of them is in `Identities.drain_dead`, keeps nothing of
    the dead, and nothing of an argument longer than its entry.
    """

    __slots__ = ("_registry", "tokens")

    def __init__(self, registry: Identities) -> None:
        self._registry = registry
        self.tokens: list[int | Held] = []

    def token(self, obj: object) -> bytes:
        """As `Identities.token`, spelled."""
        return self._noted(self._registry.token(obj))

    def identity(self, obj: object) -> bytes:
        """As `Identities.identity`, spelled."""
        return self._noted(self._registry.identity(obj))

    def _noted(self, token: int | Held) -> bytes:
        self.tokens.append(token)
        return self._registry.spell(token)
