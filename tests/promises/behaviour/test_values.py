"""Values (promise 1.2): what comes back equals what was computed, type for type, from every backend."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import fractions
import math
import pathlib
import unicodedata
import uuid
import zoneinfo
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest

from tests.promises.behaviour.world import World

AMS = zoneinfo.ZoneInfo("Europe/Amsterdam")
Pair = namedtuple("Pair", "a b")


class Typed(NamedTuple):
    """A typed namedtuple."""

    a: int
    b: str = "x"


class Colour(enum.Enum):
    """A plain enumeration."""

    RED = "red"
    BLUE = ("b", 1)


class Level(enum.IntEnum):
    """An int with a name."""

    LOW = 1


class Permission(enum.Flag):
    """Flags."""

    R = 1
    W = 2


@dataclass
class Point:
    """A dataclass."""

    x: int
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Frozen:
    """A frozen one with slots."""

    inner: Any


def _attrs() -> Any:
    attrs = pytest.importorskip("attrs")
    global Attr
    Attr = attrs.make_class("Attr", ["a", "b"])
    Attr.__module__ = __name__
    return Attr(1, [2])


VALUES: list[Any] = [
    None, True, False, 0, -1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**200, 0.0, -0.0, 1.5, math.inf, -math.inf, math.nan,
    5e-324, 1j, complex(-0.0, math.inf), "", "text", "\ud800", "\x00", "\U0001f600", unicodedata.normalize("NFD", "é"),
    "x" * 100_000, b"", b"\x00\xff", bytearray(b"ab"), bytearray(), (), (1,), ((),), [], [1, [2, [3]]], set(),
    {1, "a", None}, frozenset(), frozenset({1, (2,)}), {}, {"a": 1},
    {1: "a", 1.5: "b", None: "c", b"k": "d", (1, 2): "e", "1": "f"}, {True: 1}, OrderedDict(b=1, a=2), range(0),
    range(1, 10, 3), decimal.Decimal("1.00"), decimal.Decimal("NaN"), decimal.Decimal("-0"), decimal.Decimal("1E+500"),
    fractions.Fraction(1, 3), uuid.UUID(int=7), pathlib.PurePosixPath("/a/b"), pathlib.Path("a"), dt.date(2024, 2, 29),
    dt.time(1, 2, 3, 4), dt.time(1, tzinfo=dt.UTC), dt.datetime(2024, 1, 1, 1, 1, 1, 123456),
    dt.datetime(2024, 1, 1, tzinfo=dt.UTC), dt.datetime(2024, 10, 27, 2, 30, tzinfo=AMS),
    dt.datetime(2024, 10, 27, 2, 30, tzinfo=AMS, fold=1), dt.datetime(1, 1, 1),
    dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30))), dt.timedelta(-1, 2, 3),
    dt.timedelta.max, Colour.RED, Colour.BLUE, Level.LOW, Permission.R | Permission.W, Pair(1, [2]), Typed(1),
    Typed(2, "y"), Point(1), Point(1, ["a"]), Frozen(Frozen({1})), [Point(1), (Colour.RED, {"k": Frozen(None)})],
    {"deep": [({"a": {Level.LOW: [Pair(1, 2)]}},)]},
]  # fmt: skip


def same(one: Any, other: Any) -> bool:
    """Equal type for type, all the way down; NaN is NaN, and -0.0 is not 0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return one.hex() == other.hex()
    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    if isinstance(one, decimal.Decimal):
        return one.as_tuple() == other.as_tuple()
    if isinstance(one, dt.datetime | dt.time):
        return one == other and one.fold == other.fold and str(one.tzinfo) == str(other.tzinfo)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, set | frozenset):
        return one == other and {(type(item), item) for item in one} == {(type(item), item) for item in other}
    if isinstance(one, Point):
        return same((one.x, one.tags), (other.x, other.tags))
    if isinstance(one, Frozen):
        return same(one.inner, other.inner)
    return bool(one == other)


def table() -> list[Any]:
    """The values, numbered by place."""
    return VALUES


def test_values_come_back_type_exact(world: World) -> None:
    """Every kind of value comes back as it was computed, from a call, a peek, a bulk call and a plain key."""
    f = world.cached(lambda n: table()[n], name="values")
    for n, value in enumerate(VALUES):
        assert world.call(f, n) is value or same(world.call(f, n), value)
    for n, value in enumerate(VALUES):
        assert same(world.call(f, n), value), value
        assert same(world.call(f.peek, n), value), value
    assert all(map(same, world.call(f.map, range(len(VALUES))), VALUES))
    for n, value in enumerate(VALUES):
        world.ask("set", f"k{n}", value)
        assert same(world.ask("get", f"k{n}"), value), value
    found = world.ask("get_many", [f"k{n}" for n in range(len(VALUES))])
    assert all(same(found[f"k{n}"], value) for n, value in enumerate(VALUES))
    assert f.stats().rejected == 0


def test_values_cross_caches(shared: World) -> None:
    """Another cache on the same backend, which trusts what its own functions return, reads them type for type."""
    writer, reader = shared.cache, shared.new_cache(trust=[__name__])
    f, g = (shared.cached(lambda n: table()[n], name="values", cache=cache) for cache in (writer, reader))
    for n in range(len(VALUES)):
        shared.call(f, n)
    for n, value in enumerate(VALUES):
        assert same(shared.call(g, n), value), value
    assert g.cache_info()[:2] == (len(VALUES), 0)


def annotated(x: int) -> Point:
    """A function whose annotation names a class."""
    return Point(x, ["t"])


def test_annotations_are_trusted(shared: World) -> None:
    """A class seen in a decorated function's annotations is rebuilt by a process that never computed one."""
    writer, reader = shared.cached(annotated), shared.cached(annotated, cache=shared.new_cache())
    shared.call(writer, 1)
    assert shared.call(reader, 1) == Point(1, ["t"])
    assert reader.cache_info()[:2] == (1, 0)


def test_classes_nobody_named_are_not_rebuilt(shared: World) -> None:
    """A stored class that the reading cache was never told of is a miss, never an import."""
    shared.call(shared.cached(lambda x: Point(x), name="f"), 1)
    calls: list[int] = []
    g = shared.cached(lambda x: calls.append(x), name="f", cache=shared.new_cache())
    assert shared.call(g, 1) is None
    assert calls == [1]
    assert (g.cache_info()[:2], g.stats().decode_errors) == ((0, 1), 1)


@pytest.mark.parametrize("make", [_attrs], ids=["attrs"])
def test_values_of_libraries(world: World, make: Callable[[], Any]) -> None:
    """Values of attrs classes come back equal; the other libraries are the codec's own tests' business."""
    value = make()
    f = world.cached(lambda x: value, name="library")
    for _ in range(2):
        got = world.call(f, 1)
        assert (type(got), got) == (type(value), value)
    assert f.stats().rejected == 0


class Money:
    """A class the codec does not know."""

    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and self.cents == other.cents

    __hash__ = None  # type: ignore[assignment]  # like any mutable class


def test_registered_types(world: World) -> None:
    """`Cache.register` teaches a type, also inside containers, and callers get objects of their own."""
    world.cache.register(Money, lambda money: money.cents, Money)
    f = world.cached(lambda x: [Money(x)], name="register")
    first, second = world.call(f, 5), world.call(f, 5)
    assert first == second == [Money(5)]
    assert first[0] is not second[0]
    assert f.cache_info()[:2] == (1, 1)
