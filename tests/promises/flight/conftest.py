"""Caches for the flight tests: in the process, on a backend object, on a real server."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from memocache import Cache
from memocache.backends.memory import MemoryBackend
from memocache.testing import servers
from tests.patience import hurried, patient, unhurried  # noqa: F401  # the second is autouse
from tests.worlds import SERVERS, several

KINDS = ("memory", "object", *SERVERS[:1])


@pytest.fixture(params=several(KINDS))
def make_cache(
    request: pytest.FixtureRequest, running_server: Callable[[str], servers.Server]
) -> Iterator[Callable[..., Cache]]:
    """A function that makes caches of one backend and prefix (as so many processes would, where it is shared)."""
    made: list[Cache] = []
    prefix = f"flight-{uuid.uuid4().hex}"
    shared = MemoryBackend()

    def make(**options: Any) -> Cache:
        backend: Any = {"memory": "memory://", "object": shared}.get(request.param)
        if backend is None:
            backend = unhurried(running_server(request.param).url)
        made.append(Cache(backend, prefix=prefix, **options))
        return made[-1]

    make.kind = request.param  # type: ignore[attr-defined]  # so that a test can ask
    yield make
    for cache in made:
        cache.close()


@pytest.fixture
def cache(make_cache: Callable[..., Cache]) -> Cache:
    """One cache of each kind."""
    return make_cache()


@pytest.fixture
def valkey(running_server: Callable[[str], servers.Server]) -> servers.Server:
    """A real server, emptied."""
    kinds = servers.available_servers()
    if not kinds:
        pytest.skip("no server on this machine")
    server = running_server(kinds[0])
    with server.client() as client:
        client.flushall()
    return server
