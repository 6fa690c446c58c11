"""Caches for the tests under trio: in the process, on disk, on a real server; and what such a test waits for."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memocache import Cache
from memocache.testing import servers
from tests.patience import patient, unhurried  # noqa: F401  # the first is autouse
from tests.promises.flight.support import BOUND
from tests.worlds import SERVERS, full

trio = pytest.importorskip("trio")


@pytest.fixture(params=["memory", "disk", *SERVERS[:1], *([full("cluster")] if SERVERS else [])])
def make_cache(
    request: pytest.FixtureRequest, running_server: Callable[[str], servers.Server], tmp_path: Path
) -> Iterator[Callable[..., Cache]]:
    """A function that makes caches of one backend and prefix (as so many processes would, where it is shared)."""
    made: list[Cache] = []
    prefix = f"trio-{uuid.uuid4().hex}"

    def make(**options: Any) -> Cache:
        url = {"memory": "memory://", "disk": f"disk://{tmp_path}"}.get(request.param)
        made.append(Cache(url or unhurried(running_server(request.param).url), prefix=prefix, **options))
        return made[-1]

    make.kind = request.param  # type: ignore[attr-defined]  # so that a test can ask
    yield make
    for cache in made:
        cache.close()


@pytest.fixture
def cache(make_cache: Callable[..., Cache]) -> Cache:
    """One cache of each kind, which raises what its backend cannot do."""
    return make_cache(on_error="raise")


@pytest.fixture
def run() -> Callable[..., Any]:
    """`trio.run`, bounded."""

    def run(main: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        async def bounded() -> Any:
            with trio.fail_after(BOUND):
                return await main(*args)

        return trio.run(bounded)

    return run


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    """Wait, in a trio task, for a condition that others bring about."""

    async def until(condition: Callable[[], Any]) -> None:
        with trio.fail_after(BOUND):
            while not condition():
                await trio.sleep(0.001)

    return until
