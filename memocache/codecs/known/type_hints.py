"""Type hints: as results those of classes that everybody has, as arguments those of any class with a name.

A type variable, a NewType or an alias of PEP 695 is known by its name where its module holds it under that name.
"""

from __future__ import annotations

import sys
import types
import typing
from typing import Any, Final

from memocache.codecs.ext_types import Unfit, expect, expect_list
from memocache.codecs.known.known_type import KnownType, find_loaded
from memocache.exceptions import DecodeError

_HINT_MODULES: Final = (
    "builtins", "collections", "collections.abc", "datetime", "decimal", "fractions", "numbers", "pathlib", "types",
    "typing", "uuid",
)  # fmt: skip
_MOST_HINTS: Final = 1000


def _hint_apart(hint: Any) -> Any:
    if hint is None or hint is type(None):
        return None
    if hint is ...:
        return ["..."]
    if type(hint) is types.GenericAlias:
        return ["alias", _hint_apart(typing.get_origin(hint)), [_hint_apart(arg) for arg in typing.get_args(hint)]]
    if type(hint) is types.UnionType:
        return ["|", [_hint_apart(arg) for arg in hint.__args__]]
    if typing.get_origin(hint) is typing.Union:
        return ["Union", [_hint_apart(arg) for arg in hint.__args__]]
    if typing.get_origin(hint) is typing.Literal:
        return ["Literal", list(hint.__args__)]
    if isinstance(hint, list | tuple):  # the parameters of a Callable
        return ["[]", [_hint_apart(arg) for arg in hint]]
    if isinstance(hint, type) and hint.__module__ in _HINT_MODULES and _class_of(hint.__module__, hint.__qualname__):
        return ["class", hint.__module__, hint.__qualname__]
    raise Unfit(hint, "a type hint of this kind cannot be stored; return its text")


def _class_of(module: str, name: str) -> Any:
    found = vars(sys.modules[module]).get(name) if module in _HINT_MODULES and module in sys.modules else None
    return found if isinstance(found, type) else None


def _hint_together(parts: Any) -> Any:
    if parts is None:
        return type(None)
    kind, *rest = expect(list, parts)
    if kind == "class":
        found = _class_of(*(expect(str, part) for part in rest))
        if found is None:
            raise DecodeError("payload names a class that is not trusted")
        return found
    if kind == "...":
        return ...
    if kind == "alias":
        origin, args = expect_list(rest, 2)
        return types.GenericAlias(_hint_together(origin), tuple(map(_hint_together, _few(args))))
    (args,) = expect_list(rest, 1)
    if kind == "[]":
        return list(map(_hint_together, _few(args)))
    if kind == "Literal":
        return typing.Literal[tuple(_few(args))]
    made = tuple(map(_hint_together, _few(args)))
    if kind == "Union":
        return typing.Union[made]  # noqa: UP007  # the type that it was
    if kind != "|" or len(made) < 2:
        raise DecodeError("payload holds a malformed type hint")
    union = made[0]
    for arg in made[1:]:
        union |= arg
    return union


def _few(args: Any) -> list[Any]:
    if len(expect(list, args)) > _MOST_HINTS:
        raise DecodeError("payload holds too long a type hint")
    return args  # type: ignore[no-any-return]  # checked above


_VARIABLES: Final = ("TypeVar", "ParamSpec", "TypeVarTuple")


def _hint_key(hint: Any) -> Any:
    """What identifies a type hint: its kind, and what it is made of, classes as they are."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if type(hint).__name__ in _VARIABLES:
        return _variable_key(hint)
    if origin is None:
        return hint
    if origin is typing.Literal:
        return "Literal", [(type(arg).__name__, arg) for arg in args]
    parts = [_hint_key(list(arg) if isinstance(arg, list) else arg) for arg in args if not isinstance(arg, list)]
    lists = [[_hint_key(inner) for inner in arg] for arg in args if isinstance(arg, list)]
    named = getattr(hint, "_name", None)  # List[int] is not list[int]
    if origin in (typing.Union, types.UnionType):
        # int | str and Union[str, int] are equal, and so may share
        return "Union", frozenset(parts) if _hashable(parts) else parts
    if hasattr(hint, "__metadata__"):
        return "Annotated", _hint_key(args[0]), hint.__metadata__
    made = type(hint).__name__, named, getattr(origin, "__name__", str(origin)), origin, parts, lists
    return (*made, "unpacked") if getattr(hint, "__unpacked__", False) else made


def _hashable(parts: list[Any]) -> bool:
    try:
        return bool(frozenset(parts)) or True
    except TypeError:
        return False


def _variable_key(variable: Any) -> Any:
    """The name of a type variable; where that leads elsewhere (one of a function, say), what it was made with too."""
    made = type(variable).__name__, variable.__module__, variable.__name__
    if find_loaded(f"{variable.__module__}:{variable.__name__}") is variable:
        return made
    bound, default = getattr(variable, "__bound__", None), getattr(variable, "__default__", None)
    constraints = [_hint_key(hint) for hint in getattr(variable, "__constraints__", ())]
    variance = getattr(variable, "__covariant__", False), getattr(variable, "__contravariant__", False)
    return *made, _hint_key(bound), constraints, variance, None if default is None else repr(default)


def _named_key(hint: Any) -> Any:
    """The name of what a module holds; None (no value) for what no name leads to."""
    name = getattr(hint, "__qualname__", hint.__name__)
    found = find_loaded(f"{hint.__module__}:{name}")
    return (type(hint).__name__, hint.__module__, name) if found is hint else None


def _argument_key(hint: Any) -> Any:
    kind = type(hint).__name__
    if kind in _VARIABLES:
        return _variable_key(hint)
    if kind in ("NewType", "TypeAliasType"):
        return _named_key(hint)
    if kind in ("ParamSpecArgs", "ParamSpecKwargs"):
        return kind, _variable_key(hint.__origin__)
    if kind in _SPECIAL_FORMS:  # `Literal` and `Annotated` have other classes in other versions of Python
        return "_SpecialForm", hint._name
    if kind in ("_SpecialGenericAlias", "_TupleType", "_CallableType"):
        return kind, hint._name
    if kind == "ForwardRef":
        return kind, hint.__forward_arg__, getattr(hint, "__forward_module__", None)
    return _hint_key(hint)


def _refused(hint: Any) -> Any:
    raise Unfit(hint, "a type hint of this kind cannot be stored; return its text")


_SPECIAL_FORMS: Final = ("_SpecialForm", "_LiteralSpecialForm", "_TypedCacheSpecialForm")
_ARGUMENTS: Final = (
    *_SPECIAL_FORMS, "_GenericAlias", "_SpecialGenericAlias", "_CallableGenericAlias", "_CallableType", "_TupleType",
    "_AnnotatedAlias", "_ConcatenateGenericAlias", "_UnpackGenericAlias", "TypeVar", "ParamSpec", "TypeVarTuple",
    "ParamSpecArgs", "ParamSpecKwargs", "NewType", "ForwardRef", "TypeAliasType",
)  # fmt: skip

TYPES: Final = (
    KnownType(
        17, ("types:GenericAlias", "types:UnionType", "typing:_UnionGenericAlias", "typing:_LiteralGenericAlias",
             "typing:Union"),  # from Python 3.14 on the class of both unions
        _hint_apart, _hint_together, _hint_key, immutable=True,
        note="`list[int]`, `int | None`, `Literal`, of built-in classes; as arguments of any class with a name",
    ),
    KnownType(
        26, (*(f"typing:{name}" for name in _ARGUMENTS), "collections.abc:_CallableGenericAlias",
             "_collections_abc:_CallableGenericAlias", "typing_extensions:TypeAliasType", "annotationlib:ForwardRef"),
        _refused, _hint_together, _argument_key, immutable=True, results=False,
        note="as arguments: `Annotated`, `Callable`, type variables and aliases of PEP 695 by name, `NewType`",
    ),
)  # fmt: skip
