"""The names of functions that are known: in this process, and in the backend's registry of names.

Patterns, the fleet's figures and the command line ask here. The registry is a set in each bucket of the backend; one
that the server evicted is rebuilt from the functions' markers. Nothing here knows of entries.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from memocache._cache.key_resolver import KeyResolver
from memocache._runtime.budget import DIRECT_SECONDS, Budget
from memocache._runtime.effects import Effect
from memocache._stores.remote.keyspace import unescape

GENESIS = "\x00genesis"
"""Member of the registry of names that only a rebuild adds: without it the registry may have been evicted."""


class FunctionNames:
    """The function names of one cache."""

    def __init__(self, resolver: KeyResolver) -> None:
        self._resolver = resolver

    def known(self) -> Generator[Effect, Any, set[str]]:
        """The function names known here or in the backend."""
        resolver = self._resolver
        here = {table.name for table in resolver.tier.tables()} - {""}
        if resolver.shared is None:
            return here
        assert resolver.guard is not None
        layout, budget = resolver.places.layout, Budget(DIRECT_SECONDS)
        registries = {bucket: layout.key("r", bucket, "names") for bucket in layout.buckets}
        asked = [("members", (one,), dict[str, Any]()) for one in registries.values()]
        answers = yield from resolver.guard.each(asked, budget=budget)
        members: dict[str, set[str]] = dict(zip(registries, answers, strict=True))
        lacking = [bucket for bucket, some in members.items() if GENESIS not in some]
        if lacking:
            for key in (yield from self._scan(layout.start("g") + ("" if len(registries) > 1 else "f:"))):
                _, bucket, rest = layout.parse(key) or ("", "", "")
                if rest.startswith("f:"):
                    members[bucket].add(unescape(rest[2:]))
            rebuilt = [[(registries[bucket], name) for name in (*members[bucket], GENESIS)] for bucket in lacking]
            yield from resolver.guard.each([("transact", ((),), {"members": some}) for some in rebuilt], budget=budget)
        return here.union(*members.values()) - {GENESIS}

    def _scan(self, start: str) -> Generator[Effect, Any, list[str]]:
        """Every key that begins with `start`."""
        seen: dict[str, None] = {}
        cursor = None
        while True:
            cursor, keys = yield self._resolver.ask("scan", start, cursor)
            seen.update(dict.fromkeys(keys))
            if cursor is None:
                return list(seen)
