"""`SideBySide`: many steps carried out together, as an effect.

In a task they are so many tasks at a time, which inherit the context of who asks; in a thread they are one after the
other. The first failure ends them all: what runs is cancelled and waited for, and nothing more is begun.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from memocache._runtime.drivers import arun, run
from memocache._runtime.effects import Io, Steps
from memocache._runtime.outcome import Outcome

if TYPE_CHECKING:
    import asyncio


class SideBySide(Io):
    """Carry out steps, `most` of them at a time. Reply: their outcomes, in order; None for those that were cut short
    or not begun, because one of the others is a failure.
    """

    __slots__ = ("_each", "_most", "_outcomes", "_torn")

    def __init__(self, each: Sequence[Callable[[], Steps[Outcome]]], most: int) -> None:
        self._each = each
        self._most = most
        self._outcomes: list[Outcome | None] = [None] * len(each)
        self._torn: BaseException | None = None

    def blocking(self) -> list[Outcome | None]:
        """One after the other."""
        for at, make in enumerate(self._each):
            self._outcomes[at] = outcome = run(make())
            if outcome.error is not None:
                break
        return self._outcomes

    async def awaiting(self) -> list[Outcome | None]:
        """In tasks of this loop."""
        import asyncio  # not when memocache is imported

        left = iter(range(len(self._each)))
        tasks: list[asyncio.Task[bool]] = []
        for _ in range(min(self._most, len(self._each))):
            tasks.append(asyncio.create_task(self._work(left), name="memocache-map"))
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
        if self._torn is not None:
            raise self._torn
        for task in tasks:
            if task not in cut_short:
                task.result()  # raises what ended it
        return self._outcomes

    async def _work(self, left: Any) -> bool:
        """Carry out one after the other of what is left; whether all of them came to a value."""
        for at in left:
            try:
                self._outcomes[at] = outcome = await self._outcome(self._each[at])
            except (KeyboardInterrupt, SystemExit) as error:  # a task that raised it would stop the loop
                self._torn = error
                return False
            if outcome.error is not None:
                return False
        return True

    async def _outcome(self, make: Callable[[], Steps[Outcome]]) -> Outcome:
        try:
            return await arun(make())
        except Exception as error:  # of the steps themselves, as under `raise_faults`
            return Outcome(None, error, error.__traceback__)


def _cancel(tasks: Sequence[asyncio.Task[bool]]) -> list[asyncio.Task[bool]]:
    """Cancel what runs; which those are."""
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel()
    return running
