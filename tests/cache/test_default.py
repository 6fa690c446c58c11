"""`disabled()`, `configure()`, `default_cache()` and the environment."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import memocache
from memocache import MISSING, Cache, ConfigurationError, cached, configure, default_cache, disabled
from memocache._cache import default as default_module
from memocache.backends.memory import MemoryBackend
from tests.promises.behaviour.world import World


@pytest.fixture
def _own_default(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A default cache that is this test's alone."""
    monkeypatch.setattr(default_module, "_cache", None)
    for name in ("MEMOCACHE_URL", "MEMOCACHE_PREFIX", "MEMOCACHE_SECRET"):
        monkeypatch.delenv(name, raising=False)
    yield
    default_cache().close()


@pytest.mark.parametrize("which", ["all", "one"])
def test_disabled_computes_and_stores_nothing(world: World, which: str) -> None:
    """Inside the block functions compute, store and count nothing; afterwards the old values are still there."""
    calls: list[int] = []
    f = world.cached(lambda x: calls.append(x) or len(calls), name="f")
    assert world.call(f, 1) == 1
    with disabled() if which == "all" else world.cache.disabled():
        assert [world.call(f, 1), world.call(f, 1), world.call(f, 2)] == [2, 3, 4]
    assert world.call(f, 1) == 1
    assert world.call(f.peek, 2) is MISSING
    assert f.cache_info()[:2] == (1, 1)


def test_disabling_one_cache_leaves_the_others(world: World) -> None:
    """`Cache.disabled()` is about that cache alone; blocks nest."""
    other = world.new_cache(prefix="other")
    f, g = world.cached(lambda x: [x], name="f"), world.cached(lambda x: [x], name="f", cache=other)
    with world.cache.disabled():
        for one in (f, f, g, g):
            world.call(one, 1)
        with other.disabled(), disabled():
            world.call(g, 1)
        world.call(f, 1)
        world.call(g, 1)
    assert (f.cache_info()[:2], g.cache_info()[:2]) == ((0, 0), (2, 1))


def test_disabled_ends_with_an_exception(world: World) -> None:
    """However the block ends, caching is on again after it."""
    f = world.cached(lambda x: [x], name="f")
    with pytest.raises(ZeroDivisionError), disabled():
        raise ZeroDivisionError
    for _ in range(2):
        world.call(f, 1)
    assert f.cache_info()[:2] == (1, 1)


def test_disabled_passes_exceptions(world: World) -> None:
    """Inside the block the function's own exceptions come out as they are."""
    f = world.cached(lambda x: 1 // x, name="f", errors=ZeroDivisionError)
    with disabled(), pytest.raises(ZeroDivisionError):
        world.call(f, 0)
    assert f.cache_info()[:2] == (0, 0)


def test_disabled_is_of_this_thread(local: World) -> None:
    """Another thread, started before or inside the block, caches as ever."""
    if local.is_async:
        return
    f = local.cached(lambda x: [x], name="f")
    f(1)
    seen: list[int] = []
    with disabled():
        thread = threading.Thread(target=lambda: [f(1), seen.append(f.cache_info().hits)])
        thread.start()
        thread.join(10)
    assert seen == [1]


def test_disabled_is_of_this_task(local: World) -> None:
    """A task is disabled by its own block and by those it was started in, and not by its siblings'."""
    cache = local.cache

    async def main() -> tuple[int, int]:
        @cache.cached(name="f")
        async def f(x: int) -> list[int]:
            return [x]

        await f(1)
        inside, done = asyncio.Event(), asyncio.Event()

        async def sibling() -> None:
            with disabled():
                inside.set()
                await done.wait()
                await f(1)

        task = asyncio.create_task(sibling())
        await inside.wait()
        await f(1)
        with disabled():
            child = asyncio.create_task(f(1))
        await child
        done.set()
        await task
        return f.cache_info()[:2]

    assert asyncio.run(main()) == (1, 1)


@pytest.mark.usefixtures("_own_default")
def test_the_default_cache() -> None:
    """Nothing configured means one `memory://` cache, made once."""
    cache = default_cache()
    assert default_cache() is cache
    assert "memory" in repr(cache)
    f = cached(lambda x: [x])
    assert [f(1), f(1)] == [[1], [1]]
    assert cache.stats().hits == 1


@pytest.mark.usefixtures("_own_default")
def test_configure_after_decoration() -> None:
    """Functions decorated before follow to the new default cache with their next call, in both directions."""
    f = cached(name="f")(lambda x: [x])
    f(1)
    backend = MemoryBackend()
    new = configure(backend, prefix="new", default_ttl="5m")
    assert default_cache() is new
    assert f.cache_parameters()["ttl"] == 300
    assert f.key_for(1).startswith("new:e:f:")
    f(1)
    f(1)
    assert f.cache_info()[:2] == (1, 1)
    assert backend.read([f.key_for(1)])[0] is not None
    configure("memory://")
    f(1)
    assert f.cache_info()[:2] == (0, 1)


@pytest.mark.usefixtures("_own_default")
def test_configure_after_decoration_of_methods() -> None:
    """Methods follow too."""

    class Thing:
        @cached(name="Thing.m")
        def m(self, x: int) -> list[int]:
            return [x]

    thing = Thing()
    thing.m(1)
    configure("memory://", prefix="new")
    assert [thing.m(1), thing.m(1)] == [[1], [1]]
    assert Thing.m.cache_info()[:2] == (1, 1)


@pytest.mark.usefixtures("_own_default")
def test_a_bad_configuration_leaves_the_old_one() -> None:
    """When `configure` refuses, the default cache stays as it was."""
    cache = default_cache()
    with pytest.raises(ConfigurationError):
        configure("parsecs://")
    with pytest.raises(TypeError, match="nonsense"):
        configure(nonsense=1)
    assert default_cache() is cache


@pytest.mark.usefixtures("_own_default")
def test_configure_with_nothing_and_with_null() -> None:
    """`configure()` gives a fresh default; on `null://` everything is computed and counted."""
    f = cached(name="f")(lambda x: [x])
    f(1)
    configure()
    assert f.cache_info() == (0, 0, 10_000, 0)
    configure("null://")
    for _ in range(3):
        assert f(1) == [1]
    assert f.cache_info()[:2] == (0, 3)


def test_the_environment() -> None:
    """`MEMOCACHE_URL`, `MEMOCACHE_PREFIX` and `MEMOCACHE_SECRET` are the default cache's settings; arguments win."""
    script = (
        "import memocache\n"
        "f = memocache.cached(name='f')(lambda x: x)\n"
        "print(f.key_for(1), repr(memocache.default_cache()))\n"
        "memocache.configure(prefix='mine')\n"
        "print(f.key_for(1), repr(memocache.default_cache()))\n"
        "memocache.configure('memory://', secret='other')\n"
        "print(f.key_for(1), repr(memocache.default_cache()))\n"
    )
    environment = {**os.environ, "MEMOCACHE_URL": "null://", "MEMOCACHE_PREFIX": "env", "MEMOCACHE_SECRET": "s3cret"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    first, second, third = done.stdout.splitlines()
    assert first.startswith("env:e:f:")
    assert "Null" in first
    assert second.startswith("mine:e:f:")
    assert "Null" in second
    assert third.startswith("env:e:f:")
    assert "memory" in third
    plain = Cache("null://", prefix="env").cached(name="f")(lambda x: x).key_for(1)
    assert len({plain, *(line.split()[0] for line in (first, third))}) == 3
    assert Cache("null://", prefix="env", secret="s3cret").cached(name="f")(lambda x: x).key_for(1) == first.split()[0]
    assert "s3cret" not in done.stdout


@pytest.mark.parametrize("url", ["", "parsecs://", "memory://?colour=red"])
def test_a_bad_environment(url: str) -> None:
    """A bad `MEMOCACHE_URL` does not break the import, and is a ConfigurationError at first use."""
    script = (
        "import memocache\n"
        "f = memocache.cached(lambda x: x)\n"
        "try:\n    f(1)\n"
        "except memocache.ConfigurationError:\n    print('refused')\n"
    )
    environment = {**os.environ, "MEMOCACHE_URL": url}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "refused\n", done.stderr


def test_the_face() -> None:
    """Everything the contract puts on the face is there."""
    names = [
        "Cache",
        "cached",
        "cached_many",
        "configure",
        "default_cache",
        "disabled",
        "MISSING",
        "CacheInfo",
        "CacheStats",
    ]
    names += [
        "FunctionStats",
        "EntryInfo",
        "Health",
        "MemocacheError",
        "ConfigurationError",
        "UnstableKeyError",
        "EncodeError",
    ]
    names += ["DecodeError", "BackendError", "ComputeTimeout", "UncacheableWarning", "UnsharedWarning"]
    missing: list[Any] = [name for name in names if name not in memocache.__all__ or not hasattr(memocache, name)]
    assert missing == []


def test_bulk_and_refresh_obey_disabled(world: World) -> None:
    """Inside `disabled()` `map` and `refresh` compute and store nothing."""
    f = world.cached(lambda x: x * 2, name="quiet")
    with disabled():
        assert world.call(f.map, [1, 2]) == [2, 4]
        assert world.call(f.refresh, 3) == 6
    for x in (1, 2, 3):
        assert world.call(f.peek, x) is MISSING


def test_stop_iteration_passes(world: World) -> None:
    """A function's own StopIteration comes out of the call, of `refresh` and of `map` as it was raised."""

    def ends(x: int) -> int:
        raise StopIteration(x)

    if world.is_async:  # a coroutine cannot raise StopIteration: Python makes it a RuntimeError
        return
    f = world.cached(ends, name="ends")
    for call in (lambda: f(1), lambda: f.refresh(1), lambda: f.map([1])):
        with pytest.raises(StopIteration):
            call()
