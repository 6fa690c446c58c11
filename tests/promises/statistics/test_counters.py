"""Counters are exact: among threads, among processes, in the fleet's sums; and sending them costs next to nothing."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from memocache import Cache
from memocache._cache import stats_reporter as _tally
from memocache.backends.memory import MemoryBackend
from memocache.testing import FakeClock
from memocache.testing.servers import Server
from memocache.typing import Tally
from tests.promises.flight.support import BOUND, crowd, until

ROOT = Path(__file__).parents[3]


@pytest.fixture
def _eager_switches() -> Iterator[None]:
    """Threads that change places as often as the interpreter allows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_eager_switches")
def test_8_threads_of_100_000_calls_in_the_process() -> None:
    """800,000 calls over 50 arguments: 50 misses, the rest hits, to the unit, in every place that tells."""
    cache = Cache()

    @cache.cached(name="f")
    def f(n: int) -> int:
        return n

    def work(seed: int) -> None:
        for n in range(seed, seed + 100_000):
            f(n % 50)

    assert crowd(8, work) == [None] * 8
    info, stats, total = f.cache_info(), f.stats(), cache.stats()
    assert info.hits + info.misses == stats.hits + stats.misses == total.hits + total.misses == 800_000
    assert stats.stores == 50 <= stats.misses  # a miss may find at second sight what another stored meanwhile
    assert (total.functions["f"], total.hit_rate) == (stats, stats.hits / 800_000)
    assert accesses(cache) == stats.hits


@pytest.mark.usefixtures("_eager_switches")
def test_8_threads_on_a_server(valkey: Server) -> None:
    """8 threads of 3,000 calls on a server: the process and the fleet agree to the unit, and so do the entries."""
    with Cache(valkey.url) as cache:

        @cache.cached(name="f")
        def f(n: int) -> int:
            return n

        def work(seed: int) -> None:
            for n in range(seed, seed + 3_000):
                f(n % 50)

        assert crowd(8, work) == [None] * 8
        stats, fleet = f.stats(), cache.stats("fleet")
        assert stats.hits + stats.misses == 24_000
        assert stats.stores == 50
        assert (fleet.functions["f"].hits, fleet.functions["f"].misses) == (stats.hits, stats.misses)
        assert (fleet.hits, fleet.misses) == (stats.hits, stats.misses)
        assert accesses(cache) == stats.hits


@pytest.mark.usefixtures("_eager_switches")
def test_plain_keys_are_counted_exactly(valkey: Server) -> None:
    """`get` and `get_many` from 8 threads: hits and misses to the unit, here and in the fleet."""
    with Cache(valkey.url) as cache:
        cache.set_many({"a": 1, "b": 2})

        def work(_: int) -> None:
            for _ in range(200):
                cache.get("a")
                cache.get("nothing")
                cache.get_many(["a", "b", "nothing"])

        assert crowd(8, work) == [None] * 8
        for scope in ("process", "fleet"):
            stats = cache.stats(scope)  # type: ignore[arg-type]  # a literal
            assert (stats.hits, stats.misses) == (8 * 200 * 3, 8 * 200 * 2)
            assert stats.functions == {}


@pytest.mark.usefixtures("_eager_switches")
def test_plain_keys_are_counted_exactly_in_the_process() -> None:
    """The same on ``memory://``."""
    cache = Cache()
    cache.set_many({"a": 1, "b": 2})

    def work(_: int) -> None:
        for _ in range(3_000):
            cache.get_many(["a", "b", "nothing"])

    assert crowd(8, work) == [None] * 8
    assert (cache.stats().hits, cache.stats().misses) == (8 * 6_000, 8 * 3_000)


class Worker:
    """One process of `tests.promises.statistics.worker`."""

    def __init__(self, url: str, calls: int, keys: int = 50) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.promises.statistics.worker", url, str(calls), str(keys)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def called(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def again(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("again\n")
        self.process.stdin.flush()

    def end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(BOUND)
        self.process.stdout.close()


def accesses(cache: Cache) -> int:
    """The access counts of all entries together."""
    found = [cache.inspect(key) for key in list(cache.keys())]
    return sum(info.access_count for info in found if info is not None)


def calls_of_the_fleet(cache: Cache, name: str = "fleet.f") -> int:
    function = cache.stats("fleet").functions.get(name)
    return 0 if function is None else function.hits + function.misses


def test_4_processes_of_20_000_calls_add_up_after_they_exited(valkey: Server) -> None:
    """80,000 calls in four processes that are gone: the fleet's figures have every one of them."""
    workers = [Worker(valkey.url, 20_000) for _ in range(4)]
    assert [worker.called() for worker in workers] == [20_000] * 4
    for worker in workers:
        worker.end()
    with Cache(valkey.url) as cache:
        function = cache.stats("fleet").functions["fleet.f"]
        assert function.hits + function.misses == 80_000
        assert function.stores == 50 <= function.misses
        assert cache.stats("process").hits == 0
        assert accesses(cache) == function.hits


def test_exit_waits_for_the_flush_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ends while its thread sends waits for it: what is on its way is not cut off."""
    begun, go, arrived = threading.Event(), threading.Event(), []

    class Slow(MemoryBackend):
        def tally(self, *args: Any, **kwargs: Any) -> None:
            begun.set()
            assert go.wait(BOUND)
            super().tally(*args, **kwargs)
            arrived.append(threading.current_thread().name)

    class Gate:
        """The lock of the thread that sends: who asks for it lets that thread go on."""

        def __init__(self, lock: Any) -> None:
            self.lock = lock

        def acquire(self, timeout: float) -> bool:
            go.set()
            return bool(self.lock.acquire(timeout=BOUND))

        def __getattr__(self, name: str) -> Any:
            return getattr(self.lock, name)

        def __enter__(self) -> None:
            self.lock.acquire()

        def __exit__(self, *exc: object) -> None:
            self.lock.release()

    monkeypatch.setattr(_tally, "FLUSH_SECONDS", 0.0)
    cache = Cache(Slow())
    reporter = cache._lifetime._reporter  # type: ignore[union-attr]  # it has a backend
    reporter._under_way = Gate(reporter._under_way)  # type: ignore[assignment]  # a stand-in
    cache.cached(name="f")(lambda x: x)(1)
    assert begun.wait(BOUND)
    try:
        reporter.flush_at_exit()
        assert arrived[:1] == ["memocache-tally"]
    finally:
        go.set()
        cache.close()


def _child(url: str, calls: int) -> None:
    cache = Cache(url)

    @cache.cached(name="fleet.f")
    def f(n: int) -> int:
        return n

    for n in range(calls):
        f(n % 7)


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_children_of_multiprocessing_lose_nothing(valkey: Server, method: str) -> None:
    """A child of `multiprocessing` ends without `atexit`, and still sends what it counted."""
    context = multiprocessing.get_context(method)
    children = [context.Process(target=_child, args=(valkey.url, 500)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(BOUND)
    with Cache(valkey.url) as cache:
        assert calls_of_the_fleet(cache) == 1_000


def test_a_fork_counts_its_own(valkey: Server) -> None:
    """What the parent counted before a fork is sent once, what the child counted too."""
    with Cache(valkey.url) as cache:

        @cache.cached(name="fleet.f")
        def f(n: int) -> int:
            return n

        for _ in range(10):
            f(1)
        child = os.fork()
        if child == 0:
            try:
                for _ in range(5):
                    f(1)
                cache.close()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert calls_of_the_fleet(cache) == 15
        assert cache.inspect(f.key_for(1)).access_count == 14  # type: ignore[union-attr]
        assert f.stats().hits == 9


@pytest.mark.parametrize("keys", [50, 10**9], ids=["hits", "misses"])
def test_a_killed_process_loses_at_most_an_interval(valkey: Server, keys: int) -> None:
    """What a process counted an interval before it was killed (SIGKILL) is in the fleet's figures."""
    worker = Worker(valkey.url, 1_000, keys)
    try:
        assert worker.called() == 1_000
        with Cache(valkey.url) as cache:
            # the flush that must come by itself; nobody asks the worker for it
            until(lambda: calls_of_the_fleet(cache) == 1_000)
            worker.again()
            assert worker.called() == 2_000
            worker.process.kill()
            worker.process.wait()
            assert 1_000 <= calls_of_the_fleet(cache) <= 2_000
    finally:
        worker.process.kill()
        worker.end()


class CountingBackend(MemoryBackend):
    """Remembers the tallies of each request."""

    def __init__(self) -> None:
        super().__init__()
        self.tallied: list[Sequence[Tally]] = []
        self.fail = False

    def tally(self, tallies: Sequence[Tally], *, timeout: float | None = None) -> None:
        if self.fail:
            raise OSError
        self.tallied.append(tallies)
        super().tally(tallies, timeout=timeout)


class Ticks:
    """In place of the event by which a flusher waits out its interval: the test says when one has passed."""

    def __init__(self) -> None:
        self.asked: list[float | None] = []
        self._ticks = threading.Semaphore(0)
        self._waiting = threading.Semaphore(0)

    def wait(self, timeout: float | None = None) -> bool:
        self.asked.append(timeout)
        self._waiting.release()
        assert self._ticks.acquire(timeout=BOUND)
        return False

    def set(self) -> None:
        self._ticks.release()

    def await_waiting(self) -> None:
        assert self._waiting.acquire(timeout=BOUND)

    def tick(self) -> None:
        """Let one interval pass, and wait until the flusher waits again."""
        self._ticks.release()
        self.await_waiting()


@pytest.fixture
def ticking() -> Iterator[tuple[Cache, CountingBackend, Ticks]]:
    """A cache whose interval passes when the test says so."""
    backend, ticks = CountingBackend(), Ticks()
    cache = Cache(backend, clock=FakeClock())
    tallies: Any = cache._operations.statistics._reporter
    tallies._stop = ticks
    yield cache, backend, ticks
    thread, ticks.wait = tallies.thread, lambda timeout=None: True  # type: ignore[method-assign]  # it ends
    ticks.set()
    if thread is not None:
        thread.join(BOUND)


def test_flush_traffic_is_one_request_an_interval(ticking: tuple[Cache, CountingBackend, Ticks]) -> None:
    """Whatever eight threads do in an interval leaves in one request, and the interval is a second."""
    cache, backend, ticks = ticking
    functions = [cache.cached(name=f"f{n}")(lambda n: n) for n in range(5)]

    def work(seed: int) -> None:
        for n in range(300):
            functions[(seed + n) % 5](n % 20)

    crowd(8, work)
    ticks.await_waiting()
    assert backend.tallied == []
    for round_ in range(3):
        ticks.tick()
        assert len(backend.tallied) == round_ + 1
        crowd(8, work)
        assert len(backend.tallied) == round_ + 1
    ticks.tick()
    ticks.tick()
    assert len(backend.tallied) == 4, "nothing new, nothing sent"
    assert set(ticks.asked) == {_tally.FLUSH_SECONDS} == {1.0}


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_misses_alone_are_sent_too(ticking: tuple[Cache, CountingBackend, Ticks], colour: str) -> None:
    """A process that only ever misses sends its counters at the interval as well."""
    cache, backend, ticks = ticking

    def f(n: int) -> int:
        return n

    async def af(n: int) -> int:
        return n

    if colour == "sync":
        cache.cached(name="f")(f)(1)
    else:
        asyncio.run(cache.cached(name="f")(af)(1))
    ticks.await_waiting()
    ticks.tick()
    assert Cache(backend).stats("fleet").functions["f"].misses == 1


def test_what_could_not_be_sent_is_sent_later(ticking: tuple[Cache, CountingBackend, Ticks]) -> None:
    """A backend that refuses flushes costs no count: all of it arrives, once, when it is well again."""
    cache, backend, ticks = ticking

    @cache.cached(name="f")
    def f(n: int) -> int:
        return n

    for n in range(10):
        f(n % 2)
    ticks.await_waiting()
    backend.fail = True
    ticks.tick()
    for n in range(10):
        f(n % 2)
    ticks.tick()
    backend.fail = False
    cache._guard.breaker.closed()  # type: ignore[union-attr]  # a shared backend has one
    ticks.tick()
    fleet = Cache(backend).stats("fleet").functions["f"]
    assert (fleet.hits, fleet.misses, fleet.stores) == (18, 2, 2)
    assert cache.inspect(f.key_for(1)).access_count == 9  # type: ignore[union-attr]


def test_counters_outlive_the_function(ticking: tuple[Cache, CountingBackend, Ticks]) -> None:
    """A function that is gone before the flush, its table swept, is counted all the same."""
    cache, backend, ticks = ticking

    def use() -> None:
        @cache.cached(name="f")
        def f(n: int) -> int:
            return n

        for _ in range(5):
            f(1)

    use()
    gc.collect()
    cache.purge()
    assert cache.stats().functions["f"].hits == 4
    ticks.await_waiting()
    ticks.tick()
    fleet = Cache(backend).stats("fleet").functions["f"]
    assert (fleet.hits, fleet.misses) == (4, 1)


def test_cache_clear_zeroes_here_and_in_the_fleet(valkey: Server) -> None:
    """`cache_clear` begins at nothing in the process and the fleet; counting goes on from there, to the unit."""
    with Cache(valkey.url) as cache, Cache(valkey.url) as other:

        def decorate(cache: Cache) -> Callable[[int], int]:
            @cache.cached(name="f")
            def f(n: int) -> int:
                return n

            return f

        f, g = decorate(cache), decorate(other)
        for n in range(10):
            f(n % 2)
            g(n % 2)
        assert calls_of_the_fleet(other, "f") >= 10  # its own; the rest may have been sent by now
        assert calls_of_the_fleet(cache, "f") == 20
        f.cache_clear()  # type: ignore[attr-defined]  # a decorated function
        assert calls_of_the_fleet(cache, "f") == 0
        assert calls_of_the_fleet(other, "f") == 0
        assert cache.stats().functions["f"].hits == 0
        for n in range(3):
            f(n % 2)
            g(n % 2)
        calls_of_the_fleet(cache, "f")
        assert calls_of_the_fleet(other, "f") == 6
        assert f.cache_info()[:2] == (1, 2)  # type: ignore[attr-defined]
