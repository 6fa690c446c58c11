"""A RESP server that gives the answers it was told to give, in front of a real server or alone.

::

    with FakeServer(real.port) as fake:
        cache = Cache(fake.url)
        fake.answer(b"-OOM command not allowed\\r\\n", "EVALSHA", "EVAL")   # everything else: the real server
        fake.answer(b"HTTP/1.1 400 Bad Request\\r\\n\\r\\n")                  # whatever is asked
        fake.heal()

It is for faults that a real server does not produce on request. It knows how commands are framed, and not what they do.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any, Self

from memocache.testing._listening_socket import Door

_CHUNK = 65536


class FakeServer:
    """A server on a free loopback port; what it has no answer for goes to the server at `upstream`, if there is one.

    Without `upstream` PING is answered with PONG, everything else with OK. `received` holds every command that came,
    as a list of its words. `port` and `url` (of database 0) are its own, its threads daemons.
    """

    def __init__(self, upstream: int | None = None) -> None:
        self._upstream = upstream
        self._lock = threading.Lock()
        self._answers: dict[str, list[bytes | int | None]] = {}
        self._open: set[socket.socket] = set()
        self.received: list[list[bytes]] = []
        self._door = Door("fake-server", self._enter)
        self.port = self._door.port
        self.url = self._door.url

    @property
    def opened(self) -> int:
        """How many connections were accepted."""
        return self._door.opened

    def answer(self, reply: bytes | None, *commands: str, times: int | None = None) -> None:
        """Answer `commands` (none named: all) with these bytes from now on, or only `times` times each.

        An empty reply is silence, and None closes the connection.
        """
        with self._lock:
            for command in commands or ("*",):
                self._answers[command.upper()] = [reply, times]

    def heal(self) -> None:
        """Forget every answer."""
        with self._lock:
            self._answers.clear()

    def sent(self, command: str) -> int:
        """How often a command has come."""
        word = command.upper().encode()
        return sum(words[0].upper() == word for words in list(self.received))

    def close(self) -> None:
        """Stop accepting and close every connection."""
        self._door.close()
        for end in list(self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _enter(self, client: socket.socket) -> None:
        self._open.add(client)
        threading.Thread(target=self._serve, args=(client,), name="fake-server", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        upstream: socket.socket | None = None
        try:
            if self._upstream is not None:
                upstream = socket.create_connection(("127.0.0.1", self._upstream))
                upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open.add(upstream)
            reader = _Reader(client)
            while (command := reader.command()) is not None:
                raw, words = command
                self.received.append(words)
                reply = self._reply(words)
                if reply is None:
                    return
                if reply is not _PASS:
                    client.sendall(reply)
                elif upstream is not None:
                    upstream.sendall(raw)
                    client.sendall(_Reader(upstream).reply())
                else:
                    client.sendall(b"+PONG\r\n" if words[0].upper() == b"PING" else b"+OK\r\n")
        except (OSError, ValueError, IndexError):
            pass
        finally:
            for end in (client, upstream):
                if end is not None:
                    self._open.discard(end)
                    end.close()

    def _reply(self, words: list[bytes]) -> Any:
        with self._lock:
            for name in (words[0].decode("latin-1").upper(), "*"):
                found = self._answers.get(name)
                if found is None:
                    continue
                reply, times = found
                if isinstance(times, int):
                    if times <= 0:
                        continue
                    found[1] = times - 1
                return reply
        return _PASS


_PASS = object()


class _Reader:
    """Reads whole commands or replies from a socket, as they were sent."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""
        self._at = 0

    def command(self) -> tuple[bytes, list[bytes]] | None:
        """One command, raw and as words; None at the end of the stream."""
        self._buffer, self._at = self._buffer[self._at :], 0
        if not self._buffer and not self._more():
            return None
        line = self._line()
        words = []
        for _ in range(int(line[1:])):
            words.append(self._bytes(int(self._line()[1:])))
        return self._buffer[: self._at], words

    def reply(self) -> bytes:
        """One reply, raw, of RESP 2."""
        left = 1
        while left:
            left -= 1
            line = self._line()
            if line[:1] == b"$" and line != b"$-1":
                self._bytes(int(line[1:]))
            elif line[:1] == b"*" and line != b"*-1":
                left += int(line[1:])
        return self._buffer[: self._at]

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n", self._at)) < 0:
            if not self._more():
                raise OSError("the stream ended")
        line, self._at = self._buffer[self._at : end], end + 2
        return line

    def _bytes(self, size: int) -> bytes:
        while len(self._buffer) < self._at + size + 2:
            if not self._more():
                raise OSError("the stream ended")
        found, self._at = self._buffer[self._at : self._at + size], self._at + size + 2
        return found

    def _more(self) -> bool:
        data = self._sock.recv(_CHUNK)
        self._buffer += data
        return bool(data)
