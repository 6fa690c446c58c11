"""What can be used once: iterators, awaitables, streams with a position, context managers.

A second caller would find such a result used up, so none is stored anywhere, alone or inside a container. It is known
by its class's methods alone: nothing of it is called, iterated or entered (but ``__iter__`` of what has ``__next__``).
"""

from __future__ import annotations

import io
from typing import Any, Final

from memocache.codecs import value_paths as _paths
from memocache.exceptions import EncodeError

_ATOMS: Final = frozenset((type(None), bool, int, float, complex, str, bytes, bytearray))
_LOOKS: Final = 100_000
# Made to be entered again and again.
LOCKS: Final = frozenset(("_thread", "threading", "asyncio.locks", "multiprocessing.synchronize"))
# Classes that are context managers only to be let go of early, or to no effect.
_VALUES: Final = ("memoryview", "pathlib.", "os.DirEntry", "PIL.", "xarray.")

_AWAITABLE: Final = "it can be awaited once; decorate an async function that awaits it"
_ASYNC_ITERATOR: Final = "it can be iterated once; return a list of its items"
_STREAM: Final = "it has a position that all its readers would share; return the bytes or the text that it holds"
_ITERATOR: Final = "it can be iterated once; return a list or a tuple of its items"
_MANAGER: Final = (
    "it is a context manager, which can be entered once; return what it gives, or pass share=True for one that can be "
    "entered again"
)


def reason(value: object, *, vouched: bool = False) -> str | None:
    """Why `value` itself can be used once, with the way out; None if it can be used again.

    `vouched`: its author says that it can be shared, which is believed of context managers that are nothing else.
    """
    cls = type(value)
    if cls in _ATOMS or isinstance(value, type):
        return None
    if _has(cls, "__await__") or (cls.__name__ == "generator" and _is_old_coroutine(value)):
        return _AWAITABLE
    if _has(cls, "__anext__"):
        return _ASYNC_ITERATOR
    if isinstance(value, io.IOBase) or (_has(cls, "read") and (_has(cls, "seek") or _has(cls, "readline"))):
        return _STREAM
    if _has(cls, "__next__") and _is_own_iterator(value):
        return _ITERATOR
    entered = (_has(cls, "__enter__") and _has(cls, "__exit__")) or (_has(cls, "__aenter__") and _has(cls, "__aexit__"))
    if not entered or (vouched and cls.__module__ != "contextlib") or _is_made_to_be_entered(cls):
        return None
    return _MANAGER


def part_of(value: object, *, vouched: bool = True) -> object | None:
    """The first part of `value`, itself included, that can be used once (`vouched` as of `reason`); or None.

    Containers and objects with fields are followed, breadth first, over a bounded number of parts.
    """
    level, seen = [value], {id(value)}
    while level and len(seen) < _LOOKS:
        below: list[Any] = []
        for part in level:
            if reason(part, vouched=vouched) is not None:
                return part
            if isinstance(part, list | tuple | set | frozenset) and _ATOMS.issuperset(map(type, part)):
                continue
            below += (child for _, child in _paths.parts(part) if type(child) not in _ATOMS)
        level = [part for part in below if id(part) not in seen]
        seen.update(map(id, level))
    return None


def refuse_single_use(value: object) -> None:
    """Raise `EncodeError` if a part of `value`, for which its author vouches, can be used once."""
    culprit = part_of(value)
    if culprit is not None:
        refuse(culprit, value, vouched=True)


def refuse(culprit: object, value: object, *, vouched: bool = False) -> None:
    """Raise `EncodeError`, with the path in `value`, if `culprit` can be used once."""
    why = reason(culprit, vouched=vouched)
    if why is not None:
        raise EncodeError(f"{_paths.path_to(culprit, value)}: {why}")


def is_class_of(cls: type) -> bool:
    """Whether instances of a class that could be rebuilt can be used once all the same."""
    iterates = _has(cls, "__next__") and _has(cls, "__iter__")
    return iterates or _has(cls, "__anext__") or _has(cls, "__await__")


def _has(cls: type, name: str) -> bool:
    """Whether a class has a method; no metaclass's attribute hooks run."""
    return any(name in vars(base) for base in type.__dict__["__mro__"].__get__(cls))


def _is_own_iterator(value: Any) -> bool:
    try:
        return iter(value) is value
    except Exception:
        return True


def _is_old_coroutine(value: Any) -> bool:
    return bool(value.gi_code.co_flags & 0x100)  # CO_ITERABLE_COROUTINE, of `types.coroutine`


def _is_made_to_be_entered(cls: type) -> bool:
    name = f"{cls.__module__}.{cls.__qualname__}".removeprefix("builtins.")
    return cls.__module__ in LOCKS or name.startswith(_VALUES)
