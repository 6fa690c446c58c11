"""Probes of what was left alone: what a dead connection, or another node that is silent, may cost them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from memocache.backends._cluster.node import Node
from memocache.backends._cluster.router import Router
from memocache.backends._redis.connection import Connection
from memocache.backends._redis.pool import Pool
from memocache.backends._redis.resp import Ask, Op, command_bytes
from memocache.backends._settings import RedisSettings
from memocache.backends.redis import RedisBackend
from memocache.testing.stub_server import FakeServer

_MANY = 48


@pytest.fixture
def silence() -> Iterator[list[socket.socket]]:
    """The far ends of connections that died without a word."""
    ends: list[socket.socket] = []
    yield ends
    for end in ends:
        end.close()


def _fill(pool: Pool, silence: list[socket.socket]) -> None:
    """Have `_MANY` idle connections that nobody answers on."""
    for _ in range(_MANY):
        here, there = socket.socketpair()
        silence.append(there)
        pool._idle.append(Connection(here))


def _ping() -> Op[None]:
    yield Ask(command_bytes("PING"), 1)


def test_a_second_ping_asks_over_a_new_connection(silence: list[socket.socket]) -> None:
    """Of many idle connections that died without a word a ping meets one, not each of them in turn."""
    with FakeServer() as server:
        backend = RedisBackend.from_url(server.url)
        _fill(backend._pool, silence)
        with pytest.raises(TimeoutError):
            backend.ping(timeout=0.01)
        backend.ping(timeout=10)
        backend.close()


def test_a_second_probe_of_a_node_asks_over_a_new_connection(silence: list[socket.socket]) -> None:
    """The same for a node of a cluster: the probe after the first one that failed closes the breaker."""
    with FakeServer() as server:
        node = Node(("127.0.0.1", server.port), RedisSettings())
        _fill(node.pool, silence)
        node.breaker.open = True
        for seconds in (0.01, 10):
            node.probe_at = 0.0
            node.probe(_ping, seconds)
            with node._probing:
                pass
        assert not node.breaker.open
        node.close()


def test_what_is_opened_while_a_probe_fails_is_kept() -> None:
    """A connection that takes longer than a probe waits is there for the next one, and not thrown away with the old."""
    made = threading.Event()
    let = threading.Event()
    ends = socket.socketpair()

    def dial() -> socket.socket:
        let.wait()
        return ends[0]

    pool = Pool(dial, 4, 1.0)
    release = pool._release

    def kept(home: Any, wire: Connection) -> None:
        release(home, wire)
        made.set()

    pool._release = kept  # type: ignore[method-assign]  # to know when
    with pytest.raises(TimeoutError):
        pool.run(_ping(), 0.01)
    pool.renew()
    let.set()
    assert made.wait(10)
    ends[1].sendall(b"+PONG\r\n")
    pool.close()
    ends[1].close()


class _Told:
    """A lock that tells when it is free again."""

    def __init__(self, free: threading.Event) -> None:
        self._lock = threading.Lock()
        self._free = free

    def acquire(self, blocking: bool = True) -> bool:
        return self._lock.acquire(blocking)

    def release(self) -> None:
        self._lock.release()
        self._free.set()


def test_a_silent_node_keeps_no_other_from_being_found_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many nodes are silent, those that are well are used again at once, and the next table is fetched."""
    router = Router([("a", 1)], RedisSettings())
    silent, well = router.node_at(("a", 1)), router.node_at(("b", 2))
    answered, end = threading.Event(), threading.Event()

    def wait(*_: object) -> None:
        end.wait(10)
        raise TimeoutError

    monkeypatch.setattr(silent.pool, "run", wait)
    monkeypatch.setattr(well.pool, "run", lambda *_: None)
    monkeypatch.setattr(well, "_probing", _Told(answered))
    for node in (silent, well):
        node.breaker.open = True
    router._probe()
    assert silent._probing.locked()  # it is still being asked
    router._probe()  # and asks nobody a second time meanwhile
    assert answered.wait(10)
    assert not well.breaker.open
    end.set()
    with silent._probing:
        assert silent.breaker.open
    for node in router.nodes():
        node.close()


def test_a_child_probes_for_itself() -> None:
    """After a fork in the midst of a probe the child may begin its own."""
    router = Router([("a", 1)], RedisSettings())
    node = router.node_at(("a", 1))
    with node._probing:
        router.after_fork()
        assert not node._probing.locked()


def test_without_a_thread_for_the_probe_a_later_one_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread is to be had the node stays as it is, and the next look tries again."""

    def none_left(*_: Any) -> None:
        raise RuntimeError

    node = Node(("a", 1), RedisSettings())
    node.breaker.open = True
    monkeypatch.setattr(threading.Thread, "start", none_left)
    node.probe(_ping, 1.0)
    assert node.breaker.open
    assert not node._probing.locked()
