"""The effects that the engine asks for, at the few points where sync and async differ.

Steps are a generator that yields effects and is told the reply; `memocache._runtime.drivers` carries them out. The
user's function is called by the driver and not from inside the generator, so a memoized recursion costs three frames
a level, and ``StopIteration`` passes. This module knows neither threads nor event loops.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, TypeAlias, TypeVar, final

from memocache._runtime import async_library
from memocache._runtime.singleflight import Signal

T = TypeVar("T")


@final
class Compute:
    """Run the user's function. Reply: its `Outcome`."""

    __slots__ = ("args", "function", "kwargs")

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs


@final
class Wait:
    """Wait until `signal` fires, at most `timeout` seconds (None: without bound). Reply: whether it fired."""

    __slots__ = ("signal", "timeout")

    def __init__(self, signal: Signal, timeout: float | None) -> None:
        self.signal = signal
        self.timeout = timeout


class Io:
    """Ask the backend. `blocking()` and `awaiting()` do it in their colour. Reply: its answer; failure is raised."""

    __slots__ = ()

    def blocking(self) -> Any:
        """Ask in this thread."""
        raise NotImplementedError

    def awaiting(self) -> Awaitable[Any]:
        """Ask in this task."""
        raise NotImplementedError


class Pause(Io):
    """Between two parts of long work in the process: let an event loop run others for a turn. Reply: None."""

    __slots__ = ()

    def blocking(self) -> None:
        """Nothing: other threads run anyway."""

    async def awaiting(self) -> None:
        """Give the loop a turn."""
        await async_library.here().turn()


@final
class Spawn:
    """Run `steps` in the background with the caller's context variables. Reply: whether it was started.

    Unless it is `urgent` it is refused when too many run already. If it was started, `ended` is called once with what
    tore the steps down (None: they came to their end); it returns whether somebody else raises that.
    """

    __slots__ = ("ended", "steps", "urgent")

    def __init__(
        self, steps: Steps[Any], ended: Callable[[BaseException | None], bool], *, urgent: bool = False
    ) -> None:
        self.steps = steps
        self.ended = ended
        self.urgent = urgent


Effect: TypeAlias = Compute | Wait | Io | Spawn
Steps: TypeAlias = Generator[Effect, Any, T]
