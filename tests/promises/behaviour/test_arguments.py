"""Arguments as identities (promises 2.1 to 2.4): what is distinct, what is equal, what cannot be a key."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import fractions
import pathlib
import re
import unicodedata
import uuid
import warnings
import zoneinfo
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest

from memocache import UnsharedWarning, UnstableKeyError
from tests.promises.behaviour.world import World

Pair = namedtuple("Pair", "a b")
AMS, UTC = zoneinfo.ZoneInfo("Europe/Amsterdam"), dt.UTC


class Number(enum.IntEnum):
    """An int that is not one."""

    ONE = 1


class Text(str):
    """A str that is not one."""


@dataclass(frozen=True)
class Plain:
    """A dataclass."""

    a: Any


@dataclass
class Mutable:
    """A dataclass that does not hash."""

    a: Any


class Hashable:
    """Known by its own equality."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hashable) and self.n == other.n

    def __hash__(self) -> int:
        return hash(self.n)

    def __repr__(self) -> str:
        return "hush-hush"


class Keyed:
    """Known by what it says."""

    def __init__(self, n: Any) -> None:
        self.n = n

    def __cache_key__(self) -> Any:
        return self.n


class Opaque:
    """Known by nothing."""

    __hash__ = None  # type: ignore[assignment]  # unhashable on purpose

    def __repr__(self) -> str:
        return "hush-hush"


def module_function() -> None:
    """An argument."""


DISTINCT: list[Any] = [
    1, 1.0, True, "1", b"1", None, "None", 0, 0.0, -0.0, False, "", b"", 2**70, -1, "a", complex(1, 0),
    complex(1, -0.0), [1], (1,), {1}, frozenset({1}), [], (), set(), {}, frozenset(), [[]], [()], ([],), [[1]], [1, 1],
    [(1,), 1], [(1, 1)], {1: "x"}, {"1": "x"}, {1.0: "x"}, {True: "x"}, {"x": 1}, {("a", 1)}, [("a", 1)],
    OrderedDict(a=1), {"a": 1}, bytearray(b"1"), memoryview(b"1"), "\ud800", "\udfff",
    unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é"), decimal.Decimal("1.0"),
    decimal.Decimal("1.00"), decimal.Decimal(1), fractions.Fraction(1), fractions.Fraction(1, 2), float("inf"),
    float("-inf"), float("nan"), Number.ONE, Text("1"), Text("a"), Pair(1, 2), (1, 2), Plain(1), Plain(1.0), Plain("1"),
    Plain(Plain(1)), Mutable(1), dt.date(2024, 1, 1), dt.datetime(2024, 1, 1), dt.time(1),
    dt.datetime(2024, 10, 27, 2, 30, tzinfo=AMS), dt.datetime(2024, 10, 27, 2, 30, tzinfo=AMS, fold=1),
    dt.datetime(2024, 10, 27, 0, 30, tzinfo=UTC), dt.timedelta(1), dt.timedelta(seconds=1), AMS, uuid.UUID(int=1),
    pathlib.PurePosixPath("1"), pathlib.Path("a"), range(1), range(2), range(0, 1, 2), slice(1), slice(1, None, None),
    slice(0, 1), re.compile("a"), re.compile("a", re.IGNORECASE), re.compile(b"a"), int, str, len, module_function,
    Plain, Keyed(1), Keyed("1"), ..., NotImplemented,
]  # fmt: skip
EQUAL: list[tuple[Any, Any]] = [
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({1, 2, 3, "x"}, {"x", 3, 2, 1}),
    (float("nan"), -float("nan")),
    ([float("nan")], [float("nan")]),
    (Plain([1]), Plain([1])),
    (Keyed((1, 2)), Keyed((1, 2))),
    ("a" * 5000, "".join(["a"] * 5000)),
    (10**3000, 10**3000 + 0),
]


def test_distinct_arguments_never_share_a_key(world: World) -> None:
    """Every value of a long list of look-alikes is a call of its own, alone and inside containers, each found again."""
    calls: list[int] = []
    f = world.cached(lambda x: calls.append(1) or len(calls), name="distinct")
    wrappers = [lambda v: v, lambda v: ["in", v], lambda v: ("in", v), lambda v: {"in": v}, lambda v: Plain(("in", v))]
    seen: dict[str, Any] = {}
    for argument in [wrap(value) for wrap in wrappers for value in DISTINCT]:
        assert seen.setdefault(f.key_for(argument), argument) is argument, (seen[f.key_for(argument)], argument)
    for number, argument in enumerate(DISTINCT, 1):
        assert [world.call(f, argument) for _ in range(2)] == [number, number], argument
    for number, argument in enumerate(DISTINCT, 1):
        assert world.call(f, argument) == number


@pytest.mark.parametrize(("one", "other"), EQUAL, ids=[type(one).__name__ + str(i) for i, (one, _) in enumerate(EQUAL)])
def test_equal_arguments_share_a_key(world: World, one: Any, other: Any) -> None:
    """Order of dicts and sets, and which NaN or object it is, do not matter."""
    calls: list[int] = []
    f = world.cached(lambda x: calls.append(1), name="equal")
    for argument in (one, other, one):
        world.call(f, argument)
    assert len(calls) == 1
    assert f.key_for(one) == f.key_for(other)


def test_an_argument_without_a_value_is_refused_on_a_shared_backend(shared: World) -> None:
    """UnstableKeyError, a TypeError, names the parameter and the three ways out, never the object's repr or address."""
    f = shared.cached(lambda a, b, c=None: None, name="shop.price")
    for argument in (Opaque(), object(), Hashable(1), [Opaque()], {"k": object()}, lambda: 1):
        with pytest.raises(UnstableKeyError) as raised:
            shared.call(f, 1, b=argument)
        text = str(raised.value)
        assert isinstance(raised.value, TypeError)
        for part in ("'b'", "shop.price", "__cache_key__", "key=", "exclude="):
            assert part in text
        assert "hush" not in text
        assert "0x" not in text
    # with copies in the process, the database has a name of its own
    assert [key for key in shared.keys_raw() if not key.startswith("memo:n:")] == []


def test_the_refusal_names_star_parameters(shared: World) -> None:
    """Arguments collected by stars are named by the star parameter."""
    f = shared.cached(lambda *rest, **more: None, name="stars")
    with pytest.raises(UnstableKeyError, match="rest"):
        shared.call(f, 1, object())
    with pytest.raises(UnstableKeyError, match="more"):
        shared.call(f, 1, x=object())


def test_an_unhashable_argument_without_a_value_is_refused_in_the_process(local: World) -> None:
    """memory:// can name whatever hashes, and refuses the rest in the same words."""
    f = local.cached(lambda a, b: None, name="f")
    with pytest.raises(UnstableKeyError, match="'b'") as raised:
        local.call(f, 1, Opaque())
    assert "hush" not in str(raised.value)


def test_hashable_objects_in_the_process(local: World) -> None:
    """memory:// knows a hashable object by its class and its own equality, as lru_cache does."""
    calls: list[int] = []

    class Sub(Hashable):
        pass

    f = local.cached(lambda x: calls.append(1), name="hashable")
    for argument in (Hashable(1), Hashable(1), Hashable(2), Sub(1), [Hashable(1)], [Hashable(1)]):
        local.call(f, argument)
    assert len(calls) == 4


def test_identity_objects_in_the_process(local: World) -> None:
    """An object that hashes by identity is known by itself, and not kept alive."""
    import gc
    import weakref

    calls: list[int] = []
    f = local.cached(lambda x: calls.append(1), name="identity")

    class Thing:
        pass

    a, b = Thing(), Thing()
    for argument in (a, b, a, [a], [b], [a]):
        local.call(f, argument)
    assert len(calls) == 4
    watch = weakref.ref(a)
    del a, argument
    gc.collect()
    assert watch() is None


def test_ways_out(shared: World) -> None:
    """`__cache_key__`, `key=` and `exclude=` each make such a call cacheable."""
    calls: list[int] = []
    body = lambda a, b=None: calls.append(1)  # noqa: E731  # one body for three
    keyed, picked, left = (
        shared.cached(body, name="keyed"),
        shared.cached(body, name="picked", key="{a}"),
        shared.cached(body, name="left", exclude="b"),
    )
    for _ in range(2):
        shared.call(keyed, Keyed(1))
        shared.call(picked, 1, object())
        shared.call(left, 1, object())
    assert len(calls) == 3


class Service:
    """A class whose objects have no value identity."""


def test_methods_of_objects_without_a_value_stay_in_the_process(shared: World) -> None:
    """One UnsharedWarning says which method and how to share it; its calls are cached here and leave no entry in the
    backend.
    """
    calls: list[int] = []

    class Thing(Service):
        m = shared.cached(lambda self, x: calls.append(1), name="Thing.m")

    thing = Thing()
    with pytest.warns(UnsharedWarning, match=r"Thing\.m.*self") as caught:
        [shared.call(one, 1) for one in (thing.m, thing.m, Thing().m)]
    assert len(caught) == 1
    for way in ("__cache_key__", "key=", "exclude="):
        assert way in str(caught[0].message)
    assert len(calls) == 2
    assert Thing.m.cache_info() == (1, 2, 1000 if shared.kind == "tiered" else 10_000, 2)
    assert not [key for key in shared.keys_raw() if ":e:" in key]


@pytest.mark.filterwarnings("ignore::memocache.UnsharedWarning")
def test_invalidations_from_elsewhere_reach_unshared_entries(shared: World) -> None:
    """A function, tag or prefix invalidated by another cache is invalidated for entries that stay in this process."""
    calls: list[int] = []

    class Thing(Service):
        m = shared.cached(lambda self, x: calls.append(1) or len(calls), name="Thing.m", tags="t")

    thing, elsewhere = Thing(), shared.new_cache()
    invalidations: list[Any] = [
        lambda: shared.ask("invalidate", "Thing.m", cache=elsewhere),
        lambda: shared.ask("invalidate", tag="t", cache=elsewhere),
        lambda: shared.ask("clear", cache=elsewhere),
        lambda: shared.ask("invalidate", "Thing.*", cache=elsewhere),
        lambda: shared.call(thing.m.invalidate_all),
        lambda: shared.call(thing.m.invalidate, 1),
    ]
    for number, invalidate in enumerate(invalidations):
        assert [shared.call(thing.m, 1) for _ in range(2)] == [number + 1] * 2
        invalidate()
    assert shared.call(thing.m, 1) == len(invalidations) + 1


def test_nested_functions_that_captured_an_object(shared: World) -> None:
    """A nested function that captured an object without a value stays in the process, with the warning; `name=`
    vouches for it.
    """
    connection = Service()
    f = shared.cached(lambda x: (connection, x)[1])
    with pytest.warns(UnsharedWarning, match=r"captured.*Service.*name="):
        assert [shared.call(f, 1) for _ in range(2)] == [1, 1]
    assert f.cache_info()[:2] == (1, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vouched = shared.cached(lambda x: (connection, x)[1], name="vouched")
        shared.call(vouched, 1)
    assert shared.read_raw(vouched.key_for(1)) is not None


def test_two_closures_over_two_objects_are_apart(world: World) -> None:
    """Two closures of one factory over two objects do not share entries, in the process either."""

    def make(service: Service, n: int) -> Any:
        return world.cached(lambda x: (service, x + len(names))[1])

    names: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnsharedWarning)
        one, two = make(Service(), 1), make(Service(), 2)
        assert world.call(one, 1) == world.call(two, 1) == 1
        assert (one.cache_info()[:2], two.cache_info()[:2]) == ((0, 1), (0, 1))


def test_secret_keyed_digests(world: World) -> None:
    """With a secret the digest is a MAC: another secret gives other keys, the same secret the same."""
    keys = [
        world.cached(lambda x: x, name="f", cache=world.new_cache(**options)).key_for(1)
        for options in ({}, {"secret": "a"}, {"secret": "b"}, {"secret": b"a"}, {"secret": ["new", "a"]})
    ]
    assert len(set(keys)) == 3
    assert keys[1] == keys[3] == keys[4]
