"""What went wrong with a backend is said in words: in health, errors and logs. A proxy that loses keys is seen."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from memocache import BackendError
from memocache.testing.servers import Server
from tests.promises.faults.rig import Rig

CASES = {
    "a database that is not there": (lambda at: f"redis://127.0.0.1:{at}/99", "no such database"),
    "nobody listens": (lambda at: "redis://127.0.0.1:1", "connection refused"),
    "no such host": (lambda at: "redis://no-such-host.invalid?connect_timeout=4", "host"),
    "TLS to a plain port": (lambda at: f"rediss://127.0.0.1:{at}?ssl_cert_reqs=none", "TLS"),
    "a password that is not the one": (lambda at: f"redis://nobody:c4n4ry@127.0.0.1:{at}", "wrong user name"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_backend_that_cannot_be_used_says_why(
    case: str, rig: Rig, one_victim: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Health, direct calls and the log name the cause; health asks, and names it, also while the breaker is open."""
    url, words = CASES[case]
    cache = rig.cache(url(one_victim.port))
    told = [rig.ask(cache, "health").detail]
    for _ in range(20):
        with pytest.raises(BackendError) as caught:
            rig.ask(cache, "get", "x")
        told.append(str(caught.value))
    if "database" not in case:  # a server that answers is alive
        assert cache.breaker() == {"redis": "open"}
        assert "not asked since" in told[-1]
    told.append(rig.ask(cache, "health").detail)
    told += [record.getMessage() for record in caplog.records if "failed while" in record.getMessage()]
    assert not [text for text in told if words not in text]
    assert "c4n4ry" not in " ".join(told)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("ACL", "SETUSER", "default", "-set", "-eval", "-evalsha", "-exec"), "no permission"),
        (("CONFIG", "SET", "maxmemory", "1"), "out of memory"),
        (("REPLICAOF", "127.0.0.1", "1"), "read-only"),
    ],
)
def test_a_server_that_takes_no_writes_says_why(command: tuple[str, ...], words: str, rig: Rig, victim: Server) -> None:
    """A missing permission, full memory and a replica are three things that an operator mends in three ways."""
    cache = rig.cache(victim.url)
    rig.ask(cache, "set", "x", 1)
    with victim.client() as admin:
        admin.execute_command(*command)
    with pytest.raises(BackendError, match=words):
        rig.ask(cache, "set", "x", 2)
    health = rig.ask(cache, "health")
    assert not health.ok
    assert words in health.detail


def test_health_closes_an_open_breaker(rig: Rig, victim: Server) -> None:
    """Whoever asks for health after an outage is not told of the past, and calls go on at once."""
    cache = rig.cache(victim.url)
    victim.kill()
    for _ in range(20):
        with contextlib.suppress(BackendError):
            rig.ask(cache, "get", "x")
    assert cache.breaker() == {"redis": "open"}
    victim.restart()
    assert rig.ask(cache, "health").ok
    assert cache.breaker() == {"redis": "closed"}


# -- a proxy that spreads keys over servers

_UNKNOWN = (b"HELLO", b"CLIENT", b"MULTI", b"EXEC", b"SCAN")


def _message(stream: Any) -> bytes:
    """One command or reply, whole."""
    line: bytes = stream.readline()
    if line[:1] == b"$" and line != b"$-1\r\n":
        line += stream.read(int(line[1:]) + 2)
    if line[:1] == b"*":
        line += b"".join(_message(stream) for _ in range(max(0, int(line[1:]))))
    return line


@contextlib.contextmanager
def spreading(ports: list[int]) -> Iterator[int]:
    """The port of a proxy that sends each command to the server of its first key, as twemproxy does."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.ExitStack() as stack:
                sockets = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for port in ports]
                streams = [stack.enter_context(one.makefile("rwb")) for one in sockets]
                while raw := _message(self.rfile):
                    words = raw.split(b"\r\n")[2::2]
                    if words[0] in _UNKNOWN:
                        self.wfile.write(b"-ERR unknown command\r\n")
                        continue
                    key = words[3] if words[0].startswith(b"EVAL") else words[1] if len(words) > 2 else b""
                    chosen = streams if words[0] == b"SCRIPT" else [streams[zlib.crc32(key) % len(streams)]]
                    for stream in chosen:
                        stream.write(raw)
                        stream.flush()
                    answers = [_message(stream) for stream in chosen]
                    self.wfile.write(answers[0])

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as front:
        front.daemon_threads = True
        thread = threading.Thread(target=front.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield front.server_address[1]
        finally:
            front.shutdown()
            thread.join()


def test_health_sees_a_proxy_that_loses_keys(rig: Rig, victim: Server) -> None:
    """Where markers and entries go to different servers half of the values are lost: that is not healthy."""
    with type(victim)() as other:
        with spreading([victim.port, other.port]) as port:
            cache = rig.cache(f"redis://127.0.0.1:{port}", prefix="spread-1")
            health = rig.ask(cache, "health")
            rig.ask(cache, "close")
        assert not health.ok
        assert "probe keys did not come back" in health.detail
        assert "proxy" in health.detail
        with spreading([victim.port]) as port:
            cache = rig.cache(f"redis://127.0.0.1:{port}", prefix="spread-2")
            assert rig.ask(cache, "health").ok, "one server behind a proxy is one server"
            rig.ask(cache, "close")
