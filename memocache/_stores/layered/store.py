"""A shared backend behind a near tier: `SharedStore`, with copies of what was read held in the process.

Only what a look-up found fresh is copied. What this process writes goes to the backend first, as ever, and the guard
tells the near tier of it like anybody else's change, so it is seen at once here.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from memocache._runtime.effects import Effect
from memocache._runtime.generations import Mark
from memocache._runtime.outcome import Outcome
from memocache._runtime.singleflight import Flight
from memocache._stores.entry import Entry, Table
from memocache._stores.layered.near_cache import Copies, NearTier
from memocache._stores.memory.tier import LocalTier
from memocache._stores.remote.lease import SharedLease
from memocache._stores.remote.sliding_expiry import lateness
from memocache._stores.remote.store import SharedStore
from memocache._stores.store import Address, Found
from memocache.codecs.copying import copier
from memocache.exceptions import EncodeError
from memocache.typing import MISSING

Expected = tuple[tuple[Mark, ...], float]


class NearFound(Found):
    """Found in the near tier, in `entry`."""

    __slots__ = ("entry",)
    entry: Entry


class TieredStore(SharedStore):
    """As `SharedStore`, with `near` in front; `tier` is the process's, whose tables the addresses name."""

    tiered = True

    def __init__(self, *args: Any, near: NearTier, tier: LocalTier, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.near = near
        self._tier = tier
        tier.near = near

    def beside(self, table: Table) -> Table:
        """The table of the copies of what `table`'s addresses name."""
        beside = table.beside
        if beside is None:
            with self._tier.lock:
                beside = table.beside
                if beside is None:
                    bound = MISSING if table.pool is self._tier.pool else table.pool.capacity
                    # an identity that nothing has after it; an `id` would be used again
                    beside = self.near.table(table.name, object(), maxsize=bound)
                    beside.counters = table.counters
                    table.beside = table.place.beside = beside
        return beside

    def copies(self, table: Table) -> Copies:
        """The copies of `table` as the compiled look-up reads them."""
        return Copies(self.near, self.beside(table))

    def near_outcome(self, address: Address) -> Outcome | None:
        """The copy of what is at `address`, counted as a hit on it; None: ask the backend."""
        entry = self.held(address)
        if entry is None:
            return None
        entry.touch(self.near.clock.monotonic())
        return _load(entry)

    def held(self, address: Address) -> Entry | None:
        """The copy of what is at `address`, if it may be served."""
        self.near.watch(self.guard.backend)
        if address.key is None or not self.near.trusted():
            return None
        return self.near.find(self.beside(address.table), address.key)

    def look(self, address: Address) -> Generator[Effect, Any, Found]:
        """What is held here, else what the backend has, of which a copy is held once it is loaded."""
        entry = self.held(address)
        if entry is not None:
            near = self._found(entry)
            if near.now < near.expires:  # else it was removed this moment
                return near
        expected = self.expect(address)
        found = yield from super().look(address)
        self.keep_when_loaded(address, found, expected)
        return found

    def begin(
        self, address: Address, found: Found, flight: Flight, *, patient: float | None, force: bool = False
    ) -> Generator[Effect, Any, SharedLease | Found | None]:
        """As `SharedStore.begin`: a copy (to be refreshed early) does not say what stands in the backend."""
        if type(found) is NearFound:
            found = yield from super().look(address)
        return (yield from super().begin(address, found, flight, patient=patient, force=force))

    def touch(self, address: Address, found: Found) -> None:
        """Have the hit counted, where it was found."""
        if type(found) is NearFound:
            found.entry.touch(self.near.clock.monotonic())
        else:
            super().touch(address, found)

    def _found(self, entry: Entry) -> NearFound:
        now = self.clock.time()
        expires = now + entry.fresh_until - self.near.clock.monotonic()
        found = NearFound(None, now, expires, expires, entry.compute, partial(_load, entry))
        found.entry = entry
        return found

    def expect(self, address: Address) -> Expected | None:
        """Announce a look-up of `address`, so that what it finds may be kept; None: it may not."""
        if address.key is None:
            return None
        spot = self.spot(address)
        return self.near.expect(address.name, spot.markers, spot.entry)

    def keep_when_loaded(self, address: Address, found: Found, expected: Any) -> None:
        """Have a copy made of what was found fresh, when it is loaded."""
        if expected is not None and found.load is not None and found.now < found.expires and not found.is_error:
            left = found.expires - found.now
            if address.table.idle:  # reads of a copy are not noted, so it ends before they would be missed
                left = min(left, lateness(address.table.idle))
            found.load = partial(self._load_and_keep, address, expected, found.load, left, found.compute_seconds)

    def _load_and_keep(
        self, address: Address, expected: Expected, load: Callable[[], Outcome], left: float, compute: float
    ) -> Outcome:
        outcome = load()
        self.keep(address, expected, outcome, left, compute)
        return outcome

    def keep(self, address: Address, expected: Any, outcome: Outcome, left: float, compute: float) -> None:
        """Hold a copy of an outcome that is fresh for `left` seconds."""
        try:
            value, thaw = copier(outcome.value, self.codec)
        except EncodeError:
            return
        self.near.keep(expected, self.beside(address.table), address.key, value, thaw, ttl=left, compute=compute)


def _load(entry: Entry) -> Outcome:
    return Outcome(entry.value if entry.thaw is None else entry.thaw(entry.value))
