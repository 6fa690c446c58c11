"""The law of tables: one is there as long as a function, a flight or a call under way refers to it, and no longer.

Functions of a few identities are made, called, dropped in the midst of a call, and made again: in the process, beside a
backend, and with copies before it. After each step no table is missing that somebody counts in, none is there that
nobody refers to (but with entries that another function may ask for), and every call is counted.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from memocache import Cache
from memocache._stores.entry import Place, Table
from memocache._stores.layered.near_cache import NearTier
from memocache._stores.memory.tables_by_name import TableIndex
from memocache._stores.memory.tier import LocalTier
from memocache.backends.memory import MemoryBackend
from memocache.testing import FakeClock

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # functions that are apart, on purpose
_NAMES = ("shop.one", "shop.other")
_gate: ContextVar[Callable[[], Awaitable[None]] | None] = ContextVar("gate", default=None)
"""What a function waits for in the context of its call."""


class Captured:
    """An object without a value: a function that captured one is apart from every other."""


def closure(cache: Cache, name: str, number: int, *, apart: bool, bounded: bool) -> Any:
    """A function over a number, which is what it is known by."""
    held = Captured() if apart else None

    async def f(x: int) -> list[Any]:
        gate = _gate.get()
        if gate is not None:
            await gate()
        return [number, x, held is None]

    f.__module__, f.__qualname__ = name.split(".")
    return cache.cached(ttl=20, **({"maxsize": 3} if bounded else {}))(f)


class Tables(RuleBasedStateMachine):
    """A cache, the functions that live, and the calls under way."""

    kind: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        backend: Any = "memory://?maxsize=6" if self.kind == "memory" else MemoryBackend()
        self.cache = Cache(backend, clock=self.clock, local=4 if self.kind == "near" else 0)
        self.loop = asyncio.new_event_loop()
        self.gate = self.loop.create_future()
        self.functions: list[tuple[str, list[Any], Any]] = []
        self.under_way: list[tuple[str, list[Any], asyncio.Task[Any], Place | None]] = []
        self.calls: Counter[str] = Counter()

    def teardown(self) -> None:
        """End what is under way."""
        self.open_the_gate()
        self.loop.run_until_complete(self.cache.aio.close())
        self.loop.close()

    @rule(name=st.sampled_from(_NAMES), number=st.integers(0, 1), apart=st.booleans(), bounded=st.booleans())
    def make(self, name: str, number: int, apart: bool, bounded: bool) -> None:
        """A function comes, perhaps of an identity that another has or had."""
        f = closure(self.cache, name, number, apart=apart, bounded=bounded)
        self.functions.append((name, [number, not apart], f))

    @precondition(lambda self: self.functions)
    @rule(which=st.integers(0, 9))
    def drop(self, which: int) -> None:
        """A function goes, perhaps in the midst of its calls."""
        del self.functions[which % len(self.functions)]

    @precondition(lambda self: self.functions)
    @rule(which=st.integers(0, 9), x=st.integers(0, 1), way=st.sampled_from(("call", "call", "put", "forget", "peek")))
    def use(self, which: int, x: int, way: str) -> None:
        """Something is asked of a function, to its end."""
        name, (number, together), f = self.functions[which % len(self.functions)]
        if any(at[0] == name for at in self.under_way):
            return  # it might wait for that
        if way == "call":
            assert self.loop.run_until_complete(f(x)) == [number, x, together]
            self.calls[name] += 1
        else:
            what = {"put": lambda: f.put([number, x, together], x), "forget": lambda: f.invalidate(x)}
            self.loop.run_until_complete(what.get(way, lambda: f.peek(x))())

    @precondition(lambda self: self.functions)
    @rule(which=st.integers(0, 9), x=st.integers(0, 1), way=st.sampled_from(("call", "map")), steps=st.integers(1, 9))
    def begin(self, which: int, x: int, way: str, steps: int) -> None:
        """A call begins, comes some steps far, and waits at the latest in the function."""
        name, (number, together), f = self.functions[which % len(self.functions)]

        async def patient(steps: Any) -> Any:
            _gate.set(lambda: self.gate)
            return await steps

        task = self.loop.create_task(patient(f(x) if way == "call" else f.map([x])))
        for _ in range(steps):
            self.loop.run_until_complete(asyncio.sleep(0))
        expected = [number, x, together]
        self.under_way.append((name, expected if way == "call" else [expected], task, _place(f)))
        self.calls[name] += 1

    @rule()
    def open_the_gate(self) -> None:
        """What waits goes on to its end."""
        self.gate.set_result(None)
        for _, expected, task, _ in self.under_way:
            assert self.loop.run_until_complete(task) == expected
        self.under_way = []
        self.gate = self.loop.create_future()

    @rule(seconds=st.sampled_from((2.0, 30.0)))
    def time_passes(self, seconds: float) -> None:
        """Copies, and then entries, expire."""
        self.clock.advance(seconds)

    @rule(name=st.sampled_from(_NAMES))
    def invalidate(self, name: str) -> None:
        """Everything of a name is forgotten."""
        self.cache.invalidate(name)

    @rule()
    def purge(self) -> None:
        """What is dead is removed."""
        self.cache.purge()

    @invariant()
    def the_law(self) -> None:
        """No table is missing, none is left over, and nothing that was counted is lost."""
        gc.collect()
        tier, near = self.cache._tier, self.cache._near
        places = [_place(f) for *_, f in self.functions]
        places += [place for *_, task, place in self.under_way if not task.done()]
        wanted = {place() for place in places if place is not None}
        there = set(tier.tables())
        assert None not in wanted, "a table went that somebody counts in"
        assert wanted <= there, "a table is not found that somebody counts in"
        left = [table for table in there - wanted if table.place.identity not in (None, b"")]
        assert all(table.entries for table in left), "a table is there that nobody refers to"
        assert near is None or set(near.tables()) <= {table.beside for table in there}
        told = self.cache.stats("process").functions
        for name in _NAMES:
            if not any(at[0] == name for at in self.under_way):
                counted = told[name].hits + told[name].misses if name in told else 0
                assert counted == self.calls[name], "a call is not counted, or twice"


def _place(f: Any) -> Place | None:
    bound = f._self_state._bound
    return None if bound is None else bound[1].table.place


def check(kind: str, examples: int = 30, **more: Any) -> None:
    """Run the machine on a kind of cache."""
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    chosen = settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        database=None,
        suppress_health_check=quiet,
        **more,
    )
    run_state_machine_as_test(type(f"Tables_{kind}", (Tables,), {"kind": kind}), settings=chosen)


@pytest.mark.parametrize("kind", ["memory", "object", "near"])
def test_a_table_lives_as_long_as_it_is_referred_to(kind: str) -> None:
    """However functions come and go, and whatever is under way as they do."""
    check(kind)


def _kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TableIndex, "free", lambda self, table: None)
    add = TableIndex.add
    monkeypatch.setattr(TableIndex, "add", lambda self, table, *at: (add(self, table, *at), self.hold(table)))


def _taken_without_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    get = TableIndex.get

    def used(self: TableIndex, *at: Any) -> Table | None:
        table = get(self, *at)
        return table if table is None or table.entries or table.users else None

    monkeypatch.setattr(TableIndex, "get", used)


def _count_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalTier, "_inherit", NearTier._inherit)


@pytest.mark.parametrize("broken", [_kept_for_ever, _taken_without_a_user, _count_lost])
def test_a_broken_build_is_caught(
    broken: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables that stay, tables that are taken while a call is under way, and counts that are lost, are seen."""
    broken(monkeypatch)
    with pytest.raises(AssertionError):
        check("object", 200, phases=[Phase.generate], report_multiple_bugs=False)
