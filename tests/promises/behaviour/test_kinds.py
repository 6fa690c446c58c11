"""Whatever can be decorated: functions of every kind, and what of them survives."""

from __future__ import annotations

import copy
import functools
import inspect
import operator
from collections.abc import Callable
from typing import Any

import pytest

from memocache import cached
from tests.promises.behaviour.world import World

LOG: list[Any] = []


def documented(a: int, b: str = "x", *rest: int, c: bool = False, **more: Any) -> dict[str, int]:
    """What it says."""
    return {"a": a}


class Adder:
    """A callable object with a value identity."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __cache_key__(self) -> int:
        return self.n

    def __call__(self, x: int) -> int:
        LOG.append(x)
        return self.n + x


class AsyncAdder(Adder):
    """The same, to be awaited."""

    async def __call__(self, x: int) -> int:  # type: ignore[override]  # the other colour
        LOG.append(x)
        return self.n + x


@pytest.fixture(autouse=True)
def _fresh_log() -> None:
    LOG.clear()


def test_what_a_function_tells_of_itself_survives(world: World) -> None:
    """Signature, names, documentation, annotations, module, defaults and colour are the function's own."""
    plain = world.colourful(documented)
    f = world.cached(documented)
    assert inspect.signature(f) == inspect.signature(plain)
    assert inspect.iscoroutinefunction(f) is world.is_async
    for name in ("__name__", "__qualname__", "__doc__", "__module__", "__annotations__"):
        assert getattr(f, name) == getattr(plain, name)
    assert inspect.unwrap(f) is f.__wrapped__
    assert inspect.isfunction(f) or callable(f)
    assert isinstance(f, type(plain))


def test_wrapped_is_the_plain_function(world: World) -> None:
    """`__wrapped__` computes each time, counts nothing and stores nothing."""
    f = world.cached(lambda x: LOG.append(x) or len(LOG), name="wrapped")
    assert [world.run(f.__wrapped__(1)) for _ in range(2)] == [1, 2]
    assert f.cache_info()[:2] == (0, 0)
    assert world.call(f, 1) == 3


def test_attributes_of_the_function_are_reachable(world: World) -> None:
    """Attributes set on the plain function are seen through the decorated one."""
    plain = world.colourful(lambda x: x)
    plain.mark = "seen"
    assert world.cache.cached(plain).mark == "seen"


def test_closures_of_one_factory_are_apart(world: World) -> None:
    """Two closures made by one factory with other captured values do not share entries; with equal ones they do."""

    def make(n: int) -> Any:
        def add(x: int) -> int:
            LOG.append((n, x))
            return x + n

        return world.cached(add)

    one, two, again = make(1), make(2), make(1)
    assert [world.call(f, 10) for f in (one, two, again)] == [11, 12, 11]
    assert LOG == [(1, 10), (2, 10)]
    assert one.key_for(10) == again.key_for(10) != two.key_for(10)


def test_lambdas_are_apart(world: World) -> None:
    """Lambdas of one scope, which share a name, are known by their code."""
    double, triple = world.cached(lambda x: x * 2), world.cached(lambda x: x * 3)
    assert (world.call(double, 2), world.call(triple, 2)) == (4, 6)
    assert (world.call(double, 2), world.call(triple, 2)) == (4, 6)


def test_nested_functions_of_one_name_are_apart(world: World) -> None:
    """Nested functions of one qualified name and other code are known by their code."""
    made = []
    for source in ("x + 1", "x + 2"):
        namespace: dict[str, Any] = {}
        exec(f"def outer():\n    def inner(x):\n        return {source}\n    return inner", namespace)
        made.append(world.cached(namespace["outer"]()))
    assert [world.call(f, 1) for f in made * 2] == [2, 3, 2, 3]


def test_nested_functions_that_call_others_are_apart(world: World) -> None:
    """What a captured function itself captured counts as captured."""

    def make(n: int) -> Any:
        def inner(x: int) -> int:
            return x + n

        def outer(x: int) -> int:
            return inner(x)

        return world.cached(outer)

    one, two = make(1), make(2)
    assert [world.call(one, 1), world.call(two, 1)] == [2, 3]


def test_partials(world: World) -> None:
    """Partial objects are known by their function and frozen arguments, and take the arguments left over."""

    def add(a: int, b: int, *, c: int = 0) -> int:
        LOG.append((a, b, c))
        return a + b + c

    one = world.cached(functools.partial(add, 1))
    two = world.cached(functools.partial(add, 2))
    more = world.cached(functools.partial(add, 1, c=5))
    for _ in range(2):
        assert [world.call(f, 10) for f in (one, two, more)] == [11, 12, 16]
    assert len(LOG) == 3
    assert one.key_for(10) == one.key_for(b=10) == one.key_for(10, c=0)
    assert inspect.iscoroutinefunction(one) is world.is_async


def test_recursion(world: World) -> None:
    """A recursive function computes each call once."""
    if world.is_async:

        @world.cache.cached(name="fib")
        async def fib(n: int) -> int:
            LOG.append(n)
            return n if n < 2 else await fib(n - 1) + await fib(n - 2)
    else:

        @world.cache.cached(name="fib")
        def fib(n: int) -> int:
            LOG.append(n)
            return n if n < 2 else fib(n - 1) + fib(n - 2)

    assert world.call(fib, 40) == 102_334_155
    assert sorted(LOG) == list(range(41))
    assert fib.cache_info()[:2] == (38, 41)


def test_recursion_without_a_name(world: World) -> None:
    """A nested function that captured itself needs no name and gives no warning."""
    fact = world.cached(lambda n: n)
    if world.is_async:

        @world.cache.cached
        async def fact(n: int) -> int:
            return n * await fact(n - 1) if n else 1
    else:

        @world.cache.cached
        def fact(n: int) -> int:
            return n * fact(n - 1) if n else 1

    assert world.call(fact, 20) == 2_432_902_008_176_640_000
    assert world.call(fact, 20) == 2_432_902_008_176_640_000
    assert fact.cache_info()[:2] == (1, 21)


def test_recursion_on_the_same_key_runs_directly(world: World) -> None:
    """A call that (while computing) makes the very same call does not wait for itself."""
    depth = []
    if world.is_async:

        @world.cache.cached(name="same")
        async def same(x: int) -> int:
            depth.append(x)
            return await same(x) + 1 if len(depth) < 3 else 0
    else:

        @world.cache.cached(name="same")
        def same(x: int) -> int:
            depth.append(x)
            return same(x) + 1 if len(depth) < 3 else 0

    assert world.call(same, 1) == 2
    info = same.cache_info()
    assert info.hits + info.misses == 3


def test_callable_objects(world: World) -> None:
    """An object with `__call__` can be decorated and is part of its keys by its identity as a value."""
    kind = AsyncAdder if world.is_async else Adder
    one, two = world.cache.cached(kind(1)), world.cache.cached(kind(2))
    for _ in range(2):
        assert [world.call(one, 10), world.call(two, 10)] == [11, 12]
    assert LOG == [10, 10]


def test_bound_methods_can_be_decorated(world: World) -> None:
    """A bound method is known by its object's identity as a value."""
    kind = AsyncAdder if world.is_async else Adder
    one, two = world.cache.cached(kind(1).__call__), world.cache.cached(kind(2).__call__)
    for _ in range(2):
        assert [world.call(one, 10), world.call(two, 10)] == [11, 12]
    assert LOG == [10, 10]


def test_builtins(local: World) -> None:
    """Built-in functions, also those without a signature, can be decorated."""
    if local.is_async:
        return
    f, g = local.cache.cached(max), local.cache.cached(operator.add)
    for _ in range(2):
        assert f(1, 2) == 2
        assert f([3, 1], key=None) == 3
        assert g(1, 2) == 3
    assert (f.cache_info()[:2], g.cache_info()[:2]) == ((2, 2), (1, 1))


def test_decorating_twice(world: World) -> None:
    """A decorated function can be decorated again, on another name: both layers count."""
    inner = world.cached(lambda x: LOG.append(x) or x, name="inner")
    outer = world.cache.cached(name="outer")(inner)
    assert [world.call(outer, 1) for _ in range(2)] == [1, 1]
    assert (outer.cache_info()[:2], inner.cache_info()[:2]) == ((1, 1), (0, 1))


def test_other_decorators_below(world: World) -> None:
    """A function wrapped by an ordinary decorator is called through it, and keeps its colour."""

    def shouting(function: Callable[..., Any]) -> Any:
        @functools.wraps(function)
        def sync(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs) + "!"

        @functools.wraps(function)
        async def coloured(*args: Any, **kwargs: Any) -> Any:
            return await function(*args, **kwargs) + "!"

        return coloured if inspect.iscoroutinefunction(function) else sync

    f = world.cache.cached(shouting(world.colourful(lambda x: x)), name="shout")
    assert [world.call(f, "a") for _ in range(2)] == ["a!", "a!"]
    assert f.cache_info()[:2] == (1, 1)


def test_copies_are_the_function_itself(world: World) -> None:
    """Copying a decorated function, or what holds one, gives the function itself, as with any function."""
    f = world.cached(documented)
    assert copy.copy(f) is f
    assert copy.deepcopy({"f": f})["f"] is f


def test_the_bare_and_the_called_decorator() -> None:
    """`@cached`, `@cached()` and `@cached(ttl=60)` are all legal."""
    for number, decorate in enumerate((cached, cached(), cached(ttl=60))):
        f = decorate(functools.partial(lambda n, x: [x], number))
        assert f(1) == [1]
        assert f.cache_info()[:2] == (0, 1)
