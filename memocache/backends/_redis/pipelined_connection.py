"""One connection of an event loop that many callers share: what is queued leaves in one write, replies come in order.

A caller that is cancelled harms nobody: its reply is read and dropped. A timeout or a reply out of order closes the
connection and fails what was in flight on it, once. Nothing is sent twice but reads, where the server had closed an
idle connection.

It uses `add_reader` and `add_writer`, no asyncio transport or stream. So nothing here refers to the loop: a closed loop
is forgotten without a word, and its sockets with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from memocache.backends._redis.connect import Dial, connect_in_thread
from memocache.backends._redis.connection import HANGUPS, WOULD_BLOCK, Connection
from memocache.backends._redis.resp import Ask, pack, refused_login, unexpected
from memocache.backends.base import NotAccepted, ProtocolError, ReplyError
from memocache.typing import Answer

LATE = 0.01  # seconds in flight after which a connection is passed over; also how often deadlines are looked at
MAX_WRITE = 262_144
_VALUES = frozenset({bytes, type(None)})  # types of what a read brings
_GIVE_UP = 1.0  # seconds after which a connection that is still not open is tried anew


class Request:
    """Bytes that go over a connection, until when (monotonic seconds) an answer counts, and the replies that came."""

    __slots__ = ("ask", "connection", "deadline", "excused", "replies", "retried")

    def __init__(self, ask: Ask, deadline: float) -> None:
        self.ask = ask
        self.deadline = deadline
        self.replies: list[Any] = []
        self.retried = False
        self.excused = False
        self.connection: PipelinedConnection | None = None

    def wanted(self) -> bool:
        """Whether anybody still waits for it."""
        raise NotImplementedError

    def answered(self) -> None:
        """Every reply has come. Raises `ProtocolError` if they cannot be the answer: then the connection is closed."""
        raise NotImplementedError

    def fail(self, error: Exception) -> None:
        """No answer will come."""
        raise NotImplementedError


class Step(Request):
    """One step of an operation, for which one caller waits."""

    __slots__ = ("future",)

    def __init__(self, ask: Ask, deadline: float, future: asyncio.Future[None]) -> None:
        super().__init__(ask, deadline)
        self.future = future

    def wanted(self) -> bool:
        """See `Request.wanted`."""
        return not self.future.done()

    def answered(self) -> None:
        """See `Request.answered`."""
        if not self.future.done():
            self.future.set_result(None)

    def fail(self, error: Exception) -> None:
        """See `Request.fail`."""
        if not self.future.done():
            self.future.set_exception(error)


class ValueSize:
    """Bytes that a value has, by the last answers of one loop: seen growing at once, and shrinking slowly."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0.0

    def seen(self, values: Sequence[bytes | None]) -> None:
        """Take note of one answer."""
        self.bytes = max(sum(map(len, filter(None, values))) / len(values), 0.9 * self.bytes)


class SingleRead(Request):
    """The read of one entry and its markers, for which one caller waits; its future's result is an `Answer`."""

    __slots__ = ("entry", "future", "size", "width")

    def __init__(
        self, entry: str, markers: Sequence[str], deadline: float, future: asyncio.Future[Answer], size: ValueSize
    ) -> None:
        ask = Ask(pack((b"MGET", entry.encode(), *map(str.encode, markers))), 1, harmless=True)
        super().__init__(ask, deadline)
        self.entry = entry
        self.future = future
        self.size = size
        self.width = 1 + len(markers)

    def wanted(self) -> bool:
        """See `Request.wanted`."""
        return not self.future.done()

    def answered(self) -> None:
        """See `Request.answered`. `PipelinedConnection` hands a well-formed answer to the reader itself, so what comes
        here is an error, or the reply to another question.
        """
        error = unexpected(self.replies[0])
        self.fail(error)
        if isinstance(error, ProtocolError):
            raise error

    def fail(self, error: Exception) -> None:
        """See `Request.fail`."""
        if not self.future.done():
            self.future.set_result(error)


class PipelinedConnection:
    """One connection of one loop: `queue` is unsent, `owed` is sent and unanswered, `rest` is half sent.

    With `in_session` the server remembers what was said last (WATCH), and another connection would not do.
    """

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._logs_in = hasattr(dial, "credentials")
        self._connection: Connection | None = None
        self._dialing: object | None = None
        self._rest: memoryview | None = None
        self._since = 0.0
        self.in_session = False
        self.queue: deque[Request] = deque()
        self.owed: deque[Request] = deque()

    def busy(self) -> bool:
        """Return whether anything waits for this connection."""
        return bool(self.owed or self.queue)

    def late(self, now: float) -> bool:
        """Return whether what is in flight has been so for longer than a healthy round trip."""
        return bool(self.owed) and now - self._since > LATE

    def read(
        self, entry: str, markers: Sequence[str], deadline: float, future: asyncio.Future[Answer], size: ValueSize
    ) -> None:
        """Ask for one entry and its markers, for who waits for `future`."""
        self.queue.append(SingleRead(entry, markers, deadline, future, size))
        self.flush()

    def flush(self) -> None:
        """Send all that is queued (up to a bound) if nothing is in flight; open a connection first if need be."""
        if self.owed or self._rest is not None:
            return
        connection = self._connection
        if connection is not None and (
            connection.doubtful
            # `dirty` looks closer; most connections need no more than these looks, which are C code
            or (
                self.queue
                and (connection.readable(0) or connection.unparsed() or connection.rest)
                and connection.dirty()
            )
        ):
            if not connection.used:  # turned away at the door (maxclients, say): knocking again at once would not help
                self._refuse(connection.refusal())
            self.fail(ConnectionError("the connection was stale"))
            connection = None
        if connection is None:
            if self.in_session:
                self._refuse(ConnectionError("the connection was lost between two steps"))
            if self.queue and (self._dialing is None or time.monotonic() - self._since > _GIVE_UP):
                self._open()
            return
        batch: list[bytes] = []
        size = 0
        while self.queue and size < MAX_WRITE:
            request = self.queue.popleft()
            if request.wanted():
                request.connection = self
                self.owed.append(request)
                batch.append(request.ask.payload)
                size += len(request.ask.payload)
        if not batch:
            return
        self._since = time.monotonic()
        connection.used = True
        self._rest = memoryview(batch[0] if len(batch) == 1 else b"".join(batch))
        self._write(resumed=False)

    def fail(self, error: Exception) -> None:
        """Close the connection and fail what is in flight; what was not sent stays queued."""
        connection, self._connection, self._rest = self._connection, None, None
        self._dialing = None
        if connection is not None:
            with contextlib.suppress(RuntimeError, ValueError, OSError):  # no loop: a coroutine died with its own
                loop = asyncio.get_running_loop()
                loop.remove_reader(connection.fileno())
                loop.remove_writer(connection.fileno())
            connection.close()
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
                    request.fail(NotAccepted("nothing could be sent in time"))
            self.queue = deque(request for request in self.queue if request.deadline > now)
        self.flush()

    def excuse(self, seconds: float) -> None:
        """Let everything that waits here wait so much longer, once: a server that hangs gains nothing by a loop that is
        held up over and over.
        """
        for request in (*self.owed, *self.queue):
            if not request.excused:
                request.excused = True
                request.deadline += seconds

    def doubt(self) -> None:
        """Close the connection as soon as what was sent over it is answered; callable from any thread."""
        connection = self._connection
        if connection is not None:
            connection.doubtful = True

    def renew_login(self) -> None:
        """As `doubt`; a connection that has not been used yet is fresh."""
        connection = self._connection
        if connection is not None and connection.used:
            connection.doubtful = True

    def discard(self) -> None:
        """Close the socket from outside its loop, which is closed or another process's."""
        if self._connection is not None:
            self._connection.close()

    def _open(self) -> None:
        loop = asyncio.get_running_loop()
        attempt = self._dialing = object()
        self._since = time.monotonic()

        def done(connection: Connection | None, error: Exception | None) -> None:
            try:
                loop.call_soon_threadsafe(self._opened, attempt, connection, error)
            except RuntimeError:  # the loop was closed meanwhile
                if connection is not None:
                    connection.close()

        try:
            connect_in_thread(self._dial, done)
        except RuntimeError as error:  # no more threads
            self._opened(attempt, None, error)

    def _opened(self, attempt: object, connection: Connection | None, error: Exception | None) -> None:
        if attempt is not self._dialing:
            if connection is not None:
                connection.close()
            return
        self._dialing = None
        if connection is None:
            self._refuse(error)
            return
        self._connection = connection
        asyncio.get_running_loop().add_reader(connection.fileno(), self._readable)
        self.flush()

    def _refuse(self, error: Exception | None) -> None:
        """Fail what is queued: no connection can be had."""
        queue, self.queue = self.queue, deque()
        for request in queue:
            request.fail(like(error, "no connection could be opened"))

    def _may_log_in_again(self, request: Request) -> bool:
        """Have what was refused for want of a login sent over the next connection, once."""
        again = self._logs_in and not request.retried and not self.in_session and refused_login(request.replies)
        if again:
            request.retried = True
            request.replies.clear()
            self.queue.append(request)
        return again

    def _write(self, resumed: bool = True) -> None:
        connection, rest = self._connection, self._rest
        if connection is None or rest is None:
            return
        try:
            sent = connection.write(rest)
        except WOULD_BLOCK:
            sent = 0
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
                asyncio.get_running_loop().remove_writer(connection.fileno())
        else:
            self._rest = rest[sent:]
            if not resumed:
                asyncio.get_running_loop().add_writer(connection.fileno(), self._write)

    def _readable(self) -> None:
        connection = self._connection
        if connection is None:
            return
        try:
            for reply in connection.receive():
                if not self.owed:
                    raise ProtocolError("a reply that nobody asked for")
                request = self.owed[0]
                request.replies.append(reply)
                if len(request.replies) == request.ask.replies:
                    self.owed.popleft()
                    if connection.doubtful and self._may_log_in_again(request):
                        continue
                    if (
                        type(request) is SingleRead
                        and type(reply) is list
                        and len(reply) == request.width
                        and _VALUES.issuperset(map(type, reply))
                    ):  # most replies are: the reader has its answer from here, without a call
                        size = request.size  # the next line is `ValueSize.seen`
                        size.bytes = max(sum(map(len, filter(None, reply))) / request.width, 0.9 * size.bytes)
                        if not request.future.done():
                            request.future.set_result((request.entry, reply[0], reply[1:]))
                    else:
                        request.answered()
        except OSError as error:
            self.fail(error)
        except BaseException as error:
            self.fail(ConnectionError(type(error).__name__))
            raise
        if self.queue or connection.doubtful:
            self.flush()


def _lost(error: Exception) -> Exception:
    fresh = (ProtocolError if isinstance(error, ProtocolError) else ConnectionError)("the connection was lost")
    fresh.__cause__ = error
    return fresh


def like(error: Exception | None, text: str) -> Exception:
    """Return a new error of the kind of `error`: one instance raised in many tasks would collect their tracebacks."""
    if isinstance(error, ReplyError):
        return ReplyError(error.code, error.text)
    kinds = (TimeoutError, ProtocolError)
    fresh = next((kind for kind in kinds if isinstance(error, kind)), ConnectionError)(text)
    fresh.__cause__ = error
    return fresh
