"""`CacheStats.operations`: what was asked of the backend, counted and timed by kind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from memocache import BackendError, Cache
from memocache import instrumentation as events
from memocache.backends.memory import MemoryBackend
from memocache.testing import FailingBackend, servers
from tests.promises.behaviour.world import World

KINDS = ["get", "set", "delete", "expire", "flush", "invalidate", "scan"]


def asked(cache: Cache) -> dict[str, int]:
    """How often each kind was asked in this process; without what was not."""
    return {kind: one.count for kind, one in cache.stats(entries=False).operations.items() if one.count}


def test_each_kind_is_counted_once(shared: World) -> None:
    """What a direct operation asks is counted under the kind that it is about."""
    cache = shared.new_cache()
    shared.call(shared.cached(lambda: 1, cache=cache, name="f"))
    steps: list[tuple[str, tuple[Any, ...], dict[str, Any], dict[str, int]]] = [
        ("set", ("k", 1), {}, {"get": 1, "set": 2}),  # the markers; the witness, and the value
        ("set", ("k", 1), {}, {"set": 2}),
        ("get", ("k",), {}, {"get": 1}),
        ("get_many", (["k", "j"],), {}, {"get": 1}),
        ("expire", ("k", 10), {}, {"get": 2, "expire": 1}),
        ("delete", ("k",), {}, {"get": 1, "delete": 1}),
        ("invalidate", ("f",), {}, {"invalidate": 1}),
        ("invalidate", (), {"tag": "t"}, {"invalidate": 1}),
        ("clear", (), {}, {"flush": 1}),
    ]
    before = asked(cache)
    for operation, args, kwargs, expected in steps:
        shared.ask(operation, *args, cache=cache, **kwargs)
        now = asked(cache)
        assert {kind: n - before.get(kind, 0) for kind, n in now.items() if n != before.get(kind, 0)} == expected
        before = now
    shared.ask("keys", cache=cache)
    assert asked(cache)["scan"] >= 1


def test_a_hit_is_one_get_and_a_time(shared: World) -> None:
    """Each hit adds one to `get`, to its histogram and to its seconds, and nothing to any other kind."""
    f = shared.cached(lambda n: n, name="f")
    shared.call(f, 1)
    before = shared.cache.stats(entries=False).operations
    for _ in range(5):
        assert shared.call(f, 1) == 1
    after = shared.cache.stats(entries=False).operations
    assert after["get"].count - before["get"].count == 5
    assert after["get"].histogram.total == after["get"].count
    assert after["get"].seconds > before["get"].seconds
    assert {kind: after[kind] for kind in KINDS[1:]} == {kind: before[kind] for kind in KINDS[1:]}


def test_plain_hits_are_gets(shared: World) -> None:
    """So does each look-up of a plain key, found or not."""
    shared.ask("set", "k", 1)
    before = asked(shared.cache)["get"]
    for key in ("k", "k", "nothing"):
        shared.ask("get", key)
    assert asked(shared.cache)["get"] == before + 3


def test_what_the_process_serves_asks_nothing(local: World) -> None:
    """On memory:// every kind is there and is nothing, whatever is done."""
    f = local.cached(lambda n: n, name="f")
    local.call(f, 1), local.call(f, 1)
    local.ask("set", "k", 1)
    local.ask("clear")
    operations = local.ask("stats").operations
    assert list(operations) == KINDS
    assert {one.count for one in operations.values()} == {0}


def test_a_copy_in_the_process_asks_nothing(valkey: servers.Server) -> None:
    """With `local=` a hit on a copy is no operation."""
    with Cache(valkey.url, local=100) as cache:
        f = cache.cached(lambda n: n, name="f")
        f(1)
        while True:  # until it is copied: the channel has to be there
            before = asked(cache)["get"]
            f(1)
            if asked(cache)["get"] == before:
                break
        for _ in range(10):
            f(1)
        assert asked(cache)["get"] == before


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_failures_are_counted_and_what_is_not_asked_is_not(colour: str) -> None:
    """What fails is an error of its kind; behind an open breaker nothing is asked, and nothing counted."""
    backend = FailingBackend(MemoryBackend())
    cache = Cache(backend)

    def get() -> None:
        with pytest.raises(BackendError):
            cache.get("k") if colour == "sync" else asyncio.run(cache.aio.get("k"))

    while cache.breaker() == {"failing": "closed"}:
        get()
    operations = cache.stats(entries=False).operations
    assert operations["get"].errors == operations["get"].count > 0
    get()
    assert cache.stats(entries=False).operations["get"].errors == operations["get"].errors
    backend.active = False
    cache.close()


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_server_that_went_away_is_an_error_of_get(colour: str) -> None:
    """Also where a hit asks past the guard, over a connection that was well a moment ago."""
    kinds = servers.available_servers()
    if not kinds:
        pytest.skip("no server on this machine")

    async def calls(server: servers.Server, cache: Cache) -> None:
        async def plain(n: int) -> int:
            return n

        f = cache.cached(plain, name="f") if colour == "async" else cache.cached(lambda n: n, name="f")
        for away in (False, False, True):
            if away:
                server.kill()
            result = f(1)
            assert (await result if colour == "async" else result) == 1

    with servers.start(kinds[0]) as server, Cache(server.url) as cache:
        asyncio.run(calls(server, cache))
        assert cache.stats(entries=False).operations["get"].errors == 1


def test_the_fleet_adds_them_up(shared: World) -> None:
    """`stats("fleet")` has what every process asked, as far as it has told; a process' own figures are its own."""
    one, other = shared.new_cache(), shared.new_cache()
    for cache in (one, other):
        shared.ask("set", "k", 1, cache=cache)
        shared.ask("get", "k", cache=cache)
    own = asked(other)
    shared.ask("stats", "fleet", cache=one, entries=False)  # sends what was counted
    fleet = shared.ask("stats", "fleet", cache=other, entries=False).operations
    assert fleet["set"].count == 4
    assert fleet["get"].count == 4
    assert fleet["get"].histogram.total == 4
    assert fleet["get"].seconds > 0
    assert own["get"] == 2


def test_a_closed_cache_has_nothing_to_send(shared: World) -> None:
    """To close asks for a few things; they do not open the backend again."""
    cache = shared.new_cache()
    shared.ask("set", "k", 1, cache=cache)
    shared.ask("close", cache=cache)
    reporter = cache._operations.statistics._reporter
    assert reporter is not None
    assert [flush for flush in reporter.flushes() if flush.tallies] == []
    shared.ask("set", "k", 1, cache=cache)
    shared.call(shared.cached(lambda: 1, cache=cache, name="f"))
    assert [flush for flush in reporter.flushes() if flush.tallies] != []


def test_observers_are_told(shared: World) -> None:
    """Each question is an event with its kind and time, without a function, a key or a value."""
    told: list[events.Event] = []
    cache = shared.new_cache(observers=[told.append])
    shared.ask("set", "the secret", 1, cache=cache)
    shared.ask("get", "the secret", cache=cache)
    questions = [event for event in told if isinstance(event, events.Asked)]
    assert questions == [events.Asked(None, kind, 0.0) for kind in ("get", "set", "set", "get")]
    assert all(event.seconds > 0 for event in questions)
    assert "secret" not in repr(told)
