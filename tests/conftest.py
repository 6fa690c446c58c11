"""Fixtures that every folder of tests may use: real servers, one of each kind a session, emptied for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from memocache.testing import servers


@pytest.fixture(scope="session")
def running_server() -> Iterator[Callable[[str], servers.Server]]:
    """A function from a kind of server to the session's one of it, started when first asked for."""
    running: dict[str, servers.Server] = {}

    def get(kind: str) -> servers.Server:
        if kind not in running:
            running[kind] = servers.start(kind)
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
