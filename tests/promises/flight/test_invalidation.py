"""A call that begins after an invalidation never sees what was computed from before it."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from memocache import Cache, UnsharedWarning
from memocache.backends.memory import MemoryBackend
from tests.promises.flight.support import Slow, assert_quiet, auntil, join, start, until

WAYS: dict[str, Callable[[Cache, Any], Any]] = {
    "call": lambda cache, f: f.invalidate(1),
    "function": lambda cache, f: cache.invalidate(f),
    "name": lambda cache, f: cache.invalidate("shop.f"),
    "glob": lambda cache, f: cache.invalidate("shop.*"),
    "cache_clear": lambda cache, f: f.cache_clear(),
    "tag": lambda cache, f: cache.invalidate(tag="t:1"),
    "clear": lambda cache, f: cache.clear(),
}


def _decorate(cache: Cache, slow: Slow, how: str) -> Any:
    settings: dict[str, Any] = {"condition": lambda value: False} if how == "uncacheable" else {}

    @cache.cached(name="shop.f", tags=("t:{n}",), **settings)
    def f(n: int) -> int:
        serial = slow()
        if how == "raising":
            raise LookupError(serial)
        return serial

    return f


def _serial(results: list[Any]) -> int:
    (result,) = results
    return result.args[0] if isinstance(result, LookupError) else result


@pytest.mark.parametrize("how", ["stored", "raising", "uncacheable"])
@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
@pytest.mark.parametrize("way", WAYS)
def test_a_later_call_takes_nothing_from_before(
    make_cache: Callable[..., Cache], way: str, elsewhere: bool, how: str
) -> None:
    """Invalidated while it computes, a flight gives its outcome to no later call, and it does not store."""
    if elsewhere and make_cache.kind == "memory":  # type: ignore[attr-defined]  # set by the fixture
        pytest.skip("nobody else shares it")
    cache = make_cache()
    other = make_cache() if elsewhere else cache
    slow = Slow()
    f = _decorate(cache, slow, how)
    g = _decorate(other, slow, how) if elsewhere else f
    leader, led = start(lambda: f(1))
    slow.wait_entered()
    counted = f.stats().coalesced
    WAYS[way](other, g)
    if way == "cache_clear":
        counted = f.stats().coalesced
    later, took = start(lambda: f(1))
    until(lambda: slow.calls == 2 or f.stats().coalesced > counted)
    slow.go.set()
    join(leader, later)
    assert _serial(led) == 1
    assert _serial(took) == 2
    if how == "stored":
        assert f(1) == 2
        assert g(1) == 2
    assert_quiet(cache)


@pytest.mark.parametrize("way", WAYS)
def test_a_later_task_takes_nothing_from_before(cache: Cache, way: str) -> None:
    """The same among tasks."""
    slow = Slow()

    @cache.cached(name="shop.f", tags=("t:{n}",))
    async def f(n: int) -> int:
        return await slow.awaited()

    class Awaitable:  # the ways are written for the blocking colour; the cache's own methods have their awaitable twins
        def __getattr__(self, name: str) -> Any:
            return getattr(cache.aio, name)

    async def main() -> None:
        leader = asyncio.create_task(f(1))
        await auntil(slow.entered.is_set)
        await WAYS[way](Awaitable(), f)  # type: ignore[arg-type]  # see above
        later = asyncio.create_task(f(1))
        await auntil(lambda: slow.calls == 2 or f.stats().coalesced)
        slow.go.set()
        assert await leader == 1
        assert await later == 2
        assert await f(1) == 2
        await cache.aio.close()

    asyncio.run(main())
    assert_quiet(cache)


@pytest.mark.parametrize("way", ["name", "clear"])
def test_unshared_entries_obey_invalidations_from_elsewhere(make_cache: Callable[..., Cache], way: str) -> None:
    """A function whose entries stay in the process hears of an invalidation elsewhere, also while it computes."""
    if make_cache.kind == "memory":  # type: ignore[attr-defined]  # set by the fixture
        pytest.skip("nobody else shares it")
    cache, other = make_cache(), make_cache()
    slow, connection = Slow(), object()

    def f(n: int) -> int:
        assert connection is not None
        return slow()

    f.__module__, f.__qualname__ = "shop", "f"
    g = cache.cached(f)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnsharedWarning)
        leader, led = start(lambda: g(1))
        slow.wait_entered()
    assert g.stats().name == "shop.f"
    WAYS[way](other, g)
    later, took = start(lambda: g(1))
    until(lambda: slow.calls == 2 or g.stats().coalesced)
    slow.go.set()
    join(leader, later)
    assert led == [1]
    assert took == [2]
    assert g(1) == 2


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
def test_a_put_beats_a_computation_under_way(make_cache: Callable[..., Cache], elsewhere: bool) -> None:
    """What was put while somebody computed stays; the computation gives its value to its own caller alone."""
    if elsewhere and make_cache.kind == "memory":  # type: ignore[attr-defined]  # set by the fixture
        pytest.skip("nobody else shares it")
    cache = make_cache()
    other = make_cache() if elsewhere else cache
    slow = Slow()
    f = _decorate(cache, slow, "stored")
    g = _decorate(other, slow, "stored") if elsewhere else f
    leader, led = start(lambda: f(1))
    slow.wait_entered()
    g.put(77, 1)
    assert f(1) == 77
    slow.go.set()
    join(leader)
    assert led == [1]
    assert f(1) == g(1) == 77
    assert_quiet(cache)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
def test_a_refresh_beats_a_computation_under_way(make_cache: Callable[..., Cache], elsewhere: bool) -> None:
    """A forced refresh neither waits for the computation it overtakes nor lets it store."""
    if elsewhere and make_cache.kind == "memory":  # type: ignore[attr-defined]  # set by the fixture
        pytest.skip("nobody else shares it")
    cache = make_cache()
    other = make_cache() if elsewhere else cache
    slow = Slow()
    f = _decorate(cache, slow, "stored")
    g = _decorate(other, slow, "stored") if elsewhere else f
    leader, led = start(lambda: f(1))
    slow.wait_entered()
    hold, slow.go = slow.go, threading.Event()  # the leader waits for the old event, the refresh for none
    slow.go.set()
    refreshed, got = start(lambda: g.refresh(1))
    join(refreshed)
    assert got == [2]
    hold.set()
    join(leader)
    assert led == [1]
    assert f(1) == g(1) == 2
    assert_quiet(cache)


class _Contended(MemoryBackend):
    """A backend on which, while `losing`, whoever begins to compute finds that others were quicker."""

    losing = False

    def transact(self, guards: Any, puts: Any = (), deletes: Any = (), **options: Any) -> Any:
        if self.losing and puts and not deletes:
            return [self._get(guard.key) for guard in guards]
        return super().transact(guards, puts, deletes, **options)


def test_a_computation_without_a_witness_is_its_callers_alone() -> None:
    """Where a computation could not be announced, nothing validates it for later calls."""
    backend = _Contended()
    cache, other = Cache(backend), Cache(backend)
    slow = Slow()
    f, g = _decorate(cache, slow, "stored"), _decorate(other, slow, "stored")
    slow.go.set()
    assert f(0) == 1
    slow.go.clear()
    slow.entered.clear()
    backend.losing = True
    leader, led = start(lambda: f(1))
    slow.wait_entered()
    backend.losing = False
    g.invalidate(1)
    later, took = start(lambda: f(1))
    until(lambda: f.stats().coalesced == 1)
    slow.go.set()
    join(leader, later)
    assert (led, took) == ([2], [3])
    assert_quiet(cache)


def test_a_look_up_in_the_middle_of_a_tag_invalidation_revives_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that is looked up while its tag is being invalidated is dead once the invalidation has returned."""
    cache = Cache()
    serials = iter(range(1, 9))

    @cache.cached(name="f", tags=("t",))
    def f(n: int) -> int:
        return next(serials)

    assert f(1) == 1
    tags = cache._tier.all_marks._tags

    class Meddler(type(tags)):  # type: ignore[misc]  # whatever it is
        def pop(self, *args: Any) -> Any:
            assert f(1) == 1  # another thread's call, before the invalidation has returned
            return super().pop(*args)

    cache._tier.all_marks._tags = Meddler(tags)
    cache.invalidate(tag="t")
    assert f(1) == 2
