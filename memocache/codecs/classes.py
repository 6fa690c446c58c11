"""Classes that may be rebuilt: how they are recognised, taken apart and put together.

1. A class goes by ``module:qualname``, and only if that name leads back to it: local and shadowed classes do not.
2. Only these kinds can be rebuilt: Enum, namedtuple, dataclass, attrs, pydantic model, msgspec Struct. A payload names
   kind and class, and both must agree: no other class can be made to come into being by what a backend holds.
3. Rebuilding runs none of the class's code: no ``__init__``, ``__post_init__``, ``__setstate__`` or validator; fields
   are put where they were. (Sets and dicts of such objects do call their ``__hash__`` and ``__eq__``.)
4. The fields of a payload must be the fields of the class as it is now: an older class's payload is not its value.
5. Nothing is imported but the modules that were trusted by name.
"""

from __future__ import annotations

import builtins
import dataclasses
import enum
import importlib
import struct
import sys
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from types import MemberDescriptorType
from typing import Any, NamedTuple, TypeAlias, cast

from memocache.codecs.ext_types import ATTRS, DATACLASS, ENUM, MSGSPEC, NAMEDTUPLE, PYDANTIC, Unfit, expect, expect_list
from memocache.exceptions import DecodeError

_HEAPTYPE = 1 << 9
_WORD = struct.calcsize("P")
# attrs keeps a hash here, which means nothing in another process; None has it computed anew.
_ATTRS_HASH = "_attrs_cached_hash"
# Where `typing` notes as which generic class an instance was made, `Page[Item](...)`; no state of the instance.
_ORIGIN = "__orig_class__"


class Shape(NamedTuple):
    """A class that can be rebuilt: `dump` gives the body's items after the class's name, `load` takes them."""

    code: int
    name: str
    cls: type
    dump: Callable[[Any], list[Any]]
    load: Callable[[list[Any]], Any]


def name_of(cls: type) -> str:
    """Return ``module:qualname``."""
    return f"{cls.__module__}:{cls.__qualname__}"


def find(name: str, modules: Iterable[str] = ()) -> type | None:
    """Return the class that goes by `name` in a module already imported or among `modules`, or None.

    No attribute hooks run: neither a module's ``__getattr__`` nor a descriptor.
    """
    module_name, _, qualname = name.partition(":")
    if module_name in modules and module_name not in sys.modules:
        importlib.import_module(module_name)
    found: Any = sys.modules.get(module_name)
    for part in qualname.split("."):
        if found is None:
            return None
        found = vars(found).get(part)
        if not isinstance(found, type):
            return None
    return found if name_of(found) == name else None


def shape_of(cls: Any) -> Shape | None:
    """Return how to take `cls` apart, or None if it is of no kind that can be rebuilt, or not found by its name."""
    name = name_of(cls)
    found: Any = find(name)
    if found is not cls:
        generic = _parametrised_name(cls)
        return None if generic is None else Shape(PYDANTIC, generic, cls, _dump_model, partial(_load_model, cls))
    if issubclass(cls, enum.Enum):
        return Shape(ENUM, name, cls, _dump_enum, lambda parts: _load_enum(cls, parts))
    msgspec, pydantic = sys.modules.get("msgspec"), sys.modules.get("pydantic")
    if msgspec is not None and issubclass(cls, msgspec.Struct):
        return _record(MSGSPEC, name, cls, cls.__struct_fields__)
    if not all(base.__flags__ & _HEAPTYPE for base in cls.__mro__ if base not in (object, tuple)):
        return None
    if issubclass(cls, tuple):
        named: Any = getattr(cls, "_fields", None)
        is_named = type(named) is tuple and all(type(field) is str for field in named)
        return _record(NAMEDTUPLE, name, cls, named) if is_named else None
    if pydantic is not None and issubclass(cls, pydantic.BaseModel):
        return Shape(PYDANTIC, name, cls, _dump_model, partial(_load_model, cls))
    if hasattr(cls, "__attrs_attrs__"):
        fields = tuple(field.name for field in cls.__attrs_attrs__)
        return _record(ATTRS, name, cls, fields)
    if hasattr(cls, "__dataclass_fields__"):
        return _record(DATACLASS, name, cls, tuple(field.name for field in dataclasses.fields(cls)))
    return None


def _parametrised_name(cls: Any) -> str | None:
    """Return what stands for a generic pydantic model with its parameters, ``module:Page[module:Item]``, or None.

    No name leads to it: a reader takes it for a class that it has seen, and makes none.
    """
    pydantic = sys.modules.get("pydantic")
    if pydantic is None or not issubclass(cls, pydantic.BaseModel):
        return None
    made = vars(cls).get("__pydantic_generic_metadata__") or {}
    origin: Any = made.get("origin")
    args = made.get("args")
    if origin is None or not args:
        return None
    name, names = name_of(origin), [_hint_name(arg) for arg in args]
    return None if None in names or find(name) is not origin else f"{name}[{', '.join(map(str, names))}]"


def _hint_name(hint: Any) -> str | None:
    """Return an unambiguous name of a type hint, or None if it has none."""
    if hint is None or hint is type(None) or hint is Any or hint is ...:
        return str(hint)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, type) and not args:
        return name_of(hint) if find(name_of(hint)) is hint else _parametrised_name(hint)
    if origin is typing.Literal:
        return None if not {str, int, bool}.issuperset(map(type, args)) else f"Literal{list(args)!r}"
    if origin is None or (not isinstance(origin, type) and origin is not typing.Union):
        return None
    names = [_hint_name(arg) for arg in args]
    made: Any = origin
    start = name_of(made) if isinstance(made, type) else "Union"
    return None if None in names else f"{start}[{', '.join(map(str, names))}]"


def slots_of(cls: type) -> dict[str, MemberDescriptorType]:
    """Return the slots of `cls` and its bases, by attribute name."""
    held = (item for base in reversed(cls.__mro__) for item in vars(base).items())
    return {name: slot for name, slot in held if type(slot) is MemberDescriptorType}


def state_of(value: object, slots: Mapping[str, MemberDescriptorType]) -> dict[str, Any]:
    """Return every attribute that `value` itself holds, in its ``__dict__`` or in the slots of its class."""
    state = dict(getattr(value, "__dict__", ()))
    for name, slot in slots.items():
        try:
            state[name] = slot.__get__(value)
        except AttributeError:
            continue
    return state


# Fields and attributes: namedtuple, dataclass, attrs, msgspec.

Build: TypeAlias = Callable[[dict[str, Any], dict[str, Any]], Any]


def _record(code: int, name: str, cls: type, fields: tuple[str, ...]) -> Shape:
    slots = {} if code == MSGSPEC else slots_of(cls)
    build = _builder(code, cls, fields, slots)

    def dump(value: Any) -> list[Any]:
        state = state_of(value, slots)
        if code == NAMEDTUPLE:
            # what a class makes of its length and its items is not asked: `platform.uname_result` adds one
            if tuple.__len__(value) != len(fields):
                raise Unfit(
                    value, "a namedtuple of another length than its class's cannot be stored; return tuple(value)"
                )
            state |= zip(fields, tuple.__iter__(value), strict=True)
        elif code == MSGSPEC:
            state |= {field: getattr(value, field) for field in fields}
        elif _ATTRS_HASH in state:
            state[_ATTRS_HASH] = None
        state.pop(_ORIGIN, None)
        held = {field: state.pop(field) for field in fields if field in state}
        parts = [held, state, [field for field in fields if field not in held]]
        while not parts[-1] and len(parts) > 1:
            parts.pop()
        return parts

    def load(parts: list[Any]) -> Any:
        parts = expect_list(parts, 1, 3)
        held = expect(dict, parts[0])
        attributes = expect(dict, parts[1]) if len(parts) > 1 else {}
        _check_fields(fields, held, expect(list, parts[2]) if len(parts) > 2 else [])
        if attributes and not (set(map(type, attributes)) == {str} and attributes.keys().isdisjoint(fields)):
            raise DecodeError("payload holds malformed attributes")
        return build(held, attributes)

    return Shape(code, name, cls, dump, load)


def _check_fields(fields: Collection[str], held: dict[str, Any], absent: list[str]) -> None:
    if len(held) + len(absent) != len(fields) or not all(field in held or field in absent for field in fields):
        raise DecodeError("payload holds a class's value with other fields than the class has")


def _builder(code: int, cls: type, fields: tuple[str, ...], slots: Mapping[str, MemberDescriptorType]) -> Build:
    maker = _constructor(cls) if code == MSGSPEC else None

    def build(held: dict[str, Any], attributes: dict[str, Any]) -> Any:
        if maker is not None:
            value = maker(held)
        elif code == NAMEDTUPLE:
            value = tuple.__new__(cls, [held[field] for field in fields])
        else:
            value = object.__new__(cls)
            attributes = held | attributes
        for name, attribute in attributes.items():
            if name in slots:
                slots[name].__set__(value, attribute)
            else:
                value.__dict__[name] = attribute
        return value

    return build


def _constructor(cls: type) -> Callable[[dict[str, Any]], Any]:
    """Return what makes a Struct of its fields without its ``__post_init__``.

    A Struct comes into being only through its constructor, which runs that hook: so a twin without the hook is made,
    and then turned into what it stands for.
    """
    if not hasattr(cls, "__post_init__"):
        return lambda held: cls(**held)
    twin = type(cls)(cls.__name__, (cls,), {"__post_init__": lambda self: None, "__module__": cls.__module__})

    def make(held: dict[str, Any]) -> Any:
        value = twin(**held)
        vars(object)["__class__"].__set__(value, cls)
        return value

    return make


def _dump_enum(value: enum.Enum) -> list[Any]:
    cls = type(value)
    if cls._member_map_.get(value._name_) is value:
        return [value._name_]
    if isinstance(value, enum.Flag):
        return [int(value._value_)]
    raise Unfit(value, "an Enum's value that is no member of it cannot be stored; return what it stands for")


def _load_enum(cls: type[enum.Enum], parts: list[Any]) -> Any:
    (part,) = expect_list(parts, 1)
    if type(part) is str:
        value: Any = cls._member_map_.get(part)
    elif type(part) is int and issubclass(cls, enum.Flag):
        # The class's own _missing_ is passed by; the number is what `Flag` makes of it.
        value = cls._value2member_map_.get(part) or cast("Any", enum.Flag._missing_).__func__(cls, part)
    else:
        value = None
    if type(value) is not cls:
        raise DecodeError("payload holds an unknown member of an Enum")
    return value


_MODEL_PARTS = ("__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")


def _dump_model(value: Any) -> list[Any]:
    fields = type(value).model_fields
    held = {field: value.__dict__[field] for field in fields if field in value.__dict__}
    attributes = {name: attribute for name, attribute in value.__dict__.items() if name not in fields}
    given, extra, private = (getattr(value, part) for part in _MODEL_PARTS)
    absent = [field for field in fields if field not in held]
    return [held, attributes, absent, sorted(given), extra, private]


def _load_model(cls: Any, parts: list[Any]) -> Any:
    held, attributes, absent, given, extra, private = expect_list(parts, 6)
    fields = cls.model_fields
    _check_fields(fields, expect(dict, held), expect(list, absent))
    if not all(part is None or type(part) is dict for part in (extra, private)):
        raise DecodeError("payload holds a malformed model")
    names = [*expect(dict, attributes), *expect(list, given), *(extra or ()), *(private or ())]
    if not all(type(name) is str for name in names) or not attributes.keys().isdisjoint(fields):
        raise DecodeError("payload holds a malformed model")
    value = object.__new__(cls)
    object.__setattr__(value, "__dict__", held | attributes)
    for part, state in zip(_MODEL_PARTS, (set(given), extra, private), strict=True):
        object.__setattr__(value, part, state)
    return value


# Exceptions, remembered by class and args.


def dump_error(error: Exception) -> list[Any]:
    """Return ``[class, args, attributes]``; the attributes are all that its args do not say: in its ``__dict__`` (notes
    too), in slots, and those of the built-in class (a module's or variable's name). The object whose attribute was
    missing is left out.
    """
    args = error.args
    if isinstance(error, OSError) and error.filename is not None and len(args) == 2:
        # `args` leaves out the file names that the constructor took.
        args = (*args, error.filename) if error.filename2 is None else (*args, error.filename, None, error.filename2)
    slots = _error_slots(type(error))
    said = state_of(load_error(type(error), list(args), {}), slots)
    state = state_of(error, slots)
    held = {name: part for name, part in state.items() if name not in said or said[name] is not part}
    return [name_of(type(error)), list(args), held]


def load_error(cls: type[Exception], args: list[Any], attributes: dict[str, Any]) -> Exception:
    """Make the exception by the constructor of the built-in class that it derives from: no other code runs."""
    base: Any = next(base for base in cls.__mro__ if is_builtin_error(base))
    error: Exception = base.__new__(cls, *args)
    base.__init__(error, *args)
    slots = _error_slots(cls) if attributes else {}
    for name, attribute in attributes.items():
        if name in slots:
            slots[name].__set__(error, attribute)
        else:
            error.__dict__[name] = attribute
    return error


def _error_slots(cls: type[BaseException]) -> dict[str, MemberDescriptorType]:
    """The slots of an exception's class that can be put back: a group's exceptions are among its args."""
    left_out = {"__suppress_context__", "obj"} if issubclass(cls, AttributeError) else {"__suppress_context__"}
    left_out |= {"message", "exceptions"} if issubclass(cls, BaseExceptionGroup) else set()
    return {name: slot for name, slot in slots_of(cls).items() if name not in left_out}


def error_state(error: BaseException) -> dict[str, Any] | None:
    """Return all that an exception holds beside its args; None if its class holds more than Python can see."""
    cls = type(error)
    slots = _error_slots(cls)
    return None if has_hidden_state(cls) else state_of(error, slots)


def has_hidden_state(cls: type) -> bool:
    """Whether instances of an exception's class are larger than what Python sees of them: an extension's are."""
    if cls.__module__ == "builtins":
        return False
    base = next(base for base in cls.__mro__ if base.__module__ == "builtins")
    seen = len(slots_of(cls)) - len(slots_of(base))
    return cls.__basicsize__ - base.__basicsize__ > _WORD * (seen + 2)  # and a dict and weak references


def errors_in(error: Exception) -> Iterator[Exception]:
    """Yield an exception and those that it groups, at any depth; whatever a group's own class says it has."""
    waiting: list[Any] = [error]
    while waiting:
        found = waiting.pop()
        yield found
        if isinstance(found, ExceptionGroup):
            waiting += vars(BaseExceptionGroup)["exceptions"].__get__(found)


def is_builtin_error(cls: type) -> bool:
    """Tell whether `cls` is one of Python's own exception classes (of `Exception`'s)."""
    return issubclass(cls, Exception) and vars(builtins).get(cls.__name__) is cls
