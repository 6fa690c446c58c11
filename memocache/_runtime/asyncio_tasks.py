"""`memocache._runtime.async_library` for asyncio, and for every loop that keeps to it (uvloop)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

_tasks: set[asyncio.Task[None]] = set()
"""What runs in the background: a loop keeps only weak references to its tasks."""


class AsyncioBell:
    """See `async_library.Bell`."""

    __slots__ = ("_loop", "_rung")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rung: asyncio.Future[None] = self._loop.create_future()

    def ring(self) -> None:
        """See `async_library.Bell.ring`."""
        try:
            self._loop.call_soon_threadsafe(_set, self._rung)
        except RuntimeError:
            pass  # the loop is closed: nobody waits there any more

    async def heard(self, timeout: float | None) -> bool:
        """See `async_library.Bell.heard`."""
        if timeout is None:
            await self._rung
            return True
        await asyncio.wait((self._rung,), timeout=timeout)
        return self._rung.done()


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class AsyncioTasks:
    """See `async_library.Tasks`."""

    def new_bell(self) -> AsyncioBell:
        """See `async_library.Tasks.new_bell`."""
        return AsyncioBell()

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], ended: Callable[[], None]) -> bool:
        """See `async_library.Tasks.spawn`."""

        def done(task: asyncio.Task[None]) -> None:
            _tasks.discard(task)
            ended()

        task = asyncio.get_running_loop().create_task(work(), name="memocache-refresh")
        _tasks.add(task)
        task.add_done_callback(done)
        return True

    async def turn(self) -> None:
        """See `async_library.Tasks.turn`."""
        await asyncio.sleep(0)

    async def together(self, work: Callable[[], Coroutine[Any, Any, bool]], count: int) -> None:
        """See `async_library.Tasks.together`."""
        torn: list[BaseException] = []

        async def one() -> bool:
            try:
                return await work()
            except (KeyboardInterrupt, SystemExit) as error:  # a task that raised it would stop the loop
                torn.append(error)
                return False

        tasks = [asyncio.create_task(one(), name="memocache-map") for _ in range(count)]
        running = set(tasks)
        try:
            while running:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                if not all(not task.cancelled() and task.exception() is None and task.result() for task in done):
                    break
        except GeneratorExit:  # closed elsewhere: nothing can be awaited any more
            _cancel(tasks)
            raise
        except BaseException:
            _cancel(tasks)
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        cut_short = _cancel(tasks)
        await asyncio.gather(*tasks, return_exceptions=True)
        if torn:
            raise torn[0]
        for task in tasks:
            if task not in cut_short:
                task.result()  # raises what ended it


def _cancel(tasks: Sequence[asyncio.Task[bool]]) -> list[asyncio.Task[bool]]:
    """Cancel what runs; which those are."""
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel()
    return running


ASYNCIO = AsyncioTasks()
