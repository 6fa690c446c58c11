"""Which async library runs here, and what the drivers and the backends' waits ask of it: the port to event loops.

asyncio and trio answer, each in a module of its own that is loaded only where it is used. trio is asked first, and only
where the program has imported it: as a guest it runs inside a standing asyncio loop. Cancellation is the library's own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from typing import Any, Protocol


class Bell(Protocol):
    """Wakes the task that made it."""

    def ring(self) -> None:
        """Wake, from any thread; nobody minds a bell whose loop is over."""
        ...

    async def heard(self, timeout: float | None) -> bool:
        """Wait until it rings, at most `timeout` seconds (None: without bound); whether it rang. May be asked again."""
        ...


class Tasks(Protocol):
    """What an async library does for us; `AsyncioTasks` and `TrioTasks` are two of these."""

    def new_bell(self) -> Bell:
        """A bell for this task."""
        ...

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], ended: Callable[[], None]) -> bool:
        """Run `work` in the background with this task's context variables, then call `ended`; False: it cannot be."""
        ...

    async def turn(self) -> None:
        """Let others run for a turn."""
        ...

    async def together(self, work: Callable[[], Coroutine[Any, Any, bool]], count: int) -> None:
        """Run `work` in so many tasks at a time, which inherit this one's context.

        The first that returns False or raises ends them all: they are cancelled and waited for. Raises what it raised.
        """
        ...


def here() -> Tasks:
    """The library that runs the calling task."""
    if in_trio():
        from memocache._runtime.trio_tasks import TRIO

        return TRIO
    from memocache._runtime.asyncio_tasks import ASYNCIO  # not when memocache is imported

    return ASYNCIO


def in_trio() -> bool:
    """Whether a trio task runs in this thread now, and no asyncio task inside it."""
    trio = sys.modules.get("trio")
    try:
        if trio is None or not trio.lowlevel.in_trio_task():
            return False
    except AttributeError:  # it is being imported at this moment
        return False
    asyncio = sys.modules.get("asyncio")
    try:
        return asyncio is None or asyncio.current_task() is None
    except RuntimeError:  # no loop runs here
        return True


def refuse_other_library() -> None:
    """Raise RuntimeError under another async library than asyncio and trio."""
    sniffio = sys.modules.get("sniffio")
    if sniffio is None:
        return
    try:
        library = sniffio.current_async_library()
    except sniffio.AsyncLibraryNotFoundError:
        return  # driven by hand
    if library not in ("asyncio", "trio"):
        raise RuntimeError(
            f"memocache's async functions run under asyncio (uvloop too) and trio, and this is {library}: call a sync "
            "function decorated with cached() in a worker thread instead"
        )
