"""The tables of a tier by name, then by identity and owner.

The index keeps alive only the tables that hold entries, and those it was told to `hold`. Any other is there as long as
somebody refers to it (a binding, a flight, a call under way) and no longer: nobody decides that a table is unused. The
last reference may go at any moment, within the collector too. So a death is noted in one step, and `buried` gives what
the table left. Its owner holds the lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator

from memocache._stores.entry import Place, Table

_Alike = dict[Hashable, Place]


class TableIndex:
    """Tables by name, identity and owner (None: it is nobody's own)."""

    def __init__(self) -> None:
        self._named: dict[str, dict[Hashable, _Alike]] = {}
        self._held: set[Table] = set()
        self._dead: deque[Place] = deque()

    def get(self, name: str, identity: Hashable, owner: Hashable = None) -> Table | None:
        """A table that somebody refers to."""
        place = self._named.get(name, {}).get(identity, {}).get(owner)
        return None if place is None else place()

    def add(self, table: Table, identity: Hashable, owner: Hashable = None) -> None:
        """Take in a table."""
        place = table.place = Place(table, self._dead.append, identity, owner)
        self._named.setdefault(table.name, {}).setdefault(identity, {})[owner] = place

    def hold(self, table: Table) -> None:
        """Keep a table alive: it has entries."""
        self._held.add(table)

    def free(self, table: Table) -> None:
        """Keep a table alive no longer."""
        self._held.discard(table)

    def held(self) -> list[Table]:
        """The tables that may have entries."""
        return list(self._held)

    def all(self) -> list[Table]:
        """Every table."""
        return _living(alike for name in self._named.values() for alike in name.values())

    def named(self, name: str) -> list[Table]:
        """The tables of a name."""
        return _living(self._named.get(name, {}).values())

    def alike(self, table: Table) -> list[Table]:
        """The tables of the same name and identity."""
        return _living([self._named.get(table.name, {}).get(table.place.identity, {})])

    def buried(self) -> Iterator[Place]:
        """The places of tables that died since, each once, no longer in the index."""
        while self._dead:
            place = self._dead.popleft()
            named = self._named[place.name]
            alike = named[place.identity]
            if alike.get(place.owner) is place:  # else another table has taken it
                del alike[place.owner]
            if not alike:
                del named[place.identity]
            if not named:
                del self._named[place.name]
            yield place


def _living(those: Iterable[_Alike]) -> list[Table]:
    found = (place() for alike in those for place in list(alike.values()))
    return [table for table in found if table is not None]
