"""`f.map`: order, one round trip of look-ups, and that only what is missing is computed."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from memocache import BackendError, Cache, UnsharedWarning
from memocache._calls import bulk_lookup as _many
from tests.promises.behaviour.world import World
from tests.promises.bulk.support import commands, counted, own_thread
from tests.promises.flight.support import BOUND, assert_quiet, auntil, crowd, join, until


def test_results_are_in_the_order_of_the_calls(world: World) -> None:
    """A list as `map` would give, from several iterables, the shortest deciding, whatever was cached."""

    @world.cached(name="f")
    def f(a: int, b: int = 0, *rest: int) -> list[int]:
        return [a, b, *rest]

    world.call(f, 2, 5)
    assert world.call(f.map, [3, 2, 1], iter([4, 5, 6, 7])) == [[3, 4], [2, 5], [1, 6]]
    assert world.call(f.map, [3, 2, 1], (4, 5, 6), range(3)) == [[3, 4, 0], [2, 5, 1], [1, 6, 2]]
    assert world.call(f.map, range(3)) == [[0, 0], [1, 0], [2, 0]]
    assert world.call(f.map, []) == world.call(f.map, [], [1]) == []


def test_a_call_made_twice_is_computed_once(world: World) -> None:
    """Duplicates are answered each at its place, as hits after the first."""
    calls: list[int] = []

    @world.cached(name="f")
    def f(a: int) -> list[int]:
        calls.append(a)
        return [a]

    results = world.call(f.map, [1, 2, 1, 1, 2])
    assert results == [[1], [2], [1], [1], [2]]
    assert sorted(calls) == [1, 2]
    assert counted(f) == (3, 2)
    results[0].append(9)
    assert world.call(f.map, [1, 1]) == [[1], [1]]  # nobody sees another's changes
    assert counted(f) == (5, 2)


def test_only_misses_are_computed(world: World) -> None:
    """What is there, a None too, is not computed again; what is not, is, and stored."""
    calls: list[int] = []

    @world.cached(name="f")
    def f(a: int) -> None:
        calls.append(a)

    world.call(f, 1)
    world.call(f.put, None, 3)
    assert world.call(f.map, [0, 1, 2, 3]) == [None] * 4
    assert sorted(calls) == [0, 1, 2]
    assert counted(f) == (2, 3)
    assert world.call(f.map, [3, 2, 1, 0]) == [None] * 4
    assert sorted(calls) == [0, 1, 2]


def test_all_look_ups_are_one_round_trip(served: World) -> None:
    """1,000 hits cost one MGET and nothing else; no calls cost nothing; beyond `BATCH` there is a second one."""

    @served.cached(name="f")
    def f(a: int) -> int:
        return -a

    wanted = [-a for a in range(_many.BATCH)]
    assert served.call(f.map, range(_many.BATCH)) == wanted
    with commands(served.server, "mget", "evalsha", "eval") as sent:
        assert served.call(f.map, range(_many.BATCH)) == wanted
    assert sent == {"mget": 1, "evalsha": 0, "eval": 0}
    with commands(served.server, "mget") as sent:
        assert served.call(f.map, []) == []
    assert sent == {"mget": 0}
    with commands(served.server, "mget") as sent:
        assert served.call(f.map, [*range(_many.BATCH), 5]) == [*wanted, -5]
    assert sent == {"mget": 2 if served.kind != "tiered" else 0}, "the process has copies by now"


def test_misses_are_begun_and_stored_together(served: World) -> None:
    """What the bulk look-up saw is what the computations begin from: one script begins ten of them, and one stores
    them, or two where it is not known yet how long they take; of one alone it is a lease and a store."""

    @served.cached(name="f")
    def f(a: int) -> int:
        return a

    served.call(f, 0)
    with commands(served.server, "mget", "evalsha") as sent:
        served.call(f.map, range(11))
    assert sent == {"mget": 1, "evalsha": 2 if served.is_async else 4}
    with commands(served.server, "mget", "evalsha") as sent:
        served.call(f.map, range(12))
    assert sent == {"mget": 1, "evalsha": 2}


def test_entries_that_stay_in_the_process_share_one_look_at_the_markers(served: World) -> None:
    """Methods of objects without a value identity: all their markers are asked for at once, and an invalidation from
    elsewhere is noticed.
    """

    class Shop:
        calls = 0

        def price(self, item: int) -> int:
            self.calls += 1
            return item

    Shop.price = served.cached(name="price")(Shop.price)  # type: ignore[method-assign]  # so that it is of the colour
    Shop.price.__set_name__(Shop, "price")  # type: ignore[attr-defined]  # as a class body would
    shop = Shop()
    with pytest.warns(UnsharedWarning):
        assert served.call(shop.price.map, range(50)) == list(range(50))  # type: ignore[attr-defined]  # as above
    with commands(served.server, "mget") as sent:
        assert served.call(shop.price.map, range(50)) == list(range(50))  # type: ignore[attr-defined]  # as above
    assert sent == {"mget": 1}
    assert shop.calls == 50
    served.ask("invalidate", "price", cache=served.new_cache())
    assert served.call(shop.price.map, range(50)) == list(range(50))  # type: ignore[attr-defined]  # as above
    assert shop.calls == 100


def test_the_first_error_ends_it_and_what_was_computed_is_kept(world: World) -> None:
    """As in a loop of calls: the error of the first call that raises; those before it are stored."""
    calls: list[int] = []

    @world.cached(name="f")
    def f(a: int) -> int:
        calls.append(a)
        if a == 2:
            raise LookupError(a)
        return a

    with pytest.raises(LookupError, match="2"):
        world.call(f.map, range(5), **({"concurrency": 1} if world.is_async else {}))
    assert sorted(calls) == [0, 1, 2]
    assert world.call(f.map, [0, 1, 4]) == [0, 1, 4]
    assert sorted(calls) == [0, 1, 2, 4]
    assert counted(f)[0] == 2


def test_a_remembered_error_is_raised(world: World) -> None:
    """`errors` holds for bulk calls."""
    calls: list[int] = []

    @world.cached(name="f", errors=LookupError, error_ttl=60)
    def f(a: int) -> int:
        calls.append(a)
        raise LookupError(a)

    for _ in range(2):
        with pytest.raises(LookupError, match="1"):
            world.call(f.map, [1])
    assert sorted(calls) == [1]


def test_stale_values_are_served_and_refreshed(world: World) -> None:
    """What is stale is a stale hit, and refreshed in the background, as by a single call."""
    calls: list[int] = []

    @world.cached(name="f", ttl=10, stale=20)
    def f(a: int) -> int:
        calls.append(a)
        return calls.count(a)

    assert world.call(f.map, [1, 2]) == [1, 1]
    world.clock.advance(10)
    assert world.call(f.map, [1, 2]) == [1, 1]
    assert f.stats().stale_hits == 2
    if world.is_async:
        world.run(auntil(lambda: len(calls) == 4 and not len(world.cache._flights)))
    else:
        until(lambda: len(calls) == 4 and not len(world.cache._flights))
    assert world.call(f.map, [1, 2]) == [2, 2]


def test_an_invalidated_call_is_computed_again(world: World) -> None:
    """One call invalidated: that one alone; all: all."""
    calls: list[int] = []

    @world.cached(name="f", tags="t")
    def f(a: int) -> int:
        calls.append(a)
        return a

    world.call(f.map, range(3))
    world.call(f.invalidate, 1)
    world.call(f.map, range(3))
    assert sorted(calls) == [0, 1, 1, 2]
    world.call(f.invalidate_all)
    world.call(f.map, range(3))
    assert sorted(calls[4:]) == [0, 1, 2]
    world.ask("invalidate", tag="t")
    world.call(f.map, range(3))
    assert sorted(calls[7:]) == [0, 1, 2]


def test_without_a_backend_the_calls_are_computed(unreachable: tuple[World, Cache]) -> None:
    """A backend that cannot be reached costs the caching alone."""
    world, cache = unreachable

    @world.cached(name="f", cache=cache)
    def f(a: int) -> int:
        return a

    assert world.call(f.map, range(20)) == list(range(20))
    assert counted(f) == (0, 20)
    assert f.stats().backend_errors
    with pytest.raises(BackendError):
        world.call(f.invalidate, 1)


def test_overlapping_maps_compute_each_call_once(world: World) -> None:
    """8 bulk calls at once over overlapping calls in different orders: every call is computed once, every caller gets
    its own list, and hits + misses are the calls made.
    """
    calls: list[int] = []

    def body(a: int) -> list[int]:
        calls.append(a)
        return [a]

    f = world.cached(name="f")(body)
    orders = [[(n * step) % 31 for n in range(31)] for step in range(1, 9)]
    barrier = threading.Barrier(len(orders))

    def one(order: list[int]) -> Any:
        barrier.wait(BOUND)
        return f.map(order)

    running = [own_thread(world, lambda order=order: one(order)) for order in orders]
    join(*(thread for thread, _ in running))
    assert [results for _, results in running] == [[[[a] for a in order]] for order in orders]
    assert sorted(calls) == list(range(31))
    assert sum(counted(f)) == 31 * len(orders)
    assert_quiet(world.cache)


def test_a_map_shares_a_single_calls_computation(world: World) -> None:
    """A single call under way is waited for, not repeated."""
    entered, go = threading.Event(), threading.Event()
    calls: list[int] = []

    def body(a: int) -> int:
        calls.append(a)
        if a == 1:
            entered.set()
            assert go.wait(BOUND)
        return a

    f = world.cached(name="f")(body)
    single, got = own_thread(world, lambda: f(1))
    assert entered.wait(BOUND)
    bulk, got_bulk = own_thread(world, lambda: f.map([0, 1, 2]))
    until(lambda: f.stats().coalesced == 1)
    go.set()
    join(single, bulk)
    assert (got, got_bulk) == ([1], [[0, 1, 2]])
    assert sorted(calls) == [0, 1, 2]
    assert_quiet(world.cache)


def test_counters_stay_exact_under_threads() -> None:
    """20 threads × 20 bulk hits of 50 calls: not one is lost."""
    with Cache() as cache:
        f = cache.cached(name="f")(lambda a: a)
        f.map(range(50))
        crowd(20, lambda _: [f.map(range(50)) for _ in range(20)])
        assert counted(f) == (20 * 20 * 50, 50)
