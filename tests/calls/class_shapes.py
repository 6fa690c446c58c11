"""Classes as people write them: `Shape` says how, `made` makes the class, importable under a name of its own.

Instances have up to four parts: `a` and `b`, the fields; `c`, which a subclass adds; `_p`, which is private, or is set
beside what was declared.
"""

from __future__ import annotations

import dataclasses
import sys
import types
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import attrs
import msgspec
import pydantic

PARTS = ("a", "b", "c", "_p")
KINDS = ("dataclass", "attrs", "msgspec", "pydantic", "plain")
SUBCLASSES = ("", "plain", "slots", "declared")
EQUALITIES = ("generated", "none", "base", "subclass")


class Shape(NamedTuple):
    """How a class is written. `compared` is whether the field `b` is; `equality` is where one of its own stands."""

    kind: str
    subclass: str = ""
    equality: str = "generated"
    compared: bool = True
    frozen: bool = False
    slots: bool = False
    private: bool = False
    hashed: bool = False


def read(value: Any) -> tuple[Any, ...]:
    """All parts of an instance."""
    return tuple(getattr(value, name, None) for name in PARTS)


def _eq(self: Any, other: object) -> bool:
    return type(other) is type(self) and read(self) == read(other)


def _hash(self: Any) -> int:
    return hash(repr(read(self)))


def _own(shape: Shape, where: str) -> dict[str, Any]:
    own: dict[str, Any] = {"__module__": _module().__name__}
    if shape.equality == where:
        own["__eq__"] = _eq
        if shape.hashed:
            own["__hash__"] = _hash
    return own


def _module() -> types.ModuleType:
    return sys.modules.setdefault("class_shapes_made", types.ModuleType("class_shapes_made"))


@cache
def made(shape: Shape) -> Callable[..., Any]:
    """Return what builds an instance of four parts. Raises TypeError or ValueError where no such class can be."""
    base = _BASES[shape.kind](shape)
    cls = _subclass(shape, base) if shape.subclass else base
    cls.__qualname__ = cls.__name__ = "_".join(map(str, shape)).replace("__", "_0_")
    cls.__module__ = _module().__name__
    setattr(_module(), cls.__name__, cls)

    def build(a: Any, b: Any, c: Any, p: Any) -> Any:
        fields = {"a": a, "b": b, **({"c": c} if shape.subclass == "declared" else {})}
        value = cls(**fields)
        if shape.subclass in ("plain", "slots"):
            object.__setattr__(value, "c", c)
        if shape.private and shape.kind == "pydantic":
            value._p = p
        elif shape.private:
            object.__setattr__(value, "_p", p)
        return value

    build(0, 0, 0, 0)
    return build


def _dataclass(shape: Shape) -> Any:
    fields: Any = [("a", Any), ("b", Any, dataclasses.field(default=0, compare=shape.compared))]
    return dataclasses.make_dataclass(
        "Base", fields, namespace=_own(shape, "base"), eq=shape.equality != "none", frozen=shape.frozen,
        slots=shape.slots,
    )  # fmt: skip


def _attrs(shape: Shape) -> Any:
    fields = {"a": attrs.field(), "b": attrs.field(default=0, eq=shape.compared)}
    eq = {"eq": False} if shape.equality in ("none", "base") else {"eq": True}
    return attrs.make_class(
        "Base", fields, class_body=_own(shape, "base"), frozen=shape.frozen, slots=shape.slots, **eq
    )  # fmt: skip


def _msgspec(shape: Shape) -> Any:
    return msgspec.defstruct(
        "Base", [("a", Any), ("b", Any, 0)], namespace=_own(shape, "base"), eq=shape.equality != "none",
        frozen=shape.frozen, dict=not shape.slots,
    )  # fmt: skip


def _pydantic(shape: Shape) -> Any:
    namespace = {"__annotations__": {"a": Any, "b": Any}, "b": 0, "model_config": {"frozen": shape.frozen}}
    if shape.private:
        namespace |= {"_p": pydantic.PrivateAttr(default=None)}
    return type(pydantic.BaseModel)("Base", (pydantic.BaseModel,), namespace | _own(shape, "base"))


def _plain(shape: Shape) -> Any:
    def init(self: Any, a: Any, b: Any = 0) -> None:
        self.a, self.b = a, b

    slots = {"__slots__": ("a", "b")} if shape.slots else {}
    return type("Base", (), {"__init__": init, **slots, **_own(shape, "base")})


_BASES: dict[str, Callable[[Shape], Any]] = {
    "dataclass": _dataclass,
    "attrs": _attrs,
    "msgspec": _msgspec,
    "pydantic": _pydantic,
    "plain": _plain,
}


def _subclass(shape: Shape, base: Any) -> Any:
    own = _own(shape, "subclass")
    if shape.subclass == "slots":
        own["__slots__"] = ("c",)
    if shape.subclass != "declared":
        return type(base)("Sub", (base,), own)
    own["__annotations__"] = {"c": Any}
    own["c"] = 0
    if shape.kind == "dataclass":
        return dataclasses.dataclass(frozen=shape.frozen, eq=shape.equality != "none")(type("Sub", (base,), own))
    if shape.kind == "attrs":
        generate = shape.equality == "generated"
        return attrs.define(frozen=shape.frozen, slots=shape.slots, eq=generate)(type("Sub", (base,), own))
    if shape.kind == "plain":
        raise TypeError("nothing declares the fields of a plain class")
    return type(base)("Sub", (base,), own)


def every() -> Iterator[Shape]:
    """Every shape of which there can be a class."""
    for parts in product(KINDS, SUBCLASSES, EQUALITIES, *[(True, False)] * 5):
        shape = Shape(*parts)  # type: ignore[arg-type]  # in their order
        if shape.equality == "subclass" and not shape.subclass:
            continue
        if shape.hashed and shape.equality not in ("base", "subclass"):
            continue
        try:
            made(shape)
        except (TypeError, ValueError, AttributeError):
            continue
        yield shape
