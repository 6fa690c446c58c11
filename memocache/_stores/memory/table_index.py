"""The tables of a tier by name and identity, and all tables of a name without a look at any other's.

It is a dict that is changed by `add` and `drop` alone. It tells which tables nobody uses any more. Its owner holds the
lock.
"""

from __future__ import annotations

from collections.abc import Hashable

from memocache._stores.entry import Table

_FEW = 64
"""Tables more than were in use last, before it is looked whether they still are."""


class TableIndex(dict[tuple[str, Hashable], Table]):
    """Tables by ``(name, identity)``."""

    def __init__(self) -> None:
        super().__init__()
        self._named: dict[str, dict[Hashable, Table]] = {}
        self.owned: dict[tuple[str, Hashable], list[Table]] = {}
        """Those that have an owner, by name and the identity that others may have too."""
        self._old, self._crowd = 0, _FEW

    def add(self, table: Table) -> None:
        """Take in a table."""
        self[table.name, table.identity] = table
        self._named.setdefault(table.name, {})[table.identity] = table
        if isinstance(table.identity, tuple):
            self.owned.setdefault((table.name, table.identity[0]), []).append(table)

    def drop(self, table: Table) -> None:
        """Forget a table."""
        del self[table.name, table.identity]
        named = self._named[table.name]
        del named[table.identity]
        if not named:
            del self._named[table.name]
        if isinstance(table.identity, tuple):
            owned = self.owned[table.name, table.identity[0]]
            owned.remove(table)
            if not owned:
                del self.owned[table.name, table.identity[0]]

    def named(self, name: str) -> list[Table]:
        """The tables of a name."""
        return list(self._named.get(name, {}).values())

    def surplus(self) -> list[Table]:
        """Those that nobody uses, when there are many more than the last time; but for the youngest, whose users may
        still be on their way.
        """
        if len(self) < self._crowd:
            return []
        old = list(self.values())[: self._old]
        unused = list(filter(is_unused, old))
        self._old = len(self) - len(unused)
        self._crowd = self._old + len(old) - len(unused) + _FEW
        return unused


def is_unused(table: Table) -> bool:
    """Whether a table of an identity has neither entries nor users."""
    return bool(not table.entries and not table.users and table.name and table.identity is not None)
