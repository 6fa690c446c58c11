"""The memory that a value holds, as `sys.getsizeof` counts it, containers and attributes followed."""

from __future__ import annotations

import sys
from typing import Any

_ATOMS = (int, float, complex, str, bytes, bytearray, bool, type(None), type, range)


def sizeof(value: Any) -> int:
    """Bytes of a value and all it refers to, each object counted once; what has no ``__sizeof__`` counts 0."""
    seen: set[int] = set()
    todo, total = [value], 0
    while todo:
        thing = todo.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        total += sys.getsizeof(thing, 0)
        kind = type(thing)
        if kind in _ATOMS:
            continue
        if isinstance(thing, dict):
            todo.extend(thing)
            todo.extend(thing.values())
        elif isinstance(thing, list | tuple | set | frozenset):
            todo.extend(thing)
        elif not callable(thing) and hasattr(thing, "__dict__"):
            todo.append(vars(thing))
    return total
