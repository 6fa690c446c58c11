"""`FaultProxy`: a TCP proxy on loopback that delays, drips, drops, doubles, swaps and cuts a server's answers.

::

    with FaultProxy(server.port) as proxy:
        cache = Cache(proxy.url)
        proxy.fault("drip", seconds=0.02)     # from now on, for connections that are open too
        proxy.fault("drop", times=1, when=b"EVALSHA")
        proxy.heal()

An *answer* is what the server sends in one piece after a request, which for the short replies of a cache on loopback
is all replies to one write.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Literal, NamedTuple, Self, get_args

from memocache.testing._listening_socket import Door

Kind = Literal["delay", "drip", "drop", "duplicate", "swap", "cut", "reset", "stall", "refuse"]

_CHUNK = 65536
_RESET = struct.pack("ii", 1, 0)


class _Fault(NamedTuple):
    kind: Kind
    seconds: float
    after: int
    when: bytes


class FaultProxy:
    """A proxy to `port` on `host`; `port` and `url` (of database 0) of the object are its own. Its threads are daemons.

    `answers` counts the answers that a fault has been done to.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._target = (host, port)
        self._lock = threading.Lock()
        self._fault: _Fault | None = None
        self._times: int | None = None
        self._healed = threading.Event()
        self._pairs: set[_Pair] = set()
        self.answers = 0
        self._door = Door("fault-proxy", self._enter)
        self.port = self._door.port
        self.url = self._door.url

    @property
    def opened(self) -> int:
        """How many connections were accepted."""
        return self._door.opened

    def fault(
        self, kind: Kind, *, seconds: float = 0.0, after: int = 0, times: int | None = None, when: bytes = b""
    ) -> None:
        """Do this to answers from now on: to `times` of them (None: all), of requests that contain the bytes `when`.

        ========= ============================================================================================
        delay     send the answer `seconds` later
        drip      send it one byte at a time, `seconds` apart
        drop      do not send it
        duplicate send it twice
        swap      send the connection's answer before this one in its place (itself, if there was none)
        cut       send its first `after` bytes and close the connection
        reset     the same with an RST
        stall     pass on nothing in either direction while the fault lasts; nothing is lost
        refuse    close every connection, the open ones at once and new ones when they are made
        ========= ============================================================================================

        Raises ValueError for another kind.
        """
        if kind not in get_args(Kind):
            raise ValueError(f"unknown fault {kind!r}")
        with self._lock:
            self._healed.set()
            self._healed = threading.Event()
            self._fault, self._times = _Fault(kind, seconds, after, when), times
        if kind == "refuse":
            self.sever()

    def heal(self) -> None:
        """Pass everything on again; what was held back by a stall goes on."""
        with self._lock:
            self._fault = None
            self._healed.set()

    def sever(self, *, reset: bool = False) -> None:
        """Close every open connection, with an RST if `reset`."""
        for pair in list(self._pairs):
            pair.close(reset=reset)

    def close(self) -> None:
        """Stop accepting and close everything."""
        self.heal()
        self._door.close()
        self.sever()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _enter(self, client: socket.socket) -> None:
        fault = self._fault
        if fault is not None and fault.kind == "refuse":
            client.close()
            return
        try:
            server = socket.create_connection(self._target, timeout=5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = _Pair(self, client, server)
        self._pairs.add(pair)
        pair.start()

    def _take(self, request: bytes) -> tuple[_Fault | None, threading.Event]:
        """The fault to do to an answer to `request`, counted, and what is set when it ends."""
        with self._lock:
            fault, healed = self._fault, self._healed
            if fault is None or fault.kind in ("stall", "refuse") or fault.when not in request:
                return None, healed
            if self._times is not None:
                self._times -= 1
                if self._times <= 0:
                    self._fault = None
            self.answers += 1
            return fault, healed

    def _wait_out_stall(self) -> None:
        while (fault := self._fault) is not None and fault.kind == "stall":
            self._healed.wait(0.05)

    def _forget(self, pair: _Pair) -> None:
        self._pairs.discard(pair)


class _Pair:
    """One connection: a socket to the client, one to the server, and a thread for each direction."""

    def __init__(self, proxy: FaultProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._request = b""
        self._before: bytes | None = None

    def start(self) -> None:
        """Begin to pass on."""
        for pump in (self._requests, self._answers):
            threading.Thread(target=self._run, args=(pump,), name="fault-proxy", daemon=True).start()

    def close(self, *, reset: bool = False) -> None:
        """Close both ends."""
        with contextlib.suppress(OSError):
            if reset:
                # the RST leaves when nobody holds the socket any more: wake the thread that reads it, without a FIN
                self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._client.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._client.close()
        self._server.close()
        self._proxy._forget(self)

    def _run(self, pump: object) -> None:
        try:
            pump()  # type: ignore[operator]  # a bound method
        except (OSError, ValueError):
            pass
        finally:
            self.close()

    def _requests(self) -> None:
        while data := self._client.recv(_CHUNK):
            self._proxy._wait_out_stall()
            self._request = data
            self._server.sendall(data)

    def _answers(self) -> None:
        while data := self._server.recv(_CHUNK):
            self._proxy._wait_out_stall()
            fault, healed = self._proxy._take(self._request)
            before, self._before = self._before, data
            if fault is None:
                self._client.sendall(data)
            elif not self._spoil(data, before, fault, healed):
                return

    def _spoil(self, data: bytes, before: bytes | None, fault: _Fault, healed: threading.Event) -> bool:
        """Do `fault` to an answer; whether the connection lives on."""
        if fault.kind == "delay":
            healed.wait(fault.seconds)
            self._client.sendall(data)
        elif fault.kind == "drip":
            for at in range(len(data)):
                self._client.sendall(data[at : at + 1])
                healed.wait(fault.seconds)
        elif fault.kind == "duplicate":
            self._client.sendall(data + data)
        elif fault.kind == "swap":
            self._client.sendall(before or data)
        elif fault.kind in ("cut", "reset"):
            self._client.sendall(data[: fault.after])
            self.close(reset=fault.kind == "reset")
            return False
        return True
