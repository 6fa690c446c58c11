"""Looking into a cache: its keys, what is known of an entry, and whether it works, as `Steps` for both colours."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Sequence
from random import SystemRandom
from typing import Any, NamedTuple

from memocache._cache.resolve import Finder, S
from memocache._runtime.budget import DIRECT_SECONDS, Budget
from memocache._runtime.effects import Effect
from memocache._runtime.outcome import Outcome
from memocache._stores.entry import Entry, Table
from memocache._stores.memory.sizeof import sizeof
from memocache._stores.memory.store import LocalStore
from memocache._stores.remote import envelope as _envelope
from memocache._stores.remote.keyspace import entry_rest, unescape
from memocache._stores.store import Address, Record
from memocache.stats import EntryInfo, Health
from memocache.typing import Guard

random = SystemRandom()  # of our own: the program's seeded generator is left alone

_BATCH = 100
_PROBES = 12
"""Keys that `health` probes: where a proxy spreads them over two servers, all come back once in 4,096 times."""


class Looked(NamedTuple):
    """One of the backend's entry keys: the function's name, the bytes that name what stands there, whether that could
    still be served, the seconds it is still fresh, and its bytes in all.
    """

    key: str
    name: str
    head: bytes | None
    alive: bool
    left: float
    size: int


class Looking(Finder):
    """What there is in one cache: keys, entries, and whether it works."""

    def scan_step(self, cursor: Any, function: str | None) -> S:
        """One batch of live keys: (next cursor or None, keys); the process's first."""
        if cursor is None:
            held = [
                self.shown(entry.table, entry.key)
                for entry in self.tier.live(function)
                if function is None or entry.table.name
            ]
            return self.whole(function), held
        cursor, looked = yield from self.look_step(cursor, function)
        return cursor, [self.given(one.key) for one in looked if one.alive and function in (None, one.name)]

    def whole(self, function: str | None) -> Any:
        """The cursor of a look at everything in the backend, or at all of one function; None: there is no backend."""
        return None if self.shared is None else _whole(function)

    def look_step(self, cursor: Any, function: str | None = None, most: int = _BATCH) -> S:
        """What stands at up to `most` (100) of the backend's entry keys: (next cursor or None, what each came to)."""
        most = min(most, _BATCH)
        kinds, at, keys = cursor or _whole(function)
        if not keys:
            layout = self.places.layout
            start = layout.start(kinds[0])
            if function is not None and len(layout.buckets) == 1:
                start = layout.key("e", "", entry_rest(function, ""))
            at, keys = yield self.guard_io("scan", start, at, budget=Budget(DIRECT_SECONDS))
        looked = yield from self.look_at(keys[:most])
        keys = keys[most:]
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

    def is_of(self, key: str, function: str) -> bool:
        """Whether a key of the backend is that of an entry of this function."""
        parsed = self.places.layout.parse(key)
        return parsed is not None and parsed[0] == "e" and parsed[2].startswith(entry_rest(function, ""))

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
            size = 0 if raw is None else len(raw)
            looked.append(Looked(key, address.name, head, alive, found.expires - found.now, size))
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
        """Ping, then write, read and delete probe keys. Never raises.

        There are several, one after the other: a proxy that spreads keys over servers loses some of them.
        """
        begun = time.perf_counter()
        probe = "memocache-probe-" + os.urandom(8).hex()
        value = random.getrandbits(60)
        back = 0
        try:
            if self.guard is not None:
                yield self.guard_io("ping", budget=Budget(DIRECT_SECONDS))
                self.guard.breaker.closed()
            latency = (time.perf_counter() - begun) * 1000
            for number in range(_PROBES):
                address = self._address(f"{probe}-{number}")  # past `set` and `get`: a probe is no call
                yield from self.store.put(address, Record(Outcome(value), 60.0))
                found, _ = yield from self._look(address, self.store, None)  # past copies in the process
                same = found.load is not None and found.load().value == value
                gone = yield from self.store.forget(address)
                back += bool(same and gone)
        except Exception as error:
            return Health(False, (time.perf_counter() - begun) * 1000, False, str(error))
        if back == _PROBES:
            return Health(True, latency, True, "ok")
        if back == 0:
            return Health(True, latency, False, "the probe key did not come back as written")
        lost = f"{_PROBES - back} of {_PROBES} probe keys did not come back as written"
        return Health(False, latency, False, f"{lost}: is there a proxy that spreads keys over several servers?")


def _whole(function: str | None) -> tuple[tuple[str, ...], Any, list[str]]:
    """The cursor of a look at everything: kinds of keys to come, where in the first of them, keys not looked at yet."""
    return ("e", "k") if function is None else ("e",), None, []
