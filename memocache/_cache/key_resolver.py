"""Key resolution: what a key that a user gives leads to.

A user's key is a plain key, any text; a text that reads as an entry's full key of this cache (as `Cache.keys` gives
them) also finds that entry. Everything that looks at entries by their keys asks here: one read for any number of
entries and their markers. It promises no counting, and knows nothing of functions and calls.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any, NamedTuple

from memocache._calls.call_key import Places
from memocache._runtime.budget import DIRECT_SECONDS, Budget
from memocache._runtime.effects import Effect, Io
from memocache._stores.entry import Place, Table
from memocache._stores.memory.tier import LocalTier
from memocache._stores.remote import envelope as _envelope
from memocache._stores.remote.envelope import Envelope
from memocache._stores.remote.guard import BackendGuard
from memocache._stores.remote.keyspace import unescape
from memocache._stores.remote.store import SharedStore
from memocache._stores.store import Address, Found, Store
from memocache.exceptions import DecodeError

S = Generator[Effect, Any, Any]


class Resolved(NamedTuple):
    """Where a key leads: the address, the store that has it, what was found there, and its envelope in a backend."""

    address: Address
    store: Store
    found: Found
    envelope: Envelope | None


Values = list[bytes | None]
"""What stands at an entry of the backend, and then at each of its markers."""


class KeyResolver:
    """Finds, in one cache, what keys lead to."""

    def __init__(self, places: Places, guard: BackendGuard | None) -> None:
        self.places = places
        self.guard = guard
        self.tier: LocalTier = places.tier
        self.plain: Table = places.tier.table("", b"")
        self.shared: SharedStore | None = places.shared if isinstance(places.shared, SharedStore) else None

    def ask(self, operation: str, *args: Any, **kwargs: Any) -> Io:
        """The effect of asking the backend, as a direct call may: for up to 5 s."""
        assert self.guard is not None
        return self.guard.io(operation, *args, budget=Budget(DIRECT_SECONDS), **kwargs)

    # -- addresses

    @property
    def store(self) -> Store:
        """Where plain keys are kept."""
        return self.shared or self.places.local

    def plain_address(self, key: str, tags: tuple[str, ...] = ()) -> Address:
        """The address of a plain key. Raises `TypeError`."""
        if not isinstance(key, str):
            raise TypeError(f"key takes a str, not {type(key).__name__}")
        return Address(self.plain, key, "", key, tags, budget=Budget(DIRECT_SECONDS))

    def entry_address(self, key: str) -> Address | None:
        """The address of an entry by its full key, or None for a text that is none."""
        parsed = self.places.layout.parse(key)
        if parsed is None or parsed[0] != "e":
            return None
        escaped, _, digest = parsed[2].partition(":")
        name = unescape(escaped)
        for table in self.tier.tables(name):
            # the newest first: a class that a reload replaced has entries of its own, under the same name
            for held in reversed(list(table.entries.values())):
                if self.digest_of(table.place, held.key) == digest:
                    tags = ()
                    return Address(table, held.key, name, digest, tags, budget=Budget(DIRECT_SECONDS))
        return Address(self.plain, None, name, digest, budget=Budget(DIRECT_SECONDS))

    def backend_address(self, key: str) -> Address | None:
        """The address of an entry in the backend by its full key there, plain or a function's; None for other keys."""
        parsed = self.places.layout.parse(key)
        if parsed is None or parsed[0] not in "ek":
            return None
        kind, _, rest = parsed
        name, _, digest = rest.partition(":")
        name, digest = (unescape(name), digest) if kind == "e" else ("", unescape(rest))
        return Address(self.plain, None, name, digest, budget=Budget(DIRECT_SECONDS))

    def digest_of(self, place: Place, key: Any) -> str:
        """The digest of an entry that the process holds, or held, in the table of a place."""
        return key if isinstance(key, str) else place.digest(key)

    # -- finding

    def find(self, key: str, values: Sequence[bytes | None] | None = None) -> Generator[Effect, Any, Resolved]:
        """What a key leads to: a plain entry first, then the entry whose full key it is.

        `values` stand at the plain entry and its markers in the backend, where that was asked before.
        """
        for address in (self.plain_address(key), self.entry_address(key)):
            if address is None:
                continue
            stores: list[Store] = (
                [self.places.local] if address.key is not None and (address.name or not self.shared) else []
            )
            if self.shared is not None:
                stores.append(self.shared)
            for store in stores:
                found, envelope = yield from self.look(address, store, values)
                if found.load is not None and found.now < max(found.expires, found.stale_until):
                    return Resolved(address, store, found, envelope)
            values = None
        return Resolved(self.plain_address(key), self.store, Found(), None)

    def look(
        self, address: Address, store: Store, values: Sequence[bytes | None] | None = None
    ) -> Generator[Effect, Any, tuple[Found, Envelope | None]]:
        """Look up an entry whose tags only the entry itself knows; copies in the process are passed by."""
        if store is not self.shared or self.shared is None:
            return (yield from store.look(address)), None
        spot = self.shared.spot(address)
        expected = self.shared.expect(address)
        seen: Sequence[bytes | None] = values or (yield self.ask("read", [spot.entry, *spot.markers]))
        found, envelope = yield from self.judge(address, seen)
        if not address.tags:  # what has tags depends on more than was expected
            self.shared.keep_when_loaded(address, found, expected)
        return found, envelope

    def read(self, addresses: Iterable[Address]) -> Generator[Effect, Any, list[Values]]:
        """What stands at each of these addresses in the backend: one read for all entries and their markers."""
        assert self.shared is not None
        spots = [self.shared.spot(address) for address in addresses]
        # one marker serves many entries
        names = list(dict.fromkeys([*(spot.entry for spot in spots), *(one for spot in spots for one in spot.markers)]))
        replies = yield self.ask("read", names)
        known: dict[str, bytes | None] = dict(zip(names, replies, strict=True))
        return [[known[spot.entry], *(known[marker] for marker in spot.markers)] for spot in spots]

    def judge(
        self, address: Address, values: Sequence[bytes | None]
    ) -> Generator[Effect, Any, tuple[Found, Envelope | None]]:
        """Judge an entry's bytes beside its markers; an entry with tags has more of them, which are read first."""
        assert self.shared is not None
        raw = values[0]
        if raw is None:
            return Found(), None
        try:
            envelope = _envelope.unpack(raw)
        except DecodeError:
            # A hit does not look at version and tags and may be served where those are damaged; here it is not there.
            return Found(self.shared.read(address, self.shared.spot(address), values).seen), None
        if envelope.tag_hashes and not address.tags:
            address.tags = tags_of(envelope)
            address.spot = None
            spot = self.shared.spot(address)
            values = yield self.ask("read", [spot.entry, *spot.markers])
            return (yield from self.judge(address, values))  # whatever stands there by now: that is what is checked
        return self.shared.read(address, self.shared.spot(address), values), envelope


def tags_of(envelope: Envelope) -> tuple[str, ...]:
    """The hashes of the tags of an entry."""
    size, hashes = _envelope.TAG_HASH_BYTES, envelope.tag_hashes
    return tuple(hashes[i : i + size].hex() for i in range(0, len(hashes), size))
