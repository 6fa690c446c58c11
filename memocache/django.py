"""A cache backend of Django's: ``"BACKEND": "memocache.django.MemocacheCache"`` (extra ``django``).

Values go through memocache's codec, not through pickle. Responses are stored by status, headers, cookies and content,
so `cache_page` and the cache middleware work; model instances and QuerySets are refused, on ``memory://`` too.
While the server is away reads find nothing and what is set is lost; what must not be believed to have happened
(`add`, `incr`, `touch`, `delete`, `clear`) raises `BackendError`.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.exceptions import ImproperlyConfigured
from django.http.response import HttpResponse

from memocache import MISSING, BackendError, Cache
from memocache.codecs.known import django as responses
from memocache.codecs.known.table import known_type

_OPTIONS = frozenset(inspect.signature(Cache).parameters) - {"backend", "default_ttl"}
_OF_DJANGO = {
    "default_ttl": "TIMEOUT beside OPTIONS says it",
    "backend": "LOCATION beside OPTIONS says it",
    "MAX_ENTRIES": "memory://?maxsize=10000 in LOCATION bounds a process's entries, maxmemory a server's",
    "CULL_FREQUENCY": "entries leave one by one, the least useful first; leave it out",
}
_lock = threading.Lock()
_caches: list[tuple[str, dict[str, Any], Cache]] = []
"""The caches by location and options: Django makes a backend object for each thread and task."""
_RAISED = object()


class _Question(NamedTuple):
    """What a method asks of the cache, in either colour; `lost` is its answer while the backend is away."""

    operation: str
    args: tuple[Any, ...]
    lost: Any = _RAISED
    answer: Callable[[Any], Any] | None = None


class MemocacheCache(BaseCache):  # type: ignore[misc]  # Django has no types
    """A cache of Django's on any backend of memocache's.

    ``LOCATION`` is a URL as `Cache` takes it (left out: ``memory://``); ``OPTIONS`` are the other arguments of `Cache`,
    ``prefix``, ``local``, ``secret`` and ``compress`` among them. With ``"on_error": "raise"`` every method raises
    `BackendError` while the backend is away. Raises `ImproperlyConfigured` for settings that cannot work.
    """

    def __init__(self, location: Any, params: dict[str, Any]) -> None:
        super().__init__(params)
        options = dict(params.get("OPTIONS") or {})
        for name in options:
            if name not in _OPTIONS:
                why = _OF_DJANGO.get(name, f"known options: {', '.join(sorted(_OPTIONS))}")
                raise ImproperlyConfigured(f"CACHES: OPTIONS does not take {name!r}: {why}")
        self.memocache = _cache_of(location, options)
        """The `Cache` itself, for functions that are to be on it: ``caches["default"].memocache.cached``."""
        self._raises = options.get("on_error") == "raise"

    # -- one key

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        return self._ask(self._get(key, default, version))

    async def aget(self, key: str, default: Any = None, version: int | None = None) -> Any:
        return await self._await(self._get(key, default, version))

    def _get(self, key: str, default: Any, version: int | None) -> _Question:
        return _Question("get", (self._key(key, version), default), default)

    def set(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        self._ask(self._set(key, value, timeout, version))

    async def aset(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        await self._await(self._set(key, value, timeout, version))

    def _set(self, key: str, value: Any, timeout: Any, version: int | None) -> _Question:
        made, ttl = self._key(key, version), self._ttl(timeout)
        if ttl is MISSING:
            return _Question("delete", (made,), None)
        return _Question("set", (made, self._storable(value), ttl), None)

    def add(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        return bool(self._ask(self._add(key, value, timeout, version)))

    async def aadd(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        return bool(await self._await(self._add(key, value, timeout, version)))

    def _add(self, key: str, value: Any, timeout: Any, version: int | None) -> _Question:
        made, ttl = self._key(key, version), self._ttl(timeout)
        if ttl is MISSING:
            return _Question("exists", (made,), answer=lambda there: not there)
        return _Question("add", (made, self._storable(value), ttl))

    def touch(self, key: str, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        return bool(self._ask(self._touch(key, timeout, version)))

    async def atouch(self, key: str, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        return bool(await self._await(self._touch(key, timeout, version)))

    def _touch(self, key: str, timeout: Any, version: int | None) -> _Question:
        made, ttl = self._key(key, version), self._ttl(timeout)
        return _Question("delete", (made,)) if ttl is MISSING else _Question("expire", (made, ttl))

    def delete(self, key: str, version: int | None = None) -> bool:
        return bool(self._ask(_Question("delete", (self._key(key, version),))))

    async def adelete(self, key: str, version: int | None = None) -> bool:
        return bool(await self._await(_Question("delete", (self._key(key, version),))))

    def has_key(self, key: str, version: int | None = None) -> bool:
        return bool(self._ask(_Question("exists", (self._key(key, version),), False)))

    async def ahas_key(self, key: str, version: int | None = None) -> bool:
        return bool(await self._await(_Question("exists", (self._key(key, version),), False)))

    def incr(self, key: str, delta: int = 1, version: int | None = None) -> Any:
        return self._ask(self._incr(key, delta, version))

    async def aincr(self, key: str, delta: int = 1, version: int | None = None) -> Any:
        return await self._await(self._incr(key, delta, version))

    def _incr(self, key: str, delta: int, version: int | None) -> _Question:
        return _Question("incr", (self._key(key, version), delta), answer=_found)

    # -- one computation

    def get_or_set(self, key: str, default: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> Any:
        """The value of `key`, else `default`, which is called if it can be, once however many ask at the same time."""
        ttl = self._ttl(timeout)
        if ttl is MISSING:
            found = self.get(key, MISSING, version)
            return found if found is not MISSING else default() if callable(default) else default
        made = self._key(key, version)

        def load() -> Any:
            return self._storable(default() if callable(default) else default, computed=True)

        return self.memocache.get_or_compute(made, load, ttl)

    async def aget_or_set(
        self, key: str, default: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> Any:
        """As `get_or_set`; what `default` returns is awaited if it can be."""

        async def load() -> Any:
            value = default() if callable(default) else default
            return await value if inspect.isawaitable(value) else value

        async def load_checked() -> Any:
            return self._storable(await load(), computed=True)

        ttl = self._ttl(timeout)
        if ttl is MISSING:
            found = await self.aget(key, MISSING, version)
            return found if found is not MISSING else await load()
        return await self.memocache.aio.get_or_compute(self._key(key, version), load_checked, ttl)

    # -- many keys

    def get_many(self, keys: Iterable[str], version: int | None = None) -> dict[str, Any]:
        return dict(self._ask(self._get_many(keys, version)))

    async def aget_many(self, keys: Iterable[str], version: int | None = None) -> dict[str, Any]:
        return dict(await self._await(self._get_many(keys, version)))

    def _get_many(self, keys: Iterable[str], version: int | None) -> _Question:
        given = {self._key(key, version): key for key in keys}
        return _Question("get_many", (given,), {}, lambda found: {given[made]: value for made, value in found.items()})

    def set_many(
        self, data: Mapping[str, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[str]:
        """Store every value of `data`; the keys that were not stored, which are all or none."""
        return list(self._ask(self._set_many(data, timeout, version)))

    async def aset_many(
        self, data: Mapping[str, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[str]:
        """As `set_many`."""
        return list(await self._await(self._set_many(data, timeout, version)))

    def _set_many(self, data: Mapping[str, Any], timeout: Any, version: int | None) -> _Question:
        made, ttl = {self._key(key, version): value for key, value in data.items()}, self._ttl(timeout)
        if ttl is MISSING:
            return _Question("delete_many", (made,), list(data), lambda _: [])
        stored = {key: self._storable(value) for key, value in made.items()}
        return _Question("set_many", (stored, ttl), list(data), lambda _: [])

    def delete_many(self, keys: Iterable[str], version: int | None = None) -> None:
        self._ask(_Question("delete_many", ([self._key(key, version) for key in keys],)))

    async def adelete_many(self, keys: Iterable[str], version: int | None = None) -> None:
        await self._await(_Question("delete_many", ([self._key(key, version) for key in keys],)))

    def clear(self) -> None:
        """Forget everything under the prefix, other aliases of the same ``LOCATION`` and prefix included."""
        self._ask(_Question("clear", ()))

    async def aclear(self) -> None:
        """As `clear`."""
        await self._await(_Question("clear", ()))

    # -- both colours

    def _ask(self, question: _Question) -> Any:
        try:
            found = getattr(self.memocache, question.operation)(*question.args)
        except BackendError:
            if self._raises or question.lost is _RAISED:
                raise
            return question.lost
        return found if question.answer is None else question.answer(found)

    async def _await(self, question: _Question) -> Any:
        try:
            found = await getattr(self.memocache.aio, question.operation)(*question.args)
        except BackendError:
            if self._raises or question.lost is _RAISED:
                raise
            return question.lost
        return found if question.answer is None else question.answer(found)

    def _key(self, key: str, version: int | None) -> str:
        return str(self.make_and_validate_key(key, version))

    def _ttl(self, timeout: Any) -> Any:
        """The ttl that a timeout means: None for ever, MISSING for what is over at once."""
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        timeout = int(timeout) if isinstance(timeout, bool) else timeout
        return MISSING if isinstance(timeout, int | float) and timeout <= 0 else timeout

    def _storable(self, value: Any, *, computed: bool = False) -> Any:
        """What is stored for a value: of a response of a class of its own, what is sent. Raises `EncodeError`."""
        if isinstance(value, HttpResponse) and known_type(type(value)) is None:
            value = responses.together(["HttpResponse", *responses.apart(value)[1:]])
        # else memory:// would hold by reference what a server refuses, and a computation be returned uncached
        if computed or self.memocache.backend is None:
            self.memocache._codec.encode(value)
        return value


def _found(value: Any) -> Any:
    """The sum of `incr`. Raises ValueError, as Django says, where the key had no value."""
    if value is None:
        raise ValueError("the key has no value to add to; set or add one first")
    return value


def _cache_of(location: Any, options: dict[str, Any]) -> Cache:
    """The cache of a location and options, the same for each thread and task. Raises `ImproperlyConfigured`."""
    if not isinstance(location, str):
        raise ImproperlyConfigured(
            "CACHES: LOCATION takes one URL as text; of a cluster redis+cluster://host1,host2 names several"
        )
    with _lock:
        for known, settings, cache in _caches:
            if known == location and settings == options:
                return cache
        try:
            cache = Cache(location or "memory://", **options)
        except (ValueError, TypeError) as refused:
            raise ImproperlyConfigured(f"CACHES: {refused}") from refused
        _caches.append((location, options, cache))
        return cache
