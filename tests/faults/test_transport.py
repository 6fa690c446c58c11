"""FAULTS.md, transport: rows 1 to 14. What a broken connection costs, and that it never costs more."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from memocache import _breaker, _store_shared
from memocache._guard import Budget
from memocache.backends.redis import RedisBackend
from memocache.testing import FakeServer, FaultProxy
from memocache.testing.servers import Server
from memocache.typing import Tally
from tests.faults.rig import RECOVERY, SLACK, STALL, Rig, repeatedly, truth, until, within

KEYS = range(1, 41)


def warmed(rig: Rig, url: str, **options: Any) -> Any:
    """A function of which every key is in the backend."""
    f = rig.cached(rig.cache(url, **options))
    rig.trial(f, KEYS).check()
    return f


def test_1_a_server_killed_in_the_middle(rig: Rig, victim: Server) -> None:
    """Row 1: 1,000 calls while the server is killed and comes back twice: none raises or is wrong, and the cache is
    used again within 2 s.
    """
    f = warmed(rig, victim.url)

    def between(number: int) -> None:
        if number in (20, 150):
            threading.Timer(0.002, victim.kill).start()
        if number in (80, 200):
            until(lambda: victim._process is None)
            victim.restart()

    trial = rig.trial(f, (n % 40 + 1 for n in range(1000)), width=4, between=between)
    trial.check()
    assert trial.calls == 1000
    assert rig.recovers(f) <= RECOVERY + SLACK


def total_of(rig: Rig, f: Any, calls: int) -> float:
    """Seconds that so many calls took together."""
    trial = rig.trial(f, (n % 10 + 1 for n in range(calls)))
    trial.check()
    return trial.total


def test_2_a_server_that_hangs(rig: Rig, victim: Server) -> None:
    """Row 2: 50 cached calls of a stopped server take 0.6 s together, the loop ticks, and it is used again when it goes
    on.
    """
    f = warmed(rig, victim.url)

    def measure() -> float:
        victim.suspend()
        try:
            return rig.must_tick(lambda: total_of(rig, f, 50))
        finally:
            victim.resume()
            rig.recovers(f)

    within(0.6, measure)
    victim.suspend()
    total_of(rig, f, 1)
    victim.resume()
    assert rig.recovers(f) <= RECOVERY + SLACK


def drip_cost(rig: Rig, proxy: FaultProxy, f: Any) -> float:
    """Seconds that one cached call takes when the answers drip."""
    proxy.fault("drip", seconds=0.02)
    try:
        trial = rig.must_tick(lambda: rig.trial(f, [1]))
    finally:
        proxy.heal()
    trial.check()
    rig.recovers(f)
    return trial.worst


def test_3_a_reply_that_drips(rig: Rig, proxy: FaultProxy) -> None:
    """Row 3: an answer sent a byte at a time costs a call 0.3 s in all, not that for each byte."""
    f = warmed(rig, proxy.url)
    within(STALL, lambda: drip_cost(rig, proxy, f))


def test_4_a_late_reply_is_never_reused(rig: Rig, proxy: FaultProxy) -> None:
    """Row 4: answers that come after their call gave up are read by nobody: 0 wrong values."""
    f = warmed(rig, proxy.url)

    def between(number: int) -> None:
        if number % 50 == 25:
            proxy.fault("delay", seconds=0.4, times=4)
        elif number % 50 == 49:
            rig.recovers(f)

    rig.trial(f, (n % 40 + 1 for n in range(200)), width=2, between=between).check()
    assert proxy.answers >= 8


def test_5_a_lost_reply_on_a_write(rig: Rig, proxy: FaultProxy) -> None:
    """Row 5: an increment whose answer was lost, cut or reset has taken place once, and is not sent again."""
    backend = RedisBackend.from_url(proxy.url)
    for number, kind in enumerate(("drop", "cut", "reset")):
        key = f"n{number}"
        rig.talk(backend, "ping", timeout=5)
        proxy.fault(kind, when=b"HINCRBY")  # type: ignore[arg-type]  # one of them
        with pytest.raises(OSError):  # noqa: PT011  # which, depends on the fault
            rig.talk(backend, "tally", [Tally(key, {"a": 1}, {})], timeout=0.3)
        proxy.heal()
        assert rig.talk(backend, "counts", [key], timeout=5) == [{"a": 1}]
    if rig.is_async:
        rig.run(backend.aio.close())
    backend.close()


def test_5_a_lost_reply_on_a_store(rig: Rig, proxy: FaultProxy) -> None:
    """Row 5: calls whose store was not confirmed have their value, and nobody reads another afterwards."""
    f = rig.cached(rig.cache(proxy.url))
    for start, kind in ((100, "cut"), (200, "reset"), (300, "drop")):
        proxy.fault(kind, when=b"EVALSHA")  # type: ignore[arg-type]  # one of them
        rig.trial(f, range(start, start + 4)).check()
        proxy.heal()
        rig.recovers(f)
        rig.trial(f, range(start, start + 4)).check()


def test_6_a_lost_reply_on_taking_a_lease(
    rig: Rig, one_victim: Server, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 6: whoever may hold a lease without knowing does not wait for it, and others not beyond its bound."""
    monkeypatch.setattr(_store_shared, "LEASE_SECONDS", 2.0)
    f = rig.cached(rig.cache(proxy.url))
    other = rig.cached(rig.cache(one_victim.url))
    rig.call(f, 1), rig.call(other, 1)
    for x, kind in ((101, "drop"), (105, "cut")):
        proxy.fault(kind, when=b"EVALSHA", times=1)  # type: ignore[arg-type]  # one of them
        rig.trial(f, [x]).check()
        rig.recovers(f)

        begun = time.monotonic()
        rig.trial(f, [x]).check()
        assert time.monotonic() - begun < 1.0, "it waited for its own lease"

        proxy.fault(kind, when=b"EVALSHA", times=1)  # type: ignore[arg-type]
        rig.trial(f, [x + 1]).check()
        begun = time.monotonic()
        rig.trial(other, [x + 1]).check()
        assert time.monotonic() - begun < 2.0 + 1.5, "it waited beyond the lease"


@pytest.mark.parametrize("kind", ["cut", "reset"])
def test_7_an_answer_cut_in_the_middle(rig: Rig, proxy: FaultProxy, kind: Any) -> None:
    """Row 7: answers cut at any byte, by FIN or RST, are misses: 1,000 calls, none raises or is wrong."""
    f = warmed(rig, proxy.url)

    def between(number: int) -> None:
        if number % 5 == 0:
            proxy.fault(kind, after=number % 97, times=1)

    rig.trial(f, (n % 40 + 1 for n in range(1000)), width=2, between=between).check()
    assert proxy.answers > 50
    proxy.heal()
    assert rig.recovers(f) <= RECOVERY + SLACK


def wrong_after(rig: Rig, proxy: FaultProxy, f: Any, kind: Any) -> int:
    """How many of 300 calls were wrong while one answer in three was spoilt."""

    def between(number: int) -> None:
        if number % 3 == 0:
            proxy.fault(kind, times=1)

    trial = rig.trial(f, (n % 40 + 1 for n in range(300)), between=between)
    assert trial.raised == []
    return trial.wrong


@pytest.mark.parametrize("kind", ["duplicate", "swap"])
def test_8_an_answer_to_another_question(rig: Rig, proxy: FaultProxy, kind: Any) -> None:
    """Row 8: answers sent twice, and answers in another's place, give 0 wrong values, and the next read is good."""
    f = warmed(rig, proxy.url)
    assert wrong_after(rig, proxy, f, kind) == 0
    proxy.heal()
    rig.recovers(f)
    hits = f.cache_info().hits
    rig.trial(f, [2, 3]).check()
    assert f.cache_info().hits == hits + 2


@contextlib.contextmanager
def _blackhole() -> Iterator[str]:
    """The URL of a port that completes no connection: its backlog is full."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(0)
    address = sock.getsockname()
    full = [socket.socket() for _ in range(4)]
    for one in full:
        one.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            one.connect(address)
    yield f"redis://127.0.0.1:{address[1]}/0"
    for one in [*full, sock]:
        one.close()


def _cost(rig: Rig, url: str) -> Callable[[], float]:
    def measure() -> float:
        f = rig.cached(rig.cache(url))
        trial = rig.must_tick(lambda: rig.trial(f, range(1, 20)))
        trial.check()
        assert trial.total <= 2 * STALL + 2 * SLACK, "more than one stall a second"
        return trial.worst

    return measure


def test_9_a_server_that_takes_no_connection(rig: Rig) -> None:
    """Row 9: connecting into the void costs 0.3 s once, the loop ticking, and every call has its value."""
    with _blackhole() as url:
        within(STALL, _cost(rig, url))


@pytest.mark.parametrize("trouble", ["slow resolution", "four dead addresses"])
def test_9_trouble_with_the_name(rig: Rig, monkeypatch: pytest.MonkeyPatch, trouble: str) -> None:
    """Row 9: a resolver that takes seconds, and a name with four dead addresses, cost 0.3 s once."""
    honest = socket.getaddrinfo
    over = threading.Event()
    with _blackhole() as url:
        port = int(url.split(":")[2].split("/")[0])

        def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
            if host != "somewhere.test":
                return honest(host, *args, **kwargs)
            if trouble == "slow resolution":
                over.wait(3)
            return honest("127.0.0.1", port, type=socket.SOCK_STREAM) * 4

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        within(STALL, _cost(rig, f"redis://somewhere.test:{port}/0"))
        over.set()


def test_10_idle_connections_that_the_server_closed(rig: Rig, victim: Server) -> None:
    """Row 10: after CLIENT KILL of everything every call is a hit: nothing is lost."""
    f = warmed(rig, victim.url)
    hits = f.cache_info().hits
    with victim.client() as client:

        def between(number: int) -> None:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

        rig.trial(f, [1, 2, 3, 4] * 10, width=4, between=between).check()
    assert f.cache_info().hits == hits + 40
    assert f.stats().backend_errors == 0


def test_11_300_calls_over_4_connections(rig: Rig, one_victim: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 11: calls that find the pool in use wait a bounded time or compute; none raises, and the backend is not
    blamed.
    """
    cache = rig.cache(one_victim.url + "?max_connections=4")
    f = rig.cached(cache)
    with monkeypatch.context() as patch:
        patch.setattr(Budget.__init__, "__defaults__", (10.0,))  # 300 threads begin slowly on a busy machine
        rig.trial(f, KEYS).check()
        rig.trial(f, (n % 40 + 1 for n in range(600)), width=300).check()
        assert f.stats().backend_errors == 0
    one_victim.suspend()
    rig.trial(f, (n % 40 + 1 for n in range(300)), width=300).check()
    one_victim.resume()
    assert rig.recovers(f) <= RECOVERY + SLACK


def test_13_a_server_without_hello(rig: Rig, fake: FakeServer) -> None:
    """Row 13: a server that knows neither HELLO nor CLIENT serves hits."""
    fake.answer(b"-ERR unknown command 'HELLO', with args beginning with: \r\n", "HELLO", "CLIENT")
    f = warmed(rig, fake.url)
    hits = f.cache_info().hits
    rig.trial(f, (n % 16 + 1 for n in range(1000)), width=4).check()
    assert f.cache_info().hits == hits + 1000
    assert f.stats().backend_errors == 0


@pytest.mark.parametrize("how", ["stopped", "refusing"])
def test_14_a_server_that_flaps(rig: Rig, one_victim: Server, proxy: FaultProxy, how: str) -> None:
    """Row 14: a server that goes and comes every 0.1 s: none of 1,000 calls raises or is wrong, and what callers spend
    on errors is bounded by how often the breaker lets them try.
    """
    faults: list[Any] = []
    cache = rig.cache(proxy.url, observers=[lambda event: faults.append(type(event).__name__)])
    f = rig.cached(cache)
    rig.trial(f, KEYS).check()
    acts = (one_victim.suspend, one_victim.resume) if how == "stopped" else (lambda: proxy.fault("refuse"), proxy.heal)
    with repeatedly(0.1, *acts):
        begun = time.monotonic()
        trial = rig.trial(f, (n % 40 + 1 for n in range(1000)), width=8, between=lambda _: rig.pause(0.01))
        lasted = time.monotonic() - begun
    trial.check()
    closings = lasted / (_breaker.PROBE_AFTER * 0.75) + 1
    assert faults.count("BackendFault") <= closings * (_breaker.WINDOW_CALLS + 4)
    assert rig.recovers(f) <= RECOVERY + SLACK


def test_every_call_is_right_without_a_backend(rig: Rig) -> None:
    """The measure itself: the function under test gives what `right` expects, and something else is noticed."""
    f = rig.cached(rig.cache("null://"))
    rig.trial(f, range(100)).check()
    g = rig.cached(rig.cache("null://"), lambda x: truth(x) | ({"x": 0} if x == 7 else {}), name="liar")
    assert rig.trial(g, range(100)).wrong == 1
