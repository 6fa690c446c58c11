"""The tables of a tier by name: found without a look at others, and in agreement with the tables by identity."""

from __future__ import annotations

from typing import Any

import pytest

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

    for way in ("values", "items", "keys", "__iter__"):
        monkeypatch.setattr(TableIndex, way, walked)
    tier.invalidate_function("f7")
    assert [table.name for table in tables if not table.entries] == ["f7"]


def test_names_and_identities_agree() -> None:
    """Tables that come and go, several of a name, are known by both or by neither."""
    tier, clock = LocalTier(None, FakeClock()), FakeClock()
    tier.clock = clock
    for number in range(20):
        table = tier.table(f"f{number % 4}", number, owner="o" if number % 2 else None)
        if number % 3:
            tier.put(table, "key", number, None, ttl=5.0 if number % 5 else 500.0)
    clock.advance(10.0)
    tier.sweep()
    index = tier._tables
    assert 0 < len(index) < 20
    for name in ("f0", "f1", "f2", "f3", "unknown"):
        assert index.named(name) == [table for table in index.values() if table.name == name]
    assert {name for name, _ in index} == set(index._named)
