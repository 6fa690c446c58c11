"""Invalidation: what must never be served again, of a function, of a tag, of a pattern of names, of the whole cache.

An invalidation deletes markers in the backend and raises generations in the process: its cost depends on neither
entries nor functions. After it returns, no call that begins later is served what was computed before. A pattern asks
the registry of names besides. Nothing here looks at an entry.
"""

from __future__ import annotations

import fnmatch
from typing import Any

from memocache._cache.key_resolver import KeyResolver
from memocache._cache.known_function_names import FunctionNames
from memocache._cache.scan import PAUSE
from memocache._calls.function import public_name
from memocache._runtime.budget import DIRECT_SECONDS, Budget
from memocache._runtime.effects import Steps
from memocache._stores.remote.keyspace import function_marker
from memocache.exceptions import ConfigurationError

_GLOB = frozenset("*?[")


class Count(int):
    """How many. Its class has a name that Python shows where the sync face of a cache is awaited by mistake."""

    def __reduce__(self) -> Any:
        return int, (int(self),)


# an `__await__` that raises would say it too, and make every `inspect.isawaitable` await it
Count.__name__ = "int (this face of the cache is not awaited: use cache.aio)"


class Invalidation:
    """Forgets entries of one cache, here and in its backend."""

    def __init__(self, resolver: KeyResolver, names: FunctionNames) -> None:
        self.places = resolver.places
        self.tier = resolver.tier
        self.shared = resolver.shared
        self._guard = resolver.guard
        self._names = names

    def invalidate(self, function: Any, tag: str | None) -> Steps[int]:
        """Forget every call of a function (itself, its name, or a pattern of names), or every entry with `tag`; how
        many known functions it was about (of a tag: 1).
        """
        if (function is None) == (tag is None):
            raise ConfigurationError("invalidate() takes a function or its name, or tag=, and not both")
        if tag is not None:
            yield from self.invalidate_tag(tag)
            return 1
        name = public_name(function)
        if isinstance(function, str) and is_glob(name):
            return (yield from self.invalidate_glob(name))
        known = not isinstance(function, str) or bool(self.tier.tables(name))
        known = (yield from self._forget(name)) > 0 or known
        if known or self.shared is None:
            return int(known)
        return int(name in (yield from self._names.known()))  # it may have been invalidated before

    def invalidate_function(self, name: str) -> Steps[None]:
        """Forget every call of this function name, here and in the backend."""
        yield from self._forget(name)

    def _forget(self, *names: str) -> Steps[int]:
        """Delete the markers of these function names; how many stood in the backend."""
        removed = 0
        try:
            if self._guard is not None and names:
                layout = self.places.layout
                rests = list(map(function_marker, names))
                markers = [layout.key("g", bucket, rest) for bucket in layout.buckets for rest in rests]
                removed = yield self._guard.io("delete", markers, budget=Budget(DIRECT_SECONDS), kind="invalidate")
        finally:
            for name in names:
                self.tier.invalidate_function(name)
        return removed

    def invalidate_tag(self, tag: str) -> Steps[None]:
        """Forget every entry with this tag, here and in the backend."""
        if not isinstance(tag, str) or not tag:
            raise ConfigurationError("tag= takes a text that is not empty")
        hashed = self.places.tag_hash(tag)
        try:
            if self._guard is not None:
                layout = self.places.layout
                markers = [layout.key("g", bucket, f"t:{hashed}") for bucket in layout.buckets]
                yield self._guard.io("delete", markers, budget=Budget(DIRECT_SECONDS), kind="invalidate")
        finally:
            self.tier.invalidate_tag(hashed)

    def invalidate_glob(self, pattern: str) -> Steps[int]:
        """Forget every function whose name matches; how many. The registry of names tells which there are."""
        names = yield from self._names.known()
        # `pattern` may also be a name that only looks like a pattern
        matching = [name for name in names if name == pattern or fnmatch.fnmatchcase(name, pattern)]
        yield from self._forget(*matching)
        return len(matching)

    def clear(self) -> Steps[None]:
        """Forget everything under the prefix."""
        try:
            if self._guard is not None:
                layout = self.places.layout
                markers = [layout.key("g", bucket, "p") for bucket in layout.buckets]
                yield self._guard.io("delete", markers, budget=Budget(DIRECT_SECONDS), kind="flush")
        except BaseException:
            self.tier.clear()
            raise
        for _ in self.tier.clear_in_parts():
            yield PAUSE


def is_glob(name: str) -> bool:
    """Whether a function name is a pattern."""
    return not _GLOB.isdisjoint(name)
