"""Observers are told what happened, with the right fields, on every path; and what they do harms nobody."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from memocache import Cache, UncacheableWarning, disabled
from memocache import instrumentation as events
from memocache.backends.memory import MemoryBackend
from memocache.instrumentation.logging import LoggingObserver
from tests.promises.behaviour.world import World
from tests.promises.flight.support import Slow, assert_quiet, join, start, until

SECRET = "s3cr3t-argument"


class Watch:
    """An observer that keeps what it was told of calls and entries, computations and questions apart from that."""

    def __init__(self) -> None:
        self.seen: list[events.Event] = []
        self.computed: list[events.Computed] = []
        self.asked: list[events.Asked] = []

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, events.Computed):
            self.computed.append(event)
        elif isinstance(event, events.Asked):
            self.asked.append(event)
        else:
            self.seen.append(event)

    def take(self) -> list[events.Event]:
        seen, self.seen = self.seen, []
        return sorted(seen, key=lambda event: type(event).__name__)

    def calls(self) -> tuple[int, int]:
        """Hits and misses that it was told of."""
        kinds = Counter(type(event) for event in self.seen)
        return kinds[events.Hit] + kinds[events.StaleHit], kinds[events.Miss]


def watched(world: World, **options: Any) -> tuple[Cache, Watch]:
    watch = Watch()
    return world.new_cache(observers=[watch], **options), watch


def test_events_are_frozen() -> None:
    """An event cannot be changed by one observer for the next."""
    for event in (events.Hit("f"), events.Miss("f", True), events.Evicted(None, "size")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            event.function = "g"  # type: ignore[misc]  # that is the point


def test_a_miss_and_hits(world: World) -> None:
    """A miss is stored, with what it cost; what follows are hits."""
    cache, watch = watched(world)
    f = world.cached(lambda n: world.clock.advance(2) or [n], cache=cache, name="f")
    world.call(f, 1)
    assert watch.take() == [events.Miss("f", coalesced=False), events.Stored("f", 2.0)]
    world.call(f, 1)
    world.call(f, 1)
    assert watch.take() == [events.Hit("f")] * 2


def test_how_long_it_took(world: World) -> None:
    """Calls tell how long they took, computations how long they ran and whether they raised."""
    cache, watch = watched(world)

    def body(n: int) -> int:
        world.clock.advance(2)
        return 1 // n

    f = world.cached(body, cache=cache, name="f")
    world.call(f, 1)
    world.call(f, 1)
    with pytest.raises(ZeroDivisionError):
        world.call(f, 0)
    assert watch.computed == [events.Computed("f", 2.0, True), events.Computed("f", 2.0, False)]
    timed = [event for event in watch.seen if isinstance(event, events.Hit | events.Miss)]
    assert [type(event) for event in timed] == [events.Miss, events.Hit, events.Miss]
    assert all(event.seconds is not None and 0 < event.seconds < 60 for event in timed)


def test_plain_keys(world: World) -> None:
    """Plain keys are told of without a function."""
    cache, watch = watched(world)
    world.ask("set", "k", 1, cache=cache)
    world.ask("get", "k", cache=cache)
    world.ask("get", "nothing", cache=cache)
    world.ask("get_many", ["k", "nothing"], cache=cache)
    assert watch.take() == [events.Hit(None)] * 2 + [events.Miss(None)] * 2


def test_an_exception_is_a_miss(world: World) -> None:
    """A call that raised is a miss and nothing is stored; a remembered error is a hit."""
    cache, watch = watched(world)

    def body(n: int) -> None:
        raise LookupError

    f = world.cached(body, cache=cache, name="f")
    g = world.cached(body, cache=cache, name="g", errors=LookupError)
    for _ in range(2):
        for function in (f, g):
            with pytest.raises(LookupError):
                world.call(function, 1)
    counts = Counter((type(event).__name__, event.function) for event in watch.seen)
    assert counts == {("Miss", "f"): 2, ("Miss", "g"): 1, ("Stored", "g"): 1, ("Hit", "g"): 1}


@pytest.mark.parametrize("ok", [True, False])
def test_a_stale_hit_and_its_refresh(world: World, ok: bool) -> None:
    """A stale value served is told of, and how its background refresh ended."""
    cache, watch = watched(world)
    fail: list[int] = []

    def body(n: int) -> int:
        if fail:
            raise LookupError
        return n

    f = world.cached(body, cache=cache, name="f", ttl=10, stale=100)
    world.call(f, 1)
    watch.take()
    world.clock.advance(11)
    if not ok:
        fail.append(1)
    world.call(f, 1)
    until(lambda: any(isinstance(event, events.Refreshed) for event in watch.seen) or world.run(_let_run()))
    stored = [events.Stored("f", 0.0)] if ok else []
    assert watch.take() == [events.Refreshed("f", ok), events.StaleHit("f"), *stored]


async def _let_run() -> None:
    """Let the loop of an async world run for a moment."""
    await asyncio.sleep(0.001)


def test_followers() -> None:
    """Those who shared a computation are told as coalesced misses; it was stored once."""
    watch, slow = Watch(), Slow()
    cache = Cache(observers=[watch])

    @cache.cached(name="f")
    def f(n: int) -> int:
        return slow()

    callers = [start(lambda: f(1)) for _ in range(4)]
    until(lambda: f.stats().coalesced == 3)
    slow.go.set()
    join(*(thread for thread, _ in callers))
    kinds = Counter((type(event).__name__, getattr(event, "coalesced", None)) for event in watch.seen)
    assert kinds == {("Miss", False): 1, ("Miss", True): 3, ("Stored", None): 1}


def test_rejected_by_condition(world: World) -> None:
    """A result that `condition` keeps out."""
    cache, watch = watched(world)
    f = world.cached(lambda n: [n], cache=cache, name="f", condition=lambda result: False)
    world.call(f, 1)
    assert watch.take() == [events.Miss("f"), events.Rejected("f", "condition")]


@pytest.mark.filterwarnings("ignore::memocache.UncacheableWarning")
def test_rejected_by_the_codec(shared: World) -> None:
    """A result that cannot be encoded, and one that is too large, each time."""
    cache, watch = watched(shared, max_value_bytes=100)
    f = shared.cached(lambda n: object() if n == 1 else "x" * 200, cache=cache, name="f")
    for n in (1, 2):
        shared.call(f, n)
    assert watch.take() == [
        events.Miss("f"),
        events.Miss("f"),
        events.Rejected("f", "unencodable"),
        events.Rejected("f", "too large"),
    ]


def test_rejected_by_an_error_that_cannot_be_remembered(world: World) -> None:
    """An exception named by `errors=` whose arguments cannot be encoded."""
    cache, watch = watched(world)

    def body(n: int) -> None:
        raise LookupError(object())

    f = world.cached(body, cache=cache, name="f", errors=LookupError)
    with pytest.raises(LookupError), pytest.warns(UncacheableWarning):
        world.call(f, 1)
    assert watch.take() == [events.Miss("f"), events.Rejected("f", "unencodable")]


@pytest.mark.filterwarnings("ignore::memocache.DuplicateNameWarning")  # the other function of this name is meant
@pytest.mark.parametrize("way", ["args", "function", "tag", "clear"])
def test_rejected_because_invalidated(world: World, way: str) -> None:
    """What was invalidated while it was computed is not stored, and said to be so."""
    cache, watch = watched(world)
    other = world.new_cache() if world.shared else cache

    def body(n: int) -> list[int]:
        if way == "args":
            target = cache if cache is other else other
            sync = target.cached(name="f", tags=("t",))(lambda n: [n])
            sync.invalidate(1)
        elif way == "clear":
            other.clear()
        else:
            other.invalidate(**({"tag": "t"} if way == "tag" else {"function": "f"}))
        return [n]

    f = world.cached(body, cache=cache, name="f", tags=("t",))
    world.call(f, 1)
    assert watch.take() == [events.Miss("f"), events.Rejected("f", "invalidated")]


def test_evicted(local: World) -> None:
    """What left the process, and why: for others, or because its time had come."""
    cache, watch = watched(local)
    f = local.cached(lambda n: [n], cache=cache, name="f", ttl=10, maxsize=2)
    for n in range(4):
        local.call(f, n)
    local.clock.advance(10)
    local.ask("purge", cache=cache)
    local.ask("set", "k", 1, ttl=1, cache=cache)
    local.clock.advance(1)
    local.ask("purge", cache=cache)
    gone = [event for event in watch.seen if isinstance(event, events.Evicted)]
    expected = (
        [events.Evicted("f", "size")] * 2 + [events.Evicted("f", "expired")] * 2 + [events.Evicted(None, "expired")]
    )
    assert gone == expected


class Broken(MemoryBackend):
    """Fails in the operations named in `failing`."""

    failing: tuple[str, ...] = ()

    def read(self, keys: Sequence[str], **options: Any) -> list[bytes | None]:
        if "read" in self.failing:
            raise OSError(SECRET)
        return super().read(keys, **options)

    def transact(self, *args: Any, **options: Any) -> list[bytes | None] | None:
        if "transact" in self.failing:
            raise TimeoutError(SECRET)
        return super().transact(*args, **options)


@pytest.mark.parametrize(("operation", "error"), [("read", "OSError"), ("transact", "TimeoutError")])
def test_a_backend_fault(operation: str, error: str) -> None:
    """A failed request is told by its operation and the class of the error; the call is a miss all the same."""
    watch, backend = Watch(), Broken()
    backend.failing = (operation,)
    f = Cache(backend, observers=[watch]).cached(name="f")(lambda n: [n])
    assert f(SECRET) == [SECRET]
    seen = watch.take()
    cause = {"OSError": "OSError", "TimeoutError": "no answer in time"}[error]
    assert events.BackendFault(None, operation, error, cause) in seen
    assert [event for event in seen if not isinstance(event, events.BackendFault)] == [events.Miss("f")]


def test_events_and_counters_agree(world: World) -> None:
    """Whatever a call goes through, it is told of once: as many hits and misses are told of as are counted."""
    cache, watch = watched(world)
    fail: list[int] = []

    def body(n: int) -> Any:
        if n < 0 or fail:
            raise LookupError
        return n

    f = world.cached(body, cache=cache, name="f", ttl=10, stale_if_error=1000, errors=ValueError)
    load = _loader(world, cache)
    for n in (1, 1, 2, 1):
        world.call(f, n)
    with pytest.raises(LookupError):
        world.call(f, -1)
    world.call(f.map, [1, 2, 3, 3, 4])
    world.call(load, [1, 2, 3])
    world.call(load, [2, 3, 4])
    world.call(f.refresh, 1)
    world.call(f.put, 7, 9)
    world.call(f.peek, 9)
    with disabled():
        world.call(f, 1)
    world.clock.advance(20)
    fail.append(1)
    assert [world.call(f, n) for n in (1, 2, 9)] == [1, 2, 7]
    world.call(load, [1, 2, 9])
    stats = world.ask("stats", cache=cache)
    assert watch.calls() == (stats.hits, stats.misses)
    assert stats.functions["f"].stale_hits == 3
    assert stats.functions["f"].hits + stats.functions["f"].misses == 4 + 1 + 5 + 3
    assert stats.functions["load"].hits + stats.functions["load"].misses == 9


def _loader(world: World, cache: Cache) -> Any:
    def load(ids: list[int]) -> dict[int, int]:
        return {n: n for n in ids}

    async def aload(ids: list[int]) -> dict[int, int]:
        return {n: n for n in ids}

    return cache.cached_many(name="load", ttl=10)(aload if world.is_async else load)


def test_a_slow_value_served_past_its_soft_timeout_is_one_stale_hit() -> None:
    """A caller whose patience ended is told of once, as a stale hit; the computation it did not wait for is stored."""
    from memocache.testing import FakeClock

    watch, slow, clock = Watch(), Slow(), FakeClock()
    cache = Cache(observers=[watch], clock=clock)

    @cache.cached(name="f", ttl=10, stale_if_error=100, soft_timeout=0.01)
    def f(n: int) -> int:
        return slow()

    slow.go.set()
    assert f(1) == 1
    watch.take()
    slow.go.clear()
    clock.advance(20)
    assert f(1) == 1
    assert watch.take() == [events.StaleHit("f")]
    assert watch.calls() == (0, 0)
    slow.go.set()
    assert_quiet(cache)
    assert watch.take() == [events.Stored("f", 0.0)]
    stats = f.stats()
    assert (stats.hits, stats.misses, stats.stale_hits) == (1, 1, 1)


def test_an_observer_that_raises_harms_nobody(world: World) -> None:
    """Calls return, values are stored, and the other observers hear of everything."""
    watch = Watch()

    def bad(event: events.Event) -> None:
        raise RuntimeError(SECRET)

    cache = world.new_cache(observers=[bad, watch, bad])
    f = world.cached(lambda n: [n], cache=cache, name="f", ttl=10, maxsize=1)
    assert [world.call(f, n) for n in (1, 1, 2)] == [[1], [1], [2]]
    assert watch.calls() == (1, 2)
    assert f.cache_info()[:2] == (1, 2)


def test_nobody_told_nothing_made() -> None:
    """Without observers no event is made."""
    cache = Cache(MemoryBackend())
    assert cache._engine.emit is None
    assert cache._tier.on_evict is None


def test_the_logging_observer(caplog: pytest.LogCaptureFixture) -> None:
    """Every kind of event is one line with the function and its figures; faults are warnings; no argument, no value."""
    backend = Broken()
    cache = Cache(backend, observers=[LoggingObserver()], max_value_bytes=1000)
    f = cache.cached(name="shop.f", ttl=10, condition=lambda value: len(value) < 1000)(lambda x: x)
    with caplog.at_level(logging.DEBUG, "memocache"):
        for _ in range(2):
            f(SECRET)
        f(SECRET * 100)
        cache.set(SECRET, SECRET)
        cache.get(SECRET)
        backend.failing = ("read",)
        f(SECRET)
    records = [record for record in caplog.records if record.name == "memocache"]
    ours = [record for record in records if not record.getMessage().startswith("Asked")]
    asked = {re.sub(r"\d\.\d{6}", "T", record.getMessage()) for record in records if record not in ours}
    assert asked == {
        "Asked - kind=get seconds=T",
        "Asked - kind=set seconds=T",
        "Asked - kind=get seconds=T error=OSError",
    }
    lines = [record.getMessage() for record in ours]
    assert [re.sub(r"\d\.\d{6}$", "T", line) for line in lines[1:4]] == [
        "Stored shop.f compute_seconds=T",
        "Miss shop.f coalesced=False seconds=T",
        "Hit shop.f seconds=T",
    ]
    assert re.fullmatch(r"Computed shop\.f seconds=\d\.\d{6} ok=True", lines[0])
    assert "Rejected shop.f cause=condition" in lines
    assert "Hit -" in lines
    assert "BackendFault - operation=read error=OSError cause=OSError" in lines
    assert {record.levelno for record in ours if "BackendFault" in record.getMessage()} == {logging.WARNING}
    assert {r.levelno for r in ours if not r.getMessage().startswith(("BackendFault", "memocache:"))} == {logging.DEBUG}
    assert SECRET not in "".join(caplog.text)
    backend.failing = ()
    cache.close()


def test_the_logging_observer_says_nothing_below_its_level(caplog: pytest.LogCaptureFixture) -> None:
    """A logger and a level of one's own are respected."""
    logger = logging.getLogger("shop.cache")
    cache = Cache(observers=[LoggingObserver(logger, logging.INFO)])
    f = cache.cached(name="f")(lambda x: x)
    with caplog.at_level(logging.WARNING, "shop.cache"):
        f(1)
    assert not [one for one in caplog.records if one.name == "shop.cache"]  # caches of other tests log too
    with caplog.at_level(logging.INFO, "shop.cache"):
        f(1)
    (record,) = [one for one in caplog.records if one.name == "shop.cache"]
    assert (record.name, record.levelno) == ("shop.cache", logging.INFO)
    assert record.getMessage().startswith("Hit f ")
