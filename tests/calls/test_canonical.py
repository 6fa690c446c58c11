"""The canonical encoding: equal values share bytes everywhere, distinct values never do.

``MEMOCACHE_EXAMPLES=1000000`` makes the batch test compare a million pairs (and Hypothesis try more examples).
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import itertools
import math
import operator
import os
import pathlib
import random
import re
import struct
import subprocess
import sys
import threading
import types
import typing
import unicodedata
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memocache._calls.keys.canonical import canonical, canonical_args
from memocache._runtime.object_identity import Identities, NoIdentity, Recorder
from tests.worlds import FULL

PAIRS = int(os.environ.get("MEMOCACHE_EXAMPLES", "40000" if FULL else "8000"))
examples = settings(
    max_examples=max(150, min(PAIRS // 250, 1500)), deadline=None, suppress_health_check=list(HealthCheck)
)
ROOT = pathlib.Path(__file__).parents[2]


def registered() -> Recorder:
    """A registry of process identities that holds whatever was asked about."""
    return Recorder(Identities())


class Colour(enum.Enum):
    RED = 1
    GREEN = "RED"


class Level(enum.IntEnum):
    ONE = 1
    UNO = 1
    TWO = 2


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Text(str):
    def __str__(self) -> str:
        return "a lie"

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


class Name(str):
    __slots__ = ()


class Money(float):
    """A float whose equality looks at more than the float."""

    def __new__(cls, amount: float, currency: str) -> Money:
        money = super().__new__(cls, amount)
        money.currency = currency
        return money

    currency: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and float(self) == float(other) and self.currency == other.currency

    __hash__ = float.__hash__


class Pair(typing.NamedTuple):
    a: Any
    b: Any


class OtherPair(typing.NamedTuple):
    a: Any
    b: Any


class Wrapped(collections.UserDict[Any, Any]):
    """A subclass of a wrapper, with an attribute of its own."""

    mark = 0


class Listed(collections.UserList[Any]):
    """A subclass of a wrapper."""


class Space(types.SimpleNamespace):
    """A subclass of a namespace."""


def marked(wrapped: Wrapped) -> Wrapped:
    wrapped.mark = 1
    return wrapped


class Names(dict[Any, Any]):
    pass


@dataclasses.dataclass
class Point:
    x: Any
    y: Any = dataclasses.field(default=0, compare=False)


@dataclasses.dataclass(eq=False)
class Every:
    x: Any
    y: Any = dataclasses.field(default=0, compare=False)


@dataclasses.dataclass
class Late:
    x: Any = dataclasses.field(init=False)


class Keyed:
    def __init__(self, key: Any) -> None:
        self.key = key

    def __cache_key__(self) -> Any:
        if isinstance(self.key, Exception):
            raise self.key
        return self.key


class OtherKeyed(Keyed):
    pass


class Plain:
    def method(self) -> None: ...


class Valued:
    """Hashable by value, as users write it."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        raise AssertionError("repr was called")


class OtherValued(Valued):
    pass


def local_class() -> Any:
    @dataclasses.dataclass
    class Local:
        x: Any

    return Local


# The oracle: type-exact sameness, which shares no code or idea with the encoder.


def same(a: Any, b: Any) -> bool:
    """Whether two values are one argument."""
    kind = type(a)
    if kind is not type(b):
        return False
    if kind in (float, Money):
        alike = (a != a and b != b) or (float(a) == float(b) and math.copysign(1, a) == math.copysign(1, b))
        return alike and (kind is float or a.currency == b.currency)
    if kind is complex:
        return same(a.real, b.real) and same(a.imag, b.imag)
    if kind is Decimal:
        return (a.is_nan() and b.is_nan()) or (not a.is_nan() and not b.is_nan() and a.as_tuple() == b.as_tuple())
    if kind in (list, tuple, Pair, OtherPair):
        return len(a) == len(b) and all(map(same, a, b))
    if kind is collections.OrderedDict:
        return same(list(a.items()), list(b.items()))
    if kind in (dict, Names):
        return matched(list(a.items()), list(b.items()))
    if kind in (set, frozenset):
        return matched(list(a), list(b))
    if kind is datetime or kind is time:
        return a.replace(tzinfo=None) == b.replace(tzinfo=None) and a.fold == b.fold and same(a.tzinfo, b.tzinfo)
    if kind is timezone:
        return a.utcoffset(None) == b.utcoffset(None) and a.tzname(None) == b.tzname(None)
    if kind is ZoneInfo:
        return bool(a.key == b.key)
    if kind in (range, slice):
        return all(same(getattr(a, end), getattr(b, end)) for end in ("start", "stop", "step"))
    if kind is memoryview:
        return (a.format, a.shape, a.tobytes()) == (b.format, b.shape, b.tobytes())
    if kind is re.Pattern:
        return same(a.pattern, b.pattern) and a.flags == b.flags
    if kind is Point:
        return same(a.x, b.x)
    if kind is Text:
        return str.__eq__(a, b)
    return bool(a == b)


def matched(left: list[Any], right: list[Any]) -> bool:
    """Whether two lists hold the same things in any order (`same` is an equivalence, so greed is enough)."""
    if len(left) != len(right):
        return False
    for item in left:
        at = next((at for at, other in enumerate(right) if same(item, other)), None)
        if at is None:
            return False
        right.pop(at)
    return True


# Values that lie close together, hashable ones first.

NAN_BITS: float = struct.unpack("<d", struct.pack("<Q", 0xFFF8_0000_0000_0001))[0]
BERLIN = ZoneInfo("Europe/Berlin")
ATOMS: list[Any] = [
    None, "None", True, False, 0, 1, -1, 2, 1.0, 0.0, -0.0, "", "0", "1", b"", b"1", "a", b"a", "ab", b"ab", 127, 128,
    255, 256,
    -32, -33, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**40, -(10**40), float(2**64),
    math.nan, NAN_BITS, -math.nan, math.inf, -math.inf, 5e-324, 1j, 0j, complex(-0.0, 0.0), complex(math.nan, 1),
    complex(NAN_BITS, 1),
    "é", "e\u0301", "\ud800", "\udfff", "\ud800\udc00", "\U00010000", "\0", "a\0", "x" * 40, b"x" * 40, "x" * 300,
    Decimal("1"), Decimal("1.0"), Decimal("1.00"), Decimal("-0"), Decimal("0"), Decimal("NaN"),
    Decimal("Infinity"), Decimal("-Infinity"), Decimal("1E+2"), Decimal("100"), Fraction(1), Fraction(1, 2),
    uuid.UUID(int=1),
    date(2024, 1, 1), datetime(2024, 1, 1), datetime(2024, 1, 1, fold=1), datetime(2024, 1, 1, tzinfo=UTC),
    datetime(2024, 1, 1, tzinfo=timezone(timedelta(0), "X")), datetime(2024, 1, 1, tzinfo=ZoneInfo("UTC")),
    datetime(2024, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), datetime(2024, 1, 1, tzinfo=BERLIN), time(1),
    time(1, fold=1),
    time(1, tzinfo=UTC), timedelta(1), timedelta(0, 1), timedelta(0, 0, 1), timedelta(hours=24), UTC, BERLIN,
    pathlib.PurePosixPath("a"), pathlib.PurePosixPath("a/b"), pathlib.PureWindowsPath("a"), pathlib.Path("a"),
    range(0), range(1, 1),
    range(3), range(0, 3, 2), range(0, 4, 2), re.compile("a"), re.compile("a", re.IGNORECASE), re.compile(b"a"), int,
    str, type(None), len, dataclasses.fields,
    str.lower, Colour.RED, Colour.GREEN, Level.ONE, Level.TWO, Access.READ, Access.READ | Access.WRITE, Access(0),
    Name("a"), Name("1"),
    Text("a"), Money(1.0, "EUR"), Money(1.0, "CHF"), Money(math.nan, "CHF"), (), frozenset(), ..., NotImplemented,
]  # fmt: skip


def make(draw: random.Random, depth: int = 3, hashable: bool = False) -> Any:
    """A random value, near to many others."""
    if depth == 0 or draw.random() < 0.3:
        return draw.choice(ATOMS)

    def some(of_hashables: bool = hashable) -> list[Any]:
        return [make(draw, depth - 1, of_hashables) for _ in range(draw.randrange(4))]

    kinds: list[Callable[[], Any]] = [
        lambda: tuple(some()),
        lambda: Pair(*[*some(), 0, 1][:2]),
        lambda: OtherPair(*[*some(), 0, 1][:2]),
        lambda: frozenset(some(True)),
    ]
    if not hashable:
        kinds += [
            some,
            lambda: set(some(True)),
            lambda: dict(zip(some(True), some() * 3, strict=False)),
            lambda: Names(zip(some(True), some() * 3, strict=False)),
            lambda: {str(at): item for at, item in enumerate(some())},
            lambda: collections.OrderedDict(zip(some(True), some() * 3, strict=False)),
            lambda: Point(*[*some(), 0][:1], y=draw.random()),
            lambda: bytearray(draw.choice([b"", b"a", b"1"])),
            lambda: memoryview(draw.choice([b"", b"abcd", b"1"])),
            lambda: memoryview(b"abcd").cast("B", [2, 2]),
            lambda: memoryview(b"abcd").cast("i"),
            lambda: slice(*[*some(), 0, None, 1][:3]),
        ]
    return draw.choice(kinds)()


def respell(value: Any, draw: random.Random) -> Any:
    """The same value, built anew, with another history."""
    kind = type(value)
    if kind is float and value != value:
        return draw.choice([math.nan, NAN_BITS, -math.nan])
    if kind in (list, tuple):
        return kind(respell(item, draw) for item in value)
    if kind in (Pair, OtherPair):
        return kind(*(respell(item, draw) for item in value))
    if kind in (set, frozenset):
        items = [respell(item, draw) for item in value]
        draw.shuffle(items)
        fillers = {f"filler {at}" for at in range(100)}
        crowd = set(fillers)  # so that the table is larger than it need be
        crowd.update(items)
        return kind(crowd - fillers)
    if kind in (dict, Names):
        pairs = [(respell(key, draw), respell(item, draw)) for key, item in value.items()]
        draw.shuffle(pairs)
        return kind(pairs)
    if kind is str:
        return "".join(list(value))
    if kind is bytes:
        return bytes(bytearray(value))
    if kind is int:
        return int(str(value))
    if kind is Point:
        return Point(respell(value.x, draw), draw.random())
    return value


def test_batch_of_pairs_share_bytes_exactly_when_the_oracle_says_so() -> None:
    """Of all pairs of a seeded batch, those and only those that are one value have one encoding."""
    draw = random.Random(20240229)
    count = math.isqrt(2 * PAIRS) + 2
    values = ATOMS[: count // 4]
    while len(values) < count:
        value = make(draw)
        values += [value, respell(value, draw)] if draw.random() < 0.3 else [value]
    encoded = [canonical(value) for value in values]
    shared = 0
    for (a, left), (b, right) in itertools.combinations(zip(values, encoded, strict=True), 2):
        if left == right:
            shared += 1
        assert (left == right) == same(a, b), (a, b)
    print(f"{len(values) * (len(values) - 1) // 2:,} pairs compared, {shared:,} of them equal")
    assert shared > count // 10


atoms = st.integers(0, len(ATOMS) - 1).map(lambda at: ATOMS[at])
hashables = st.recursive(
    atoms | st.integers() | st.floats() | st.text() | st.binary() | st.decimals(allow_nan=False) | st.datetimes(),
    lambda inner: (
        st.tuples(inner) | st.tuples(inner, inner) | st.frozensets(inner, max_size=3) | st.builds(Pair, inner, inner)
    ),
    max_leaves=6,
)
values = st.recursive(
    hashables,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(hashables, inner, max_size=4)
        | st.sets(hashables, max_size=4)
        | st.builds(Point, inner)
        | st.tuples(inner, inner)
    ),
    max_leaves=12,
)


@examples
@given(values, values)
def test_any_two_values_share_bytes_exactly_when_the_oracle_says_so(a: Any, b: Any) -> None:
    """Injective over pairs that Hypothesis finds, alone and inside containers."""
    assert (canonical(a) == canonical(b)) == same(a, b)
    assert (canonical([a, b]) == canonical([b, a])) == same(a, b)
    assert (canonical({"k": a}) == canonical({"k": b})) == same(a, b)


@examples
@given(values, st.randoms(use_true_random=False))
def test_respelled_values_share_bytes(value: Any, draw: random.Random) -> None:
    """A value built anew, with dicts and sets filled in another order, is the same argument."""
    assert canonical(respell(value, draw)) == canonical(value)


@examples
@given(st.lists(values, max_size=4))
def test_arguments_are_encoded_as_their_tuple(items: list[Any]) -> None:
    """The quick route for calls answers what the general one does, with a registry or without."""
    assert canonical_args(tuple(items)) == canonical(tuple(items)) == canonical_args(tuple(items), registered())


@examples
@given(st.lists(values, max_size=3), st.lists(values, max_size=3))
def test_encodings_end_by_themselves(left: list[Any], right: list[Any]) -> None:
    """No encoding is a proper prefix of another, so sequences of values cannot run together."""
    a, b = canonical(left), canonical(right)
    assert a == b or not (a.startswith(b) or b.startswith(a))


@pytest.mark.parametrize(
    "group",
    [
        [1, 1.0, True, "1", b"1", None, "None", Decimal(1), Fraction(1), 1 + 0j, Level.ONE, bytearray(b"1"),
        memoryview(b"1")],
        [0.0, -0.0, 0, False],
        [[1], (1,), {1}, frozenset({1}), {1: None}, Pair(1, 2), (1, 2)],
        [{1: "x"}, {"1": "x"}, {1.0: "x"}, {True: "x"}, {b"1": "x"}],
        [Decimal("1.0"), Decimal("1.00"), Decimal("1")],
        [datetime(2024, 10, 27, 2, 30, fold=fold, tzinfo=zone) for fold in (0, 1) for zone in (None, BERLIN, UTC)],
        [datetime(2024, 1, 1), date(2024, 1, 1)],
        [unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")],
        [Level.ONE, 1, Access.READ, Colour.RED, "RED"],
        ["a", Name("a"), Text("a"), b"a"],
        [Names(a=1), {"a": 1}, collections.OrderedDict(a=1), collections.defaultdict(int, a=1),
        collections.Counter(a=1)],
        [Wrapped(a=1), Wrapped(a=2), marked(Wrapped(a=1)), collections.UserDict(a=1), {"a": 1}, Space(a=1), Space(a=2),
        types.SimpleNamespace(a=1)],
        [Listed([1]), Listed([2]), collections.UserList([1]), [1]],
        [Pair(1, 2), OtherPair(1, 2), (1, 2)],
        [collections.OrderedDict(a=1, b=2), collections.OrderedDict(b=2, a=1)],
        [range(0), range(1, 1), range(1, 2), range(1, 3), range(1, 3, 2), range(2, 3), slice(1, 2), slice(1, 3),
        slice(2, 3)],
        [[[]], ([],), [()], ((),), [[], 1], ([], 1), Pair([], 1), {0: []}, {"0": []}, {None: []}],
        [{(), 1}, frozenset({(), 1}), {1}, {()}, frozenset({()}), frozenset({frozenset()})],
        [{1: 2, "1": 2}, {1: 2}, {1: "1", "1": 2}, {2: 1, "1": 2}, {"1": 2, 2: 1, 1: 1}],
        [Access.READ | Access.WRITE, Access.READ, Access.WRITE, Access(0), 3],
        [pathlib.PurePosixPath("a"), pathlib.PosixPath("a") if os.name == "posix" else 0,
        pathlib.PureWindowsPath("a"), "a"],
        [[[1], 2], [[1, 2]], [1, 2], [[1], [2]], [1, [2]]],
        [("ab", "c"), ("a", "bc"), ("abc",), ("abc", "")],
        [b"abcd", memoryview(b"abcd"), memoryview(b"abcd").cast("b"), memoryview(b"abcd").cast("i"),
        memoryview(b"abcd").cast("B", [2, 2])],
        [Point(1), Every(1), (1,), {"x": 1}],
        [Every(1, 2), Every(1, 3)],
        [Keyed(1), OtherKeyed(1), 1, Keyed("1")],
        [int, "int", len, str.lower, Point],
        [re.compile("a"), re.compile(b"a"), re.compile("a", re.MULTILINE), "a"],
    ],
)  # fmt: skip
def test_distinct_arguments_never_share(group: list[Any]) -> None:
    """The distinctness list of the contract, bare and nested in each container."""
    wraps: list[Callable[[Any], Any]] = [lambda v: v, lambda v: [v], lambda v: (0, v), lambda v: {"k": v}, Point]
    for wrap in wraps:
        assert len({canonical(wrap(value)) for value in group}) == len(group)


def test_subclasses_of_wrappers_are_arguments_by_class_and_state() -> None:
    """Those of UserDict and its kin and of SimpleNamespace, which have no hash: equal ones share a key."""
    for made in (lambda: Wrapped(a=[1]), lambda: marked(Wrapped()), lambda: Listed([1]), lambda: Space(a={1})):
        assert canonical(made()) == canonical(made())


def test_every_nan_is_one_argument() -> None:
    """NaN is one value whatever its sign, payload or object, in floats, complex numbers, Decimals and containers."""
    assert len({canonical(value) for value in (math.nan, -math.nan, NAN_BITS, float("nan"))}) == 1
    assert canonical(complex(NAN_BITS, -0.0)) == canonical(complex(math.nan, -0.0)) != canonical(complex(math.nan, 0.0))
    assert canonical(Decimal("NaN")) == canonical(Decimal("-NaN7")) == canonical(Decimal("sNaN"))
    assert canonical({math.nan, NAN_BITS}) != canonical({math.nan})
    assert canonical({math.nan: 1, NAN_BITS: 2}) == canonical({NAN_BITS: 2, math.nan: 1})


def test_fields_out_of_comparison_take_no_part() -> None:
    """A dataclass is its class and the fields it compares by, or all of them if it has no equality of its own."""
    assert canonical(Point(1, 2)) == canonical(Point(1, 3))
    assert canonical(Late()) == canonical(Late())
    late = Late()
    late.x = None
    assert canonical(late) != canonical(Late())


def test_classes_of_attrs_pydantic_and_msgspec_are_known_by_fields() -> None:
    """Each is its class and compared fields; excluded ones take no part, private attributes do."""
    other = Model(x=1)
    other._private["o"] = 2
    assert canonical(other) != canonical(Model(x=1))
    assert canonical(Attrs(1, 2)) == canonical(Attrs(1, 3)) != canonical(Attrs(2, 2))
    assert canonical(Model(x=1)) == canonical(Model(x=1)) != canonical(Model(x=2))
    assert canonical(Model(x=1)) != canonical(Model(x=1, extra=1)) != canonical(Model(x=1, extra=2))
    assert canonical(Struct(1)) == canonical(Struct(1)) != canonical(Struct(2))
    assert len({canonical(kind(1)) for kind in (Attrs, Struct, Point)} | {canonical(Model(x=1))}) == 4


def test_subclass_with_an_equality_of_its_own_is_known_by_its_state_too() -> None:
    """What only the subclass compares (a currency) tells values apart; without it, class and base value are all."""
    assert canonical(Money(1, "EUR")) == canonical(Money(1, "EUR")) != canonical(Money(1, "CHF"))
    left, right = Names(a=1), Names(a=1)
    left.note = "not compared"  # type: ignore[attr-defined]
    assert canonical(left) == canonical(right)


def test_numbers_beyond_64_bits_and_long_texts() -> None:
    """Sizes that msgpack cannot hold, and the boundaries of those it can, all differ."""
    edges = {
        sign * (2**power) + step
        for power in (7, 8, 31, 32, 63, 64, 65, 4000)
        for sign in (1, -1)
        for step in (-1, 0, 1)
    }
    assert len({canonical(edge) for edge in edges} | {canonical([edge]) for edge in edges}) == 2 * len(edges)
    assert len({canonical("x" * size) for size in (31, 32, 255, 256, 65535, 65536)}) == 6


def test_functions_and_classes_count_by_a_name_that_leads_back() -> None:
    """Functions and classes with a name are known everywhere; lambdas, partials of them and methods are not."""
    assert canonical(same) == canonical(same) != canonical(matched)
    assert len({canonical(value) for value in (len, math.sin, str.lower, bytes.lower, int.__add__, Plain.method)}) == 6
    method: Any
    for method in (lambda: 0, functools.partial(lambda: 0), Plain().method, [].append, operator.methodcaller("a")):
        with pytest.raises(NoIdentity):
            canonical(method)


@pytest.mark.parametrize(
    "value",
    [object(), Plain(), Valued(1), lambda: 0, iter(()), Plain().method, threading.Lock()],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_any_other_object_has_no_identity_across_processes(value: Any) -> None:
    """It is refused, also deep inside, by the name of its type and never by its text."""
    for nested in (value, [value], {"k": (value,)}, Point(value)):
        with pytest.raises(NoIdentity) as caught:
            canonical(nested)
        assert caught.value.type_name.endswith(type(value).__qualname__)
        assert not caught.value.local_class
        assert "0x" not in str(caught.value)


def test_local_classes_are_told_from_other_trouble() -> None:
    """`local_class` is set only if a registry can identify the whole value."""
    local = local_class()
    for value in (local, local(1), [1, local(2)], {"k": local}):
        with pytest.raises(NoIdentity) as caught:
            canonical(value)
        assert caught.value.local_class
        assert canonical(value, registered())
    for value in (local(object()), [local(1), object()]):
        with pytest.raises(NoIdentity) as caught:
            canonical(value)
        assert not caught.value.local_class


def test_local_classes_of_one_name_are_apart() -> None:
    """Two classes made by one function are two classes within the process, each equal to itself."""
    first, second, registry = local_class(), local_class(), registered()
    assert canonical(first(1), registry) == canonical(first(1), registry) != canonical(second(1), registry)


def test_class_replaced_in_its_module_loses_its_name() -> None:
    """A class whose name leads to another class by now is not taken for that one."""
    impostor = type("Plain", (), {"__module__": __name__})
    with pytest.raises(NoIdentity):
        canonical(impostor)


@pytest.mark.parametrize("depth", [400, 100_000])
def test_too_deep_is_refused(depth: int) -> None:
    """Depth ends in NoIdentity: no RecursionError, in lists, dicts, frozensets and dataclasses."""
    wraps: list[Callable[[Any], Any]] = [lambda v: [v], lambda v: {"k": v}, lambda v: {1: v, "1": 0}, Point, Keyed]
    for wrap in wraps:
        value: Any = 0
        for _ in range(depth):
            value = wrap(value)
        with pytest.raises(NoIdentity, match="too deep"):
            canonical(value)


def test_cycles_are_refused_at_once() -> None:
    """A value that contains itself, even several times over, ends in NoIdentity and not in a hang."""
    loop: list[Any] = []
    loop += [loop, loop]
    table: dict[Any, Any] = {}
    table["a"] = table["b"] = table
    point = Point(0)
    point.x = {1: [point]}
    own = Keyed(0)
    own.key = own
    for value in (loop, table, point, own):
        with pytest.raises(NoIdentity):
            canonical(value)
        with pytest.raises(NoIdentity):
            canonical_args((1, value), registered())


def test_near_the_recursion_limit_it_is_a_recursion_error() -> None:
    """A caller deep in its own recursion is told of that, as by any other function; the value is not at fault."""
    nested: Any = 0
    for _ in range(60):
        nested = [nested]

    def sink(level: int) -> None:
        if level:
            sink(level - 1)
            return
        with pytest.raises(RecursionError):
            canonical(nested)

    frame, used = sys._getframe(), 0
    while frame is not None:
        frame, used = frame.f_back, used + 1  # type: ignore[assignment]
    sink(sys.getrecursionlimit() - used - 60)


def test_liars_are_not_believed() -> None:
    """``__class__``, ``__eq__``, ``__hash__``,
    ``__str__`` and metaclasses that lie about being an int change nothing."""

    class Meta(type):
        def __eq__(cls, other: object) -> bool:
            return True

        def __hash__(cls) -> int:
            return hash(int)

    class Liar(metaclass=Meta):
        @property
        def __class__(self) -> type:
            return int

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 1

    for process in (None, registered()):
        with pytest.raises(NoIdentity):
            canonical(Liar(), process)
    assert len({canonical(value) for value in (Text("a"), Text("b"), "a", "a lie")}) == 4


def test_errors_of_the_values_own_code() -> None:
    """A property or ``__cache_key__`` that raises leaves the value without identity; what ``__hash__`` and ``__eq__``
    raise is raised."""

    class Broken(Valued):
        def __hash__(self) -> int:
            raise ZeroDivisionError

    with pytest.raises(NoIdentity):
        canonical(Keyed(ValueError("x")), registered())
    for value in (Broken(1), [Broken(1)]):
        with pytest.raises(ZeroDivisionError):
            canonical(value, registered())
    released = memoryview(b"a")
    released.release()
    with pytest.raises(NoIdentity):
        canonical(released)


def test_cache_key_wins_on_any_class() -> None:
    """``__cache_key__`` defined by the class decides, also for a str,
    dataclass or Enum; on the instance it does not."""

    class_key = {"__cache_key__": lambda self: "key", "__module__": __name__}
    registry = registered()
    for base in (str, Point, Plain):
        cls = types.new_class("Own", (base,), exec_body=lambda namespace: namespace.update(class_key))
        arguments = (1,) if base is not Plain else ()
        assert canonical(cls(*arguments), registry) == canonical(cls(*arguments), registry)
        assert canonical(cls(*arguments), registry) != canonical("key", registry)
    plain = Plain()
    plain.__cache_key__ = lambda: 1  # type: ignore[attr-defined]
    with pytest.raises(NoIdentity):
        canonical(plain)


class Nowhere(tzinfo):
    """A zone that nothing names."""


def test_zone_without_a_name_has_no_identity() -> None:
    """A tzinfo of the user's own is any other object; the datetime that holds it is refused with it."""
    with pytest.raises(NoIdentity, match="Nowhere"):
        canonical(datetime(2024, 1, 1, tzinfo=Nowhere()))


def test_300_temporaries_with_default_repr_never_share() -> None:
    """Objects that live one after another at one address get tokens of their own."""
    registry = registered()
    assert len({canonical_args((Plain(), 1), registry) for _ in range(300)}) == 300
    kept = Plain()
    assert canonical_args((kept, 1), registry) == canonical_args((kept, 1), registry)


def test_objects_hashable_by_value_share_within_a_registry() -> None:
    """Equal objects of one class are one argument to one registry; another class, or another registry, is apart."""
    registry = registered()
    assert canonical(Valued(1), registry) == canonical(Valued(1), registry)
    assert len({canonical(value, registry) for value in (Valued(1), Valued(2), OtherValued(1))}) == 3
    assert canonical(Valued(1), registered()) != canonical(Valued(1), registry)


def test_bound_methods_are_their_function_and_self_within_the_process() -> None:
    """A bound method is made anew at each access; with a registry it is known by its parts."""
    registry, first, second = registered(), Plain(), Plain()
    assert canonical(first.method, registry) == canonical(first.method, registry) != canonical(second.method, registry)


def test_equal_arguments_share_across_processes_and_hash_seeds() -> None:
    """Bytes do not depend on the process or on PYTHONHASHSEED."""
    script = (
        "import sys, random; from tests.calls.test_canonical import *; draw = random.Random(7);"
        "sys.stdout.write(canonical([ATOMS, set(map(str, range(50))), {str(i): i for i in range(9)}]"
        " + [make(draw) for _ in range(200)]).hex())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        ).stdout
        for seed in ("0", "1", "4242")
    }  # fmt: skip
    assert len(outputs) == 1
    assert len(outputs.pop()) > 1000


def test_threads_encode_alike() -> None:
    """Packers are shared between threads without mixing their bytes."""
    arguments = [tuple(make(random.Random(seed)) for _ in range(3)) for seed in range(60)]
    expected = [canonical_args(values) for values in arguments]
    gate, wrong = threading.Barrier(4), []

    def work() -> None:
        gate.wait()
        for _ in range(10):
            if [canonical_args(values) for values in arguments] != expected:
                wrong.append(1)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong


def test_huge_arguments_are_encoded() -> None:
    """Megabytes and hundreds of thousands of items are fine."""
    many = list(range(200_000))
    assert canonical(many) == canonical(list(many)) != canonical([*many, 1])
    assert canonical(b"x" * 5_000_000) != canonical(b"x" * 5_000_001)
    assert canonical({str(item): item for item in many}) == canonical({str(item): item for item in reversed(many)})


# Third-party values.


def test_numpy_arrays_are_known_by_dtype_shape_and_content() -> None:
    """Arrays that differ in any of the three are apart; memory layout, padding and NaN payloads do not count."""
    numpy = pytest.importorskip("numpy")
    grid = numpy.arange(6).reshape(2, 3)
    assert canonical(grid) == canonical(numpy.asfortranarray(grid)) == canonical(grid[:, ::-1][:, ::-1])
    kinds = [
        grid, grid.reshape(3, 2), grid.ravel(), grid.astype("i4"), grid.astype(">i8"), grid.astype("f8"),
        grid.astype(object), grid.tolist(),
        grid.astype("m8[s]"), grid.astype("m8[ms]"), grid.astype("U5"), grid.astype("U6"), grid.astype("S5"),
        grid.view(numpy.matrix),
        numpy.ma.masked_array(grid, grid > 2), numpy.ma.masked_array(grid, grid > 3), numpy.ma.masked_array(grid),
        grid.view(Quantity),
        numpy.int64(1), numpy.int32(1), numpy.float64(1), numpy.bool_(True), numpy.array(1), numpy.str_("1"),
        numpy.bytes_(b"1"),
        numpy.float64(0.0), numpy.float64(-0.0), 1.0, 1, "1", numpy.dtype("i8"), numpy.dtype("i4"),
        numpy.datetime64("2024-01-01"),
        numpy.datetime64("2024-01-01", "s"), numpy.datetime64("NaT", "s"), numpy.zeros(2, "i4,i4"), numpy.zeros(2,
        "i4,f4"),
        numpy.zeros(2, [("a", "i4"), ("b", "i4")]), numpy.zeros(0), numpy.zeros((0, 2)), numpy.longdouble(1),
        numpy.complex64(1),
    ]  # fmt: skip
    assert len({canonical(kind) for kind in kinds}) == len(kinds)
    for dtype in ("f2", "f4", "f8", ">f8", "c8", "c16", numpy.longdouble):
        clean, odd = numpy.array([1, numpy.nan], dtype), numpy.array([1, NAN_BITS], dtype)
        assert canonical(clean) == canonical(odd) != canonical(numpy.array([1, 2], dtype))
    padded = numpy.dtype([("a", "u1"), ("b", "f8")], align=True)
    left, right = numpy.zeros(2, padded), numpy.frombuffer(b"\xff" * 32, padded).copy()
    right["a"], right["b"] = 0, 0
    assert canonical(left) == canonical(right)
    assert canonical(numpy.array([1, "a", None], object)) == canonical(numpy.array([1, "a", None], object))
    with pytest.raises(NoIdentity):
        canonical(numpy.array([object()]))


def test_unit_of_an_array_subclass_counts() -> None:
    """State that a subclass of ndarray keeps beside its items is part of its identity."""
    numpy = pytest.importorskip("numpy")
    metres, miles = numpy.zeros(2).view(Quantity), numpy.zeros(2).view(Quantity)
    metres.unit, miles.unit = "m", "mi"
    assert canonical(metres) != canonical(miles)


def test_numpy_variable_strings_are_known_by_content() -> None:
    """StringDType arrays hold addresses; their text is what counts."""
    numpy = pytest.importorskip("numpy", "2.0")
    long = ["a" * 100, "b"]
    left, right = numpy.array(long, numpy.dtypes.StringDType()), numpy.array(list(long), numpy.dtypes.StringDType())
    assert canonical(left) == canonical(right) != canonical(numpy.array(["c", "b"], numpy.dtypes.StringDType()))


def test_pandas_frames_are_known_by_content() -> None:
    """Labels, dtypes and values count, each alone; a frame built anew is the same argument."""
    pandas = pytest.importorskip("pandas")

    def kinds() -> list[Any]:
        frame, stamp = (
            pandas.DataFrame({"a": [1, 2], "b": ["x", None]}),
            pandas.Timestamp("2024-01-01 00:00:00.000000001"),
        )
        days = pandas.date_range("2024-01-01", periods=2, tz="Europe/Berlin")
        return [
            frame, frame.rename(columns={"a": "c"}), frame.set_index("a"), frame.astype({"a": "int32"}),
            frame.astype({"a": object}),
            frame.astype({"a": "Int64"}), frame.astype({"b": "category"}), frame.astype({"b": "string"}),
            frame.iloc[::-1],
            frame.assign(b=[None, "x"]), frame[["b", "a"]], frame["a"], frame["a"].rename("z"), frame.index,
            frame.columns,
            pandas.Index([0, 1]), pandas.Series(days), pandas.Series(days.tz_convert("UTC")),
            pandas.Series(days.tz_localize(None)),
            days, pandas.Series([1, 2, None], dtype="Int64"), pandas.Series([1.0, 2, None]),
            pandas.MultiIndex.from_product([[1], ["a"]]),
            pandas.MultiIndex.from_product([[1], ["b"]]), pandas.interval_range(0, 2), pandas.period_range("2024",
            periods=2, freq="M"),
            stamp, pandas.Timestamp("2024-01-01"), stamp.tz_localize("UTC"), pandas.Timedelta(1), pandas.Timedelta(2),
            pandas.NaT, pandas.NA,
            pandas.Categorical(["a"]).categories, pandas.Series(["a"], dtype=pandas.CategoricalDtype(["a", "b"])),
            pandas.Series(["a"], dtype=pandas.CategoricalDtype(["b", "a"])), pandas.Series([0, 1],
            dtype="Sparse[int64]"),
            pandas.Interval(0, 1), pandas.Interval(0, 1, "both"), pandas.Period("2024", "M"), pandas.DataFrame(),
            pandas.DataFrame(index=[1]),
        ]  # fmt: skip

    first, second = kinds(), kinds()
    assert [canonical(value) for value in first] == [canonical(value) for value in second]
    assert len({canonical(value) for value in first}) == len(first)
    double = pandas.DataFrame([[1, 2]], columns=["a", "a"])
    assert canonical(double) != canonical(double.iloc[:, ::-1])
    with pytest.raises(NoIdentity):
        canonical(pandas.DataFrame({"a": [object()]}))


def test_pandas_attrs_and_flags_count() -> None:
    """What a frame or series was told beside its content is part of it; where it was told nothing, its bytes are as
    ever.
    """
    pandas = pytest.importorskip("pandas")

    def told(value: Any, **attrs: Any) -> Any:
        value.attrs.update(attrs)
        return value

    for make in (lambda: pandas.DataFrame({"a": [1]}), lambda: pandas.Series([1])):
        strict = make().set_flags(allows_duplicate_labels=False)
        values = [make(), told(make(), unit="m"), told(make(), unit="km"), strict, told(strict.copy(), unit="m")]
        assert len({canonical(value) for value in values}) == len(values)
        assert canonical(told(make(), unit="m", of=[1])) == canonical(told(make(), of=[1], unit="m"))
        with pytest.raises(NoIdentity):
            canonical(told(make(), by=object()))


def test_polars_frames_are_known_by_content() -> None:
    """Names, dtypes and values count, nanoseconds and nested columns included."""
    polars = pytest.importorskip("polars")

    def kinds() -> list[Any]:
        frame = polars.DataFrame({"a": [1, 2], "b": ["x", None]})
        times = polars.Series([1, 2]).cast(polars.Datetime("ns"))
        return [
            frame, frame.rename({"a": "c"}), frame.cast({"a": polars.Int32}), frame.cast({"b": polars.Categorical}),
            frame[::-1],
            frame.select("b", "a"), frame["a"], frame["b"], frame.cast({"b": polars.Enum(["x", "y"])}),
            frame.cast({"b": polars.Enum(["y", "x"])}),
            times, polars.Series([1, 3]).cast(polars.Datetime("ns")),
            polars.Series([1, 2]).cast(polars.Datetime("us")), polars.Series([1, 2]).cast(polars.Datetime("ns", "UTC")),
            polars.Series([[1], []]), polars.Series([[], [1]]), polars.Series([[1], None]), polars.Series([[1],
            [None]]),
            polars.Series([{"a": 1}, {"a": None}]), polars.Series([{"a": 1}, None]), polars.Series([{"b": 1},
            {"b": None}]),
            polars.Series([[1, 2]], dtype=polars.Array(polars.Int64, 2)), polars.Series([[1, 2]]), polars.Series([1.0,
            None]),
            polars.Series([1.0, math.nan]), polars.Series([Decimal("1.0")]), polars.Series([None, None]),
            polars.DataFrame(), polars.Series([b"x"]),
            polars.Series([[times[0]]]).cast(polars.List(polars.Datetime("ns"))), polars.Series([True]),
            polars.Series([time(1)]), polars.Series([date(2024, 1, 1)]),
        ]  # fmt: skip

    first, second = kinds(), kinds()
    assert [canonical(value) for value in first] == [canonical(value) for value in second]
    assert len({canonical(value) for value in first}) == len(first)


attrs = pytest.importorskip("attrs")
pydantic = pytest.importorskip("pydantic")
msgspec = pytest.importorskip("msgspec")


@attrs.define
class Attrs:
    x: Any
    y: Any = attrs.field(default=0, eq=False)


class Model(pydantic.BaseModel, extra="allow"):
    x: int
    _private: dict[str, object] = pydantic.PrivateAttr(default_factory=lambda: {"o": 1})


class Struct(msgspec.Struct):
    x: Any


try:
    import numpy as _numpy
except ImportError:
    pass
else:

    class Quantity(_numpy.ndarray):
        """An array with a unit."""

        unit: str
