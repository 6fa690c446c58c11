"""Copies in the process: who has them, what counts on them, how they go."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from memocache import Cache
from memocache._calls import engine as _engine
from memocache._calls.engine import Engine
from memocache._stores.layered import near_cache as _near
from memocache._stores.layered.near_cache import TRUST_SECONDS, Copies, NearTier
from memocache._stores.remote.store import SharedStore
from memocache.backends.memory import MemoryBackend
from memocache.testing import FakeClock
from memocache.typing import Clock, Put
from tests.promises.near.support import BOUND, held


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


@pytest.fixture
def make(clock: FakeClock) -> Iterator[Callable[..., Cache]]:
    """Makes caches of one backend in the process, which tells nobody of changes: copies live for the trust window."""
    backend = MemoryBackend(clock.monotonic)
    caches: list[Cache] = []

    def make(**options: Any) -> Cache:
        caches.append(Cache(backend, **{"clock": clock, "local": 100, **options}))
        return caches[-1]

    yield make
    for cache in caches:
        cache.close()


def reads(cache: Cache) -> Callable[[], int]:
    """How many look-ups a cache has asked its backend for since the last time."""
    backend: Any = cache._guard.backend  # type: ignore[union-attr]  # it has one
    count, read = [0], backend.read

    def counting(*args: Any, **kwargs: Any) -> Any:
        count[0] += 1
        return read(*args, **kwargs)

    backend.read = counting

    def since() -> int:
        now, count[0] = count[0], 0
        return now

    return since


@pytest.mark.parametrize("secret", [None, "s"])
def test_a_hit_on_a_copy_asks_nobody(make: Callable[..., Cache], secret: str | None) -> None:
    """The second hit is served from the process, by a call, by `get`, by `map` and by `peek`."""
    cache = make(secret=secret)

    @cache.cached
    def f(x: int) -> int:
        return -x

    asked = reads(cache)
    cache.set("k", 1)
    assert [f(1), f(1), cache.get("k")] == [-1, -1, 1]
    asked()
    assert [f(1), f.map([1, 1]), f.peek(1), cache.get("k")] == [-1, [-1, -1], -1, 1]
    assert asked() == 0
    assert f.stats().hits == 4
    f.map([2, 3])
    f.map([2, 3])
    asked()
    assert f.map([2, 3]) == [-2, -3]
    assert asked() == 0


@pytest.mark.parametrize(
    "settings",
    [{}, {"tags": ["t", "x:{x}"]}, {"early": 1.0}, {"stale": 60}, {"maxsize": 5}, {"key": "{x}"}, {"share": True}],
    ids=lambda settings: next(iter(settings), "plain"),
)
@pytest.mark.parametrize(
    "options", [{}, {"secret": "s"}, {"observers": [lambda event: None]}], ids=["", "secret", "observed"]
)
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_every_kind_of_function_has_copies(
    make: Callable[..., Cache], settings: dict[str, Any], options: dict[str, Any], colour: str
) -> None:
    """Whatever the options, a third call needs no backend, and counts as a hit."""
    cache = make(**options)

    if colour == "async":

        @cache.cached(**settings)
        async def later(x: int) -> list[int]:
            return [x]

        def call() -> Any:
            return asyncio.run(later(1))

        function: Any = later
    else:

        @cache.cached(**settings)
        def f(x: int) -> list[int]:
            return [x]

        function, call = f, lambda: f(1)

    asked = reads(cache)
    call()
    call()
    asked()
    assert call() == [1]
    assert asked() == 0
    assert (function.stats().hits, function.stats().misses) == (2, 1)
    call().append(2)
    assert call() == [1], "a caller's change is its own"


def test_hits_on_copies_with_tags_are_as_fast(make: Callable[..., Cache], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after a tag was invalidated somewhere, the compiled look-up serves them without the engine."""
    cache = make()
    f = cache.cached(name="f", tags=["x:{x}"])(lambda x: x)
    near = cache._near
    assert near is not None
    near.invalidate_tag("some other tag's marker")
    for _ in range(3):
        f(1)
    monkeypatch.setattr(SharedStore, "look_now", None)
    monkeypatch.setattr(Engine, "call", None)
    assert f(1) == 1


def test_an_early_refresh_begins_from_a_copy(
    make: Callable[..., Cache], clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hit on a copy may find that it is time to compute anew: then it is, and copies of other calls stay."""
    cache = make()
    values = iter(range(100))
    luck = [0.0]
    monkeypatch.setattr(_engine, "random", SimpleNamespace(random=lambda: luck[0]))

    def compute(x: int) -> int:
        clock.advance(0.01)
        return next(values)

    f: Any = cache.cached(name="f", ttl=10, early=1000)(compute)
    assert [f(1), f(2), f(1), f(2)] == [0, 1, 0, 1]
    assert held(f) == 2
    luck[0] = 0.999
    assert f(1) == 0
    luck[0] = 0.0
    deadline = time.monotonic() + BOUND
    while f(1) == 0:
        assert time.monotonic() < deadline, "no refresh stored anything"
    asked = reads(cache)
    assert f(2) == 1
    f.refresh(1)
    asked()
    assert f(2) == 1
    assert asked() == 0


@pytest.mark.parametrize("local", [100, 0])
def test_what_any_cache_of_the_process_writes_is_seen_at_once(make: Callable[..., Cache], local: int) -> None:
    """Put, refresh, set, expire, delete and every invalidation, by another cache here, with copies or without."""
    values = iter(range(1000))
    ours, theirs = make(), make(local=local)
    f = ours.cached(name="f", tags=["t"])(lambda x: next(values))
    g = theirs.cached(name="f", tags=["t"])(f.__wrapped__)
    assert g.key_for(1) == f.key_for(1)
    for change in (
        lambda: g.put(next(values), 1),
        lambda: g.refresh(1),
        lambda: g.invalidate(1),
        lambda: g.invalidate_all(),
        lambda: g.cache_clear(),
        lambda: theirs.invalidate("f"),
        lambda: theirs.invalidate("?"),
        lambda: theirs.invalidate(tag="t"),
        lambda: theirs.clear(),
        lambda: asyncio.run(theirs.aio.invalidate(tag="t")),
    ):
        f(1)
        before = f(1)
        assert held(f) == 1
        change()
        assert f(1) > before
    for step, expected in (
        (lambda: theirs.set("k", 2), 2),
        (lambda: theirs.set_many({"k": 3}), 3),
        (lambda: theirs.expire("k", 5), 1),
        (lambda: theirs.delete("k"), None),
        (lambda: theirs.delete_many(["k"]), None),
    ):
        ours.set("k", 1)
        ours.get("k")
        assert ours.get("k") == 1
        step()
        assert ours.get("k") == expected


def test_copies_die_with_their_entries(make: Callable[..., Cache], clock: FakeClock) -> None:
    """A copy is not fresh for longer than the entry, nor is it stale."""
    cache = make()
    values = iter(range(100))
    f = cache.cached(name="f", ttl=0.5, stale=60)(lambda: next(values))
    clock.advance(100.0)
    assert [f(), f(), f()] == [0, 0, 0]
    clock.advance(0.5)
    assert f() == 0, "stale, from the backend"
    assert f.stats().stale_hits == 1
    cache.set("k", 1, ttl=0.5)
    assert [cache.get("k"), cache.get("k")] == [1, 1]
    clock.advance(0.5)
    assert cache.get("k") is None


def test_untold_copies_are_believed_from_their_reading(make: Callable[..., Cache], clock: FakeClock) -> None:
    """Where nobody tells, a copy serves for the trust window after it was asked for; then the backend is asked."""
    cache = make()
    f = cache.cached(name="f", ttl=None)(lambda x: x)
    f(1)
    f(1)
    asked = reads(cache)
    backend: Any = cache._guard.backend  # type: ignore[union-attr]  # it has one
    clock.advance(TRUST_SECONDS - 0.001)
    f(1)
    assert asked() == 0
    backend.transact([], [Put(f.key_for(1), b"noise", None)])  # by somebody that nobody hears
    clock.advance(0.002)
    f(1)
    assert asked() > 0


def test_a_slow_reader_keeps_no_more_than_is_left(clock: FakeClock) -> None:
    """What took time between the question and the keeping is not added to a copy's life."""
    near = NearTier(10, clock, [])
    near.refused()
    table = near.table("f", 1)
    expected = near.expect("f", [], "e:1")
    assert expected is not None
    clock.advance(0.6)
    near.keep(expected, table, 1, "value", None, ttl=100.0, compute=0.0)
    assert Copies(near, table)[1] is not None
    clock.advance(0.31)
    assert table.entries[1].fresh_until <= clock.monotonic()
    expected = near.expect("f", [], "e:1")
    assert expected is not None
    clock.advance(0.91)
    near.keep(expected, table, 1, "value", None, ttl=100.0, compute=0.0)
    assert not table.entries


def test_a_clock_set_back_prolongs_no_copy(clock: FakeClock) -> None:
    """A wall clock that is set back by seconds leaves copies their true life; one set back by a day is right now."""
    wall = [0.0]
    near = NearTier(
        10, cast(Clock, SimpleNamespace(monotonic=clock.monotonic, time=lambda: clock.time() + wall[0])), []
    )
    near.heard(time.monotonic() + 1e6)
    table = near.table("f", 1)

    def kept(ttl: float) -> float:
        """How long a copy is kept whose entry has so much left by the wall clock."""
        expected = near.expect("f", [], "e:1")
        assert expected is not None
        near.keep(expected, table, 1, "value", None, ttl=ttl, compute=0.0)
        return table.entries[1].fresh_until - clock.monotonic()

    assert kept(60.0) == pytest.approx(60.0)
    wall[0] -= 8.0
    assert kept(68.0) == pytest.approx(60.0)
    assert kept(30.0) == pytest.approx(22.0)
    wall[0] += 8.0
    assert kept(60.0) == pytest.approx(60.0)
    wall[0] -= 86_400.0
    assert kept(60.0) == pytest.approx(60.0)


@pytest.mark.parametrize("stop", [0, 1])
def test_a_thread_held_up_believes_less(clock: FakeClock, monkeypatch: pytest.MonkeyPatch, stop: int) -> None:
    """A stop between an answer's arrival and its being told of takes from the trust window, and adds nothing to it."""
    reads = iter(range(2))

    def monotonic() -> float:
        if next(reads, None) == stop:
            clock.advance(5.0)  # the process stands still before it reads a clock, the first or the second one
        return clock.monotonic()

    near = NearTier(10, cast(Clock, SimpleNamespace(monotonic=monotonic, time=clock.time)), [])
    monkeypatch.setattr(_near, "time", SimpleNamespace(monotonic=monotonic))
    near.heard(clock.monotonic())
    assert not near.trusted()
    near.heard(clock.monotonic())
    assert near.trusted()
    clock.advance(TRUST_SECONDS)
    assert not near.trusted()
    near.heard(clock.monotonic())
    near.heard(float("-inf"))
    assert not near.trusted()


def test_every_hit_is_reported_once(make: Callable[..., Cache], clock: FakeClock) -> None:
    """Hits on copies that are there, evicted, changed, invalidated or cleared are in `access_count`, exactly."""
    cache = make(local=3)
    f = cache.cached(name="f", ttl=None, tags=["t"])(lambda x: -x)
    wanted: dict[int, int] = {}

    def call(x: int, times: int) -> None:
        for _ in range(times):
            f(x)
        wanted[x] = wanted.get(x, -1) + times  # the first computes

    def counted() -> dict[int, int]:
        infos = {x: cache.inspect(f.key_for(x)) for x in wanted}
        return {x: info.access_count for x, info in infos.items() if info is not None}

    call(1, 5)
    assert counted() == wanted
    for x in range(2, 9):
        call(x, 3)
    assert cache._near is not None
    assert sum(len(table.entries) for table in cache._near.tables()) == 3
    assert counted() == wanted
    call(1, 4)
    cache._near.changed([f.key_for(1)])
    call(2, 4)
    cache._near.changed(None)
    call(1, 4)
    assert counted() == wanted
    assert counted() == wanted
    assert f.stats().hits == sum(wanted.values())


def test_copies_of_a_function_that_had_none_for_a_while_are_not_forgotten(make: Callable[..., Cache]) -> None:
    """A loss of the channel empties also the tables that were empty when expired copies were swept."""
    cache = make(local=1000)
    f = cache.cached(name="f", ttl=None)(lambda x: x)
    g = cache.cached(name="g", ttl=None)(lambda x: x)
    near = cache._near
    assert near is not None
    for _ in range(2):
        f(0)
    near.changed(None)
    for x in range(300):
        for _ in range(2):
            g(x)
    near.sweep()
    for _ in range(2):
        f(0)
    assert held(f) == 1
    near.changed(None)
    assert held(f) == 0
    assert all(not table.entries for table in near.tables())


def test_a_function_never_has_the_copies_of_one_that_is_gone(make: Callable[..., Cache]) -> None:
    """Functions that come and go under one name have their own copies, wherever their tables lie in memory."""
    cache = make(local=1000)

    def closure(factor: int) -> Any:
        @cache.cached(ttl=None)
        def f(x: int) -> int:
            return factor * x

        return f

    for factor in range(6):
        f = closure(factor)
        assert [f(3), f(3), f(3)] == [3 * factor] * 3
        del f
        gc.collect()
        cache._tier.sweep()


def test_an_evicted_copy_goes_without_the_collector(clock: FakeClock) -> None:
    """Nothing refers to what was evicted or changed: no cycle keeps it until a collection."""

    class Value:
        """Something that can be referred to weakly."""

    near = NearTier(1, clock, [])
    near.refused()
    table = near.table("f", 1)
    table.users.add(near)
    gc.disable()
    try:
        gone = []
        for number in range(3):
            expected = near.expect("f", ["g:f"], f"e:{number}")
            assert expected is not None
            value = Value()
            gone.append(weakref.ref(value))
            near.keep(expected, table, number, value, None, ttl=10.0, compute=0.0)
            del value, expected
        assert [ref() is None for ref in gone] == [True, True, False]
        assert len(near.all_marks._tags) == 2, "the marker's, and the place of the copy that is left"
    finally:
        gc.enable()


def test_closing_forgets_and_use_begins_anew(make: Callable[..., Cache]) -> None:
    """After `close` there are no copies; the next calls make some."""
    cache = make()
    f = cache.cached(name="f", ttl=None)(lambda x: x)
    for _ in range(2):
        f(1)
    assert held(f) == 1
    cache.close()
    assert held(f) == 0
    for _ in range(2):
        f(1)
    assert held(f) == 1


def test_disabled_calls_touch_no_copies(make: Callable[..., Cache]) -> None:
    """With caching disabled the function runs, whatever copies there are."""
    cache = make()
    values = iter(range(10))
    f = cache.cached(name="f", ttl=None)(lambda: next(values))
    assert [f(), f(), f()] == [0, 0, 0]
    with cache.disabled():
        assert f() == 1
    assert f() == 0


def test_a_backend_whose_watch_fails_is_one_that_cannot_tell(make: Callable[..., Cache]) -> None:
    """A third party's exception, or no such method at all, is nothing that a call hears of."""
    cache = make()
    backend: Any = cache._guard.backend  # type: ignore[union-attr]  # it has one

    def watch(*args: Any) -> None:
        raise OSError("no")

    backend.watch = watch
    f = cache.cached(name="f", ttl=None)(lambda x: x)
    assert [f(1), f(1)] == [1, 1]
    assert held(f) == 1


def test_a_mark_of_both_spellings_of_a_key_leaves_no_copy_behind(clock: FakeClock) -> None:
    """An entry that is kept under two keys of the process has one copy: what changes it finds it."""
    near = NearTier(10, clock, [])
    near.refused()
    table = near.table("f", 1)
    for key in ("one", "other"):
        expected = near.expect("f", [], "e:1")
        assert expected is not None
        near.keep(expected, table, key, "value", None, ttl=10.0, compute=0.0)
    assert list(table.entries) == ["other"]
    near.changed(["e:1"])
    assert not table.entries


def test_any_clock_will_do(make: Callable[..., Cache], clock: FakeClock) -> None:
    """A plain callable as the cache's clock measures also what copies are believed for."""
    cache = make(clock=clock.time)
    numbers = iter(range(10))
    f = cache.cached(name="f", ttl=0.5)(lambda: next(numbers))
    assert [f(), f(), f()] == [0, 0, 0]
    assert held(f) == 1
    clock.advance(0.5)
    assert f() == 1


def test_threads_share_copies(make: Callable[..., Cache]) -> None:
    """Calls, evictions, invalidations and messages from many threads at once: every answer is right."""
    cache = make(local=8, clock=None)
    f = cache.cached(name="f", ttl=None, tags=["x:{x}"])(lambda x: [x])
    near = cache._near
    assert near is not None
    wrong: list[Any] = []
    calls = 400

    def work(number: int) -> None:
        try:
            for step in range(calls):
                x = (step * 7 + number) % 16
                if f(x) != [x]:
                    wrong.append(x)
                if step % 20 == number:
                    near.changed([f.key_for(x)])
                elif step % 50 == number:
                    cache.invalidate(tag=f"x:{x}")
                elif step % 100 == number:
                    near.changed(None)
        except BaseException as error:
            wrong.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert wrong == []
    assert sum(hits for _, hits, _ in near.report()) <= f.stats().hits
    assert sum(len(table.entries) for table in near.tables()) <= 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_starts_with_nothing_and_reports_nothing_of_its_parents(make: Callable[..., Cache]) -> None:
    """After a fork the child has no copies and no hits of its parent's; the parent keeps its own."""
    cache = make()
    f = cache.cached(name="f", ttl=None)(lambda x: x)
    for _ in range(5):
        f(1)
    near = cache._near
    assert near is not None
    child = os.fork()
    if child == 0:
        fine = held(f) == 0 and near.report() == [] and not near._watching and f(1) == 1
        os._exit(0 if fine else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert held(f) == 1
    info = cache.inspect(f.key_for(1))
    assert info is not None
    assert info.access_count == 4  # whether they were flushed meanwhile or not
