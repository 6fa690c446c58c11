"""Two caches of one process over one backend, and what background refreshes inherit."""

from __future__ import annotations

import threading
from typing import Any

from memocache import Cache
from memocache.backends.memory import MemoryBackend
from memocache.testing import FakeClock
from tests.promises.flight.support import Slow, join, start, until


def test_recursion_across_two_caches_runs_directly() -> None:
    """A computation that reaches its own key through another cache does not wait for itself."""
    backend, depth = MemoryBackend(), []
    first, second = Cache(backend, max_wait=60), Cache(backend, max_wait=60)

    def body(x: int) -> int:
        depth.append(x)
        return again(x) if len(depth) < 3 else 7

    f = first.cached(body, name="n")
    again: Any = second.cached(body, name="n")
    thread, results = start(lambda: f(1))
    join(thread)
    assert results == [7]


def test_two_caches_share_one_computation() -> None:
    """Callers of two caches in one process make one computation of a key."""
    backend, slow = MemoryBackend(), Slow()
    f, g = (Cache(backend).cached(lambda n: slow(), name="n") for _ in range(2))
    leader, led = start(lambda: f(1))
    slow.wait_entered()
    follower, followed = start(lambda: g(1))
    until(lambda: g.stats().misses == 1)
    slow.go.set()
    join(leader, follower)
    assert led == followed == [1]
    assert slow.calls == 1


def test_a_refresh_leads_nothing_of_its_starters() -> None:
    """A refresh begun inside a computation follows that computation like anybody else, and does not run it again."""
    clock, calls, entered, go = FakeClock(), [], threading.Event(), threading.Event()
    cache = Cache(clock=clock)

    @cache.cached(ttl=10, stale=100)
    def inner(x: int) -> int:
        if len(calls) > 1:
            entered.set()
            return outer(x) + 1
        calls.append("inner")
        return 0

    @cache.cached(ttl=10)
    def outer(x: int) -> int:
        calls.append("outer")
        inner(x)
        go.wait(10)
        return 5

    assert inner(1) == 0
    clock.advance(11)
    thread, results = start(lambda: outer(1))
    assert entered.wait(10)
    go.set()
    join(thread)
    assert results == [5]
    until(lambda: inner.peek(1) == 6)
    assert calls == ["inner", "outer"]
