"""Everything a program can do with a cache, done once with canaries: arguments and values that must appear nowhere.

`Surface.drive` uses every public method of `Cache` and of decorated functions, with each option of `cached`, on a real
server, and collects in `seen` what anybody but the caller gets to read: keys, figures, reprs, errors, warnings, events.
What the caller gets back (values, and the function's own exceptions) is theirs and not collected.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any

from memocache import BackendError, Cache, ComputeTimeout, EncodeError, UnstableKeyError
from memocache.backends.base import ReplyError
from memocache.instrumentation.logging import LoggingObserver
from memocache.testing import FailingBackend, FakeClock
from tests.promises.faults.rig import Rig, until

ARGUMENT = "canary-argument-7f3a"
NUMBER = 726194058163
VALUE = "canary-value-91c2"
CANARIES = [ARGUMENT, str(NUMBER), f"{NUMBER:x}", VALUE, ARGUMENT.encode().hex(), VALUE.encode().hex()]


class Unencodable:
    """A value that no backend holds, with a repr that tells."""

    def __repr__(self) -> str:
        return VALUE

    __str__ = __repr__


class Nameless:
    """An argument without identity, with a repr that tells."""

    __hash__ = None  # type: ignore[assignment]  # that is the point
    __slots__ = ()

    def __repr__(self) -> str:
        return ARGUMENT


class OwnTrouble(ValueError):
    """What the function under test raises."""


def _trouble() -> Any:
    raise OwnTrouble(VALUE)


@dataclasses.dataclass(frozen=True)
class Point:
    """An argument of a class."""

    name: str
    number: int


class Service:
    """An object whose methods are decorated, with a repr that tells."""

    def __repr__(self) -> str:
        return ARGUMENT


def body(x: Any, text: Any) -> Any:
    """What the functions under test compute."""
    if "raise" in str(text):
        raise OwnTrouble(VALUE, x)
    if "refuse" in str(text):
        return {"deep": [Unencodable()]}
    if "large" in str(text):
        return VALUE * 20_000
    return {"value": VALUE, "of": [VALUE] * 3, "bytes": VALUE.encode()}


class Surface:
    """One cache of one colour, and what was seen of it."""

    def __init__(self, rig: Rig, url: str, **options: Any) -> None:
        self.rig = rig
        self.clock = FakeClock()
        self.seen: list[str] = []
        self.events: list[Any] = []
        self.used: set[str] = set()
        self._options = options | {"clock": self.clock, "max_value_bytes": 100_000}
        self.cache = self._make(url)

    def _make(self, backend: Any, **more: Any) -> Cache:
        return self.rig.cache(backend, observers=[self._observe, LoggingObserver()], **self._options, **more)

    def _observe(self, event: Any) -> None:
        self.events.append(event)
        self.seen.append(repr(event))

    def note(self, thing: Any) -> Any:
        """Take in what is not the caller's alone: the text of it, and of an error all that a traceback would print."""
        self.seen += [repr(thing), str(thing)]
        if isinstance(thing, BaseException):
            self.seen += traceback.format_exception(thing)
        return thing

    def ask(self, operation: str, *args: Any, **kwargs: Any) -> Any:
        """A method of the cache, as the caller uses it."""
        self.used.add(operation)
        return self.rig.ask(self.cache, operation, *args, **kwargs)

    def act(self, function: Any, attribute: str, *args: Any, **kwargs: Any) -> Any:
        """A method of a decorated function, awaited where it has to be."""
        self.used.add(f".{attribute}")
        result = getattr(function, attribute)(*args, **kwargs)
        return self.rig.run(result) if asyncio.iscoroutine(result) or hasattr(result, "__await__") else result

    def refused(self, error: type[BaseException], act: Callable[[], Any]) -> None:
        """`act` raises `error`, which is noted."""
        try:
            act()
        except error as raised:
            self.note(raised)
        else:
            raise AssertionError(f"{error.__name__} expected")

    def function(self, cache: Cache, name: str, **settings: Any) -> Any:
        """A decorated function ``(x, *, text="")``."""
        if self.rig.is_async:

            async def coloured(x: Any, *, text: Any = "") -> Any:
                if "slow" in str(text):
                    await asyncio.sleep(0.3)
                return body(x, text)
        else:

            def coloured(x: Any, *, text: Any = "") -> Any:  # type: ignore[misc]  # the other colour
                if "slow" in str(text):
                    time.sleep(0.3)
                return body(x, text)

        return cache.cached(name=name, **settings)(coloured)

    def drive(self) -> None:
        """Use everything there is."""
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            self._calls()
            self._options_of_cached()
            self._loader()
            self._methods()
            self._key_values()
            self._looking_in()
            self._trouble()
            self.ask("clear")
            self.ask("purge")
        assert {one.category.__name__ for one in warned} >= {"UncacheableWarning", "UnsharedWarning"}
        for one in warned:
            self.seen.append(str(one.message))

    # -- decorated functions

    def _calls(self) -> None:
        """Every spelling, and every attribute of a function."""
        f = self.function(self.cache, "f", tags=["about:{x}"], errors=(ValueError, OwnTrouble), stale=60)
        arguments = [ARGUMENT, NUMBER, ARGUMENT.encode(), [{ARGUMENT: (NUMBER,)}], Point(ARGUMENT, NUMBER)]
        for x in arguments:
            for _ in range(2):
                self.rig.call(f, x)
            self.note(self.act(f, "key_for", x))
        for text in (f"{ARGUMENT} raise", f"{ARGUMENT} refuse", f"{ARGUMENT} large"):
            for _ in range(2):
                self.rig.call(lambda text=text: f(NUMBER, text=text))
        self.refused(UnstableKeyError, lambda: self.rig.run(f(Nameless())))
        self.refused(UnstableKeyError, lambda: self.act(f, "key_for", [ARGUMENT, Nameless()]))
        self.refused(TypeError, lambda: self.rig.run(f(ARGUMENT, NUMBER)))
        self.act(f, "map", [ARGUMENT, NUMBER, f"{ARGUMENT} 2"])
        self.act(f, "put", {"v": VALUE}, f"{ARGUMENT} 3")
        self.refused(EncodeError, lambda: self.act(f, "put", Unencodable(), ARGUMENT))
        self.act(f, "with_status", ARGUMENT)
        self.act(f, "map_with_status", [ARGUMENT, NUMBER])
        self.act(f, "peek", ARGUMENT)
        self.act(f, "refresh", ARGUMENT)
        for attribute in ("cache_info", "cache_parameters", "stats"):
            self.note(self.act(f, attribute))
        self.note(f)
        self.ask("invalidate", tag=f"about:{ARGUMENT}")
        self.act(f, "invalidate", ARGUMENT)
        self.act(f, "invalidate_all")
        self.rig.call(f, ARGUMENT)
        self.act(f, "cache_clear")
        self.ask("invalidate", f)
        self.ask("invalidate", "f*")

    def _options_of_cached(self) -> None:
        """Each option of `cached`, at least once."""
        cache = self.cache
        strict = self.function(cache, "strict", strict=True)
        self.refused(EncodeError, lambda: self.rig.run(strict(ARGUMENT, text="refuse")))
        for number, settings in enumerate(
            (
                {"key": "{x}:{text}", "tags": lambda x, text="": [f"of:{x}", f"about {text}"]},
                {"key": lambda x, text="": [ARGUMENT, x, text], "version": 2},
                {"exclude": ("text",), "jitter": 0.5, "early": 1.0},
                {"condition": lambda result: False, "maxsize": 3, "share": True},
                {"coalesce": "process", "ttl": lambda result: 30, "stale_if_error": 60},
                {"coalesce": None, "error_ttl": 5, "errors": (OwnTrouble,), "version": "auto"},
            )
        ):
            g = self.function(cache, f"g{number}", **settings)
            for _ in range(2):
                for text in (ARGUMENT, "raise"):
                    self.rig.call(lambda g=g, text=text: g(NUMBER, text=text))
            self.note(g.key_for(ARGUMENT, text=NUMBER))
            self.note(g.cache_parameters()["ttl"])
        slow = self.function(cache, "slow", hard_timeout=0.02, soft_timeout=0.01)
        self.refused(ComputeTimeout, lambda: self.rig.run(slow(ARGUMENT, text="slow")))
        aged = self.function(cache, "aged", ttl=5, stale=60, stale_if_error=60)
        self.rig.call(aged, ARGUMENT)
        self.clock.advance(10)
        self.rig.call(aged, ARGUMENT)  # refreshed behind it
        until(lambda: (self.rig.pause(0.001), [e for e in self.events if type(e).__name__ == "Refreshed"])[1])

    def _loader(self) -> None:
        """`cached_many`."""
        self.used.add("cached_many")

        def found(ids: list[Any]) -> dict[Any, Any]:
            if "raise" in ids:
                raise OwnTrouble(VALUE)
            return {one: Unencodable() if one == "refuse" else VALUE for one in ids if one != f"{ARGUMENT} none"}

        if self.rig.is_async:

            async def load(ids: list[Any]) -> dict[Any, Any]:
                return found(ids)
        else:

            def load(ids: list[Any]) -> dict[Any, Any]:  # type: ignore[misc]  # the other colour
                return found(ids)

        many = self.cache.cached_many(ttl=60, name="many", cache_missing=True)(load)
        for ids in ([ARGUMENT, NUMBER, f"{ARGUMENT} none"], [ARGUMENT, "refuse"], ["raise", ARGUMENT]):
            for _ in range(2):
                self.rig.call(many, ids)
        self.note(many)

    def _methods(self) -> None:
        """A method whose object has no value: its entries stay in the process, and a warning says so."""
        self.used.add("cached")
        is_async = self.rig.is_async

        class Shop(Service):
            if is_async:

                @self.cache.cached
                async def price(self, x: Any) -> Any:
                    return body(x, "")
            else:

                @self.cache.cached
                def price(self, x: Any) -> Any:
                    return body(x, "")

        shop = Shop()
        for _ in range(2):
            self.rig.call(shop.price, ARGUMENT)

    # -- the cache itself

    def _key_values(self) -> None:
        """Direct use. The keys are the user's own names and no canaries; the values are."""
        self.ask("set", "plain", {"v": VALUE}, ttl=60, tags=["tagged"])
        self.ask("set_many", {f"plain {i}": [VALUE, NUMBER] for i in range(3)})
        for operation in ("get", "exists", "ttl"):
            self.ask(operation, "plain")
        self.ask("expire", "plain", 90)
        for _ in range(2):
            self.ask("add", "counted", NUMBER)
        self.ask("incr", "counted", NUMBER)
        self.refused(TypeError, lambda: self.ask("incr", "plain"))
        self.refused(TypeError, lambda: self.ask("incr", "counted", VALUE))
        self.refused(EncodeError, lambda: self.ask("add", "refused", Unencodable()))
        for operation in ("get_many", "get_many_with_status"):
            self.ask(operation, ["plain", "plain 1", "none"])
        for make in (lambda: VALUE, Unencodable):
            self.ask("get_or_compute", "computed", make)
        with contextlib.suppress(OwnTrouble):  # the caller's own, raised as it is
            self.ask("get_or_compute", "failing", _trouble)
        self.refused(EncodeError, lambda: self.ask("set", "plain", [Unencodable()]))
        self.refused(EncodeError, lambda: self.ask("set", "plain", VALUE * 20_000))
        self.refused(ValueError, lambda: self.ask("set", "plain", VALUE, ttl=-1))
        self.refused(TypeError, lambda: self.ask("get", Nameless()))

        self.used.add("register")
        self.cache.register(Unencodable, lambda value: VALUE, lambda held: Unencodable())
        self.ask("set", "registered", Unencodable())
        self.ask("get", "registered")
        self.cache.register(Service, lambda value: 1 / 0, lambda held: Service())
        self.refused(EncodeError, lambda: self.ask("set", "registered", Service()))

    def _looking_in(self) -> None:
        """Keys, entries, figures, health."""
        again = self.function(self.cache, "again", tags=["about:{x}"])
        for _ in range(3):
            self.rig.call(again, ARGUMENT)
        self.used.add("keys")
        keys = self.rig.run(self._all_keys()) if self.rig.is_async else list(self.cache.keys())
        assert len(keys) > 5
        self.note(keys)
        for key in [*keys, again.key_for(ARGUMENT)]:
            self.note(self.ask("inspect", key))
        self.cache._operations.statistics._reporter.flush()  # type: ignore[union-attr]  # there is a backend
        for scope in ("process", "fleet"):
            self.note(self.ask("stats", scope))
            self.note(self.ask("details", "again", scope))
        self.note(self.ask("keys_page", again, None, 3))
        self.used.add("breaker")
        self.note(self.cache.breaker())
        self.note(self.ask("health"))
        self.note(self.cache)
        self.used.add("backend")
        self.note(self.cache.backend)
        self.note(self.cache.aio)
        self.ask("delete", "plain")
        self.ask("delete_many", ["plain 1", "none"])
        self.used.add("disabled")
        with self.cache.disabled():
            self.rig.call(again, ARGUMENT)

    async def _all_keys(self) -> list[str]:
        return [key async for key in self.cache.aio.keys()]  # noqa: SIM118  # a cache is no dict

    def _trouble(self) -> None:
        """Every operation over backends that fail with errors that quote arguments and values."""
        assert self.cache._guard is not None
        backend = self.cache._guard.backend
        told = f"{VALUE} {ARGUMENT}"
        for make in (
            lambda: KeyError(VALUE, ARGUMENT), lambda: ReplyError("ERR", told), lambda: ReplyError("WRONGTYPE", told),
            lambda: ConnectionError(told), lambda: TimeoutError(told), lambda: UnicodeError(told),
        ):  # fmt: skip
            sick = self._make(FailingBackend(backend, make), on_error="raise")
            f = self.function(sick, "sick")
            self.refused(BackendError, lambda f=f: self.rig.run(f(ARGUMENT)))
            for attribute in ("invalidate", "refresh"):
                self.refused(BackendError, lambda f=f, name=attribute: self.act(f, name, ARGUMENT))
            for operation, args in (
                ("get", ["a"]), ("set", ["a", VALUE]), ("delete", ["a"]), ("exists", ["a"]), ("expire", ["a", 5]),
                ("ttl", ["a"]), ("get_many", [["a"]]), ("set_many", [{"a": VALUE}]), ("delete_many", [["a"]]),
                ("invalidate", ["sick"]), ("clear", []), ("purge", []), ("inspect", ["a"]), ("stats", ["fleet"]),
            ):  # fmt: skip
                self.refused(BackendError, lambda sick=sick, name=operation, args=args: self.rig.ask(sick, name, *args))
            self.note(self.rig.ask(sick, "health"))
            calm = self._make(FailingBackend(backend, make))
            self.rig.call(self.function(calm, "calm"), ARGUMENT)
