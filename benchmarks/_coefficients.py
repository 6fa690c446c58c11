"""The coefficients of the capacity model, measured on a server started for it, and the model held against a small
fleet of real processes.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import select
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any
from unittest import mock

from benchmarks._fleet import Cost, Costs, Fleet, expected, shares
from memocache import Cache
from memocache._cache import stats_reporter as _tally
from memocache._runtime.budget import Budget
from memocache.testing.servers import Server, available_servers, start

SIZES = (10, 100, 1_000, 10_000, 100_000)
PROCESSES = 4
_LEISURE = "?timeout=30&connect_timeout=30"
_WARM, _WATCH = 3.0, 8.0
_FIELDS = ("total_commands_processed", "total_net_input_bytes", "total_net_output_bytes")


@dataclass(frozen=True)
class Count:
    """What a server has done so far, all times and bytes since it began."""

    commands: float
    bytes_in: float
    bytes_out: float
    cpu_us: float

    @classmethod
    def now(cls, client: Any) -> Count:
        """Ask; asking is a command of its own, and the last to be counted."""
        info = client.info("all")
        seconds = info["used_cpu_sys"] + info["used_cpu_user"]
        commands, received, sent = (float(info[name]) for name in _FIELDS)
        return cls(commands, received, sent, seconds * 1e6)


@contextmanager
def _monitored(server: Server) -> Iterator[Callable[[], int]]:
    """Give a function that counts the requests since the last time, without those that scripts make, by MONITOR."""
    with socket.create_connection(("127.0.0.1", server.port), 30) as sock, server.client() as client:
        sock.sendall(b"MONITOR\r\n")
        lines = sock.makefile("rb")
        lines.readline()

        def count() -> int:
            client.echo("that-is-all")
            told = iter(lines.readline, b"")
            return sum(b" lua]" not in line for line in takewhile(lambda line: b'"that-is-all"' not in line, told))

        count()  # what the client said of itself
        yield count


def _cost(server: Server, operation: Callable[[int], object], number: int) -> Cost:
    """What ``operation(n)`` costs: a few are seen by MONITOR, and `number` of them, with other arguments, by INFO."""
    few = max(1, number // 20)
    with _monitored(server) as requests:
        for n in range(few):
            operation(n)
        sent = requests() / few
    with server.client() as client:
        Count.now(client)
        idle, before = Count.now(client), Count.now(client)
        for n in range(few, few + number):
            operation(n)
        after = Count.now(client)

    def per(name: str) -> float:
        asking = 0.0 if name == "cpu_us" else getattr(before, name) - getattr(idle, name)
        return (getattr(after, name) - getattr(before, name) - asking) / number

    return Cost(sent, per("commands"), per("cpu_us"), per("bytes_in"), per("bytes_out"))


def _less(whole: Cost, part: Cost, times: float = 1.0) -> Cost:
    """What a cost is without another one, and that by `times`."""
    names = Cost.__dataclass_fields__
    return Cost(*((getattr(whole, name) - getattr(part, name)) / times for name in names))


@contextmanager
def _patient() -> Iterator[None]:
    """No call gives its server up: on a busy machine some would, and what is counted would be something else."""

    def init(budget: Budget, seconds: float = 0.0) -> None:
        budget.left = 60.0

    with mock.patch.object(Budget, "__init__", init):
        yield


@contextmanager
def _still() -> Iterator[None]:
    """Nothing is flushed by itself."""
    with mock.patch.object(_tally, "FLUSH_SECONDS", 86_400.0), _patient():
        yield


def measured(*, number: int = 2_000, sizes: tuple[int, ...] = SIZES) -> tuple[Costs, dict[str, Cost], str]:
    """Return the coefficients, the costs of what else there is by its name, and the server's name and version."""
    kind = available_servers()[0]
    with _still(), start(kind) as server, Cache(server.url + _LEISURE, prefix="fleet") as cache:
        value = random.Random(1).randbytes(1_000)

        @cache.cached(ttl=3_600, tags=["tag"])
        def tagged(key: int) -> bytes:
            return value

        @cache.cached(ttl=3_600)
        def read(key: int) -> bytes:
            return value

        tallies: Any = cache._operations.statistics._reporter
        tagged(0)
        read(0)
        tallies.flush()
        entries = _bytes_per_entry(server, cache, sizes)
        misses = _cost(server, lambda n: read(n + 1), number)
        hits = _cost(server, lambda n: read(n + 1), number)
        tallies.flush()
        batch = min(1_000, number)
        of_one = _cost_of_flush(server, tallies, lambda n: read(n + 1), 50)
        of_many = _cost_of_flush(server, tallies, lambda n: [read(key + 1) for key in range(batch)], 5)
        touched = _less(of_many, of_one, batch - 1)
        touched_bytes = _bytes_per_touch(server, tallies)
        calls = _cost(server, lambda n: read.invalidate(n + 1), number)
        others = {
            "invalidate a function": _cost(server, lambda n: read.invalidate_all(), number // 4),
            "invalidate a tag": _cost(server, lambda n: cache.invalidate(tag="tag"), number // 4),
        }
        pings = _pings(server)
        messages = _messages(server, read, number)
        flushes = _less(of_one, touched)
        costs = Costs(hits, misses, calls, touched, flushes, pings, messages, entries, touched_bytes)
        with server.client() as client:
            info = client.info("server")
        name = f"{info.get('server_name', 'redis')} {info.get('valkey_version', info['redis_version'])}"
        return costs, others, name


def _cost_of_flush(server: Server, tallies: Any, fill: Callable[[int], object], times: int) -> Cost:
    """What a flush of what `fill` counted costs, without what it costs to count it."""

    def both(n: int) -> None:
        fill(n)
        tallies.flush()

    return _less(_cost(server, both, times), _cost(server, fill, times))


def _bytes_per_entry(server: Server, cache: Cache, sizes: tuple[int, ...]) -> dict[int, float]:
    """Bytes of a server by entry, of values of random bytes: what its memory grows by."""
    found = {}
    chance = random.Random(1)
    with server.client() as client:
        for size in sizes:
            function = cache.cached(ttl=3_600, name=f"of-{size}")(lambda key, size=size: chance.randbytes(size))
            function(-1)
            number = 1_000 if size < 50_000 else 200
            before = int(client.info("memory")["used_memory"])
            for key in range(number):
                function(key)
            found[size] = (int(client.info("memory")["used_memory"]) - before) / number
    return found


def _bytes_per_touch(server: Server, tallies: Any) -> float:
    """Bytes of a server by entry whose accesses are counted."""
    with server.client() as client:
        keys = list(client.scan_iter(b"fleet:s:*", 1_000))
        sizes = [client.memory_usage(key) for key in keys]
    return float(statistics.median(size for size in sizes if size))


def _pings(server: Server) -> Cost:
    """What one PING costs, over a connection of its own that is open already."""
    with server.client() as client:
        client.ping()
        return _cost(server, lambda n: client.ping(), 2_000)


def _messages(server: Server, read: Callable[[int], object], number: int, listeners: int = 16) -> Cost:
    """What one message to one listener costs: stores with and without so many listeners."""
    base = 10_000_000
    without = _cost(server, lambda n: read(base + n), number)
    with contextlib.ExitStack() as stack:
        socks = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 30)) for _ in range(listeners)
        ]
        starts = b" ".join(b"PREFIX fleet:%s:" % kind for kind in (b"e", b"k", b"g"))
        for sock in socks:
            sock.sendall(b"HELLO 3\r\nCLIENT TRACKING ON BCAST " + starts + b"\r\n")
            sock.recv(65_536)
            stack.callback(sock.shutdown, socket.SHUT_RDWR)
        drain = _Drain(socks)
        stack.callback(drain.stop)
        having = _cost(server, lambda n: read(2 * base + n), number)
    return replace(_less(having, without, listeners), requests=0.0, commands=0.0)


class _Drain:
    """A thread that reads what comes on some sockets and throws it away."""

    def __init__(self, socks: list[socket.socket]) -> None:
        self._stopped = False
        self._socks = socks
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped:
            for sock in select.select(self._socks, [], [], 0.05)[0]:
                with contextlib.suppress(OSError):
                    sock.recv(1 << 20)

    def stop(self) -> None:
        self._stopped = True
        self._thread.join()


# -- the model and a real fleet


@dataclass(frozen=True)
class Checked:
    """One figure of a real fleet, as measured and as the model has it, a second."""

    fleet: str
    what: str
    predicted: float
    measured: float

    @property
    def apart(self) -> float:
        """By how much of the measured figure the prediction is off."""
        return abs(self.predicted - self.measured) / self.measured


CHECKED = {
    "on the server": Fleet(PROCESSES, reads=120, keys=300, skew=0.8, ttl=2.0, invalidations=4),
    "with copies": Fleet(PROCESSES, reads=120, keys=300, skew=0.8, ttl=2.0, invalidations=4, local=1_000),
}


def checked(costs: Costs, *, warm: float = _WARM, watch: float = _WATCH) -> list[Checked]:
    """Run small fleets of real processes, and compare what their server did with what the model says of the reads that
    they made.
    """
    return [one for name, fleet in CHECKED.items() for one in _check(name, fleet, costs, warm, watch)]


def _check(name: str, fleet: Fleet, costs: Costs, warm: float, watch: float) -> Iterator[Checked]:
    context = multiprocessing.get_context("spawn")
    with start(available_servers()[0]) as server:
        figures = [context.Array("d", 3, lock=False) for _ in range(fleet.processes)]
        stop = context.Event()
        workers = [
            context.Process(target=_work, args=(server.url, fleet, number, figures[number], stop), daemon=True)
            for number in range(fleet.processes)
        ]
        for worker in workers:
            worker.start()
        try:
            while not all(one[0] for one in figures):
                if not all(worker.is_alive() for worker in workers):
                    raise RuntimeError("a process of the fleet ended")
                time.sleep(0.02)
            time.sleep(warm)
            with server.client() as client:
                before, said, begun = Count.now(client), [list(one) for one in figures], time.monotonic()
                time.sleep(watch)
                after, told, ended = Count.now(client), [list(one) for one in figures], time.monotonic()
        finally:
            stop.set()
            for worker in workers:
                worker.join(30)
    seconds = ended - begun

    def rate(at: int) -> float:
        return sum(now[at] - then[at] for now, then in zip(told, said, strict=True)) / seconds

    made = replace(fleet, reads=rate(0) / fleet.processes, invalidations=rate(2))
    rates = expected(made)
    yield Checked(name, "computations a second", rates.misses, rate(1))
    commands = (after.commands - before.commands - 1) / seconds
    yield Checked(name, "commands a second", costs.total(rates, "commands"), commands)


def _work(url: str, fleet: Fleet, number: int, figures: Any, stop: Any) -> None:
    """Read at random, and invalidate; count reads, computations and invalidations."""
    chance = random.Random(f"{number} of the fleet")
    value = os.urandom(fleet.value_bytes)
    with _patient(), Cache(url + _LEISURE, prefix="fleet", local=fleet.local) as cache:

        @cache.cached(ttl=fleet.ttl, name="read")
        def read(key: int) -> bytes:
            figures[1] += 1
            return value

        keys, weights = range(fleet.keys), list(shares(fleet.keys, fleet.skew).cumsum())
        share = fleet.invalidations / fleet.processes
        due = time.monotonic()
        while not stop.is_set():
            due += chance.expovariate(fleet.reads + share)
            time.sleep(max(0.0, due - time.monotonic()))
            if chance.random() < share / (fleet.reads + share):
                read.invalidate(chance.choice(keys))
                figures[2] += 1
            else:
                read(*chance.choices(keys, cum_weights=weights))
                figures[0] += 1
