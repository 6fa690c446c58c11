"""The worlds of the behaviour suite, with one kind of server, and that server."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from memocache.testing import servers
from tests.promises.behaviour.conftest import _world, local, patient  # noqa: F401  # fixtures are found by name
from tests.promises.behaviour.world import World
from tests.promises.flight.conftest import valkey  # noqa: F401
from tests.worlds import SERVERS, worlds

SHARED = ("object", "disk", *SERVERS[:1])


@pytest.fixture(params=worlds(("memory", *SHARED)))
def world(request: pytest.FixtureRequest, running_server: Callable[[str], servers.Server]) -> Iterator[World]:
    """The process, a backend object and a server, in every colour."""
    yield from _world(request.param, running_server)


@pytest.fixture(params=worlds(SHARED))
def shared(request: pytest.FixtureRequest, running_server: Callable[[str], servers.Server]) -> Iterator[World]:
    """A backend object and a server, in every colour."""
    yield from _world(request.param, running_server)
