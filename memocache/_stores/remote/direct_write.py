"""Direct writes: records that a caller gives (`f.put`, `Cache.set`: whatever is there; `Cache.add`: where nothing is).

A write whose answer was lost may still be on its way, and must take no effect after what was done since. So it stores
as a computation does: under a witness, which whoever stores or invalidates deletes. Writers of one key share a witness:
one of them stores under it, and the others begin anew, so that somebody always comes through.

The functions are methods of `memocache._stores.remote.store.SharedStore`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Protocol

from memocache._runtime.effects import Steps
from memocache._stores.remote.envelope import MARKER_BYTES
from memocache._stores.remote.guard import BackendGuard
from memocache._stores.remote.keyspace import Spot
from memocache._stores.remote.lease import WITNESS_SECONDS
from memocache._stores.store import Address, Found, Record
from memocache.backends.base import holds
from memocache.typing import Guard, Put

_TOKEN_BYTES = 8


class WritingStore(Protocol):
    """The store that is written to."""

    guard: BackendGuard

    def spot(self, address: Address) -> Spot:
        """The backend's names of an address."""
        ...

    def markers_seen(self, spot: Spot, markers: Sequence[bytes | None]) -> tuple[list[Guard], list[Put], bytes]:
        """Guards for the markers as seen, puts for those missing, and the generations that result."""
        ...

    def put_of(self, address: Address, spot: Spot, record: Record, generations: bytes) -> Put:
        """The put that stores a record. Raises `Unstorable`."""
        ...


class _Writing:
    """The records of one bucket on their way, and the markers and witnesses that are believed to stand there."""

    def __init__(self, store: WritingStore, records: Sequence[tuple[Address, Spot, Record]]) -> None:
        self._store = store
        self._records = records
        self._spots = [spot for _, spot, _ in records]
        self._first = self._spots[0]
        self._witnesses: Sequence[bytes | None] = [None] * len(records)
        # of tags nothing is remembered: there may be a new one for each write
        known = len(self._first.markers) == len(self._first.site.markers)
        self._markers: Sequence[bytes | None] | None = self._first.site.standing if known else None
        self._made: tuple[list[bytes], list[bytes]] | None = None
        """The markers and witnesses there will be if what was asked last is done; None: it stores the records."""
        self._entries: list[Guard] = []
        self.overtaken = False
        """Whether an entry that was to be replaced is not there any more."""

    def replacing(self, found: Found) -> None:
        """Store in place of this entry, or of nothing, alone."""
        head, self._markers = found.seen
        self._entries = [Guard(self._first.entry, head)]

    def ask(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        """Ask for the markers, where they are not known; else make what is missing; else store the records."""
        spots, first = self._spots, self._first
        if self._markers is None:
            return "read", (first.markers,), {}
        guards, puts, generations = self._store.markers_seen(first, self._markers)
        guards += [Guard(spot.witness, held) for spot, held in zip(spots, self._witnesses, strict=True)]
        guards += self._entries
        if not puts and None not in self._witnesses:
            self._made = None
            puts = [self._store.put_of(address, spot, record, generations) for address, spot, record in self._records]
            doomed = [name for spot in spots for name in (spot.witness, spot.lease)]
            return "transact", (guards, puts, doomed), {"publish": first.channel} if len(spots) == 1 else {}
        members = first.members if puts else ()
        markers = [generations[at : at + MARKER_BYTES] for at in range(0, len(generations), MARKER_BYTES)]
        tokens = [os.urandom(_TOKEN_BYTES) if held is None else held for held in self._witnesses]
        self._made = markers, tokens
        for spot, token, held in zip(spots, tokens, self._witnesses, strict=True):
            if held is None:
                puts.append(Put(spot.witness, token, WITNESS_SECONDS * 1000))
        return "transact", (guards, puts), {"members": members}

    def stored(self, answer: Sequence[bytes | None] | None) -> bool:
        """Take in the answer to that; whether the records are stored."""
        if self._markers is None:
            self._markers = answer
        elif answer is not None:
            at, end = len(self._markers), len(self._markers) + len(self._spots)
            self._markers, self._witnesses = answer[:at], answer[at:end]
            self.overtaken = not all(map(holds, self._entries, answer[end:]))
        elif self._made is not None:
            self._markers, self._witnesses = self._made
        else:
            site = self._first.site
            site.standing = list(self._markers[: len(site.markers)])
            return True
        return False


def put(self: WritingStore, address: Address, record: Record) -> Steps[None]:
    """Store whatever is there; computations from before lose their witness. Raises `Unstorable`."""
    yield from put_many(self, [(address, record)])


def put_many(self: WritingStore, records: Sequence[tuple[Address, Record]]) -> Steps[None]:
    """Store records of one function, or plain ones, that have the same tags; all or none of those in one bucket."""
    buckets: dict[str, list[tuple[Address, Spot, Record]]] = {}
    for address, record in records:
        spot = self.spot(address)
        self.put_of(address, spot, record, b"")  # refuses what cannot be stored before anything is sent
        buckets.setdefault(spot.bucket, []).append((address, spot, record))
    under_way = [_Writing(self, some) for some in buckets.values()]
    while under_way:
        answers = yield from self.guard.each([one.ask() for one in under_way], budget=records[0][0].budget)
        under_way = [one for one, answer in zip(under_way, answers, strict=True) if not one.stored(answer)]


def add(self: WritingStore, address: Address, record: Record, found: Found) -> Steps[bool]:
    """Store if the entry is as it was found, which was nothing or dead; False if it is not. Raises `Unstorable`."""
    spot = self.spot(address)
    self.put_of(address, spot, record, b"")
    writing = _Writing(self, [(address, spot, record)])
    writing.replacing(found)
    while not writing.overtaken:
        name, given, options = writing.ask()
        if writing.stored((yield self.guard.io(name, *given, **options, budget=address.budget))):
            return True
    return False
