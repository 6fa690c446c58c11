"""`Cache.aio`: the operations of a cache, awaitable. They are the same `Operations` that `Cache` carries out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from time import monotonic
from typing import Any, Literal, Self, TypeVar, cast, overload

from memocache._cache.closing import Lifetime
from memocache._cache.wiring import Operations
from memocache._calls.cache_core import Core
from memocache._calls.function import name_or_none
from memocache._calls.options import Ttl
from memocache._runtime.drivers import arun, unwrap
from memocache._stores.remote.envelope_io import UNFIT
from memocache.stats import CacheStats, CacheStatus, EntryInfo, FunctionDetails, Health, KeysPage
from memocache.typing import MISSING, Missing

T = TypeVar("T")


class AsyncCache:
    """The operations of a `Cache`, awaitable; `Cache.aio`."""

    def __init__(self, operations: Operations, core: Core, lifetime: Lifetime | None) -> None:
        self._core = core  # whoever has this object alone still has the cache
        self._lifetime = lifetime
        self._operations = operations
        self._get_soon, self._glance = operations.soon

    async def get(self, key: str, default: Any = None) -> Any:
        soon = self._get_soon(key)
        if soon is None:
            return await arun(self._operations.key_value.get(key, default))
        begun = monotonic()
        answer = await soon
        value = self._glance(answer)
        if value is UNFIT:
            return await arun(self._operations.key_value.get(key, default, answer, begun))
        self._operations.key_value.got(monotonic() - begun)
        return value

    async def set(self, key: str, value: Any, ttl: Any = MISSING, tags: Iterable[str] = ()) -> None:
        await arun(self._operations.key_value.set(key, value, ttl, tags))

    async def add(self, key: str, value: Any, ttl: Any = MISSING, tags: Iterable[str] = ()) -> bool:
        return cast(bool, await arun(self._operations.key_value.add(key, value, ttl, tags)))

    async def incr(self, key: str, delta: float = 1) -> Any:
        return await arun(self._operations.key_value.incr(key, delta))

    async def delete(self, key: str) -> bool:
        return cast(bool, await arun(self._operations.key_value.delete(key)))

    async def exists(self, key: str) -> bool:
        return cast(bool, await arun(self._operations.key_value.exists(key)))

    async def expire(self, key: str, ttl: Any) -> bool:
        return cast(bool, await arun(self._operations.key_value.expire(key, ttl)))

    async def ttl(self, key: str) -> float | None:
        return cast("float | None", await arun(self._operations.key_value.ttl(key)))

    async def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        return cast("dict[str, Any]", await arun(self._operations.key_value.get_many(keys)))

    async def get_many_with_status(self, keys: Iterable[str]) -> dict[str, tuple[Any, CacheStatus]]:
        found = await arun(self._operations.key_value.get_many_with_status(keys))
        return cast("dict[str, tuple[Any, CacheStatus]]", found)

    async def set_many(self, mapping: Mapping[str, Any], ttl: Any = MISSING, tags: Iterable[str] = ()) -> None:
        await arun(self._operations.key_value.set_many(mapping, ttl, tags))

    async def delete_many(self, keys: Iterable[str]) -> int:
        return cast(int, await arun(self._operations.key_value.delete_many(keys)))

    @overload
    async def get_or_compute(
        self, key: str, function: Callable[[], Awaitable[T]], ttl: Ttl | Missing = ..., tags: Iterable[str] = ...
    ) -> T: ...
    @overload
    async def get_or_compute(
        self, key: str, function: Callable[[], T], ttl: Ttl | Missing = ..., tags: Iterable[str] = ...
    ) -> T: ...
    async def get_or_compute(self, key: str, function: Any, ttl: Any = MISSING, tags: Iterable[str] = ()) -> Any:
        off = self._core.off()
        steps = self._operations.key_value.get_or_compute(key, function, ttl, tags, is_async=True, off=off)
        return unwrap(await arun(steps))

    async def invalidate(self, function: Any = None, *, tag: str | None = None) -> int:
        return await arun(self._operations.invalidation.invalidate(function, tag))

    async def clear(self) -> None:
        await arun(self._operations.invalidation.clear())

    async def purge(self, progress: Callable[[int, int], None] | None = None, *, unused: Any = "30d") -> int:
        return cast(int, await arun(self._operations.statistics.purge(progress, unused)))

    async def keys(self, function: Any = None) -> AsyncIterator[str]:
        seen: set[str] = set()
        cursor: Any = None
        while True:
            cursor, found = await arun(self._operations.scanner.keys_step(cursor, name_or_none(function)))
            for key in found:
                if key not in seen:
                    seen.add(key)
                    yield key
            if cursor is None:
                return

    async def keys_page(self, function: Any = None, cursor: str | None = None, limit: int = 100) -> KeysPage:
        return await arun(self._operations.pages.page(name_or_none(function), cursor, limit))

    async def inspect(self, key: str) -> EntryInfo | None:
        return cast("EntryInfo | None", await arun(self._operations.statistics.inspect(key)))

    async def stats(self, scope: Literal["process", "fleet"] = "process", *, entries: bool = True) -> CacheStats:
        return cast(CacheStats, await arun(self._operations.statistics.stats(scope, entries)))

    async def details(
        self, name: str, scope: Literal["process", "fleet"] = "process", *, entries: bool = True
    ) -> FunctionDetails | None:
        return cast("FunctionDetails | None", await arun(self._operations.details.details(name, scope, entries)))

    async def health(self) -> Health:
        return cast(Health, await arun(self._operations.health.check()))

    async def close(self) -> None:
        """Let go of connections and threads, those of other threads and event loops too. Using the cache again reopens
        it.
        """
        if self._lifetime is not None:
            await self._lifetime.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def describe_as(cls: type, source: type) -> None:
    """Give the methods of `cls` that have no description that of the method of the same name of `source`."""
    for name, method in vars(cls).items():
        if not name.startswith("_") and method.__doc__ is None:
            method.__doc__ = getattr(source, name).__doc__
