"""Where in a value a part lies: ``result{key 2}[3].owner``. Positions and field names, never a key or a value."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from datetime import datetime, time
from typing import Any

from memocache.codecs import classes as _classes

_LOOKS = 100_000
_MARKS = ("__dataclass_fields__", "__attrs_attrs__", "__pydantic_fields_set__", "__struct_fields__")


def path_to(culprit: object, value: object) -> str:
    """Return the path from `value` to the part that is `culprit` (the same object), and its type; if it is not found,
    the path is that of `value`.
    """
    path = _path(value, lambda part: part is culprit)
    if path is None:
        return f"result ({_classes.name_of(type(value))}), at a {_classes.name_of(type(culprit))}"
    return f"result{path} ({_classes.name_of(type(culprit))})"


def path_to_instance(cls: type, value: object) -> str:
    """Return the path from `value` to its first part of exactly a class, "" if that is itself or is not found."""
    try:
        return _path(value, lambda part: type(part) is cls) or ""
    except Exception:  # a property, or a proxy that stands for nothing
        return ""


def _path(value: object, wanted: Callable[[object], bool]) -> str | None:
    """The search, breadth first, looks at a bounded number of parts."""
    level = [("", value)]
    seen = {id(value)}
    while level and len(seen) < _LOOKS:
        for path, part in level:
            if wanted(part):
                return path
        below = []
        for path, part in level:
            for label, child in parts(part):
                if id(child) not in seen:
                    seen.add(id(child))
                    below.append((path + label, child))
        level = below
    return None


def parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what `value` consists of, each part with its step of the path; nothing for what has no parts."""
    if isinstance(value, dict | OrderedDict | defaultdict):
        for position, (key, part) in enumerate(value.items()):
            yield f"{{key {position}}}", part
            yield f"{{key {position} itself}}", key
    elif isinstance(value, tuple) and (fields := getattr(value, "_fields", None)):
        yield from ((f".{field}", part) for field, part in zip(fields, value, strict=False))
    elif isinstance(value, list | tuple | deque):
        yield from ((f"[{position}]", part) for position, part in enumerate(value))
    elif isinstance(value, set | frozenset):
        yield from ((f"{{item {position}}}", part) for position, part in enumerate(value))
    elif isinstance(value, BaseException):
        yield from ((f".args[{position}]", part) for position, part in enumerate(value.args))
    elif isinstance(value, datetime | time):
        yield ".tzinfo", value.tzinfo
    cls = type(value)
    if isinstance(value, BaseException) or any(hasattr(cls, mark) for mark in _MARKS):
        state = _classes.state_of(value, _classes.slots_of(cls))
        state |= {field: getattr(value, field, None) for field in getattr(cls, "__struct_fields__", ())}
        for private in ("__pydantic_extra__", "__pydantic_private__"):
            state |= state.pop(private, None) or {}
        yield from ((f".{name}", part) for name, part in state.items())
