"""Both colours, and servers of a test's own to kill, stop and stand in front of."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from memocache._runtime import circuit_breaker as _breaker
from memocache._stores.remote import guard as _guard
from memocache.testing import FakeServer, FaultProxy, servers
from tests.promises.faults.rig import Rig
from tests.worlds import each_server

_KINDS = each_server()


@pytest.fixture(params=["sync", "async"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """Both colours; what its calls came to goes into the report (see `report.py`)."""
    rig = Rig(request.param)
    yield rig
    rig.close()
    seen = rig.seen
    figures = {"colour": rig.colour, "calls": seen.calls, "wrong": seen.wrong, "raised": len(seen.raised)}
    # at leisure calls have no deadline, so what they take is the machine's affair
    timed = {"worst": None if "leisure" in request.fixturenames else seen.worst, "recovery": rig.recovery}
    request.node.user_properties.append(("figures", figures | timed))


@pytest.fixture
def leisure(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Calls have half a minute each: where hits are counted, a machine that stands still must not make misses of them.

    Returns what makes a URL without a short timeout of any URL.
    """
    monkeypatch.setattr(_guard.Budget.__init__, "__defaults__", (30.0,))
    monkeypatch.setattr(_guard, "CALL_SECONDS", 30.0)
    monkeypatch.setattr("memocache._runtime.budget.CALL_SECONDS", 30.0)
    return lambda url: url + "?timeout=30&connect_timeout=30"


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The breaker lets callers try again soon: for tests of what happens when they do, not of how often."""
    monkeypatch.setattr(_breaker, "PROBE_AFTER", 0.05)
    monkeypatch.setattr(_breaker, "STALL_EVERY", 0.05)


@pytest.fixture(params=_KINDS)
def victim(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    """A server of each kind for one test alone."""
    with servers.start(request.param) as server:
        yield server


@pytest.fixture(params=_KINDS[:1])
def one_victim(
    request: pytest.FixtureRequest, running_server: Callable[[str], servers.Server]
) -> Iterator[servers.Server]:
    """A server of one kind, empty: where the fault is not the server's, its kind does not matter.

    It is the whole session's: tests may suspend it, and must not kill it or change its settings.
    """
    server = running_server(request.param)
    with server.client() as client:
        client.flushall()
    yield server
    server.resume()


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
