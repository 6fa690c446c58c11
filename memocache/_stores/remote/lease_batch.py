"""Leases of many addresses at once: one script for those of a bucket, to begin them and to commit them.

A batch is all or nothing. Who stands in its way (an address that somebody else computes or has just stored, a lease
that was lost, a marker that changed) is taken out of it, and what a batch does not settle is left to
`memocache._stores.remote.lease`, one address at a time. So nothing is decided here that would not be decided there.

The functions are methods of `memocache._stores.remote.store.SharedStore`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from memocache._runtime.budget import Budget
from memocache._runtime.effects import Steps
from memocache._runtime.singleflight import Flight
from memocache._stores.remote import envelope as _envelope
from memocache._stores.remote.guard import BackendGuard, NoRoom
from memocache._stores.remote.keyspace import Layout, Spot
from memocache._stores.remote.lease import LEASE_SECONDS, WITNESS_SECONDS, SharedLease
from memocache._stores.remote.lease_heartbeat import Keeper, mint
from memocache._stores.store import Address, Found, Record
from memocache.backends.base import holds
from memocache.exceptions import BackendError
from memocache.typing import Guard, Pieces, Put

BATCH = 250
"""How many addresses go into one script: it takes the server about a millisecond."""
_BATCH_FOUND = 16
"""How many of whom an old entry was found: a conflict tells the values of all."""
_BATCH_BYTES = 1 << 20
_ATTEMPTS = 3

Call = tuple[str, tuple[Any, ...], dict[str, Any]]


class Claim(Protocol):
    """A computation under way: its place, its flight, and what it got."""

    address: Address
    flight: Flight
    lease: Any
    committed: bool | BackendError


class BatchingStore(Protocol):
    """The store that batches are of."""

    guard: BackendGuard
    keeper: Keeper
    layout: Layout

    def spot(self, address: Address) -> Spot:
        """The backend's names of an address."""
        ...

    def put_of(self, address: Address, spot: Spot, record: Record, generations: bytes) -> Put:
        """The put that stores a record. Raises `Unstorable`."""
        ...

    def new_marker(self, key: str, *, of_tag: bool) -> Put:
        """The put that makes a marker."""
        ...


class _Part(NamedTuple):
    """One address's part of a batch: what must stand, what is written and removed then, and what the claim gets."""

    claim: Claim
    spot: Spot
    guards: list[Guard]
    puts: list[Put]
    deletes: list[str]
    lease: SharedLease


class _Batch:
    """The parts of one script, and the markers that all of them have been seen or sealed under."""

    def __init__(self, bucket: str, limit: int) -> None:
        self.bucket = bucket
        self.limit = limit
        self.size = 0
        self.markers: dict[str, bytes | None] = {}
        self.parts: list[Any] = []
        # of the last part: most have the very same
        self._names: list[str] = []
        self._values: Sequence[bytes | None] = ()

    def takes(self, bucket: str, names: list[str], values: Sequence[bytes | None], size: int) -> bool:
        """Whether one more, seen under the markers of these names and values, belongs into this script."""
        if self.bucket != bucket or len(self.parts) >= self.limit or (self.parts and self.size + size > _BATCH_BYTES):
            return False
        if names is self._names and values == self._values:
            return True
        known = self.markers
        return all(known.get(key, value) == value for key, value in zip(names, values, strict=True))

    def add(self, part: Any, names: list[str], values: Sequence[bytes | None], size: int = 0) -> None:
        """Take one more."""
        self.parts.append(part)
        if names is not self._names or values != self._values:
            self.markers |= zip(names, values, strict=True)
            self._names, self._values = names, values
        self.size += size


def begin_many(self: BatchingStore, wanted: Iterable[tuple[Claim, Found]], *, lead: bool) -> Steps[None]:
    """Give its `lease` to each claim that nobody stands in the way of; the others are left for `begin`.

    `lead` is as of a patient `begin`: without it the leases are left alone. Raises `BackendError`.
    """
    batches: list[_Batch] = []
    for claim, found in wanted:
        if found.seen is None:
            continue  # a copy in the process, or nothing that says what stands in the backend
        spot = self.spot(claim.address)
        head, standing = found.seen
        names, limit = spot.markers, BATCH if head is None else _BATCH_FOUND
        _batch_for(batches, spot.bucket, limit, names, standing).add((claim, spot, head), names, standing)
    for together in _rounds(self, batches):
        yield from _begin(self, together, lead)


def _begin(self: BatchingStore, batches: list[_Batch], lead: bool) -> Steps[None]:
    budget = Budget()
    for _ in range(_ATTEMPTS):
        asked = [_beginning(self, batch, lead) for batch in batches]
        parts = [part for some, _ in asked for part in some]
        try:
            for part in parts:
                if part.lease.held is not None:
                    self.keeper.announce(part.lease.held, part.claim.flight)
            conflicts = yield from self.guard.each([call for _, call in asked], budget=budget)
            for (some, _), conflict in zip(asked, conflicts, strict=True):
                for part in some if conflict is None else ():
                    _grant(self, part)
            if lead:
                self.keeper.start()
        except BaseException:
            # as `begin`: the leases may be ours, and nobody else would know
            for part in parts:
                if part.lease.held is not None:
                    self.keeper.let_go(part.spot.lease, part.lease.held, part.spot.channel)
            raise
        left = []
        for batch, (some, _), conflict in zip(batches, asked, conflicts, strict=True):
            if conflict is None:
                continue
            _forget(self, some)
            free = _unhindered(some, conflict[len(batch.markers) :])
            if free:
                again = _Batch(batch.bucket, batch.limit)
                again.markers = dict(zip(batch.markers, conflict, strict=False))
                again.parts = [(part.claim, part.spot, part.guards[0].head) for part in free]
                left.append(again)
        batches = left
        if not batches:
            return


def _beginning(self: BatchingStore, batch: _Batch, lead: bool) -> tuple[list[_Part], Call]:
    """The parts of a batch that begins, and the transaction."""
    made: dict[str, Put] = {}
    parts = []
    names: list[str] = []
    generations, random = b"", os.urandom(12 * len(batch.parts))
    for number, (claim, spot, head) in enumerate(batch.parts):
        if spot.markers is not names:  # most have the very same
            names = spot.markers
            for at, key in enumerate(names):
                value = batch.markers[key]
                if key not in made and (value is None or len(value) != _envelope.MARKER_BYTES):
                    made[key] = self.new_marker(key, of_tag=at > len(spot.members))
            generations = b"".join([made[key].value if key in made else batch.markers[key] or b"" for key in names])
        own = random[12 * number : 12 * number + 12]
        held = mint(own[8:]) if lead else None
        witness, lease = spot.witness, SharedLease(spot, own[:8], generations, held)
        guards = [Guard(spot.entry, head), Guard(witness)]
        puts = [Put(witness, lease.token, WITNESS_SECONDS * 1000)]
        if held is not None:
            name = spot.lease
            guards.append(Guard(name))
            puts.append(Put(name, held + bytes(8) + generations, int(LEASE_SECONDS * 1000)))
        parts.append(_Part(claim, spot, guards, puts, [], lease))
    return parts, _transaction(batch, parts, list(made.values()), members=parts[0].spot.members)


def _grant(self: BatchingStore, part: _Part) -> None:
    lease, spot = part.lease, part.spot
    part.claim.lease = lease
    if lease.held is not None:
        self.keeper.hold_soon(lease, spot.lease, lease.held, lease.generations, spot.channel, part.claim.flight)


def commit_many(self: BatchingStore, done: Iterable[tuple[Claim, Record | None]]) -> Steps[None]:
    """Store what these claims came to, and wake who waits; each that is settled by that is `committed`.

    One that is not is left for `commit`; one of a batch that the backend failed at has its `BackendError`.
    """
    failed: BackendError | None = None
    for together in _rounds_of_commits(self, done):
        if failed is None:
            failed = yield from _commit(self, together)
        if failed is not None:  # the others would fare no better
            for batch in together:
                for part in batch.parts:
                    part.claim.committed = part.claim.committed or failed


def _commit(self: BatchingStore, batches: list[_Batch]) -> Steps[BackendError | None]:
    budget = Budget()
    for _ in range(_ATTEMPTS):
        calls = [
            _transaction(batch, batch.parts, publish="\n".join(part.spot.channel for part in batch.parts))
            for batch in batches
        ]
        try:
            conflicts = yield from self.guard.each(calls, budget=budget)
        except NoRoom:
            return None  # there may be room for one or the other
        except BackendError as error:
            return error
        left = []
        for batch, conflict in zip(batches, conflicts, strict=True):
            if conflict is None:
                for part in batch.parts:
                    part.claim.committed = True
                _forget(self, batch.parts)
                continue
            values = list(conflict)
            standing = dict(zip(batch.markers, values, strict=False))
            same = {key for key, value in batch.markers.items() if standing[key] == value}
            free = _unhindered(batch.parts, values[len(batch.markers) :])
            again = _Batch(batch.bucket, batch.limit)
            again.parts = [part for part in free if same.issuperset(part.spot.markers)]
            again.markers = {key: batch.markers[key] for part in again.parts for key in part.spot.markers}
            if again.parts:
                left.append(again)
        batches = left
        if not batches:
            break
    return None


def _rounds_of_commits(self: BatchingStore, done: Iterable[tuple[Claim, Record | None]]) -> Iterator[list[_Batch]]:
    """The batches of what is stored, one after the other on a single server: they hold a copy of each value."""
    batches: list[_Batch] = []
    sealed = b""
    values: list[bytes | None] = []
    for claim, record in done:
        lease: SharedLease | None = claim.lease
        if lease is None or not lease.token:
            continue  # cancelled since, or it is not to be stored
        spot = lease.spot
        try:
            puts = [] if record is None else [self.put_of(claim.address, spot, record, lease.generations)]
        except Exception:
            continue  # whatever it is, `commit` meets it too
        witness = spot.witness
        guards, deletes = [Guard(witness, lease.token)], [witness]
        if lease.held is not None:
            name = spot.lease
            guards.append(Guard(name, lease.held))
            deletes.append(name)
        if lease.generations != sealed:
            sealed, size = lease.generations, _envelope.MARKER_BYTES
            values = [sealed[at : at + size] for at in range(0, len(sealed), size)]
        weight = sum([_BATCH_BYTES if isinstance(put.value, Pieces) else len(put.value) for put in puts])
        batch = _batch_for(batches, spot.bucket, BATCH, spot.markers, values, weight)
        batch.add(_Part(claim, spot, guards, puts, deletes, lease), spot.markers, values, weight)
        if len(batches) > 1 and len(self.layout.buckets) == 1:
            yield [batches.pop(0)]
    yield from _rounds(self, batches)


def _batch_for(
    batches: list[_Batch],
    bucket: str,
    limit: int,
    names: list[str],
    values: Sequence[bytes | None],
    size: int = 0,
) -> _Batch:
    """The last batch that takes one more of a bucket, else a new one."""
    for batch in reversed(batches):
        if batch.limit == limit and batch.takes(bucket, names, values, size):
            return batch
        if batch.bucket == bucket and batch.limit == limit:
            break
    batches.append(_Batch(bucket, limit))
    return batches[-1]


def _rounds(self: BatchingStore, batches: list[_Batch]) -> Iterator[list[_Batch]]:
    """What is asked at the same time: all buckets of a cluster, one script of a single server."""
    if len(self.layout.buckets) > 1 and batches:
        yield batches
    else:
        yield from ([batch] for batch in batches)


def _transaction(
    batch: _Batch,
    parts: Sequence[_Part],
    made: Sequence[Put] = (),
    *,
    members: Sequence[tuple[str, str]] = (),
    publish: str | None = None,
) -> Call:
    guards = [Guard(key, value) for key, value in batch.markers.items()]
    guards += [guard for part in parts for guard in part.guards]
    puts = [*made, *(put for part in parts for put in part.puts)]
    deletes = [key for part in parts for key in part.deletes]
    more: dict[str, Any] = {"members": members} if members else {}
    if publish is not None:
        more["publish"] = publish
    return "transact", (guards, puts, deletes), more


def _unhindered(parts: Sequence[_Part], values: Sequence[bytes | None]) -> list[_Part]:
    """The parts whose own guards hold, by the values found at the guards of all."""
    free, at = [], 0
    for part in parts:
        if all(map(holds, part.guards, values[at : at + len(part.guards)])):
            free.append(part)
        at += len(part.guards)
    return free


def _forget(self: BatchingStore, parts: Sequence[_Part]) -> None:
    """Have these leases kept alive no longer."""
    for part in parts:
        if part.lease.held is not None:
            self.keeper.forget(part.lease.held)
