"""Worlds for the bulk tests: the process alone and a real server, in both colours."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from memocache import Cache
from memocache._cache import stats_reporter as _tally
from memocache.testing import servers
from tests.patience import patient  # noqa: F401  # autouse
from tests.promises.behaviour.world import World
from tests.promises.near.support import believing  # noqa: F401  # autouse
from tests.worlds import COLOURS, TIERED, worlds
from tests.worlds import SERVERS as ALL_SERVERS

SERVERS = ALL_SERVERS[:1]


@pytest.fixture(autouse=True)
def _no_flushes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted is not sent while commands are counted."""
    monkeypatch.setattr(_tally, "FLUSH_SECONDS", 3600.0)


def _world(name: str, running_server: Callable[[str], servers.Server]) -> Iterator[World]:
    kind, _, colour = name.partition("-")
    server = running_server(SERVERS[0]) if kind in (*SERVERS, "tiered") else None
    if server is not None:
        with server.client() as client:
            client.flushall()
    world = World(kind, colour, server)
    yield world
    world.close()


@pytest.fixture(params=worlds(("memory", "disk", *SERVERS, *TIERED)))
def world(request: pytest.FixtureRequest, running_server: Callable[[str], servers.Server]) -> Iterator[World]:
    """The process and a server, in both colours."""
    yield from _world(request.param, running_server)


@pytest.fixture(params=worlds((*SERVERS, *TIERED)))
def served(request: pytest.FixtureRequest, running_server: Callable[[str], servers.Server]) -> Iterator[World]:
    """A server, in both colours."""
    yield from _world(request.param, running_server)


@pytest.fixture(params=COLOURS)
def unreachable(request: pytest.FixtureRequest) -> Iterator[tuple[World, Cache]]:
    """A world, and a cache whose backend nobody answers for."""
    world = World("memory", request.param, None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen: connections are refused
        with Cache(f"redis://127.0.0.1:{taken.getsockname()[1]}/0") as cache:
            yield world, cache
            world.run(cache.aio.close())
    world.close()
