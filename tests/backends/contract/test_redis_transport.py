"""What the Redis transports do when the server, the network, the caller or the process misbehaves, in both colours."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from memocache.backends._redis import connection as _wire
from memocache.backends._redis.commands import Transaction
from memocache.backends._redis.resp import Ask, Op, command_bytes
from memocache.backends.base import Busy, ProtocolError, ReplyError
from memocache.backends.redis import RedisBackend
from memocache.testing import servers
from memocache.testing._listening_socket import Door
from memocache.typing import Guard, Put
from tests.promises.faults.rig import share

MGET = b"*2\r\n$4\r\nMGET\r\n$1\r\nk\r\n"


LEISURE = "?timeout=30&connect_timeout=30"
"""Deadlines that a machine which stands still for seconds does not meet; tests of deadlines have their own."""


class FakeServer:
    """Accepts connections and lets `answer(connection, bytes received)` do as it likes with each read."""

    def __init__(self, answer: Callable[[socket.socket, bytes], None]) -> None:
        self._answer = answer
        self.received: list[bytes] = []
        self.connections: list[socket.socket] = []
        self._door = Door("answers", self._enter)
        self.url = self._door.url

    def _enter(self, connection: socket.socket) -> None:
        self.connections.append(connection)
        threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            while data := connection.recv(65536):
                self.received.append(data)
                self._answer(connection, data)
        except OSError:
            pass

    def stop(self) -> None:
        self._door.close()
        for connection in self.connections:
            connection.close()


@pytest.fixture
def fake() -> Iterator[Callable[[Callable[[socket.socket, bytes], None]], FakeServer]]:
    """A function that starts a `FakeServer`, stopped after the test."""
    started: list[FakeServer] = []

    def start(answer: Callable[[socket.socket, bytes], None]) -> FakeServer:
        started.append(FakeServer(answer))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(params=["blocking", "awaiting"])
def call(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """`call(backend, name, *args)`: that method, in each colour, on one event loop."""
    with asyncio.Runner() as runner:

        def invoke(backend: RedisBackend, name: str, *args: Any, **options: Any) -> Any:
            if request.param == "blocking":
                return getattr(backend, name)(*args, **options)
            return runner.run(getattr(backend.aio, name)(*args, **options))

        yield invoke


@pytest.fixture
def own_server() -> Iterator[servers.Server]:
    """A server of the test's own, to kill and suspend."""
    kinds = servers.available_servers()
    if not kinds:
        pytest.skip("no server")
    with servers.start(kinds[0]) as server:
        yield server


def send(data: bytes) -> Callable[[socket.socket, bytes], None]:
    """An answer that is always `data`."""
    return lambda connection, _: connection.sendall(data)


@pytest.mark.parametrize(
    "reply",
    [
        b":5\r\n",
        b"+OK\r\n",
        b"$1\r\nx\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*2\r\n$1\r\nx\r\n$1\r\ny\r\n",
        b"*1\r\n:5\r\n",
        b"*1\r\n-ERR x\r\n",
        b"#t\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\xff garbage\r\n" * 9,
        b"*1\r\n" * 10_000,
        b"*2147483647\r\n",
        b"*2147483647\r\n$1\r\nx\r\n",
    ],
    ids=range(14),
)
def test_nonsense_is_an_error_and_ends_the_connection(fake: Any, call: Callable[..., Any], reply: bytes) -> None:
    """Whatever does not answer the question raises at once, and the next question goes over another connection."""
    server = fake(send(reply))
    backend = RedisBackend.from_url(server.url + LEISURE)
    for _ in range(2):
        with pytest.raises(ProtocolError):
            call(backend, "read", ["k"])
    assert len(server.connections) == 2
    backend.close()


@pytest.mark.parametrize("code", ["LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "NOAUTH"])
def test_a_better_server_may_be_found(fake: Any, call: Callable[..., Any], code: str) -> None:
    """Answers about the server's own state are raised as they are, sent once, and end the connection."""
    server = fake(send(f"-{code} of some kind\r\n".encode()))
    backend = RedisBackend.from_url(server.url + LEISURE)
    for _ in range(2):
        with pytest.raises(ReplyError) as caught:
            call(backend, "read", ["k"])
        assert caught.value.code == code
    assert len(server.connections) == 2
    assert server.received == [MGET, MGET]
    backend.close()


@pytest.mark.parametrize(("text", "code"), [("OOM no", "OOM"), ("BUSY x", "BUSY"), ("ERR secret args", "ERR")])
def test_other_errors_keep_the_connection(fake: Any, call: Callable[..., Any], text: str, code: str) -> None:
    """An error reply is no doubt about the connection, and its text is not in the message."""
    server = fake(send(f"-{text}\r\n".encode()))
    backend = RedisBackend.from_url(server.url + LEISURE)
    for _ in range(2):
        with pytest.raises(ReplyError, match=code) as caught:
            call(backend, "read", ["k"])
        assert "secret" not in str(caught.value)
    assert len(server.connections) == 1
    backend.close()


def test_a_surplus_reply_is_never_read_by_the_next(fake: Any, call: Callable[..., Any]) -> None:
    """A reply sent twice answers one question; the next question goes over another connection."""
    count = 0

    def twice(connection: socket.socket, data: bytes) -> None:
        nonlocal count
        count += 1
        connection.sendall(b"*1\r\n$1\r\n%d\r\n" % count * (2 if count == 1 else 1))

    server = fake(twice)
    backend = RedisBackend.from_url(server.url + LEISURE)
    try:
        first = call(backend, "read", ["k"])
    except ProtocolError:
        first = [b"1"]  # both replies came in one segment: doubt at once
    assert first == [b"1"]
    assert call(backend, "read", ["k"]) == [b"2"]
    assert len(server.connections) == 2
    backend.close()


def test_a_dripping_reply_meets_the_total_deadline(fake: Any, call: Callable[..., Any]) -> None:
    """A reply that comes one byte at a time does not stretch the timeout, and its rest is never read."""
    done = threading.Event()

    def drip(connection: socket.socket, data: bytes) -> None:
        for byte in b"*1\r\n$100\r\n" + b"x" * 100:
            connection.sendall(bytes([byte]))
            if done.wait(0.05):
                return

    server = fake(drip)
    backend = RedisBackend.from_url(server.url + LEISURE)
    for _ in range(20):
        with pytest.raises(TimeoutError):
            call(backend, "read", ["k"], timeout=0.2)
        if MGET in server.received:
            break  # on a machine that stands still there may be no connection in time
    done.set()
    # by their question: a probe for an earlier test's server, whose port this one got, is not ours
    assert server.received.count(MGET) == 1
    backend.close()


def test_a_write_whose_reply_was_lost_is_not_repeated(fake: Any, call: Callable[..., Any]) -> None:
    """A connection cut after a write raises; the write was sent once. A read is sent once more."""
    server = fake(lambda connection, _: connection.shutdown(socket.SHUT_RDWR))
    backend = RedisBackend.from_url(server.url + LEISURE)
    with pytest.raises(ConnectionError):
        call(backend, "transact", [], [Put("k", b"1")])
    assert len(server.received) == 1
    with pytest.raises(ConnectionError):
        call(backend, "read", ["k"])
    assert server.received[1:] == [MGET, MGET]
    backend.close()


def test_connections_that_the_server_closed_are_not_noticed(server: servers.Server, call: Callable[..., Any]) -> None:
    """Reads after CLIENT KILL of everything idle succeed, every time."""
    backend = RedisBackend.from_url(server.url + LEISURE)
    call(backend, "transact", [], [Put("k", b"1")])
    with server.client() as client:
        for _ in range(20):
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            assert call(backend, "read", ["k"]) == [b"1"]
    backend.close()


def test_a_server_that_hangs_costs_the_deadline(own_server: servers.Server, call: Callable[..., Any]) -> None:
    """While the process is stopped calls raise TimeoutError, new connections included; afterwards they work, and
    the late replies have gone to nobody."""
    warm, cold = (RedisBackend.from_url(own_server.url + LEISURE) for _ in range(2))
    call(warm, "transact", [], [Put(f"k{n}", b"%d" % n) for n in range(20)])
    own_server.suspend()
    for backend in (warm, cold):
        with pytest.raises(TimeoutError):
            call(backend, "read", ["k0"], timeout=0.1)
    own_server.resume()
    for n in range(20):
        assert call(warm, "read", [f"k{n}"]) == [b"%d" % n]
    warm.close()
    cold.close()


def test_a_killed_server_is_found_again(own_server: servers.Server, call: Callable[..., Any]) -> None:
    """After a kill calls raise ConnectionError; after a restart on the same port the very next one works."""
    backend = RedisBackend.from_url(own_server.url + LEISURE)
    call(backend, "ping")
    own_server.kill()
    with pytest.raises(ConnectionError):
        call(backend, "read", ["k"])
    own_server.restart()
    assert call(backend, "read", ["k"]) == [None]
    backend.close()


def test_slow_name_resolution_is_bounded(
    server: servers.Server, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resolver that does not return costs the deadline and no more."""
    release = threading.Event()

    def resolve(*args: Any, **options: Any) -> Any:
        release.wait(30)
        raise OSError("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    backend = RedisBackend.from_url(server.url)
    with pytest.raises(TimeoutError):
        call(backend, "read", ["k"], timeout=0.1)
    release.set()
    backend.close()


def test_three_hundred_threads_share_four_connections(server: servers.Server) -> None:
    """An exhausted pool makes callers wait their turn; nobody fails and no more connections are opened."""
    backend = RedisBackend.from_url(server.url + LEISURE + "&max_connections=4")
    backend.transact([], [Put("k", b"1")])
    barrier = threading.Barrier(300)

    def read(_: int) -> list[bytes | None]:
        barrier.wait(60)
        return backend.read(["k"])

    with ThreadPoolExecutor(300) as threads:
        assert list(threads.map(read, range(300))) == [[b"1"]] * 300
    assert len(backend._pool._idle) <= 4
    backend.close()


def test_waiting_for_the_pool_is_bounded(own_server: servers.Server) -> None:
    """When all connections are in use, a caller gets Busy at its deadline: nothing was sent for it."""
    backend = RedisBackend.from_url(own_server.url + LEISURE + "&max_connections=1")
    backend.ping()
    own_server.suspend()
    with ThreadPoolExecutor(1) as thread:
        holder = thread.submit(backend.read, ["k"])
        while backend._pool._idle:
            time.sleep(0.001)
        with pytest.raises(Busy):
            backend.read(["k"], timeout=0.1)
        own_server.resume()
        assert holder.result(60) == [None]
    backend.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.timeout(1800)
def test_fork_under_load(server: servers.Server, record_property: Callable[[str, Any], None]) -> None:
    """Children forked while threads read get their own connections: in 60 forks and 3,000 reads of parent and child
    after each nobody reads another's reply.
    """
    backend = RedisBackend.from_url(server.url + LEISURE)
    backend.transact([], [Put(f"k{n}", b"%d" % n) for n in range(7)])
    over = threading.Event()

    def read(rounds: int) -> bool:
        return all(backend.read([f"k{n % 7}"]) == [b"%d" % (n % 7)] for n in range(rounds))

    def load() -> bool:
        fine = True
        while not over.is_set():
            fine = fine and read(100)
        return fine

    with ThreadPoolExecutor(2) as threads:
        loads = [threads.submit(load) for _ in range(2)]
        statuses = []
        forks, reads = share(60, 5), share(3000, 200)
        for _ in range(forks):
            pid = os.fork()
            if pid == 0:
                fine = False
                try:
                    fine = read(reads) and asyncio.run(backend.aio.read(["k1"])) == [b"1"]
                finally:
                    os._exit(0 if fine else 1)
            assert read(reads)
            statuses.append(os.waitpid(pid, 0)[1])
        over.set()
        assert [future.result(60) for future in loads] == [True, True]
    assert statuses == [0] * forks
    figures = {"calls": 2 * forks * reads, "wrong": sum(map(bool, statuses)), "raised": 0, "worst": None}
    record_property("figures", figures | {"colour": "sync", "recovery": None})
    backend.close()


class _Interrupt(BaseException):
    """What the signal handler raises."""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers")
# Where the interrupt strikes a destructor or a weak callback, the interpreter can only report it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_interrupted_calls_spoil_nothing(server: servers.Server, record_property: Callable[[str, Any], None]) -> None:
    """5,000 signal-handler exceptions at random moments give no wrong value and lose no place in the pool."""
    backend = RedisBackend.from_url(server.url + LEISURE + "&max_connections=2")
    backend.transact([], [Put(f"k{n}", b"%d" % n) for n in range(7)])
    rng = random.Random(7)
    armed = False

    def strike(*_: object) -> None:
        if armed:
            raise _Interrupt

    before = signal.signal(signal.SIGALRM, strike)
    interrupted = 0
    try:
        for n in range(signals := share(5000, 500)):
            try:
                armed = True
                # Again every 20 ms, for one that strikes a destructor is lost.
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, 4e-4), 0.02)
                while True:
                    assert backend.read([f"k{n % 7}"]) == [b"%d" % (n % 7)]
            except _Interrupt:
                interrupted += 1
            finally:
                armed = False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted == signals
    figures = {"calls": signals, "wrong": 0, "raised": 0, "worst": None}
    record_property("figures", figures | {"colour": "sync", "recovery": None})
    gc.collect()
    assert backend.read(["k3"]) == [b"3"]
    assert len(backend._pool._permits) <= 2
    backend.close()


def test_cancelled_tasks_harm_nobody(server: servers.Server) -> None:
    """Of tasks that share a connection any may be cancelled at any moment; the others get their own values."""
    backend = RedisBackend.from_url(server.url + LEISURE)
    backend.transact([], [Put(f"k{n}", b"%d" % n) for n in range(6)])

    async def scenario() -> None:
        for turn in range(200):
            tasks = [asyncio.create_task(backend.aio.read([f"k{n}"])) for n in range(6)]
            for _ in range(turn % 5):
                await asyncio.sleep(0)
            for task in tasks[turn % 2 :: 2]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            for n, result in enumerate(results):
                assert result == [b"%d" % n] or isinstance(result, asyncio.CancelledError)
                assert n % 2 == turn % 2 or result == [b"%d" % n]

    asyncio.run(scenario())
    backend.close()


@pytest.mark.parametrize("how", ["killed", "doubted"])
def test_no_transaction_crosses_connections(server: servers.Server, how: str) -> None:
    """Where the connection is lost between WATCH and EXEC the transaction fails: over another one it would be written
    whatever had changed.
    """
    backend = RedisBackend.from_url(server.url + LEISURE)
    backend._say.scripts = False

    async def scenario() -> None:
        steps = backend._say.transact(Transaction([Guard("k")], [Put("k", b"mine")]))

        def meddled() -> Op[Any]:
            replies = yield next(steps)  # WATCH and GET
            if how == "doubted":
                backend.doubt()
            with server.client() as client:
                if how == "killed":
                    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                client.set("k", b"theirs")
            replies = yield steps.send(replies)  # MULTI to EXEC
            steps.send(replies)

        with pytest.raises(ConnectionError):
            await backend.aio.multiplexer.run(meddled())
        assert await backend.aio.read(["k"]) == [b"theirs"]

    asyncio.run(scenario())
    backend.close()


def test_a_slow_command_holds_up_nobody(server: servers.Server) -> None:
    """While one command of a loop has not been answered, the others' are, over another connection."""
    backend = RedisBackend.from_url(server.url + LEISURE)

    def wait_long() -> Op[Any]:
        (reply,) = yield Ask(command_bytes("BLPOP", "nothing", 0), 1)
        return reply

    async def scenario() -> None:
        await backend.aio.ping()
        slow = asyncio.create_task(backend.aio.multiplexer.run(wait_long(), 30))
        await asyncio.sleep(0)
        assert await asyncio.gather(*(backend.aio.read(["k"]) for _ in range(20))) == [[None]] * 20
        assert not slow.done()
        with server.client() as client:
            client.rpush("nothing", "x")
        assert await slow == [b"nothing", b"x"]

    asyncio.run(scenario())
    backend.close()


def test_loops_come_and_go(server: servers.Server) -> None:
    """Loops one after another, two at once in threads, and one left unclosed: every read works, nothing is said."""
    backend = RedisBackend.from_url(server.url + LEISURE)
    backend.transact([], [Put("k", b"1")])

    async def many() -> set[bytes | None]:
        return {value for (value,) in await asyncio.gather(*(backend.aio.read(["k"]) for _ in range(50)))}

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            assert asyncio.run(many()) == {b"1"}
        with ThreadPoolExecutor(2) as threads:
            assert list(threads.map(lambda _: asyncio.run(many()), range(6))) == [{b"1"}] * 6
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(many()) == {b"1"}
        loop.close()
        del loop
        gc.collect()
        assert backend.read(["k"]) == [b"1"]
        with server.client() as client:
            assert asyncio.run(many()) == {b"1"}
            backend.close()
            gc.collect()
            deadline = time.monotonic() + 10
            while len(client.client_list()) > 1:  # its own
                assert time.monotonic() < deadline
                time.sleep(0.01)


def test_large_writes_and_replies_pass(server: servers.Server, call: Callable[..., Any]) -> None:
    """Sixteen megabytes go there and back whole, also when sent in pieces."""
    backend = RedisBackend.from_url(server.url + LEISURE)
    value = random.Random(1).randbytes(16_000_000)
    assert call(backend, "transact", [Guard("big")], [Put("big", value)]) is None
    assert call(backend, "read", ["big", "none"]) == [value, None]
    backend.close()


def test_a_subscription_outlives_its_connection(server: servers.Server) -> None:
    """A listener whose connection was killed is woken when it is subscribed again, and hears what is published."""
    backend = RedisBackend.from_url(server.url + LEISURE)
    woken = threading.Event()
    stop = backend.subscribe("channel", woken.set)
    assert stop is not None
    assert woken.wait(10), "subscribed"
    woken.clear()
    with server.client() as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    assert woken.wait(10), "subscribed again"
    woken.clear()
    backend.transact([], publish="channel")
    assert woken.wait(10), "heard"
    stop()
    backend.close()


def test_out_of_memory_refuses_writes_alone(own_server: servers.Server, call: Callable[..., Any]) -> None:
    """Under OOM reads, deletes and transactions that only delete work, and a put raises OOM and applies nothing."""
    backend = RedisBackend.from_url(own_server.url + LEISURE)
    call(backend, "transact", [], [Put("k", b"1"), Put("m", b"1")])
    with own_server.client() as client:
        client.config_set("maxmemory", 1)
    for scripts in (True, False):
        backend._say.scripts = scripts
        with pytest.raises(ReplyError) as caught:
            call(backend, "transact", [Guard("k", b"1")], [Put("x", b"2")], ["k"])
        assert caught.value.code == "OOM"
        assert call(backend, "read", ["k", "x"]) == [b"1", None]
    backend._say.scripts = True
    assert call(backend, "transact", [Guard("k", b"1")], [], ["k"]) is None
    assert call(backend, "delete", ["m"]) == 1
    backend.close()


def test_a_server_with_a_password(call: Callable[..., Any]) -> None:
    """The right password works; a wrong one raises an error without it."""
    with servers.start(servers.available_servers()[0], "--requirepass", "hunter2") as server:
        place = server.url.removeprefix("redis://")
        backend = RedisBackend.from_url(f"redis://:hunter2@{place}{LEISURE}")
        assert call(backend, "read", ["k"]) == [None]
        wrong = RedisBackend.from_url(f"redis://:hunter3@{place}{LEISURE}")
        with pytest.raises(ReplyError) as caught:
            call(wrong, "read", ["k"])
        assert "hunter" not in str(caught.value)
        backend.close()
        wrong.close()


def test_a_wire_takes_its_socket_along() -> None:
    """A wire dropped without being closed closes its socket, in a cycle too, without a ResourceWarning."""
    ours, theirs = socket.socketpair()
    wire = _wire.Connection(ours)
    wire.permit = [wire]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del wire, ours
        gc.collect()
    theirs.settimeout(10)
    assert theirs.recv(1) == b""
    theirs.close()
