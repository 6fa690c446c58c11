"""One function on a clock that stands still, in either colour: the stage of the freshness tests."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

from memocache._runtime import drivers as _runtime
from tests.promises.behaviour.world import World
from tests.promises.flight.support import Slow, auntil, join, start, until

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nobody's")


class Scene:
    """A world and one function of it: serial numbers while `slow.go` is set; those in `failing` are raised."""

    def __init__(self, world: World, **cache: Any) -> None:
        self.world = world
        self.cache = world.new_cache(**cache)
        self.slow = Slow()
        self.slow.go.set()
        self.failing: set[int] = set()
        self.seen: list[str] = []
        self.cost = 0.0

    def function(self, **settings: Any) -> Any:
        def ended(serial: int) -> int:
            self.seen.append(VARIABLE.get())
            self.world.clock.advance(self.cost)
            if serial in self.failing:
                raise LookupError(serial)
            return serial

        def f(n: int) -> int:
            return ended(self.slow())

        async def af(n: int) -> int:
            return ended(await self.slow.awaited())

        self.f = self.cache.cached(name="f", **settings)(af if self.world.is_async else f)
        return self.f

    def call(self, n: int = 1) -> Any:
        return self.world.call(self.f, n)

    def advance(self, seconds: float) -> None:
        self.world.clock.advance(seconds)

    def wait(self, condition: Callable[[], Any]) -> None:
        """Until something came about in the background."""
        if self.world.is_async:
            self.world.run(auntil(condition))
        else:
            until(condition)

    def settle(self) -> None:
        """Until nothing is under way in the background."""
        self.wait(lambda: not _runtime._background and not len(self.cache._flights))

    def meanwhile(self, count: int = 1) -> list[Any]:
        """`count` calls at once; what they came to."""
        if self.world.is_async:

            async def gather() -> list[Any]:
                return await asyncio.gather(*(self.f(1) for _ in range(count)), return_exceptions=True)

            return self.world.run(gather())  # type: ignore[no-any-return]  # World.run is untyped
        started = [start(lambda: self.f(1)) for _ in range(count)]
        join(*(thread for thread, _ in started))
        return [results[0] for _, results in started]

    def waited(self, calls: int) -> Any:
        """What one call came to that must outwait a tenth of a second, while no more than `calls` computations run."""

        def still(ended: bool) -> None:
            assert not ended, "it did not wait"
            assert self.slow.calls == calls
            self.slow.go.set()

        self.slow.go.clear()
        if self.world.is_async:

            async def wait() -> Any:
                task = asyncio.create_task(self.f(1))
                await auntil(lambda: self.slow.calls == calls)
                await asyncio.wait([task], timeout=0.1)
                still(task.done())
                return await task

            return self.world.run(wait())
        thread, results = start(lambda: self.f(1))
        until(lambda: self.slow.calls == calls)
        thread.join(0.1)
        still(not thread.is_alive())
        join(thread)
        return results[0]

    def counted(self) -> tuple[int, int, int]:
        stats = self.f.stats()
        return stats.hits, stats.misses, stats.stale_hits
