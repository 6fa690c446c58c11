"""What the server is asked, counted by the server: hits, misses, and invalidations of any number of entries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from memocache import MISSING, Cache
from memocache._cache import stats_reporter as _tally
from memocache.testing.servers import Server

SCRIPTED = ("get", "getrange", "type", "set", "unlink", "sadd", "publish")
"""Commands that the transaction script runs inside the server, which cost no round trip of their own."""


class Counted:
    """Commands that a server carried out since `reset`, by name."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.reset()

    def reset(self) -> None:
        self._client.config_resetstat()

    def __call__(self, *without: str) -> dict[str, int]:
        stats = self._client.info("commandstats")
        counts = {name.removeprefix("cmdstat_"): one["calls"] for name, one in stats.items()}
        ours = ("info", "config|resetstat", "client|setinfo", "client|setname", "hello", "select", *without)
        return {name: calls for name, calls in counts.items() if name not in ours}


@pytest.fixture
def counted(valkey: Server) -> Iterator[Counted]:
    """The commands of the server."""
    with valkey.client() as client:
        yield Counted(client)


@pytest.fixture
def cache(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cache]:
    """A cache whose flushes of statistics do not come between."""
    monkeypatch.setattr(_tally, "FLUSH_SECONDS", 3600.0)
    with Cache(valkey.url) as made:
        yield made


@pytest.mark.parametrize("tags", [(), ("one", "n:{n}")], ids=["plain", "tagged"])
def test_a_hit_is_one_command(cache: Cache, counted: Counted, tags: tuple[str, ...]) -> None:
    """A hit on the server is one MGET, whatever its tags; and nothing else, however often."""

    @cache.cached(name="f", tags=tags)
    def f(n: int) -> list[int]:
        return [n]

    f(1)
    counted.reset()
    for _ in range(10):
        assert f(1) == [1]
    assert counted() == {"mget": 10}


@pytest.mark.parametrize("tags", [(), ("one", "n:{n}")], ids=["plain", "tagged"])
def test_an_async_hit_is_one_command(cache: Cache, counted: Counted, tags: tuple[str, ...]) -> None:
    """The same on an event loop."""

    @cache.cached(name="f", tags=tags)
    async def f(n: int) -> list[int]:
        return [n]

    async def main() -> None:
        await f(1)
        counted.reset()
        for _ in range(10):
            assert await f(1) == [1]
        assert counted() == {"mget": 10}
        await cache.aio.close()

    asyncio.run(main())


def test_a_bulk_hit_is_one_command(cache: Cache, counted: Counted) -> None:
    """`map` over a hundred hits and a loader's hundred ids are one MGET each."""

    @cache.cached(name="f")
    def f(n: int) -> int:
        return n

    @cache.cached_many(name="load")
    def load(ids: list[int]) -> dict[int, int]:
        return {n: n for n in ids}

    f.map(range(100))
    load(range(100))
    counted.reset()
    assert f.map(range(100)) == list(range(100))
    assert counted() == {"mget": 1}
    counted.reset()
    assert load(range(100)) == {n: n for n in range(100)}
    assert counted() == {"mget": 1}


@pytest.mark.parametrize("tags", [(), ("one", "n:{n}")], ids=["plain", "tagged"])
def test_a_miss_is_at_most_three_round_trips(cache: Cache, counted: Counted, tags: tuple[str, ...]) -> None:
    """A miss looks, begins and stores: three round trips, also when it makes the markers."""

    @cache.cached(name="f", tags=tags)
    def f(n: int) -> list[int]:
        return [n]

    f(0)  # the server has seen the script
    cache.invalidate("f")
    counted.reset()
    f(1)
    assert counted(*SCRIPTED) == {"mget": 1, "evalsha": 2}
    counted.reset()
    f(2)
    assert counted(*SCRIPTED) == {"mget": 1, "evalsha": 2}


def test_to_forget_a_call_is_one_command(cache: Cache, counted: Counted) -> None:
    """`f.invalidate(x)` removes the entry without a look at it first, and it is gone."""

    @cache.cached(name="f")
    def f(n: int) -> int:
        return n

    f(1)
    counted.reset()
    f.invalidate(1)
    f.invalidate(2)
    assert counted() == {"unlink": 2}
    assert f.peek(1) is MISSING


def _fill(client: Any, key: str, name: str, many: int) -> None:
    """Have `many` keys of a function (or plain keys) on the server: copies of one entry's bytes under other names."""
    raw, pipe = client.get(key), client.pipeline(transaction=False)
    for n in range(many):
        pipe.set(f"memo:{name}{n:032x}", raw)
    pipe.execute()


@pytest.mark.parametrize(
    ("way", "commands"),
    [
        (lambda cache, f: cache.invalidate("f"), {"unlink": 1}),
        (lambda cache, f: cache.invalidate(f), {"unlink": 1}),
        (lambda cache, f: f.invalidate_all(), {"unlink": 1}),
        (lambda cache, f: cache.invalidate(tag="t"), {"unlink": 1}),
        (lambda cache, f: cache.clear(), {"unlink": 1}),
        (lambda cache, f: cache.invalidate("*"), {"smembers": 1, "unlink": 1}),
        (lambda cache, f: cache.invalidate("nothing.*"), {"smembers": 1}),
    ],
    ids=["name", "function", "method", "tag", "clear", "glob", "glob of nothing"],
)
def test_invalidating_costs_the_same_whatever_there_is(
    cache: Cache, valkey: Server, counted: Counted, way: Callable[[Cache, Any], None], commands: dict[str, int]
) -> None:
    """With 100 keys and one function or with 20,000 keys and fifty functions it is the same one or two commands."""

    @cache.cached(name="f", tags=("t",))
    def f(n: int) -> list[int]:
        return [n]

    functions = [cache.cached(name=f"g{n}")(lambda n: [n]) for n in range(50)]
    sent = []
    with valkey.client() as client:
        for many, others in ((100, 0), (20_000, 50)):
            for n in range(20):
                f(n)
            cache.set_many({f"plain{n}": n for n in range(many // 2)}, tags=("t",))
            _fill(client, f.key_for(0), "e:f:", many // 2)
            for g in functions[:others]:
                g(1)
            cache.invalidate("nothing*")  # the registry of names stands
            counted.reset()
            way(cache, f)
            sent.append(counted())
            if commands != {"smembers": 1}:
                assert [f.peek(n) for n in range(20)] == [MISSING] * 20
    assert sent == [commands] * 2


@pytest.mark.parametrize("way", ["tag", "name"])
def test_invalidating_from_async_costs_the_same(cache: Cache, counted: Counted, way: str) -> None:
    """One command on an event loop too, of a tag and of a function that has entries."""

    @cache.cached(name="f")
    async def f() -> int:
        return 1

    async def main() -> None:
        await cache.aio.set("k", 1, tags=("t",))
        await f()
        counted.reset()
        await (cache.aio.invalidate(tag="t") if way == "tag" else cache.aio.invalidate("f"))
        assert counted() == {"unlink": 1}
        await cache.aio.close()

    asyncio.run(main())
