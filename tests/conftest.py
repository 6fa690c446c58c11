"""Fixtures that every folder of tests may use: real servers, one of each kind a session, emptied for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings

from memocache.testing import servers
from memocache.testing.fleet import ClusterServer, SentinelTrio

_FLEETS: dict[str, Callable[[str], Any]] = {"cluster": ClusterServer, "sentinel": SentinelTrio}


settings.register_profile("suite", deadline=None)  # a busy machine is no failure
settings.load_profile("suite")


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


@pytest.fixture(params=servers.available_servers() or [pytest.param("none", marks=pytest.mark.skip("no server"))])
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
