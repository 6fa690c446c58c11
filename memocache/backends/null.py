"""`NullBackend`: stores nothing (``null://``). It is for measuring, and for switching a cache off by its URL.

Every read finds nothing, and every write succeeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from memocache.backends.base import BaseBackend
from memocache.typing import BackendFacts, Guard, Put, Tally


class NullBackend(BaseBackend):
    """Storage that is always empty: every read misses, every transaction succeeds, nothing is kept."""

    shared = False
    blocks = False

    def read(self, keys: Sequence[str], *, timeout: float | None = None) -> list[bytes | None]:
        """Return None for every key."""
        return [None] * len(keys)

    def transact(
        self,
        guards: Sequence[Guard],
        puts: Sequence[Put] = (),
        deletes: Sequence[str] = (),
        *,
        members: Sequence[tuple[str, str]] = (),
        publish: str | None = None,
        timeout: float | None = None,
    ) -> list[bytes | None] | None:
        """Return None (success) and keep nothing, whatever the guards."""
        return None

    def delete(self, keys: Sequence[str], *, timeout: float | None = None) -> int:
        """Return 0."""
        return 0

    def scan(self, prefix: str, cursor: Any = None, *, timeout: float | None = None) -> tuple[Any, list[str]]:
        """Return the end at once."""
        return None, []

    def tally(self, tallies: Sequence[Tally], *, timeout: float | None = None) -> None:
        """Keep nothing."""

    def facts(self, *, timeout: float | None = None) -> BackendFacts:
        """Return the name, and zero bytes."""
        return BackendFacts("null", memory_bytes=0, expired=0, evicted=0)

    def close(self) -> None:
        """Do nothing."""
