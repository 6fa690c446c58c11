"""What a table is emptied of: set aside where it is much, and then buried little by little."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memocache import Cache
from memocache._stores.memory.burial import Burial
from memocache._stores.memory.tier import LocalTier
from memocache._stores.memory.tier_counts import PART
from memocache.testing import FakeClock

MANY = 4 * PART


class Value:
    """Something that can be seen to die."""


class _World:
    """Two functions of one cache, and what came of every step."""

    def __init__(self, at_once: int, *, own: bool, share: bool) -> None:
        self.clock = FakeClock()
        self.cache = Cache("memory://?maxsize=20", clock=self.clock)
        self.cache._tier.at_once = at_once
        self.runs = 0
        options: dict[str, Any] = {"ttl": 60, "share": share} | ({"maxsize": 20} if own else {})
        self.functions = [self.cache.cached(name=f"f{i}", **options)(self.compute) for i in range(2)]

    def compute(self, a: Any) -> list[int]:
        self.runs += 1
        return [self.runs]

    def step(self, what: str, which: int, argument: Any) -> Any:
        """Do one thing; what came of it, and every figure."""
        f = self.functions[which]
        if what == "advance":
            came = self.clock.advance(25)
        elif what in ("cache_clear", "invalidate_all"):
            came = getattr(f, what)()
        elif what == "clear":
            came = self.cache.clear()
        elif what == "sweep":
            came = self.cache._tier.sweep()
        elif what == "put":
            came = f.put([0], argument)
        elif what == "call":
            came = f(argument)
        else:
            came = getattr(f, what)(argument)
        tables = self.cache._tier.tables()
        details = [(table.name, self.cache._tier.counted(table), table.counters.causes) for table in tables]
        return repr((came, self.runs, [(f.stats(), f.cache_info()) for f in self.functions], details))


_STEPS = st.tuples(
    st.sampled_from(
        [
            *["call"] * 5,
            *["invalidate_all"] * 2,
            "advance",
            "cache_clear",
            "clear",
            "sweep",
            "invalidate",
            "peek",
            "put",
        ]
    ),
    st.integers(0, 1),
    st.sampled_from([0, 1, 2, 3, (4,), (5, "x"), [6]]),
)


@given(steps=st.lists(_STEPS, max_size=40), own=st.booleans(), share=st.booleans())
def test_what_is_set_aside_is_gone_as_if_it_were_buried(
    steps: list[tuple[str, int, Any]], own: bool, share: bool
) -> None:
    """Values, counters, sizes and miss reasons are the same whether entries are set aside or buried at once."""
    aside, buried = (_World(at_once, own=own, share=share) for at_once in (0, PART))
    for step in steps:
        assert aside.step(*step) == buried.step(*step), step


def _filled(maxsize: int, entries: int = MANY) -> tuple[Cache, Any]:
    cache = Cache(f"memory://?maxsize={maxsize}")
    f = cache.cached(name="f", ttl=None, share=True)(lambda a: Value())
    for number in range(entries):
        f(number)
    return cache, f


def test_to_invalidate_a_function_looks_at_none_of_its_many_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many entries a function has, none is touched when it is invalidated, and none is served after."""
    _, f = _filled(2 * MANY)
    old = [f(number) for number in range(3)]
    touched: list[Any] = []
    honest = Burial._bury

    def noted(self: Burial, entry: Any) -> None:
        touched.append(entry)
        honest(self, entry)

    monkeypatch.setattr(Burial, "_bury", noted)
    f.invalidate_all()
    assert touched == []
    assert f.cache_info().currsize == 0
    assert [f(number) for number in range(3)] != old


def test_the_hits_of_what_is_set_aside_are_counted_on() -> None:
    """No hit is lost or counted twice, before what was set aside is buried and after it."""
    cache, f = _filled(2 * MANY)
    for number in range(MANY):
        f(number)
    f.invalidate_all()
    assert f.cache_info()[:2] == (MANY, MANY)
    cache._tier.sweep()
    assert f.cache_info()[:2] == (MANY, MANY)


def test_nothing_goes_for_the_space_of_what_is_dead() -> None:
    """In a full cache, what is stored after an invalidation takes the place of dead entries, and evicts nothing."""
    cache, f = _filled(MANY)
    g = cache.cached(name="g", ttl=None)(lambda a: a)
    f.invalidate_all()
    for number in range(MANY):
        g(number)
    assert cache.stats().evicted_keys == 0
    assert g.cache_info().currsize == MANY


def test_who_stores_buries_and_cache_clear_buries_all() -> None:
    """What was set aside is freed as other entries come, and at once by `cache_clear`."""
    cache, f = _filled(2 * MANY)
    alive = weakref.WeakSet(f(number) for number in range(MANY))
    f.invalidate_all()
    for number in range(MANY):
        f(-1 - number)
    gc.collect()
    assert len(alive) == 0
    younger = weakref.ref(f(-1))
    f.cache_clear()
    gc.collect()
    assert younger() is None
    assert cache._tier._unburied == {}


def test_a_look_up_that_changes_its_ways_reads_no_entries_that_were_set_aside() -> None:
    """A function whose arguments have parts, and one that is bound again, read the entries where they stand."""
    cache = Cache("memory://")
    cache._tier.at_once = 0
    f = cache.cached(name="f", share=True)(lambda a: Value())
    for argument in (1, (1, 2), 1, (1, 2)):
        old = f(argument)
        assert f(argument) is old
        f.invalidate_all()
        new = f(argument)
        assert new is not old
        assert f(argument) is new


def test_what_moves_while_a_function_is_bound_is_read_where_it_is() -> None:
    """An invalidation between a look-up's reading of the table and its showing is seen."""
    cache = Cache("memory://")
    cache._tier.at_once = 0
    f = cache.cached(name="f", share=True)(lambda a: Value())
    old = f(1)
    state = f._self_state
    core, binding = state.bound()
    honest, moved = core.entries, []

    class Core:
        """The core, whose table is emptied after its entries were read."""

        @staticmethod
        def entries(binding: Any) -> Any:
            entries = honest(binding)
            if not moved:
                moved.append(1)
                f.invalidate_all()
            return entries

    state._show_entries(Core, binding)
    assert f(1) is not old


def test_a_child_trusts_nothing_that_was_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a thread that is not there holds the lock, a child buries what was set aside too, and counts its hits."""
    tier = LocalTier(10, FakeClock())
    tier.at_once = 0
    table = tier.table("f", 1)
    tier.put(table, "key", "value", None, ttl=10.0)
    table.entries["key"].touch(0.0)
    tier.empty(table)

    class Held:
        """A lock that another thread holds."""

        @staticmethod
        def acquire(blocking: bool) -> bool:
            return False

    monkeypatch.setattr(tier, "lock", Held)
    tier.after_fork()
    assert (table.unburied, tier._unburied, table.counters.hits) == ([], {}, 1)
