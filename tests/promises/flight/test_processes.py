"""Single-flight across processes, on a real server: leases, dead holders, lost leases, quiet waiters."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memocache import Cache
from memocache._cache import stats_reporter
from memocache._stores.remote import lease as _leases
from memocache._stores.remote.lease_heartbeat import Keeper
from memocache.testing.servers import Server
from tests.promises.flight.history import Op, violations
from tests.promises.flight.support import Slow, assert_quiet, join, start, until

_ROOT = Path(__file__).parents[3]


class Process:
    """One worker process; see `worker`."""

    def __init__(self, url: str, prefix: str, lease: float) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.promises.flight.worker", url, prefix, str(lease)],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def send(self, do: str, **command: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **command}) + "\n")
        self.process.stdin.flush()

    def receive(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline() or '"the worker died"')

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def fleet(valkey: Server) -> Iterator[Callable[..., list[Process]]]:
    """A function that starts worker processes that share a prefix, and waits until they are ready."""
    started: list[Process] = []

    def make(count: int, lease: float = 10.0) -> list[Process]:
        prefix = f"fleet-{uuid.uuid4().hex}"
        started.extend(Process(valkey.url, prefix, lease) for _ in range(count))
        for process in started:
            assert "ready" in process.receive()
        return started

    yield make
    for process in started:
        process.end()


def test_6_processes_of_5_threads_make_one_call(fleet: Callable[..., list[Process]], valkey: Server) -> None:
    """30 callers in six processes, released together on a cold key, make one call, fifty times in a row."""
    processes = fleet(6)
    with valkey.client() as client:
        for n in range(50):
            for process in processes:
                process.send("call", n=n, threads=5)
            values = [value for process in processes for value in process.receive()["values"]]
            assert values == [1] * 30
            assert int(client.get(f"calls:{n}")) == 1


def test_a_killed_holder_costs_at_most_its_lease(fleet: Callable[..., list[Process]], valkey: Server) -> None:
    """A holder dies mid-computation (SIGKILL): the others have one new computation's value."""
    holder, *others = fleet(3, lease=1.5)
    with valkey.client() as client:
        client.set("gate", 1)
        holder.send("call", n=1, threads=1)
        until(lambda: client.get("calls:1"))
        client.delete("gate")
        for process in others:
            process.send("call", n=1, threads=5)
        holder.kill()
        begun = time.monotonic()
        values = [value for process in others for value in process.receive()["values"]]
        print(f"an answer {time.monotonic() - begun:.2f} s after the holder of a lease of 1.5 s was killed")
        assert values == [2] * 10
        assert int(client.get("calls:1")) == 2


def test_waiters_learn_of_the_value_soon(fleet: Callable[..., list[Process]], valkey: Server) -> None:
    """Waiters in other processes get the holder's value; how long that takes is printed."""
    processes = fleet(3)
    delays = []
    with valkey.client() as client:
        client.set("gate", 1)
        for n in range(10):
            for process in processes:
                process.send("call", n=n, threads=2)
            until(lambda n=n: client.get(f"calls:{n}"))
            until(lambda: len(client.pubsub_channels()) >= 1)
            client.lpush(f"go:{n}", 1)
            replies = [process.receive() for process in processes]
            assert [reply["values"] for reply in replies] == [[1, 1]] * 3
            ends = sorted(reply["at"] for reply in replies)
            delays += [(end - ends[0]) / 1e6 for end in ends[1:]]
    print(f"waiters had the value {sorted(delays)[len(delays) // 2]:.1f} ms (median) after the holder")


def _spot(cache: Cache, f: Any, *args: Any) -> Any:
    binding = f._self_state.bound()[1]
    address, store = binding.address(binding.function.signature.bind(args, {}))
    return store.spot(address)


def _plant(cache: Cache, f: Any, client: Any, *args: Any) -> str:
    """A lease of nobody's, without expiry, under the markers that stand."""
    spot = _spot(cache, f, *args)
    generations = b"".join(client.mget(spot.markers))
    client.set(spot.lease, b"foreign!" + bytes(8) + generations)
    return str(spot.lease)


@pytest.mark.parametrize("bound", ["max_wait", "lease"])
def test_a_lease_without_expiry_is_outwaited(valkey: Server, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    """A lease planted by hand that never expires: an answer within max_wait, or once it showed no life for its time."""
    monkeypatch.setattr(_leases, "LEASE_SECONDS", 0.4 if bound == "lease" else 10.0)
    with Cache(valkey.url, max_wait=0.4 if bound == "max_wait" else 60) as cache, valkey.client() as client:

        @cache.cached(name="f")
        def f(n: int) -> int:
            return n

        f(0)
        lease = _plant(cache, f, client, 1)
        thread, results = start(lambda: f(1))
        join(thread)
        assert results == [1]
        assert f.peek(1) == 1
        if bound == "lease":
            assert client.get(lease) is None
        assert_quiet(cache)


@pytest.mark.parametrize("junk", [b"", b"x", b"foreign!" + bytes(80)])
def test_a_lease_of_another_time_stops_nobody(valkey: Server, junk: bytes) -> None:
    """A lease under other markers, or bytes that are no lease, are taken over at once."""
    with Cache(valkey.url, max_wait=60) as cache, valkey.client() as client:

        @cache.cached(name="f")
        def f(n: int) -> int:
            return n

        f(0)
        client.set(_spot(cache, f, 1).lease, junk)
        assert f(1) == 1
        assert f.peek(1) == 1
        assert_quiet(cache)


def test_a_lost_lease_costs_one_computation_and_no_store(valkey: Server) -> None:
    """A slow holder whose lease went to another still stores, and leaves the other's lease alone."""
    slow, fast = Slow(), Slow()
    with Cache(valkey.url) as mine, Cache(valkey.url) as other, valkey.client() as client:

        def decorate(cache: Cache, body: Slow) -> Any:
            @cache.cached(name="f")
            def f(n: int) -> list[Any]:
                return [body is slow, body()]

            return f

        f, g = decorate(mine, slow), decorate(other, fast)
        first, got = start(lambda: f(1))
        slow.wait_entered()
        spot = _spot(mine, f, 1)
        client.delete(spot.lease)
        second, got_other = start(lambda: g(1))
        fast.wait_entered()
        lease = client.get(spot.lease)
        assert lease is not None
        slow.go.set()
        join(first)
        assert got == [[True, 1]]
        assert client.get(spot.lease)[:8] == lease[:8]
        assert g.peek(1) == [True, 1]
        fast.go.set()
        join(second)
        assert got_other == [[False, 1]]
        until(lambda: client.get(spot.lease) is None)
        assert f(1) == g(1) == [True, 1]
        assert_quiet(mine)
        assert_quiet(other)


def test_a_waiter_sends_few_commands(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one process computes, another's waiter sends at most 20 commands a second, figures apart."""
    monkeypatch.setattr(stats_reporter, "FLUSH_SECONDS", 60.0)
    monkeypatch.setattr(Keeper, "holds", lambda self, value: False)  # two caches that take each other for processes
    slow = Slow()
    with Cache(valkey.url) as holder, Cache(valkey.url) as waiter, valkey.client() as client:

        def decorate(cache: Cache) -> Any:
            @cache.cached(name="f")
            def f(n: int) -> int:
                return slow()

            return f

        f, g = decorate(holder), decorate(waiter)
        leading, _ = start(lambda: f(1))
        slow.wait_entered()
        waiting = [start(lambda: g(1)) for _ in range(10)]
        until(lambda: g.stats().coalesced == 9 and client.pubsub_channels())

        def sent() -> int:
            stats = client.info("commandstats")
            return sum(one["calls"] for name, one in stats.items() if name != "cmdstat_info")

        before, begun = sent(), time.monotonic()
        time.sleep(1.5)  # the promise is a rate
        rate = (sent() - before) / (time.monotonic() - begun)
        slow.go.set()
        join(leading, *(thread for thread, _ in waiting))
        print(f"{rate:.1f} commands a second")
        assert rate <= 20
        assert {results[0] for _, results in waiting} == {1}
        figures = g.stats()
        assert (figures.misses, figures.coalesced, figures.stores) == (10, 10, 0), (
            "all ten shared another's computation"
        )
        assert f.stats().coalesced == 0
        assert_quiet(waiter)


def test_a_recorded_history_keeps_the_promises(fleet: Callable[..., list[Process]]) -> None:
    """Four processes of three threads call, put and invalidate at random: no stale value, no needless computation."""
    processes = fleet(4)
    for index, process in enumerate(processes):
        process.send("history", name=f"p{index}", threads=3, ops=150, keys=3)
    replies = [process.receive() for process in processes]
    assert [reply["errors"] for reply in replies] == [[]] * 4
    assert [reply["faults"] for reply in replies] == [0] * 4
    ops = [Op(*op) for reply in replies for op in reply["ops"]]
    assert sum(op.kind == "compute" for op in ops) > 100
    assert violations(ops) == []
