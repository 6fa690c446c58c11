"""Scanning: the keys of a cache in bounded steps, and the removal of entries that are found dead.

A step looks at no more than 100 entries of the backend. The process's own entries come first. A key that is there
during the whole scan comes at least once. Nothing here counts, and nothing knows what a page is.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple, TypeVar

from memocache._cache.key_resolver import KeyResolver, S
from memocache._runtime.budget import DIRECT_SECONDS, Budget
from memocache._runtime.effects import Effect, Pause
from memocache._stores.entry import Place
from memocache._stores.memory.tier_counts import PART
from memocache._stores.remote import envelope as _envelope
from memocache._stores.remote.keyspace import entry_rest, unescape
from memocache.typing import Guard

_BATCH = 100
PAUSE: Final = Pause()
"""What comes between two parts of work on the process's own entries."""
T = TypeVar("T")


def in_parts(entries: Iterable[T]) -> Iterator[list[T]]:
    """Entries of the process, some hundred at a time: an event loop gets its turn between them."""
    iterator = iter(entries)
    while part := list(islice(iterator, PART)):
        yield part


class ScannedEntry(NamedTuple):
    """One of the backend's entry keys: the function's name, the bytes that name what stands there, whether that could
    still be served, the seconds it is still fresh, and its bytes in all.
    """

    key: str
    name: str
    head: bytes | None
    alive: bool
    left: float
    size: int


class Scanner:
    """Scans one cache."""

    def __init__(self, resolver: KeyResolver) -> None:
        self.resolver = resolver
        self.places = resolver.places
        self.tier = resolver.tier
        self.shared = resolver.shared

    def keys_step(self, cursor: Any, function: str | None) -> S:
        """One batch of live keys: (next cursor or None, keys); the process's first."""
        if cursor is None:
            cursor = in_parts(entry for entry in self.tier.live(function) if function is None or entry.table.name)
        if isinstance(cursor, Iterator):
            part = next(cursor, None)
            yield PAUSE
            if part is not None:
                return cursor, [self.shown(entry.table.place, entry.key) for entry in part]
            return self.begin(function), []
        cursor, scanned = yield from self.entries_step(cursor, function)
        return cursor, [self.given(one.key) for one in scanned if one.alive and function in (None, one.name)]

    def begin(self, function: str | None) -> Any:
        """The cursor of a scan of everything in the backend, or of all of one function; None: there is no backend."""
        return None if self.shared is None else _beginning(function)

    def entries_step(self, cursor: Any, function: str | None = None, most: int = _BATCH) -> S:
        """What stands at up to `most` (100) of the backend's entry keys: (next cursor or None, scanned entries)."""
        most = min(most, _BATCH)
        kinds, at, keys = cursor or _beginning(function)
        if not keys:
            layout = self.places.layout
            start = layout.start(kinds[0])
            if function is not None and len(layout.buckets) == 1:
                start = layout.key("e", "", entry_rest(function, ""))
            at, keys = yield self.resolver.ask("scan", start, at)
        scanned = yield from self._scanned(keys[:most])
        keys = keys[most:]
        if not keys and at is None:
            kinds = kinds[1:]
        return ((kinds, at, keys) if kinds else None), scanned

    def _scanned(self, keys: Sequence[str]) -> S:
        """What stands at each of the backend's entry keys."""
        addresses = {key: address for key in keys if (address := self.resolver.backend_address(key)) is not None}
        standing = yield from self.resolver.read(addresses.values())
        scanned = []
        for (key, address), values in zip(addresses.items(), standing, strict=True):
            raw = values[0]
            found, _ = yield from self.resolver.judge(address, values)
            alive = found.load is not None and found.now < max(found.expires, found.stale_until)
            head = None if raw is None else bytes(raw[: _envelope.HEAD_BYTES])
            size = 0 if raw is None else len(raw)
            scanned.append(ScannedEntry(key, address.name, head, alive, found.expires - found.now, size))
        return scanned

    # -- keys as users know them

    def shown(self, place: Place, key: Any) -> str:
        """The key of an entry in the process as users know it."""
        if not place.name:
            return str(key)
        layout = self.places.layout
        rest = entry_rest(place.name, self.resolver.digest_of(place, key))
        return layout.key("e", layout.bucket(rest), rest)

    def given(self, key: str) -> str:
        """A key of the backend as users know it: plain keys as they were given."""
        parsed = self.places.layout.parse(key)
        return unescape(parsed[2]) if parsed is not None and parsed[0] == "k" else key

    def is_of(self, key: str, function: str) -> bool:
        """Whether a key of the backend is that of an entry of this function."""
        parsed = self.places.layout.parse(key)
        return parsed is not None and parsed[0] == "e" and parsed[2].startswith(entry_rest(function, ""))

    # -- removal

    def bury(self, dead: Sequence[ScannedEntry]) -> S:
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
        assert self.resolver.guard is not None
        calls = [("transact", (guards, (), [guard.key for guard in guards]), dict[str, Any]()) for guards in batches]
        answers = yield from self.resolver.guard.each(calls, budget=Budget(DIRECT_SECONDS))
        return [guards for guards, answer in zip(batches, answers, strict=True) if answer is not None]


def _beginning(function: str | None) -> tuple[tuple[str, ...], Any, list[str]]:
    """The cursor of a whole scan: kinds of keys to come, where in the first of them, keys not looked at yet."""
    return ("e", "k") if function is None else ("e",), None, []
