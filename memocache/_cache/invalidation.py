"""Invalidation: what must never be served again, of a function, of a tag, of a pattern of names, of the whole cache.

An invalidation deletes markers in the backend and raises generations in the process: its cost depends on neither
entries nor functions. After it returns, no call that begins later is served what was computed before. A pattern asks
the registry of names besides. Nothing here looks at an entry.
"""

from __future__ import annotations

import fnmatch
from typing import Any

from memocache._cache.function_names import FunctionNames
from memocache._cache.resolve import KeyResolver, S
from memocache._calls.function import name_of
from memocache._stores.remote.keyspace import function_marker
from memocache.exceptions import ConfigurationError

_GLOB = frozenset("*?[")


class Invalidation:
    """Forgets entries of one cache, here and in its backend."""

    def __init__(self, resolver: KeyResolver, names: FunctionNames) -> None:
        self.places = resolver.places
        self.tier = resolver.tier
        self.shared = resolver.shared
        self._ask = resolver.ask
        self._names = names

    def invalidate(self, function: Any, tag: str | None) -> S:
        """Forget every call of a function (itself, its name, or a pattern of names), or every entry with `tag`."""
        if (function is None) == (tag is None):
            raise ConfigurationError("invalidate() takes a function or its name, or tag=, and not both")
        if tag is not None:
            yield from self.invalidate_tag(tag)
            return
        name = name_of(function)
        if isinstance(function, str) and is_glob(name):
            yield from self.invalidate_glob(name)
        else:
            yield from self.invalidate_function(name)

    def invalidate_function(self, *names: str) -> S:
        """Forget every call of these function names, here and in the backend."""
        try:
            if self.shared is not None and names:
                layout = self.places.layout
                rests = list(map(function_marker, names))
                markers = [layout.key("g", bucket, rest) for bucket in layout.buckets for rest in rests]
                yield self._ask("delete", markers)
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
                yield self._ask("delete", markers)
        finally:
            self.tier.invalidate_tag(hashed)

    def invalidate_glob(self, pattern: str) -> S:
        """Forget every function whose name matches; the registry of names tells which there are."""
        names = yield from self._names.known()
        # `pattern` may also be a name that only looks like a pattern
        matching = [name for name in names if name == pattern or fnmatch.fnmatchcase(name, pattern)]
        yield from self.invalidate_function(*matching)

    def clear(self) -> S:
        """Forget everything under the prefix."""
        try:
            if self.shared is not None:
                layout = self.places.layout
                markers = [layout.key("g", bucket, "p") for bucket in layout.buckets]
                yield self._ask("delete", markers)
        finally:
            self.tier.clear()


def is_glob(name: str) -> bool:
    """Whether a function name is a pattern."""
    return not _GLOB.isdisjoint(name)
