"""Invalidation says how many known functions it was about, and long work in the process is done in parts."""

from __future__ import annotations

import asyncio
import gc
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from memocache import MISSING, Cache
from memocache._runtime.effects import Pause, Steps
from memocache._stores.memory.tier_counts import PART
from tests.promises.behaviour.world import World

ENTRIES = 6 * PART


def test_invalidate_returns_how_many_known_functions_it_was_about(world: World) -> None:
    """A name, a pattern and a tag each say what they reached; what no function is called reaches none."""
    made = [world.cached(lambda x: [x], name=name) for name in ("shop.a", "shop.b", "other")]
    for f in made:
        world.call(f, 1)
    assert world.ask("invalidate", "shop.a") == 1
    assert world.ask("invalidate", "shop.a") == 1, "it is known, though there is nothing left of it"
    assert world.ask("invalidate", "shop.*") == 2
    assert world.ask("invalidate", made[2]) == 1
    assert world.ask("invalidate", "shop.c") == 0
    assert world.ask("invalidate", "shp.*") == 0
    assert world.ask("invalidate", tag="t") == 1


def test_another_process_is_told_the_same(shared: World) -> None:
    """A cache that never saw the function counts what the backend knows of."""
    f = shared.cached(lambda x: [x], name="shop.a")
    shared.call(f, 1)
    other = shared.new_cache()
    counts = [shared.ask("invalidate", name, cache=other) for name in ("shop.a", "shop.a", "shop.*", "shop.b", "s*x")]
    assert counts == [1, 1, 1, 0, 0]
    assert shared.call(f.peek, 1) is MISSING


def test_awaiting_the_sync_face_says_which_one_to_await() -> None:
    """``await cache.invalidate(…)`` names `cache.aio`, instead of an int that cannot be awaited."""

    async def mistaken() -> None:
        await Cache().invalidate("f")  # type: ignore[misc]  # the mistake

    with pytest.raises(TypeError, match=r"use cache\.aio"):
        asyncio.run(mistaken())
    count = Cache().invalidate("f")
    assert (repr(count), inspect.isawaitable(count), type(pickle.loads(pickle.dumps(count)))) == ("0", False, int)


@pytest.mark.parametrize("operation", ["invalidate", "invalidate_all", "refresh", "peek", "put", "map", "cache_clear"])
def test_a_forgotten_await_names_what_to_await(operation: str) -> None:
    """Python says which coroutine was never awaited: by the function and what was asked of it."""

    @Cache().cached(name="price")
    async def price(item: Any) -> Any:
        return item

    async def forgetful() -> str:
        coroutine = getattr(price, operation)(*((1, 1) if operation == "put" else () if "_" in operation else ([1],)))
        coroutine.close()
        return str(coroutine.__qualname__)

    assert asyncio.run(forgetful()) == f"price.{operation}"


def parts(steps: Steps[Any]) -> int:
    """How often these steps give an event loop its turn."""
    turns = 0
    try:
        while True:
            assert isinstance(next(steps), Pause)
            turns += 1
    except StopIteration:
        return turns


LONG: dict[str, Callable[[Any], Steps[Any]]] = {
    "stats": lambda of: of.statistics.stats("process"),
    "purge": lambda of: of.statistics.purge(None),
    "clear": lambda of: of.invalidation.clear(),
    "the first keys": lambda of: of.scanner.keys_step(None, None),
}


@pytest.mark.parametrize("what", LONG)
def test_an_event_loop_gets_its_turn(what: str) -> None:
    """However many entries the process holds, an event loop waits for some hundred of them at a time."""
    cache = Cache(f"memory://?maxsize={2 * ENTRIES}")
    f = cache.cached(name="f")(lambda x: x)
    for number in range(ENTRIES):
        f(number)
    turns = parts(LONG[what](cache._operations))
    assert turns >= (1 if what == "the first keys" else ENTRIES // PART)


def test_what_is_stored_while_a_cache_is_cleared_stays() -> None:
    """A computation that began before the clearing is void, one that begins meanwhile is newer and may stay."""
    cache = Cache(f"memory://?maxsize={2 * ENTRIES}")
    f = cache.cached(name="f")(lambda x: [x])
    for number in range(ENTRIES):
        f(number)
    marks = cache._tier.marks("f")
    steps = cache._operations.invalidation.clear()
    next(steps)
    assert not all(mark.alive for mark in marks), "what is computed from before is refused from the first part on"
    f(ENTRIES)
    parts(steps)
    assert f.cache_info().currsize == 1
    assert f.peek(0) is MISSING
    assert f.peek(ENTRIES) == [ENTRIES]


def test_cache_clear_leaves_the_siblings_of_its_name_alone() -> None:
    """In the process, functions of one name that captured different values are cleared one by one, with their figures
    and what functions that are gone have counted."""
    cache = Cache("memory://")

    def made(number: int) -> Any:
        @cache.cached
        def sibling(x: int) -> int:
            return number + x

        return sibling

    one, other, gone = made(1), made(2), made(3)
    for f in (one, other, gone):
        assert f(1) == f(1)
    gone.invalidate_all()
    del gone, f
    gc.collect()
    assert other(1) == other(1)
    cache._tier.sweep()
    assert one.stats().hits == 4
    one.cache_clear()
    assert one.cache_info()[:2] == (0, 0)
    assert other.cache_info()[:2] == (2, 2)
    assert one.stats().hits == 2
    assert other(1) == 3
    assert other.cache_info().hits == 3
    other.invalidate_all()
    assert (other.peek(1), one.peek(1)) == (MISSING, MISSING)
