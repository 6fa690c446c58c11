"""What a cache can be asked besides calling a function, as `Steps` that both colours carry out.

Keys that users give are plain keys, any text; a text that reads as an entry's key of this cache (as `keys` yields
them) also finds that entry. Direct operations raise `BackendError`; they may take `DIRECT_SECONDS`.
"""

from __future__ import annotations

import fnmatch
import os
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from random import SystemRandom
from typing import Any, NamedTuple

from memocache import _envelope
from memocache import _events as events
from memocache._binding import Binding, Places
from memocache._engine import Engine
from memocache._entry import Entry, Table
from memocache._envelope import Envelope, Outcome
from memocache._guard import DIRECT_SECONDS, Budget
from memocache._guard import Guard as BackendGuard
from memocache._layout import entry_rest, function_marker, unescape
from memocache._local import LocalTier
from memocache._options import plain_tags, ttl_setting
from memocache._runtime import Effect
from memocache._signature import Values
from memocache._sizeof import sizeof
from memocache._store import Address, Found, Record, Store, Unstorable
from memocache._store_local import LocalStore
from memocache._store_shared import SharedStore
from memocache.exceptions import ConfigurationError, DecodeError, EncodeError
from memocache.stats import EntryInfo, Health
from memocache.typing import MISSING, Guard

random = SystemRandom()  # of our own: the program's seeded generator is left alone

S = Generator[Effect, Any, Any]
_GLOB = frozenset("*?[")
_BATCH = 100
GENESIS = "\x00genesis"
"""Member of the registry of names that only a rebuild adds: without it the registry may have been evicted."""


class Looked(NamedTuple):
    """One of the backend's entry keys: the function's name, the bytes that name what stands there, whether that could
    still be served, and the seconds it is still fresh.
    """

    key: str
    name: str
    head: bytes | None
    alive: bool
    left: float


class Operations:
    """Key-value use, invalidation and looking into one cache."""

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

    def _find(self, key: str) -> Generator[Effect, Any, tuple[Address, Store, Found, Envelope | None]]:
        """What a key leads to: a plain entry first, then the entry whose full key it is."""
        for address in (self._address(key), self._entry_address(key)):
            if address is None:
                continue
            stores: list[Store] = (
                [self.places.local] if address.key is not None and (address.name or not self.shared) else []
            )
            if self.shared is not None:
                stores.append(self.shared)
            for store in stores:
                found, envelope = yield from self._look(address, store)
                if found.load is not None and found.now < max(found.expires, found.stale_until):
                    return address, store, found, envelope
        return self._address(key), self.store, Found(), None

    def _look(self, address: Address, store: Store) -> Generator[Effect, Any, tuple[Found, Envelope | None]]:
        """Look up an entry whose tags only the entry itself knows."""
        if store is not self.shared or self.shared is None:
            return (yield from store.look(address)), None
        spot = self.shared.spot(address)
        expected = self.shared.expect(address)
        values = yield self.guard_io("read", [spot.entry, *spot.markers], budget=address.budget)
        found, envelope = yield from self._judge(address, values)
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

    # -- key-value use

    def get(self, key: str, default: Any) -> S:
        """The value of a key, or `default`."""
        near = None if self.shared is None else self.shared.near_outcome(self._address(key))
        if near is not None:
            self._count(hits=1)
            return near.value
        address, store, found, _ = yield from self._find(key)
        if found.load is not None and found.now < found.expires:
            try:
                outcome = found.load()
            except DecodeError:
                self.plain.counters.add(decode_errors=1)
            else:
                if outcome.error is None:
                    store.touch(address, found)
                    self._count(hits=1)
                    return outcome.value
        self._count(misses=1)
        return default

    def _count(self, hits: int = 0, misses: int = 0) -> None:
        """Count the misses among look-ups of plain keys (the store has counted the hits), and tell of all."""
        if misses:
            self.plain.counters.add(misses=misses)
        if self.engine.emit is not None:
            for event in (*[events.Hit(None)] * hits, *[events.Miss(None)] * misses):
                self.engine.emit(event)

    def set(self, key: str, value: Any, ttl: Any, tags: Iterable[str]) -> S:
        """Store a value."""
        names = plain_tags(tags)
        address = self._address(key, tuple(map(self.places.tag_hash, names)))
        record = Record(Outcome(value), self._ttl(ttl), tags=names)
        try:
            yield from self.store.put(address, record)
        except Unstorable as refusal:
            raise EncodeError(f"the value cannot be stored: {refusal.detail or refusal.cause}") from None

    def _ttl(self, ttl: Any) -> float:
        made = ttl_setting(ttl)
        if callable(made):
            raise ValueError("ttl takes a duration here, not a callable")
        return self.engine.default_ttl if made is MISSING else float(made)

    def delete(self, key: str) -> S:
        """Remove a key; whether it was there."""
        address, store, found, _ = yield from self._find(key)
        yield from store.forget(address)
        return found.load is not None

    def exists(self, key: str) -> S:
        """Whether a key has a value."""
        _, _, found, _ = yield from self._find(key)
        return found.load is not None and found.now < found.expires

    def ttl(self, key: str) -> S:
        """Seconds left; infinite without expiry; None without key."""
        _, _, found, _ = yield from self._find(key)
        return found.expires - found.now if found.load is not None and found.now < found.expires else None

    def expire(self, key: str, ttl: Any) -> S:
        """Give a key another ttl from now; whether it was there."""
        seconds = self._ttl(ttl)
        while True:
            address, store, found, _ = yield from self._find(key)
            if found.load is None or found.now >= found.expires:
                return False
            if isinstance(store, LocalStore):
                return self.tier.expire(address.table, address.key, seconds)
            assert self.shared is not None
            changed = yield from self.shared.expire(address, found, seconds)
            if changed:
                return True

    def get_many(self, keys: Iterable[str], *, counting: bool = True) -> S:
        """The values of those keys that have one, in one round trip a node; look-ups of the user's unless `counting` is
        off.
        """
        wanted = list(dict.fromkeys(keys))
        values: dict[str, Any] = {}
        if self.shared is None:
            for key in wanted:
                value = yield from self.get(key, MISSING)
                if value is not MISSING:
                    values[key] = value
            return values
        budget = Budget(DIRECT_SECONDS)
        addresses = [self._address(key) for key in wanted]
        spots = [self.shared.spot(address) for address in addresses]
        markers = list(dict.fromkeys(marker for spot in spots for marker in spot.markers))
        names = [*(spot.entry for spot in spots), *markers]
        replies = yield self.guard_io("read", names, budget=budget)
        known = dict(zip(names, replies, strict=True))
        for key, address, spot in zip(wanted, addresses, spots, strict=True):
            found, _ = yield from self._judge(address, [known[spot.entry], *(known[m] for m in spot.markers)])
            try:
                if found.load is not None and found.now < found.expires:
                    outcome = found.load()
                    if outcome.error is None:
                        values[key] = outcome.value
                        if counting:
                            self.shared.touch(address, found)
            except DecodeError:
                self.plain.counters.add(decode_errors=1)
        if counting:
            self._count(len(values), len(wanted) - len(values))
        return values

    def set_many(self, mapping: Mapping[str, Any], ttl: Any, tags: Iterable[str]) -> S:
        """Store every value of a mapping; all or none of those in one bucket."""
        names = plain_tags(tags)
        hashes = tuple(map(self.places.tag_hash, names))
        record = Record(Outcome(), self._ttl(ttl), tags=names)
        records = [
            (self._address(key, hashes), record._replace(outcome=Outcome(value))) for key, value in mapping.items()
        ]
        try:
            if self.shared is None:
                for address, one in records:
                    yield from self.store.put(address, one)
            else:
                yield from self.shared.put_many(records)
        except Unstorable as refusal:
            raise EncodeError(f"a value cannot be stored: {refusal.detail or refusal.cause}") from None

    def delete_many(self, keys: Iterable[str]) -> S:
        """Remove keys; how many were there."""
        wanted = list(dict.fromkeys(keys))
        count = 0
        if self.shared is None:
            for key in wanted:
                count += yield from self.delete(key)
            return count
        spots = [self.shared.spot(self._address(key)) for key in wanted]
        budget = Budget(DIRECT_SECONDS)
        there = yield from self.get_many(wanted, counting=False)
        yield self.guard_io("delete", [name for s in spots for name in (s.entry, s.witness, s.lease)], budget=budget)
        return len(there)

    # -- invalidation

    def invalidate_function(self, *names: str) -> S:
        """Forget every call of these function names, here and in the backend."""
        try:
            if self.shared is not None and names:
                layout = self.places.layout
                rests = list(map(function_marker, names))
                markers = [layout.key("g", bucket, rest) for bucket in layout.buckets for rest in rests]
                yield self.guard_io("delete", markers, budget=Budget(DIRECT_SECONDS))
        finally:
            for name in names:
                self.tier.invalidate_function(name)

    def invalidate_tag(self, tag: str) -> S:
        """Forget every entry with this tag, here and in the backend."""
        if not isinstance(tag, str) or not tag:
            raise ConfigurationError("tag= takes a text that is not empty")
        hashed = self.places.tag_hash(tag)
        try:
            if self.shared is not None:
                layout = self.places.layout
                markers = [layout.key("g", bucket, f"t:{hashed}") for bucket in layout.buckets]
                yield self.guard_io("delete", markers, budget=Budget(DIRECT_SECONDS))
        finally:
            self.tier.invalidate_tag(hashed)

    def invalidate_glob(self, pattern: str) -> S:
        """Forget every function whose name matches; the registry of names tells which there are."""
        names = yield from self.names()
        # `pattern` may also be a name that only looks like a pattern
        matching = [name for name in names if name == pattern or fnmatch.fnmatchcase(name, pattern)]
        yield from self.invalidate_function(*matching)

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

    def clear(self) -> S:
        """Forget everything under the prefix."""
        try:
            if self.shared is not None:
                layout = self.places.layout
                markers = [layout.key("g", bucket, "p") for bucket in layout.buckets]
                yield self.guard_io("delete", markers, budget=Budget(DIRECT_SECONDS))
        finally:
            self.tier.clear()

    def _scan(self, start: str) -> S:
        """Every key that begins with `start`."""
        seen: dict[str, None] = {}
        cursor = None
        while True:
            cursor, keys = yield self.guard_io("scan", start, cursor, budget=Budget(DIRECT_SECONDS))
            seen.update(dict.fromkeys(keys))
            if cursor is None:
                return list(seen)

    # -- looking in

    def scan_step(self, cursor: Any, function: str | None) -> S:
        """One batch of live keys: (next cursor or None, keys); the process's first."""
        if cursor is None:
            held = [
                self.shown(entry.table, entry.key)
                for entry in self.tier.live(function)
                if function is None or entry.table.name
            ]
            return (_whole(function) if self.shared is not None else None), held
        cursor, looked = yield from self.look_step(cursor, function)
        return cursor, [self.given(one.key) for one in looked if one.alive and function in (None, one.name)]

    def look_step(self, cursor: Any, function: str | None = None) -> S:
        """What stands at up to 100 of the backend's entry keys: (next cursor or None, what each came to)."""
        kinds, at, keys = cursor or _whole(function)
        if not keys:
            layout = self.places.layout
            start = layout.start(kinds[0])
            if function is not None and len(layout.buckets) == 1:
                start = layout.key("e", "", entry_rest(function, ""))
            at, keys = yield self.guard_io("scan", start, at, budget=Budget(DIRECT_SECONDS))
        looked = yield from self.look_at(keys[:_BATCH])
        keys = keys[_BATCH:]
        if not keys and at is None:
            kinds = kinds[1:]
        return ((kinds, at, keys) if kinds else None), looked

    def shown(self, table: Table, key: Any) -> str:
        """The key of an entry in the process as users know it."""
        if not table.name:
            return str(key)
        layout = self.places.layout
        rest = entry_rest(table.name, self.digest_of(table, key))
        return layout.key("e", layout.bucket(rest), rest)

    def given(self, key: str) -> str:
        """A key of the backend as users know it: plain keys as they were given."""
        parsed = self.places.layout.parse(key)
        return unescape(parsed[2]) if parsed is not None and parsed[0] == "k" else key

    def full_key(self, key: str) -> S:
        """The backend's key of what a user's key leads to, or None for what is held in the process."""
        address, store, found, _ = yield from self._find(key)
        if found.load is None or self.shared is None or store is not self.shared:
            return None
        return self.shared.spot(address).entry

    def look_at(self, keys: Sequence[str]) -> S:
        """What stands at each of the backend's entry keys."""
        assert self.shared is not None
        addresses = []
        for key in keys:
            parsed = self.places.layout.parse(key)
            if parsed is None or parsed[0] not in "ek":
                continue
            kind, _, rest = parsed
            name, _, digest = rest.partition(":")
            name, digest = (unescape(name), digest) if kind == "e" else ("", unescape(rest))
            addresses.append((key, Address(self.plain, None, name, digest, budget=Budget(DIRECT_SECONDS))))
        spots = [self.shared.spot(address) for _, address in addresses]
        markers = list(dict.fromkeys(marker for spot in spots for marker in spot.markers))
        names = [*(spot.entry for spot in spots), *markers]
        replies = yield self.guard_io("read", names, budget=Budget(DIRECT_SECONDS))
        known = dict(zip(names, replies, strict=True))
        looked = []
        for (key, address), spot in zip(addresses, spots, strict=True):
            raw = known[spot.entry]
            found, _ = yield from self._judge(address, [raw, *(known[m] for m in spot.markers)])
            alive = found.load is not None and found.now < max(found.expires, found.stale_until)
            head = None if raw is None else bytes(raw[: _envelope.HEAD_BYTES])
            looked.append(Looked(key, address.name, head, alive, found.expires - found.now))
        return looked

    def bury(self, dead: Sequence[Looked]) -> S:
        """Delete entries that were found dead, unless they changed since; how many went."""
        buckets: dict[str, list[Guard]] = {}
        for one in dead:
            parsed = self.places.layout.parse(one.key)
            if parsed is not None and one.head is not None:
                buckets.setdefault(parsed[1], []).append(Guard(one.key, one.head))
        changed = yield from self._delete_if(list(buckets.values()))
        again = [[guard] for guards in changed for guard in guards]
        gone = sum(map(len, buckets.values())) - len(again)
        return gone + len(again) - len((yield from self._delete_if(again)))

    def _delete_if(self, batches: list[list[Guard]]) -> Generator[Effect, Any, list[list[Guard]]]:
        """Delete each batch whose guards all hold; the others."""
        assert self.guard is not None
        calls = [("transact", (guards, (), [guard.key for guard in guards]), dict[str, Any]()) for guards in batches]
        answers = yield from self.guard.each(calls, budget=Budget(DIRECT_SECONDS))
        return [guards for guards, answer in zip(batches, answers, strict=True) if answer is not None]

    def inspect(self, key: str) -> S:
        """What is known about one entry, or None."""
        address, _, found, envelope = yield from self._find(key)
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
            wall + entry.fresh_until - entry.ttl,
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

    def health(self) -> S:
        """Ping, and write, read and delete a probe key."""
        begun = time.perf_counter()
        probe = "memocache-probe-" + os.urandom(8).hex()
        value = random.getrandbits(60)
        try:
            if self.guard is not None:
                yield self.guard_io("ping", budget=Budget(DIRECT_SECONDS))
            latency = (time.perf_counter() - begun) * 1000
            address = self._address(probe)  # past `set` and `get`: a probe is no call
            yield from self.store.put(address, Record(Outcome(value), 60.0))
            found = yield from self.store.look(address)
            back = found.load().value if found.load is not None else None
            gone = yield from self.store.forget(address)
        except Exception as error:
            return Health(False, (time.perf_counter() - begun) * 1000, False, str(error))
        ok = back == value and gone
        return Health(True, latency, ok, "ok" if ok else "the probe key did not come back as written")

    # -- decorated functions

    def invalidate_call(self, binding: Binding, values: Values) -> S:
        """Forget one call."""
        address, store = binding.address(values)
        address.budget = Budget(DIRECT_SECONDS)
        key = (id(address.table), address.key)
        try:
            yield from store.forget(address)
        finally:
            self.engine.flights.void(key)

    def put_call(self, binding: Binding, values: Values, value: Any) -> S:
        """Store a value for one call."""
        address, store = binding.address(values)
        address.budget = Budget(DIRECT_SECONDS)
        try:
            yield from store.put(address, self.engine.record(binding, value))
        except Unstorable as refusal:
            raise EncodeError(f"{binding.function.name}: {refusal.detail or refusal.cause}") from None
        finally:
            self.engine.flights.void((id(address.table), address.key))
        binding.counters.add(stores=1)

    def peek_call(self, binding: Binding, values: Values) -> S:
        """The cached value, stale ones too, or MISSING."""
        address, store = binding.address(values)
        found = yield from store.look(address)
        options = binding.function.options
        if found.load is None or found.now >= max(found.stale_until, found.expires + options.stale_if_error):
            return MISSING
        try:
            outcome = found.load()
        except DecodeError:
            return MISSING
        return MISSING if outcome.error is not None else outcome.value


def _whole(function: str | None) -> tuple[tuple[str, ...], Any, list[str]]:
    """The cursor of a look at everything: kinds of keys to come, where in the first of them, keys not looked at yet."""
    return ("e", "k") if function is None else ("e",), None, []


def is_glob(name: str) -> bool:
    """Whether a function name is a pattern."""
    return not _GLOB.isdisjoint(name)
