"""The awaiting transport: per event loop a few lanes (connections), each shared by everyone through group commit.

Requests that arrive while one is in flight on a lane leave together in its next write, and replies are matched in
order. So one caller pays nothing, and a hundred at once share a handful of writes. A lane whose replies are late
(a slow command, a large value) is passed over, and what had queued behind it unsent moves to the next.

A caller that is cancelled harms nobody: its reply is read and dropped. A timeout or a reply out of order closes the
lane and fails what was in flight on it, once; nothing is sent twice.

No asyncio transport or stream is involved, only `add_reader` and `add_writer`: nothing here refers to the loop, so a
loop that was closed is forgotten without a word, and its sockets with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
import weakref
from collections import deque
from typing import Any, TypeAlias, TypeVar

from memocache.backends._resp import Ask, Op
from memocache.backends._wire import HANGUPS, Dial, Wire, in_thread
from memocache.backends.base import Busy, ProtocolError, ReplyError

T = TypeVar("T")

_LANES = 3
_PRIVATE = 4
_LATE = 0.01  # seconds in flight after which a lane is passed over; also how often deadlines are looked at
_MAX_WRITE = 262_144
_GIVE_UP = 1.0  # seconds after which a connection that is still not open is tried anew


class _Request:
    __slots__ = ("ask", "deadline", "future", "lane", "replies", "retried")

    def __init__(self, ask: Ask, deadline: float, future: asyncio.Future[None]) -> None:
        self.ask = ask
        self.deadline = deadline
        self.future = future
        self.replies: list[Any] = []
        self.retried = False
        self.lane: _Lane | None = None

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class _Lane:
    """One connection of one loop: `queue` is unsent, `owed` is sent and unanswered, `rest` is half sent.

    With `in_session` the server remembers what was said last (WATCH), and another connection would not do.
    """

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._wire: Wire | None = None
        self._dialing: object | None = None
        self._rest: memoryview | None = None
        self._since = 0.0
        self.in_session = False
        self.queue: deque[_Request] = deque()
        self.owed: deque[_Request] = deque()

    def busy(self) -> bool:
        """Return whether anything waits for this lane."""
        return bool(self.owed or self.queue)

    def late(self, now: float) -> bool:
        """Return whether what is in flight has been so for longer than a healthy round trip."""
        return bool(self.owed) and now - self._since > _LATE

    def flush(self) -> None:
        """Send all that is queued (up to a bound) if nothing is in flight; open a connection first if need be."""
        if self.owed or self._rest is not None:
            return
        wire = self._wire
        if wire is not None and (wire.doubtful or (self.queue and wire.dirty())):
            if not wire.used:  # turned away at the door (maxclients, say): knocking again at once would not help
                self._refuse(wire.refusal())
            self.fail(ConnectionError("the connection was stale"))
            wire = None
        if wire is None:
            if self.in_session:
                self._refuse(ConnectionError("the connection was lost between two steps"))
            if self.queue and (self._dialing is None or time.monotonic() - self._since > _GIVE_UP):
                self._open()
            return
        batch: list[bytes] = []
        size = 0
        while self.queue and size < _MAX_WRITE:
            request = self.queue.popleft()
            if not request.future.done():
                request.lane = self
                self.owed.append(request)
                batch.append(request.ask.payload)
                size += len(request.ask.payload)
        if not batch:
            return
        self._since = time.monotonic()
        wire.expect()
        self._rest = memoryview(batch[0] if len(batch) == 1 else b"".join(batch))
        self._write(resumed=False)

    def fail(self, error: Exception) -> None:
        """Close the connection and fail what is in flight; what was not sent stays queued."""
        wire, self._wire, self._rest = self._wire, None, None
        self._dialing = None
        if wire is not None:
            with contextlib.suppress(RuntimeError, ValueError, OSError):  # no loop: a coroutine died with its own
                loop = asyncio.get_running_loop()
                loop.remove_reader(wire.fileno())
                loop.remove_writer(wire.fileno())
            wire.close()
        owed, self.owed = self.owed, deque()
        for request in owed:
            if isinstance(error, HANGUPS) and request.ask.harmless and not request.retried:
                request.retried = True
                request.replies.clear()
                self.queue.append(request)
                continue
            late = request.deadline <= time.monotonic()
            request.fail(TimeoutError("no answer in time") if late else _lost(error))

    def expire(self, now: float) -> None:
        """Fail what is past its deadline: unsent requests alone, sent ones with their connection."""
        if any(request.deadline <= now for request in self.owed):
            self._readable()  # it may be this loop that was late, not the server
            if any(request.deadline <= now for request in self.owed):
                self.fail(TimeoutError("no answer in time"))
        if any(request.deadline <= now for request in self.queue):
            for request in self.queue:
                if request.deadline <= now:
                    request.fail(TimeoutError("nothing could be sent in time"))
            self.queue = deque(request for request in self.queue if not request.future.done())
        self.flush()

    def doubt(self) -> None:
        """Close the connection as soon as what was sent over it is answered; callable from any thread."""
        wire = self._wire
        if wire is not None:
            wire.doubtful = True

    def discard(self) -> None:
        """Close the socket from outside its loop, which is closed or another process's."""
        if self._wire is not None:
            self._wire.close()

    def _open(self) -> None:
        loop = asyncio.get_running_loop()
        attempt = self._dialing = object()
        self._since = time.monotonic()

        def done(wire: Wire | None, error: Exception | None) -> None:
            try:
                loop.call_soon_threadsafe(self._opened, attempt, wire, error)
            except RuntimeError:  # the loop was closed meanwhile
                if wire is not None:
                    wire.close()

        try:
            in_thread(self._dial, done)
        except RuntimeError as error:  # no more threads
            self._opened(attempt, None, error)

    def _opened(self, attempt: object, wire: Wire | None, error: Exception | None) -> None:
        if attempt is not self._dialing:
            if wire is not None:
                wire.close()
            return
        self._dialing = None
        if wire is None:
            self._refuse(error)
            return
        self._wire = wire
        asyncio.get_running_loop().add_reader(wire.fileno(), self._readable)
        self.flush()

    def _refuse(self, error: Exception | None) -> None:
        """Fail what is queued: no connection can be had."""
        queue, self.queue = self.queue, deque()
        for request in queue:
            request.fail(_like(error))

    def _write(self, resumed: bool = True) -> None:
        wire, rest = self._wire, self._rest
        if wire is None or rest is None:
            return
        try:
            sent = wire.send(rest)
        except OSError as error:
            self.fail(error)
            self.flush()
            return
        except BaseException as error:
            self.fail(ConnectionError(type(error).__name__))
            raise
        if sent == len(rest):
            self._rest = None
            if resumed:
                asyncio.get_running_loop().remove_writer(wire.fileno())
        else:
            self._rest = rest[sent:]
            if not resumed:
                asyncio.get_running_loop().add_writer(wire.fileno(), self._write)

    def _readable(self) -> None:
        wire = self._wire
        if wire is None:
            return
        try:
            for reply in wire.receive():
                if not self.owed:
                    raise ProtocolError("a reply that nobody asked for")
                request = self.owed[0]
                request.replies.append(reply)
                if len(request.replies) == request.ask.replies:
                    self.owed.popleft()
                    if not request.future.done():
                        request.future.set_result(None)
        except OSError as error:
            self.fail(error)
        except BaseException as error:
            self.fail(ConnectionError(type(error).__name__))
            raise
        self.flush()


def _lost(error: Exception) -> Exception:
    fresh = (ProtocolError if isinstance(error, ProtocolError) else ConnectionError)("the connection was lost")
    fresh.__cause__ = error
    return fresh


def _like(error: Exception | None) -> Exception:
    """Return a new error of the kind of `error`: one instance raised in many tasks would collect their tracebacks."""
    if isinstance(error, ReplyError):
        return ReplyError(error.code, error.text)
    kind = TimeoutError if isinstance(error, TimeoutError) else ConnectionError
    fresh = kind("no connection could be opened")
    fresh.__cause__ = error
    return fresh


class _LoopLanes:
    """The lanes of one event loop, and the one timer that watches over their deadlines while anything is in flight."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._shared = [_Lane(dial) for _ in range(_LANES)]
        self._private: list[_Lane] = []
        self._spare: list[_Lane] = []
        self._private_places = asyncio.Semaphore(_PRIVATE)
        self._ticking = False

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
            try:
                ask = op.send(request.replies)
            except StopIteration as stop:
                outcome: T = stop.value
                return outcome
            except ProtocolError as doubt:
                if request.lane is not None:
                    request.lane.fail(doubt)
                raise
            if ask.session:
                return await self._run_privately(op, ask, deadline)

    async def _run_privately(self, op: Op[T], ask: Ask, deadline: float) -> T:
        """Carry on over a lane of one's own, for steps between which the server keeps state."""
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await self._private_places.acquire()
        except TimeoutError:
            raise Busy("every connection for transactions is in use") from None
        lane = None
        try:
            if self._spare:
                lane = self._spare.pop()
            else:
                lane = _Lane(self._dial)
                self._private.append(lane)
            while True:
                request = await self._exchange(lane, ask, deadline)
                lane.in_session = ask.session
                try:
                    ask = op.send(request.replies)
                except StopIteration as stop:
                    lane.in_session = False
                    self._spare.append(lane)
                    lane = None
                    result: T = stop.value
                    return result
        finally:
            if lane is not None:
                lane.fail(ConnectionError("the operation was given up"))
                self._private.remove(lane)
            self._private_places.release()

    async def _exchange(self, lane: _Lane, ask: Ask, deadline: float) -> _Request:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        request = _Request(ask, deadline, future)
        lane.queue.append(request)
        if not self._ticking:
            self._ticking = True
            loop.call_later(_LATE, self._tick)
        lane.flush()
        await future
        return request

    def _choose(self) -> _Lane:
        first = self._shared[0]
        if not first.owed:
            return first
        now = time.monotonic()
        for lane in self._shared:
            if not lane.late(now):
                return lane
        return min(self._shared, key=lambda lane: len(lane.queue) + len(lane.owed))

    def _tick(self) -> None:
        lanes = [*self._shared, *self._private]
        try:
            self._look_after(lanes, time.monotonic())
        finally:  # deadlines hold whatever was raised here
            self._ticking = any(lane.busy() for lane in lanes)
            if self._ticking:
                asyncio.get_running_loop().call_later(_LATE, self._tick)

    def _look_after(self, lanes: list[_Lane], now: float) -> None:
        for lane in lanes:
            lane.expire(now)
        for lane in self._shared:
            if lane.queue and lane.late(now):
                better = self._choose()
                if not better.late(now):
                    better.queue.extend(lane.queue)
                    lane.queue.clear()
                    better.flush()

    def close(self) -> None:
        """Close every connection and fail what waits; runs in the loop."""
        for lane in [*self._shared, *self._private]:
            lane.fail(ConnectionError("the backend was closed"))
            for request in lane.queue:
                request.fail(ConnectionError("the backend was closed"))
            lane.queue.clear()

    def doubt(self) -> None:
        """Send nothing more over the connections of now; callable from any thread."""
        for lane in [*self._shared, *self._private]:
            lane.doubt()

    def discard(self) -> None:
        """Close the sockets of a loop that no longer runs."""
        for lane in [*self._shared, *self._private]:
            lane.discard()


_Loops: TypeAlias = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopLanes]


class Lanes:
    """All event loops' lanes of one backend; `timeout` is seconds for an operation whose caller does not say."""

    def __init__(self, dial: Dial, timeout: float) -> None:
        self._dial = dial
        self._timeout = timeout
        self._lock = threading.RLock()
        self._loops: _Loops = weakref.WeakKeyDictionary()
        _all_lanes.add(self)

    async def run(self, op: Op[T], timeout: float | None = None) -> T:
        """Carry out `op` on this loop's lanes and return its result.

        Raises TimeoutError, ConnectionError or another OSError for the transport, and what `op` raises.
        """
        loop = asyncio.get_running_loop()
        lanes = self._loops.get(loop)
        if lanes is None:
            lanes = self._enter(loop)
        return await lanes.run(op, self._timeout if timeout is None else timeout)

    def close(self) -> None:
        """Close the lanes of every loop, each in its own; callable from any thread."""
        with self._lock:
            loops, self._loops = self._loops, weakref.WeakKeyDictionary()
        try:
            running: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        for loop, lanes in loops.items():
            if loop is running:
                lanes.close()
                continue
            try:
                loop.call_soon_threadsafe(lanes.close)
            except RuntimeError:
                lanes.discard()

    def doubt(self) -> None:
        """Send nothing more over the connections of now, of any loop; what was sent is still answered."""
        for lanes in list(self._loops.values()):
            lanes.doubt()

    def close_here(self) -> None:
        """Close the lanes of the running loop alone."""
        with self._lock:
            lanes = self._loops.pop(asyncio.get_running_loop(), None)
        if lanes is not None:
            lanes.close()

    def after_fork(self) -> None:
        """Forget the parent's loops; only this process's copies of the descriptors are closed."""
        loops, self._loops = self._loops, weakref.WeakKeyDictionary()
        self._lock = threading.RLock()
        for lanes in loops.values():
            lanes.discard()

    def _enter(self, loop: asyncio.AbstractEventLoop) -> _LoopLanes:
        with self._lock:
            for other in [loop for loop in self._loops if loop.is_closed()]:
                self._loops.pop(other).discard()
            return self._loops.setdefault(loop, _LoopLanes(self._dial))


_all_lanes: weakref.WeakSet[Lanes] = weakref.WeakSet()


def _after_fork() -> None:
    for lanes in list(_all_lanes):
        lanes.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
