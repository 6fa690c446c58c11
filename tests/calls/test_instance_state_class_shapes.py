"""Objects of classes as people write them: what is not equal is another key, what is made alike is the same.

The classes are generated (`tests.calls.class_shapes`): five kinds, frozen or not, with slots, private state, parts that
a subclass adds, and an equality that is generated, the class's own, or none.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import subprocess
import sys
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any, Generic, TypeVar

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memocache._calls.keys.canonical import canonical
from memocache._runtime.object_identity import Identities, NoIdentity, Recorder
from tests.calls.class_shapes import Shape, every, made, read

SHAPES = list(every())
STEPS = [(0, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (1, 0, 0, 0)]
T = TypeVar("T")


def key(value: Any, process: Recorder | None = None) -> bytes | None:
    """The key of a value, None for one that is refused."""
    try:
        return canonical(value, process)
    except NoIdentity:
        return None


def check(shape: Shape, one: tuple[Any, ...], two: tuple[Any, ...]) -> None:
    """The law, of two instances of a class: unequal ones are apart, and so are those that differ where the class says
    nothing of equality; those made alike are one.
    """
    build, process = made(shape), Recorder(Identities())
    x, twin, y = build(*one), build(*one), build(*two)
    compares = x == twin
    for registry in (None, process):
        keys = [key(value, registry) for value in (x, twin, y)]
        if None in keys:
            assert shape.kind == "plain", "what declares its fields is known by them"
            continue
        if x != y if compares else read(x) != read(y):
            assert keys[0] != keys[2]
        if compares or registry is None:
            assert keys[0] == keys[1]


def test_there_are_shapes_of_every_kind() -> None:
    """What cannot be made is few: the law is about hundreds of classes of each kind."""
    assert min(Counter(shape.kind for shape in SHAPES).values()) >= 80
    assert len(SHAPES) > 1000


def test_every_shape_obeys_the_law() -> None:
    """In each of its parts."""
    for shape in SHAPES:
        for step in STEPS[1:]:
            check(shape, STEPS[0], step)


_PART = st.sampled_from([0, 1, "a", "", None, (1,), (1, "a"), 2.5])
_PARTS = st.tuples(_PART, _PART, _PART, _PART)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(SHAPES), _PARTS, _PARTS)
def test_any_two_instances_obey_the_law(shape: Shape, one: tuple[Any, ...], two: tuple[Any, ...]) -> None:
    """Whatever they hold."""
    check(shape, one, two)


def fingerprint() -> str:
    """A digest of the keys of an instance of every shape."""
    keys = [key(made(shape)("x", (1, 2), frozenset("abcd"), {"k": {3, 4}})) for shape in SHAPES]
    return sha256(b"|".join(made or b"-" for made in keys)).hexdigest()


def test_instances_share_across_processes() -> None:
    """What is made alike in another process, under another hash seed, has the same key."""
    script = "from tests.calls.test_instance_state_class_shapes import fingerprint; print(fingerprint())"
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": root}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, cwd=root)
    assert run.stdout.strip() == fingerprint(), run.stderr


class Page(pydantic.BaseModel, Generic[T]):
    """A generic model."""

    items: list[T]
    _owner: str = pydantic.PrivateAttr("")


class Numbers(pydantic.RootModel[list[int]]):
    """A model of one value."""

    _owner: str = pydantic.PrivateAttr("")


@pydantic.dataclasses.dataclass
class Point:
    """A dataclass that pydantic checks."""

    x: int
    hidden: int = dataclasses.field(default=0, compare=False)


def test_generic_and_root_models_and_pydantic_dataclasses() -> None:
    """Each with its private attributes and what is set beside its fields, also parametrised where no name leads to."""
    for make in (lambda: Page[int](items=[1]), lambda: Page(items=[1]), lambda: Numbers([1])):
        one, two, other = make(), make(), make()
        other._owner = "somebody"
        assert canonical(one) == canonical(two) != canonical(other)
    keys = {canonical(page) for page in (Page[int](items=[1]), Page[float](items=[1]), Page(items=[1]))}
    assert len(keys) == 3
    point = Point(1)
    assert canonical(point) == canonical(Point(1, 2)) != canonical(Point(2))
    point.token = "set later"  # type: ignore[attr-defined]
    assert canonical(point) != canonical(Point(1))


@dataclasses.dataclass
class Box(Generic[T]):
    """A generic dataclass."""

    inner: T


def test_the_class_that_an_instance_was_made_as_takes_no_part() -> None:
    """`typing` notes it on the instance, which is equal to one without the note."""
    assert canonical(Box[int](1)) == canonical(Box(1)) != canonical(Box(2))


@dataclasses.dataclass
class Report:
    """A dataclass that keeps what it computed."""

    title: str

    @functools.cached_property
    def length(self) -> int:
        """Follows from the title."""
        return len(self.title)


@attrs.define
class SlottedReport(Report):
    """The same in slots."""

    title: str

    @functools.cached_property
    def length(self) -> int:
        """Follows from the title."""
        raise AssertionError("a key asks for nothing that is not there")


class StructReport(msgspec.Struct, dict=True):
    """The same of msgspec."""

    title: str
    length = functools.cached_property(lambda self: len(self.title))


class ModelReport(pydantic.BaseModel):
    """The same of pydantic."""

    title: str

    @functools.cached_property
    def length(self) -> int:
        """Follows from the title."""
        return len(self.title)


@pytest.mark.parametrize("cls", [Report, StructReport, ModelReport])
def test_what_a_cached_property_keeps_takes_no_part(cls: Any) -> None:
    """It follows from the rest, and whether it was asked for before is nobody's business."""
    one, two = cls(title="a"), cls(title="a")
    assert one.length == 1
    assert canonical(one) == canonical(two)


def test_a_key_computes_no_property() -> None:
    """A slot that attrs fills when first asked is not asked."""
    assert canonical(SlottedReport("a")) == canonical(SlottedReport("a"))


def test_an_equality_of_its_own_that_comes_later() -> None:
    """A class whose equality is exchanged is known by it from then on."""
    cls = dataclasses.make_dataclass("Late", ["x", ("y", int, dataclasses.field(compare=False))])
    cls.__module__, cls.__qualname__ = __name__, "Late"
    globals()["Late"] = cls
    assert canonical(cls(1, 2)) == canonical(cls(1, 3))
    cls.__eq__ = lambda self, other: self.__dict__ == other.__dict__  # type: ignore[method-assign,misc,assignment]
    assert canonical(cls(1, 2)) != canonical(cls(1, 3))
