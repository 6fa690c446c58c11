"""Fixtures that every folder of tests may use: real servers, one of each kind a session, emptied for each test.

A test or a parameter with the marker `full` runs only with ``MEMOCACHE_WORLDS=all``, as in ``.ci/run``.
"""

from __future__ import annotations

import functools
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from memocache import Cache
from memocache._cache import default
from memocache.testing import servers
from memocache.testing.server_topologies import ClusterServer, SentinelTrio
from tests.worlds import FULL, each_server

_FLEETS: dict[str, Callable[[str], Any]] = {"cluster": ClusterServer, "sentinel": SentinelTrio}


# The same examples in every run, and no failure because a machine is busy. `pytest --hypothesis-profile search` looks
# for new ones; what it finds becomes a test of its own.
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("suite", settings.get_profile("search"), derandomize=True, database=None)
settings.load_profile("suite")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked `full`, unless all is asked for."""
    if not FULL:
        left_out = [item for item in items if item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("full")]


_made: weakref.WeakSet[Cache] = weakref.WeakSet()
_init = Cache.__init__


@functools.wraps(_init)
def _noted_init(self: Cache, *args: Any, **kwargs: Any) -> None:
    _init(self, *args, **kwargs)
    _made.add(self)


Cache.__init__ = _noted_init  # type: ignore[method-assign]  # so that a fixture can close what a test left open


@pytest.fixture(autouse=True, scope="module")
def _small_heap() -> None:
    """Put what is older than the module out of the collector's sight: tests of lifetimes collect often, and each time
    would walk all that the session has imported.
    """
    gc.collect()  # garbage that is frozen stays
    gc.freeze()


@pytest.fixture(autouse=True)
def _own_default_cache() -> Iterator[None]:
    """Take a default cache away that a test made or left in place: the next test has that of the environment."""
    before = default._cache
    yield
    left = default._cache
    if left is not None and left is not before:
        default._cache = None
        left._core.retire()  # functions that found it look for the default cache again
        left.close()


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Close the caches that a test left open, so that their threads do not slow the tests after it."""
    yield
    if any(thread.name.startswith("memocache-") for thread in threading.enumerate()):
        for cache in list(_made):
            cache.close()


@pytest.fixture(scope="session")
def running_server() -> Iterator[Callable[[str], Any]]:
    """A function from a kind of server ("cluster" and "sentinel" are kinds too) to the session's one of it, started
    when first asked for.
    """
    running: dict[str, Any] = {}

    def get(kind: str) -> Any:
        if kind not in running:
            fleet = _FLEETS.get(kind)
            running[kind] = servers.start(kind) if fleet is None else fleet(servers.available_servers()[0])
        return running[kind]

    yield get
    for server in running.values():
        server.stop()


@pytest.fixture(params=each_server())
def server(request: pytest.FixtureRequest, running_server: Callable[[str], servers.Server]) -> servers.Server:
    """Each kind of server that this machine has, with nothing in it; tests that stop it must start their own."""
    server = running_server(request.param)
    with server.client() as client:
        client.config_set("maxmemory", 0)
        client.flushall()
    return server


@pytest.fixture
def url(server: servers.Server) -> str:
    """The URL of `server`."""
    return server.url
