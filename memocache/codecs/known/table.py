"""The table of known types, and what follows from an entry: a payload, a key, whether a copy is needed.

docs/values.md is made from it, and `tests/codecs/test_known_types.py` walks it.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from memocache.codecs.ext_types import Buffer, Kind, Pack, Unpack, expect, expect_list
from memocache.codecs.known import (
    arrow,
    django,
    images,
    jax,
    numpy_scipy_torch,
    pandas_dtypes_and_scalars,
    polars_types,
    protobuf,
    stdlib_extras,
    time_libraries,
    type_hints,
    web_and_databases,
)
from memocache.codecs.known.known_type import KnownType, find_loaded
from memocache.exceptions import DecodeError

KNOWN: Final = 40
TABLE: Final[tuple[KnownType, ...]] = (
    *stdlib_extras.TYPES,
    *type_hints.TYPES,
    *time_libraries.TYPES,
    *web_and_databases.TYPES,
    *numpy_scipy_torch.TYPES,
    *arrow.TYPES,
    *pandas_dtypes_and_scalars.TYPES,
    *polars_types.TYPES,
    *jax.TYPES,
    *images.TYPES,
    *protobuf.TYPES,
    *django.TYPES,
)
_BY_NUMBER: Final = {known.number: known for known in TABLE}
_BY_NAME: Final = {name: known for known in TABLE for name in known.classes}
_LIBRARIES: Final = frozenset(name.partition(":")[0].partition(".")[0] for name in _BY_NAME)
_EVERYWHERE: Final = _BY_NAME["google.protobuf.message:Message"]
# Classes of builtins that go by no name there.
_NAMELESS: Final = {
    "builtins:mappingproxy": type(type.__dict__),
    "builtins:dict_keys": type({}.keys()),
    "builtins:dict_values": type({}.values()),
    "builtins:dict_items": type({}.items()),
    "builtins:ellipsis": type(...),
}


def known_type(cls: type) -> KnownType | None:
    """Return the entry of a class, or None; a class that only bears a known name has none."""
    if _library(cls) not in _LIBRARIES:
        return _EVERYWHERE if _is_message(cls) else None
    for base in type.__dict__["__mro__"].__get__(cls):
        name = f"{base.__module__}:{base.__qualname__}"
        known = _BY_NAME.get(name)
        if known is not None and (base is cls or (known.family and _library(cls) == _library(base))):
            if known is _EVERYWHERE:
                return known if _is_message(cls) else None
            found = _NAMELESS.get(name) or find_loaded(name)
            return known if found is base or type(found) is base else None
    return None


def _is_message(cls: type) -> bool:
    """Whether a class is a message of protobuf, which the program's own modules declare."""
    base = find_loaded("google.protobuf.message:Message")
    return base is not None and base is not cls and any(base is one for one in type.__dict__["__mro__"].__get__(cls))


def kind_of(cls: type) -> Kind | None:
    """Return how instances of a known class are written."""
    known = known_type(cls)
    return None if known is None else Kind(KNOWN, partial(_dump, known))


def key_of(value: Any, cls: type) -> tuple[Any, ...] | None:
    """Return the tuple that identifies a value of a known class as an argument, or None."""
    known = known_type(cls)
    if known is None:
        return None
    identity = (known.key or known.apart)(value)
    return None if identity is None and known.key is not None else ("known", known.number, identity)


def is_immutable(cls: type) -> bool:
    """Whether values of a class are known to be safe in any number of hands."""
    known = known_type(cls)
    return known is not None and known.immutable


def load(body: Buffer, unpack: Unpack) -> Any:
    """Return the value of a body of `KNOWN`."""
    number, parts = expect_list(unpack(body), 2)
    known = _BY_NUMBER.get(expect(int, number))
    if known is None:
        raise DecodeError("payload holds an unknown type")
    return known.together(parts)


def _dump(known: KnownType, value: Any, pack: Pack) -> bytes:
    return pack([known.number, known.apart(value)])


def _library(cls: type) -> str:
    module: object = cls.__module__  # which its author may have set to anything
    return module.partition(".")[0] if isinstance(module, str) else ""
