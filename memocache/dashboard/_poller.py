"""Looks at the fleet's figures in the background, often while somebody watches, so that pages answer from memory.

It begins with the application. What it saw by the minute is noted in the backend, from where the next process takes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from memocache._cache.cache import Cache
from memocache._cache.process_rows import ProcessRow
from memocache._runtime.drivers import arun
from memocache.dashboard._history import DAY, History
from memocache.exceptions import MemocacheError
from memocache.stats import CacheStats, EntryInfo, FunctionDetails

WATCHED = 2.0
IDLE = 15.0
"""Seconds between looks while a page was asked for lately, and while none was."""
WATCHING = 10.0
DETAILS = 10.0
"""Seconds for which what was found of a function is shown before it is asked for again."""
DETAILED = 64
"""Functions of which it is kept."""
FIRST = 2.0
"""Seconds that a first page waits for the first look."""
SIZED = 2**21
"""Bytes of entries that are read to show what the hottest keys hold: what a key holds is known with all of it alone."""
NOTED = 8 * DAY
"""Seconds for which the backend keeps what is noted."""


class HotKey(NamedTuple):
    """One of the hottest keys, and its entry; None where there is none, or it was not read."""

    key: str
    entry: EntryInfo | None


class Poller:
    """One task on the event loop that asked first; one is started anew where that loop is gone."""

    def __init__(self, cache: Cache, *, watched: float = WATCHED, idle: float = IDLE) -> None:
        self._cache = cache
        self._watched, self._idle = watched, idle
        self.history = History()
        self.stats: CacheStats | None = None
        self.looked_at: float | None = None
        self.trouble: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._first = asyncio.Event()
        self._wanted = asyncio.Event()
        self._asked_at = float("-inf")
        self._details: dict[str, tuple[float, Any, Any]] = {}
        self._processes: tuple[float, list[ProcessRow]] = float("-inf"), []
        self._restored = False

    async def watch(self) -> None:
        """Somebody is looking: see that the task runs, often; wait a little for its first result."""
        self._asked_at = time.monotonic()
        if not self.start():
            return  # another loop of this process looks already
        self._wanted.set()
        if self.stats is None and self.trouble is None:
            try:
                await asyncio.wait_for(self._first.wait(), FIRST)
            except TimeoutError:
                pass  # the page says that there is nothing yet

    def start(self) -> bool:
        """See that the task runs; whether it does so on this loop."""
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._task.get_loop().is_closed():
            self._first, self._wanted = asyncio.Event(), asyncio.Event()
            self._task = loop.create_task(self._poll(), name="memocache-dashboard")
        return self._task.get_loop() is loop

    async def details(self, name: str) -> tuple[FunctionDetails | None, list[HotKey]]:
        """The details of a function and its hottest keys, at most `DETAILS` old. Raises `BackendError`."""
        at, *known = self._details.get(name, (float("-inf"), None, []))
        if time.monotonic() - at >= DETAILS:
            found = await self._cache.aio.details(name, "fleet")
            known = [found, await self._hot_keys(found.hottest if found is not None else [])]
            self._details.pop(name, None)
            self._details[name] = time.monotonic(), *known
            while len(self._details) > DETAILED:
                del self._details[next(iter(self._details))]
        return known[0], known[1]

    async def _hot_keys(self, keys: Sequence[str]) -> list[HotKey]:
        """What each key's entry says; no more of them than `SIZED` bytes are read."""
        found, read = [], 0
        for key in keys:
            info = await self._cache.aio.inspect(key) if read < SIZED else None
            read += info.size_bytes if info is not None else 0
            found.append(HotKey(key, info))
        return found

    async def processes(self) -> list[ProcessRow]:
        """The processes that told of themselves lately, as of at most `watched` seconds ago. Raises `BackendError`."""
        at, rows = self._processes
        if time.monotonic() - at >= self._watched:
            rows = await arun(self._cache._operations.processes.rows())
            self._processes = time.monotonic(), rows
        return rows

    async def look(self) -> None:
        """Look once, now."""
        try:
            stats = await self._cache.aio.stats("fleet", entries=False)
        except (MemocacheError, OSError) as error:
            self.trouble = str(error)
            self.history.missed(time.time())
        else:
            self.stats, self.looked_at, self.trouble = stats, time.time(), None
            await self._note(self.history.seen(stats, self.looked_at), self.looked_at)

    async def _note(self, news: bool, now: float) -> None:
        """Take what was noted before this process began, then note what came since; a backend that refuses is left."""
        notes = self._cache._operations.notes
        try:
            if not self._restored:
                self.history.restore(await arun(notes.read(self.history.names(now))), now)
                self._restored = True
            elif news:
                await arun(notes.write(self.history.texts(now), NOTED))
        except (MemocacheError, OSError):
            pass  # the plots of this process go on without

    async def stop(self) -> None:
        """End the task, where this loop runs it."""
        task, self._task = self._task, None
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            await asyncio.wait([task])

    async def _poll(self) -> None:
        with contextlib.suppress(TimeoutError):  # the first look is for the first page, if there is one at once
            await asyncio.wait_for(self._wanted.wait(), self._watched)
        while True:
            await self.look()
            self._first.set()
            if time.monotonic() - self._asked_at < WATCHING:
                await asyncio.sleep(self._watched)
                continue
            self._wanted.clear()
            try:
                await asyncio.wait_for(self._wanted.wait(), self._idle)
            except TimeoutError:
                pass
