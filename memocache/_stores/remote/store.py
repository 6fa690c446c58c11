"""A shared backend as a store: generations, witnesses and leases over `read` and `transact`.

Theory (architecture 3 and architecture 4; Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013, section 3.2.1 for
leases):

1. Each function, tag and prefix has a random *marker*. A computation reads the markers before it runs and seals them
   into its envelope (*generations*); a hit compares. A missing marker means invalid, so invalidating is deleting it.
2. A computation of a key needs a *witness*: a token that is created when there is none, adopted when there is one,
   deleted by whoever stores or invalidates. A store needs the witness unchanged and the markers unchanged: one atomic
   `transact`.
3. The *lease* is exclusivity alone. It dies with its holder (10 s after the last sign of life), and its loss costs
   one more computation, never a store: the slow holder still has its witness.
4. `begin` is one compare-and-set from the state that the look-up saw; when it fails it is told the state that is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any

from memocache._runtime.budget import Budget
from memocache._runtime.effects import Effect, Wait
from memocache._runtime.outcome import Outcome
from memocache._runtime.singleflight import LEADING, Flight, Signal, waits_for
from memocache._stores.entry import Table
from memocache._stores.remote import envelope as _envelope
from memocache._stores.remote.compression import Compression
from memocache._stores.remote.envelope import echo_start, fresh_payload
from memocache._stores.remote.envelope_io import UNFIT, Shelf, milliseconds
from memocache._stores.remote.guard import Guard as BackendGuard
from memocache._stores.remote.keyspace import Layout, entry_rest, plain_rest
from memocache._stores.remote.lease_heartbeat import Keeper, mint
from memocache._stores.remote.signing import Sealer
from memocache._stores.remote.spots import Site, Spot
from memocache._stores.store import Address, Found, Record
from memocache.codecs.codec import Codec
from memocache.exceptions import DecodeError
from memocache.typing import Answer, Clock, Guard, Put

LEASE_SECONDS = 10.0
WITNESS_SECONDS = 3600
TAG_MARKER_SECONDS = 30 * 86_400
POLL_SECONDS = 0.05
POLL_WITH_MESSAGES = 0.5
_ATTEMPTS = 16
_NO_KEYWORDS: dict[str, Any] = {}


class SharedLease:
    """A witness to store under, the generations to seal, and the lease held meanwhile (None: none)."""

    __slots__ = ("__weakref__", "generations", "held", "spot", "token")

    def __init__(self, spot: Spot, token: bytes, generations: bytes, held: bytes | None) -> None:
        self.spot = spot
        self.token = token
        self.generations = generations
        self.held = held


class SharedStore(Shelf):
    """Outcomes in a backend that others share; see `memocache._stores.store.Store` for what the methods promise."""

    def __init__(
        self,
        guard: BackendGuard,
        layout: Layout,
        codec: Codec,
        clock: Clock,
        sealer: Sealer,
        compression: Compression,
        *,
        max_value_bytes: int,
        on_decode_error: Callable[[str], None],
        on_hits: Callable[[Sequence[str]], None],
        on_hit: Callable[[str, float], None],
    ) -> None:
        super().__init__(
            guard, codec, clock, sealer, compression, max_value_bytes=max_value_bytes, on_decode_error=on_decode_error
        )
        self.layout = layout
        self._on_hits, self._on_hit = on_hits, on_hit
        # of the backend's own class: a wrapper around it may have more to do
        backend: Any = guard.backend
        self._read_now = backend.read_now if hasattr(type(backend), "read_now") else _not_now
        self.read_soon, self.reads_soon = guard.read_soon, guard.reads_soon
        self._outcomes = guard.breaker.outcomes
        self._together: tuple[Any, bytes, float] = None, b"", 0.0
        self._time, self._decode = clock.time, codec.decode
        self.keeper = Keeper(guard, LEASE_SECONDS)
        self._sites: dict[tuple[str, str], Site] = {}

    # -- looking

    def spot(self, address: Address) -> Spot:
        """The backend's names of an address."""
        spot = address.spot
        if spot is None:
            name, digest = address.name, address.digest or ""
            last = digest if name else plain_rest(digest)
            spot = address.spot = Spot(self.site(name, last), last, address.tags)
        return spot  # type: ignore[no-any-return]  # Address keeps it untyped: only shared stores know spots

    def site(self, name: str, last: str) -> Site:
        """Where the entry of a function that ends in `last` (name "": the plain key) is, and others of its bucket."""
        bucket = ""
        if len(self.layout.buckets) > 1:
            bucket = self.layout.bucket(entry_rest(name, last) if name else last)
        site = self._sites.get((name, bucket))
        if site is None:
            site = self._sites[name, bucket] = Site(self.layout, name, bucket)
        return site

    def look(self, address: Address) -> Generator[Effect, Any, Found]:
        """Value and markers in one round trip."""
        spot = self.spot(address)
        values = yield self.guard.io("read", [spot.entry, *spot.markers], budget=address.budget)
        return self.read(address, spot, values)

    def look_now(self, entry: str, markers: Sequence[str], budget: Budget) -> tuple[Outcome | None, Any]:
        """As `look`, in this thread, for the hit path: a fresh outcome, if that is what there is, and the reply."""
        keys = [entry, *markers]
        # while nothing fails there is nothing to weigh, and what takes no time needs no deadline
        values = None if self._outcomes else self._read_now(keys)
        if values is None:
            values = self.guard.blocking("read", (keys,), _NO_KEYWORDS, budget)
        raw, key = values[0], entry.encode()
        if type(raw) is not bytes:
            return None, values
        try:
            start = _envelope.echo_start(b"".join(values[1:]), len(key))
        except TypeError:  # a marker is missing
            return None, values
        value = self.fresh(raw, start + key, self.clock.time())
        if value is UNFIT:
            return None, values
        # past the named tuple's own `__new__`, which is Python code
        return tuple.__new__(Outcome, (value, None, None)), values

    def glance(self, table: Table, answer: Answer) -> Any:
        """The value in an answer of `read_soon`, counted as a hit on an entry of `table`, if it is what most are: plain
        and fresh. `UNFIT` says nothing about what it is instead: ask `replied` and `read`.
        """
        if type(answer) is not tuple:
            return UNFIT
        entry, raw, marks = answer
        if type(raw) is not bytes:
            return UNFIT
        of, generations, now = self._together
        if of is not marks:  # once for all that were answered together
            if None in marks:
                return UNFIT
            generations, now = b"".join(marks), self._time()  # type: ignore[arg-type]  # none of them is None
            self._together = marks, generations, now
        key = entry.encode()
        # as in `fresh`, whose steps a hundred at once would feel
        payload = fresh_payload(raw, echo_start(generations, len(key)) + key, now)
        if payload is None or self.sealed or len(raw) > self.max_value_bytes:
            return UNFIT
        try:
            value = self._decode(payload)
        except DecodeError:
            return UNFIT
        table.counters.hits += 1
        self._on_hit(entry, now)
        if self._outcomes:
            self.guard.breaker.succeeded(time.monotonic())
        return value

    def replied(self, answer: Answer, budget: Budget) -> Sequence[bytes | None]:
        """An answer of `read_soon` as of `Backend.read`. Raises `BackendError`, as the guard does."""
        if isinstance(answer, Exception):
            self.guard.failed("read", answer, budget, time.monotonic())
        self.guard.breaker.succeeded(time.monotonic())
        _, raw, marks = answer
        return [raw, *marks]

    def touch(self, address: Address, found: Found) -> None:
        """Count a hit on what was found."""
        self.touch_all(address.table, (address.spot.entry,))

    def touch_all(self, table: Table, entries: Sequence[str]) -> None:
        """Count a hit on each of these entries of a function."""
        hits = len(entries)
        table.counters.hits += hits  # in this order: no call between reading and writing
        self._on_hits(entries)

    # -- copies in the process: there are none here, `memocache._stores.layered.store` has them

    tiered = False

    def near_outcome(self, address: Address) -> Outcome | None:
        """The copy of what is at `address`, counted as a hit on it; None: ask the backend."""
        return None

    def expect(self, address: Address) -> Any:
        """Announce a look-up of `address`, so that what it finds may be kept; None: it may not."""
        return None

    def keep_when_loaded(self, address: Address, found: Found, expected: Any) -> None:
        """Have a copy made of what was found fresh, when it is loaded."""

    # -- generations

    def generations(self, address: Address) -> Generator[Effect, Any, bytes | None]:
        """The markers of an address as they stand, or None if one is missing."""
        markers = yield self.guard.io("read", self.spot(address).markers, budget=address.budget)
        return None if None in markers else b"".join(markers)

    def ensure_generations(self, address: Address) -> Generator[Effect, Any, bytes]:
        """The markers of an address, made where there is none."""
        spot = self.spot(address)
        markers = yield self.guard.io("read", spot.markers, budget=address.budget)
        while None in markers:
            guards, puts, generations = self._markers(spot, markers)
            members = spot.members
            conflict = yield self.guard.io("transact", guards, puts, members=members, budget=address.budget)
            if conflict is None:
                return generations
            markers = conflict
        return b"".join(markers)

    def _markers(self, spot: Spot, markers: Sequence[bytes | None]) -> tuple[list[Guard], list[Put], bytes]:
        """Guards for the markers as seen, puts for those missing, and the generations that result."""
        guards = [Guard(key, value) for key, value in zip(spot.markers, markers, strict=True)]
        puts, generations = [], []
        tags_from = len(spot.members) + 1
        for index, (key, value) in enumerate(zip(spot.markers, markers, strict=True)):
            if value is None or len(value) != _envelope.MARKER_BYTES:
                value = os.urandom(_envelope.MARKER_BYTES)
                puts.append(Put(key, value, None if index < tags_from else TAG_MARKER_SECONDS * 1000))
            generations.append(value)
        return guards, puts, b"".join(generations)

    # -- computing

    def begin(
        self, address: Address, found: Found, flight: Flight, *, patient: float | None, force: bool = False
    ) -> Generator[Effect, Any, SharedLease | Found | None]:
        """Create or adopt the witness and take the lease; see rule 4 of the module.

        With `patient` 0 the lease is left alone: the caller computes whoever else does.
        """
        lead = patient is None or patient > 0
        spot = self.spot(address)
        head, markers = found.seen if found.seen is not None else (None, [None] * len(spot.markers))
        witness: bytes | None = None
        lease: bytes | None = None
        deadline = time.monotonic() + (patient or 0.0)
        for _ in range(_ATTEMPTS):
            marker_guards, puts, generations = self._markers(spot, markers)
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
                    outcome = yield from self._wait(address, spot, head, lease, deadline)
                elif (yield from self._wait_here(lease, flight, deadline)):
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

    def _wait_here(self, lease: bytes, flight: Flight, deadline: float) -> Generator[Effect, Any, bool]:
        """Wait for the flight of this process (of another cache's) that holds `lease`; whether it ended.

        A process never waits for its own lease as such: it would not see that the wait is circular. One whose flight
        has ended is about to be deleted, or taken over.
        """
        own, mine = self.keeper.holder(lease), (*LEADING.get(), flight)
        if own is None:
            return True
        if waits_for(own, mine):
            return False
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
        self, address: Address, spot: Spot, head: bytes | None, lease: bytes, deadline: float
    ) -> Generator[Effect, Any, Found]:
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
                values = yield self.guard.io(
                    "read", [spot.entry, *spot.markers, spot.lease], budget=type(address.budget)()
                )
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
        self, address: Address, lease: SharedLease, record: Record | None, flight: Flight
    ) -> Generator[Effect, Any, bool]:
        """Store under the witness and the markers; wake who waits."""
        spot = lease.spot
        if not lease.token:
            return False  # `begin` never got in between others' changes: nothing validates it for anybody else
        puts = [] if record is None else [self._put(address, spot, record, lease.generations)]
        guards = [Guard(spot.witness, lease.token), *self._sealed(spot, lease.generations)]
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

    def give_up(self, lease: SharedLease) -> None:
        """Let the keeper's thread delete the lease."""
        if lease.held is not None:
            self.keeper.forget(lease.held)
            self.keeper.let_go(lease.spot.lease, lease.held, lease.spot.channel)

    def put(self, address: Address, record: Record) -> Generator[Effect, Any, None]:
        """Store whatever is there; computations from before lose their witness."""
        spot = self.spot(address)
        self._put(address, spot, record, b"")  # refuses what cannot be stored before anything is sent
        markers: Sequence[bytes | None] = yield self.guard.io("read", spot.markers, budget=address.budget)
        while True:
            guards, puts, generations = self._markers(spot, markers)
            puts.append(self._put(address, spot, record, generations))
            conflict = yield self.guard.io(
                "transact",
                guards,
                puts,
                [spot.witness, spot.lease],
                members=spot.members if len(puts) > 1 else (),
                publish=spot.channel,
                budget=address.budget,
            )
            if conflict is None:
                return
            markers = conflict

    def put_many(self, records: Sequence[tuple[Address, Record]]) -> Generator[Effect, Any, None]:
        """Store plain records that have the same tags: one look at the markers and one transaction a bucket."""
        buckets: dict[str, list[tuple[Address, Record]]] = {}
        for address, record in records:
            buckets.setdefault(self.spot(address).bucket, []).append((address, record))
        if not buckets:
            return
        batches = list(buckets.values())
        budget = records[0][0].budget
        reads = [("read", (self.spot(batch[0][0]).markers,), _NO_KEYWORDS) for batch in batches]
        markers = yield from self.guard.each(reads, budget=budget)
        while batches:
            writes = []
            for batch, standing in zip(batches, markers, strict=True):
                spots = [self.spot(address) for address, _ in batch]
                guards, puts, generations = self._markers(spots[0], standing)
                puts += [
                    self._put(address, spot, record, generations)
                    for (address, record), spot in zip(batch, spots, strict=True)
                ]
                doomed = [name for spot in spots for name in (spot.witness, spot.lease)]
                writes.append(("transact", (guards, puts, doomed), _NO_KEYWORDS))
            conflicts = yield from self.guard.each(writes, budget=budget)
            batches = [batch for batch, conflict in zip(batches, conflicts, strict=True) if conflict is not None]
            markers = [conflict for conflict in conflicts if conflict is not None]

    def expire(self, address: Address, found: Found, seconds: float) -> Generator[Effect, Any, bool]:
        """Give what was found another ttl from now; False if it changed meanwhile."""
        spot = self.spot(address)
        raw = (yield self.guard.io("read", [spot.entry], budget=address.budget))[0]
        head = found.seen[0]
        if raw is None or raw[: len(head)] != head:
            return False
        try:
            envelope = self._check(raw, spot)  # what was found may have been changed since: it is not ours to sign
        except DecodeError:
            return False
        expires = self.clock.time() + seconds
        changed = envelope._replace(expires_at=expires, stale_until=expires, store_id=os.urandom(8))
        put = Put(spot.entry, self.sealer.write(changed), milliseconds(seconds))
        conflict = yield self.guard.io("transact", [Guard(spot.entry, head)], [put], budget=address.budget)
        return conflict is None

    def forget(self, address: Address) -> Generator[Effect, Any, bool]:
        """Remove entry, witness and lease in one command."""
        spot = self.spot(address)
        found = yield from self.look(address)
        yield self.guard.io("delete", [spot.entry, spot.witness, spot.lease], budget=address.budget)
        return found.load is not None

    def _sealed(self, spot: Spot, generations: bytes) -> list[Guard]:
        size = _envelope.MARKER_BYTES
        return [Guard(key, generations[i * size : (i + 1) * size]) for i, key in enumerate(spot.markers)]


def _not_now(keys: Sequence[str]) -> None:
    """The `read_now` of a backend that has none."""
