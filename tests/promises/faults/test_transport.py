"""Transport, rows 1 to 14 of docs/reliability.md. What a broken connection costs, and that it never costs more."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from memocache import BackendError
from memocache._cache import stats_reporter as _tally
from memocache._runtime import circuit_breaker as _breaker
from memocache._runtime.budget import Budget
from memocache._runtime.drivers import arun, run
from memocache._stores.remote import lease as _leases
from memocache._stores.remote import lease_heartbeat as _keeper
from memocache._stores.remote.guard import BackendGuard
from memocache.backends.redis import RedisBackend
from memocache.instrumentation import BackendFault
from memocache.testing import FakeServer, FaultProxy
from memocache.testing.servers import Server
from memocache.typing import Tally
from tests.promises.faults.rig import BOUND, RECOVERY, STALL, Rig, repeatedly, share, truth, until, within

KEYS = range(1, 41)
Leisure = Callable[[str], str]


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
    batches = share(1000, 400) // 4

    def between(number: int) -> None:
        if number in (batches // 10, batches // 2):
            threading.Timer(0.002, victim.kill).start()
        if number in (batches // 4, batches * 3 // 4):
            until(lambda: victim._process is None)
            victim.restart()

    def measure() -> float:
        rig.trial(f, (n % 40 + 1 for n in range(4 * batches)), width=4, between=between).check()
        return rig.recovers(f)

    within(RECOVERY, measure)


def watched(rig: Rig, url: str) -> tuple[Any, list[str]]:
    """A function, and the list of backend faults that its cache will report."""
    faults: list[str] = []

    def observe(event: Any) -> None:
        if isinstance(event, BackendFault):
            faults.append(event.error)

    return rig.cached(rig.cache(url, observers=[observe])), faults


def timeouts_of(rig: Rig, f: Any, faults: list[str], calls: int) -> tuple[int, float]:
    """How many of so many calls waited for the backend in vain, and the seconds that all took together."""
    faults.clear()
    trial = rig.trial(f, (n % 10 + 1 for n in range(calls)))
    trial.check()
    return faults.count("TimeoutError"), trial.total


def test_2_a_server_that_hangs(rig: Rig, victim: Server) -> None:
    """Row 2: 50 cached calls of a stopped server take 0.6 s together, for no more than two wait for it; the loop ticks,
    and it is used again when it goes on.
    """
    f, faults = watched(rig, victim.url)
    rig.trial(f, KEYS).check()

    def measure() -> float:
        """The greater of the two promises' shares that was used up."""
        victim.suspend()
        try:
            waited, seconds = rig.must_tick(lambda: timeouts_of(rig, f, faults, 50))
            assert waited <= 2
        finally:
            victim.resume()
            recovery = rig.recovers(f)
        return max(seconds / 0.6, recovery / RECOVERY)

    within(1.0, measure)


def drip_cost(rig: Rig, proxy: FaultProxy, f: Any) -> float:
    """Seconds that one cached call takes when the answers drip, which would go on for five times as long as may be."""
    proxy.fault("drip", seconds=0.007)
    try:
        trial = rig.must_tick(lambda: rig.trial(f, [1]))
    finally:
        proxy.heal()
        rig.recovers(f)
    trial.check()
    return trial.worst


@pytest.mark.usefixtures("brisk")
def test_3_a_reply_that_drips(rig: Rig, proxy: FaultProxy) -> None:
    """Row 3: an answer sent a byte at a time costs a call 0.3 s in all, not that for each byte."""
    f = warmed(rig, proxy.url)
    within(STALL, lambda: drip_cost(rig, proxy, f))


@pytest.mark.usefixtures("brisk")
def test_4_a_late_reply_is_never_reused(rig: Rig, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 4: answers that come after their call gave up are read by nobody: 0 wrong values in 1,000 calls."""
    f = warmed(rig, proxy.url)
    monkeypatch.setattr(Budget.__init__, "__defaults__", (0.05,))  # that calls give up is what matters, not when
    for _ in range(share(20, 4)):
        late = proxy.answers + 2
        while proxy.answers < late:
            proxy.fault("delay", seconds=0.1, times=2)
            rig.trial(f, range(1, 11), width=2).check()
        rig.recovers(f)
        rig.trial(f, range(1, 41), width=2).check()


def test_5_a_lost_reply_on_a_write(rig: Rig, proxy: FaultProxy) -> None:
    """Row 5: of 1,000 increments a third lose their answer, which is dropped, cut or reset: each takes place once, and
    is not sent again.
    """
    backend = RedisBackend.from_url(proxy.url + "?timeout=30&connect_timeout=30")
    for number, kind in enumerate(("drop", "cut", "reset")):
        increment = [Tally(f"n{number}", {"a": 1}, {})]
        done, answers, attempts = 0, proxy.answers, share(333, 20)
        for n in range(attempts):
            rig.talk(backend, "ping")  # so that the increment needs no new connection
            if n % 3:
                rig.talk(backend, "tally", increment)
                done += 1
                continue
            proxy.fault(kind, when=b"HINCRBY", times=1)  # type: ignore[arg-type]  # one of them
            with pytest.raises(OSError):  # noqa: PT011  # which, depends on the fault
                rig.talk(backend, "tally", increment, timeout=0.1 if kind == "drop" else 30)
            proxy.heal()
        answers = proxy.answers - answers
        rig.seen.calls += attempts
        counted = rig.talk(backend, "counts", [f"n{number}"])[0]["a"]
        # the same, unless the machine stood still and an increment was given up before it was sent
        assert done + answers <= counted <= attempts
        assert answers > 0
    if rig.is_async:
        rig.run(backend.aio.close())
    backend.close()


def miscounted(rig: Rig, proxy: FaultProxy, leisure: Leisure, *, scripts: bool) -> int:
    """By how much the fleet's counters are wrong when every other flush lost its answer and was sent again."""
    cache = rig.cache(leisure(proxy.url))
    f, g = (rig.cached(cache, name=name) for name in ("truth", "other"))
    rig.trial(f, range(1, 9)).check()
    cache._guard.backend._say.scripts = scripts  # type: ignore[union-attr]  # of Redis
    tallies = cache._operations.statistics._reporter
    assert tallies is not None
    command = b"EVALSHA" if scripts else b"EXEC"
    rounds = share(60, 6)
    for n in range(rounds):
        rig.trial(f, range(1, 9)).check()
        rig.trial(g, [1, 2, 1]).check()
        if n % 2:
            flush(rig, tallies)
            continue
        proxy.fault(("cut", "reset", "drop")[n // 2 % 3], when=command, times=1)  # type: ignore[arg-type]
        with pytest.raises(BackendError):
            flush(rig, tallies, 0.1)
        proxy.heal()
        rig.recovers(f)
    flush(rig, tallies)
    assert proxy.answers > 0, "no flush lost its answer"
    wrong = 0
    for name, function in (("truth", f), ("other", g)):
        fleet, mine = rig.ask(cache, "stats", "fleet").functions[name], function.stats()
        wrong += abs(fleet.hits - mine.hits) + abs(fleet.misses - mine.misses) + abs(fleet.stores - mine.stores)
    accesses = sum(rig.ask(cache, "inspect", f.key_for(x)).access_count for x in range(1, 9))
    return wrong + abs(accesses - f.cache_info().hits)


@pytest.mark.usefixtures("brisk", "no_flush")
@pytest.mark.parametrize("scripts", [True, False])
def test_5_a_lost_reply_on_a_flush(
    rig: Rig, proxy: FaultProxy, leisure: Leisure, scripts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 5: the counters of the fleet are exact although every other flush loses its answer and is sent again."""
    monkeypatch.setattr(_tally, "_STEP", 2)  # several steps a flush
    assert miscounted(rig, proxy, leisure, scripts=scripts) == 0


@pytest.fixture
def no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent to the backend besides what the test's own calls send."""
    monkeypatch.setattr(_tally, "FLUSH_SECONDS", 3600.0)


def flush(rig: Rig, tallies: Any, seconds: float = 30.0) -> None:
    """Send what was counted, in the rig's colour."""
    if rig.is_async:
        rig.run(arun(tallies.sending(seconds)))
    else:
        run(tallies.sending(seconds))


@pytest.mark.usefixtures("brisk")
def test_5_a_lost_reply_on_a_store(rig: Rig, proxy: FaultProxy) -> None:
    """Row 5: calls whose store was not confirmed have their value, and nobody reads another afterwards."""
    f = rig.cached(rig.cache(proxy.url))
    for n in range(share(125, 6)):
        start, kind = 100 + 4 * n, ("cut", "reset", "drop")[n % 3]
        proxy.fault(kind, when=b"EVALSHA")  # type: ignore[arg-type]  # one of them
        rig.trial(f, range(start, start + 4)).check()
        proxy.heal()
        rig.recovers(f)
        rig.trial(f, range(start, start + 4)).check()


@pytest.mark.usefixtures("brisk")
def test_6_a_lost_reply_on_taking_a_lease(
    rig: Rig, one_victim: Server, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 6: whoever may hold a lease without knowing does not wait for it, and others not beyond its bound."""
    monkeypatch.setattr(_leases, "LEASE_SECONDS", 4.0)
    f = rig.cached(rig.cache(proxy.url))
    other = rig.cached(rig.cache(one_victim.url))
    rig.call(f, 1), rig.call(other, 1)
    keys = iter(range(103, 1000, 17))

    def own(kind: Any) -> float:
        """Seconds for which the same process waits at a lease that it may hold, which lasts 4."""
        x = next(keys)
        proxy.fault(kind, when=b"EVALSHA", times=1)
        rig.trial(f, [x]).check()
        rig.recovers(f)
        trial = rig.trial(f, [x])
        trial.check()
        return trial.worst

    def others(kind: Any) -> float:
        """Seconds for which another process waits at it."""
        x = next(keys)
        proxy.fault(kind, when=b"EVALSHA", times=1)
        rig.trial(f, [x]).check()
        with monkeypatch.context() as patch:
            patch.setattr(_keeper, "_mark", b"else")  # as another process sees it
            trial = rig.trial(other, [x])
        trial.check()
        return trial.worst

    for kind in ("drop", "cut"):
        within(STALL, partial(own, kind))
        within(4.0, partial(others, kind))


@pytest.mark.usefixtures("brisk")
@pytest.mark.parametrize("kind", ["cut", "reset"])
def test_7_an_answer_cut_in_the_middle(rig: Rig, proxy: FaultProxy, kind: Any) -> None:
    """Row 7: answers cut at any byte, by FIN or RST, are misses: 1,000 calls, none raises or is wrong."""
    f = warmed(rig, proxy.url)

    def between(number: int) -> None:
        if number % 5 == 0:
            proxy.fault(kind, after=number % 97, times=1)

    calls = share(1000, 300)
    begun = time.monotonic()
    while proxy.answers < calls // 20:
        assert time.monotonic() - begun < BOUND, "nothing was cut"
        rig.trial(f, (n % 40 + 1 for n in range(calls)), width=2, between=between).check()
    proxy.heal()
    rig.recovers(f)


def wrong_after(rig: Rig, proxy: FaultProxy, f: Any, kind: Any) -> int:
    """How many calls were wrong while one answer in three was spoilt."""

    def between(number: int) -> None:
        if number % 3 == 0:
            proxy.fault(kind, times=1)

    trial = rig.trial(f, (n % 40 + 1 for n in range(share(1000, 200))), between=between)
    assert trial.raised == []
    return trial.wrong


@pytest.mark.parametrize("kind", ["duplicate", "swap"])
def test_8_an_answer_to_another_question(rig: Rig, proxy: FaultProxy, kind: Any, leisure: Leisure) -> None:
    """Row 8: answers sent twice, and answers in another's place, give 0 wrong values, and the next read is good."""
    f = warmed(rig, leisure(proxy.url))
    assert wrong_after(rig, proxy, f, kind) == 0
    proxy.heal()
    rig.recovers(f)
    rig.trial(f, [2, 3]).check()
    hits = f.cache_info().hits
    rig.trial(f, [2, 3]).check()
    assert f.cache_info().hits == hits + 2


def connections_after_a_swap(rig: Rig, proxy: FaultProxy, leisure: Leisure) -> tuple[int, list[str]]:
    """How many connections are opened when a call got another's answer, and the faults reported."""
    f, faults = watched(rig, leisure(proxy.url))
    rig.trial(f, [*KEYS, 1, 2]).check()
    opened = proxy.opened
    proxy.fault("swap", times=1, when=b"MGET")
    rig.trial(f, [3]).check()
    assert proxy.answers == 1
    hits = f.cache_info().hits
    rig.trial(f, [4]).check()
    assert f.cache_info().hits == hits + 1, "the next read is not good"
    return proxy.opened - opened, faults


@pytest.mark.usefixtures("no_flush")
def test_8_a_mismatch_drops_the_connection(rig: Rig, proxy: FaultProxy, leisure: Leisure) -> None:
    """Row 8: an echo that does not match is reported, and nothing more is asked over the connections of then."""
    opened, faults = connections_after_a_swap(rig, proxy, leisure)
    assert opened >= 1
    assert faults == ["EchoMismatch"]


@pytest.mark.usefixtures("no_flush")
def test_a_build_that_keeps_the_connection_is_caught(
    rig: Rig, proxy: FaultProxy, leisure: Leisure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 8: the measure of the test before finds a build that goes on over the connection."""
    monkeypatch.setattr(BackendGuard, "doubt", lambda self: None)
    assert connections_after_a_swap(rig, proxy, leisure) == (0, [])


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
        f, faults = watched(rig, url)
        begun = time.monotonic()
        waited, seconds = rig.must_tick(lambda: timeouts_of(rig, f, faults, 20))
        assert waited <= 1 + (time.monotonic() - begun) / _breaker.STALL_EVERY, "more than one stall a second"
        return seconds

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


def test_10_idle_connections_that_the_server_closed(rig: Rig, victim: Server, leisure: Leisure) -> None:
    """Row 10: after CLIENT KILL of everything every one of 1,000 calls is a hit: nothing is lost."""
    f = warmed(rig, leisure(victim.url))
    hits = f.cache_info().hits
    rounds = share(250, 20)
    with victim.client() as client:

        def between(number: int) -> None:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

        rig.trial(f, [1, 2, 3, 4] * rounds, width=4, between=between).check()
    assert f.cache_info().hits == hits + 4 * rounds
    assert f.stats().backend_errors == 0


def test_11_300_calls_over_4_connections(rig: Rig, one_victim: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 11: calls that find the pool in use wait a bounded time or compute; none raises, and the backend is not
    blamed.
    """
    cache = rig.cache(one_victim.url + "?max_connections=4&connect_timeout=60")
    f = rig.cached(cache)
    with monkeypatch.context() as patch, rig.untimed():
        patch.setattr(Budget.__init__, "__defaults__", (60.0,))  # 300 threads begin slowly on a busy machine
        rig.trial(f, KEYS).check()
        rig.trial(f, (n % 40 + 1 for n in range(600)), width=300).check()
        assert f.stats().backend_errors == 0
    one_victim.suspend()
    rig.trial(f, (n % 40 + 1 for n in range(300)), width=300).check()
    one_victim.resume()
    rig.recovers(f)


def test_13_a_server_without_hello(rig: Rig, fake: FakeServer, leisure: Leisure) -> None:
    """Row 13: a server that knows neither HELLO nor CLIENT serves hits."""
    fake.answer(b"-ERR unknown command 'HELLO', with args beginning with: \r\n", "HELLO", "CLIENT")
    f = warmed(rig, leisure(fake.url))
    hits, calls = f.cache_info().hits, share(1000)
    rig.trial(f, (n % 16 + 1 for n in range(calls)), width=4).check()
    assert f.cache_info().hits == hits + calls
    assert f.stats().backend_errors == 0


@pytest.mark.parametrize("how", ["stopped", "refusing"])
def test_14_a_server_that_flaps(rig: Rig, one_victim: Server, proxy: FaultProxy, how: str) -> None:
    """Row 14: a server that goes and comes every 0.1 s: none of 1,000 calls raises or is wrong, and what callers spend
    on errors is bounded by how often the breaker lets them try.
    """
    f, faults = watched(rig, proxy.url)
    rig.trial(f, KEYS).check()
    acts = (one_victim.suspend, one_victim.resume) if how == "stopped" else (lambda: proxy.fault("refuse"), proxy.heal)
    with repeatedly(0.1, *acts):
        begun = time.monotonic()
        calls = share(1000, 400)
        trial = rig.trial(f, (n % 40 + 1 for n in range(calls)), width=8, between=lambda _: rig.pause(0.01))
        lasted = time.monotonic() - begun
    trial.check()
    closings = lasted / (_breaker.PROBE_AFTER * 0.75) + 1
    assert len(faults) <= closings * (_breaker.WINDOW_CALLS + 4)
    rig.recovers(f)


def test_every_call_is_right_without_a_backend(rig: Rig) -> None:
    """The measure itself: the function under test gives what `right` expects, and something else is noticed."""
    f = rig.cached(rig.cache("null://"))
    rig.trial(f, range(100)).check()
    g = rig.cached(rig.cache("null://"), lambda x: truth(x) | ({"x": 0} if x == 7 else {}), name="liar")
    assert rig.trial(g, range(100)).wrong == 1
