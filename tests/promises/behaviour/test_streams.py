"""`stream=True`: what generators yield is recorded and replayed, on every backend and in both colours."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from memocache import MISSING, Cache, ConfigurationError, EncodeError, UncacheableWarning, disabled
from tests.promises.behaviour.world import World
from tests.promises.flight.support import until

Generating = Callable[..., Iterator[Any]]


def streamed(world: World, target: Generating, cache: Cache | None = None, **settings: Any) -> Any:
    """A generator function decorated in the world's colour."""
    made: Any = target
    if world.is_async:

        @functools.wraps(target)
        async def made(*args: Any, **kwargs: Any) -> Any:
            for item in target(*args, **kwargs):
                yield item

    return (cache or world.cache).cached(stream=True, name="s", **{"ttl": 60, **settings})(made)


def read(world: World, stream: Any, count: int | None = None) -> list[Any]:
    """The next `count` items, or all that are left."""
    if not world.is_async:
        return list(itertools.islice(stream, count))

    async def collect() -> list[Any]:
        found = []
        while count is None or len(found) < count:
            try:
                found.append(await anext(stream))
            except StopAsyncIteration:
                break
        return found

    return world.run(collect())


def close(world: World, stream: Any) -> None:
    """Read no further."""
    world.run(stream.aclose()) if world.is_async else stream.close()


def counted(calls: list[int], items: Callable[[int], Iterable[Any]] = range) -> Generating:
    """A generator function that notes its calls."""

    def count(n: int) -> Iterator[Any]:
        calls.append(n)
        yield from items(n)

    return count


def test_a_hit_replays_what_was_yielded(world: World) -> None:
    """The generator runs once; `peek` gives the list, `with_status` the stream and how it began."""
    calls: list[int] = []
    s = streamed(world, counted(calls, lambda n: [{"n": n}, (n, None), "é"]))
    items = [{"n": 3}, (3, None), "é"]
    assert world.run(s.peek(3)) is MISSING
    assert read(world, s(3)) == items
    world.settle()
    assert read(world, s(3)) == items
    assert world.run(s.peek(3)) == items
    stream, status = world.run(s.with_status(3))
    assert status.hit
    assert read(world, stream) == items
    assert calls == [3]
    assert (s.cache_info().hits, s.cache_info().misses, s.stats().stores) == (2, 1, 1)


def test_nothing_runs_before_the_first_item(world: World) -> None:
    """As with generators; each item is pulled when it is asked for."""
    pulled: list[int] = []

    def target(n: int) -> Iterator[int]:
        for item in range(n):
            pulled.append(item)
            yield item

    s = streamed(world, target)
    stream = s(5)
    assert pulled == []
    assert read(world, stream, 2) == [0, 1]
    assert len(pulled) == 2
    close(world, stream)


def test_two_readers_of_one_run_go_at_their_own_pace(world: World) -> None:
    """One runs ahead, then the other; both have all, their own copies, of one run that is stored."""
    calls: list[int] = []
    s = streamed(world, counted(calls, lambda n: ([i] for i in range(n))))
    first, second = s(6), s(6)
    got = read(world, first, 3)
    got[0].append("changed")
    assert read(world, second, 5) == [[0], [1], [2], [3], [4]]
    assert read(world, first) == [[3], [4], [5]]
    assert read(world, second) == [[5]]
    world.settle()
    assert read(world, s(6)) == [[i] for i in range(6)]
    assert calls == [6]
    assert s.stats().coalesced == 1


def test_who_stops_early_stores_nothing_and_stops_nobody(world: World) -> None:
    """A lone reader that stops ends the run; one of two leaves it to the other, who has it stored."""
    calls: list[int] = []
    closed: list[int] = []

    def target(n: int) -> Iterator[int]:
        calls.append(n)
        try:
            yield from range(n)
        finally:
            closed.append(n)

    s = streamed(world, target)
    alone = s(4)
    assert read(world, alone, 2) == [0, 1]
    close(world, alone)
    assert world.run(s.peek(4)) is MISSING
    assert closed == [4] or world.is_async
    first, second = s(4), s(4)
    assert read(world, first, 2) == [0, 1]
    assert read(world, second, 1) == [0]
    close(world, first)
    assert read(world, second) == [1, 2, 3]
    world.settle()
    assert world.run(s.peek(4)) == [0, 1, 2, 3]
    assert calls == [4, 4]
    assert len(world.cache._flights) == 0


def test_an_exception_stores_nothing_and_reaches_every_reader(world: World) -> None:
    """Items before it come first, for all who read along; the next call runs anew."""
    calls: list[int] = []

    def target(n: int) -> Iterator[int]:
        calls.append(n)
        yield 1
        raise OSError("broken")

    s = streamed(world, target, errors=OSError)
    first, second = s(1), s(1)
    for stream in (first, second):
        assert read(world, stream, 1) == [1]
    for stream in (first, second, s(1)):
        with pytest.raises(OSError, match="broken"):
            read(world, stream)
    assert calls == [1, 1]
    assert world.run(s.peek(1)) is MISSING


def test_an_error_before_the_first_item_is_as_of_values(world: World) -> None:
    """Remembered by `errors=`, and an old list stands in for it where `stale_if_error` says so."""
    calls: list[int] = []
    broken: list[bool] = []

    def target(n: int) -> Iterator[int]:
        calls.append(n)
        if broken:
            raise OSError("broken")
        yield from range(n)

    s = streamed(world, target, ttl=10, stale_if_error=100)
    assert read(world, s(2)) == [0, 1]
    broken.append(True)
    world.clock.advance(20)
    world.settle()
    assert read(world, s(2)) == [0, 1]
    assert s.stats().stale_hits == 1
    with pytest.raises(OSError, match="broken"):
        read(world, s(3))
    remembers = streamed(world, target, errors=OSError, version=2)
    calls.clear()
    for _ in range(2):
        with pytest.raises(OSError, match="broken"):
            read(world, remembers(3))
        world.settle()
    assert calls == [3]


def test_a_stale_list_is_replayed_while_a_new_one_is_gathered(world: World) -> None:
    """As with values: the old items at once, and the refresh in the background stores the new ones."""
    calls: list[int] = []
    s = streamed(world, counted(calls, lambda n: [len(calls)] * n), ttl=10, stale=100)
    assert read(world, s(2)) == [1, 1]
    world.clock.advance(20)
    world.settle()
    assert read(world, s(2)) == [1, 1]
    if world.is_async:

        async def quiet() -> None:
            import asyncio

            while s.stats().stores < 2:
                await asyncio.sleep(0.001)

        world.run(quiet())
    until(lambda: s.stats().stores == 2)
    world.settle()
    assert read(world, s(2)) == [2, 2]


def test_past_the_limit_nothing_is_stored_and_nobody_stopped(world: World) -> None:
    """Everybody has all items, a reader that lags far behind too, and the record holds no more than would be stored."""
    calls: list[int] = []
    cache = world.new_cache(max_value_bytes=1000, prefix="small")
    s = streamed(world, counted(calls, lambda n: (bytes([i]) * 100 for i in range(n))), cache=cache)
    items = [bytes([i]) * 100 for i in range(50)]
    first, second = s(50), s(50)
    assert read(world, second, 1) == items[:1]
    with pytest.warns(UncacheableWarning, match="max_value_bytes=1000"):
        assert read(world, first, 40) == items[:40]
    held = first._call._recording._items
    assert sum(item.size for item in held) <= 1000
    assert read(world, first) == items[40:]
    assert read(world, second) == items[1:]
    assert calls == [50, 50]
    assert world.run(s.peek(50)) is MISSING
    assert len(cache._flights) == 0


def test_a_laggard_is_told_when_another_run_yields_other_items(local: World) -> None:
    """What was given and what comes are of one run, or the reader gets an error that says what to do."""
    runs: list[int] = []

    def target(n: int) -> Iterator[bytes]:
        runs.append(n)
        for i in range(n):
            yield bytes([len(runs), i]) * 100

    cache = local.new_cache(max_value_bytes=1000)
    s = streamed(local, target, cache=cache)
    first, second = s(30), s(30)
    read(local, second, 2)
    with pytest.warns(UncacheableWarning):
        read(local, first)
    with pytest.raises(RuntimeError, match="call it again"):
        read(local, second)


def test_what_cannot_be_recorded_still_streams(local: World) -> None:
    """An item that can be used once goes to its reader; nothing is stored, with `strict` it is an error."""
    calls: list[int] = []
    s = streamed(local, counted(calls, lambda n: [1, iter([2]), 3]))
    with pytest.warns(UncacheableWarning):
        first, once, last = read(local, s(1))
    assert (first, list(once), last) == (1, [2], 3)
    assert local.run(s.peek(1)) is MISSING
    strict = streamed(local, counted(calls, lambda n: [1, iter([2]), 3]), strict=True, version=2)
    with pytest.raises(EncodeError):
        read(local, strict(1))


def test_a_generator_that_returns_a_value_is_not_stored() -> None:
    """A replay would return nothing: it streams, with a warning, and `yield from` has its value."""

    @Cache().cached(stream=True)
    def s() -> Iterator[int]:
        yield 1
        return "value"

    with pytest.warns(UncacheableWarning, match="generator's value"):
        assert list(s()) == [1]
    assert s.peek() is MISSING


def test_nothing_is_sent_or_thrown(local: World) -> None:
    """`send` and `throw` are refused, for a replay could not take part; the stream goes on."""
    s = streamed(local, counted([]))
    stream = s(3)
    assert read(local, stream, 1) == [0]
    for name, given in (("send", 1), ("throw", ValueError("x"))):
        with pytest.raises(TypeError, match="takes nothing from its reader"):
            local.run(getattr(stream, "a" * local.is_async + name)(given))
    assert read(local, stream) == [1, 2]


def test_what_is_no_generator_is_refused_when_decorating() -> None:
    """Plain functions, timeouts and a `stream` that is no bool name the way out."""
    cache = Cache()
    with pytest.raises(TypeError, match="leave stream= out"):
        cache.cached(stream=True)(lambda: 1)
    with pytest.raises(TypeError, match="stream=True"):
        cache.cached()(counted([]))
    with pytest.raises(ConfigurationError, match="hard_timeout"):
        cache.cached(stream=True, hard_timeout=1)(counted([]))
    with pytest.raises(ConfigurationError, match="stream= takes True or False"):
        cache.cached(stream=1)(lambda: 1)


def test_everything_else_is_about_the_list(world: World) -> None:
    """`put`, `refresh`, `map`, `invalidate` and `condition`; a text is no list of items."""
    calls: list[int] = []
    s = streamed(world, counted(calls), condition=lambda items: len(items) < 5)
    world.run(s.put([7, 8], 2))
    world.settle()
    assert read(world, s(2)) == [7, 8]
    with pytest.raises(TypeError, match="items"):
        world.run(s.put("ab", 2))
    world.run(s.invalidate(2))
    world.settle()
    assert world.run(s.refresh(2)) == [0, 1]
    world.settle()
    assert world.run(s.map([2, 3])) == [[0, 1], [0, 1, 2]]
    read(world, s(6))
    assert world.run(s.peek(6)) is MISSING
    with disabled():
        assert read(world, s(2)) == [0, 1]
    assert s.cache_parameters()["stream"] is True
    assert calls == [2, 3, 6, 2]


def test_it_streams_from_methods_and_into_itself(local: World) -> None:
    """A method's `self` is known as ever, and a recursive call of the same key runs directly."""
    runs: list[int] = []

    class Tree:
        @local.cache.cached(stream=True)
        def walk(self, n: int) -> Iterator[int]:
            runs.append(n)
            yield n
            if n and len(runs) < 3:
                yield from self.walk(n)

    tree = Tree()
    assert list(tree.walk(1)) == [1, 1, 1]
    assert list(tree.walk(1)) == [1, 1, 1]
    assert tree.walk.peek(1) == [1, 1, 1]
    assert len(runs) == 3
