"""The pytest plugin: fixtures and a marker for tests of code that uses memocache's default cache.

``@pytest.mark.memocache("disabled")``, ``("memory")`` and ``("strict")`` ask for the fixtures of those names.
``("memory", cache)`` keeps a module's own cache in the process, as `memocache.testing.in_memory` does. pytest finds
the plugin wherever memocache is installed. memocache itself is loaded only when a fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from memocache import Cache


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers", "memocache(kind, *caches): run with memocache 'disabled', in 'memory', or 'strict'"
    )


@pytest.fixture(autouse=True)
def _memocache_marked(request: pytest.FixtureRequest) -> Iterator[None]:
    marker = request.node.get_closest_marker("memocache")
    if marker is None:
        yield
        return
    kinds = ("disabled", "memory", "strict")
    kind, *caches = marker.args or ("",)
    if kind not in kinds or (caches and kind != "memory"):
        raise pytest.UsageError(f"the marker memocache takes one of {', '.join(kinds)}; 'memory' may be given caches")
    if not caches:
        request.getfixturevalue(f"memocache_{kind}")
        yield
        return
    from memocache.testing.caches_in_memory import in_memory

    with in_memory(*caches):
        yield


@pytest.fixture
def memocache_disabled() -> Iterator[None]:
    """Decorated functions compute and store nothing during the test."""
    from memocache import disabled

    with disabled():
        yield


@pytest.fixture
def memocache_memory() -> Iterator[Cache]:
    """The default cache is a fresh one in the process during the test; the former one comes back afterwards."""
    from memocache import Cache
    from memocache._cache import default as _default

    with Cache("memory://") as fresh, _default.replaced(fresh):
        yield fresh


@pytest.fixture
def memocache_strict() -> Iterator[Cache]:
    """The default cache behaves as on a server: results go through bytes, arguments must have stable values.

    The test fails at its end if a result could not be stored, or stayed in the process.
    """
    import warnings

    from memocache import Cache, UncacheableWarning, UnsharedWarning
    from memocache._cache import default as _default
    from memocache.backends.memory import MemoryBackend
    from memocache.instrumentation import Event, Rejected

    complaints: list[str] = []

    def watch(event: Event) -> None:
        if isinstance(event, Rejected) and event.cause in ("unencodable", "too large"):
            complaints.append(f"{event.function}: a result could not be stored ({event.cause})")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with Cache(MemoryBackend(), observers=[watch]) as fresh, _default.replaced(fresh):
            yield fresh
    for warning in caught:
        if issubclass(warning.category, UncacheableWarning | UnsharedWarning):
            complaints.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if complaints:
        pytest.fail("memocache, strict: " + "; ".join(dict.fromkeys(complaints)), pytrace=False)
