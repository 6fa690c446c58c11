"""Inspection: what is known about the entry of one key.

An entry in the backend tells it by its envelope, without decoding the value; one in the process by its record. It
promises to change nothing, and counts nothing.
"""

from __future__ import annotations

from memocache._cache.key_resolver import KeyResolver, S
from memocache._stores.entry import Entry
from memocache._stores.memory.sizeof import sizeof
from memocache._stores.memory.store import LocalStore
from memocache.stats import EntryInfo
from memocache.typing import MISSING


class Inspector:
    """Looks at the entries of one cache."""

    def __init__(self, resolver: KeyResolver) -> None:
        self.resolver = resolver
        self.places = resolver.places
        self.tier = resolver.tier

    def inspect(self, key: str) -> S:
        """What is known about one entry, or None; without its accesses in a backend, which statistics know."""
        address, _, found, envelope = yield from self.resolver.find(key)
        if found.load is None:
            return None
        name = address.name or None
        if envelope is not None:
            return EntryInfo(
                name,
                envelope.created_at,
                envelope.expires_at,
                0,
                None,
                envelope.version,
                len(envelope.payload),
                envelope.compute_seconds,
                envelope.tags,
            )
        entry: Entry = found.seen
        wall = self.tier.clock.time() - self.tier.clock.monotonic()
        options = next((user.bound()[1].function for user in entry.table.users), None)
        return EntryInfo(
            name,
            wall + entry.born,
            wall + entry.expires,
            entry.hits,
            None if entry.last is None else wall + entry.last,
            options.options.version if options else None,
            self._size(entry),
            entry.compute,
            entry.tags,
        )

    def _size(self, entry: Entry) -> int:
        """The bytes of a value: as it would be stored, or of the objects where it could not."""
        codec = self.places.local.codec if isinstance(self.places.local, LocalStore) else None
        try:
            assert codec is not None
            return len(codec.encode(entry.value if entry.thaw is None else entry.thaw(entry.value)))
        except Exception:  # unencodable, or a remembered error: its memory is what can be measured
            return sizeof(entry.value)

    def full_key(self, key: str) -> S:
        """The backend's key of what a user's key leads to, or None for what is held in the process."""
        address, store, found, _ = yield from self.resolver.find(key)
        shared = self.resolver.shared
        return None if found.load is None or shared is None or store is not shared else shared.spot(address).entry

    def value(self, key: str) -> S:
        """The value of a key, plain or an entry's, or MISSING (also for a remembered error); never counts. Raises
        `DecodeError`.
        """
        _, _, found, _ = yield from self.resolver.find(key)
        if found.load is None:
            return MISSING
        outcome = found.load()
        return MISSING if outcome.error is not None else outcome.value
