"""A write that raised may still be on its way to the server: it takes no effect after what was done since."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from memocache import MISSING, BackendError, Cache
from memocache._cache import key_resolver, stats_reporter
from memocache._calls import call_entries
from memocache.backends.redis import RedisBackend
from memocache.testing import FaultProxy
from memocache.testing.servers import Server
from tests.patience import hurried  # noqa: F401  # a fixture, found by name
from tests.promises.faults.rig import until

pytestmark = pytest.mark.usefixtures("hurried")


class Held(FaultProxy):
    """A proxy that holds back what is sent once the test's own key is about to be written."""

    def __init__(self, server: Server) -> None:
        super().__init__(server.port)
        self._server = server.client()

    def holding(self, backend: RedisBackend, written: Callable[[Any], bool]) -> None:
        """From the next transaction on whose puts are `written`, nothing passes."""
        transact = backend._say.transact

        def hold_then_ask(asked: Any) -> Any:
            if any(written(put) for put in asked.puts):
                self.fault("stall")
            return transact(asked)

        backend._say.transact = hold_then_ask  # type: ignore[method-assign]  # a fault, brought about on purpose

    def scripts(self) -> int:
        """How many transactions the server has carried out."""
        return int(self._server.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0))

    def let_arrive(self) -> None:
        """Let the server have what was held back."""
        before = self.scripts()
        self.heal()
        until(lambda: self.scripts() > before)


@pytest.fixture
def proxy(valkey: Server) -> Iterator[Held]:
    """A proxy in front of a server."""
    with Held(valkey) as proxy:
        yield proxy
        proxy._server.close()


@pytest.fixture
def caches(valkey: Server, proxy: Held, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Cache, Cache]]:
    """One cache behind the proxy, which gives up soon, and one beside it."""
    monkeypatch.setattr(stats_reporter, "FLUSH_SECONDS", 3600.0)
    for module in (call_entries, key_resolver):
        monkeypatch.setattr(module, "DIRECT_SECONDS", 1.0)
    with Cache(proxy.url) as behind, Cache(valkey.url) as beside:
        yield behind, beside


WAYS: dict[str, tuple[Callable[[Cache], Any], Callable[[Cache], Any], Callable[[Cache], Any]]] = {
    "f.put": (
        lambda cache: _f(cache).put("late", 1),
        lambda cache: _f(cache).invalidate(1),
        lambda cache: _f(cache).peek(1),
    ),
    "set": (
        lambda cache: cache.set("k", "late"),
        lambda cache: cache.delete("k"),
        lambda cache: cache.get("k", MISSING),
    ),
    "set_many": (
        lambda cache: cache.set_many({"k": "late", "l": "late"}),
        lambda cache: cache.delete_many(["k", "l"]),
        lambda cache: cache.get("k", MISSING),
    ),
}


def _f(cache: Cache) -> Any:
    return cache.cached(name="f")(lambda x: ["computed", x])


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("before", [False, True], ids=["new", "there"])
def test_a_write_that_raised_does_not_come_back(
    proxy: Held, caches: tuple[Cache, Cache], way: str, colour: str, before: bool
) -> None:
    """What was invalidated after it had raised stays away, though its bytes reach the server later."""
    behind, beside = caches
    write, remove, look = WAYS[way]
    write(behind)
    if not before:
        remove(behind)
    proxy.holding(behind.backend, lambda put: ":w:" not in put.key)  # type: ignore[arg-type]  # it is a Redis one
    with pytest.raises(BackendError):
        write(behind) if colour == "sync" else asyncio.run(_async(behind, way))
    remove(beside)
    assert look(beside) is MISSING
    proxy.let_arrive()
    assert look(beside) is MISSING


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("undone", ["deleted", "cleared", "tag", "expired"])
def test_an_add_that_raised_does_not_come_back(
    proxy: Held, caches: tuple[Cache, Cache], undone: str, colour: str
) -> None:
    """What another process stored and removed after it had raised stays away, also where a dead entry stood before."""
    behind, beside = caches
    beside.set("other", 1)  # a marker of plain keys stands
    if undone in ("tag", "expired"):
        beside.set("k", "dead", ttl=60 if undone == "tag" else 0.001, tags=["red"])
        if undone == "tag":
            beside.invalidate(tag="red")
        until(lambda: beside.get("k", MISSING) is MISSING)
    proxy.holding(behind.backend, lambda put: ":k:" in put.key)  # type: ignore[arg-type]  # it is a Redis one
    with pytest.raises(BackendError):
        behind.add("k", "late", tags=["red"]) if colour == "sync" else asyncio.run(_async(behind, "add"))
    if undone == "deleted":
        beside.set("k", "between")
        beside.delete("k")
    elif undone == "cleared":
        beside.clear()
    elif undone == "tag":
        beside.invalidate(tag="red")
    else:
        beside.delete("k")
    assert beside.get("k", MISSING) is MISSING
    proxy.let_arrive()
    assert beside.get("k", MISSING) is MISSING
    assert beside.add("k", "new")
    assert not beside.add("k", "newer")


async def _async(cache: Cache, way: str) -> None:
    try:
        if way == "add":
            await cache.aio.add("k", "late", tags=["red"])
            return
        if way == "f.put":
            await cache.cached(name="f")(_later).put("late", 1)
        elif way == "set":
            await cache.aio.set("k", "late")
        else:
            await cache.aio.set_many({"k": "late", "l": "late"})
    finally:
        await cache.aio.close()


async def _later(x: int) -> list[Any]:
    return ["computed", x]


@pytest.mark.parametrize("way", WAYS)
def test_a_write_that_raised_does_not_replace_a_later_one(proxy: Held, caches: tuple[Cache, Cache], way: str) -> None:
    """What was written after it had raised stays, though its bytes reach the server later."""
    behind, beside = caches
    write, _, look = WAYS[way]
    write(behind)
    proxy.holding(behind.backend, lambda put: ":w:" not in put.key)  # type: ignore[arg-type]  # it is a Redis one
    with pytest.raises(BackendError):
        write(behind)
    if way == "f.put":
        _f(beside).put("later", 1)
    else:
        beside.set("k", "later")
    proxy.let_arrive()
    assert look(beside) == "later"
