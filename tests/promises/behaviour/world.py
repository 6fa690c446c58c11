"""One way to write a behaviour test for every backend and both colours.

A `World` is a backend, a colour and a clock that stands still. Tests write plain functions; in an async world the
function under test becomes an ``async def`` of the very same signature, and `World.call` runs what it returns::

    def test_it(world):
        @world.cached(ttl=60)
        def f(x): ...
        assert world.call(f, 1) == ...
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import re
import shutil
from collections.abc import Callable
from inspect import Parameter
from typing import Any

from memocache import Cache
from memocache._runtime import drivers as _runtime
from memocache.backends.disk import DiskBackend
from memocache.backends.memory import MemoryBackend
from memocache.testing import FakeClock
from memocache.typing import Put
from tests.patience import unhurried
from tests.promises.flight.support import until
from tests.promises.near.support import Heard
from tests.scratch import scratch


def as_async(target: Any) -> Any:
    """Return an ``async def`` with the signature, names and documentation of `target`, which it calls."""
    if isinstance(target, classmethod | staticmethod):
        return type(target)(as_async(target.__func__))
    if isinstance(target, functools.partial):
        return functools.partial(as_async(target.func), *target.args, **target.keywords)
    parameters = list(inspect.signature(target).parameters.values())
    spelled, passed, star, slash = [], [], False, False
    for index, parameter in enumerate(parameters):
        name, kind = parameter.name, parameter.kind
        if slash and kind is not Parameter.POSITIONAL_ONLY:
            spelled.append("/")
            slash = False
        if kind is Parameter.KEYWORD_ONLY and not star:
            spelled.append("*")
            star = True
        mark = {Parameter.VAR_POSITIONAL: "*", Parameter.VAR_KEYWORD: "**"}.get(kind, "")
        default = "" if parameter.default is Parameter.empty else f"=behaviour_defaults[{index}]"
        spelled.append(mark + name + default)
        passed.append(f"{name}={name}" if kind is Parameter.KEYWORD_ONLY else mark + name)
        star = star or kind is Parameter.VAR_POSITIONAL
        slash = kind is Parameter.POSITIONAL_ONLY
    if slash:
        spelled.append("/")
    source = (
        f"def make(behaviour_target, behaviour_defaults):\n"
        f"    async def made({', '.join(spelled)}):\n"
        f"        return behaviour_target({', '.join(passed)})\n"
        f"    return made\n"
    )
    namespace = dict(getattr(target, "__globals__", {}))  # what its annotations are looked up in
    exec(source, namespace)
    made = namespace["make"](target, [parameter.default for parameter in parameters])
    for attribute in ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__"):
        setattr(made, attribute, getattr(target, attribute))
    return made


def unbucketed(key: str) -> str:
    """A key without the bucket that it has in a cluster."""
    return re.sub(r":\{[0-9a-f]+\}:", ":", key, count=1)


class World:
    """A backend (`kind`), a `colour` and a `clock`; everything opened through it is closed by `close`.

    The kind "tiered" is a server with copies held in the process, which are heard of before the next step.
    """

    def __init__(self, kind: str, colour: str, server: Any) -> None:
        self.kind = kind
        self.colour = colour
        self.shared = kind != "memory"
        self.clock = FakeClock()
        self.server = server
        self._object: Any = MemoryBackend(self.clock.monotonic)
        self._directory = scratch() if kind == "disk" else None
        if self._directory is not None:
            self._object = DiskBackend(self._directory)
        self._caches: list[Cache] = []
        self._heard: list[Heard] = []
        self._runner: asyncio.Runner | None = None
        self._main: Cache | None = None

    @property
    def is_async(self) -> bool:
        """Whether functions under test are ``async def``."""
        return self.colour == "async"

    @property
    def backend(self) -> Any:
        """What `Cache` is given: a URL or a backend object."""
        if self.kind == "memory":
            return "memory://"
        if self._directory is not None:
            return f"disk://{self._directory}"
        return self._object if self.server is None else unhurried(self.server.url)

    @property
    def cache(self) -> Cache:
        """The world's one cache, with the defaults."""
        if self._main is None:
            self._main = self.new_cache()
        return self._main

    def new_cache(self, **options: Any) -> Cache:
        """Another cache on the same backend (on a shared one: as another process would have it)."""
        local = {"local": 1000} if self.kind == "tiered" else {}
        cache = Cache(self.backend, **{"clock": self.clock, **local, **options})
        self._caches.append(cache)
        if self.kind == "tiered":
            self._heard.append(Heard(cache))
            self._heard[-1].settle()
        return cache

    def settle(self) -> None:
        """Wait until every cache has heard of what others did before now."""
        for heard in self._heard:
            heard.settle()

    def colourful(self, target: Any) -> Any:
        """`target` in this world's colour."""
        return as_async(target) if self.is_async else target

    def cached(self, target: Any = None, /, cache: Cache | None = None, **settings: Any) -> Any:
        """Decorate in this world's colour, bare or with settings."""
        on = cache or self.cache

        def decorate(target: Any) -> Any:
            return on.cached(**settings)(self.colourful(target))

        return decorate if target is None else decorate(target)

    def run(self, result: Any) -> Any:
        """What a call came to: awaited in an async world."""
        if not inspect.isawaitable(result):
            return result

        async def wait() -> Any:
            return await result

        if self._runner is None:
            self._runner = asyncio.Runner()
        # the caller's context, as an `asyncio.run` of its own would have it
        return self._runner.run(wait(), context=contextvars.copy_context())

    def call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call and await as the colour needs."""
        return self.run(function(*args, **kwargs))

    def ask(self, operation: str, /, *args: Any, cache: Cache | None = None, **kwargs: Any) -> Any:
        """A method of the cache, or of its `aio` in an async world; an iterator comes back as a list."""
        cache = cache or self.cache
        result = getattr(cache.aio if self.is_async else cache, operation)(*args, **kwargs)
        if hasattr(result, "__aiter__"):

            async def collect() -> list[Any]:
                return [item async for item in result]

            return self.run(collect())
        return list(result) if operation == "keys" else self.run(result)

    # -- what stands in a shared backend, seen without memocache

    @functools.cached_property
    def _client(self) -> Any:
        """One plain client of the server."""
        assert self.server is not None
        return self.server.onlooker if self.kind == "cluster" else self.server.client()

    def full_raw(self, name: str) -> str:
        """The key in the backend that has this name, but for a cluster's bucket."""
        return next(key for key in self.keys_raw() if unbucketed(key) == name)

    def read_raw(self, key: str) -> bytes | None:
        """The bytes under a key of the backend."""
        if self.server is None:
            return self._object.read([key])[0]
        return self._client.get(key)

    def write_raw(self, key: str, value: bytes, ttl_ms: int | None = 3_600_000) -> None:
        """Put bytes under a key of the backend."""
        if self.server is None:
            self._object.transact([], [Put(key, value, ttl_ms)])
            return
        self._client.set(key, value, px=ttl_ms)
        self.settle()

    def keys_raw(self) -> list[str]:
        """Every key in the backend."""
        if self._directory is not None:
            return sorted(_all(self._object))
        if self.server is None:
            return list(self._object._cells)
        return sorted(key.decode() for key in self._client.scan_iter(count=1000))

    def deadline_raw(self, key: str) -> Any:
        """When the backend itself will drop a key, on its own clock (None: never)."""
        if self._directory is not None:
            return self._object._view(lambda txn: txn.get(key.encode()), None)[:8]
        if self.server is None:
            return self._object._cells[key].dies
        return self._client.execute_command("PEXPIRETIME", key)

    def close(self) -> None:
        """Close what was opened, once nothing is refreshed in the background, and stored into the next world."""
        if self._runner is None:
            until(lambda: _runtime._background == 0)
        if "_client" in vars(self) and self.kind != "cluster":
            self._client.close()
        for cache in self._caches:
            if self._runner is not None:
                self._runner.run(cache.aio.close())
            cache.close()
        if self._runner is not None:
            self._runner.close()
        if self._directory is not None:
            self._object.close()
            # whoever lets go of a lease at this moment may make a file that was not there
            shutil.rmtree(self._directory, ignore_errors=True)
            shutil.rmtree(self._directory, ignore_errors=True)


def _all(backend: Any) -> list[str]:
    """Every key of a backend."""
    cursor, keys = backend.scan("")
    while cursor is not None:
        cursor, more = backend.scan("", cursor)
        keys += more
    return keys
