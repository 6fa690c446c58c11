"""Functions that are gone: what a backend still knows of names that nobody uses any more, and its removal.

A name, its markers and its figures have no expiry, for nobody can say when a function is called again. They go when the
name has no entry left, no function of this process has it, and no process has counted a call of it for long. To take
them from a function that is used after all costs computations, and serves nothing wrong.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

from memocache._cache.key_resolver import KeyResolver
from memocache._cache.known_function_names import FunctionNames
from memocache._cache.stats_keys import LAST_CALL, StatsKeys
from memocache._runtime.effects import Steps
from memocache._stores.remote.keyspace import function_marker

_BATCH = 100


class GoneFunctions:
    """Removes what is left of functions of one backend."""

    def __init__(self, resolver: KeyResolver, names: FunctionNames, keys: StatsKeys) -> None:
        self._resolver = resolver
        self._names = names
        self._keys = keys

    def remove(self, living: AbstractSet[str], unused: float) -> Steps[None]:
        """Remove the names that are not `living` and of which no call was counted in the last `unused` seconds."""
        resolver, layout = self._resolver, self._resolver.places.layout
        # a table without identity has what functions counted that are gone
        here = {table.name for table in resolver.tier.tables() if table.place.identity is not None}
        names = sorted((yield from self._names.known()) - living - here)
        since = (resolver.tier.clock.time() - unused) * 1000
        registries = [layout.key("r", bucket, "names") for bucket in layout.buckets]
        removed = False
        for at in range(0, len(names), _BATCH):
            some = names[at : at + _BATCH]
            figures: list[dict[str, Any]] = yield resolver.ask("counts", list(map(self._keys.function, some)))
            for name, counts in zip(some, figures, strict=True):
                if counts.get(LAST_CALL, 0) < since:
                    removed = True
                    marker = function_marker(name)
                    markers = [layout.key("g", bucket, marker) for bucket in layout.buckets]
                    yield resolver.ask("delete", [*markers, *self._keys.all_of(name)])
        if removed:
            # rebuilt from the markers that are left by whoever asks next
            yield resolver.ask("delete", registries)
