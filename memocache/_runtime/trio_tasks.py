"""`memocache._runtime.async_library` for trio; loaded only inside a run of trio.

What runs in the background is a system task: it belongs to no nursery and no cancel scope of a caller, and is cancelled
when the run ends.
"""

from __future__ import annotations

import contextvars
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import trio


class TrioBell:
    """See `async_library.Bell`."""

    __slots__ = ("_rung", "_token")

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._rung = trio.Event()

    def ring(self) -> None:
        """See `async_library.Bell.ring`."""
        try:
            self._token.run_sync_soon(self._rung.set)
        except trio.RunFinishedError:
            pass  # nobody waits there any more

    async def heard(self, timeout: float | None) -> bool:
        """See `async_library.Bell.heard`."""
        if timeout is None:
            await self._rung.wait()
            return True
        with trio.move_on_after(max(0.0, timeout)):
            await self._rung.wait()
        return self._rung.is_set()


class TrioTasks:
    """See `async_library.Tasks`."""

    def new_bell(self) -> TrioBell:
        """See `async_library.Tasks.new_bell`."""
        return TrioBell()

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], ended: Callable[[], None]) -> bool:
        """See `async_library.Tasks.spawn`."""

        admitted = True

        async def system_task() -> None:
            if not admitted:
                return
            try:
                await work()
            except BaseException as error:  # out of a system task it would end the whole run as trio's own failure
                rest = _without_cancelled(error)
                if rest is not None:
                    sys.excepthook(type(rest), rest, rest.__traceback__)
            finally:
                ended()

        try:
            context = contextvars.copy_context()
            task = trio.lowlevel.spawn_system_task(system_task, name="memocache-refresh", context=context)
        except RuntimeError:  # the run has all but ended
            return False
        # main has ended: it would be cancelled at its first step, and again whenever a caller began anew
        admitted = task.parent_nursery is not None and not task.parent_nursery.cancel_scope.cancel_called
        return admitted

    async def turn(self) -> None:
        """See `async_library.Tasks.turn`."""
        await trio.lowlevel.checkpoint()

    async def together(self, work: Callable[[], Coroutine[Any, Any, bool]], count: int) -> None:
        """See `async_library.Tasks.together`."""
        raised: list[BaseException] = []

        async def one() -> None:
            going = False
            try:
                going = await work()
            except BaseException as error:
                rest = _without_cancelled(error)
                if rest is None:
                    raise
                if not nursery.cancel_scope.cancel_called:  # else it was cut short, and the first failure tells
                    raised.append(rest)
            if not going:
                nursery.cancel_scope.cancel()

        try:
            async with trio.open_nursery() as nursery:
                for _ in range(count):
                    nursery.start_soon(one, name="memocache-map")
        except BaseExceptionGroup as group:  # what this task itself was to hear comes without the nursery's wrapping
            rest = _without_cancelled(group)
            while isinstance(rest, BaseExceptionGroup) and len(rest.exceptions) == 1:
                rest = rest.exceptions[0]
            if rest is None:
                raise
            raise rest from None
        if raised:
            raise raised[0]


def _without_cancelled(error: BaseException) -> BaseException | None:
    """What is left of an error without the cancellations that trio is to see."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1]
    return None if isinstance(error, trio.Cancelled) else error


TRIO = TrioTasks()
