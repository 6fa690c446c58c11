"""Leases and witnesses: the right to compute a key, and the right to store its outcome, over ``transact``.

Theory: docs/architecture.md; Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013, section 3.2.1.

1. A computation of a key needs a *witness*: a token that is created when there is none, adopted when there is one, and
   deleted by whoever stores or invalidates. A store needs the witness unchanged and the markers unchanged: one atomic
   `transact`.
2. The *lease* is exclusivity alone. It dies with its holder (10 s after the last sign of life), and its loss costs
   one more computation, never a store: the slow holder still has its witness.
3. `begin` is one compare-and-set from the state that the look-up saw; when it fails it is told the state that is.

The functions are methods of `memocache._stores.remote.store.SharedStore`; they know no envelope.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Protocol

from memocache._runtime.effects import Steps, Wait
from memocache._runtime.singleflight import LEADING, Flight, Signal, waits_for
from memocache._stores.remote.guard import BackendGuard
from memocache._stores.remote.keyspace import Spot
from memocache._stores.remote.lease_heartbeat import Keeper, mint
from memocache._stores.store import Address, Found, Record
from memocache.typing import Guard, Put

LEASE_SECONDS = 10.0
WITNESS_SECONDS = 3600
POLL_SECONDS = 0.05
POLL_WITH_MESSAGES = 0.5
_ATTEMPTS = 16


class SharedLease:
    """A witness to store under, the generations to seal, and the lease held meanwhile (None: none)."""

    __slots__ = ("__weakref__", "generations", "held", "spot", "token")

    def __init__(self, spot: Spot, token: bytes, generations: bytes, held: bytes | None) -> None:
        self.spot = spot
        self.token = token
        self.generations = generations
        self.held = held


class LeasingStore(Protocol):
    """The store that leases are of."""

    guard: BackendGuard
    keeper: Keeper

    def spot(self, address: Address) -> Spot:
        """The backend's names of an address."""
        ...

    def look(self, address: Address) -> Steps[Found]:
        """Find what is kept at an address."""
        ...

    def read(self, address: Address, spot: Spot, values: Sequence[bytes | None]) -> Found:
        """Judge an entry beside its markers."""
        ...

    def markers_seen(self, spot: Spot, markers: Sequence[bytes | None]) -> tuple[list[Guard], list[Put], bytes]:
        """Guards for the markers as seen, puts for those missing, and the generations that result."""
        ...

    def sealed_guards(self, spot: Spot, generations: bytes) -> list[Guard]:
        """Guards for the generations that an outcome was computed under."""
        ...

    def put_of(self, address: Address, spot: Spot, record: Record, generations: bytes) -> Put:
        """The put that stores a record. Raises `Unstorable`."""
        ...


def begin(
    self: LeasingStore, address: Address, found: Found, flight: Flight, *, patient: float | None, force: bool = False
) -> Steps[SharedLease | Found | None]:
    """Create or adopt the witness and take the lease; see rules 1 and 3 of the module.

    With `patient` 0 the lease is left alone: the caller computes whoever else does.
    """
    lead = patient is None or patient > 0
    spot = self.spot(address)
    head, markers = found.seen if found.seen is not None else (None, [None] * len(spot.markers))
    witness: bytes | None = None
    lease: bytes | None = None
    deadline = time.monotonic() + (patient or 0.0)
    for _ in range(_ATTEMPTS):
        marker_guards, puts, generations = self.markers_seen(spot, markers)
        guards = [Guard(spot.entry, head), *marker_guards, Guard(spot.witness, witness), Guard(spot.lease, lease)]
        token = witness if witness is not None and not force else os.urandom(8)
        held = mint() if lead else None
        if token is not witness:
            puts.append(Put(spot.witness, token, WITNESS_SECONDS * 1000))
        if held is not None:
            puts.append(Put(spot.lease, held + bytes(8) + generations, int(LEASE_SECONDS * 1000)))
        if force:
            guards = marker_guards
        elif not lead:
            guards.pop()
        granted = SharedLease(spot, token, generations, held)
        if held is not None:
            self.keeper.announce(held, flight)
        try:
            conflict = yield self.guard.io("transact", guards, puts, members=spot.members, budget=address.budget)
            if conflict is None:
                if held is not None:
                    self.keeper.hold(granted, spot.lease, held, generations, spot.channel, flight)
                return granted
        except BaseException:
            # cancelled, or the answer was lost: the lease may be ours, and nobody else would know
            if held is not None:
                self.keeper.let_go(spot.lease, held, spot.channel)
            raise
        if held is not None:
            self.keeper.forget(held)
        if force:
            markers = conflict
            continue
        now_found = self.read(address, spot, conflict[: 1 + len(spot.markers)])
        if now_found.seen[0] != head and now_found.now < now_found.expires:
            return now_found
        head, markers = now_found.seen
        witness = conflict[1 + len(markers)]
        lease = conflict[2 + len(markers)] if lead else None
        if lease is not None and lease[16:] == b"".join(m or b"" for m in markers):
            if patient is None:
                return None
            if not self.keeper.holds(lease):
                outcome = yield from _wait(self, address, spot, head, lease, deadline)
            elif (yield from _wait_here(self, lease, flight, deadline)):
                outcome = yield from self.look(address)
            else:
                lead = False
                continue
            if outcome.load is not None and outcome.now < outcome.expires:
                return outcome
            head, markers = outcome.seen
            if time.monotonic() >= deadline:
                lead = False
    return SharedLease(spot, b"", b"", None)


def stands(self: LeasingStore, address: Address, lease: SharedLease, flight: Flight) -> Steps[bool]:
    """Whether witness and markers still are those that the computation began under, in one round trip."""
    if not lease.token:
        return not flight.void
    spot = lease.spot
    witness, *markers = yield self.guard.io("read", [spot.witness, *spot.markers], budget=address.budget)
    return not flight.void and witness == lease.token and None not in markers and b"".join(markers) == lease.generations


def _wait_here(self: LeasingStore, lease: bytes, flight: Flight, deadline: float) -> Steps[bool]:
    """Wait for the flight of this process (of another cache's) that holds `lease`; whether it ended.

    A process never waits for its own lease as such: it would not see that the wait is circular. One whose flight
    has ended is about to be deleted, or taken over.
    """
    own, mine = self.keeper.holder(lease), (*LEADING.get(), flight)
    if own is None:
        return True
    if waits_for(own, mine):
        if own.claims is not None:
            yield from own.claims.dissolve()
        return own.ended
    for led in mine:
        led.blocked_on.append(own)
    try:
        ended = yield Wait(own.signal, max(0.0, deadline - time.monotonic()))
        return bool(ended)
    finally:
        for led in mine:
            if own in led.blocked_on:
                led.blocked_on.remove(own)


def _wait(
    self: LeasingStore, address: Address, spot: Spot, head: bytes | None, lease: bytes, deadline: float
) -> Steps[Found]:
    """Wait until the holder of `lease` stored, let go or died; return what is there then.

    A lease whose value has not changed for `LEASE_SECONDS` has a dead holder, whatever its expiry says.
    """
    signal = Signal()
    unsubscribe = self.guard.subscribe(spot.channel, signal.fire)
    pause = POLL_SECONDS if unsubscribe is None else POLL_WITH_MESSAGES
    last_sign = time.monotonic()
    try:
        while True:
            yield Wait(signal, max(0.0, min(pause, deadline - time.monotonic())))
            signal.clear()
            values = yield self.guard.io("read", [spot.entry, *spot.markers, spot.lease], budget=type(address.budget)())
            now = time.monotonic()
            found = self.read(address, spot, values[:-1])
            if found.seen[0] != head and found.now < found.expires:
                return found
            if values[-1] is None or values[-1][:8] != lease[:8] or now >= deadline:
                return found
            if values[-1] != lease:
                lease, last_sign = values[-1], now
            elif now - last_sign >= LEASE_SECONDS:
                yield self.guard.io("transact", [Guard(spot.lease, lease)], (), [spot.lease], budget=address.budget)
                return found
    finally:
        if unsubscribe is not None:
            unsubscribe()


def commit(
    self: LeasingStore, address: Address, lease: SharedLease, record: Record | None, flight: Flight
) -> Steps[bool]:
    """Store under the witness and the markers; wake who waits."""
    spot = lease.spot
    if not lease.token:
        return False  # `begin` never got in between others' changes: nothing validates it for anybody else
    puts = [] if record is None else [self.put_of(address, spot, record, lease.generations)]
    guards = [Guard(spot.witness, lease.token), *self.sealed_guards(spot, lease.generations)]
    deletes = [spot.witness]
    if lease.held is not None:
        guards.append(Guard(spot.lease, lease.held))
        deletes.append(spot.lease)
    conflict = yield self.guard.io("transact", guards, puts, deletes, publish=spot.channel, budget=address.budget)
    if conflict is not None and lease.held is not None and not (conflict[-1] or b"").startswith(lease.held):
        # the lease was lost to somebody slower or luckier: theirs stays, and this store needs only its witness
        conflict = yield self.guard.io(
            "transact", guards[:-1], puts, [spot.witness], publish=spot.channel, budget=address.budget
        )
    elif conflict is not None and lease.held is not None:
        self.keeper.let_go(spot.lease, lease.held, spot.channel)
    if lease.held is not None:
        self.keeper.forget(lease.held)
    return conflict is None


def give_up(self: LeasingStore, lease: SharedLease) -> None:
    """Let the keeper's thread delete the lease; the witness stays, so what was computed may still be stored."""
    held = lease.held
    if held is not None:
        self.keeper.let_go(lease.spot.lease, held, lease.spot.channel)
        self.keeper.forget(held)
        lease.held = None
