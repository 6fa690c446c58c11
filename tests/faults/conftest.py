"""Both colours, and servers of a test's own to kill, stop and stand in front of."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from memocache.testing import FakeServer, FaultProxy, servers
from tests.faults.rig import Rig

_KINDS = servers.available_servers() or [pytest.param("none", marks=pytest.mark.skip("no server"))]


@pytest.fixture(params=["sync", "async"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """Both colours."""
    rig = Rig(request.param)
    yield rig
    rig.close()


@pytest.fixture(params=_KINDS)
def victim(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    """A server of each kind for one test alone."""
    with servers.start(request.param) as server:
        yield server


@pytest.fixture(params=_KINDS[:1])
def one_victim(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    """A server of one kind for one test alone: where the fault is not the server's, its kind does not matter."""
    with servers.start(request.param) as server:
        yield server


@pytest.fixture
def proxy(one_victim: servers.Server) -> Iterator[FaultProxy]:
    """A proxy in front of `one_victim`."""
    with FaultProxy(one_victim.port) as proxy:
        yield proxy


@pytest.fixture
def fake(one_victim: servers.Server) -> Iterator[FakeServer]:
    """A fake server in front of `one_victim`."""
    with FakeServer(one_victim.port) as fake:
        yield fake
