"""One connection to a server: a connected socket and the parser of its replies.

It promises that an answer belongs to its question, or that the connection is never used again. It knows neither
threads nor event loops: the blocking pool waits for its socket with `poll`, an event loop with `add_reader`.
`memocache.backends._redis.connect` opens the socket.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import ssl
import time
import weakref
from collections.abc import Callable
from typing import Any

from memocache.backends._redis.resp import DROP_CODES, MORE, new_reader
from memocache.backends.base import Hangup, ProtocolError, ReplyError

_CHUNK = 65536
WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""What a socket raises instead of waiting."""
HANGUPS = (Hangup, ConnectionResetError, BrokenPipeError)
"""What a connection that the server closed while it was idle raises when it is used."""

# hiredis makes room for as many elements as an array announces; nobody asks for ten million. Group 1 is empty where the
# digits are cut off by the end of what has arrived.
_ANNOUNCED = rb"[*%~>|](?:([0-9]{8,})|[0-9]*\r?\Z)"
_BOMB = re.compile(_ANNOUNCED)
_INNER_BOMB = re.compile(rb"\r(?:\n" + _ANNOUNCED + rb"|\Z)")


class Connection:
    """A connected socket and its parser, used by one thread or one loop at a time.

    `owed` counts the replies still to come, `doubtful` is set by an answer after which another server may do better;
    a connection that is either is never used again.
    """

    __slots__ = (
        "__weakref__",
        "_buffer",
        "_close",
        "_reader",
        "_sock",
        "_tls",
        "doubtful",
        "owed",
        "permit",
        "readable",
        "refused",
        "rest",
        "unparsed",
        "used",
        "write",
    )

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        # A signal handler's exception can end the owner between any two steps, and a loop may just be dropped: the
        # socket goes with the last reference to its connection, also out of a cycle.
        self._close = weakref.finalize(self, sock.close)
        self._tls = sock if isinstance(sock, ssl.SSLSocket) else None
        self._reader = new_reader()
        self.readable = _readiness(sock)
        """Waits some milliseconds for anything to read: true if there is."""
        self.write = sock.send
        """Sends what the socket takes at once, or raises one of `WOULD_BLOCK`."""
        self.unparsed = self._reader.has_data
        """Whether a part of a reply has been read."""
        self._buffer = bytearray(_CHUNK)
        self.rest = b""
        """What has been read, and is not given to the parser before more is."""
        self.owed = 0
        self.doubtful = False
        self.used = False
        self.refused: Exception | None = None
        """Why the server would not have this connection, where it said so before it was used."""
        self.permit: object = None
        """Whatever must live exactly as long as this connection is open."""

    def fileno(self) -> int:
        """Return the descriptor, or -1 once closed."""
        return self._sock.fileno()

    def dirty(self) -> bool:
        """Return whether anything (a surplus reply, the end of the stream) waits to be read though nothing is owed."""
        if self.unparsed() or self.rest:
            return True
        if not self.readable(0):
            return self._tls is not None and self._tls.pending() > 0
        if self._tls is None:
            return True
        try:
            self._tls.recv(1)  # session tickets make a healthy TLS socket readable
        except WOULD_BLOCK:
            return False
        except OSError:
            return True
        return True

    def refusal(self) -> Exception:
        """Return the server's reason not to serve a dirty connection that was never asked anything."""
        try:
            replies = self.receive()
        except OSError as error:
            return error
        refused = (reply for reply in replies if isinstance(reply, ReplyError))
        return next(refused, ProtocolError("a reply that nobody asked for"))

    def send(self, payload: bytes | memoryview) -> int:
        """Send what the socket takes at once and return how many bytes that was."""
        try:
            return self.write(payload)
        except WOULD_BLOCK:
            return 0

    def receive(self) -> list[Any]:
        """Return the replies completed by what has arrived; raise ConnectionError at the end of the stream."""
        replies: list[Any] = []
        while True:
            try:
                size = self._sock.recv_into(self._buffer)
            except WOULD_BLOCK:
                return replies
            if size == 0:
                raise Hangup("the server closed the connection")
            self._feed(size, replies)
            if self._tls is None or not self._tls.pending():
                return replies

    def ask(self, payload: bytes, count: int, deadline: float) -> None:
        """Send `payload`, which brings `count` replies, before `deadline` (monotonic seconds).

        Raises TimeoutError, ConnectionError or another OSError, as `answer` does; then the connection is owed something
        and must be dropped.
        """
        if deadline <= time.monotonic():
            raise TimeoutError("no time left to ask")
        self.owed = count
        self.used = True
        sent = self.send(payload)
        if sent < len(payload):
            self._send_rest(memoryview(payload)[sent:], deadline)

    def answer(self, deadline: float) -> list[Any]:
        """Return the replies that are owed, all before `deadline`, however they drip."""
        replies: list[Any] = []
        count = self.owed
        while True:
            left = deadline - time.monotonic()
            if not self.readable(max(0.0, left) * 1000):
                raise TimeoutError("no answer in time")
            replies += self.receive()
            if len(replies) >= count:
                if len(replies) > count:
                    raise ProtocolError("more replies than commands")
                self.owed = 0
                return replies
            if left <= 0:  # what had arrived counts, for its owner may have waited for another's answer meanwhile
                raise TimeoutError("no answer in time")

    def exchange(self, question: bytes, deadline: float) -> Any:
        """Send a `question` that brings one reply, and return that; raises as `ask` and `answer` do."""
        self.ask(question, 1, deadline)
        (reply,) = self.answer(deadline)
        return reply

    def close(self) -> None:
        """Close the socket, in this process only: a forked relative keeps using its own."""
        with contextlib.suppress(OSError):
            self._close()
        self.permit = None

    def _feed(self, size: int, replies: list[Any]) -> None:
        """Parse what has arrived, but no header of an array that nobody asked for; see `_BOMB`."""
        data: bytes | bytearray = self._buffer
        if self.rest:
            data, self.rest = self.rest + self._buffer[:size], b""
            size = len(data)
        if not self._reader.has_data() and (found := _BOMB.match(data, 0, size)) is not None:  # no string goes on here
            if found[1]:
                raise ProtocolError("an array of an impossible length")
            self.rest = bytes(data[:size])
            return
        at = 0
        while (found := _INNER_BOMB.search(data, at, size)) is not None:
            if not found[1]:  # a header that is not all there yet, or looks like one
                self.rest = bytes(data[found.start() : size])
                size = found.start()
                break
            at = self._parse(data, at, found.start() + 2, replies)
            if not self._reader.has_data():  # a header stands there, not a string that contains the like of one
                raise ProtocolError("an array of an impossible length")
        self._parse(data, at, size, replies)

    def _parse(self, data: bytes | bytearray, start: int, end: int, replies: list[Any]) -> int:
        self._reader.feed(data, start, end - start)  # type: ignore[arg-type]  # any buffer will do, its stub forgot
        while (reply := self._reader.gets()) is not MORE:
            if type(reply) is ReplyError and reply.code in DROP_CODES:
                self.doubtful = True
            replies.append(reply)
        return end

    def _send_rest(self, rest: memoryview, deadline: float) -> None:
        writable = _readiness(self._sock, writing=True)
        while rest:
            left = deadline - time.monotonic()
            if left <= 0 or not writable(left * 1000):
                raise TimeoutError("the server took no more bytes in time")
            rest = rest[self.send(rest) :]


def _readiness(sock: socket.socket, *, writing: bool = False) -> Callable[[float], object]:
    """Return a function that waits some milliseconds for the socket to be readable (or writable): true if it is."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLOUT if writing else select.POLLIN)
        return poll.poll
    # Windows, where select() knows no limit of descriptor numbers.
    ours = [sock]
    return lambda ms: any(select.select([] if writing else ours, ours if writing else [], [], ms / 1000))
