"""The straight miss on ``memory://`` beside the engine's: one random world, driven both ways."""

from __future__ import annotations

import asyncio
import inspect
import sys
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memocache import Cache
from memocache._calls import memory_miss
from memocache._runtime.singleflight import LEADING
from memocache.testing import FakeClock

_SCALARS: list[Any] = [0, 1, 1.0, True, "1", b"1", None, 0.0, -0.0, float("nan"), "x" * 2000, 2, 3]
_ARGUMENTS = [*_SCALARS, (1,), [1]]
_RESULTS: list[Any] = ["value", "mutable", "raise", "exit", "iterator", "again", "void", "forget", "nested", "late"]
_OPTIONS: list[dict[str, Any]] = [
    {},
    {"share": True},
    {"strict": True},
    {"maxsize": 2},
    {"coalesce": "process"},
    {"coalesce": None},
    {"stale": 5},
    {"errors": ValueError},
    {"condition": bool},
    {"tags": "t"},
    {"exclude": "b"},
]


class _World:
    """A cache with a function that does what it is told, and what came of every step."""

    def __init__(self, *, straight: bool, is_async: bool, options: dict[str, Any]) -> None:
        self.clock = FakeClock()
        self.cache = Cache("memory://?maxsize=5", clock=self.clock)
        self.todo = "value"
        self.runs = 0
        self.log: list[Any] = []
        self.is_async = is_async

        def sync(a: Any, b: int = 0, *, c: Any = None) -> Any:
            return f(a) if self.told("again") else self.compute(f, a)

        async def awaited(a: Any, b: int = 0, *, c: Any = None) -> Any:
            await asyncio.sleep(0)
            return await f(a) if self.told("again") else self.compute(None, a)

        with patch.object(memory_miss, "STRAIGHT", straight):
            f: Any = self.cache.cached(name="f", ttl=60, **options)(awaited if is_async else sync)
            f.key_for(0)  # binds
        self.f = f
        self.binding = f._self_state.bound()[1]
        self.straight = straight

    def told(self, todo: str) -> bool:
        """Whether this is what to do, which is then done."""
        told = self.todo == todo
        if told:
            self.todo = "value"
        return told

    def compute(self, f: Any, a: Any) -> Any:
        todo, self.todo = self.todo, "value"
        self.runs += 1
        self.clock.advance(0.5)
        match todo:
            case "mutable":
                return [self.runs]
            case "raise":
                raise ValueError(self.runs)
            case "exit":
                raise SystemExit(self.runs)
            case "iterator":
                return iter([self.runs])
            case "void":
                self.cache.clear()
            case "forget" if f is not None:
                f.invalidate(a)
            case "nested" if f is not None:
                return [f(3), f(2, c=1)]
            case "late":
                self.clock.advance(70)
        return self.runs

    def step(self, what: str, argument: Any, todo: str) -> None:
        """Do one thing, and note what came of it."""
        self.todo = "value"
        try:
            if what == "call":
                self.todo = todo
                came = self.run(self.f(argument))
                if isinstance(came, list):
                    came, mutated = list(came), came
                    mutated.append("changed by its caller")
            elif what == "advance":
                came = self.clock.advance(25)
            elif what == "clear":
                came = self.run(self.f.cache_clear())
            elif what == "put":
                came = self.run(self.f.put("put", argument))
            else:
                came = self.run(getattr(self.f, what)(argument))
        except (Exception, SystemExit) as error:
            came = (type(error), str(error))
        if type(came).__name__ == "list_iterator":
            came = ("iterator", *came)
        counters = self.binding.counters
        self.log.append((came, self.runs, self.f.stats(), self.f.cache_info(), counters.read(), dict(counters.causes)))
        self.log.append([sum(times) for times in (counters.hit_times, counters.miss_times, counters.compute_times)])
        assert (len(self.cache._flights), LEADING.get()) == (0, ())

    def run(self, made: Any) -> Any:
        """The result of a call, in either colour."""
        if not self.is_async:
            return made

        async def wait() -> Any:
            return await made

        return asyncio.run(wait())


_STEPS = st.tuples(
    st.sampled_from(["call", "call", "call", "call", "advance", "invalidate", "peek", "put", "refresh", "clear"]),
    st.sampled_from(_ARGUMENTS),
    st.sampled_from(_RESULTS),
)


@pytest.mark.filterwarnings("ignore::memocache.UncacheableWarning")
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@given(steps=st.lists(_STEPS, max_size=25), options=st.sampled_from(_OPTIONS))
def test_the_straight_miss_does_what_the_engine_does(
    is_async: bool, steps: list[tuple[str, Any, str]], options: dict[str, Any]
) -> None:
    """In any world values, errors, runs of the function, counters and miss reasons are those of the engine alone."""
    straight, engine = (_World(straight=way, is_async=is_async, options=options) for way in (True, False))
    for step in steps:
        straight.step(*step)
        engine.step(*step)
        assert repr(straight.log[-2:]) == repr(engine.log[-2:]), step


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_plain_miss_goes_straight(is_async: bool) -> None:
    """A plain miss is begun here and not by the engine, and with the switch off it is the engine's."""
    done: list[int] = []
    honest = memory_miss.PlainMiss.done

    def noted(self: memory_miss.PlainMiss, value: int) -> Any:
        done.append(value)
        return honest(self, value)

    for straight in (True, False):
        world = _World(straight=straight, is_async=is_async, options={})
        world.run(world.f(0))  # the first call has the name checked, with the engine
        with patch.object(memory_miss.PlainMiss, "done", noted):
            world.run(world.f(1))
        assert done == [2]


def test_a_memoized_recursion_costs_three_levels_a_call() -> None:
    """Of Python's recursion limit, a call of a recursive function takes no more than the call itself, the look-up and
    the function do."""
    cache = Cache("memory://")
    reached = 0

    @cache.cached
    def deeper(n: int) -> int:
        nonlocal reached
        reached = n
        return deeper(n + 1)

    room = sys.getrecursionlimit() - len(inspect.stack())
    with pytest.raises(RecursionError):
        deeper(0)
    assert reached * 3 >= room - 60
    assert (len(cache._flights), LEADING.get()) == (0, ())


_RAISED = [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError, RecursionError]


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("error", _RAISED)
@pytest.mark.parametrize("where", ["function", "begin", "done", "failed", "seal"])
def test_a_flight_of_a_straight_miss_ends_whatever_raises(
    is_async: bool, error: type[BaseException], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the function or a step of the miss raises reaches the caller; no flight and nothing led is left, and
    the next call computes."""
    cache = Cache("memory://")
    poisoned = True

    def body(n: int) -> int:
        if poisoned and where == "function":
            raise error("function")
        if poisoned and where == "failed":
            raise LookupError("fails first")
        return n

    async def abody(n: int) -> int:
        return body(n)

    f: Any = cache.cached(name="f")(abody if is_async else body)

    def call(n: int) -> Any:
        return asyncio.run(_awaited(f(n))) if is_async else f(n)

    poisoned = False
    assert call(0) == 0
    poisoned = True
    with monkeypatch.context() as patched:
        _raise_at(where, error, cache, patched)
        with pytest.raises(error):
            call(1)
    assert (len(cache._flights), LEADING.get()) == (0, ())
    poisoned = False
    assert call(1) == 1
    assert call(2) == 2


def _raise_at(where: str, error: type[BaseException], cache: Cache, patched: pytest.MonkeyPatch) -> None:
    """Have a step of the straight miss raise, at its end."""

    def poison(owner: Any, name: str) -> None:
        honest = getattr(owner, name)

        def poisoned(*args: Any, **kwargs: Any) -> Any:
            honest(*args, **kwargs)
            raise error(name)

        patched.setattr(owner, name, poisoned)

    if where == "begin":
        poison(cache._flights, "lead")
    elif where in ("done", "failed"):
        poison(memory_miss.PlainMiss, where)
    elif where == "seal":
        poison(cache._flights, "seal")


async def _awaited(made: Any) -> Any:
    return await made


def test_streams_and_options_to_weigh_are_the_engines() -> None:
    """A function has a straight miss only if nothing about its calls is to be weighed, told or replayed."""
    cache = Cache("memory://")

    def f(n: int) -> int:
        return n

    def g(n: int) -> Any:
        yield n

    def serves(function: Any) -> bool:
        core, binding = function._self_state.bound()
        return memory_miss.MissPath.serves(core.engine, binding)

    assert serves(cache.cached(name="plain")(f))
    assert not serves(cache.cached(name="stream", stream=True)(g))
    weighed: list[dict[str, Any]] = [
        {"stale": 5}, {"early": 1}, {"errors": ValueError}, {"condition": bool}, {"tags": "t"}, {"idle": 5},
        {"jitter": 0.1}, {"stale_if_error": 5}, {"soft_timeout": 5}, {"hard_timeout": 5}, {"coalesce": None},
        {"ttl": lambda result: 5},
    ]  # fmt: skip
    for number, options in enumerate(weighed):
        assert not serves(cache.cached(name=f"f{number}", **options)(f)), options
