"""The awaiting transport: each event loop has a few connections, and all its tasks share them (group commit).

Requests that arrive while one is in flight on a connection leave together in its next write, and replies are matched in
order. So one caller pays nothing, and a hundred at once share a handful of writes. A connection whose replies are late
(a slow command, a large value) is passed over; what had queued behind it unsent moves to the next. It does not know
what is asked.

A read may be given a moment more (`Multiplexer.read_soon`): all reads of one turn of the loop are one command, or two
where they are many. A caller who reads one thing after another waits for nothing.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from typing import TypeAlias, TypeVar

from memocache._runtime.async_library import in_trio
from memocache.backends._redis.connect import Dial
from memocache.backends._redis.credentials import renewed
from memocache.backends._redis.pipelined_connection import LATE, PipelinedConnection, Request, Step, ValueSize
from memocache.backends._redis.read_batching import ReadBatch
from memocache.backends._redis.resp import Ask, Op
from memocache.backends.base import Busy, ProtocolError
from memocache.typing import Answer

T = TypeVar("T")

_modules = sys.modules
_running_loop = asyncio.get_running_loop
_SHARED = 3
_PRIVATE = 4
_EARLY = 50  # reads that leave at once, for the server to work on while the loop's turn asks for more
_BLOCKED = 0.1  # seconds by which a tick is late when it is the loop that stood still, and no server


class LoopConnections:
    """The connections of one event loop, and the one timer that watches over deadlines while anything is in flight."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._shared = [PipelinedConnection(dial) for _ in range(_SHARED)]
        self._private: list[PipelinedConnection] = []
        self._spare: list[PipelinedConnection] = []
        self._private_permits = asyncio.Semaphore(_PRIVATE)
        self._ticking = False
        self._tick_due = 0.0
        self._gathering: dict[float, ReadBatch] = {}
        self._size = ValueSize()
        # whether the last turn that read anything read one thing, so that the next one is sent without waiting for more
        self._alone = False
        # holds something for the rest of a turn in which one was sent so
        self._left_alone: list[bool] = []

    async def run(self, op: Op[T], timeout: float) -> T:
        deadline = time.monotonic() + timeout
        try:
            ask = next(op)
        except StopIteration as stop:
            result: T = stop.value
            return result
        if ask.session:
            return await self._run_privately(op, ask, deadline)
        while True:
            request = await self._exchange(self._choose(), ask, deadline)
            deadline = request.deadline  # it may have been excused
            try:
                ask = op.send(request.replies)
            except StopIteration as stop:
                outcome: T = stop.value
                return outcome
            except ProtocolError as doubt:
                if request.connection is not None:
                    request.connection.fail(doubt)
                raise
            if ask.session:
                return await self._run_privately(op, ask, deadline)

    async def _run_privately(self, op: Op[T], ask: Ask, deadline: float) -> T:
        """Carry on over a connection of one's own, for steps between which the server keeps state."""
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await self._private_permits.acquire()
        except TimeoutError:
            raise Busy("every connection for transactions is in use") from None
        connection = None
        try:
            if self._spare:
                connection = self._spare.pop()
            else:
                connection = PipelinedConnection(self._dial)
                self._private.append(connection)
            while True:
                request = await self._exchange(connection, ask, deadline)
                deadline = request.deadline
                connection.in_session = ask.session
                try:
                    ask = op.send(request.replies)
                except StopIteration as stop:
                    connection.in_session = False
                    self._spare.append(connection)
                    connection = None
                    result: T = stop.value
                    return result
        finally:
            if connection is not None:
                connection.fail(ConnectionError("the operation was given up"))
                self._private.remove(connection)
            self._private_permits.release()

    async def _exchange(self, connection: PipelinedConnection, ask: Ask, deadline: float) -> Step:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        request = Step(ask, deadline, future)
        self._send(connection, request)
        await future
        return request

    def _send(self, connection: PipelinedConnection, request: Request) -> None:
        self._watch(time.monotonic())
        connection.queue.append(request)
        connection.flush()

    def _watch(self, now: float) -> None:
        """Have deadlines looked at, for something is sent."""
        if self._ticking:
            self._excuse(now)  # those before: what is sent only now has lost no time
        else:
            self._ticking = True
            self._tick_in(LATE)

    def _tick_in(self, seconds: float) -> None:
        self._tick_due = time.monotonic() + seconds
        asyncio.get_running_loop().call_later(seconds, self._tick)

    def gather(self, timeout: float) -> ReadBatch:
        """The batch of reads that leaves at the end of this turn of the loop (or once it is full), and whose answer may
        take `timeout` seconds from then on.
        """
        batch = self._gathering.get(timeout)
        if batch is None:
            loop = asyncio.get_running_loop()
            batch = self._gathering[timeout] = ReadBatch(loop, timeout, self._size, _EARLY)
            loop.call_soon(self.leave, batch)
        return batch

    def read_alone(
        self, loop: asyncio.AbstractEventLoop, entry: str, markers: Sequence[str], timeout: float
    ) -> asyncio.Future[Answer] | None:
        """Ask at once, where one thing was read in each turn lately and the connection is free; None: `gather`."""
        first = self._shared[0]
        if not self._alone or self._left_alone or first.owed or first.queue:
            return None
        self._left_alone.append(True)
        loop.call_soon(self._left_alone.clear)
        now = time.monotonic()
        self._watch(now)
        future: asyncio.Future[Answer] = loop.create_future()
        first.read(entry, markers, now + timeout, future, self._size)
        return future

    def leave(self, batch: ReadBatch) -> None:
        """Send what was gathered; whoever waits is told where that fails."""
        if batch.open:
            self._alone = len(batch.futures) == 1 and not self._left_alone
            del self._gathering[batch.timeout]
            try:
                for part in batch.parts(time.monotonic()):
                    self._send(self._choose(), part)
            except Exception as error:  # no memory, say
                batch.fail(error)

    def _choose(self) -> PipelinedConnection:
        first = self._shared[0]
        if not first.owed:
            return first
        now = time.monotonic()
        for connection in self._shared:
            if not connection.late(now):
                return connection
        return min(self._shared, key=lambda connection: len(connection.queue) + len(connection.owed))

    def _tick(self) -> None:
        connections = [*self._shared, *self._private]
        now = time.monotonic()
        try:
            self._excuse(now)
            self._look_after(connections, now)
        finally:  # deadlines hold whatever was raised here
            self._ticking = any(connection.busy() for connection in connections)
            if self._ticking:
                self._tick_in(LATE)

    def _excuse(self, now: float) -> None:
        """Where the loop stood still, the time that a caller took is not the server's."""
        late = now - self._tick_due
        if late > _BLOCKED:
            self._tick_due = now
            for connection in [*self._shared, *self._private]:
                connection.excuse(late)

    def _look_after(self, connections: list[PipelinedConnection], now: float) -> None:
        for connection in connections:
            connection.expire(now)
        for connection in self._shared:
            if connection.queue and connection.late(now):
                better = self._choose()
                if not better.late(now):
                    better.queue.extend(connection.queue)
                    connection.queue.clear()
                    better.flush()

    def close(self) -> None:
        """Close every connection and fail what waits; runs in the loop."""
        gathering, self._gathering = self._gathering, {}
        for batch in gathering.values():
            batch.open = False
            batch.fail(ConnectionError("the backend was closed"))
        for connection in [*self._shared, *self._private]:
            connection.fail(ConnectionError("the backend was closed"))
            for request in connection.queue:
                request.fail(ConnectionError("the backend was closed"))
            connection.queue.clear()

    def doubt(self) -> None:
        """Send nothing more over the connections of now; callable from any thread."""
        for connection in [*self._shared, *self._private]:
            connection.doubt()

    def renew_logins(self) -> None:
        """See `Multiplexer.renew_logins`."""
        for connection in [*self._shared, *self._private]:
            connection.renew_login()

    def discard(self) -> None:
        """Close the sockets of a loop that no longer runs."""
        for connection in [*self._shared, *self._private]:
            connection.discard()


_Loops: TypeAlias = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopConnections]


class Multiplexer:
    """All event loops' connections of one backend; `timeout` is seconds for an operation whose caller does not say."""

    def __init__(self, dial: Dial, timeout: float) -> None:
        self._dial = dial
        self._timeout = timeout
        self._lock = threading.RLock()
        self._loops: _Loops = weakref.WeakKeyDictionary()
        self._latest: weakref.ref[ReadBatch] | None = None
        renewed(dial, self)
        _multiplexers.add(self)

    async def run(self, op: Op[T], timeout: float | None = None) -> T:
        """Carry out `op` on this loop's connections and return its result.

        Raises TimeoutError, ConnectionError or another OSError for the transport, and what `op` raises.
        """
        loop = asyncio.get_running_loop()
        connections = self._loops.get(loop)
        if connections is None:
            connections = self._enter(loop)
        return await connections.run(op, self._timeout if timeout is None else timeout)

    def read_soon(self, entry: str, markers: Sequence[str], timeout: float) -> asyncio.Future[Answer]:
        """See `memocache.typing.ReadSoon`: in one command with whatever else this turn of the loop reads."""
        if "trio" in _modules and in_trio():
            raise RuntimeError("trio runs here, as a guest of this loop: it is asked in a thread")
        loop = _running_loop()
        latest = self._latest
        batch = None if latest is None else latest()
        if batch is None or not batch.open or batch.loop is not loop or batch.timeout != timeout:
            connections = self._loops.get(loop) or self._enter(loop)
            alone = connections.read_alone(loop, entry, markers, timeout)
            if alone is not None:
                return alone
            batch = connections.gather(timeout)
            self._latest = weakref.ref(batch)
        future = batch.new_future()
        batch.futures.append(future)
        batch.entries.append(entry)
        batch.markers.append(markers)
        if len(batch.futures) == batch.full:
            self._loops[loop].leave(batch)
        return future

    def close(self) -> None:
        """Close the connections of every loop, each in its own; callable from any thread."""
        with self._lock:
            loops, self._loops = self._loops, weakref.WeakKeyDictionary()
        try:
            running: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        for loop, connections in loops.items():
            if loop is running:
                connections.close()
                continue
            try:
                loop.call_soon_threadsafe(connections.close)
            except RuntimeError:
                connections.discard()

    def doubt(self) -> None:
        """Send nothing more over the connections of now, of any loop; what was sent is still answered."""
        for connections in list(self._loops.values()):
            connections.doubt()

    def renew_logins(self) -> None:
        """Send nothing more over connections that have been used; what was sent is still answered."""
        for connections in list(self._loops.values()):
            connections.renew_logins()

    def close_here(self) -> None:
        """Close the connections of the running loop alone."""
        with self._lock:
            connections = self._loops.pop(asyncio.get_running_loop(), None)
        if connections is not None:
            connections.close()

    def after_fork(self) -> None:
        """Forget the parent's loops; only this process's copies of the descriptors are closed."""
        loops, self._loops = self._loops, weakref.WeakKeyDictionary()
        self._lock = threading.RLock()
        self._latest = None
        for connections in loops.values():
            connections.discard()

    def _enter(self, loop: asyncio.AbstractEventLoop) -> LoopConnections:
        with self._lock:
            for other in [loop for loop in self._loops if loop.is_closed()]:
                self._loops.pop(other).discard()
            return self._loops.setdefault(loop, LoopConnections(self._dial))


_multiplexers: weakref.WeakSet[Multiplexer] = weakref.WeakSet()


def _after_fork() -> None:
    for multiplexer in list(_multiplexers):
        multiplexer.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
