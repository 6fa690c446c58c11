"""What the invalidation tests share: ways to invalidate, things that may be under way meanwhile, and who asks."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from typing import Any

from memocache import Cache
from memocache.testing import FakeClock
from tests.promises.flight.support import BOUND, auntil, join, traces

NAME = "shop.f"
WAYS: dict[str, Callable[[Any, Any], Any]] = {
    "args": lambda cache, f: f.invalidate(1),
    "key": lambda cache, f: cache.delete(f.key_for(1)),
    "function": lambda cache, f: cache.invalidate(f),
    "name": lambda cache, f: cache.invalidate(NAME),
    "glob": lambda cache, f: cache.invalidate("shop.*"),
    "tag": lambda cache, f: cache.invalidate(tag="t:1"),
    "clear": lambda cache, f: cache.clear(),
}
FLIGHTS = ("call", "refresh", "map", "many")


class Body:
    """What is computed: for each key its serial number, given out only while `go` is set."""

    def __init__(self) -> None:
        self.calls: Counter[int] = Counter()
        self.go = threading.Event()
        self.entered = threading.Semaphore(0)
        self._lock = threading.Lock()

    def begin(self, keys: list[int]) -> dict[int, int]:
        with self._lock:
            self.calls.update(keys)
            serials = {key: self.calls[key] for key in keys}
        self.entered.release()
        return serials

    def wait_entered(self) -> None:
        assert self.entered.acquire(timeout=BOUND), "nobody computes"

    def of(self, keys: list[int]) -> dict[int, int]:
        serials = self.begin(keys)
        assert self.go.wait(BOUND)
        return serials

    async def aof(self, keys: list[int]) -> dict[int, int]:
        serials = self.begin(keys)
        await auntil(self.go.is_set)
        return serials


class Threads:
    """The blocking colour: each submitted call has a thread of its own."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self._threads.append(thread)
        return future

    def face(self, cache: Cache) -> Any:
        return cache

    def close(self, caches: list[Cache]) -> None:
        join(*self._threads)


class Loop:
    """The awaiting colour: everything submitted runs on one loop, in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def submit(self, call: Callable[[], Coroutine[Any, Any, Any]]) -> Future[Any]:
        async def run() -> Any:
            return await call()

        return asyncio.run_coroutine_threadsafe(run(), self._loop)

    def face(self, cache: Cache) -> Any:
        return cache.aio

    def close(self, caches: list[Cache]) -> None:
        for cache in caches:
            self.submit(cache.aio.close).result(BOUND)
        self._loop.call_soon_threadsafe(self._loop.stop)
        join(self._thread)
        self._loop.close()


class Scene:
    """One function, a computation of it under way, somebody who invalidates, and a call that begins after that."""

    def __init__(self, make_cache: Callable[..., Cache], flight: str, colour: str, elsewhere: bool) -> None:
        self.clock = FakeClock()
        self.flight = flight
        self.is_async = colour == "async"
        self.runner: Threads | Loop = Loop() if self.is_async else Threads()
        self.body = Body()
        self.cache = make_cache(clock=self.clock)
        self.f = self.decorate(self.cache)
        self.other = make_cache(clock=self.clock) if elsewhere else self.cache
        self.g = self.decorate(self.other) if elsewhere else self.f

    def decorate(self, cache: Cache) -> Any:
        if self.flight == "many":
            return cache.cached_many(name=NAME, tags=("t:{n}",), ttl=10)(_loader(self.body, self.is_async))
        return cache.cached(name=NAME, tags=("t:{n}",), ttl=10, stale=1000)(_function(self.body, self.is_async))

    def do(self, call: Callable[[], Any]) -> Any:
        return self.runner.submit(call).result(BOUND)

    def call(self, f: Any = None) -> Future[Any]:
        """A call about the key 1."""
        f = f or self.f
        return self.runner.submit(lambda: f([1]) if self.flight == "many" else f(1))

    def start_old(self) -> int:
        """Have a computation of the key 1 under way, and return the serial number it will come to."""
        if self.flight == "refresh":
            self.body.go.set()
            assert self.serial(self.call()) == 1
            self.body.wait_entered()
            self.body.go.clear()
            self.clock.advance(11)
            assert self.serial(self.call()) == 1
            self.old = None
        elif self.flight == "map":
            self.old = self.runner.submit(lambda: self.f.map([1, 2]))
        elif self.flight == "many":
            self.old = self.runner.submit(lambda: self.f([1, 2]))
        else:
            self.old = self.call()
        self.body.wait_entered()
        return self.body.calls[1]

    def invalidate(self, way: str) -> None:
        face = self.runner.face(self.other)
        self.do(lambda: WAYS[way](face, self.g))

    def serial(self, future: Future[Any]) -> int:
        """What a call about the key 1 came to."""
        return first(future.result(BOUND))

    def quiet(self) -> bool:
        """Whether nothing of it is under way any more, in the background neither."""
        return not traces(self.cache) and not traces(self.other)

    def close(self) -> None:
        self.body.go.set()
        self.runner.close([self.cache, self.other])


def first(result: Any) -> int:
    """The serial number of the key 1 in what a call, a map or a load returned."""
    if isinstance(result, Mapping):
        return int(result[1])
    return int(result[0] if isinstance(result, list) else result)


def _function(body: Body, is_async: bool) -> Any:
    def f(n: int) -> int:
        return body.of([n])[n]

    async def af(n: int) -> int:
        return (await body.aof([n]))[n]

    return af if is_async else f


def _loader(body: Body, is_async: bool) -> Any:
    def load(n: list[int]) -> dict[int, int]:
        return body.of(n)

    async def aload(n: list[int]) -> dict[int, int]:
        return await body.aof(n)

    return aload if is_async else load
