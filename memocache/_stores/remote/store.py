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
from collections.abc import Callable, Generator, Sequence
from typing import Any

from memocache._runtime.effects import Effect
from memocache._runtime.outcome import Outcome
from memocache._stores.entry import Table
from memocache._stores.remote import direct_write, fast_read, lease, lease_batch
from memocache._stores.remote import envelope as _envelope
from memocache._stores.remote.compression import Compression
from memocache._stores.remote.envelope_io import Shelf, milliseconds
from memocache._stores.remote.fast_read import HitLog
from memocache._stores.remote.guard import BackendGuard
from memocache._stores.remote.keyspace import Layout, Site, Spot, entry_rest, plain_rest
from memocache._stores.remote.lease_heartbeat import Keeper
from memocache._stores.remote.signing import Sealer
from memocache._stores.remote.sliding_expiry import Prolonger
from memocache._stores.store import Address, Found, Record
from memocache.codecs.codec import Codec
from memocache.exceptions import DecodeError
from memocache.typing import Clock, Guard, Put

TAG_MARKER_SECONDS = 30 * 86_400


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
        hits: HitLog,
    ) -> None:
        super().__init__(
            guard, codec, clock, sealer, compression, max_value_bytes=max_value_bytes, on_decode_error=on_decode_error
        )
        self.layout = layout
        self.hits = hits
        self.read_now = fast_read.read_now_of(guard.backend)
        self.read_soon, self.ask_soon = guard.read_soon, guard.ask_soon
        self.outcomes: Any = guard.breaker.outcomes
        self.gets = guard.operations.gets
        self.together: tuple[Any, bytes, float] = None, b"", 0.0
        self.touched_at = 0.0
        self.time: Callable[[], float] = clock.time
        self.decode: Callable[[Any], Any] = codec.decode
        self.keeper = Keeper(guard, lease.LEASE_SECONDS)
        self.prolonger = Prolonger(guard)
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

    look_now = fast_read.look_now
    glance = fast_read.glance
    replied = fast_read.replied

    def touch(self, address: Address, found: Found) -> None:
        """Count a hit on what was found."""
        entry = address.spot.entry
        self.touch_all(address.table, (entry,))
        if address.table.idle:
            self.prolonger.note(entry, address.table.idle, found.stale_until - found.now)

    def touch_all(self, table: Table, entries: Sequence[str]) -> None:
        """Count a hit on each of these entries of a function."""
        hits = len(entries)
        table.counters.hits += hits  # in this order: no call between reading and writing
        self.hits.touch(entries)

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
            guards, puts, generations = self.markers_seen(spot, markers)
            members = spot.members
            conflict = yield self.guard.io("transact", guards, puts, members=members, budget=address.budget)
            if conflict is None:
                return generations
            markers = conflict
        return b"".join(markers)

    def markers_seen(self, spot: Spot, markers: Sequence[bytes | None]) -> tuple[list[Guard], list[Put], bytes]:
        """Guards for the markers as seen, puts for those missing, and the generations that result."""
        guards = [Guard(key, value) for key, value in zip(spot.markers, markers, strict=True)]
        puts, generations = [], []
        tags_from = len(spot.members) + 1
        for index, (key, value) in enumerate(zip(spot.markers, markers, strict=True)):
            if value is None or len(value) != _envelope.MARKER_BYTES:
                puts.append(self.new_marker(key, of_tag=index >= tags_from))
                value = puts[-1].value
            generations.append(value)
        return guards, puts, b"".join(generations)

    def new_marker(self, key: str, *, of_tag: bool) -> Put:
        """The put that makes a marker."""
        return Put(key, os.urandom(_envelope.MARKER_BYTES), TAG_MARKER_SECONDS * 1000 if of_tag else None)

    # -- computing

    @property
    def cut_off(self) -> bool:
        """Whether the backend, or a node of it, is left alone after failures."""
        return self.guard.cut_off

    begin = lease.begin
    begin_many = lease_batch.begin_many
    commit = lease.commit
    commit_many = lease_batch.commit_many
    stands = lease.stands
    give_up = lease.give_up

    put = direct_write.put
    put_many = direct_write.put_many
    add = direct_write.add

    def replace(
        self, address: Address, record: Record, found: Found, expires: float | None = None
    ) -> Generator[Effect, Any, bool]:
        """Store if the entry, and the markers it was judged by, are as they were found: one compare-and-set."""
        spot = self.spot(address)
        head, markers = found.seen
        guards, puts, generations = self.markers_seen(spot, markers)
        puts.append(self.put_of(address, spot, record, generations, expires))
        conflict = yield self.guard.io(
            "transact",
            [Guard(spot.entry, head), *guards],
            puts,
            [spot.witness, spot.lease],
            members=spot.members if len(puts) > 1 else (),
            publish=spot.channel,
            budget=address.budget,
        )
        return conflict is None

    def expire(self, address: Address, found: Found, seconds: float) -> Generator[Effect, Any, bool]:
        """Give what was found another ttl from now; False if it changed meanwhile."""
        spot = self.spot(address)
        raw = (yield self.guard.io("read", [spot.entry], budget=address.budget))[0]
        head = found.seen[0]
        if raw is None or raw[: len(head)] != head:
            return False
        try:
            envelope = self.check(raw, spot)  # what was found may have been changed since: it is not ours to sign
        except DecodeError:
            return False
        expires = self.clock.time() + seconds
        changed = envelope._replace(expires_at=expires, stale_until=expires, store_id=os.urandom(8))
        put = Put(spot.entry, self.sealer.write(changed), milliseconds(seconds))
        guards = [Guard(spot.entry, head)]
        conflict = yield self.guard.io("transact", guards, [put], budget=address.budget, kind="expire")
        return conflict is None

    def forget(self, address: Address) -> Generator[Effect, Any, bool]:
        """Remove entry, witness and lease in one command, which tells whether one of them was there."""
        spot = self.spot(address)
        removed = yield self.guard.io("delete", [spot.entry, spot.witness, spot.lease], budget=address.budget)
        return bool(removed)

    def sealed_guards(self, spot: Spot, generations: bytes) -> list[Guard]:
        size = _envelope.MARKER_BYTES
        return [Guard(key, generations[i * size : (i + 1) * size]) for i, key in enumerate(spot.markers)]
