"""Bulk calls at once: an id is loaded once at a time, and overlapping calls never wait for each other in a circle."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tests.promises.behaviour.world import World
from tests.promises.bulk.support import Shelf, counted, loader, own_thread
from tests.promises.flight.support import BOUND, assert_quiet, join, until


class Held:
    """The body of a loader that waits, for ids in `holds`, until it may go on; serial numbers tell loads apart."""

    def __init__(self, *holds: Any) -> None:
        self.holds = set(holds)
        self.asked: list[list[Any]] = []
        self.entered = threading.Event()
        self.go = threading.Event()
        self.error: Exception | None = None
        self._lock = threading.Lock()

    def load(self, ids: list[Any]) -> dict[Any, Any]:
        """A value ``(id, how manieth load)`` for each."""
        with self._lock:
            self.asked.append(ids)
            serial = len(self.asked)
        if self.holds.intersection(ids) and not self.go.is_set():
            self.entered.set()
            assert self.go.wait(BOUND)
            if self.error is not None:
                raise self.error
        return {one: [one, serial] for one in ids}


def test_an_id_under_way_is_waited_for(world: World) -> None:
    """A bulk call loads what nobody loads and waits for the rest; both callers have values of their own."""
    held = Held(1)
    load = loader(world, lambda ids: held.load(ids))
    first, got = own_thread(world, lambda: load([1, 2]))
    assert held.entered.wait(BOUND)
    second, got_too = own_thread(world, lambda: load([3, 2, 1]))
    until(lambda: len(held.asked) == 2)
    until(lambda: load.stats().coalesced == 2)
    held.go.set()
    join(first, second)
    assert got == [{1: [1, 1], 2: [2, 1]}]
    assert got_too == [{3: [3, 2], 2: [2, 1], 1: [1, 1]}]
    assert held.asked == [[1, 2], [3]]
    assert counted(load) == (0, 5)
    got[0][1].append("mine")
    assert got_too[0][1] == [1, 1]
    assert_quiet(world.cache)


def test_opposite_orders_do_not_deadlock(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two bulk calls, each of which claims what the other wants next, and both loading at once: both end."""
    claimed, loading = threading.Barrier(2), threading.Barrier(2)
    firsts = threading.local()
    honest = world.cache._flights.enter

    def enter(*args: Any) -> Any:
        entered = honest(*args)
        if not hasattr(firsts, "done"):
            firsts.done = True
            claimed.wait(BOUND)
        return entered

    monkeypatch.setattr(world.cache._flights, "enter", enter)
    asked: list[list[int]] = []

    def body(ids: list[int]) -> dict[int, int]:
        asked.append(ids)
        loading.wait(BOUND)
        return {one: -one for one in ids}

    load = loader(world, body)
    running = [own_thread(world, lambda ids=ids: load(ids)) for ids in ([1, 2], [2, 1])]
    join(*(thread for thread, _ in running))
    assert [got for _, got in running] == [[{1: -1, 2: -2}], [{2: -2, 1: -1}]]
    assert sorted(asked) == [[1], [2]]
    assert_quiet(world.cache)


def test_opposite_orders_over_two_caches_do_not_deadlock(served: World) -> None:
    """As two processes: the leases of one are not the other's. 12 rounds of 2 × 2 calls in four orders."""
    world = served
    caches = [world.new_cache(), world.new_cache()]
    asked: list[int] = []
    lock = threading.Lock()

    def body(ids: list[int]) -> dict[int, int]:
        with lock:
            asked.extend(ids)
        return {one: -one for one in ids}

    loads = [loader(world, body, cache) for cache in caches]
    for step in range(12):
        ids = list(range(100 * step, 100 * step + 20))
        orders = [ids, ids[::-1], ids[::2] + ids[1::2], ids[10:] + ids[:10]]
        barrier = threading.Barrier(len(orders))

        def one(load: Any, order: list[int], barrier: threading.Barrier = barrier) -> Any:
            barrier.wait(BOUND)
            return load(order)

        running = [
            own_thread(world, lambda n=n, order=order, one=one: one(loads[n % 2], order))
            for n, order in enumerate(orders)
        ]
        join(*(thread for thread, _ in running))
        assert [got for _, got in running] == [[{n: -n for n in order}] for order in orders]
    assert sorted(asked) == sorted(set(asked))  # one load an id, over both
    assert sum(sum(counted(load)) for load in loads) == 12 * 4 * 20
    for cache in caches:
        assert_quiet(cache)


def test_nobody_waits_with_a_lease_in_hand(served: World) -> None:
    """What two others wait for is let go of without a value: each takes what it can get, neither waits for the other
    while it holds something.
    """
    world = served
    holder, *waiters = caches = [world.new_cache() for _ in range(3)]
    held = Held(1)
    held.error = LookupError("the holder's")
    first = loader(world, lambda ids: held.load(ids), holder)
    shelf = Shelf()
    loads = [loader(world, lambda ids: shelf.load(ids), cache) for cache in waiters]
    holding, got_error = own_thread(world, lambda: first([1, 2, 3, 4]))
    assert held.entered.wait(BOUND)
    running = [
        own_thread(world, lambda load=load, ids=ids: load(ids))
        for load, ids in zip(loads, ([1, 2, 3, 4], [4, 3, 2, 1]), strict=True)
    ]
    until(lambda: all(len(cache._flights) == 1 for cache in waiters))  # each waits for its first
    held.go.set()
    join(holding, *(thread for thread, _ in running))
    assert isinstance(got_error[0], LookupError)
    assert [got for _, got in running] == [[{n: [n] for n in ids}] for ids in ((1, 2, 3, 4), (4, 3, 2, 1))]
    assert sorted(one for ids in shelf.asked for one in ids) == [1, 2, 3, 4]
    for cache in caches:
        assert_quiet(cache)


def test_followers_share_the_loaders_error(world: World) -> None:
    """Who joined a load that raises gets its exception; what only the follower asked for is stored."""
    held = Held(1)
    held.error = LookupError("the leader's")
    load = loader(world, lambda ids: held.load(ids))
    first, got = own_thread(world, lambda: load([1]))
    assert held.entered.wait(BOUND)
    second, got_too = own_thread(world, lambda: load([1, 2]))
    until(lambda: load.stats().coalesced == 1 and load.stats().stores == 1)
    held.go.set()
    join(first, second)
    assert [str(error) for error in got + got_too] == ["the leader's"] * 2
    assert world.call(load, [2]) == {2: [2, 2]}
    assert_quiet(world.cache)


def test_an_id_invalidated_meanwhile_is_loaded_again(world: World) -> None:
    """A bulk call that begins after the invalidation of an id neither joins the load from before nor finds its value;
    the other ids are shared and stored.
    """
    held = Held(1)
    load = loader(world, lambda ids: held.load(ids))
    first, got = own_thread(world, lambda: load([1, 2]))
    assert held.entered.wait(BOUND)
    world.call(load.invalidate, 1)
    held.holds.clear()
    second, got_too = own_thread(world, lambda: load([1, 2]))
    until(lambda: len(held.asked) == 2)
    held.go.set()
    join(first, second)
    assert got == [{1: [1, 1], 2: [2, 1]}]
    assert got_too == [{1: [1, 2], 2: [2, 1]}]
    assert world.call(load, [1, 2]) == {1: [1, 2], 2: [2, 1]}
    assert held.asked == [[1, 2], [1]]
    assert_quiet(world.cache)


def test_a_loader_that_calls_itself_is_run_directly(world: World) -> None:
    """Recursion on the very ids being loaded ends, and what is nested deeper is stored."""
    asked: list[list[int]] = []

    def inner(ids: list[int]) -> dict[int, int]:
        return {one: one for one in ids}

    if world.is_async:

        @world.cache.cached_many(name="load")
        async def load(ids: list[int]) -> dict[int, int]:
            asked.append(ids)
            more = await load([1, 2]) if len(asked) == 1 else {}
            return {**more, **inner(ids)}

    else:

        @world.cache.cached_many(name="load")
        def load(ids: list[int]) -> dict[int, int]:
            asked.append(ids)
            more = load([1, 2]) if len(asked) == 1 else {}
            return {**more, **inner(ids)}

    assert world.call(load, [1]) == {1: 1}
    assert asked == [[1], [1, 2]]
    assert world.call(load, [1, 2]) == {1: 1, 2: 2}
    assert len(asked) == 2
    assert_quiet(world.cache)


@pytest.mark.parametrize("coalesce", ["process", None])
def test_coalesce_bounds_what_is_shared(world: World, coalesce: Any) -> None:
    """With "process" another cache on the backend loads for itself; with None every call does."""
    held = Held(1)
    load = loader(world, lambda ids: held.load(ids), coalesce=coalesce)
    first, got = own_thread(world, lambda: load([1]))
    assert held.entered.wait(BOUND)
    held.holds.clear()
    other = loader(world, lambda ids: held.load(ids), world.new_cache(), coalesce=coalesce)
    assert world.call(other, [1]) == {1: [1, 2]}
    if coalesce is None and not world.shared:
        assert world.call(load, [1]) == {1: [1, 3]}
    held.go.set()
    join(first)
    assert got == [{1: [1, 1]}]
    assert_quiet(world.cache)


def test_patience_ends(world: World) -> None:
    """After `max_wait` a bulk call loads for itself what others are still loading, here or elsewhere."""
    held = Held(1)
    caches = [world.new_cache(max_wait=0.05) for _ in range(2)]
    first_cache = caches[0]
    load = loader(world, lambda ids: held.load(ids), first_cache)
    first, _ = own_thread(world, lambda: load([1, 2]))
    assert held.entered.wait(BOUND)
    held.holds.clear()
    assert world.call(load, [2, 1]) == {2: [2, 2], 1: [1, 2]}
    if world.shared:
        other = loader(world, lambda ids: held.load(ids), caches[1])
        assert world.call(other, [1, 2, 3])[3] == [3, 3]
    held.go.set()
    join(first)
    for cache in caches:
        assert_quiet(cache)


def test_a_cancelled_load_hands_over(world: World) -> None:
    """Who waited for a load whose task was cancelled loads itself; nothing is left behind."""
    if not world.is_async:
        pytest.skip("only a task can be cancelled")
    asked: list[list[int]] = []

    @world.cache.cached_many(name="load")
    async def load(ids: list[int]) -> dict[int, int]:
        asked.append(ids)
        if len(asked) == 1:
            await asyncio.Event().wait()
        return {one: one for one in ids}

    async def main() -> None:
        leader = asyncio.create_task(load([1, 2]))
        while not asked:
            await asyncio.sleep(0)
        follower = asyncio.create_task(load([2, 1]))
        while load.stats().coalesced < 2:
            await asyncio.sleep(0)
        leader.cancel()
        async with asyncio.timeout(BOUND):
            assert await follower == {2: 2, 1: 1}
        assert leader.cancelled() or leader.cancelling()

    world.run(main())
    # its leases are let go of one by one, so what is left may be more than one load
    assert sorted(one for ids in asked[1:] for one in ids) == [1, 2]
    assert_quiet(world.cache)


def test_counters_are_exact_under_threads(world: World) -> None:
    """12 callers × 25 ids in different orders, cold: each id loaded once, hits + misses are the ids asked for."""
    shelf = Shelf()
    load = loader(world, lambda ids: shelf.load(ids))
    barrier = threading.Barrier(12)

    def one(step: int) -> Any:
        barrier.wait(BOUND)
        return load([(n * step) % 29 for n in range(29)])

    running = [own_thread(world, lambda step=step: one(step)) for step in range(1, 13)]
    join(*(thread for thread, _ in running))
    assert all(got == [{n: [n] for n in range(29)}] for _, got in running)
    assert sorted(one for ids in shelf.asked for one in ids) == list(range(29))
    hits, misses = counted(load)
    assert hits + misses == 12 * 29
    assert load.stats().stores == 29
    assert_quiet(world.cache)
