"""What the bulk tests share: a loader that records what it is asked for, and counts of what a server was sent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from memocache import Cache
from memocache.testing.servers import Server
from tests.promises.behaviour.world import World
from tests.promises.flight.support import BOUND, start


class Shelf:
    """The body of a loader: what was asked of it, call by call, and what it lacks, refuses or waits for."""

    def __init__(self) -> None:
        self.asked: list[list[Any]] = []
        self.lacks: set[Any] = set()
        self.refuses: set[Any] = set()

    def load(self, ids: list[Any]) -> dict[Any, Any]:
        """A value ``[id]`` for each id there is."""
        self.asked.append(ids)
        if refused := self.refuses.intersection(ids):
            raise LookupError(sorted(refused))
        return {one: [one] for one in ids if one not in self.lacks}


def loader(world: World, target: Any, cache: Cache | None = None, **settings: Any) -> Any:
    """Decorate a loader in the world's colour."""
    return (cache or world.cache).cached_many(name="load", **settings)(world.colourful(target))


def counted(function: Any) -> tuple[int, int]:
    """Hits and misses."""
    stats = function.stats()
    return stats.hits, stats.misses


@contextmanager
def commands(server: Server, *names: str) -> Iterator[dict[str, int]]:
    """How often each command was sent inside the block; read it afterwards."""
    sent: dict[str, int] = {}

    def read(client: Any) -> dict[str, int]:
        stats = client.info("commandstats")
        return {name: stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in names}

    with server.client() as client:
        before = read(client)
        yield sent
        sent |= {name: calls - before[name] for name, calls in read(client).items()}


def own_thread(world: World, call: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """A call in a thread (and where it is async, a loop) of its own, and the list its outcome will be the only item
    of.
    """

    async def bounded() -> Any:
        async with asyncio.timeout(BOUND):
            return await call()

    return start((lambda: asyncio.run(bounded())) if world.is_async else call)
