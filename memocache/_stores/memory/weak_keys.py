"""Whose death ends which entries, and what entries hold of the arguments of their calls.

An entry goes when an object that its key is made of dies, or when the last function dies that could ask for it. Deaths
are noted at any moment and acted upon by the tier, under its lock. What an entry held of arguments is let go of when
the entry has left, outside the lock, for destructors run then. This module does not know how entries are removed.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Any

from memocache._runtime.object_identity import Held, Identities
from memocache._stores.entry import Entry, MarkedEntry, Place, Table


def is_abandoned(table: Table) -> bool:
    """Whether the last of those died who could ask for what a table holds."""
    return bool(table.alone and not table.users)


def _note(left: deque[Place], place: Place, _: object) -> None:
    left.append(place)


class Lifetimes:
    """The objects and users that the entries of one tier depend on."""

    def __init__(self) -> None:
        self.identities = Identities()
        self._entries: dict[int, list[Entry]] = {}
        self.parted: list[tuple[Held, ...]] = []
        # places of tables that lost a user; noted at any moment, within deallocation
        self.left: deque[Place] = deque()

    def use(self, table: Table, user: Any, *, alone: bool) -> None:
        """Note a user of a table, until it dies; the last user of an identity that stands `alone` takes the entries
        with it, for nobody can ask for them again.
        """
        table.users.add(user)
        if alone:
            # the table has the reference: of a table that went before its user nobody is told
            table.alone.append(weakref.ref(user, partial(_note, self.left, table.place)))

    def name(self, entry: Entry, tokens: tuple[int | Held, ...]) -> None:
        """Note of which objects an entry's key is made."""
        for token in tokens:
            if type(token) is int:
                self._entries.setdefault(token, []).append(entry)

    def orphans(self) -> Iterator[Entry]:
        """The entries of whose key an object has died, each once, also those that left since."""
        for token in self.identities.drain_dead():
            yield from self._entries.pop(token, ())

    def abandoned(self) -> Iterator[Table]:
        """The tables that lost the last of their users."""
        while self.left:
            table = self.left.popleft()()
            if table is not None and is_abandoned(table):
                yield table

    def prune(self) -> None:
        """Forget the entries that left."""
        for token, entries in list(self._entries.items()):
            kept = [entry for entry in entries if entry.held]
            if kept:
                self._entries[token] = kept
            else:
                del self._entries[token]

    def part(self, entry: Entry) -> None:
        """Take its arguments from an entry that left: the queues may know it for a while."""
        if isinstance(entry, MarkedEntry) and entry.arguments:
            self.parted.append(entry.arguments)
            entry.arguments = ()

    def release(self) -> None:
        """Let go of the arguments of entries that left."""
        if self.parted:
            self.parted = []

    def after_fork(self) -> None:
        """In a child: other threads are gone."""
        self.identities.after_fork()
