"""The contract on a cluster and behind sentinels, with scripts and with scripts denied."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from memocache.backends._registry import make_backend
from memocache.testing import servers
from memocache.testing.contract import BackendContract
from memocache.testing.server_topologies import ClusterServer, SentinelTrio
from memocache.typing import Backend, Put

pytestmark = pytest.mark.skipif(not servers.available_servers(), reason="no server")

# Other tests share the two cores: bounds are tested elsewhere.
_PATIENT = "?timeout=10&connect_timeout=10"


class _OnAFleet(BackendContract):
    kind: str

    @pytest.fixture(autouse=True)
    def _fleet(self, running_server: Callable[[str], Any]) -> None:
        self.fleet = running_server(self.kind)

    def make_backend(self) -> Backend:
        backend = make_backend(self.fleet.url + _PATIENT)
        assert hasattr(backend, "transact")
        backend.ping()  # where channels are is known once a cluster was looked at, which callers have done by then
        return backend


class TestCluster(_OnAFleet):
    """Three primaries."""

    kind = "cluster"


class TestSentinel(_OnAFleet):
    """A master behind three sentinels."""

    kind = "sentinel"


class TestClusterWithoutScripts(_OnAFleet):
    """A user whose ACL denies scripts, so transactions go by WATCH, MULTI and EXEC at one node."""

    kind = "cluster"

    @pytest.fixture(autouse=True)
    def _user(self, _fleet: None) -> Iterator[None]:
        fleet: ClusterServer | SentinelTrio = self.fleet
        self.user = f"u{uuid.uuid4().hex}"
        for server in fleet.servers:
            with server.client() as client:
                client.execute_command("ACL", "SETUSER", self.user, "on", ">p@ss", "~*", "&*", "+@all", "-@scripting")
        yield
        for server in fleet.servers:
            with server.client() as client:
                client.execute_command("ACL", "DELUSER", self.user)

    def make_backend(self) -> Backend:
        scheme, _, place = self.fleet.url.partition("://")
        backend = make_backend(f"{scheme}://{self.user}:p%40ss@{place}{_PATIENT}")
        assert hasattr(backend, "transact")
        backend.ping()  # where channels are is known once a cluster was looked at, which callers have done by then
        return backend

    def test_the_denial_is_remembered(self, backend: Any) -> None:
        """After the first transaction no script is tried again, at any node."""
        backend.transact([], [Put("a", b"1")])
        assert not backend._say._say.scripts
