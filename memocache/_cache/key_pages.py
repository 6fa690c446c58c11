"""The keys of a cache, a page at a time.

A page costs a bounded number of requests, however many keys there are. A backend's own cursor need not be text, so the
place where the next page begins is remembered here under a token. `Cache.keys_page` is the public face.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Generator, Hashable
from typing import Any, NamedTuple

from memocache._cache.scan import Scanner
from memocache._runtime.effects import Effect
from memocache._stores.entry import Table
from memocache.exceptions import ConfigurationError
from memocache.stats import KeysPage

_PAGE_STEPS = 50
"""Steps of a scan, of about a thousand keys each, that one page takes at most."""
_REMEMBERED = 50
"""Pages whose next one can be asked for."""
_MOST = 1000


class _Rest(NamedTuple):
    """What comes after a page: those of `held`, the process's own, from `at` on, then what the scan comes to."""

    function: str | None
    held: list[tuple[Table, Hashable]]
    at: int
    scan: Any


class KeyPages:
    """Keys by pages, for one cache."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._rests: OrderedDict[str, _Rest] = OrderedDict()

    def page(self, function: str | None, cursor: str | None, limit: int) -> Generator[Effect, Any, KeysPage]:
        """The next keys of live entries. Raises `ConfigurationError` for a cursor that is not known."""
        if type(limit) is not int or not 1 <= limit <= _MOST:
            raise ConfigurationError(f"limit= takes an int from 1 to {_MOST}")
        scanner = self._scanner
        rest = self._first(function) if cursor is None else self._known(function, cursor)
        _, held, at, scan = rest
        keys: list[str] = []
        while at < len(held) and len(keys) < limit:
            table, key = held[at]
            if scanner.tier.find(table, key) is not None:
                keys.append(scanner.shown(table.place, key))
            at += 1
        for _ in range(_PAGE_STEPS):
            if scan is None or len(keys) >= limit:
                break
            scan, scanned = yield from scanner.entries_step(scan, function, limit - len(keys))
            keys += [scanner.given(one.key) for one in scanned if one.alive and function in (None, one.name)]
        if scan is None and at >= len(held):
            return KeysPage(keys, None)
        token = os.urandom(8).hex()
        self._rests[token] = rest._replace(at=at, scan=scan)
        while len(self._rests) > _REMEMBERED:
            self._rests.popitem(last=False)
        return KeysPage(keys, token)

    def _first(self, function: str | None) -> _Rest:
        live = self._scanner.tier.live(function)
        held = [(entry.table, entry.key) for entry in live if function is None or entry.table.name]
        return _Rest(function, held, 0, self._scanner.begin(function))

    def _known(self, function: str | None, cursor: str) -> _Rest:
        rest = self._rests.get(cursor)
        if rest is None or rest.function != function:
            raise ConfigurationError("cursor= takes what this cache's last pages of the same keys gave, or None")
        return rest
