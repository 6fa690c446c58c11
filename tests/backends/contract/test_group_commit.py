"""Requests of one event loop that leave together: how many bytes, who waits for whom, and thousands at once."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from memocache import Cache
from memocache.backends._redis import pipelined_connection as _lane
from memocache.backends._redis.resp import Ask, Op, command_bytes
from memocache.backends.redis import RedisBackend
from memocache.testing._listening_socket import Door
from memocache.testing.servers import Server, available_servers
from tests.patience import patient, unhurried  # noqa: F401  # the first is autouse

MANY = 10_000
ECHO = re.compile(rb"\*2\r\n\$4\r\nECHO\r\n\$\d+\r\n(\d+) *\r\n")


class Holder:
    """A server of one command, ECHO, that reads what has come only when told to; it remembers each batch."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.sizes: list[int] = []
        self.connections: list[socket.socket] = []
        self._door = Door("echoes", self._enter)
        self.url = self._door.url + "?timeout=30&connect_timeout=30"

    def _enter(self, connection: socket.socket) -> None:
        self.connections.append(connection)
        threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        rest = b""
        try:
            while data := connection.recv(1 << 22):
                rest += data
                if not rest.endswith(b"\r\n") or ECHO.sub(b"", rest):
                    continue  # half a command
                numbers = [int(number) for number in ECHO.findall(rest)]
                self.batches.append(numbers)
                self.sizes.append(len(rest))
                rest = b""
                connection.sendall(b"".join(b":%d\r\n" % number for number in numbers))
        except OSError:
            pass

    def close(self) -> None:
        self._door.close()
        for connection in self.connections:
            connection.close()


@contextmanager
def holder() -> Iterator[Holder]:
    """A `Holder`, closed at the end."""
    server = Holder()
    try:
        yield server
    finally:
        server.close()


def echo(number: int, size: int = 1) -> Op[int]:
    """Ask for a number, in a command of at least `size` bytes."""
    (reply,) = yield Ask(command_bytes("ECHO", str(number).ljust(size)), 1)
    assert isinstance(reply, int)
    return reply


@pytest.fixture
def crowded(running_server: Callable[[str], Server]) -> Iterator[Cache]:
    """A cache on the first kind of server that this machine has: what thousands at once do happens on our side."""
    kinds = available_servers()
    if not kinds:
        pytest.skip("no server")
    with Cache(unhurried(running_server(kinds[0]).url), prefix="many") as cache:
        cache.clear()
        yield cache


def test_thousands_of_gets_at_once(crowded: Cache) -> None:
    """10,000 `cache.aio.get` at once, each of another key, raise nothing, and give each its own value."""

    async def scenario() -> None:
        await crowded.aio.set_many({f"k{number}": number for number in range(MANY)})
        assert await asyncio.gather(*(crowded.aio.get(f"k{number}") for number in range(MANY))) == list(range(MANY))
        await crowded.aio.close()

    asyncio.run(scenario())


def test_thousands_of_calls_at_once(crowded: Cache) -> None:
    """10,000 cached calls at once, each with another argument, raise nothing, and are hits with the right values."""
    computed: list[int] = []

    @crowded.cached(ttl=600)
    async def double(number: int) -> int:
        computed.append(number)
        return 2 * number

    async def scenario() -> None:
        doubles = [2 * number for number in range(MANY)]
        assert await double.map(range(MANY)) == doubles
        assert await asyncio.gather(*map(double, range(MANY))) == doubles
        await crowded.aio.close()

    asyncio.run(scenario())
    assert sorted(computed) == list(range(MANY))


def test_a_thousand_misses_at_once(crowded: Cache) -> None:
    """1,000 cached calls at once that find nothing raise nothing, compute once each, and store."""
    computed: list[int] = []

    @crowded.cached(ttl=600)
    async def double(number: int) -> int:
        computed.append(number)
        return 2 * number

    async def scenario() -> None:
        for _ in range(2):
            assert await asyncio.gather(*map(double, range(1_000))) == [2 * number for number in range(1_000)]
        await crowded.aio.close()

    asyncio.run(scenario())
    assert sorted(computed) == list(range(1_000))


@pytest.fixture
def one_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is late, so that all goes over the first connection."""
    monkeypatch.setattr(_lane, "LATE", 600.0)


@pytest.mark.usefixtures("one_lane")
def test_what_arrives_meanwhile_leaves_together() -> None:
    """A hundred requests begun at once are one write, or two where the first had gone already."""

    async def scenario(server: Holder) -> None:
        backend = RedisBackend.from_url(server.url)
        assert await backend.aio.multiplexer.run(echo(0)) == 0
        answers = await asyncio.gather(*(backend.aio.multiplexer.run(echo(number)) for number in range(1, 101)))
        assert answers == list(range(1, 101))
        assert server.batches == [[0], [1], list(range(2, 101))]
        backend.close()

    with holder() as server:
        asyncio.run(scenario(server))


@pytest.mark.usefixtures("one_lane")
def test_a_batch_is_bounded() -> None:
    """However much waits, one write is no longer than the bound and the request that passes it."""
    size, count = 60_000, 40

    async def scenario(server: Holder) -> None:
        backend = RedisBackend.from_url(server.url)
        await backend.aio.multiplexer.run(echo(0))
        answers = await asyncio.gather(
            *(backend.aio.multiplexer.run(echo(number, size)) for number in range(1, count + 1))
        )
        assert answers == list(range(1, count + 1))
        assert [number for batch in server.batches for number in batch] == list(range(count + 1))
        assert max(server.sizes) <= _lane.MAX_WRITE + size + 100
        assert len(server.batches) >= 2 + (count - 1) * size // (_lane.MAX_WRITE + size + 100)
        backend.close()

    with holder() as server:
        asyncio.run(scenario(server))


def take(key: str) -> Op[object]:
    """Wait for something in a list: until then the connection answers nothing that was sent after it."""
    (reply,) = yield Ask(command_bytes("BLPOP", key, 0), 1)
    return reply


def own_echo(number: int) -> Op[object]:
    """Ask a server for a number."""
    (reply,) = yield Ask(command_bytes("ECHO", str(number)), 1)
    return reply


async def put(server: Server, key: str) -> None:
    """Give `take` what it waits for."""

    def push() -> None:
        with server.client() as client:
            client.rpush(key, "x")

    await asyncio.to_thread(push)


def test_a_command_without_answer_holds_others_to_its_deadline(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent with it ends when it does, though its own deadline is far; what is begun then is answered."""
    monkeypatch.setattr(
        _lane.PipelinedConnection, "late", lambda lane, now: False
    )  # nothing moves to another connection
    backend = RedisBackend.from_url(unhurried(server.url))

    async def scenario() -> None:
        await backend.aio.ping()
        lanes = backend.aio.multiplexer
        first = asyncio.create_task(lanes.run(take("gate"), 600))
        await asyncio.sleep(0)
        slow = asyncio.create_task(lanes.run(take("nothing"), 1.0))
        behind = [asyncio.create_task(lanes.run(own_echo(number), 600)) for number in range(20)]
        await put(server, "gate")
        await first
        with pytest.raises(TimeoutError):
            await slow
        # events, no times: their own deadline is in ten minutes (on a very busy machine `slow` was never sent)
        for number, outcome in enumerate(await asyncio.gather(*behind, return_exceptions=True)):
            assert outcome == b"%d" % number or isinstance(outcome, OSError)
        assert await lanes.run(own_echo(7)) == b"7"

    asyncio.run(scenario())
    backend.close()


@pytest.mark.usefixtures("one_lane")
@pytest.mark.parametrize("when", ["unsent", "sent"])
def test_cancelling_one_harms_no_other(when: str, server: Server) -> None:
    """Of requests that wait to be sent, or for their answers, any may be cancelled; each other gets its own answer."""
    backend = RedisBackend.from_url(unhurried(server.url))

    async def scenario() -> None:
        await backend.aio.ping()
        lanes = backend.aio.multiplexer
        gates = [asyncio.create_task(lanes.run(take("gate")))]
        await asyncio.sleep(0)  # it is sent, and holds back what follows
        gates.append(asyncio.create_task(lanes.run(take("second gate"))))
        tasks = [asyncio.create_task(lanes.run(own_echo(number))) for number in range(50)]
        await asyncio.sleep(0)
        (lane,) = [lane for lane in lanes._loops[asyncio.get_running_loop()]._shared if lane.busy()]
        if when == "sent":
            await put(server, "gate")
            await gates[0]
        assert (len(lane.owed), len(lane.queue)) == ((1, 51) if when == "unsent" else (51, 0))
        for task in tasks[::3]:
            task.cancel()
        await put(server, "second gate")
        if when == "unsent":
            await put(server, "gate")
        for number, outcome in enumerate(await asyncio.gather(*tasks, return_exceptions=True)):
            assert isinstance(outcome, asyncio.CancelledError) if number % 3 == 0 else outcome == b"%d" % number
        await asyncio.gather(*gates)

    asyncio.run(scenario())
    backend.close()
