"""`get_or_compute`: one computation per plain key, with the engine of decorated functions."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from memocache import Cache, ConfigurationError, UncacheableWarning, disabled
from memocache.instrumentation import Asked, Computed, Hit, Miss, Stored
from tests.patience import unhurried
from tests.promises.behaviour.test_processes import run
from tests.promises.behaviour.world import World
from tests.promises.flight.support import Slow, acrowd, crowd, join, start, until


def test_computed_once_and_kept_for_its_ttl(world: World) -> None:
    """The first caller computes, later ones get what is stored, and after `ttl` it is computed again."""
    calls: list[int] = []

    def load() -> list[int]:
        calls.append(1)
        return [len(calls)]

    function = world.colourful(load)
    assert world.ask("get_or_compute", "k", function, ttl=60) == [1]
    assert world.ask("get_or_compute", "k", function, ttl="1h") == [1]
    assert world.ask("get", "k") == [1]
    assert world.ask("ttl", "k") == pytest.approx(60)
    world.clock.advance(61)
    world.settle()
    assert world.ask("get_or_compute", "k", function) == [2]
    assert world.ask("ttl", "k") == pytest.approx(3600)


def test_what_set_stored_is_found(world: World) -> None:
    """A value of `set` is given without a call, whatever tags it was set with and whatever tags are asked for now."""
    for key, tags in (("a", ()), ("b", ("red",))):
        world.ask("set", key, key, tags=tags)
        for asked in ((), ("red",), ("blue",), ("red", "blue")):
            assert world.ask("get_or_compute", key, _never, tags=asked) == key
    world.ask("invalidate", tag="red")
    assert world.ask("get_or_compute", "a", _never) == "a"
    assert world.ask("get_or_compute", "b", world.colourful(lambda: "new")) == "new"


def _never() -> Any:
    raise AssertionError("nothing had to be computed")


def test_tags_and_ttl_of_the_result(world: World) -> None:
    """What is computed is stored under `tags`, for as long as `ttl` says of it."""
    assert world.ask("get_or_compute", "k", world.colourful(lambda: 30), ttl=lambda result: result, tags="red") == 30
    assert world.ask("ttl", "k") == pytest.approx(30)
    world.ask("invalidate", tag="red")
    assert world.ask("get", "k") is None


def test_none_is_a_value_and_an_exception_is_none(world: World) -> None:
    """None is stored; what the function raises reaches the caller and is stored nowhere."""

    def fail() -> None:
        raise LookupError("nobody")

    with pytest.raises(LookupError, match="nobody"):
        world.ask("get_or_compute", "k", world.colourful(fail))
    assert world.ask("exists", "k") is False
    assert world.ask("get_or_compute", "k", world.colourful(lambda: None)) is None
    assert world.ask("get_or_compute", "k", _never) is None


def test_stop_iteration_passes(local: World) -> None:
    """The function's own StopIteration is its exception, and no end of ours."""

    def stop() -> None:
        raise StopIteration(3)

    if local.is_async:
        pytest.skip("no coroutine can raise it")
    with pytest.raises(StopIteration):
        local.ask("get_or_compute", "k", stop)


def test_plain_and_async_functions_are_both_awaited(local: World) -> None:
    """On `aio` a function may give its value, a coroutine, or any other awaitable."""
    if not local.is_async:
        pytest.skip("of aio alone")

    async def soon() -> int:
        return 2

    assert local.ask("get_or_compute", "a", lambda: 1) == 1
    assert local.ask("get_or_compute", "b", soon) == 2
    assert local.ask("get_or_compute", "c", lambda: soon()) == 2
    assert local.ask("get_many", "abc") == {"a": 1, "b": 2, "c": 2}


def test_bad_input(world: World) -> None:
    """A key that is no text, no function, a bad ttl or tag are refused with the parameter's name, and nothing runs."""
    with pytest.raises(TypeError, match="key takes a str, not int"):
        world.ask("get_or_compute", 1, _never)
    with pytest.raises(TypeError, match=r"function takes what is to be called.*lambda"):
        world.ask("get_or_compute", "k", 5)
    for ttl in (0, -1, float("nan"), True, "soon"):
        with pytest.raises(ValueError, match="ttl"):
            world.ask("get_or_compute", "k", _never, ttl=ttl)
    with pytest.raises(ConfigurationError, match="tags"):
        world.ask("get_or_compute", "k", _never, tags=("",))
    if not world.is_async:

        async def soon() -> int:
            return 1

        with pytest.raises(TypeError, match=r"function is async: await cache\.aio\.get_or_compute"):
            world.ask("get_or_compute", "k", soon)


def test_the_error_of_a_bad_function_quotes_no_value(local: World) -> None:
    """What was passed for a function may be a value: it is named by its type alone."""
    with pytest.raises(TypeError) as refused:
        local.ask("get_or_compute", "k", "the secret")
    assert "secret" not in str(refused.value)


def test_what_cannot_be_stored_is_returned_and_warned_of_once(world: World) -> None:
    """A generator is given to its caller alone, with one warning at the function's line."""

    def load() -> Any:
        return iter([1, 2])

    with pytest.warns(UncacheableWarning, match="get_or_compute: the value was returned uncached") as warned:
        assert [list(world.ask("get_or_compute", "k", world.colourful(load))) for _ in range(2)] == [[1, 2], [1, 2]]
    assert len(warned) == 1
    assert world.ask("exists", "k") is False


def test_callers_do_not_share_a_mutable_value(world: World) -> None:
    """What one caller does to its value no other one sees."""
    load = world.colourful(lambda: [1])
    world.ask("get_or_compute", "k", load).append(2)
    world.ask("get_or_compute", "k", load).append(3)
    assert world.ask("get_or_compute", "k", load) == [1]


def test_disabled_computes_and_stores_nothing(world: World) -> None:
    """With caching off every call computes, and nothing is read or stored."""
    world.ask("set", "k", "old")
    load = world.colourful(lambda: "new")
    with disabled():
        assert world.ask("get_or_compute", "k", load) == "new"
    with world.cache.disabled():
        assert world.ask("get_or_compute", "j", load) == "new"
    assert (world.ask("get", "k"), world.ask("get", "j")) == ("old", None)


def test_it_counts_as_any_look_up_of_a_plain_key(world: World) -> None:
    """Hits and misses are the cache's, and no function's; observers are told of a key without a function."""
    told: list[Any] = []
    cache = world.new_cache(observers=[told.append])
    load = world.colourful(lambda: 1)
    world.ask("get_or_compute", "k", load, cache=cache)
    world.ask("get_or_compute", "k", load, cache=cache)
    stats = world.ask("stats", cache=cache)
    assert (stats.hits, stats.misses, stats.functions) == (1, 1, {})
    assert {event.function for event in told} == {None}
    calls = [type(event) for event in told if not isinstance(event, Asked)]
    assert calls == [Computed, Stored, Miss, Hit]


def test_a_recursive_call_of_the_same_key_runs_directly(world: World) -> None:
    """A function that asks for its own key does not wait for itself."""
    if world.is_async:
        depth: list[int] = []

        async def deep() -> int:
            depth.append(1)
            return len(depth) if len(depth) > 1 else await world.cache.aio.get_or_compute("k", deep)

        assert world.ask("get_or_compute", "k", deep) == 2
        return
    calls: list[int] = []

    def load() -> int:
        calls.append(1)
        return len(calls) if len(calls) > 1 else world.cache.get_or_compute("k", load)

    assert world.ask("get_or_compute", "k", load) == 2


def test_a_crowd_of_threads_computes_once(world: World) -> None:
    """Threads that ask while one computes share its computation, and are counted as misses."""
    if world.is_async:
        pytest.skip("tasks have their own test")
    slow, cache = Slow(), world.cache
    thread, results = start(lambda: crowd(20, lambda n: cache.get_or_compute("k", slow)))
    slow.wait_entered()
    until(lambda: cache.stats(entries=False).misses == 20)
    slow.go.set()
    join(thread)
    assert results == [[1] * 20]
    assert slow.calls == 1


def test_a_crowd_of_tasks_computes_once(world: World) -> None:
    """So do tasks, and a leader that is cancelled leaves the computing to a follower."""
    if not world.is_async:
        pytest.skip("threads have their own test")
    calls: list[int] = []
    cache = world.cache

    async def main() -> list[Any]:
        leading, go = asyncio.Event(), asyncio.Event()

        async def load() -> int:
            calls.append(1)
            leading.set()
            await go.wait()
            return 7

        first = asyncio.create_task(cache.aio.get_or_compute("k", load))
        await leading.wait()
        others = asyncio.create_task(acrowd(20, lambda _: cache.aio.get_or_compute("k", load)))
        while world.cache._operations.key_value.plain.counters.misses < 21:
            await asyncio.sleep(0.001)
        first.cancel()
        go.set()
        return await others

    assert world.run(main()) == [7] * 20
    assert len(calls) == 2


@pytest.mark.parametrize("forget", ["set", "set_many", "delete", "delete_many", "tag", "clear"])
def test_what_is_computed_from_before_a_change_is_neither_stored_nor_shared(world: World, forget: str) -> None:
    """Whoever asks after `set`, `delete`, an invalidated tag or `clear` gets what is new, not what was under way."""
    if world.is_async:
        pytest.skip("the engine is the same; threads show it")
    cache, slow = world.cache, Slow()
    leader, led = start(lambda: cache.get_or_compute("k", slow, tags="red"))
    slow.wait_entered()
    changes: dict[str, Callable[[], Any]] = {
        "set": lambda: cache.set("k", "set"),
        "set_many": lambda: cache.set_many({"k": "set"}),
        "delete": lambda: cache.delete("k"),
        "delete_many": lambda: cache.delete_many(["k"]),
        "tag": lambda: cache.invalidate(tag="red"),
        "clear": cache.clear,
    }
    changes[forget]()
    world.settle()
    new = "set" if forget.startswith("set") else "new"
    later, got = start(lambda: cache.get_or_compute("k", lambda: "new", tags="red"))
    join(later)
    slow.go.set()
    join(leader)
    assert (led, got) == ([1], [new])
    assert cache.get("k") == new


def test_processes_share_one_computation(shared: World) -> None:
    """Another process that asks while this one computes waits for the value, and computes nothing."""
    if shared.is_async or shared.kind not in ("disk", "valkey", "redis"):
        pytest.skip("what several processes can open, in one colour")
    url = f"disk://{shared._directory}" if shared.server is None else unhurried(shared.server.url)
    entered, go = threading.Event(), threading.Event()

    def slow() -> str:
        entered.set()
        go.wait(20)
        return "here"

    with Cache(url) as cache:
        leader, led = start(lambda: cache.get_or_compute("k", slow))
        assert entered.wait(20)
        script = (
            "import sys\n"
            "from memocache import Cache\n"
            "cache = Cache(sys.argv[1])\n"
            "print(cache.get_or_compute('k', lambda: 'there'), cache.stats().misses)\n"
        )
        other, printed = start(lambda: run(script, url))
        until(lambda: cache.stats("fleet", entries=False).misses == 2 or not other.is_alive())
        go.set()
        join(leader, other)
    assert (led, printed) == (["here"], ["here 1\n"])


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_backend_that_is_away_costs_the_caching_and_no_answer(colour: str) -> None:
    """With nobody listening the value is computed each time; with on_error="raise" it is BackendError."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{sock.getsockname()[1]}/0"
        with Cache(url) as cache, Cache(url, on_error="raise") as strict:
            calls: list[int] = []

            def ask(cache: Cache) -> int:
                if colour == "async":
                    return asyncio.run(cache.aio.get_or_compute("k", lambda: calls.append(1) or 5))
                return cache.get_or_compute("k", lambda: calls.append(1) or 5)

            assert [ask(cache), ask(cache)] == [5, 5]
            assert len(calls) == 2
            with pytest.raises(ConnectionError):
                ask(strict)
