"""What a key that a user gives leads to, and which function names there are.

Keys that users give are plain keys, any text; a text that reads as an entry's key of this cache (as `Cache.keys` yields
them) also finds that entry.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from memocache._calls.call_key import Places
from memocache._calls.engine import Engine
from memocache._runtime.budget import DIRECT_SECONDS, Budget
from memocache._runtime.effects import Effect
from memocache._stores.entry import Table
from memocache._stores.memory.tier import LocalTier
from memocache._stores.remote import envelope as _envelope
from memocache._stores.remote.envelope import Envelope
from memocache._stores.remote.guard import Guard as BackendGuard
from memocache._stores.remote.keyspace import unescape
from memocache._stores.remote.store import SharedStore
from memocache._stores.store import Address, Found, Store
from memocache.exceptions import DecodeError

S = Generator[Effect, Any, Any]
GENESIS = "\x00genesis"
"""Member of the registry of names that only a rebuild adds: without it the registry may have been evicted."""


class Finder:
    """Finds, in one cache, what a user's key leads to."""

    def __init__(self, places: Places, engine: Engine, guard: BackendGuard | None) -> None:
        self.places = places
        self.engine = engine
        self.guard = guard
        self.tier: LocalTier = places.tier
        self.plain: Table = places.tier.table("", b"")
        self.shared: SharedStore | None = places.shared if isinstance(places.shared, SharedStore) else None

    # -- addresses

    @property
    def store(self) -> Store:
        """Where plain keys are kept."""
        return self.shared or self.places.local

    def _address(self, key: str, tags: tuple[str, ...] = ()) -> Address:
        if not isinstance(key, str):
            raise TypeError(f"key takes a str, not {type(key).__name__}")
        return Address(self.plain, key, "", key, tags, budget=Budget(DIRECT_SECONDS))

    def _entry_address(self, key: str) -> Address | None:
        """The address of an entry by its full key, or None for a text that is none."""
        parsed = self.places.layout.parse(key)
        if parsed is None or parsed[0] != "e":
            return None
        escaped, _, digest = parsed[2].partition(":")
        name = unescape(escaped)
        for table in self.tier.tables(name):
            for held in list(table.entries.values()):
                if self.digest_of(table, held.key) == digest:
                    tags = ()
                    return Address(table, held.key, name, digest, tags, budget=Budget(DIRECT_SECONDS))
        return Address(self.plain, None, name, digest, budget=Budget(DIRECT_SECONDS))

    def digest_of(self, table: Table, key: Any) -> str:
        """The digest of an entry held in the process."""
        return key if isinstance(key, str) else table.digest(key)

    # -- finding

    def _find(
        self, key: str, values: Sequence[bytes | None] | None = None
    ) -> Generator[Effect, Any, tuple[Address, Store, Found, Envelope | None]]:
        """What a key leads to: a plain entry first, then the entry whose full key it is.

        `values` stand at the plain entry and its markers in the backend, where that was asked before.
        """
        for address in (self._address(key), self._entry_address(key)):
            if address is None:
                continue
            stores: list[Store] = (
                [self.places.local] if address.key is not None and (address.name or not self.shared) else []
            )
            if self.shared is not None:
                stores.append(self.shared)
            for store in stores:
                found, envelope = yield from self._look(address, store, values)
                if found.load is not None and found.now < max(found.expires, found.stale_until):
                    return address, store, found, envelope
            values = None
        return self._address(key), self.store, Found(), None

    def _look(
        self, address: Address, store: Store, values: Sequence[bytes | None] | None
    ) -> Generator[Effect, Any, tuple[Found, Envelope | None]]:
        """Look up an entry whose tags only the entry itself knows."""
        if store is not self.shared or self.shared is None:
            return (yield from store.look(address)), None
        spot = self.shared.spot(address)
        expected = self.shared.expect(address)
        there: Sequence[bytes | None] = (
            (yield self.guard_io("read", [spot.entry, *spot.markers], budget=address.budget))
            if values is None
            else values
        )
        found, envelope = yield from self._judge(address, there)
        if not address.tags:  # what has tags depends on more than was expected
            self.shared.keep_when_loaded(address, found, expected)
        return found, envelope

    def _judge(
        self, address: Address, values: Sequence[bytes | None]
    ) -> Generator[Effect, Any, tuple[Found, Envelope | None]]:
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
            size = _envelope.TAG_HASH_BYTES
            hashes = envelope.tag_hashes
            address.tags = tuple(hashes[i : i + size].hex() for i in range(0, len(hashes), size))
            address.spot = None
            spot = self.shared.spot(address)
            values = yield self.guard_io("read", [spot.entry, *spot.markers], budget=address.budget)
            return (yield from self._judge(address, values))  # whatever stands there by now: that is what is checked
        return self.shared.read(address, self.shared.spot(address), values), envelope

    def guard_io(self, operation: str, *args: Any, budget: Budget, **kwargs: Any) -> Any:
        """The effect of asking the backend."""
        assert self.guard is not None
        return self.guard.io(operation, *args, budget=budget, **kwargs)

    # -- names

    def names(self) -> S:
        """The function names known here or in the backend."""
        names = {table.name for table in self.tier.tables()} - {""}
        if self.shared is None:
            return names
        assert self.guard is not None
        layout, budget = self.places.layout, Budget(DIRECT_SECONDS)
        registries = {bucket: layout.key("r", bucket, "names") for bucket in layout.buckets}
        answers = yield from self.guard.each([("members", (one,), {}) for one in registries.values()], budget=budget)
        members: dict[str, set[str]] = dict(zip(registries, answers, strict=True))
        lacking = [bucket for bucket, some in members.items() if GENESIS not in some]
        if lacking:
            for key in (yield from self._scan(layout.start("g") + ("" if len(registries) > 1 else "f:"))):
                _, bucket, rest = layout.parse(key) or ("", "", "")
                if rest.startswith("f:"):
                    members[bucket].add(unescape(rest[2:]))
            rebuilt = [[(registries[bucket], name) for name in (*members[bucket], GENESIS)] for bucket in lacking]
            yield from self.guard.each([("transact", ((),), {"members": some}) for some in rebuilt], budget=budget)
        return names.union(*members.values()) - {GENESIS}

    def _scan(self, start: str) -> S:
        """Every key that begins with `start`."""
        seen: dict[str, None] = {}
        cursor = None
        while True:
            cursor, keys = yield self.guard_io("scan", start, cursor, budget=Budget(DIRECT_SECONDS))
            seen.update(dict.fromkeys(keys))
            if cursor is None:
                return list(seen)
