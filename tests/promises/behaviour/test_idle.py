"""`idle=`: an entry that nobody reads is gone, one that is read lives on, and neither outlives its ttl."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memocache import Cache
from memocache.testing import FakeClock
from tests.promises.behaviour.world import World
from tests.promises.flight.support import until


def counting(cached: Any, colourful: Any = lambda f: f, **settings: Any) -> tuple[list[int], Any]:
    """A cached function and what it was called with."""
    calls: list[int] = []

    def f(x: int) -> int:
        calls.append(x)
        return x

    return calls, cached(name="f", **settings)(colourful(f))


def test_unread_it_is_gone_and_read_it_lives_until_its_ttl(local: World) -> None:
    """Each read gives another `idle` seconds, within ttl; whoever comes later computes."""
    calls, f = counting(local.cached, ttl=100, idle=10)
    for _ in range(12):
        local.call(f, 1)
        local.clock.advance(9)
    assert calls == [1]  # read at 99 s, and now it is 108 s
    assert f.cache_info().currsize == 0
    local.call(f, 1)
    local.clock.advance(11)
    local.call(f, 1)
    assert (calls, f.stats().hits) == ([1, 1, 1], 11)


@given(st.lists(st.floats(0.1, 30.0), max_size=30), st.floats(1.0, 20.0), st.floats(1.0, 60.0))
def test_the_law_of_sliding_expiry(pauses: list[float], idle: float, ttl: float) -> None:
    """A call is a hit if and only if the last one was within `idle` and the entry was stored within ttl."""
    clock = FakeClock()
    cache = Cache(clock=clock)
    calls, f = counting(cache.cached, ttl=ttl, idle=idle)
    stored = read = None
    for pause in pauses:
        before, now = len(calls), clock.monotonic()
        f(1)
        hit = stored is not None and read is not None and now < min(stored + ttl, read + idle)
        assert (len(calls) == before) == hit
        stored, read = stored if hit else now, now
        clock.advance(pause)


def test_a_stale_entry_slides_too(local: World) -> None:
    """Within `stale` it is served while it is read, and gone once it was not."""
    calls, f = counting(local.cached, ttl=10, idle=8, stale_if_error=100)
    local.call(f, 1)
    local.clock.advance(7)
    local.call(f, 1)
    local.clock.advance(7)
    assert local.call(f.peek, 1) == 1  # past its ttl, and kept
    local.clock.advance(2)
    assert local.call(f.peek, 1) is not 1  # noqa: F632  # MISSING
    assert calls == [1]


def test_nothing_outlives_its_ttl(world: World) -> None:
    """However often it is read, on every backend: what the cache's clock says counts."""
    calls, f = counting(world.cached, ttl=60, idle=50)
    for _ in range(3):
        world.call(f, 1)
        world.clock.advance(25)
        world.settle()
    assert calls == [1]
    world.call(f, 1)
    assert calls == [1, 1]


def test_unread_it_leaves_a_backend_by_itself(shared: World) -> None:
    """The backend drops what nobody read for `idle` and a quarter, though its ttl is long."""
    calls, f = counting(shared.cached, ttl=3600, idle=0.2)
    shared.call(f, 1)
    key = shared.full_raw(f"memo:e:f:{f.key_for(1).rpartition(':')[2]}") if shared.kind == "cluster" else f.key_for(1)
    if shared.kind == "object":
        shared.clock.advance(0.3)
    until(lambda: shared.read_raw(key) is None)
    shared.settle()
    shared.call(f, 1)
    assert calls == [1, 1]


def test_reads_of_one_process_keep_it_for_another(shared: World) -> None:
    """Two caches on one backend, as two processes: what one reads is there for the other, long past `idle`."""
    if shared.kind == "object":
        pytest.skip("the object's clock stands still")
    other = shared.new_cache()
    calls, f = counting(shared.cached, ttl=3600, idle=2)
    others, g = counting(lambda **settings: lambda target: shared.cached(target, cache=other, **settings),
                         shared.colourful, ttl=3600, idle=2)  # fmt: skip
    shared.call(f, 1)
    ends = time.monotonic() + 4
    while time.monotonic() < ends:
        shared.call(f, 1)
        threading.Event().wait(0.1)
    assert shared.call(g, 1) == 1
    assert (calls, others) == ([1], [])


def test_a_hit_is_one_round_trip_and_no_write(shared: World) -> None:
    """A hundred hits ask a hundred times, and what they prolong goes in one request for all of them."""
    if shared.kind in ("tiered", "cluster", "sentinel"):
        pytest.skip("counted on single backends")
    calls, f = counting(shared.cached, ttl=3600, idle=3600)
    for x in range(10):
        shared.call(f, x)
    backend = shared.cache.backend
    asked: list[str] = []
    for face in filter(None, (backend, getattr(backend, "aio", None))):
        for name in ("read", "read_now", "read_soon", "transact", "prolong"):
            method = getattr(face, name, None)
            if method is None:
                continue

            def noted(*args: Any, method: Any = method, name: str = name, **kwargs: Any) -> Any:
                asked.append(name)
                return method(*args, **kwargs)

            if isinstance(getattr(type(face), name, None), property):
                continue
            setattr(face, name, noted)
    for x in range(100):
        shared.call(f, x % 10)
    shared.cache._core.places.shared.prolonger.flush()
    reads = [name for name in asked if name != "prolong"]
    assert calls == list(range(10))
    assert len(reads) in (100, 200 if shared.kind == "disk" else 100)
    assert set(reads) <= {"read", "read_now"}
    assert 1 <= asked.count("prolong") <= 3


def test_idle_is_checked_and_shown(local: World) -> None:
    """A bad duration is refused when decorating, and the setting is among the parameters."""
    for bad in (0, -1, True, "soon", float("nan")):
        with pytest.raises(ValueError, match="idle"):
            local.cached(idle=bad)(lambda: None)
    _, f = counting(local.cached, idle="5m")
    assert f.cache_parameters()["idle"] == 300.0
    _, g = counting(local.cached)
    assert g.cache_parameters()["idle"] is None


def test_other_arguments_of_expiry_know_it(local: World) -> None:
    """`Cache.expire` moves the end, `inspect` tells it and when the entry was stored, however often it was read."""
    _, f = counting(local.cached, ttl=100, idle=10)
    local.call(f, 1)
    stored = local.clock.time()
    local.clock.advance(9)
    local.call(f, 1)
    local.clock.advance(9)
    found = local.ask("inspect", f.key_for(1))
    assert (found.created_at, found.expires_at) == (pytest.approx(stored), pytest.approx(stored + 100))
    assert local.ask("expire", f.key_for(1), 5)
    local.clock.advance(6)
    assert local.ask("inspect", f.key_for(1)) is None


def test_a_backend_that_does_not_answer_costs_the_prolonging_alone() -> None:
    """What cannot be sent waits, is bounded, and reaches the backend with the next batch."""
    from memocache._runtime.budget import Budget
    from memocache._stores.remote.sliding_expiry import Prolonger
    from memocache.exceptions import BackendError

    sent: list[Any] = []
    failing = [True]

    class Guard:
        def io(self, operation: str, lives: Any, budget: Budget) -> Any:
            class Request:
                def blocking(self) -> None:
                    if failing:
                        raise BackendError("away")
                    sent.append((operation, [key for key, _ in lives]))

            return Request()

    prolonger = Prolonger(Guard())  # type: ignore[arg-type]  # a stand-in
    prolonger._thread = threading.current_thread()
    prolonger.note("a", 10.0, 100.0)
    assert prolonger.flush()
    failing.clear()
    prolonger.note("b", 10.0, 100.0)
    prolonger.note("gone", 10.0, -1.0)
    assert prolonger.flush()
    assert not prolonger.flush()
    assert [(operation, sorted(keys)) for operation, keys in sent] == [("prolong", ["a", "b"])]
