"""Keys made of arguments without encoding them: they tell apart what canonical bytes tell apart, and no more."""

from __future__ import annotations

import dataclasses
import enum
import functools
import gc
import types
import weakref
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memocache import Cache
from memocache._calls.keys import exact
from memocache._calls.keys.canonical import canonical
from memocache._calls.keys.exact import ExactTypes
from memocache._calls.process_key import ExactEntries, exact_key
from memocache._calls.wrapper import memoize
from memocache._runtime.object_identity import Identities, NoIdentity, Recorder


class Colour(enum.Enum):
    RED = 1
    GREEN = 2
    ROT = 1  # noqa: PIE796  # an alias is meant


class Level(enum.IntEnum):
    ONE = 1
    TWO = 2


class Right(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass(frozen=True)
class Point:
    x: Any
    y: Any = 1

    @functools.cached_property
    def far(self) -> int:
        return 1


@dataclasses.dataclass(frozen=True)
class Place:
    x: Any
    y: Any = 1


@dataclasses.dataclass(slots=True)
class Slotted:
    x: Any


@attrs.frozen
class Attrs:
    x: Any
    y: Any = 1


@dataclasses.dataclass
class Partly:
    x: Any
    y: Any = dataclasses.field(default=1, compare=False)


@dataclasses.dataclass(frozen=True)
class Owning:
    x: Any

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1


class Plain:
    pass


class Liar:
    """Equal to everything, as its hash says."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash((1, 2))


class Text(str):
    pass


class Meta(type):
    """Its classes say that they are all one."""

    def __eq__(cls, other: object) -> bool:
        raise AssertionError("a class was compared")

    def __hash__(cls) -> int:
        raise AssertionError("a class was hashed")


class Odd(metaclass=Meta):
    pass


class Even(metaclass=Meta):
    pass


class Small:
    __slots__ = ()


def odd_state() -> Any:
    """A point of the fields that another has, one of which is its class's, and of other state besides."""
    point = Point(1)
    del point.__dict__["y"]
    point.__dict__["z"] = 1
    return point


def used() -> Any:
    point = Point(1, 2)
    assert point.far == 1
    return point


SCALARS: list[Any] = [0, 1, 1.0, True, False, 0.0, -0.0, 2, 2.0, "1", b"1", "", None, float("nan"), 2**70, "x" * 2000]
OBJECTS: list[Any] = [
    *(Colour.RED, Colour.GREEN, Colour.ROT, Level.ONE, Level.TWO, Right.READ, Right.READ | Right.WRITE, Right(0)),
    *(Plain(), Plain(), Small(), Text("1"), Liar(), Liar(), types.SimpleNamespace()),
    *(Plain, Point, Level, int, tuple, type, Meta, len, used, odd_state, print),
    *(odd_state(), used(), Point(1, 2), Owning(1), Owning(2), Partly(1, 1), Partly(1, 2), [], {}, ValueError(1)),
    *(list[int], Point(()), Point(None), Slotted.__new__(Slotted)),
]
STRANGE: list[Any] = [Odd, Even, Odd(), Even(), (Odd(),), (Even(),)]  # which Hypothesis would hash
scalars = st.sampled_from(SCALARS)
rows = st.lists(scalars, max_size=3)
arguments = st.one_of(
    scalars,
    st.sampled_from(OBJECTS),
    rows.map(tuple),
    rows.map(frozenset),
    st.lists(st.sampled_from(OBJECTS), max_size=2).map(tuple),
    rows.map(lambda items: (tuple(items), 1)),
    st.builds(lambda make, x, y: make(x, y), st.sampled_from([Point, Place, Attrs, Partly]), scalars, scalars),
    st.builds(Slotted, scalars),
    st.builds(Owning, scalars),
)


def law(calls: list[tuple[Any, ...]]) -> int:
    """Check that keys are equal where canonical bytes are, and that a look-up finds what is stored and no other; how
    many of these calls have a key.
    """
    identities = Identities()
    recorder = Recorder(identities)  # it holds what has a number
    kinds = ExactTypes(identities)
    stored: dict[Any, bytes] = {}
    entries = ExactEntries(stored, kinds)
    keys: dict[bytes, Any] = {}
    for values in calls:
        try:
            data = canonical(values, recorder)
        except NoIdentity:
            continue
        key = exact_key(list(values), kinds, None, [])
        assert keys.setdefault(data, key) == key, "one call has two keys"
        if key is not None:
            assert stored.setdefault(key, data) == data, "one key stands for two calls"
    for data, key in keys.items():
        assert key is None or stored[key] == data
    for values in calls:
        try:
            data = canonical(values, recorder)
        except NoIdentity:
            continue
        try:
            found = entries[(*values, *map(type, values))]
        except KeyError:
            found = None
        assert found == (None if keys[data] is None else data), "the look-up found another call"
    return sum(key is not None for key in keys.values())


calls = st.lists(arguments, max_size=12)


@settings(max_examples=300, deadline=None)
@given(calls)
def test_law(values: list[Any]) -> None:
    """Two arguments share a key exactly if they share canonical bytes, and the look-up asks for the very same key."""
    law([(value,) for value in values])
    law([(value, values[0]) for value in values])


def test_law_of_all_pairs() -> None:
    """The law holds for the values that are most alike, and the kinds of the house have keys."""
    alike: list[Any] = [1, True, 1.0, 2, 2.0, "1", b"1", None, 0.0, -0.0]
    pairs = [(x, y) for x in alike for y in alike]
    made = [kind(x, y) for kind in (Point, Place, Attrs, Partly) for x, y in pairs]
    every = [*alike, *OBJECTS, *STRANGE, *pairs, *map(frozenset, pairs), *made, *map(Slotted, alike), (), frozenset()]
    assert law([(value,) for value in every]) > 200


def _no_shape(value: Any, shape: Any = None) -> Any:
    return value, 0


def _any_class(make: Callable[..., Any]) -> Callable[..., Any]:
    return lambda cls, state, number: make(cls, state, 0)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("_row", _no_shape),
        ("_set", _no_shape),
        ("_held", _any_class(exact._held)),
        ("_check_small", lambda items: None),
        ("is_plain", lambda value, kind: id(kind) in exact.PLAIN_KINDS),
    ],
)
def test_law_fails_on_planted_faults(name: str, fault: Any) -> None:
    """The law notices parts without types, without a class, and with zero or NaN in them."""
    with patch.object(exact, name, fault), pytest.raises(AssertionError):
        test_law_of_all_pairs()


@pytest.fixture
def cache() -> Cache:
    """A cache in the process."""
    return Cache("memory://")


def counting(cache: Cache, **options: Any) -> Any:
    """A function that counts its computations."""
    runs: list[int] = []

    @cache.cached(**options)
    def f(*args: Any) -> int:
        runs.append(1)
        return len(runs)

    return f


def test_forms_of_the_call(cache: Cache) -> None:
    """Calls that are looked up without encoding are hit, peeked at, put, named and invalidated as any other."""
    f = counting(cache)
    for args in [((1, 2, 3),), (Plain,), (1, Point(1)), (Colour.RED, (1,)), (frozenset({1}),), (Plain(), used)]:
        first = f(*args)
        assert f(*args) == f.peek(*args) == first
        assert f.with_status(*args)[1].hit
        assert f.key_for(*args) in list(cache.keys())
        f.put("put", *args)
        assert f(*args) == "put"
        f.invalidate(*args)
        assert f(*args) == first + 1
        assert cache.inspect(f.key_for(*args)) is not None
        assert cache.delete(f.key_for(*args))
        assert f(*args) == first + 2


def test_names_are_those_of_a_server(cache: Cache) -> None:
    """A key in the process has the digest that the call has in every backend."""
    f = counting(cache, name="f")
    data = [f.key_for(*args) for args in [((1, 2),), (Plain,), (Point(1, "a"),), (frozenset({1, 2}),)]]
    assert len(set(data)) == 4
    f((1, 2))
    assert data[0] == f.key_for((1, 2))


def test_nothing_is_kept_alive(cache: Cache) -> None:
    """An object, a class, and the class of a dataclass die as if never passed, and their entries go."""
    f = counting(cache)

    @dataclasses.dataclass(frozen=True)
    class Local:
        x: int

    class Kind(enum.Enum):
        A = 1

    thing = Plain()
    watched = [weakref.ref(one) for one in (thing, Local, Kind)]
    for argument in (thing, Local, Local(1), Kind.A):
        assert f(argument) == f(argument)
    assert f.cache_info().hits == 4
    del thing, Local, Kind, argument
    gc.collect()
    assert [one() for one in watched] == [None, None, None]
    f(1)
    assert f.cache_info().currsize == 1


def test_reloaded_class_is_another_argument(cache: Cache) -> None:
    """A class that replaces another of its name, as after a reload, is not served what was computed for that."""
    f = counting(cache)
    module = types.ModuleType("reloaded_module")
    source = "class C:\n    pass\n"
    with patch.dict("sys.modules", {"reloaded_module": module}):
        exec(source, vars(module))
        old = module.C
        assert f(old) == f(old) == 1
        exec(source, vars(module))
        assert f(module.C) == f(module.C) == 2
        assert f(old) == 1
        f.invalidate(old)
        assert f(module.C) == 2
        assert f(old) == 3


def test_taught_class(cache: Cache) -> None:
    """A class that is taught after its instances were arguments is known by what it was taught, from then on."""

    class Celsius:
        def __init__(self, degrees: int) -> None:
            self.degrees = degrees

    f = counting(cache)
    one = Celsius(1)
    assert f(one) == f(one) == 1
    cache.register(Celsius, encode=lambda value: value.degrees, decode=Celsius)
    assert f(one) == f(Celsius(1)) == 2
    one.degrees = 2
    assert f(one) == 3


def test_own_hash_is_asked_once(cache: Cache) -> None:
    """The hash of a user's object is asked once a hit and at most twice a miss, also beside and inside others."""
    asked: list[int] = []

    class Own:
        def __hash__(self) -> int:
            asked.append(1)
            return 1

        def __eq__(self, other: object) -> bool:
            return self is other

    f = counting(cache)
    for args in [(Own(),), (Own(), (1, 2)), ((1, 2), Own())]:
        f(*args)
        assert len(asked) <= 2
        asked.clear()
        f(*args)
        assert len(asked) == 1
        asked.clear()
    inside = ((Own(),),)
    f(*inside)
    asked.clear()
    f(*inside)
    assert len(asked) == 1


def test_errors_of_a_hash_pass(cache: Cache) -> None:
    """What an object's own hash raises reaches the caller, from inside a tuple too."""

    class Own:
        def __hash__(self) -> int:
            raise LookupError("own")

    f = counting(cache)
    f((1,))
    with pytest.raises(LookupError, match="own"):
        f(Own())
    with pytest.raises(LookupError, match="own"):
        f((Own(),))


def test_methods(cache: Cache) -> None:
    """Methods are hit with arguments that have parts, each object's apart."""

    class Shop:
        runs = 0

        @cache.cached
        def price(self, row: Any, scale: Any = 1) -> int:
            Shop.runs += 1
            return Shop.runs

    one, other = Shop(), Shop()
    assert one.price((1, 2)) == one.price((1, 2)) == one.price(row=(1, 2)) == 1
    assert other.price((1, 2)) == other.price((1, 2)) == 2
    assert one.price((1, True)) == 3
    assert one.price(Plain) == one.price(Plain) == 4
    assert one.price.cache_info().hits == 4


def test_tags_and_exclusions(cache: Cache) -> None:
    """Tags void such entries; an excluded parameter does not count; an excluded class leaves calls to the digest."""

    @cache.cached(tags="t:{b}", exclude="a")
    def f(a: Any, b: Any) -> object:
        return object()

    first = f((1,), (2,))
    assert f((3,), (2,)) is first
    cache.invalidate(tag="t:(2,)")
    assert f((1,), (2,)) is not first

    @cache.cached(exclude=Plain)
    def g(a: Any) -> object:
        return object()

    assert g(Plain()) is g(Plain())
    assert g((1,)) is g((1,))


def test_large_arguments_are_not_held() -> None:
    """Long rows, and rows of long texts, are left to the digest."""
    kinds = ExactTypes(Identities())
    for value in [(1,) * 1000, ("x" * 600, "y" * 600), frozenset(range(1000)), Point("x" * 2000)]:
        assert exact_key([value], kinds, None, []) is None


def test_cache_that_is_replaced() -> None:
    """A call under way on a cache that is replaced leaves the look-up with the objects' numbers of the next cache."""
    caches = [Cache("memory://"), Cache("memory://")]
    core = caches[0]._core
    f = memoize(lambda value: object(), {"name": "f"}, lambda: core)
    thing, other = Plain(), Plain()
    state = f._self_state
    first = state.bound()[1]
    state.unbind()
    core = caches[1]._core
    found = f(other)  # binds to the second
    first.address((thing,))
    state._namespace[f._self_function.signature.name("entries")] = state.bound()[1].table.entries
    first._spares_hashes = False  # as if that call were its first
    first.address((thing,))
    assert f(thing) is not found
    assert f(thing) is f(thing)
