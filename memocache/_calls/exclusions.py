"""Which arguments take no part in a key: parameters by name, and by class what is annotated with it or is one of it.

A class leaves a parameter out altogether where its annotation says so, and otherwise the arguments that are instances.
What it promises: an excluded argument changes no key. It does not know how keys are made.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterable
from inspect import Parameter
from typing import Any, Final, NoReturn

from memocache._calls.signature import Signature, Values
from memocache.codecs.return_types import resolve
from memocache.exceptions import ConfigurationError

Excluded = tuple[str | type, ...]
_SCALARS = (None, True, 0, 0.0, "", b"")
_AROUND = (typing.Union, typing.Annotated, types.UnionType)


class _LeftOut:
    """Stands, in the key of a call, for an excluded argument of a parameter that takes part."""

    def __cache_key__(self) -> None:
        return None


_LEFT_OUT: Final = _LeftOut()


class Exclusions:
    """What of one function's calls is left out: `names` of parameters, and instances of `classes`."""

    __slots__ = ("classes", "names")

    def __init__(self, signature: Signature, function: Any, declared: Iterable[Excluded]) -> None:
        every = [item for some in declared for item in some]
        self.classes = tuple(dict.fromkeys(item for item in every if isinstance(item, type)))
        names = [item for item in every if isinstance(item, str) and signature.known(item)]
        if self.classes:
            names += _annotated(signature, getattr(function, "__globals__", {}), self.classes)
        self.names: tuple[str, ...] = tuple(dict.fromkeys(names))

    @property
    def plain(self) -> bool:
        """Whether an argument that is a plain scalar counts wherever its parameter does."""
        return not any(isinstance(value, self.classes) for value in _SCALARS)

    def without(self, value: Any) -> Any:
        """An argument, or what stands for an excluded one; also of those in ``*args`` and ``**kwargs``."""
        return _LEFT_OUT if self.classes and _is_one(value, self.classes) else value

    def of(self, signature: Signature, values: Values) -> Values:
        """The values of a call that take part in its key."""
        kept: list[Any] = []
        for parameter, value in zip(signature.parameters, values, strict=True):
            if parameter.kind is Parameter.VAR_KEYWORD:
                value = {k: self.without(v) for k, v in value.items() if k not in self.names}
            elif parameter.kind is Parameter.VAR_POSITIONAL:
                value = tuple(map(self.without, value))
            if parameter.name not in self.names:
                kept.append(self.without(value))
        return tuple(kept)


def checked_exclusions(value: Any, where: str = "exclude") -> Excluded:
    """Checked names and classes; raises `ConfigurationError` for anything else."""
    if isinstance(value, str | type):
        value = (value,)
    try:
        items = tuple(value)
    except TypeError:
        _refuse(where)
    for item in items:
        if not (_has_instances(item) if isinstance(item, type) else isinstance(item, str) and item):
            _refuse(where, f" ({item!r} is neither)")
    return items


def _has_instances(cls: type) -> bool:
    try:
        return isinstance(None, cls) or True
    except TypeError:  # `typing.Any`, a protocol that is not checked at run time
        return False


def _refuse(where: str, why: str = "") -> NoReturn:
    raise ConfigurationError(
        f"{where}= takes names of parameters, and classes whose instances do not change the result{why}"
    )


def _is_one(value: Any, classes: tuple[type, ...]) -> bool:
    try:
        return isinstance(value, classes)
    except Exception:  # a proxy that stands for nothing now
        return False


def _annotated(signature: Signature, scope: dict[str, Any], classes: tuple[type, ...]) -> list[str]:
    return [
        parameter.name
        for parameter in signature.parameters
        if parameter.annotation is not parameter.empty and _speaks_of(parameter.annotation, scope, classes)
    ]


def _speaks_of(annotation: Any, scope: dict[str, Any], classes: tuple[type, ...]) -> bool:
    """Whether an annotation is one of the classes, a subclass of one, or a union or ``Annotated`` of one."""
    meant = resolve(annotation, scope, {})
    if meant is None and isinstance(annotation, str):  # a name for type checkers alone
        words = set(re.findall(r"\w+", annotation))
        return any(cls.__name__ in words for cls in classes)
    origin = typing.get_origin(meant)
    if origin in _AROUND:
        inner = typing.get_args(meant)
        inner = inner[:1] if origin is typing.Annotated else inner
        return any(_speaks_of(part, scope, classes) for part in inner if part is not type(None))
    meant = origin or meant
    return isinstance(meant, type) and issubclass(meant, classes)
