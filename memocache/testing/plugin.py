"""The pytest plugin: fixtures for tests of code that uses memocache's default cache.

It is active wherever memocache is installed, and loads memocache only when a fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from memocache import Cache


@pytest.fixture
def memocache_disabled() -> Iterator[None]:
    """Decorated functions compute and store nothing during the test."""
    from memocache import disabled

    with disabled():
        yield


@pytest.fixture
def memocache_memory() -> Iterator[Cache]:
    """The default cache is a fresh one in the process during the test; the former one comes back afterwards."""
    from memocache import Cache, _default

    with Cache("memory://") as fresh, _default.replaced(fresh):
        yield fresh
