"""One call, however it is spelled: defaults, kinds of parameters, and the function's own refusals."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from tests.promises.behaviour.world import World, as_async

HIT_SPELLINGS = [
    ("def f(a, b=2): ...", [((1, 2), {}), ((1,), {}), ((1,), {"b": 2}), ((), {"a": 1}), ((), {"b": 2, "a": 1})]),
    ("def f(a, /, b=2): ...", [((1,), {}), ((1, 2), {}), ((1,), {"b": 2})]),
    ("def f(a=1, /): ...", [((), {}), ((1,), {})]),
    ("def f(*, a, b=2): ...", [((), {"a": 1}), ((), {"b": 2, "a": 1}), ((), {"a": 1, "b": 2})]),
    ("def f(a, *args, b=2): ...", [((1, 7, 8), {}), ((1, 7, 8), {"b": 2})]),
    ("def f(a, *args): ...", [((1,), {}), ((), {"a": 1})]),
    ("def f(a, **kwargs): ...", [((1,), {"x": 1, "y": 2}), ((), {"y": 2, "x": 1, "a": 1})]),
    ("def f(*args, **kwargs): ...", [((1, 2), {"x": 1, "y": 2}), ((1, 2), {"y": 2, "x": 1})]),
    ("def f(a, /, **kwargs): ...", [((1,), {"a": 2, "b": 3}), ((1,), {"b": 3, "a": 2})]),
    ("def f(): ...", [((), {}), ((), {})]),
    ("def f(a, b=None, *, c=(), d={}): ...", [((1,), {}), ((1, None), {"c": ()}), ((), {"d": {}, "a": 1})]),
]
DIFFERENT_CALLS = [
    ("def f(a, b=2): ...", [((1,), {}), ((2,), {}), ((1, 3), {}), ((2, 1), {})]),
    ("def f(*args): ...", [((), {}), ((1,), {}), ((1, 1), {}), (((1, 1),), {}), ((1, None), {}), ((None, 1), {})]),
    ("def f(*args, **kwargs): ...", [((1,), {}), ((), {"a": 1}), (("a", 1), {}), ((("a", 1),), {}), ((), {"b": 1})]),
    ("def f(a, /, **kwargs): ...", [((1,), {}), ((1,), {"a": 1}), ((1,), {"kwargs": 1}), ((1,), {"b": 1})]),
    ("def f(a, *args, b=1): ...", [((1,), {}), ((1, 1), {}), ((1,), {"b": 2}), ((1, 2), {})]),
    ("def f(a=None, b=None): ...", [((), {}), ((1,), {}), ((), {"b": 1}), ((1, 1), {})]),
]
CLASHES = [
    "self", "cls", "entry", "get", "type", "map", "id", "now", "call", "run", "unwrap", "off", "tier", "counters",
    "monotonic", "values", "signature", "value", "key", "cache", "function", "binding", "Exception", "lookup", "bind",
    "split", "_mc_entry", "_mc_get", "_mc_x", "_mc__x", "_mc_d0", "_mc_v", "made", "wrapped", "instance", "name",
    "target", "print", "Ω",
]  # fmt: skip


def make(source: str, calls: list[Any]) -> Any:
    """A function of the signature in `source` that returns all it was given and notes that it was called."""
    namespace: dict[str, Any] = {"calls": calls}
    body = source.replace("...", "\n    given = dict(locals())\n    calls.append(given)\n    return given")
    exec(body, namespace)
    namespace["f"].__module__ = __name__
    return namespace["f"]


@pytest.mark.parametrize(("source", "spellings"), HIT_SPELLINGS, ids=[s for s, _ in HIT_SPELLINGS])
def test_every_spelling_of_a_call_is_one_key(world: World, source: str, spellings: list[Any]) -> None:
    """However a call is spelled, it is computed once, gives the same value, and has one `key_for`."""
    calls: list[Any] = []
    plain = make(source, [])
    f = world.cached(make(source, calls), name="spelled")
    for args, kwargs in spellings * 2:
        assert world.call(f, *args, **kwargs) == plain(*args, **kwargs)
    assert len(calls) == 1
    assert len({f.key_for(*args, **kwargs) for args, kwargs in spellings}) == 1


@pytest.mark.parametrize(("source", "different"), DIFFERENT_CALLS, ids=[s for s, _ in DIFFERENT_CALLS])
def test_different_calls_are_different_keys(world: World, source: str, different: list[Any]) -> None:
    """Calls that differ in any argument are computed apart, and each gets its own value again."""
    calls: list[Any] = []
    plain = make(source, [])
    f = world.cached(make(source, calls), name="different")
    for _ in range(2):
        for args, kwargs in different:
            assert world.call(f, *args, **kwargs) == plain(*args, **kwargs)
    assert len(calls) == len(different)
    assert len({f.key_for(*args, **kwargs) for args, kwargs in different}) == len(different)


@pytest.mark.parametrize(
    ("source", "args", "kwargs"),
    [
        ("def f(a, b=2): ...", (), {}),
        ("def f(a, b=2): ...", (1, 2, 3), {}),
        ("def f(a, b=2): ...", (1,), {"c": 1}),
        ("def f(a, b=2): ...", (1,), {"a": 1}),
        ("def f(a, /): ...", (), {"a": 1}),
        ("def f(*, a): ...", (1,), {}),
        ("def f(*, a, b): ...", (), {}),
        ("def f(): ...", (1,), {}),
        ("def f(a, b, c): ...", (), {"b": 1}),
    ],
)
def test_a_wrong_call_raises_the_functions_own_type_error(
    world: World, source: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """The text of the TypeError is what the function itself says, also from the attributes, and nothing is counted."""
    plain = make(source, [])
    with pytest.raises(TypeError) as expected:
        plain(*args, **kwargs)
    f = world.cached(make(source, []))
    for attempt in (f, f.invalidate, f.refresh, f.peek, f.key_for):
        with pytest.raises(TypeError) as refused:
            world.call(attempt, *args, **kwargs)
        assert str(refused.value) == str(expected.value)
    with pytest.raises(TypeError) as refused:
        world.call(f.put, "value", *args, **kwargs)
    assert str(refused.value) == str(expected.value)
    assert f.cache_info()[:2] == (0, 0)


def test_a_wrong_call_of_a_method_raises_the_methods_own_type_error(world: World) -> None:
    """A bound method's TypeError has the qualified name of the method and counts `self` as Python does."""

    class Plain:
        def m(self, a: int) -> int:
            return a

    class Cached:
        m = world.cached(Plain.__dict__["m"], exclude="self")

    with pytest.raises(TypeError) as expected:
        Plain().m(1, 2)  # type: ignore[call-arg]
    with pytest.raises(TypeError) as refused:
        world.call(Cached().m, 1, 2)
    assert str(refused.value) == str(expected.value)


def test_any_parameter_name_works(world: World) -> None:
    """No parameter name clashes with what the generated code uses, positionally, by keyword or with a default."""
    for name in CLASHES:
        calls: list[Any] = []
        f = world.cached(make(f"def f({name}, other=5): ...", calls), name=f"clash-{name}")
        for _ in range(2):
            assert list(world.call(f, 1).values()) == [1, 5], name
            assert list(world.call(f, **{name: 2}).values()) == [2, 5], name
        assert len(calls) == 2, name
        world.call(f.put, "put", **{name: 3})
        assert world.call(f, 3) == "put", name
        assert world.call(f.peek, **{name: 3}) == "put", name


@pytest.mark.parametrize("name", ["args", "kwargs", "self", "value", "_mc_x"])
def test_any_name_works_in_stars(world: World, name: str) -> None:
    """Names of star parameters, and keywords collected by them, are the caller's own business."""
    calls: list[Any] = []
    f = world.cached(make(f"def f(*{name}s_, **{name}): ...", calls), name="stars")
    for _ in range(2):
        assert world.call(f, 1, **{name: 2, "self": 3, "value": 4, "args": 5}) == {
            f"{name}s_": (1,), name: {name: 2, "self": 3, "value": 4, "args": 5},
        }  # fmt: skip
    assert len(calls) == 1


def test_a_function_sees_its_arguments_as_passed(world: World) -> None:
    """On a miss the function gets the very objects of the call, in the very places."""
    seen: list[Any] = []

    def f(a: Any, /, b: Any, *args: Any, c: Any, **kwargs: Any) -> None:
        seen.append((a, b, args, c, kwargs))

    thing = [1]
    world.call(world.cached(f, name="seen"), thing, thing, thing, c=thing, d=thing)
    a, b, args, c, kwargs = seen[0]
    assert all(one is thing for one in (a, b, *args, c, kwargs["d"]))


def test_a_mutable_default_is_part_of_the_call(world: World) -> None:
    """A default's value at the time of the call is what the key is made of, as if it had been passed."""
    default: list[int] = []
    calls: list[int] = []

    def f(a: int, b: list[int] = default) -> int:
        calls.append(a)
        return len(b)

    f = world.cached(f, name="mutable-default")
    assert [world.call(f, 1), world.call(f, 1, [])] == [0, 0]
    default.append(1)
    assert [world.call(f, 1), world.call(f, 1, [1])] == [1, 1]
    assert len(calls) == 2


def test_the_adapter_keeps_signatures() -> None:
    """The async twins of this suite have the signatures of the functions they stand for."""
    for source, _ in HIT_SPELLINGS:
        plain = make(source, [])
        assert inspect.signature(as_async(plain)) == inspect.signature(plain)
        assert inspect.iscoroutinefunction(as_async(plain))
