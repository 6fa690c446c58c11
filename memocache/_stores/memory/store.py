"""The process as a store: entries held as objects in the `LocalTier`.

No step of it waits for anything. It serves ``memory://`` alone; `ProcessBoundStore` builds on it for what stays in the
process beside a shared backend.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from math import inf
from typing import Any, NamedTuple, NoReturn

from memocache._runtime.effects import Effect
from memocache._runtime.generations import Mark
from memocache._runtime.outcome import Outcome
from memocache._runtime.singleflight import Flight, Flights
from memocache._stores.entry import Entry
from memocache._stores.memory.tier import LocalTier
from memocache._stores.store import Address, Found, Record, Unstorable
from memocache.codecs import single_use
from memocache.codecs.codec import Codec
from memocache.codecs.copying import copier
from memocache.exceptions import EncodeError


class LocalLease(NamedTuple):
    """The marks read before computing, and the backend's generations where there are any."""

    marks: tuple[Mark, ...]
    generations: bytes | None = None


class RaiseAgain:
    """The `thaw` of a remembered error: raises it afresh."""

    __slots__ = ("_decode",)

    def __init__(self, decode: Callable[[bytes], Exception]) -> None:
        self._decode = decode

    def __call__(self, payload: bytes) -> NoReturn:
        raise self._decode(payload)


class LocalStore:
    """Outcomes in this process; see `memocache._stores.store.Store` for what the methods promise."""

    def __init__(self, tier: LocalTier, flights: Flights, codec: Codec) -> None:
        self.tier = tier
        self.flights = flights
        self.codec = codec
        self._raise_again = RaiseAgain(codec.decode_error)

    def look(self, address: Address) -> Generator[Effect, Any, Found]:
        """Find what is kept at `address`."""
        return self.found(address, self.tier.find(address.table, address.key))
        yield  # a generator without effects

    def found(self, address: Address, entry: Entry | None) -> Found:
        """What an entry of the table comes to."""
        if entry is None:
            return Found()
        expires = entry.expires
        is_error = entry.thaw is self._raise_again
        stale = 0.0 if is_error else address.table.stale
        return Found(
            entry,
            self.tier.clock.monotonic(),
            expires,
            expires + stale,
            entry.compute,
            partial(self._load, entry),
            is_error,
        )

    def touch(self, address: Address, found: Found) -> None:
        """Count a hit on what was found."""
        found.seen.touch(found.now)

    def _load(self, entry: Entry) -> Outcome:
        if entry.thaw is None:
            return Outcome(entry.value)
        if entry.thaw is self._raise_again:
            return Outcome(None, self.codec.decode_error(entry.value))
        return Outcome(entry.thaw(entry.value))

    @property
    def cut_off(self) -> bool:
        """There is no backend here to be cut off from."""
        return False

    def begin(
        self, address: Address, found: Found, flight: Flight, *, patient: float | None, force: bool = False
    ) -> Generator[Effect, Any, LocalLease | Found | None]:
        """The flight is the only right there is; but somebody may have stored since `found`."""
        if not force:
            entry = self.tier.find(address.table, address.key)
            if entry is not None and entry is not found.seen:
                return self.found(address, entry)
        return LocalLease(flight.marks)
        yield  # a generator without effects

    def commit(
        self, address: Address, lease: LocalLease, record: Record | None, flight: Flight
    ) -> Generator[Effect, Any, bool]:
        """Hold the record unless the flight or a mark of it was voided."""
        if record is None:
            return not flight.void and all(mark.alive for mark in flight.marks)
        return self._hold(address, record, lease, lambda: flight.void)
        yield  # a generator without effects

    def stands(self, address: Address, lease: LocalLease, flight: Flight) -> Generator[Effect, Any, bool]:
        """Whether neither the flight nor a mark of it was voided."""
        return not flight.void and all(mark.alive for mark in lease.marks)
        yield  # a generator without effects

    def give_up(self, lease: LocalLease) -> None:
        """Nothing to let go of."""

    def put(self, address: Address, record: Record) -> Generator[Effect, Any, None]:
        """Hold the record, voiding the flights of this address."""
        with self.tier.lock:
            self.flights.void(address.flight_key)
            self._hold(address, record, LocalLease(self.tier.marks(address.name, address.tags)), None)
        self.tier.release()
        return
        yield  # a generator without effects

    def replace(
        self, address: Address, record: Record, found: Found, expires: float | None = None
    ) -> Generator[Effect, Any, bool]:
        """Hold the record if `found` is what the table has."""
        with self.tier.lock:
            unchanged = self.tier.find(address.table, address.key) is found.seen
            if unchanged:
                self.flights.void(address.flight_key)
                self._hold(address, record, LocalLease(self.tier.marks(address.name, address.tags)), None)
                if expires is not None and expires != inf:
                    address.table.entries[address.key].fresh_until = expires
        self.tier.release()
        return unchanged
        yield  # a generator without effects

    add = replace

    def forget(self, address: Address) -> Generator[Effect, Any, bool]:
        """Remove the entry and void its flights."""
        with self.tier.lock:
            self.flights.void(address.flight_key)
            there = self.tier.find(address.table, address.key) is not None
            for table in self.tier.alike(address.table):
                self.tier.discard(table, address.key)
        self.tier.release()
        return there
        yield  # a generator without effects

    def _hold(self, address: Address, record: Record, lease: LocalLease, unless: Callable[[], bool] | None) -> bool:
        value, thaw = self._freeze(record)
        return self.tier.put(
            address.table,
            address.key,
            value,
            thaw,
            ttl=record.ttl,
            compute=record.compute_seconds,
            marks=lease.marks,
            sealed=lease.generations,
            tokens=address.tokens,
            tags=record.tags,
            idle=record.idle,
            unless=unless,
        )

    def _freeze(self, record: Record) -> tuple[Any, Callable[[Any], Any] | None]:
        value, error, _ = record.outcome
        if error is not None:
            try:
                return self.codec.encode_error(error), self._raise_again
            except EncodeError as refused:
                raise Unstorable("unencodable", str(refused)) from None
        try:
            return freezer(self.codec, record.share)(value, told=record.told)
        except EncodeError as refused:
            raise Unstorable("unencodable", str(refused)) from None


def freezer(codec: Codec, share: bool) -> Callable[..., tuple[Any, Callable[[Any], Any] | None]]:
    """What makes of a value (and of whom to tell) what the process holds for it, as `copier`; with `share` it is the
    value itself. Raises `EncodeError`.
    """
    return _shared if share else partial(copier, codec=codec)


def _shared(value: Any, told: Callable[[str], None] | None) -> tuple[Any, None]:
    single_use.refuse_single_use(value)
    return value, None
