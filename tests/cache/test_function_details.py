"""`Cache.details`: times, causes, settings and what entries have left are what happened, here and in the fleet."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from memocache import Cache, UncacheableWarning
from memocache.backends.memory import MemoryBackend
from memocache.exceptions import ConfigurationError
from memocache.stats import CAUSES, FunctionDetails
from memocache.testing import FailingBackend, FakeClock
from memocache.testing.servers import Server
from memocache.typing import Put, Tally
from tests.promises.behaviour.world import World
from tests.promises.flight.support import crowd
from tests.promises.statistics import conftest as fewer
from tests.promises.statistics.test_counters import CountingBackend, Worker

shared, world = fewer.shared, fewer.world  # fixtures of fewer kinds

SCOPES = ("process", "fleet")


def details(world: World, cache: Cache | None = None, scope: str = "process", **more: Any) -> FunctionDetails:
    """The details of `f`, whose causes add up to its misses and whose times to its calls."""
    found = world.ask("details", "f", scope, cache=cache, **more)
    assert isinstance(found, FunctionDetails)
    assert sum(found.causes.values()) == found.stats.misses == found.miss.total
    assert found.hit.total + found.untimed_hits == found.stats.hits
    return found


def causes(world: World, cache: Cache | None = None) -> dict[str, int]:
    """How often `f` missed for each cause, the same in both scopes."""
    found = [details(world, cache, scope).causes for scope in SCOPES]
    assert found[0] == found[1]
    assert tuple(found[0]) == CAUSES
    return {cause: count for cause, count in found[0].items() if count}


def drop(world: World, cache: Cache, key: str) -> None:
    """Take an entry away behind the cache's back, as a server does that is short of memory."""
    cache.backend.delete([key])  # type: ignore[union-attr]  # a shared one


# -- why misses happen


def test_cold_and_expired(world: World) -> None:
    """The first call of anything is cold; a call after its time has run out is expired."""
    f = world.cached(lambda n: n, name="f", ttl=10)
    for n in (1, 2, 1):
        world.call(f, n)
    assert causes(world) == {"cold": 2}
    world.clock.advance(11)
    world.call(f, 1)
    assert causes(world) == {"cold": 2, "expired": 1}


@pytest.mark.parametrize("how", ["call", "function", "tag", "clear", "key"])
def test_invalidated(world: World, how: str) -> None:
    """A call whose entry was forgotten, in whatever way, is invalidated."""
    f = world.cached(lambda n: n, name="f", tags="t:{n}")
    world.call(f, 1)
    if how == "call":
        world.call(f.invalidate, 1)
    elif how == "key":
        assert world.ask("delete", f.key_for(1))
    elif how == "clear":
        world.ask("clear")
    else:
        world.ask("invalidate", *(["f"] if how == "function" else []), **({"tag": "t:1"} if how == "tag" else {}))
    world.call(f, 1)
    world.call(f, 1)
    assert causes(world) == {"cold": 1, "invalidated": 1}


def test_invalidated_while_it_was_computed(world: World) -> None:
    """What could not be stored because it was invalidated meanwhile makes the next call one that is invalidated."""
    during: list[int] = []

    def f(n: int) -> int:
        if not during:
            during.append(1)
            world.cache.invalidate("f")
        return n

    f = world.cached(f, name="f")
    world.call(f, 1)
    world.call(f, 1)
    assert causes(world) == {"cold": 1, "invalidated": 1}


def test_evicted_in_the_process(local: World) -> None:
    """An entry that gave way to others is evicted; those are counted apart from what expired."""
    cache = Cache("memory://?maxsize=10", clock=local.clock)
    f = local.cached(lambda n: n, cache=cache, name="f")
    for n in range(30):
        local.call(f, n)
    local.call(f, 0)
    assert causes(local, cache) == {"cold": 30, "evicted": 1}


def test_evicted_on_a_backend(shared: World) -> None:
    """An entry that this process stored and that is gone within its time is evicted, after it expired."""
    f = shared.cached(lambda n: n, name="f", ttl=100)
    shared.call(f, 1)
    drop(shared, shared.cache, f.key_for(1))
    shared.call(f, 1)
    assert causes(shared) == {"cold": 1, "evicted": 1}
    drop(shared, shared.cache, f.key_for(1))
    shared.clock.advance(101)
    shared.call(f, 1)
    assert causes(shared) == {"cold": 1, "evicted": 1, "expired": 1}


def test_rejected(world: World) -> None:
    """A result that its condition refuses is not there the next time because it was rejected."""
    f = world.cached(lambda n: n, name="f", condition=lambda n: n > 1)
    for n in (1, 1, 2, 2):
        world.call(f, n)
    assert causes(world) == {"cold": 2, "rejected": 1}


def test_rejected_by_the_codec(shared: World) -> None:
    """So is one that the backend cannot hold, or that is too large for it."""
    cache = shared.new_cache(max_value_bytes=100)
    f = shared.cached(lambda n: object() if n else "x" * 200, cache=cache, name="f")
    with pytest.warns(UncacheableWarning):
        shared.call(f, 0)
    for n in (1, 0, 1):
        shared.call(f, n)
    assert causes(shared, cache) == {"cold": 2, "rejected": 2}


def test_failures_are_cold(world: World) -> None:
    """A call that raised left nothing behind: the next one is as cold as the first."""

    def f(n: int) -> int:
        raise LookupError

    f = world.cached(f, name="f")
    for _ in range(2):
        with pytest.raises(LookupError):
            world.call(f, 1)
    assert causes(world) == {"cold": 2}


def test_unreadable(shared: World) -> None:
    """Bytes that are no entry, or one that does not decode, are unreadable."""
    f = shared.cached(lambda n: [n], name="f")
    shared.call(f, 1)
    shared.write_raw(f.key_for(1), b"junk")
    shared.call(f, 1)
    raw = shared.read_raw(f.key_for(1))
    assert raw is not None
    # the payload of [1] in the clear: an array of one that ends early
    at = raw.rindex(b"\x91\x01")
    shared.write_raw(f.key_for(1), raw[:at] + b"\x92\x01" + raw[at + 2 :])
    shared.call(f, 1)
    assert causes(shared) == {"cold": 1, "unreadable": 2}


def test_unreachable(shared: World) -> None:
    """A call that could not ask the backend is unreachable, and none of what it would have been."""
    backend = FailingBackend(MemoryBackend(), operations=["read", "transact"])
    cache = Cache(backend, clock=shared.clock)
    f = shared.cached(lambda n: n, cache=cache, name="f")
    shared.call(f, 1)
    backend.active = False
    cache._guard.breaker.closed()  # type: ignore[union-attr]  # a shared backend has one
    shared.call(f, 1)
    assert causes(shared, cache) == {"unreachable": 1, "cold": 1}


def test_an_old_value_in_place_of_an_error_is_no_miss(world: World) -> None:
    """A call that got an old value after all is no miss, and has no cause of one; it is a timed hit."""
    fail: list[int] = []

    def f(n: int) -> int:
        if fail:
            raise LookupError
        return n

    f = world.cached(f, name="f", ttl=10, stale_if_error=100)
    world.call(f, 1)
    world.clock.advance(11)
    fail.append(1)
    assert world.call(f, 1) == 1
    assert causes(world) == {"cold": 1}
    found = details(world)
    assert (found.hit.total, found.compute.total) == (1, 2)


def test_loaders_say_why_for_each_id(world: World) -> None:
    """Each id that a loader is asked for has a cause; one run of the loader is one time, however many ids it had."""

    def load(ids: Sequence[int]) -> dict[int, int]:
        return {n: n for n in ids if n < 10}

    on = world.cache.cached_many(name="f", ttl=10)
    f = on(world.colourful(load))
    world.call(f, [1, 2, 99])
    world.clock.advance(11)
    world.call(f, [1, 99])
    found = [world.ask("details", "f", scope) for scope in SCOPES]
    for one in found:
        assert {cause: n for cause, n in one.causes.items() if n} == {"cold": 3, "expired": 1, "rejected": 1}
        assert (one.stats.misses, one.compute.total, one.miss.total) == (5, 2, 0)
        assert one.settings["cache_missing"] == "False"


# -- times


@pytest.mark.parametrize("scope", SCOPES)
def test_times_of_a_function(world: World, scope: str) -> None:
    """Each run of the function is in the bucket of its seconds; each miss and each hit of the engine is timed."""

    def f(n: int) -> int:
        world.clock.advance(n)
        return n

    f = world.cached(f, name="f", ttl=1000)
    for n in (0, 1, 3, 3, 3):
        world.call(f, n)
    found = details(world, scope=scope)
    assert {index: n for index, n in enumerate(found.compute.counts) if n} == {0: 1, 20: 1, 22: 1}
    assert found.compute.quantile(1) == pytest.approx(2**22 / 1e6)
    if world.kind in ("object", "disk", "valkey"):
        assert (found.hit.total, found.untimed_hits) == (2, 0)
    if world.kind == "memory":
        assert (found.hit.total, found.untimed_hits) == (0, 2)


def test_bulk_hits_are_not_timed(world: World) -> None:
    """Hits that were one of many are counted and not timed; its misses are calls, and are."""
    f = world.cached(lambda n: n, name="f")
    world.run(f.map([1, 2, 3]))
    world.run(f.map([1, 2, 3]))
    found = details(world)
    assert (found.hit.total, found.untimed_hits, found.miss.total) == (0, 3, 3)


def test_hits_of_the_engine_in_the_process_are_timed(local: World) -> None:
    """Arguments that the compiled look-up does not take go through the engine, and are timed there."""
    f = local.cached(lambda n: len(n), name="f")
    for _ in range(3):
        local.call(f, [1, 2])
    assert details(local).hit.total == 2


def test_8_threads_lose_no_time(valkey: Server) -> None:
    """24,000 calls of eight threads on a server: as many times as calls, as many causes as misses, in both scopes."""
    with Cache(valkey.url) as cache:
        f = cache.cached(name="f")(lambda n: n)

        def work(seed: int) -> None:
            for n in range(seed, seed + 3_000):
                f(n % 50)

        assert crowd(8, work) == [None] * 8
        for scope in SCOPES:
            found = cache.details("f", scope)  # type: ignore[arg-type]  # a literal
            assert found is not None
            assert found.hit.total == found.stats.hits
            assert found.miss.total == found.stats.misses == sum(found.causes.values())
            assert found.hit.total + found.miss.total == 24_000
            assert found.untimed_hits == 0


# -- the fleet


def test_two_processes_add_up(valkey: Server) -> None:
    """What two processes did that are gone is in the fleet's details, to the unit."""
    workers = [Worker(valkey.url, 2_000) for _ in range(2)]
    assert [worker.called() for worker in workers] == [2_000] * 2
    for worker in workers:
        worker.end()
    with Cache(valkey.url) as cache:
        found = cache.details("fleet.f", "fleet")
        assert found is not None
        assert found.hit.total == found.stats.hits
        assert found.miss.total == found.stats.misses
        assert found.hit.total + found.miss.total == 4_000
        assert found.causes == dict.fromkeys(CAUSES, 0) | {"cold": found.stats.misses}
        assert found.compute.total == found.stats.stores == 50
        assert found.settings is not None
        assert found.settings["ttl"] == "3600"
        assert found.ttl_left is not None
        assert found.ttl_left.total == 50
        assert {key.rpartition(":")[0] for key in found.hottest} == {"memo:e:fleet.f"}
        assert cache.details("fleet.f") is None, "this process never saw it"
        assert cache.details("nobody", "fleet") is None


def test_cache_clear_zeroes_here_and_in_the_fleet(shared: World) -> None:
    """`cache_clear` begins details at nothing in the process and the fleet; counting goes on, to the unit."""
    other = shared.new_cache()
    f, g = (shared.cached(lambda n: n, cache=cache, name="f") for cache in (shared.cache, other))
    for n in (1, 1, 2):
        shared.call(f, n)
        shared.call(g, n)
    fleet = details(shared, scope="fleet"), details(shared, other, scope="fleet")
    assert fleet[1].hit.total + fleet[1].untimed_hits + fleet[1].miss.total == 6
    shared.call(f.cache_clear)
    for scope in SCOPES:
        found = details(shared, scope=scope)
        assert (found.hit.total, found.miss.total, found.compute.total, sum(found.causes.values())) == (0, 0, 0, 0)
    shared.call(g, 1)
    shared.call(g, 1)
    assert details(shared, other, scope="fleet").causes["invalidated"] == 1
    found = details(shared, scope="fleet")
    assert found.stats.hits + found.miss.total == 2


class Deaf(CountingBackend):
    """Carries tallies out and loses the answer, while `lose`."""

    lose = False

    def tally(self, tallies: Sequence[Tally], *, timeout: float | None = None) -> None:
        super().tally(tallies, timeout=timeout)
        if self.lose:
            raise OSError


def test_a_flush_whose_answer_was_lost_counts_once() -> None:
    """Times and causes that arrived, but nobody heard of it, are not counted again."""
    backend = Deaf()
    cache = Cache(backend, clock=FakeClock())
    f = cache.cached(name="f")(lambda n: n)
    for n in (1, 1, 2):
        f(n)
    tallies: Any = cache._operations.statistics._reporter
    backend.lose = True
    for _ in range(3):
        tallies.flush()
    backend.lose = False
    cache._guard.breaker.closed()  # type: ignore[union-attr]  # a shared backend has one
    f(1)
    found = cache.details("f", "fleet")
    assert found is not None
    assert (found.hit.total, found.miss.total, found.compute.total, found.causes["cold"]) == (2, 2, 2, 2)
    cache.close()


def test_times_are_sent_with_the_counters() -> None:
    """A flush is one request with or without them, and the overview does not read them."""
    backend = CountingBackend()
    cache = Cache(backend, clock=FakeClock())
    f = cache.cached(name="f")(lambda n: n)
    f(1)
    tallies: Any = cache._operations.statistics._reporter
    tallies.flush()
    assert len(backend.tallied) == 1
    by_key = {one.key: dict(one.adds) for one in backend.tallied[0]}
    assert set(by_key) == {"memo:s:f:f", "memo:s:d:f", "memo:s:o"}
    assert not set(by_key["memo:s:f:f"]) & set(by_key["memo:s:d:f"])
    assert len({one.once for one in backend.tallied[0]}) == 1, "one step: all or none"
    cache.close()


# -- settings


class Telling:
    """A callable, and an object whose text tells too much."""

    def __call__(self, *args: Any) -> float:
        return 60.0

    def __repr__(self) -> str:
        return "CANARY"


@pytest.mark.parametrize("scope", SCOPES)
def test_settings_as_text(world: World, scope: str) -> None:
    """Settings are those in force: callables and classes by name, tags as declared, durations in seconds."""
    f = world.cached(
        lambda n, m=0: n, name="f", ttl="5m", tags=("a", "b:{n}"), errors=(LookupError, ValueError),
        condition=Telling(), exclude="m", version=3,
    )  # fmt: skip
    world.call(f, 1)
    settings = details(world, scope=scope).settings
    assert settings is not None
    expected = {
        "ttl": "300", "tags": "a, b:{n}", "errors": "builtins.LookupError, builtins.ValueError", "exclude": "m",
        "condition": f"{__name__}.Telling", "version": "3", "stale": "None", "share": "False",
    }  # fmt: skip
    assert expected.items() <= settings.items()
    assert set(settings) == set(f.cache_parameters())


def test_settings_never_expire_is_said(world: World) -> None:
    """`ttl=None` is None, as `cache_parameters` has it."""
    f = world.cached(lambda n: n, name="f", ttl=None)
    world.call(f, 1)
    assert (details(world).settings or {})["ttl"] == "None"


def test_settings_are_told_once(shared: World) -> None:
    """A process tells a function's settings with one flush and not again; the last that told is believed."""
    cache = shared.cache
    f = shared.cached(lambda n: n, name="f", ttl=5)
    shared.call(f, 1)
    assert (details(shared, scope="fleet").settings or {})["ttl"] == "5"
    key = next(key for key in shared.keys_raw() if key.endswith("p:f"))
    cache.backend.delete([key])  # type: ignore[union-attr]  # a shared one
    shared.call(f, 1)
    assert details(shared, scope="fleet").settings is None
    other = shared.new_cache()
    shared.call(shared.cached(lambda n: n, cache=other, name="f", ttl=7), 1)
    assert (details(shared, other, scope="fleet").settings or {})["ttl"] == "7"


def test_settings_that_could_not_be_told_are_told_later() -> None:
    """A backend that refuses them gets them with a later flush."""
    backend = FailingBackend(MemoryBackend(), operations=["transact"])
    cache = Cache(backend)
    f = cache.cached(name="f")(lambda n: n)
    f(1)
    tallies: Any = cache._operations.statistics._reporter
    tallies.flush()
    backend.active = False
    cache._guard.breaker.closed()  # type: ignore[union-attr]  # a shared backend has one
    found = cache.details("f", "fleet")
    assert found is not None
    assert found.settings is not None
    cache.close()


@pytest.mark.parametrize(
    "planted", [b"", b"junk", b"[]", b'{"a": 1}', b"[" * 5000, json.dumps({"a": "x" * 20_000}).encode(), b"\xff"]
)
def test_planted_settings_are_none(planted: bytes) -> None:
    """What stands where settings belong and is none, or too much, is not shown and harms nobody."""
    backend = MemoryBackend()
    cache = Cache(backend)
    cache.cached(name="f")(lambda n: n)(1)
    assert cache.details("f", "fleet") is not None
    backend.transact([], [Put("memo:s:p:f", planted)])
    found = cache.details("f", "fleet")
    assert found is not None
    assert found.settings is None
    cache.close()


def test_nothing_published_tells_arguments_or_values() -> None:
    """Neither the argument, nor the value, nor the text of a callable stands in any statistic, key or setting."""
    backend = MemoryBackend()
    cache = Cache(backend)

    def closure(canary: str) -> Callable[[Any], bool]:
        return lambda result: result != canary

    telling = Telling()
    f = cache.cached(
        name="f", ttl=telling, key=lambda text: text, tags=lambda text: [f"tag-{text}"], condition=closure("CANARY")
    )(lambda text: "CANARY" + text)
    g = cache.cached(name="g", tags="t:{text}", key="{text}")(lambda text: text)
    for one in (f, g):
        one("CANARY")
        one("CANARY")
    shown = repr([cache.details(name, scope) for name in "fg" for scope in SCOPES])  # type: ignore[arg-type]  # literals
    assert "CANARY" not in shown
    told = {key: cell.value for key, cell in backend._cells.items() if key.startswith("memo:s:")}
    assert {key.split(":")[2] for key in told} >= {"f", "d", "p"}
    assert all(b"CANARY" not in value for value in told.values())
    assert not any("CANARY" in key for key in backend._cells)
    cache.close()


# -- what entries have left, and the hottest keys


def test_ttl_left(world: World) -> None:
    """What entries have left is in the bucket of its seconds; those that never expire are in the last."""
    for ttl in (10, 1000, None):
        world.call(world.cached(lambda n: n, name="f", ttl=ttl, version=str(ttl)), 1)
    world.call(world.cached(lambda n: n, name="fg", ttl=5), 1)
    world.clock.advance(5)
    for scope in SCOPES:
        left = details(world, scope=scope).ttl_left
        assert left is not None
        assert {index: n for index, n in enumerate(left.counts) if n} == {23: 1, 30: 1, 51: 1}
        assert left.quantile(1) == math.inf
    assert details(world, entries=False).ttl_left is None


def test_the_sample_is_bounded(shared: World) -> None:
    """However many entries there are, some hundreds are looked at, and fewer if they are large."""
    f = shared.cached(lambda n: "x" * n, name="f")
    shared.run(f.map(range(300)))
    left = details(shared).ttl_left
    assert left is not None
    assert left.total == 200
    shared.call(f.invalidate_all)
    shared.run(f.map([200_000 + n for n in range(60)]))
    cache = shared.new_cache()
    shared.call(shared.cached(lambda n: "", cache=cache, name="f"), 0)
    left = details(shared, cache).ttl_left
    assert left is not None
    assert left.total < 60


@pytest.mark.parametrize("scope", SCOPES)
def test_hottest_keys_of_one_function(world: World, scope: str) -> None:
    """The hottest keys are this function's alone, hottest first; names that begin alike are apart."""
    f, other = (world.cached(lambda n: n, name=name) for name in ("f", "f.g"))
    for n, times in ((1, 3), (2, 6), (3, 2)):
        for _ in range(times):
            world.call(f, n)
            world.call(other, n)
    assert details(world, scope=scope).hottest[:2] == [f.key_for(2), f.key_for(1)]
    assert all(":f:" in key for key in details(world, scope=scope).hottest)


def test_scopes_and_names_are_checked(world: World) -> None:
    """A scope that is none is refused; plain keys are no function."""
    with pytest.raises(ConfigurationError, match="scope"):
        world.ask("details", "f", "all")
    world.ask("set", "a", 1)
    assert world.ask("details", "") is None
    assert world.ask("details", "a", "fleet") is None
