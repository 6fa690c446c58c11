"""Counters: hits + misses = calls, whatever happens, exact under threads."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from memocache import disabled
from tests.promises.behaviour.world import World


@pytest.fixture
def _eager_switches() -> Iterator[None]:
    """Threads that change places as often as the interpreter allows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def total(f: Any) -> int:
    """Calls as counted."""
    info = f.cache_info()
    stats = f.stats()
    assert (info.hits, info.misses) == (stats.hits, stats.misses)
    return int(info.hits + info.misses)


def test_every_call_is_a_hit_or_a_miss(world: World) -> None:
    """Hits, misses, errors, remembered errors, refused results, expiry, refreshes, puts and bulk calls all add up."""

    def body(x: int) -> Any:
        if x < 0:
            raise KeyError(x)
        if x == 0:
            raise ValueError(x)
        return x

    f = world.cached(body, name="f", ttl=10, condition=lambda result: result != 7, errors=KeyError)
    calls = 0
    for x in (1, 1, 2, 7, 7, -1, -1, 0, 0, 1):
        try:
            world.call(f, x)
        except (KeyError, ValueError):
            pass
        calls += 1
        assert total(f) == calls
    for operation, args in (
        ("peek", (1,)),
        ("put", (5, 5)),
        ("refresh", (1,)),
        ("invalidate", (1,)),
        ("invalidate_all", ()),
    ):
        world.call(getattr(f, operation), *args)
        assert total(f) == calls, operation
    world.call(f.map, [1, 1, 2, 3])
    calls += 4
    world.clock.advance(10)
    world.call(f, 1)
    calls += 1
    with disabled():
        world.call(f, 1)
    assert total(f) == calls
    assert f.stats().hits == 4


def test_a_stale_hit_is_a_hit(world: World) -> None:
    """A value served stale counts as a hit and as a stale hit."""
    f = world.cached(lambda x: [x], name="f", ttl=10, stale=10)
    world.call(f, 1)
    world.clock.advance(11)
    world.call(f, 1)
    stats = f.stats()
    assert (stats.hits, stats.stale_hits) == (1, 1)
    assert total(f) == 2


def test_a_value_served_instead_of_an_error_is_a_hit(world: World) -> None:
    """With `stale_if_error` the old value stands in for an exception, and the call counts once, as a hit."""
    fail: list[int] = []

    def body(x: int) -> int:
        if fail:
            raise KeyError
        return x

    f = world.cached(body, name="f", ttl=10, stale_if_error=100)
    world.call(f, 1)
    fail.append(1)
    world.clock.advance(50)
    assert [world.call(f, 1) for _ in range(2)] == [1, 1]
    assert total(f) == 3
    assert f.stats().stale_hits == 2
    world.clock.advance(100)
    with pytest.raises(KeyError):
        world.call(f, 1)
    assert total(f) == 4


def test_cache_clear_zeroes_and_counting_goes_on(world: World) -> None:
    """After `cache_clear` every figure is zero and the next calls count from there."""
    f = world.cached(lambda x: [x], name="f")
    for _ in range(3):
        world.call(f, 1)
    world.call(f.cache_clear)
    assert total(f) == 0
    for _ in range(2):
        world.call(f, 1)
    assert f.cache_info()[:2] == (1, 1)


def test_functions_of_one_name_add_up_in_stats(world: World) -> None:
    """`stats()` is of a name: closures that share it are summed; `cache_info()` is of the function alone."""

    def make(n: int) -> Any:
        return world.cached(lambda x: x + n)

    one, two = make(1), make(2)
    for f in (one, one, two):
        world.call(f, 1)
    assert (one.cache_info()[:2], two.cache_info()[:2]) == ((1, 1), (0, 1))
    assert (one.stats().hits, one.stats().misses) == (two.stats().hits, two.stats().misses) == (1, 2)


@pytest.mark.usefixtures("_eager_switches")
def test_counts_are_exact_under_threads(world: World) -> None:
    """Eight threads, many calls, some of them misses: not one call is lost, and each value is computed once."""
    computed: list[int] = []
    lock = threading.Lock()

    def body(x: int) -> int:
        with lock:
            computed.append(x)
        return x * 2

    f = world.cached(body, name="f")
    each = 2000 if world.kind == "memory" else 60
    start, end = threading.Barrier(8), threading.Barrier(8)
    wrong: list[Any] = []

    def work(seed: int) -> None:
        start.wait(10)
        if world.is_async:
            asyncio.run(work_async(seed))
        else:
            for n in range(each):
                x = (n * 7 + seed) % 20
                if f(x) != x * 2:
                    wrong.append(x)

    async def work_async(seed: int) -> None:
        for n in range(each):
            x = (n * 7 + seed) % 20
            if await f(x) != x * 2:
                wrong.append(x)
        await asyncio.to_thread(end.wait, 30)  # closing takes the connections of every loop
        await world.cache.aio.close()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert total(f) == 8 * each
    assert sorted(computed) == list(range(20))
    stats = f.stats()
    assert (stats.stores, stats.backend_errors) == (20, 0)
    assert stats.misses >= 20 + stats.coalesced


def test_counts_are_exact_over_tasks(world: World) -> None:
    """Many tasks on one loop: every call counts, followers as misses that were coalesced."""
    if not world.is_async:
        return
    computed: list[int] = []
    f = world.cached(lambda x: computed.append(x) or x, name="f")

    async def main() -> list[int]:
        return list(await asyncio.gather(*(f(n % 5) for n in range(200))))

    assert world.run(main()) == [n % 5 for n in range(200)]
    assert sorted(computed) == list(range(5))
    assert total(f) == 200
