"""A listening socket on loopback, and the thread that accepts its connections.

`FaultProxy` and `FakeServer` stand behind one. It knows nothing of what is said on a connection.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable


class Door:
    """Listens on a free port and hands every connection to `enter`, in its daemon thread, which must not block long.

    `opened` counts the connections.
    """

    def __init__(self, name: str, enter: Callable[[socket.socket], None]) -> None:
        self._enter = enter
        self.opened = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name=name, daemon=True).start()

    @property
    def url(self) -> str:
        """The URL of database 0 behind it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def close(self) -> None:
        """Accept nobody any more; what was accepted stays open."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.opened += 1
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._enter(client)
