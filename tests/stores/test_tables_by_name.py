"""The tables of a tier by name: found without a look at others, and there as long as somebody refers to them."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from memocache._stores.entry import Table
from memocache._stores.layered.near_cache import NearTier
from memocache._stores.memory.tables_by_name import TableIndex
from memocache._stores.memory.tier import LocalTier
from memocache.testing import FakeClock


def test_invalidating_a_function_looks_at_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a thousand functions one is invalidated without a walk through the tables of all."""
    tier = LocalTier(None, FakeClock())
    tables = [tier.table(f"f{number}", number % 3) for number in range(1000)]
    for table in tables:
        tier.put(table, "key", 1, None, ttl=60.0)

    def walked(*_: Any) -> Any:
        raise AssertionError("the tables of all functions were walked through")

    for way in ("all", "held"):
        monkeypatch.setattr(TableIndex, way, walked)
    tier.invalidate_function("f7")
    assert [table.name for table in tables if not table.entries] == ["f7"]


def _alone(tier: LocalTier, table: Table) -> None:
    class User:
        """Somebody who could ask for entries, and is gone."""

    tier.lifetimes.use(table, User(), alone=True)
    gc.collect()
    tier.put(table, "late", 1, None, ttl=60.0)  # by a call that outlived its function
    tier.sweep()


_EMPTIED: dict[str, Callable[[LocalTier, Table], Any]] = {
    "nothing was put": lambda tier, table: None,
    "expired": lambda tier, table: (
        tier.put(table, "key", 1, None, ttl=5.0),
        tier.clock.advance(9.0),  # type: ignore[attr-defined]  # a FakeClock
        tier.sweep(),
    ),
    "found expired": lambda tier, table: (
        tier.put(table, "key", 1, None, ttl=5.0),
        tier.clock.advance(9.0),  # type: ignore[attr-defined]  # a FakeClock
        tier.find(table, "key"),
    ),
    "discarded": lambda tier, table: (tier.put(table, "key", 1, None, ttl=5.0), tier.discard(table, "key")),
    "invalidated": lambda tier, table: (tier.put(table, "key", 1, None, ttl=5.0), tier.invalidate_function("f")),
    "cleared": lambda tier, table: (tier.put(table, "key", 1, None, ttl=5.0), tier.clear()),
    "cleared in parts": lambda tier, table: (tier.put(table, "key", 1, None, ttl=5.0), list(tier.clear_in_parts())),
    "evicted": lambda tier, table: (
        tier.put(table, "key", 1, None, ttl=5.0),
        table.entries["key"].touch(0.0),  # hits that are remembered
        [tier.put(tier.table("other", 1), number, 1, None, ttl=5.0) for number in range(30)],
    ),
    "alone": _alone,
}


@pytest.mark.parametrize("emptied", _EMPTIED)
def test_a_table_is_there_while_somebody_refers_to_it_and_no_longer(emptied: str) -> None:
    """Empty, it is found again as long as it is referred to; then it is gone, and what it counted is the name's."""
    tier = LocalTier(10, FakeClock())
    table = tier.table("f", "identity")
    table.counters.add(misses=3)
    _EMPTIED[emptied](tier, table)
    assert not table.entries
    hits = int(tier.counted(table)["hits"])
    tier.sweep()
    assert tier.table("f", "identity") is table
    assert tier.tables("f") == [table]
    gone = weakref.ref(table)
    del table
    gc.collect()
    assert gone() is None
    (rest,) = tier.tables("f")
    assert (rest.place.identity, tier.counted(rest)["misses"], tier.counted(rest)["hits"]) == (None, 3, hits)


def test_a_table_with_entries_is_there_for_whoever_comes() -> None:
    """Nobody refers to it but the entries that another function of the same identity may ask for."""
    tier = LocalTier(10, FakeClock())
    tier.put(tier.table("f", "identity"), "key", "value", None, ttl=5.0)
    gc.collect()
    entry = tier.find(tier.table("f", "identity"), "key")
    assert entry is not None
    assert entry.value == "value"


def test_copies_go_with_the_table_that_they_are_beside() -> None:
    """Their hits stay counted."""
    clock = FakeClock()
    tier, near = LocalTier(10, clock), NearTier(10, clock, [])
    tier.near = near
    table = tier.table("f", "identity")
    beside = table.beside = table.place.beside = near.table("f", object())
    beside.counters = table.counters
    near.put(beside, "key", "copy", None, ttl=9.0)
    beside.entries["key"].touch(0.0)
    del table, beside
    gc.collect()
    (rest,) = tier.tables("f")
    assert tier.counted(rest)["hits"] == 1
    gc.collect()
    assert near.tables() == []


def test_who_comes_after_a_table_that_is_gone_has_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it goes between the last look at what is gone and the look for it: the new one stays, and the old
    one's count is added once.
    """
    tier = LocalTier(10, FakeClock())
    old = [tier.table("f", 1, owner=7)]
    old[0].counters.add(misses=2)
    get = TableIndex.get

    def late(self: TableIndex, *where: Any) -> Table | None:
        old.clear()
        gc.collect()
        return get(self, *where)

    monkeypatch.setattr(TableIndex, "get", late)
    new = tier.table("f", 1, owner=7)
    assert new.counters.read()["misses"] == 0
    assert tier.alike(new) == [new]
    assert {table.counters.misses for table in tier.tables("f")} == {0, 2}
    assert tier.table("f", 1, owner=7) is new
    assert sum(table.counters.misses for table in tier.tables("f")) == 2


def test_counting_what_is_gone_tells_nobody() -> None:
    """Each count was told of when it was made: a cache that was closed is not woken by it."""
    told: list[int] = []
    tier = LocalTier(10, FakeClock())
    tier.on_count = lambda: told.append(1)
    tier.table("f", 1).counters.add(misses=1)
    gc.collect()
    assert [table.counters.misses for table in tier.tables("f")] == [1]
    assert told == [1]
