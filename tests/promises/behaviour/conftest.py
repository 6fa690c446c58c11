"""The worlds of the behaviour suite: every backend of this machine, in both colours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memocache import Cache
from memocache.testing import servers
from tests.patience import patient  # noqa: F401  # autouse
from tests.promises.behaviour.world import World
from tests.promises.near.support import believing  # noqa: F401  # autouse
from tests.worlds import FLEETS, SERVERS, TIERED, worlds

SHARED = ("object", "disk", *SERVERS, *TIERED, *FLEETS)


def _world(name: str, running_server: Callable[[str], servers.Server]) -> Iterator[World]:
    kind, _, colour = name.partition("-")
    kind_of_server = SERVERS[0] if kind == "tiered" else kind
    server = running_server(kind_of_server) if kind_of_server in (*SERVERS, *FLEETS) else None
    if kind == "cluster":
        server.flush()
    elif server is not None:
        with server.client() as client:
            client.flushall()
    world = World(kind, colour, server)
    yield world
    world.close()


@pytest.fixture(params=worlds(("memory", *SHARED)))
def world(request: pytest.FixtureRequest, running_server: Callable[[str], servers.Server]) -> Iterator[World]:
    """Every backend in every colour."""
    yield from _world(request.param, running_server)


@pytest.fixture(params=worlds(SHARED))
def shared(request: pytest.FixtureRequest, running_server: Callable[[str], servers.Server]) -> Iterator[World]:
    """Every backend that others may share, in every colour."""
    yield from _world(request.param, running_server)


@pytest.fixture(params=worlds(("memory",)))
def local(request: pytest.FixtureRequest, running_server: Callable[[str], servers.Server]) -> Iterator[World]:
    """The process alone, in every colour."""
    yield from _world(request.param, running_server)


@pytest.fixture(params=["memory", *servers.available_servers()[:1], "disk"])
def cache(
    request: pytest.FixtureRequest, running_server: Callable[[str], servers.Server], tmp_path: Path
) -> Iterator[Cache]:
    """A cache on every kind of backend."""
    url = {"memory": "memory://", "disk": f"disk://{tmp_path}"}.get(request.param)
    with Cache(url or running_server(request.param).url, prefix="functions") as cache:
        cache.clear()
        yield cache
