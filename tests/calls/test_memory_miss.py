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
