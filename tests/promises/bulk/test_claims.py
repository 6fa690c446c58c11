"""Misses of `f.map` are begun and stored together, and nobody notices but the server: what is held for calls that have
not begun is let go for whoever needs it."""

from __future__ import annotations

import asyncio
import threading
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memocache import MISSING, Cache
from memocache._calls import bulk_claims
from memocache._calls.bulk_gates import Gathering
from memocache._runtime.drivers import arun
from memocache._runtime.effects import Steps
from memocache.backends.memory import MemoryBackend
from memocache.testing import FakeClock
from tests.promises.behaviour.world import World
from tests.promises.bulk.support import commands, counted
from tests.promises.flight.support import BOUND, assert_quiet, join, start, until

_CALLS = range(8)
_READS = ["again", "nested", "huge", "bad", "raise"]
_OTHERS_READ = ["again", "nested", "huge", "bad", "other_calls", "other_maps"]


class _Fleet:
    """Two caches on one backend, and a function whose body does what it is told, while a map computes."""

    def __init__(self, *, claims: bool, options: dict[str, Any]) -> None:
        self.clock = FakeClock()
        self.backend = MemoryBackend(self.clock.monotonic)
        self.caches = [Cache(self.backend, clock=self.clock, max_value_bytes=100_000, max_wait=0.2) for _ in "ab"]
        self.claims = claims
        self.ran: list[Any] = []
        self.log: list[Any] = []
        self.todo: dict[int, tuple[str, int]] = {}
        self.functions = [self._function(cache, number, options) for number, cache in enumerate(self.caches)]

    def _function(self, cache: Cache, number: int, options: dict[str, Any]) -> Any:
        def body(a: int) -> Any:
            self.ran.append((number, a))
            deed, b = self.todo.pop(a, ("nothing", 0))
            return self._do(deed, a, b, number)

        return cache.cached(**{"name": "f", "tags": ["t:{a}"], "ttl": 60, **options})(body)

    def _do(self, deed: str, a: int, b: int, number: int) -> Any:
        here, there = self.functions[number], self.functions[1 - number]
        match deed:
            case "again":
                return [a, here(b)] if b != a else [a]
            case "nested":
                return [a, here.map(_CALLS[a + 1 : a + 4])]
            case "other_calls":
                return [a, there(b)] if b != a else [a]
            case "other_maps":
                return [a, there.map(_CALLS[a + 1 : a + 4])]
            case "raise":
                raise ValueError(a)
            case "huge":
                return "x" * 200_000
            case "bad":
                return object()
        return [a]

    def step(self, who: int, calls: list[int], todo: dict[int, tuple[str, int]], seconds: float) -> None:
        """One bulk call, and all that can be seen of it."""
        self.todo = dict(todo)
        self.clock.advance(seconds)
        f = self.functions[who]
        with ExitStack() as stack:
            if not self.claims:
                stack.enter_context(patch.object(bulk_claims, "BATCH", 1))
            try:
                came: Any = f.map(calls)
            except Exception as error:
                came = (type(error), str(error))
        self.log.append(_without_objects(came))
        self.log.append([_without_objects(self.functions[0].peek(one)) for one in _CALLS])
        for cache in self.caches:
            cache._places.shared.keeper._give_back()  # type: ignore[union-attr]  # it has one
            assert len(cache._flights) == 0
        kinds = [key.split(":")[1] for key in self.backend._cells if self.backend._get(key) is not None]
        self.log.append(kinds.count("e"))
        assert "l" not in kinds

    def close(self) -> None:
        for cache in self.caches:
            cache.close()

    def figures(self) -> list[tuple[int, ...]]:
        """What is counted of both functions."""
        stats = [function.stats() for function in self.functions]
        return [(s.stores, s.rejected, s.backend_errors) for s in stats]


def _without_objects(came: Any) -> Any:
    if isinstance(came, list):
        return [_without_objects(one) for one in came]
    return "object" if type(came) is object else came


def _steps(deeds: list[str]) -> st.SearchStrategy[Any]:
    deed = st.tuples(st.sampled_from(deeds), st.sampled_from(_CALLS))
    return st.tuples(
        st.sampled_from([0, 1]),
        st.lists(st.sampled_from(_CALLS), min_size=1),
        st.dictionaries(st.sampled_from(_CALLS), deed, max_size=2),
        st.sampled_from([0, 0, 0, 70]),
    )


_OPTIONS: list[dict[str, Any]] = [
    {}, {}, {"coalesce": None}, {"stale_if_error": 100}, {"errors": ValueError},
    {"tags": ()}, {"condition": lambda value: value != [3]}, {"ttl": lambda value: 30},
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::memocache.UncacheableWarning")
@given(
    world=st.one_of(
        st.tuples(st.lists(_steps(_READS), max_size=6), st.sampled_from([*_OPTIONS, {"coalesce": "process"}])),
        st.tuples(st.lists(_steps(_OTHERS_READ), max_size=6), st.sampled_from(_OPTIONS)),
    )
)
def test_claims_come_to_what_single_calls_come_to(world: tuple[list[Any], dict[str, Any]]) -> None:
    """Whatever the function calls, raises or returns while others of its calls are claimed, values, errors, runs,
    figures and what is left in the backend are those of one call after the other. (A call from inside that finds one
    computed and not yet stored counts as a miss.)"""
    steps, options = world
    together, single = (_Fleet(claims=way, options=options) for way in (True, False))
    for step in steps:
        together.step(*step)
        single.step(*step)
        assert together.log == single.log, step
        assert sorted(together.ran) == sorted(single.ran), step
        assert together.figures() == single.figures(), step
    together.close()
    single.close()


class _Written:
    """A backend on which a function puts and forgets calls of itself while a map computes, and all that was done."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.caches = [Cache(backend) for backend in [MemoryBackend()] * 2]
        self.done = 0
        self.touched = dict.fromkeys(_CALLS, 0)
        self.todo: dict[int, list[tuple[str, int]]] = {}
        self.functions = [
            cache.cached(**{"name": "f", "tags": ["t:{a}"], **options})(self._body) for cache in self.caches
        ]

    def _body(self, a: int) -> int:
        """Its value is when it began."""
        self.done = began = self.done + 1
        for deed, b in self.todo.pop(a, ()):
            for one in _CALLS if deed == "forget_all" else [b]:
                self.touched[one] = self.done
            self.done += 1
            there = self.functions[1]
            match deed:
                case "put":
                    there.put(self.done, b)
                case "forget":
                    there.invalidate(b)
                case "forget_all":
                    there.invalidate_all()
                case "forget_tag":
                    self.caches[1].invalidate(tag=f"t:{b}")
        return began

    def step(self, calls: list[int], todo: dict[int, list[tuple[str, int]]]) -> None:
        """A map; what is there then was computed or put after the last touch."""
        self.todo = dict(todo)
        self.functions[0].map(calls)
        self.todo = {}
        for a in _CALLS:
            there = self.functions[1].peek(a)
            assert there is MISSING or there > self.touched[a], a
        for cache in self.caches:
            assert len(cache._flights) == 0


_WRITE = st.tuples(
    st.sampled_from(["put", "put", "forget", "forget", "forget_all", "forget_tag"]), st.sampled_from(_CALLS)
)


@given(
    steps=st.lists(
        st.tuples(
            st.lists(st.sampled_from(_CALLS), min_size=1),
            st.dictionaries(st.sampled_from(_CALLS), st.lists(_WRITE, max_size=3), max_size=4),
        ),
        max_size=6,
    ),
    options=st.sampled_from([{}, {"coalesce": "process"}]),
)
def test_what_was_put_or_forgotten_meanwhile_is_not_covered(
    steps: list[tuple[list[int], dict[int, list[tuple[str, int]]]]], options: dict[str, Any]
) -> None:
    """A claimed call that was put or forgotten, before it ran or after, is not stored by what began before."""
    world = _Written(options)
    for step in steps:
        world.step(*step)
    for cache in world.caches:
        cache.close()


def _sync(served: World) -> None:
    if served.is_async:
        pytest.skip("tasks claim nothing that they have not begun")


@pytest.mark.parametrize("order", [range(60), range(59, -1, -1)], ids=["up", "down"])
def test_a_recursive_function_runs_once_for_each_call(served: World, order: range) -> None:
    """A call from inside that needs a claimed one finds it stored, or computes and stores it: no call runs twice."""
    ran: list[int] = []

    def body(n: int) -> Any:
        ran.append(n)
        return n if n < 2 else f(n - 1) + f(n - 2)

    async def abody(n: int) -> Any:
        ran.append(n)
        return n if n < 2 else await f(n - 1) + await f(n - 2)

    f: Any = served.cache.cached(name="f")(abody if served.is_async else body)
    values = served.call(f.map, order)
    assert max(values) == 956722026041
    assert sorted(ran) == list(range(60))
    assert_quiet(served.cache)


def test_scripts_do_not_grow_with_the_calls(served: World) -> None:
    """500 calls that nobody made yet take few scripts: their claims grow, and tasks gather at the gates."""

    @served.cached(name="f")
    def f(n: int) -> int:
        return n

    served.call(f, -1)
    with commands(served.server, "mget", "evalsha", "eval") as sent:
        assert served.call(f.map, range(500)) == list(range(500))
    assert sent["mget"] == 1
    assert sent["evalsha"] <= 20


def test_a_computation_that_stalls_lets_others_have_what_is_claimed(served: World) -> None:
    """While one call of a map does not return, other threads compute what it has claimed, and need not wait for what
    it has computed; the map still returns, and what it computed is stored."""
    _sync(served)
    entered, go = threading.Event(), threading.Event()
    ran: list[int] = []

    def body(n: int) -> int:
        ran.append(n)
        if n == 1:
            entered.set()
            assert go.wait(BOUND)
        return n

    f = served.cache.cached(name="f")(body)
    with patch.object(bulk_claims, "STALL_SECONDS", 0.0):
        mapping, mapped = start(lambda: f.map(range(4)))
        assert entered.wait(BOUND)
        served.cache._places.shared.keeper._wake.set()  # type: ignore[union-attr]  # it has one
        assert [f(0), f(3), f(2)] == [0, 3, 2]
        go.set()
        join(mapping)
    assert mapped == [[0, 1, 2, 3]]
    assert sorted(ran) in ([0, 0, 1, 2, 3], [0, 1, 2, 3])
    assert f.map(range(4)) == [0, 1, 2, 3]
    assert len(ran) <= 5
    assert_quiet(served.cache)


def test_what_a_stalled_map_computed_is_stored_unless_others_stored_it(served: World) -> None:
    """Loosened claims keep their right to store: nobody computed 0 meanwhile, so the map's value is there."""
    _sync(served)
    entered, go = threading.Event(), threading.Event()
    ran: list[int] = []

    def body(n: int) -> int:
        ran.append(n)
        if n == 1:
            entered.set()
            assert go.wait(BOUND)
        return n

    f = served.cache.cached(name="f")(body)
    mapping, mapped = start(lambda: f.map(range(4)))
    assert entered.wait(BOUND)
    keeper: Any = served.cache._places.shared.keeper  # type: ignore[union-attr]  # it has one
    (claims,) = keeper._reminded
    claims.loosen()
    assert f(3) == 3
    go.set()
    join(mapping)
    assert mapped == [[0, 1, 2, 3]]
    assert (f(0), f(2)) == (0, 2)
    assert sorted(ran) == [0, 1, 2, 3]
    assert_quiet(served.cache)


def test_a_call_that_waits_for_a_thread_that_needs_a_claimed_one_is_no_circle(served: World) -> None:
    """A computation that waits for another thread's call, by means of its own, is not held up by what its map holds."""
    _sync(served)

    def body(n: int) -> Any:
        if n != 2:
            return n
        helper, got = start(lambda: [f(0), f(3)])
        served.cache._places.shared.keeper._wake.set()  # type: ignore[union-attr]  # it has one
        join(helper)
        return got

    f = served.cache.cached(name="f")(body)
    with patch.object(bulk_claims, "STALL_SECONDS", 0.0):
        assert f.map(range(4)) == [0, 1, [[0, 3]], 3]
    assert_quiet(served.cache)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_tears_a_map_down_leaves_nothing_claimed(served: World, error: type[BaseException]) -> None:
    """No flight, lease or reminder is left of a map that was torn down, and the next one computes."""
    _sync(served)
    poisoned = True

    def body(n: int) -> int:
        if poisoned and n == 2:
            raise error
        return n

    f = served.cache.cached(name="f")(body)
    with pytest.raises(error):
        f.map(range(4))
    assert not served.cache._places.shared.keeper._reminded  # type: ignore[union-attr]  # it has one
    assert_quiet(served.cache)
    poisoned = False
    assert f.map(range(4)) == [0, 1, 2, 3]


def test_claims_shrink_to_what_takes_a_moment(served: World) -> None:
    """A function that takes its time is computed call by call: nothing is claimed for later."""
    _sync(served)
    held: list[int] = []

    def body(n: int) -> int:
        held.append(len(served.cache._flights))
        served.clock.advance(1.0)
        return n

    f = served.cache.cached(name="f", ttl=None)(body)
    f(-1)
    f.map(range(5))
    assert held == [1] * 6


def test_two_maps_of_the_same_calls_compute_each_once(served: World) -> None:
    """Two caches that map the same calls at once compute each of them once between them."""
    _sync(served)
    ran: list[int] = []

    def body(n: int) -> int:
        ran.append(n)
        return n

    functions = [cache.cached(name="f")(body) for cache in (served.cache, served.new_cache())]
    running = [start(lambda f=f: f.map(range(100))) for f in functions]
    join(*(thread for thread, _ in running))
    assert [got for _, got in running] == [[list(range(100))]] * 2
    assert sorted(ran) == list(range(100))
    assert sum(map(sum, map(counted, functions))) == 200


class _Asked:
    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.gate: Gathering[str] = Gathering(self.ask)

    def ask(self, items: list[str]) -> Steps[None]:
        self.asked.append(items)
        return
        yield

    async def go(self, item: str) -> None:
        await arun(self.gate.go(item))


def test_a_gate_lets_through_together_who_comes_together() -> None:
    """All that come in the same turns are asked for at once, whoever comes later with the next ones; each once."""
    one = _Asked()

    async def main() -> None:
        await asyncio.gather(*map(one.go, "abc"))
        await asyncio.gather(*map(one.go, "de"))

    asyncio.run(main())
    assert one.asked == [["a", "b", "c"], ["d", "e"]]


@pytest.mark.parametrize("cancelled", [0, 1])
def test_who_is_cancelled_at_a_gate_holds_nobody_up(cancelled: int) -> None:
    """Who is cancelled is not asked for; if it was to ask for all, the others go on and ask for themselves."""
    one = _Asked()

    async def main() -> None:
        tasks = [asyncio.create_task(one.go(item)) for item in "abc"]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        tasks[cancelled].cancel()
        async with asyncio.timeout(BOUND):
            await asyncio.wait(tasks)
            await one.go("d")

    asyncio.run(main())
    assert one.asked == ([["d"]] if cancelled == 0 else [["a", "c"], ["d"]])


def test_no_reminder_outlives_its_map() -> None:
    """Nothing of a claim is kept for a reminder when the map has ended."""
    with Cache(MemoryBackend()) as cache:
        f = cache.cached(name="f")(lambda n: n)
        assert f.map(range(300)) == list(range(300))
        keeper: Any = cache._places.shared.keeper  # type: ignore[union-attr]  # it has one
        until(lambda: not keeper._reminded and not keeper._held)
