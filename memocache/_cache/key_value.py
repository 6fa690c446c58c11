"""Key-value use of a cache: get, set, delete and the rest, as `Steps` that both colours carry out.

A plain key leads to an entry like any other: the same envelopes, markers and tags. Direct operations raise
`BackendError` and may take 5 s. Nothing here knows how functions are invalidated.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, cast

from memocache._cache.key_resolver import KeyResolver, S, tags_of
from memocache._calls.engine import UNREACHABLE_FOUND, Engine
from memocache._calls.get_or_compute import KeyedCall
from memocache._calls.options import plain_tags, ttl_setting
from memocache._runtime import events
from memocache._runtime.budget import DIRECT_SECONDS, Budget
from memocache._runtime.effects import Steps
from memocache._runtime.outcome import Outcome
from memocache._stores.memory.store import LocalStore
from memocache._stores.remote import envelope as _envelope
from memocache._stores.remote.keyspace import plain_rest
from memocache._stores.remote.store import SharedStore
from memocache._stores.store import Address, Found, Record, Unstorable
from memocache.exceptions import BackendError, DecodeError, EncodeError
from memocache.stats import INVALIDATED, CacheStatus
from memocache.typing import MISSING, Answer


class KeyValue:
    """The plain keys of one cache."""

    def __init__(self, resolver: KeyResolver, engine: Engine) -> None:
        self.resolver = resolver
        self._find, self._address = resolver.find, resolver.plain_address
        self.engine = engine
        self.places = resolver.places
        self.tier = resolver.tier
        self.plain = resolver.plain
        self.shared = shared = resolver.shared
        self._warned: set[str] = set()
        self.glance: Any = None if shared is None else partial(shared.glance, self.plain)
        """As `SharedStore.glance`, of a plain key."""
        self.got: Any = None if shared is None else shared.gets.add
        """Counts what `get_soon` asked, and how long that took."""
        self._read_soon: Callable[[str, Sequence[str], float], Awaitable[Answer] | None] | None = None
        # a copy in the process comes first, and observers are told from one place
        if shared is not None and shared.ask_soon and not shared.tiered and engine.emit is None:
            site = shared.site("", "")  # what reads soon has no buckets
            self._read_soon, self._start, self._markers = shared.read_soon, site.entries, site.markers

    def get_soon(self, key: str) -> Awaitable[Answer] | None:
        """As `memocache.typing.ReadSoon`, of a plain key; the answer is for `glance`, and for `get` if it is unfit.

        None: ask `get`.
        """
        if self._read_soon is None or type(key) is not str:
            return None
        return self._read_soon(self._start + plain_rest(key), self._markers, DIRECT_SECONDS)

    def get(self, key: str, default: Any, answer: Answer | None = None, begun: float = 0.0) -> S:
        """The value of a key, or `default`; `answer` as of `get_soon`, which was asked at `begun`."""
        values = None
        if answer is not None and self.shared is not None:
            values = self.shared.replied(answer, Budget(DIRECT_SECONDS), begun)
        if self.shared is not None and self.shared.tiered:
            near = self.shared.near_outcome(self._address(key))
            if near is not None:
                self._count(hits=1)
                return near.value
        address, store, found, _ = yield from self._find(key, values)
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

    # -- computing what is not there

    def get_or_compute(
        self, key: str, function: Any, ttl: Any, tags: Iterable[str], *, is_async: bool, off: bool
    ) -> Steps[Outcome]:
        """The outcome of a key, else of `function`, which is called once however many ask; with caching `off` nobody
        else is asked or told. As with a decorated call, a failing backend costs the caching and no answer.
        """
        names = plain_tags(tags)
        asked = KeyedCall(function, ttl, names, self.plain, self._warned, is_async=is_async)
        given = self._address(key, tuple(map(self.places.tag_hash, names)))
        if off:
            return (yield from self.engine.leader.direct(cast(Any, asked), ()))
        # a budget of a call's own: `_address` gives a direct operation's
        address = Address(self.plain, key, "", key, given.tags)
        call = asked.at(address, self.resolver.store)
        try:
            call.found = yield from self._look(address)
        except BackendError as fault:
            self.engine.leader.fault(self.plain.counters, fault)
            call.found, call.reachable = UNREACHABLE_FOUND, False
        call.asked = True
        return (yield from self.engine.call(call.binding, (), call))

    def _look(self, address: Address, *, copies: bool = True) -> Steps[Found]:
        """What is at a plain key, also where it was set with other tags than the address has; a copy in the process
        counts if `copies` do.
        """
        if copies or self.shared is None:
            found = yield from self.resolver.store.look(address)
        else:
            found = yield from SharedStore.look(self.shared, address)
        if found.cause != INVALIDATED or self.shared is None:
            return found
        (raw,) = yield self.shared.guard.io("read", [self.shared.spot(address).entry], budget=address.budget)
        try:
            tags = () if raw is None else tags_of(_envelope.unpack(raw))
        except DecodeError:
            return found
        if tags == address.tags:
            return found
        other = Address(self.plain, address.key, "", address.digest, tags, budget=address.budget)
        there = yield from SharedStore.look(self.shared, other)
        # else what the look-up saw of the call's own address is what its computation begins from
        return there if there.now < there.expires else found

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
            yield from self.resolver.store.put(address, record)
        except Unstorable as refusal:
            raise EncodeError(f"the value cannot be stored: {refusal.detail or refusal.cause}") from None
        finally:
            self._void_plain((key,))

    def add(self, key: str, value: Any, ttl: Any, tags: Iterable[str]) -> S:
        """Store a value if the key has none; whether it was stored."""
        names = plain_tags(tags)
        address = self._address(key, tuple(map(self.places.tag_hash, names)))
        record = Record(Outcome(value), self._ttl(ttl), tags=names)
        store = self.resolver.store
        try:
            while True:
                found = yield from self._look(address, copies=False)
                if found.load is not None and found.now < found.expires:
                    return False
                if (yield from store.add(address, record, found)):
                    self._void_plain((key,))
                    return True
        except Unstorable as refusal:
            raise EncodeError(f"the value cannot be stored: {refusal.detail or refusal.cause}") from None

    def incr(self, key: str, delta: Any) -> S:
        """Add to the number that a key has, whose ttl and tags stay; the sum, or None if it has no value."""
        if not _is_number(delta):
            raise TypeError(f"delta takes a number, not {type(delta).__name__}")
        while True:
            address, store, found, envelope = yield from self._find(key)
            value = self._value(found)
            if address.name or value is MISSING:
                return None
            if not _is_number(value):
                raise TypeError(f"incr is for a key whose value is a number, and this one has a {type(value).__name__}")
            tags = found.seen.tags if envelope is None else envelope.tags
            if envelope is None:
                address = self._address(key, tuple(map(self.places.tag_hash, tags)))
            record = Record(Outcome(value + delta), max(found.expires - found.now, 0.001), tags=tags)
            try:
                changed = yield from store.replace(address, record, found, found.expires)
            except Unstorable as refusal:
                raise EncodeError(f"the sum cannot be stored: {refusal.detail or refusal.cause}") from None
            if changed:
                self._void_plain((key,))
                return record.outcome.value

    def _value(self, found: Found) -> Any:
        """The fresh value that was found, or MISSING."""
        if found.load is None or found.now >= found.expires:
            return MISSING
        try:
            outcome = found.load()
        except DecodeError:
            self.plain.counters.add(decode_errors=1)
            return MISSING
        return MISSING if outcome.error is not None else outcome.value

    def _ttl(self, ttl: Any) -> float:
        made = ttl_setting(ttl)
        if callable(made):
            raise ValueError("ttl takes a duration here, not a callable")
        return self.engine.default_ttl if made is MISSING else float(made)

    def delete(self, key: str) -> S:
        """Remove a key; whether it was there. Of an entry, what is computed meanwhile is not stored either."""
        address, store, found, _ = yield from self._find(key)
        entry = address if address.name else self.resolver.entry_address(key)
        try:
            yield from store.forget(address)
            if entry is not None and self.shared is not None and (entry is not address or store is not self.shared):
                yield from self.shared.forget(entry)
        finally:
            self._void_plain((key,))
            if entry is not None:
                self._void(entry)
        self.engine.leader.gone(address, store, INVALIDATED)
        return found.load is not None

    def _void(self, entry: Address) -> None:
        """Let no computation of an entry, known by name and digest, that this process began be joined or stored."""
        # a flight goes by name and digest, or, where no digest was made, by table and key (`Address.flight_key`)
        tables = {id(table): table for table in self.tier.tables(entry.name)}
        self.engine.flights.void((entry.name, entry.digest))
        self.engine.flights.void_where(
            lambda key: key[0] in tables and self.resolver.digest_of(tables[key[0]].place, key[1]) == entry.digest
        )

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

    def get_many_with_status(self, keys: Iterable[str]) -> S:
        """Value (or MISSING) and status of each key, in one round trip a node."""
        statuses: dict[str, CacheStatus] = {}
        wanted = list(dict.fromkeys(keys))
        values = yield from self.get_many(wanted, statuses=statuses)
        return {key: (values.get(key, MISSING), statuses.get(key) or self._absent(key)) for key in wanted}

    def _absent(self, key: str) -> CacheStatus:
        return CacheStatus(False, "miss", key=self._entry_key(key))

    def _entry_key(self, key: str) -> str:
        """The key of a plain entry as the backend sees it."""
        rest, layout = plain_rest(key), self.places.layout
        return layout.key("k", layout.bucket(rest), rest)

    def get_many(
        self, keys: Iterable[str], *, counting: bool = True, statuses: dict[str, CacheStatus] | None = None
    ) -> S:
        """The values of those keys that have one, in one round trip a node; look-ups of the user's unless `counting` is
        off. How each was found is noted in `statuses`, where that is given.
        """
        wanted = list(dict.fromkeys(keys))
        values: dict[str, Any] = {}
        if self.shared is None:
            for key in wanted:
                value = yield from self.get(key, MISSING)
                if value is not MISSING:
                    values[key] = value
                    if statuses is not None:
                        statuses[key] = CacheStatus(True, ttl=(yield from self.ttl(key)), key=self._entry_key(key))
            return values
        addresses = [self._address(key) for key in wanted]
        standing = yield from self.resolver.read(addresses)
        for key, address, there in zip(wanted, addresses, standing, strict=True):
            found, _ = yield from self.resolver.judge(address, there)
            try:
                if found.load is not None and found.now < found.expires:
                    outcome = found.load()
                    if outcome.error is None:
                        values[key] = outcome.value
                        if statuses is not None:
                            left = found.expires - found.now
                            statuses[key] = CacheStatus(True, ttl=left, key=self._entry_key(key))
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
                    yield from self.resolver.store.put(address, one)
            else:
                yield from self.shared.put_many(records)
        except Unstorable as refusal:
            raise EncodeError(f"a value cannot be stored: {refusal.detail or refusal.cause}") from None
        finally:
            self._void_plain(mapping)

    def delete_many(self, keys: Iterable[str]) -> S:
        """Remove keys; how many were there."""
        wanted = list(dict.fromkeys(keys))
        count = 0
        if self.shared is None:
            for key in wanted:
                count += yield from self.delete(key)
            return count
        spots = [self.shared.spot(self._address(key)) for key in wanted]
        there = yield from self.get_many(wanted, counting=False)
        try:
            yield self.resolver.ask("delete", [name for s in spots for name in (s.entry, s.witness, s.lease)])
        finally:
            self._void_plain(wanted)
        return len(there)

    def _void_plain(self, keys: Iterable[str]) -> None:
        """Let no computation of these keys that began before be joined or stored."""
        for key in keys:
            self.engine.flights.void(("", key))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
