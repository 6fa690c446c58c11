"""Django, set up once for this process, and a backend of it on every kind of place in both colours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memocache.testing import servers
from tests.patience import patient, unhurried  # noqa: F401  # the first is autouse
from tests.worlds import SERVERS, worlds

BACKEND = "memocache.django.MemocacheCache"


class Place:
    """A location and a colour; `new` makes a backend there, as each thread and task has one of its own."""

    def __init__(self, location: str, colour: str, prefix: str) -> None:
        self.location, self.colour, self.prefix = location, colour, prefix
        self._runner = asyncio.Runner()

    def new(self, **params: Any) -> Any:
        """Another object of the backend; with options of its own it is another cache."""
        from memocache.django import MemocacheCache

        params["OPTIONS"] = {"prefix": self.prefix, **params.get("OPTIONS", {})}
        return MemocacheCache(self.location, params)

    def ask(self, cache: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        """A method of a backend, in this colour."""
        if self.colour == "sync":
            return getattr(cache, method)(*args, **kwargs)
        return self.run(getattr(cache, f"a{method}")(*args, **kwargs))

    def run(self, awaitable: Any) -> Any:
        """What an awaitable comes to, on this place's loop."""

        async def wait() -> Any:
            return await awaitable

        return self._runner.run(wait())

    def close(self) -> None:
        """Close the loop."""
        self._runner.close()


@pytest.fixture(autouse=True, scope="session")
def django() -> Any:
    """Django with settings and no applications; its settings are for good."""
    django = pytest.importorskip("django")
    from django.conf import settings

    if not settings.configured:
        settings.configure(SECRET_KEY="of the tests")
    django.setup()
    return django


@pytest.fixture(params=worlds(("memory", "disk", *SERVERS)))
def place(
    request: pytest.FixtureRequest, running_server: Callable[[str], servers.Server], tmp_path: Path
) -> Iterator[Place]:
    """Every kind of place, in every colour."""
    kind, _, colour = request.param.partition("-")
    if kind == "memory":
        location = "memory://"
    else:
        location = f"disk://{tmp_path}" if kind == "disk" else unhurried(running_server(kind).url)
    place = Place(location, colour, prefix=f"django-{request.node.name}")
    yield place
    place.run(place.new().memocache.aio.close())
    place.close()
