"""Entries that no other process can name, held in this process beside a shared backend.

They are those of methods whose `self` has no value, and of closures over such objects. Each look-up compares the
function's markers in the backend, so that an invalidation from elsewhere reaches them.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from memocache._runtime.effects import Effect
from memocache._runtime.singleflight import Flight, Flights
from memocache._stores.memory.store import LocalLease, LocalStore
from memocache._stores.memory.tier import LocalTier
from memocache._stores.remote.store import SharedStore
from memocache._stores.store import Address, Found, Record
from memocache.codecs.codec import Codec
from memocache.stats import INVALIDATED


class ProcessBoundStore(LocalStore):
    """Outcomes in this process that agree with the markers of a shared backend."""

    def __init__(self, tier: LocalTier, flights: Flights, codec: Codec, shared: SharedStore) -> None:
        super().__init__(tier, flights, codec)
        self._shared = shared

    @property
    def cut_off(self) -> bool:
        """Whether the backend with the markers is left alone after failures."""
        return self._shared.cut_off

    def look(self, address: Address) -> Generator[Effect, Any, Found]:
        """Find what is kept at `address`, if the backend's markers are those it was computed under."""
        entry = self.tier.find(address.table, address.key)
        if entry is not None:
            generations = yield from self._shared.generations(address)
            if entry.sealed != generations:
                return Found(entry, cause=INVALIDATED)
        return self.found(address, entry)

    def begin(
        self, address: Address, found: Found, flight: Flight, *, patient: float | None, force: bool = False
    ) -> Generator[Effect, Any, LocalLease | Found | None]:
        """As in the process, with the backend's markers read (and made) before computing."""
        local = yield from super().begin(address, found, flight, patient=patient, force=force)
        if not isinstance(local, LocalLease):
            return local
        return LocalLease(local.marks, (yield from self._shared.ensure_generations(address)))

    def commit(
        self, address: Address, lease: LocalLease, record: Record | None, flight: Flight
    ) -> Generator[Effect, Any, bool]:
        """As in the process, if the backend's markers still are those that the computation began under."""
        generations = yield from self._shared.generations(address)
        if generations != lease.generations:
            return False
        return (yield from super().commit(address, lease, record, flight))

    def stands(self, address: Address, lease: LocalLease, flight: Flight) -> Generator[Effect, Any, bool]:
        """As in the process, if the backend's markers still are those that the computation began under."""
        generations = yield from self._shared.generations(address)
        if generations != lease.generations:
            return False
        return (yield from super().stands(address, lease, flight))

    def put(self, address: Address, record: Record) -> Generator[Effect, Any, None]:
        """Hold the record under the markers of now."""
        generations = yield from self._shared.ensure_generations(address)
        with self.tier.lock:
            self.flights.void(address.flight_key)
            marks = self.tier.marks(address.name, address.tags)
            self._hold(address, record, LocalLease(marks, generations), None)
        self.tier.release()
