"""What the in-process tier holds, and how hits make copies of it: nobody sees anybody's mutations."""

from __future__ import annotations

import dataclasses
import enum
import functools
import math
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memocache.codecs import Codec, copier
from memocache.exceptions import DecodeError


class Colour(enum.Enum):
    RED = 1


class Pair(NamedTuple):
    left: Any
    right: Any


class LoosePair(Pair):
    pass


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: Any


@dataclasses.dataclass(frozen=True)
class Remembering:
    x: Any

    @functools.cached_property
    def listed(self) -> list[Any]:
        return [self.x]


@dataclasses.dataclass
class Open:
    x: Any


@pytest.fixture
def codec() -> Codec:
    return Codec()


@pytest.mark.parametrize(
    "value",
    [
        None, True, 1, 1.5, math.nan, 1j, "x", b"x", (), (1, ("a", frozenset([(2,)]))), range(3), slice(1, 2), ...,
        datetime(2020, 1, 1, tzinfo=UTC), timedelta(1), ZoneInfo("UTC"), Decimal(1), Fraction(1, 2), UUID(int=1),
        Path("x"), Colour.RED, Pair(1, (2,)), Frozen((1, "x")), len, Open, Pair, copier, math, type,
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_deeply_immutable_values_are_handed_out_themselves(codec: Codec, value: object) -> None:
    """No copy is made of what cannot be mutated."""
    held, thaw = copier(value, codec)
    assert held is value
    assert thaw is None


def ordered_with_attribute() -> OrderedDict[str, int]:
    value = OrderedDict(a=1)
    value.x = [1]  # type: ignore[attr-defined]
    return value


MUTABLE: list[Any] = [
    [], [1, "a", (2,)], {}, {"a": 1, (1, 2): None}, {1, (2,)}, bytearray(b"x"), deque([1], 3),
    OrderedDict(a=1), Counter("aa"), defaultdict(list), [{"a": 1}, {"b": (1,)}], [[1], []], {"a": {"b": 1}},
    {"a": [1]}, [{1}, {2}], [{"a": [1]}], ([],), ([1], 2), {"a": {"b": {"c": [1]}}}, Open([1]), Open(1),
    Frozen([1]), Pair(1, []), LoosePair(1, 2), Remembering(1), [Open(1)], [1, [2]], [[1], {2: 3}],
    defaultdict(list, {1: [2]}), {"a": bytearray(b"x")}, (Frozen({1}),), slice([1]), deque([[1]]),
]  # fmt: skip


def mutable_parts(value: Any, found: dict[int, Any]) -> dict[int, Any]:
    """Collect, by identity, every part of `value` that a caller could mutate."""
    parts: list[Any] = []
    if isinstance(value, dict):
        parts = [*value, *value.values()]
    elif isinstance(value, list | tuple | set | frozenset | deque):
        parts = list(value)
    elif isinstance(value, slice):
        parts = [value.start]
    elif dataclasses.is_dataclass(value):
        parts = [getattr(value, "x")]  # noqa: B009  # the three test classes have it
    if isinstance(value, dict | list | set | deque | bytearray | Open | Remembering):
        found[id(value)] = value
    for part in parts:
        mutable_parts(part, found)
    return found


@pytest.mark.parametrize("value", MUTABLE, ids=lambda value: type(value).__name__)
def test_nothing_mutable_is_shared(codec: Codec, value: Any) -> None:
    """What is held and each hit's copy share no mutable part with the value, with each other, or among hits."""
    held, thaw = copier(value, codec)
    if thaw is None:
        assert type(value) is LoosePair
        return
    copies = [thaw(held), thaw(held)]
    seen = [mutable_parts(part, {}) for part in (value, held, *copies)]
    for position, parts in enumerate(seen):
        for others in seen[position + 1 :]:
            assert parts.keys().isdisjoint(others)
    for copy in copies:
        assert type(copy) is type(value)
        assert copy == value
        assert repr(copy) == repr(value)


def test_flat_containers_are_not_encoded(codec: Codec) -> None:
    """Flat containers, rows of them, and records with a few containers are held as such; others as payload bytes."""
    flat = ([1, 2], {"a": 1}, {1}, bytearray(b"x"), deque([1]), [{"a": 1}] * 3, {"a": [1]})
    records = ([[[1]]], [{"a": [1]}], [[1], {1: 2}], {"id": 1, "scores": [1], "tags": {"x": True}, "of": {"a": [{}]}})
    for value in (*flat, *records):
        held, _ = copier(value, codec)
        assert type(held) is type(value)
    for value in (Open(1), ([1],), [[1, ([],)]], [{"a": [number]} for number in range(16)], deque([[]])):
        held, thaw = copier(value, codec)
        assert type(held) is bytes
        assert thaw == codec.decode


class Plain:
    def __init__(self, x: Any) -> None:
        self.x = x


AROUND: list[Callable[[Any], Any]] = [
    lambda part: [part, [1]],
    lambda part: {"a": part, "b": {"c": [part]}},
    lambda part: ([part], {1: (part,)}),
    lambda part: [{part}, [part]],
    lambda part: Open([part]),
    lambda part: [Pair(part, [])],
    lambda part: OrderedDict(a=[part]),
    lambda part: deque([[part]], 3),
    lambda part: [defaultdict(lambda: 0, a=part)],
    lambda part: [[[]], len, "\ud800", part],
]


def parts_equal(one: Any, other: Any) -> bool:
    return bool(one == other and type(one) is type(other))


@pytest.mark.parametrize("position", range(len(AROUND)))
def test_containers_around_an_object_without_a_code_are_copied(codec: Codec, position: int) -> None:
    """The object itself is handed out by reference, and told of; no container around it is shared by anybody."""
    part, told = Plain([1]), list[str]()
    value = AROUND[position](part)
    held, thaw = copier(value, codec, told.append)
    assert thaw is not None
    copies = [thaw(held), thaw(held)]
    seen = [mutable_parts(each, {}) for each in (value, *copies)]
    for at, parts in enumerate(seen):
        assert all(parts.keys().isdisjoint(others) for others in seen[at + 1 :])
    assert all(parts_equal(copy, value) for copy in copies)  # the parts are the very object, which equals itself alone
    assert len(told) == 1
    assert ("Plain" in told[0]) or isinstance(value[0], defaultdict)


def test_an_object_without_a_code_is_held_by_reference(codec: Codec) -> None:
    """It is handed out itself, and told of."""
    told: list[str] = []
    value = Plain(1)
    assert copier(value, codec, told.append) == (value, None)
    assert len(told) == 1


def test_what_cannot_be_changed_needs_no_word(codec: Codec) -> None:
    """Sentinels, functions and locks in containers are shared without a word."""
    part = object()
    for value in ([[[part]]], {"a": [len, {"b": copier}]}, [threading.Lock()], part):
        held, thaw = copier(value, codec, lambda told: pytest.fail(told))
        assert thaw is None or thaw(held) == value


def test_more_than_may_be_stored_is_copied_all_the_same() -> None:
    """`max_bytes` is about what comes from outside: a value beyond it is no reason to share it."""
    value = [[["x" * 1000]], [1]]
    held, thaw = copier(value, Codec(max_bytes=100), lambda told: None)
    assert thaw is not None
    assert thaw(held) == value
    assert thaw(held)[0] is not value[0]


def test_a_cyclic_value_is_held_by_reference(codec: Codec) -> None:
    """It has no payload, also in the process."""
    value: list[Any] = [[]]
    value[0].append(value)
    told: list[str] = []
    assert copier(value, codec, told.append)[0] is value
    assert len(told) == 1


def test_no_payload_of_a_backend_names_an_object(codec: Codec) -> None:
    """The code of an object held in the process is unknown to `decode`."""
    payload, kept = codec.encode_around([Plain(1)])
    assert codec.decoder(kept)(payload) == kept
    with pytest.raises(DecodeError):
        codec.decode(payload)
    with pytest.raises(DecodeError):
        codec.decode(b"\xd7\x7f" + bytes(8))


def test_immutable_objects_in_flat_containers_keep_their_identity(codec: Codec) -> None:
    """A flat copy hands on the very immutable parts: functions and classes within included."""
    held, thaw = copier([len, Open, Colour.RED, Frozen(1)], codec)
    assert thaw is not None
    assert all(a is b for a, b in zip(thaw(held), held, strict=True))  # type: ignore[call-overload]


def test_numpy_arrays(codec: Codec) -> None:
    """Arrays are copied with order and writeability; object arrays are encoded; scalars are handed out."""
    np = pytest.importorskip("numpy")
    read_only = np.arange(3)
    read_only.flags.writeable = False
    objects = np.array([[1], 2, None], object)
    for array in (np.arange(4), np.asfortranarray(np.ones((2, 3))), read_only, np.array(["a"]), objects):
        held, thaw = copier(array, codec)
        copy = thaw(held)
        assert copy.tolist() == array.tolist()
        assert copy.dtype == array.dtype
        assert copy.flags.writeable == array.flags.writeable
        assert copy.flags.f_contiguous == array.flags.f_contiguous
        assert not np.shares_memory(copy, array)
        assert not np.shares_memory(copy, thaw(held))
        assert type(held) is bytes or not np.shares_memory(held, array)
    scalar = np.float64(1)
    assert copier(scalar, codec) == (scalar, None)
    assert copier((scalar,), codec)[1] is None


def test_pandas_frames(codec: Codec) -> None:
    """Changing a frame, its copy or a series in place changes no other; object columns are encoded."""
    pd = pytest.importorskip("pandas")
    for frame in (pd.DataFrame({"a": [1, 2], "s": ["x", "y"]}), pd.DataFrame({"o": [[1], [2]]}), pd.Series([1, 2])):
        before = frame.copy(deep=True)
        held, thaw = copier(frame, codec)
        first = thaw(held)
        assert first.equals(before)
        first.iloc[0] = first.iloc[1]
        frame.iloc[0] = frame.iloc[1]
        assert thaw(held).equals(before)
    frame = pd.DataFrame({"o": [[1], [2]]})
    held, thaw = copier(frame, codec)
    thaw(held)["o"][0].append(5)
    frame["o"][0].append(6)
    assert thaw(held)["o"].tolist() == [[1], [2]]


def test_polars_frames(codec: Codec) -> None:
    """Changing a polars frame or series in place changes no other."""
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"a": [1, 2]})
    held, thaw = copier(frame, codec)
    first = thaw(held)
    first[0, "a"] = 9
    frame.insert_column(0, pl.Series("b", [1, 2]))
    assert thaw(held).equals(pl.DataFrame({"a": [1, 2]}))
    series = pl.Series([1, 2])
    held, thaw = copier(series, codec)
    thaw(held)[0] = 9
    series[1] = 9
    assert thaw(held).to_list() == [1, 2]


KEYS = st.integers() | st.text(max_size=2) | st.tuples(st.integers())
NESTED: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | st.text(max_size=2) | st.tuples(st.integers()) | st.sets(st.integers()),
    lambda part: (
        st.lists(part, max_size=4)
        | st.dictionaries(KEYS, part, max_size=4)
        | st.lists(part, max_size=3).map(deque)
        | st.dictionaries(KEYS, part, max_size=3).map(OrderedDict)
        | st.lists(part, max_size=2).map(tuple)
    ),
    max_leaves=25,
)


def types_of(value: Any) -> Any:
    """The types of a value and of what it holds, in order."""
    if isinstance(value, dict):
        return type(value), [(types_of(key), types_of(part)) for key, part in value.items()]
    if isinstance(value, list | tuple | deque):
        return type(value), [types_of(part) for part in value]
    return type(value)


@given(NESTED)
def test_any_nesting_comes_back_equal_and_apart(value: Any) -> None:
    """Whatever the nesting, each hit's copy equals the value, type by type, and shares no mutable part with another."""
    held, thaw = copier(value, Codec())
    if thaw is None:
        assert not mutable_parts(value, {})
        return
    copies = [thaw(held), thaw(held)]
    assert all(copy == value and types_of(copy) == types_of(value) for copy in copies)
    seen = [mutable_parts(each, {}) for each in (value, held, *copies)]
    assert all(one.keys().isdisjoint(other) for at, one in enumerate(seen) for other in seen[at + 1 :])
