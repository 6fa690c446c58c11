"""The tables of a tier by name and identity, and all tables of a name without a look at any other's.

It is a dict that is changed by `add` and `drop` alone. Its owner holds the lock.
"""

from __future__ import annotations

from collections.abc import Hashable

from memocache._stores.entry import Table


class TableIndex(dict[tuple[str, Hashable], Table]):
    """Tables by ``(name, identity)``."""

    def __init__(self) -> None:
        super().__init__()
        self._named: dict[str, dict[Hashable, Table]] = {}

    def add(self, table: Table) -> None:
        """Take in a table."""
        self[table.name, table.identity] = table
        self._named.setdefault(table.name, {})[table.identity] = table

    def drop(self, table: Table) -> None:
        """Forget a table."""
        del self[table.name, table.identity]
        named = self._named[table.name]
        del named[table.identity]
        if not named:
            del self._named[table.name]

    def named(self, name: str) -> list[Table]:
        """The tables of a name."""
        return list(self._named.get(name, {}).values())
