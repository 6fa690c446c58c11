"""Caching that is switched off in the current context, for all caches or for some.

The state is a context variable: it holds for this thread or task and for the tasks that it starts. This module knows
caches by their ids alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

ALL = frozenset({-1})
"""Stands for every cache."""

DISABLED: ContextVar[frozenset[int] | None] = ContextVar("memocache_disabled", default=None)
"""The ids of the caches that are off here; None for none, which is what the compiled look-up tests for."""


@contextmanager
def off(ids: frozenset[int]) -> Iterator[None]:
    """Switch the caches of these ids off inside the block, in this thread or task and the tasks it starts."""
    reset = DISABLED.set((DISABLED.get() or frozenset()) | ids)
    try:
        yield
    finally:
        DISABLED.reset(reset)
