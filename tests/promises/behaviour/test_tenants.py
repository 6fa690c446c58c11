"""Tenants: a function is decorated once, and what is bound in the context says whose entries a call is about."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from memocache import MISSING, Cache, ConfigurationError, configure, disabled
from memocache import cached as cached_by_default
from memocache.instrumentation import Computed
from memocache.testing import in_memory
from tests.promises.behaviour.world import World
from tests.promises.flight.support import BOUND, join, start, until

NAMES = ("acme", "umbrella")


@pytest.fixture
def many(world: World) -> Cache:
    """A cache with tenants in every world that can have one."""
    if world.kind == "tiered":
        pytest.skip("local= does not go with tenants=, which test_bad_input pins")
    return world.new_cache(tenants=True)


def counting(world: World, cache: Cache, **settings: Any) -> tuple[Any, list[Any]]:
    """A decorated function that returns how often it was called, and the arguments of its calls."""
    calls: list[Any] = []

    def f(x: Any) -> int:
        calls.append(x)
        return len(calls)

    return world.cached(f, cache=cache, **{"ttl": 60, "name": "f", **settings}), calls


def test_one_function_serves_many_tenants(world: World, many: Cache) -> None:
    """A function that was decorated once computes once for each tenant, and each is served what is its own."""
    f, calls = counting(world, many)
    for _ in range(2):
        for number, name in enumerate(NAMES, 1):
            with many.tenant(name):
                assert world.call(f, 7) == number
                assert world.call(f.peek, 7) == number
                assert f.cache_info()[:2] in ((0, 1), (1, 1))
    assert calls == [7, 7]
    keys = set()
    for name in NAMES:
        with many.tenant(name):
            keys.add(f.key_for(7))
    assert len(keys) == 2


def test_without_a_tenant_nothing_is_served(world: World, many: Cache) -> None:
    """Where no tenant is bound every use of the cache raises, and says what to do; the function is not called."""
    f, calls = counting(world, many)
    with many.tenant("acme"):
        world.call(f, 1)
    asked: list[Callable[[], Any]] = [
        lambda: world.call(f, 1),
        lambda: world.call(f.with_status, 1),
        lambda: world.call(f.map, [1]),
        lambda: world.call(f.invalidate, 1),
        lambda: world.call(f.put, 2, 1),
        lambda: f.key_for(1),
        lambda: f.stats(),
        lambda: world.ask("get", "k"),
        lambda: world.ask("set", "k", 1),
        lambda: world.ask("get_or_compute", "k", dict),
        lambda: world.ask("invalidate", tag="t"),
        lambda: world.ask("clear"),
        lambda: world.ask("keys"),
        lambda: world.ask("stats"),
    ]
    world._main = many
    for ask in asked:
        with pytest.raises(ConfigurationError, match=r"with cache\.tenant\(name\)"):
            ask()
    assert calls == [1]
    assert world.ask("health").ok


def test_plain_keys_tags_and_figures_are_a_tenants_own(world: World, many: Cache) -> None:
    """Keys of `set`, tags, `invalidate`, `clear`, `keys` and statistics reach no other tenant."""
    f, _ = counting(world, many, tags="red")
    world._main = many
    for name in NAMES:
        with many.tenant(name):
            world.call(f, 1)
            world.ask("set", "k", name)
    with many.tenant("acme"):
        assert world.ask("get", "k") == "acme"
        assert world.ask("get_many", ["k"]) == {"k": "acme"}
        world.ask("invalidate", tag="red")
        assert world.call(f.peek, 1) is MISSING
    with many.tenant("umbrella"):
        assert world.call(f.peek, 1) == 2
        assert world.call(f, 1) == 2
        assert world.ask("stats").functions["f"].hits == 1
        assert len(world.ask("keys")) == 2
    with many.tenant("acme"):
        assert world.ask("stats").functions["f"].hits == 0
        world.ask("clear")
        assert world.ask("keys") == []
    with many.tenant("umbrella"):
        assert world.ask("get", "k") == "umbrella"
        world.ask("invalidate", "f")
        assert world.call(f.peek, 1) is MISSING


def test_a_tenant_is_a_prefix(shared: World) -> None:
    """The entries of a tenant are those of a cache whose prefix ends in its name: a dashboard or a shell sees them."""
    if shared.kind == "tiered":
        pytest.skip("local= does not go with tenants=")
    many = shared.new_cache(tenants=True, prefix="shop")
    f, _ = counting(shared, many)
    with many.tenant("a/b"):
        shared.call(f, 1)
        key = f.key_for(1)
        f.put(5, 2) if not shared.is_async else shared.call(f.put, 5, 2)
    alone = shared.new_cache(prefix="shop/a%2Fb")
    assert shared.ask("inspect", key, cache=alone) is not None
    g, calls = counting(shared, alone)
    assert shared.call(g, 2) == 5
    assert calls == []
    assert shared.ask("keys", cache=shared.new_cache(prefix="shop/a")) == []
    assert shared.ask("keys", cache=shared.new_cache(prefix="shop")) == []


@pytest.mark.parametrize("name", ["a:b", "a/b", "a%2Fb", "*", "é", "\ud800", "x" * 200, "…" * 200, " "])
def test_any_text_names_a_tenant(world: World, many: Cache, name: str) -> None:
    """Separators, patterns, lone surrogates and long texts are names like any other, and meet no other tenant's."""
    f, _ = counting(world, many)
    with many.tenant(name):
        assert world.call(f, 1) == world.call(f, 1) == 1
    with many.tenant("a"):
        assert world.call(f, 1) == 2


@pytest.mark.parametrize("name", ["", None, 7, b"a", "x" * 201, ["a"]])
def test_no_name(name: Any) -> None:
    """What is no text of 1 to 200 characters is refused before anything is bound, and the error does not repeat it."""
    with pytest.raises(ConfigurationError, match="str\\(number\\)"):
        Cache(tenants=True).tenant(name)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tenants": "acme"}, "tenants= takes True"),
        ({"tenants": -1}, "tenants= takes True"),
        ({"tenants": 1.5}, "tenants= takes True"),
        ({"tenants": True, "local": 10}, "local= does not go with tenants="),
    ],
)
def test_bad_input(options: dict[str, Any], said: str) -> None:
    """Settings that cannot work are refused with the way out, and so is `tenant` of a cache that has none."""
    with pytest.raises(ConfigurationError, match=said):
        Cache("redis://localhost:1", **options)
    with pytest.raises(ConfigurationError, match=r"Cache\(tenants=True\)"):
        Cache().tenant("acme")


def test_blocks_nest_and_end(world: World, many: Cache) -> None:
    """The inner block counts, the outer one is back after it, an exception too ends a block, and caches do not mix."""
    f, _ = counting(world, many)
    other = world.new_cache(tenants=True, prefix="other")
    with many.tenant("acme"):
        assert world.call(f, 1) == 1
        with contextlib.suppress(LookupError), many.tenant("umbrella"), other.tenant("third"):
            assert world.call(f, 1) == 2
            raise LookupError
        assert world.call(f, 1) == 1
        with pytest.raises(ConfigurationError):
            world.run(other.aio.get("k")) if world.is_async else other.get("k")
    with pytest.raises(ConfigurationError):
        world.call(f, 1)


def test_threads_do_not_leak(world: World, many: Cache) -> None:
    """Threads that are inside of their blocks at the same time are served each its own tenant's entries."""
    if world.is_async:
        pytest.skip("tasks: test_tasks_do_not_leak")
    barrier = threading.Barrier(8)
    seen: list[tuple[int, str]] = []

    @many.cached(ttl=60, name="who")
    def who() -> str:
        return whose.name

    whose = threading.local()

    def customer(number: int) -> None:
        whose.name = f"t{number}"
        barrier.wait(BOUND)
        with many.tenant(f"t{number}"):
            for _ in range(20):
                seen.append((number, who()))

    join(*[start(lambda number=number: customer(number))[0] for number in range(8)])  # type: ignore[misc]  # mypy knows no defaults of lambdas
    assert len(seen) == 160
    assert all(name == f"t{number}" for number, name in seen)
    _, (failed,) = done(start(who))
    assert isinstance(failed, ConfigurationError)


def done(started: tuple[threading.Thread, list[Any]]) -> tuple[threading.Thread, list[Any]]:
    """A thread that has ended, and what it came to."""
    join(started[0])
    return started


def test_tasks_do_not_leak(world: World, many: Cache) -> None:
    """Tasks of one loop that are inside of their blocks at the same time are served each its own tenant's entries; a
    task that a block starts stays with its tenant after the block.
    """
    if not world.is_async:
        pytest.skip("threads: test_threads_do_not_leak")
    inside = 0
    all_in = asyncio.Event()

    @many.cached(ttl=60, name="who")
    async def who(tenant: list[str]) -> str:
        return tenant[0]

    async def customer(number: int) -> list[str]:
        nonlocal inside
        with many.tenant(f"t{number}"):
            inside += 1
            if inside == 8:
                all_in.set()
            await all_in.wait()
            later = asyncio.create_task(key(number))
            found = [await many.aio.get_or_compute("k", lambda: f"t{number}") for _ in range(20)]
        return [*found, await later]

    async def key(number: int) -> str:
        await asyncio.sleep(0)
        return str(await many.aio.get("k", f"t{number}"))

    async def main() -> list[list[str]]:
        return await asyncio.gather(*map(customer, range(8)))

    assert world.run(main()) == [[f"t{number}"] * 21 for number in range(8)]


def test_flights_are_a_tenants_own(world: World, many: Cache) -> None:
    """Two tenants that miss the same call at the same time both compute; two callers of one tenant share one
    computation.
    """
    if world.is_async:
        pytest.skip("one engine: the sync colour stands for both")
    together = threading.Barrier(2)
    calls: list[str] = []

    @many.cached(ttl=60, name="slow")
    def slow() -> int:
        calls.append("")
        together.wait(BOUND)  # ends only if both tenants compute at the same time
        return len(calls)

    def customer(name: str) -> Any:
        with many.tenant(name):
            return slow()

    started = [start(lambda name=name: customer(name)) for name in (*NAMES, *NAMES)]  # type: ignore[misc]  # as above
    join(*(thread for thread, _ in started))
    assert len(calls) == 2
    assert all(isinstance(found[0], int) for _, found in started), [found for _, found in started]


def test_a_nested_call_is_the_tenants(world: World, many: Cache) -> None:
    """A cached function that calls another, also in a background refresh, calls it for its own tenant."""
    if world.is_async:
        pytest.skip("one engine: the sync colour stands for both")
    inner = many.cached(ttl=60, name="inner")(lambda: whose[0])
    whose = [""]

    @many.cached(ttl=60, stale=60, name="outer")
    def outer() -> str:
        return str(inner())

    for whose[0] in NAMES:
        with many.tenant(whose[0]):
            assert outer() == whose[0]
    whose[0] = "nobody"
    world.clock.advance(50)
    for name in NAMES:
        with many.tenant(name):
            inner.put(name + " again")
    world.clock.advance(20)
    for name in NAMES:
        with many.tenant(name):
            assert outer() == name  # the stale one
    many.close()  # whatever is refreshed, was
    for name in NAMES:
        with many.tenant(name):
            assert outer() in (name, name + " again")
            assert inner() == name + " again"


def test_methods_loaders_and_redefinition(world: World, many: Cache) -> None:
    """Methods, class methods, bulk loaders and functions whose code was replaced are told apart by tenant too."""
    asked: list[Any] = []

    class Shop:
        @many.cached(ttl=60, key="{x}", name="price")
        def price(self, x: int) -> int:
            asked.append(x)
            return len(asked)

        @classmethod
        @many.cached(ttl=60, key="{x}", name="rate")
        def rate(cls, x: int) -> int:
            asked.append(x)
            return len(asked)

    @many.cached_many(ttl=60, name="load")
    def load(ids: list[int]) -> dict[int, int]:
        asked.append(ids)
        return {one: len(asked) for one in ids}

    shop = Shop()
    found: dict[str, Any] = {}
    for _ in range(2):
        for name in NAMES:
            with many.tenant(name):
                now = shop.price(1), Shop.rate(2), load([3, 4])
                assert found.setdefault(name, now) == now
    assert len(asked) == 6

    @many.cached(ttl=60, name="g", version="auto")
    def g() -> str:
        return "old"

    with many.tenant("acme"):
        assert g() == "old"
        g.__code__ = (lambda: "new").__code__  # type: ignore[attr-defined]  # as a reload in place does
        assert g() == "new"


def test_a_stream_is_its_calls_tenants(world: World, many: Cache) -> None:
    """A stream belongs to the tenant of its call, and its generator runs for that tenant, wherever it is read."""
    if world.is_async:
        whose = many.cached(ttl=60, name="whose")(_soon)

        @many.cached(ttl=60, stream=True, name="items")
        async def items() -> Any:
            for number in range(3):
                yield await whose(number)

    else:
        plain = many.cached(ttl=60, name="whose")(lambda number: number)

        @many.cached(ttl=60, stream=True, name="items")
        def items() -> Iterator[Any]:
            for number in range(3):
                yield plain(number)

    def put(number: int, name: str) -> None:
        world.call((whose if world.is_async else plain).put, name, number)

    for name in NAMES:
        with many.tenant(name):
            for number in range(3):
                put(number, name)
            stream = items()
        with many.tenant("third"):
            assert read(world, stream) == [name] * 3
        with many.tenant(name):
            assert read(world, items()) == [name] * 3


async def _soon(number: int) -> Any:
    return number


def read(world: World, stream: Any) -> list[Any]:
    """All items of a stream."""
    if not world.is_async:
        return list(stream)

    async def collect() -> list[Any]:
        return [item async for item in stream]

    found: list[Any] = world.run(collect())
    return found


def test_disabled_holds_for_every_tenant(world: World, many: Cache) -> None:
    """`disabled()`, of all caches or of this one, computes for whatever tenant, one that was never bound before too."""
    f, calls = counting(world, many)
    with many.tenant("acme"):
        world.call(f, 1)
    with many.disabled():
        for name in NAMES:
            with many.tenant(name):
                world.call(f, 1)
    with disabled(), many.tenant("acme"):
        world.call(f, 1)
    assert len(calls) == 4
    with many.tenant("acme"):
        assert world.call(f, 1) == 1


def test_observers_hear_of_every_tenant(local: World) -> None:
    """Observers are told what happens for every tenant, by the function's name alone."""
    events: list[Any] = []
    many = local.new_cache(tenants=True, observers=[events.append])
    f, _ = counting(local, many)
    for name in NAMES:
        with many.tenant(name):
            local.call(f, 1)
    assert [event.function for event in events if isinstance(event, Computed)] == ["f", "f"]


def test_the_default_cache_has_tenants() -> None:
    """Functions on the default cache follow when it is replaced by one with tenants, and back."""
    f = cached_by_default(ttl=60, name="d")(lambda: next(numbers))
    numbers = iter(range(1, 10))
    try:
        configure("memory://")
        assert (f(), f()) == (1, 1)
        many = configure("memory://", tenants=True)
        with pytest.raises(ConfigurationError):
            f()
        for expected, name in enumerate(NAMES, 2):
            with many.tenant(name):
                assert (f(), f()) == (expected, expected)
        configure("memory://")
        assert (f(), f()) == (4, 4)
    finally:
        configure("memory://")


def test_in_memory_has_tenants(shared: World) -> None:
    """`memocache.testing.in_memory` gives every tenant an empty place for a while, and its own back afterwards."""
    if shared.kind == "tiered":
        pytest.skip("local= does not go with tenants=")
    many = shared.new_cache(tenants=True)
    f, _ = counting(shared, many)
    with many.tenant("acme"):
        assert shared.call(f, 1) == 1
    with in_memory(many), many.tenant("acme"):
        assert shared.call(f, 1) == 2
        assert shared.call(f, 1) == 2
    with many.tenant("acme"):
        assert shared.call(f, 1) == 1


def test_a_process_holds_so_many(local: World) -> None:
    """Beyond `tenants=` the one that was bound longest ago goes, but not while its block lasts; functions that are
    gone are held by no tenant.
    """
    many = local.new_cache(tenants=2)
    f, _ = counting(local, many)
    if local.is_async:
        local.run(asyncio.sleep(0))  # a runner keeps the context that it was made in
    with many.tenant("a"):
        assert local.call(f, 1) == 1
        for number, name in enumerate("bcd", 2):
            with many.tenant(name):
                assert local.call(f, 1) == number
        with many.tenant("a"):
            assert local.call(f, 1) == 1  # in use, so the very same
        assert local.call(f, 1) == 1
    with many.tenant("d"), many.tenant("b"), many.tenant("c"):
        pass
    gc.collect()
    assert many._tenants is not None
    assert len(many._tenants.every()) == 2
    with many.tenant("a"):
        assert local.call(f, 1) > 4
        bindings = many._tenants.here().core.tenant._bindings  # type: ignore[union-attr]  # it is a Tenant
        assert len(bindings) == 1
        del f
        gc.collect()
        assert len(bindings) == 0


def test_close_sends_what_every_tenant_counted(shared: World) -> None:
    """`close` sends the figures of every tenant; using the cache again reopens it."""
    if shared.kind == "tiered":
        pytest.skip("local= does not go with tenants=")
    many = shared.new_cache(tenants=True)
    f, _ = counting(shared, many)
    for name in NAMES:
        with many.tenant(name):
            shared.call(f, 1)
            shared.call(f, 1)
    shared.ask("close", cache=many)
    for name in NAMES:
        alone = shared.new_cache(prefix=f"memo/{name}")
        assert shared.ask("stats", "fleet", cache=alone).functions["f"].hits == 1
    with many.tenant("acme"):
        assert shared.call(f, 1) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_binds_tenants_too() -> None:
    """A child that is forked while another thread makes a tenant waits for nobody: the lock is its own."""
    many = Cache(tenants=True)
    assert many._tenants is not None
    with many._tenants._lock:
        child = os.fork()
        if not child:
            with many.tenant("acme"):
                many.set("k", 1)
                os._exit(0 if many.get("k") == 1 else 1)
    ended: list[int] = []

    def has_ended() -> bool:
        done, status = os.waitpid(child, os.WNOHANG)
        ended.extend([status] if done else [])
        return bool(done)

    try:
        until(has_ended)
    finally:
        if not ended:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    assert ended == [0]
