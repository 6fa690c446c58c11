"""What a function is, for its key: whatever people make and stack, cached functions answer as the plain ones.

The factories are generated as Python source: a way in which the function knows a number that differs between the
factory's products, below a stack of decorators, one of which may know it too. The products are called in any order.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wrapt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memocache import Cache, DuplicateNameWarning, UncacheableWarning

pytestmark = pytest.mark.filterwarnings("ignore::memocache.UnsharedWarning")

# A way to know a number: what stands above the function, what it reads, and what stands below it.
WAYS = {
    "nothing": ("", "0", ""),
    "a parameter of the factory": ("", "n", ""),
    "a name bound above": ("m = n", "m", ""),
    "a name bound below": ("", "m", "m = n"),
    "a name bound again below": ("m = 0", "m", "m = n"),
    "a name set by another function": ("m = 0\ndef put():\n    nonlocal m\n    m = n", "m", "put()"),
    "a dict filled below": ("m = {}", "m['n']", "m['n'] = n"),
    "a list filled below": ("m = []", "m[0]", "m.append(n)"),
    "a function above": ("def m(): return n", "m()", ""),
    "a function below": ("", "m()", "def m(): return n"),
    "two functions that call each other": (
        "def m(k=2): return other(k - 1) if k else n\ndef other(k): return m(k)",
        "m()",
        "",
    ),
    "a lambda in a list": ("m = [lambda: n]", "m[0]()", ""),
    "a function in a dict filled below": ("m = {}", "m['f']()", "m['f'] = lambda: n"),
    "a default of a function": ("def m(k=n): return k", "m()", ""),
    "a keyword default of a function": ("def m(*, k=n): return k", "m()", ""),
    "an attribute of a function": ("def m(): pass", "m.n", "m.n = n"),
    "an attribute of its own": ("", "f.n", "f.n = n"),
    "a class below": ("", "M.k", "class M:\n    k = n"),
    "a class that a function fills": ("class M:\n    pass", "M.k", "M.k = n"),
    "an object": ("class M:\n    pass\nm = M()", "m.n", "m.n = n"),
    "an object of a known class": ("m = Holder()", "m.n", "m.n = n"),
    "a namespace": ("m = types.SimpleNamespace(n=n)", "m.n", ""),
    "a partial": ("m = functools.partial(operator.add, n)", "m(0)", ""),
    "a bound method": ("m = Holder()\nm.n = n\nm = m.get", "m()", ""),
    "a bound method of a built-in": ("m = {0: n}.get", "m(0)", ""),
    "a method of a pattern": ("m = re.compile(str(n)).pattern.upper", "m()", ""),
    "a callable object": ("m = Adder(n)", "m(0)", ""),
    "an operator": ("m = operator.itemgetter(n)", "m(range(100))", ""),
    "a module made at run time": ("m = types.ModuleType('m')", "m.n", "m.n = n"),
    "a namespace of exec": ("m = {'n': n}\nexec('def g(): return n', m)\ng = m['g']", "g()", ""),
    "another's code": ("g = types.FunctionType(read_n.__code__, {'n': n})", "g()", ""),
    "a cached function": ("@again\ndef m(x): return n", "m(0)", ""),
    "a cached function below": ("", "m(0)", "@again\ndef m(x): return n"),
    "a remembered function": ("@functools.lru_cache\ndef m(): return n", "m()", ""),
    "a logger and a lock": ("log, lock = logging.getLogger('a'), threading.Lock()", "(log.name, lock.locked(), n)", ""),
}
# Decorators between `cached` and the function.
LAYERS = (
    "wraps_with({})",
    "wrapt_with({})",
    "Wrapper.with_({})",
    "proxied({})",
    "bare_with({})",
    "hidden_with({})",
    "partial_of({})",
)
CALLS = ("f(1)", "f(x=1)", "f(1, 0)", "f(y=0, x=1)", "f(True)", "f(2)")


class Holder:
    """An object without a value."""

    def get(self) -> Any:
        """What it holds."""
        return self.n

    n = 0


class Adder:
    """A callable object."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __call__(self, x: int) -> int:
        return self.n + x


def wraps_with(n: Any) -> Callable[..., Any]:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def inner(*args: Any, **kwargs: Any) -> Any:
            return n, function(*args, **kwargs)

        return inner

    return decorate


def wrapt_with(n: Any) -> Callable[..., Any]:
    @wrapt.decorator
    def inner(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        return n, wrapped(*args, **kwargs)

    return inner  # type: ignore[no-any-return]  # wrapt has no types for it


class Wrapper:
    """A decorator that is a class."""

    def __init__(self, n: Any, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.n = n
        self.function = function

    @classmethod
    def with_(cls, n: Any) -> Callable[..., Any]:
        """With a number."""
        return functools.partial(cls, n)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.n, self.function(*args, **kwargs)


class Proxy(wrapt.ObjectProxy):  # type: ignore[misc]  # wrapt has no types for it
    """A proxy of wrapt with a state of its own."""

    def __init__(self, wrapped: Any, n: Any) -> None:
        super().__init__(wrapped)
        self._self_n = n

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._self_n, self.__wrapped__(*args, **kwargs)


def proxied(n: Any) -> Callable[..., Any]:
    return lambda function: Proxy(function, n)


def bare_with(n: Any) -> Callable[..., Any]:
    return lambda function: lambda *args, **kwargs: (n, function(*args, **kwargs))


def hidden_with(n: Any) -> Callable[..., Any]:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def inner(*args: Any, __n: Any = n, __function: Any = function, **kwargs: Any) -> Any:
            return __n, __function(*args, **kwargs)

        return inner

    return decorate


def partial_of(n: Any) -> Callable[..., Any]:
    return lambda function: functools.partial(lambda n, *args, **kwargs: (n, function(*args, **kwargs)), n)


def read_n() -> Any:
    return n  # type: ignore[name-defined]  # noqa: F821  # of the namespace that its code is put into


def factory(way: str, layers: list[tuple[str, bool]]) -> Callable[..., Any]:
    """A factory ``make(n, decorate, again)`` of this way, whose function stands below these decorators."""
    above, read, below = WAYS[way]
    lines = [
        *above.splitlines(),
        "@decorate",
        *("@" + layer.format("n" if own else 7) for layer, own in layers),
        f"def f(x, y=0): return x, y, {read}",
        *below.splitlines(),
        "return f",
    ]
    source = "import functools, logging, operator, re, threading, types\ndef make(n, decorate, again):\n" + "".join(
        f"    {line}\n" for line in lines
    )
    exec(source, globals())
    return globals().pop("make")  # type: ignore[no-any-return]  # it is one


@st.composite
def factories(draw: st.DrawFn) -> tuple[str, list[tuple[str, bool]], list[tuple[int, str]]]:
    """A way, a stack of decorators, and calls as (which product, spelled how)."""
    way = draw(st.sampled_from(sorted(WAYS)))
    layers = draw(st.lists(st.tuples(st.sampled_from(LAYERS), st.booleans()), max_size=2))
    calls = draw(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(CALLS)), min_size=2, max_size=8))
    return way, layers, calls


def undecorated(function: Any) -> Any:
    return function


def answers(cache: Cache, way: str, layers: list[tuple[str, bool]], calls: list[tuple[int, str]]) -> None:
    """Hold the products of a cached factory against those of the plain one."""
    make = factory(way, layers)
    numbers = (1, 2, 1, 3)
    plain = [make(n, undecorated, undecorated) for n in numbers]
    remembered = [make(n, cache.cached, cache.cached) for n in numbers]
    for which, call in calls:
        expected = eval(call, {"f": plain[which]})
        assert eval(call, {"f": remembered[which]}) == expected, (way, layers, which, call)


@given(generated=factories())
@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_products_of_a_factory_answer_as_the_plain_ones(
    cache: Cache, generated: tuple[str, list[tuple[str, bool]], list[tuple[int, str]]]
) -> None:
    """However a function came to know what differs, and whatever stands above it, in any order of calls."""
    answers(cache, *generated)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_know_a_number(cache: Cache, way: str) -> None:
    """Each way alone, two products called in turn."""
    answers(cache, way, [], [(0, "f(1)"), (1, "f(1)"), (2, "f(1)"), (3, "f(x=1)"), (0, "f(1, 0)")])


@pytest.mark.parametrize("layer", LAYERS)
def test_every_decorator_below(cache: Cache, layer: str) -> None:
    """Decorators that differ in what they know, over functions that do not."""
    answers(cache, "nothing", [(layer, True)], [(n, call) for call in CALLS for n in (0, 1)])


# One module, edited and executed again: what it defines under one name.
EDITIONS = {
    "a function": "@cached\ndef f(x): return x + {k}",
    "a function below a decorator": "@cached\n@wraps_with(0)\ndef f(x): return x + {k}",
    "a function above another's decorator": "@wrapt_with(0)\n@cached\ndef f(x): return x + {k}",
    "a decorator edited": "@cached\n@wraps_with({k})\ndef f(x): return x",
    "a default": "@cached\ndef f(x, k={k}): return x + k",
    "a default that is an object": "@cached\ndef f(x, k=Adder({k})): return k(x)",
    "a static method": "class C:\n    @cached\n    @staticmethod\n    def f(x): return x + {k}\nf = C.f",
    "a class method": "class C:\n    @classmethod\n    @cached\n    def f(cls, x): return x + {k}\nf = C.f",
    "a method": "class C:\n    @cached\n    def f(self, x): return x + {k}\nf = C().f",
    "a lambda": "f = cached(lambda x: x + {k})",
    "a registered function": "@cached\ndef _(x): return x + {k}\nf = _",
    "one of two": "@cached\ndef f(x): return x + {k}\ng = f\n@cached\ndef f(x): return -x\nf = g",
}


@given(
    edition=st.sampled_from(sorted(EDITIONS)),
    steps=st.lists(st.one_of(st.integers(1, 3), st.tuples(st.integers(0, 9), st.integers(0, 1))), max_size=12),
)
@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_edited_code_answers_as_it_stands(cache: Cache, edition: str, steps: list[Any]) -> None:
    """A module is edited and executed again (a reload, a notebook's cell); old functions and new ones, called in any
    order, answer as their own code says.
    """
    module = types.ModuleType("edited_module")
    vars(module).update(cached=cache.cached, wraps_with=wraps_with, wrapt_with=wrapt_with, Adder=Adder)
    made: list[tuple[Any, Any]] = []
    sys.modules["edited_module"] = module
    try:
        for step in (1, 2, (0, 1), (1, 1), *steps):
            if isinstance(step, int):
                source = EDITIONS[edition].format(k=step)
                exec(source, vars(module))
                plain = dict(vars(module), cached=undecorated, __name__="plain_module")
                exec(source, plain)
                made.append((module.f, plain["f"]))
            else:
                remembered, plain_f = made[step[0] % len(made)]
                assert remembered(step[1]) == plain_f(step[1]), (edition, step)
    finally:
        del sys.modules["edited_module"]


def test_a_patched_function_and_the_restored_one(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that stands in for another under its name has its own entries, and the other keeps its own."""
    original = cache.cached(replaceable)
    monkeypatch.setattr(sys.modules[__name__], "replaceable", original)
    assert [replaceable(1), replaceable(1)] == ["original", "original"]

    @functools.wraps(original)
    def stand_in(x: int) -> str:
        return "stand-in"

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[__name__], "replaceable", cache.cached(stand_in))
        assert replaceable(1) == "stand-in"
    assert [replaceable(1), original.cache_info().hits] == ["original", 2]


def replaceable(x: int) -> str:
    return "original"


def test_a_wrapper_is_called_as_it_was_spelled(cache: Cache) -> None:
    """Above a wrapper the shown parameters say which call it is, and the wrapper gets what the caller gave."""
    seen: list[Any] = []

    def noting(function: Any) -> Any:
        @functools.wraps(function)
        def inner(*args: Any, **kwargs: Any) -> Any:
            seen.append((args, kwargs))
            return function(*args, **kwargs)

        return inner

    @cache.cached(name="spelled")
    @noting
    def f(x: int, /, y: int = 1, *rest: int, z: int = 2, **more: int) -> tuple[Any, ...]:
        return x, y, rest, z, sorted(more.items())

    assert f(1, z=3) == f(1, 1, z=3) == f(1, z=3, y=1) == (1, 1, (), 3, [])
    assert f(2, 3, 4, a=5) == f(2, 3, 4, z=2, a=5) == (2, 3, (4,), 2, [("a", 5)])
    assert seen == [((1,), {"z": 3}), ((2, 3, 4), {"a": 5})]


def test_a_wrapper_that_takes_other_arguments_than_it_shows(cache: Cache) -> None:
    """A wrapper that passes an argument of its own is called as without a cache, and refuses what it would refuse."""

    def injecting(function: Any) -> Any:
        @functools.wraps(function)
        def inner(*args: Any, **kwargs: Any) -> Any:
            return function("session", *args, **kwargs)

        return inner

    @injecting
    def f(session: str, x: int) -> tuple[str, int]:
        return session, x

    remembered = cache.cached(f)
    with pytest.warns(UncacheableWarning, match="other arguments than it shows") as seen:
        assert [remembered(1), remembered(x=2)] == [f(1), f(x=2)] == [("session", 1), ("session", 2)]
    assert len(seen) == 1
    with pytest.raises(TypeError, match=r"f\(\) got multiple values for argument 'session'"):
        remembered(1, session="mine")


def test_a_wrapper_with_parameters_of_its_own(cache: Cache) -> None:
    """What a wrapper names itself is what its calls are made of."""

    def numbered(function: Any) -> Any:
        @functools.wraps(function)
        def inner(number: int, *args: Any) -> Any:
            return number, function(*args)

        return inner

    @cache.cached(exclude="number", name="numbered")
    @numbered
    def f(x: int) -> int:
        return x

    assert [f(1, 5), f(2, 5), f(2, 6)] == [(1, 5), (1, 5), (2, 6)]


def test_options_mean_the_shown_parameters(cache: Cache) -> None:
    """`exclude`, `key` and `tags` above a wrapper, however the argument is passed."""
    calls: list[int] = []

    @wraps_with(0)
    def f(x: int, y: int = 1) -> int:
        calls.append(y)
        return x

    for number, options in enumerate(({"exclude": "y"}, {"key": "{x}"}, {"key": lambda x, y: x})):
        calls.clear()
        g = cache.cached(name=f"shown{number}", **options)(f)  # type: ignore[arg-type, call-overload]  # of many kinds
        assert [g(1, 2), g(1, 3), g(x=1, y=4), g(1)] == [(0, 1)] * 4
        assert calls == [2]
    h = cache.cached(name="tagged", tags="y:{y}")(f)
    calls.clear()
    assert [h(1), h(1, y=2), h(1)] == [(0, 1)] * 3
    cache.invalidate(tag="y:1")
    assert [h(1), h(1, 2), calls] == [(0, 1), (0, 1), [1, 2, 1]]


def test_two_functions_of_one_given_name_are_told_of(cache: Cache) -> None:
    """`name=` vouches for a function: another one of that name is warned of, once, at its own line."""

    def make(n: int) -> Any:
        return cache.cached(lambda x: x + n, name="given")

    assert [make(1)(1), make(2)(1)] == [2, 2]
    other, third = (cache.cached(f, name="given") for f in (lambda x: x * 2, lambda x: x * 3))
    with pytest.warns(DuplicateNameWarning, match="given: two different functions") as seen:
        assert [other(1), third(1)] == [2, 2]
    assert [Path(warning.filename).name for warning in seen] == [Path(__file__).name]


def test_given_names_whose_keys_differ_need_no_warning(cache: Cache) -> None:
    """Another version, or other parameters, keep two functions of one name apart."""
    made = [cache.cached(lambda x: x, name="given", version=1), cache.cached(lambda x: -x, name="given", version=2)]
    made.append(cache.cached(lambda y: y + 1, name="given"))
    made.append(cache.cached(lambda y: y + 2, name="given", version="auto"))
    assert [f(1) for f in made] == [1, -1, 2, 3]


def test_questions_before_the_first_call_settle_nothing(cache: Cache) -> None:
    """`cache_info`, `cache_clear` and their like may be asked while a factory still binds names."""

    def make(n: int) -> Any:
        rate = 0

        @cache.cached(ttl=60)
        def f(x: int) -> int:
            return x + rate + later

        assert f.cache_info()[:2] == (0, 0)
        f.cache_clear()
        f.invalidate_all()
        assert (f.cache_parameters()["ttl"], f.stats().hits) == (60, 0)
        rate = later = n
        return f

    assert [f(1) for f in (make(1), make(2), make(1))] == [3, 5, 3]


def test_code_that_is_exchanged_in_place(cache: Cache) -> None:
    """As IPython's autoreload does it: the same function object is given other code and defaults."""

    def first(x: int, y: int = 1) -> tuple[Any, ...]:
        return "first", x, y

    def second(x: int, z: int = 2) -> tuple[Any, ...]:
        return "second", x, z

    f = cache.cached(first)
    assert [f(1), f(1)] == [("first", 1, 1)] * 2
    f.__code__ = second.__code__  # type: ignore[attr-defined]  # that of the function it wraps
    f.__defaults__ = second.__defaults__  # type: ignore[attr-defined]  # as above
    assert [f(1), f(1, z=3), f(x=1)] == [("second", 1, 2), ("second", 1, 3), ("second", 1, 2)]
    assert f.cache_info()[:2] == (1, 2)


def test_a_stack_that_people_have(cache: Cache) -> None:
    """Retries, checks of types and log lines from other packages: one call is one key, however it is spelled."""
    backoff, beartype, pydantic, tenacity = (
        pytest.importorskip(name) for name in ("backoff", "beartype", "pydantic", "tenacity")
    )
    calls: list[int] = []

    def counted(x: int, y: int = 0) -> int:
        calls.append(x)
        return x

    stacks = [
        beartype.beartype,
        tenacity.retry(stop=tenacity.stop_after_attempt(2)),
        backoff.on_exception(backoff.expo, ValueError),
        pydantic.validate_call,
        lambda f: beartype.beartype(tenacity.retry(f)),
        lambda f: pydantic.validate_call(wraps_with(1)(f)),
    ]
    for stack in stacks:
        calls.clear()
        f, plain = cache.cached(stack(counted), exclude="y"), stack(counted)
        assert [f(1), f(x=1), f(1, y=2), f(1, 3)] == [plain(1)] * 4
        assert calls == [1, 1]


def test_a_wrapper_around_a_generator_function_is_refused(cache: Cache) -> None:
    """What it returns is used up by its first reader; one that makes a list of it says so by showing no generator."""

    def numbers(n: int) -> Iterator[int]:
        yield from range(n)

    @functools.wraps(numbers)
    def listed(*args: Any) -> list[int]:
        return list(numbers(*args))

    with pytest.raises(TypeError, match="return a list instead"):
        cache.cached(wraps_with(1)(numbers))
    with pytest.raises(TypeError, match="__wrapped__"):
        cache.cached(listed)
    del listed.__wrapped__  # type: ignore[attr-defined]  # functools.wraps has set it
    assert cache.cached(listed)(3) == [0, 1, 2]
