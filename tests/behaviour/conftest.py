"""The worlds of the behaviour suite: every backend of this machine, in both colours."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from memocache._guard import Budget
from memocache.testing import servers
from tests.behaviour.world import World
from tests.near.support import hasten

COLOURS = ("sync", "async")
SERVERS = servers.available_servers()
SHARED = ("object", *SERVERS, *(["tiered"] if SERVERS else []))


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls may take 5 s of their server here: a busy machine must not turn a hit into an outage.

    And copies are believed as long as nothing is told: what the clock of a test does must not hide them.
    """
    monkeypatch.setattr(Budget.__init__, "__defaults__", (5.0,))
    hasten(monkeypatch, trust=1e9)


def _worlds(kinds: tuple[str, ...]) -> list[str]:
    return [f"{kind}-{colour}" for kind in kinds for colour in COLOURS]


def _world(name: str, running_server: Callable[[str], servers.Server]) -> Iterator[World]:
    kind, _, colour = name.partition("-")
    kind_of_server = SERVERS[0] if kind == "tiered" else kind
    server = running_server(kind_of_server) if kind_of_server in SERVERS else None
    if server is not None:
        with server.client() as client:
            client.flushall()
    world = World(kind, colour, server)
    yield world
    world.close()


@pytest.fixture(params=_worlds(("memory", *SHARED)))
def world(request: pytest.FixtureRequest, running_server: Callable[[str], servers.Server]) -> Iterator[World]:
    """Every backend in every colour."""
    yield from _world(request.param, running_server)


@pytest.fixture(params=_worlds(SHARED))
def shared(request: pytest.FixtureRequest, running_server: Callable[[str], servers.Server]) -> Iterator[World]:
    """Every backend that others may share, in every colour."""
    yield from _world(request.param, running_server)


@pytest.fixture(params=_worlds(("memory",)))
def local(request: pytest.FixtureRequest, running_server: Callable[[str], servers.Server]) -> Iterator[World]:
    """The process alone, in every colour."""
    yield from _world(request.param, running_server)
