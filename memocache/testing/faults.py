"""Backends that fail or dawdle on order, around any backend, in both colours.

::

    backend = FailingBackend(MemoryBackend(), every=3)
    cache = Cache(backend)
    backend.active = False          # and all is well again

The wrapped backend does the work; these decide only whether and when. The same seed gives the same failures.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import threading
import time
from collections.abc import Callable, Collection
from typing import Any, Literal

OPERATIONS = frozenset(
    {"read", "transact", "delete", "scan", "ping", "members", "prolong", "tally", "counts", "facts", "subscribe"}
)
"""What can be made to fail; `close` always works."""


class _Spoiled:
    """A backend whose operations are disturbed while `active`; `disturbed` counts them.

    `every` disturbs each nth operation, `probability` (of a generator with `seed`) any; neither: all of them.
    `operations` are the names that count; all of `OPERATIONS` if left out.
    """

    def __init__(
        self,
        backend: Any,
        *,
        every: int | None = None,
        probability: float | None = None,
        seed: int = 0,
        operations: Collection[str] | None = None,
    ) -> None:
        unknown = set(operations or ()) - OPERATIONS
        if unknown:
            raise ValueError(f"unknown operations: {', '.join(sorted(unknown))}")
        self.backend = backend
        self.shared: bool = backend.shared
        self.blocks: bool = backend.blocks
        self.active = True
        self.disturbed = 0
        self._every = every
        self._probability = probability
        self._random = random.Random(seed)
        self._operations = OPERATIONS if operations is None else frozenset(operations)
        self._count = 0
        self._lock = threading.Lock()
        if getattr(backend, "aio", None) is not None:
            self.aio = _Aio(self)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.backend, name)
        if name not in OPERATIONS:
            return found

        def operation(*args: Any, **kwargs: Any) -> Any:
            return self._run(found, args, kwargs) if self._chosen(name) else found(*args, **kwargs)

        return operation

    def _chosen(self, name: str) -> bool:
        if not self.active or name not in self._operations:
            return False
        with self._lock:
            self._count += 1
            if self._every is not None:
                chosen = self._count % self._every == 0
            else:
                chosen = self._probability is None or self._random.random() < self._probability
            self.disturbed += chosen
            return chosen

    def _run(self, method: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        raise NotImplementedError

    async def _arun(self, method: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        raise NotImplementedError


class _Aio:
    """The awaitable methods of a disturbed backend."""

    def __init__(self, spoiled: _Spoiled) -> None:
        self._spoiled = spoiled

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._spoiled.backend.aio, name)
        if name not in OPERATIONS or not inspect.iscoroutinefunction(found):
            return found

        async def operation(*args: Any, **kwargs: Any) -> Any:
            if self._spoiled._chosen(name):
                return await self._spoiled._arun(found, args, kwargs)
            return await found(*args, **kwargs)

        return operation


class FailingBackend(_Spoiled):
    """Raises `error` (an exception, or a function that makes one) in place of the chosen operations' answers.

    With `when` "before" nothing was done; with "after" the operation took effect and only its answer is lost.
    """

    def __init__(
        self,
        backend: Any,
        error: Callable[[], BaseException] | BaseException = ConnectionError,
        *,
        when: Literal["before", "after"] = "before",
        **choice: Any,
    ) -> None:
        super().__init__(backend, **choice)
        self._error = error
        self._when = when

    def _run(self, method: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if self._when == "after":
            method(*args, **kwargs)
        raise self._made()

    async def _arun(self, method: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if self._when == "after":
            await method(*args, **kwargs)
        raise self._made()

    def _made(self) -> BaseException:
        return self._error if isinstance(self._error, BaseException) else self._error()


class SlowBackend(_Spoiled):
    """Carries out the chosen operations only after `seconds`, or raises TimeoutError at their timeout if it is sooner.

    With ``obedient=False`` it takes its `seconds` whatever the timeout.
    """

    def __init__(self, backend: Any, seconds: float, *, obedient: bool = True, **choice: Any) -> None:
        super().__init__(backend, **choice)
        self.blocks = True
        self._seconds = seconds
        self._obedient = obedient

    def _run(self, method: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        pause, enough = self._pause(kwargs)
        time.sleep(pause)
        if not enough:
            raise TimeoutError("slow")
        return method(*args, **kwargs)

    async def _arun(self, method: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        pause, enough = self._pause(kwargs)
        await asyncio.sleep(pause)
        if not enough:
            raise TimeoutError("slow")
        return await method(*args, **kwargs)

    def _pause(self, kwargs: Any) -> tuple[float, bool]:
        timeout = kwargs.get("timeout")
        if not self._obedient or timeout is None or timeout > self._seconds:
            return self._seconds, True
        return max(0.0, timeout), False
