"""The classes that a function's return annotation speaks of, fields of fields included."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any, cast

if sys.version_info >= (3, 14):
    import annotationlib

# Python 3.12's `type X = …`.
_ALIASES = getattr(typing, "TypeAliasType", ())


def classes_returned(function: Callable[..., Any]) -> Iterator[type]:
    """Yield the classes named in the return annotation of `function` and in the fields of those, each once.

    Annotations that cannot be resolved (names imported for type checkers only, say) are passed over.
    """
    function = getattr(function, "__func__", function)
    annotation = _annotations(function).get("return")
    names = getattr(function, "__globals__", {})
    seen: set[Any] = set()
    waiting = [resolve(annotation, names, {})]
    while waiting:
        hint = waiting.pop()
        try:
            if hint in seen:
                continue
            seen.add(hint)
        except TypeError:
            continue
        waiting.extend(typing.get_args(hint))
        waiting.append(typing.get_origin(hint))
        if isinstance(hint, typing.TypeVar):
            waiting.extend((hint.__bound__, *hint.__constraints__))
        elif isinstance(hint, typing.NewType):
            waiting.append(hint.__supertype__)
        elif isinstance(hint, _ALIASES):  # pragma: no cover - Python 3.12 and later
            waiting.append(cast("Any", hint).__value__)
        elif isinstance(hint, type) and hint.__module__ != "builtins" and not isinstance(hint, types.GenericAlias):
            yield hint
            waiting.extend((vars(hint).get("__pydantic_generic_metadata__") or {}).get("args", ()))
            for base in hint.__mro__[:-1]:
                scope = vars(sys.modules.get(base.__module__, types))
                waiting.extend(resolve(field, scope, dict(vars(base))) for field in _annotations(base).values())


def _annotations(owner: Any) -> dict[str, Any]:
    """The annotations of a function or of a class itself, unresolved; on Python 3.14 each is evaluated by itself."""
    try:
        if isinstance(owner, type):
            if sys.version_info >= (3, 14):
                return annotationlib.get_annotations(owner, format=annotationlib.Format.FORWARDREF)
            return dict(vars(owner).get("__annotations__") or getattr(owner, "__annotations__", {}))
        if sys.version_info >= (3, 14):
            return annotationlib.get_annotations(owner, format=annotationlib.Format.FORWARDREF)
        return dict(owner.__annotations__)
    except Exception:
        return {}


def resolve(annotation: Any, globals_: dict[str, Any], locals_: dict[str, Any]) -> Any:
    """What an annotation means; where a part of it is not there, what it says around that part."""
    holder = types.SimpleNamespace(__annotations__={"hint": annotation})
    try:
        return typing.get_type_hints(holder, globals_, locals_)["hint"]
    except Exception:
        return None if isinstance(annotation, str) else annotation
