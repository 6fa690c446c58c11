"""`SideBySide`: many steps carried out together, as an effect.

In a task they are so many tasks at a time, which inherit the context of who asks; in a thread they are one after the
other. The first failure ends them all: what runs is cancelled and waited for, and nothing more is begun.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from memocache._runtime import async_library
from memocache._runtime.drivers import arun, run
from memocache._runtime.effects import Io, Steps
from memocache._runtime.outcome import Outcome


class SideBySide(Io):
    """Carry out steps, `most` of them at a time. Reply: their outcomes, in order; None for those that were cut short
    or not begun, because one of the others is a failure.
    """

    __slots__ = ("_each", "_most", "_outcomes")

    def __init__(self, each: Sequence[Callable[[], Steps[Outcome]]], most: int) -> None:
        self._each = each
        self._most = most
        self._outcomes: list[Outcome | None] = [None] * len(each)

    def blocking(self) -> list[Outcome | None]:
        """One after the other."""
        for at, make in enumerate(self._each):
            self._outcomes[at] = outcome = run(make())
            if outcome.error is not None:
                break
        return self._outcomes

    async def awaiting(self) -> list[Outcome | None]:
        """In tasks of this loop."""
        left = iter(range(len(self._each)))
        await async_library.here().together(partial(self._work, left), min(self._most, len(self._each)))
        return self._outcomes

    async def _work(self, left: Any) -> bool:
        """Carry out one after the other of what is left; whether all of them came to a value."""
        for at in left:
            self._outcomes[at] = outcome = await self._outcome(self._each[at])
            if outcome.error is not None:
                return False
        return True

    async def _outcome(self, make: Callable[[], Steps[Outcome]]) -> Outcome:
        try:
            return await arun(make())
        except Exception as error:  # of the steps themselves, as under `raise_faults`
            return Outcome(None, error, error.__traceback__)
