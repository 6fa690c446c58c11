"""The model: decorated calls, puts, invalidations, plain keys and time, beside a dict and a clock.

Every computation and every value put is a serial number of its own, so a value that should be gone is recognised.
The caches of a machine are the processes of a fleet: one on ``memory://``, two on anything shared.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import math
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from memocache import MISSING, Cache
from memocache.backends.memory import MemoryBackend
from memocache.testing import FakeClock
from memocache.typing import Put
from tests.promises.near.support import Heard

ARGUMENTS = st.sampled_from([0, 1, 1.0, True, "1", None, (1, "x"), [1, "x"]])
FLAGS = st.sampled_from([0, 1])
KEYS = st.sampled_from(["a", "b", "shop.opt"])
TAGS = st.sampled_from(["all", "t:1", "t:None"])
NAMES = st.sampled_from(["plain", "shop.tagged", "shop.failing"])
WHICH = st.integers(0, 1)
PLAIN_TTLS = st.sampled_from([20, 90, None])


class Kept(NamedTuple):
    """What the model holds of an entry: a serial number, or the error that carries one."""

    value: int
    expires: float
    tags: frozenset[str] = frozenset()
    error: bool = False


class Machine(RuleBasedStateMachine):
    """Compares caches with the model; subclasses choose the backend and the colour."""

    shared = False
    colour = "sync"
    local = 0

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.serials = itertools.count(1)
        self.computed: list[int] = []
        self.kept: dict[tuple[str, Any], Kept] = {}
        self.plain: dict[str, Kept] = {}
        self.runner = asyncio.Runner() if self.colour == "async" else None
        backend = self.backend()
        prefix = f"model-{uuid.uuid4().hex}"
        count = 2 if self.shared else 1
        self.caches = [Cache(backend, prefix=prefix, clock=self.clock, local=self.local) for _ in range(count)]
        self.heard = [Heard(cache) for cache in self.caches if self.local]
        self.settle()
        self.functions = [self.decorate(cache) for cache in self.caches]
        self.counted = [{name: [0, 0] for name in functions} for functions in self.functions]

    def backend(self) -> Any:
        """What the caches are given."""
        return "memory://"

    def settle(self) -> None:
        """Wait until what happened behind the caches' backs has been told to them."""
        for heard in self.heard:
            heard.settle()

    def teardown(self) -> None:
        for cache in self.caches:
            self.run(cache.aio.close() if self.runner else cache.close())
        if self.runner:
            self.runner.close()

    # -- the system under test

    def compute(self) -> int:
        """The body of every function: a serial number."""
        serial = next(self.serials)
        self.computed.append(serial)
        return serial

    def decorate(self, cache: Cache) -> dict[str, Any]:
        """The functions of one cache, by name."""

        def plain(a: Any) -> int:
            return self.compute()

        def tagged(a: Any, b: int = 0) -> int:
            return self.compute()

        def failing(a: Any) -> int:
            raise LookupError(self.compute())

        return {
            "plain": cache.cached(name="plain", ttl=None)(self.colourful(plain)),
            "shop.tagged": cache.cached(name="shop.tagged", ttl=50, tags=("all", "t:{a}"))(self.colourful(tagged)),
            "shop.failing": cache.cached(name="shop.failing", ttl=90, errors=LookupError, error_ttl=20)(
                self.colourful(failing)
            ),
        }

    def colourful(self, target: Callable[..., Any]) -> Callable[..., Any]:
        """`target`, or an async function of the same parameters."""
        if self.runner is None:
            return target
        if "b" in inspect.signature(target).parameters:

            async def two(a: Any, b: int = 0) -> Any:
                return target(a, b)

            return two

        async def one(a: Any) -> Any:
            return target(a)

        return one

    def run(self, result: Any) -> Any:
        """What a call or operation came to, in this machine's colour."""
        if self.runner is None or not inspect.isawaitable(result):
            return result

        async def wait() -> Any:
            return await result

        return self.runner.run(wait())

    def ask(self, which: int, operation: str, *args: Any, **kwargs: Any) -> Any:
        """An operation of one of the caches."""
        cache = self.cache(which)
        return self.run(getattr(cache.aio if self.runner else cache, operation)(*args, **kwargs))

    def cache(self, which: int) -> Cache:
        return self.caches[which % len(self.caches)]

    def function(self, which: int, name: str) -> Any:
        return self.functions[which % len(self.functions)][name]

    # -- the model

    def place(self, name: str, a: Any, b: int) -> tuple[str, Any]:
        """The model's key of a call: distinct for distinct types, which Python's own equality is not."""
        return name, (repr(a), b if name == "shop.tagged" else 0)

    def args(self, name: str, a: Any, b: int, spelling: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """One of several spellings of a call."""
        if name != "shop.tagged":
            return ((a,), {}) if spelling else ((), {"a": a})
        if b == 0 and spelling:
            return (a,), {}
        return ((a, b), {}) if spelling else ((), {"b": b, "a": a})

    def alive(self, held: dict[Any, Kept], key: Any) -> Kept | None:
        kept = held.get(key)
        return kept if kept is not None and self.clock.time() < kept.expires else None

    def keep(self, name: str, a: Any, b: int, value: int, error: bool = False) -> None:
        ttl = 20 if error else {"plain": math.inf, "shop.tagged": 50, "shop.failing": 90}[name]
        tags = frozenset({"all", f"t:{a}"}) if name == "shop.tagged" else frozenset()
        self.kept[self.place(name, a, b)] = Kept(value, self.clock.time() + ttl, tags, error)

    def forget(self, doomed: Callable[[tuple[str, Any], Kept], bool]) -> None:
        self.kept = {key: kept for key, kept in self.kept.items() if not doomed(key, kept)}

    def expect_computed(self, before: int, name: str, a: Any, b: int, value: int, error: bool) -> None:
        """Exactly one computation ran since `before`, it gave `value`, and the model keeps it."""
        assert self.computed[before:] == [value], "a computation too many or too few"
        assert error == (name == "shop.failing")
        self.keep(name, a, b, value, error)

    def outcome(self, call: Callable[[], Any]) -> tuple[int, bool]:
        """The serial number of a call, and whether it came as an error."""
        try:
            return self.run(call()), False
        except LookupError as error:
            return error.args[0], True

    # -- rules

    @rule(which=WHICH, name=NAMES, a=ARGUMENTS, b=FLAGS, spelling=FLAGS)
    def call(self, which: int, name: str, a: Any, b: int, spelling: int) -> None:
        """A call gives what the model holds, or computes once."""
        args, kwargs = self.args(name, a, b, spelling)
        kept, before = self.alive(self.kept, self.place(name, a, b)), len(self.computed)
        value, error = self.outcome(lambda: self.function(which, name)(*args, **kwargs))
        counted = self.counted[which % len(self.caches)][name]
        if kept is not None:
            assert (value, error) == (kept.value, kept.error), "not the value of the model"
            assert len(self.computed) == before
            counted[0] += 1
        else:
            self.expect_computed(before, name, a, b, value, error)
            counted[1] += 1

    @rule(which=WHICH, name=NAMES, a=ARGUMENTS, b=FLAGS)
    def refresh(self, which: int, name: str, a: Any, b: int) -> None:
        """A refresh computes whatever is there."""
        args, kwargs = self.args(name, a, b, 1)
        before = len(self.computed)
        value, error = self.outcome(lambda: self.function(which, name).refresh(*args, **kwargs))
        self.expect_computed(before, name, a, b, value, error)

    @rule(which=WHICH, name=NAMES, a=ARGUMENTS, b=FLAGS)
    def put(self, which: int, name: str, a: Any, b: int) -> None:
        """A put replaces what is there."""
        args, kwargs = self.args(name, a, b, 0)
        serial = next(self.serials)
        self.run(self.function(which, name).put(serial, *args, **kwargs))
        self.keep(name, a, b, serial)

    @rule(which=WHICH, name=NAMES, a=ARGUMENTS, b=FLAGS)
    def peek(self, which: int, name: str, a: Any, b: int) -> None:
        """A peek sees what a call would be served, never an error, and computes nothing."""
        args, kwargs = self.args(name, a, b, 1)
        kept, before = self.alive(self.kept, self.place(name, a, b)), len(self.computed)
        seen = self.run(self.function(which, name).peek(*args, **kwargs))
        assert seen == (MISSING if kept is None or kept.error else kept.value)
        assert len(self.computed) == before

    @rule(which=WHICH, several=st.lists(ARGUMENTS, max_size=4))
    def map(self, which: int, several: list[Any]) -> None:
        """A map is its calls in order."""
        held = {repr(a): self.alive(self.kept, self.place("plain", a, 0)) for a in several}
        before = len(self.computed)
        values = self.run(self.function(which, "plain").map(several))
        assert len(values) == len(several)
        counted = self.counted[which % len(self.caches)]["plain"]
        fresh: dict[str, int] = {}
        for a, value in zip(several, values, strict=True):
            kept = held[repr(a)]
            if kept is not None:
                assert value == kept.value, "not the value of the model"
            else:
                assert fresh.setdefault(repr(a), value) == value
                self.keep("plain", a, 0, value)
        assert sorted(self.computed[before:]) == sorted(fresh.values())
        info = self.function(which, "plain").cache_info()
        # an argument given twice may be found the second time: only the sum and the least of each are promised
        assert info.hits + info.misses == sum(counted) + len(several)
        assert info.misses >= counted[1] + len(fresh)
        counted[:] = [info.hits, info.misses]

    @rule(which=WHICH, name=NAMES, a=ARGUMENTS, b=FLAGS)
    def invalidate_call(self, which: int, name: str, a: Any, b: int) -> None:
        """One call is forgotten."""
        args, kwargs = self.args(name, a, b, 1)
        self.run(self.function(which, name).invalidate(*args, **kwargs))
        self.kept.pop(self.place(name, a, b), None)

    @rule(which=WHICH, name=NAMES, way=st.integers(0, 3))
    def invalidate_function(self, which: int, name: str, way: int) -> None:
        """A function is forgotten, by object, by name, by itself and with its counters."""
        function = self.function(which, name)
        if way == 0:
            self.ask(which, "invalidate", function)
        elif way == 1:
            self.ask(which, "invalidate", name)
        elif way == 2:
            self.run(function.invalidate_all())
        else:
            self.run(function.cache_clear())
            self.counted[which % len(self.caches)][name] = [0, 0]
        self.forget(lambda key, kept: key[0] == name)

    @rule(which=WHICH)
    def invalidate_glob(self, which: int) -> None:
        """A pattern forgets the functions it matches."""
        self.ask(which, "invalidate", "shop.*")
        self.forget(lambda key, kept: key[0].startswith("shop."))

    @rule(which=WHICH, tag=TAGS)
    def invalidate_tag(self, which: int, tag: str) -> None:
        """A tag forgets the calls and plain keys that carry it."""
        self.ask(which, "invalidate", tag=tag)
        self.forget(lambda key, kept: tag in kept.tags)
        self.plain = {key: kept for key, kept in self.plain.items() if tag not in kept.tags}

    @rule(which=WHICH)
    def clear(self, which: int) -> None:
        """A clear forgets everything."""
        self.ask(which, "clear")
        self.kept, self.plain = {}, {}

    @rule(seconds=st.sampled_from([1, 19, 20, 50, 100]))
    def advance(self, seconds: int) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    @rule(which=WHICH, key=KEYS, ttl=PLAIN_TTLS, tags=st.lists(TAGS, max_size=2), many=st.booleans())
    def set(self, which: int, key: str, ttl: int | None, tags: list[str], many: bool) -> None:
        """A plain key is stored."""
        serial = next(self.serials)
        if many:
            self.ask(which, "set_many", {key: serial}, ttl=ttl, tags=tags)
        else:
            self.ask(which, "set", key, serial, ttl=ttl, tags=tags)
        self.plain[key] = Kept(serial, self.clock.time() + (math.inf if ttl is None else ttl), frozenset(tags))

    @rule(which=WHICH, key=KEYS)
    def get(self, which: int, key: str) -> None:
        """Every way of reading a plain key agrees with the model."""
        kept = self.alive(self.plain, key)
        assert self.ask(which, "get", key) == (None if kept is None else kept.value)
        assert self.ask(which, "exists", key) == (kept is not None)
        assert self.ask(which, "get_many", [key, "absent"]) == ({} if kept is None else {key: kept.value})
        left = self.ask(which, "ttl", key)
        assert left == (None if kept is None else kept.expires - self.clock.time())

    @rule(which=WHICH, key=KEYS, many=st.booleans())
    def delete(self, which: int, key: str, many: bool) -> None:
        """A plain key is removed, and it is known whether it was there."""
        there = self.alive(self.plain, key) is not None
        gone = self.ask(which, "delete_many", [key]) if many else self.ask(which, "delete", key)
        assert gone == there
        self.plain.pop(key, None)

    @rule(which=WHICH, key=KEYS, ttl=PLAIN_TTLS)
    def expire(self, which: int, key: str, ttl: int | None) -> None:
        """A plain key is given another life."""
        kept = self.alive(self.plain, key)
        assert self.ask(which, "expire", key, ttl) == (kept is not None)
        if kept is not None:
            self.plain[key] = kept._replace(expires=self.clock.time() + (math.inf if ttl is None else ttl))

    @invariant()
    def counters_agree(self) -> None:
        """Hits and misses are those of the model; their sum is the number of calls."""
        for functions, counted in zip(self.functions, self.counted, strict=True):
            for name, function in functions.items():
                info = function.cache_info()
                assert [info.hits, info.misses] == counted[name], "not the counters of the model"


class SharedMachine(Machine):
    """Two caches on one backend, whose bytes a rule spoils."""

    shared = True

    def backend(self) -> Any:
        return MemoryBackend(self.clock.monotonic)

    @rule(name=NAMES, a=ARGUMENTS, b=ARGUMENTS, way=st.sampled_from(["another's", "cut", "noise"]))
    def plant(self, name: str, a: Any, b: Any, way: str) -> None:
        """Another key's envelope, a truncated one or noise at our key is nothing at all."""
        function, backend = self.function(0, name), self.caches[0]._guard.backend  # type: ignore[union-attr]  # shared
        mine, other = function.key_for(a), function.key_for(b)
        (raw,) = backend.read([other])
        if raw is None or (way == "another's" and mine == other):
            return
        spoiled = {"another's": raw, "cut": raw[: len(raw) // 2], "noise": b"\x00" + raw}[way]
        backend.transact([], [Put(mine, spoiled, 60_000)])
        self.settle()
        self.kept.pop(self.place(name, a, 0), None)
