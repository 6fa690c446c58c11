"""What a long life of a process consists of, in turns: new keys, new functions, new caches, new event loops.

A scene is made once for each kind of backend and colour, and called with how many turns to take. What a turn brought
into being ends with the turn: no scene holds anything that it made.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

from memocache import Cache
from memocache.testing import FakeClock

DAY = 86_400.0
_TOGETHER = 100
_TTL = 600

Turns = Callable[[int], None]


def keys(url: str, colour: str) -> Turns:
    """Calls with arguments, plain keys and tags that nobody used before; the figures that they count are sent."""
    numbers = itertools.count()

    if colour == "sync":
        cache = Cache(url, prefix="keys-sync")
        f = cache.cached(name="f", ttl=_TTL, tags=["user:{x}"])(lambda x: [x])

        def turns(count: int) -> None:
            for x in itertools.islice(numbers, count):
                f(x)
                if not x % 10:
                    cache.set(f"plain-{x}", x, ttl=_TTL, tags=[f"plain:{x}"])

        return turns

    cache = Cache(url, prefix="keys-async")

    @cache.cached(name="f", ttl=_TTL, tags=["user:{x}"])
    async def g(x: int) -> list[int]:
        return [x]

    async def some(count: int) -> None:
        for first in range(0, count, _TOGETHER):
            await asyncio.gather(*map(g, itertools.islice(numbers, min(_TOGETHER, count - first))))
        await cache.aio.close()

    return lambda count: asyncio.run(some(count))


def functions(url: str, colour: str) -> Turns:
    """Decorators in a loop: closures over a number, over an object, and a bound method kept on its object."""
    numbers = itertools.count()
    cache = Cache(url, prefix=f"functions-{colour}")

    class Service:
        def __init__(self, number: int) -> None:
            self.number = number

        def __cache_key__(self) -> int:
            return self.number

        def raw(self, x: int) -> int:
            return self.number + x

    def made(number: int) -> Callable[[int], Any]:
        service = Service(number)
        if number % 3 == 0:
            return cache.cached(ttl=_TTL)(lambda x: number + x)
        if number % 3 == 1:
            return cache.cached(ttl=_TTL)(lambda x: service.number + x)
        get = service.get = cache.cached(ttl=_TTL)(service.raw)  # type: ignore[attr-defined]  # as users do
        return get

    def amade(number: int) -> Callable[[int], Awaitable[Any]]:
        @cache.cached(ttl=_TTL)
        async def get(x: int) -> int:
            return number + x

        return get

    async def some(count: int) -> None:
        for number in itertools.islice(numbers, count):
            await amade(number)(1)
        await cache.aio.close()

    def turns(count: int) -> None:
        for number in itertools.islice(numbers, count):
            made(number)(1)

    return turns if colour == "sync" else lambda count: asyncio.run(some(count))


def names(url: str, colour: str) -> Turns:
    """Functions with a name each that nobody uses again: `purge` takes names, markers and figures a month later."""
    numbers, clock = itertools.count(), FakeClock()

    async def call(cache: Cache, some: list[int]) -> None:
        for number in some:

            async def f(x: int) -> int:
                return x

            await cache.cached(name=f"name-{number}", ttl=_TTL)(f)(1)
        await cache.aio.close()

    def turns(count: int) -> None:
        some = list(itertools.islice(numbers, count))
        with Cache(url, prefix=f"names-{colour}", clock=clock) as cache:
            if colour == "sync":
                for number in some:
                    cache.cached(name=f"name-{number}", ttl=_TTL)(lambda x: x)(1)
            else:
                asyncio.run(call(cache, some))
        clock.advance(31 * DAY)
        with Cache(url, prefix=f"names-{colour}", clock=clock) as cache:
            cache.purge(unused="30d")

    return turns


def caches(url: str, colour: str) -> Turns:
    """Caches that are closed, and caches that are dropped without."""

    def turns(count: int) -> None:
        for number in range(count):
            cache = Cache(url, prefix=f"caches-{colour}")
            assert cache.cached(name="f", ttl=_TTL)(lambda x: x)(1) == 1
            if number % 2:
                cache.close()

    async def closed() -> None:
        async with Cache(url, prefix=f"caches-{colour}").aio as cache:
            await cache.set("k", 1, ttl=_TTL)

    async def some(count: int) -> None:
        for number in range(count):
            if number % 2:
                await closed()
                continue
            aio = Cache(url, prefix=f"caches-{colour}").aio
            await aio.set("k", 1, ttl=_TTL)
            if number % 4:
                await aio.close()

    return turns if colour == "sync" else lambda count: asyncio.run(some(count))


def loops(url: str, colour: str) -> Turns:
    """One cache, and an event loop for each turn; in the sync colour the loop's own threads make the calls."""
    cache = Cache(url, prefix=f"loops-{colour}")
    f = cache.cached(name="f", ttl=_TTL)(lambda x: x)

    @cache.cached(name="g", ttl=_TTL)
    async def g(x: int) -> int:
        return x

    async def one(x: int) -> None:
        if colour == "sync":
            assert await asyncio.to_thread(f, x) == x
        else:
            assert await g(x) == x

    def turns(count: int) -> None:
        for number in range(count):
            asyncio.run(one(number % 7))

    return turns


SCENES: dict[str, tuple[Callable[[str, str], Turns], int]] = {
    "keys": (keys, 100_000),
    "functions": (functions, 10_000),
    "names": (names, 10_000),
    "caches": (caches, 1_000),
    "loops": (loops, 5_000),
}
"""By name: what makes the scene, and how many turns the command takes."""
