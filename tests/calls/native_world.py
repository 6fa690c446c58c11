"""Two caches that do the same: one looks its function up in C, the other by the compiled look-up, the specification.

``python -m tests.calls.native_world 1000000`` drives both through so many random steps. The Hypothesis test beside it
drives them through few, and makes a failure small.
"""

from __future__ import annotations

import gc
import random
import sys
import weakref
from typing import Any
from unittest.mock import patch

from memocache import Cache, disabled
from memocache._calls import native_lookup
from memocache._runtime.native import NATIVE
from memocache.testing import FakeClock


class Number(int):
    """A subclass of a scalar, which is another call."""


class Text(str):
    """A subclass of a scalar whose equality lies."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return True


class Hostile:
    """An argument whose own code raises, or says that it is something else."""

    def __init__(self, what: str) -> None:
        self.what = what

    @property  # type: ignore[misc]  # a lie, on purpose
    def __class__(self) -> type:
        return int if self.what == "lies" else Hostile

    def __hash__(self) -> int:
        if self.what == "hash":
            raise ValueError("no hash")
        return 1

    def __eq__(self, other: object) -> bool:
        if self.what == "eq":
            raise ValueError("no equality")
        return isinstance(other, Hostile) or other == 1


class Thing:
    """A result that can be watched."""

    def __repr__(self) -> str:
        return "thing"


SCALARS: list[Any] = [
    0, 1, 2, 3, -1, 1.0, 2.0, True, False, None, "", "1", "a", b"1", b"", "é", 1.5, 0.0, -0.0, float("nan"),
    float("inf"), 10**30, 1 << 9000, "x" * 2000, -(2**63), 2**61 - 1,
]  # fmt: skip
ARGUMENTS: list[Any] = [
    *SCALARS, Number(1), Text("1"), Hostile("hash"), Hostile("eq"), Hostile("lies"), (1,), (1.0,), [1], {"a": 1}, int,
]  # fmt: skip
SPELLINGS = ["a", "a=", "ab", "a,b=", "b=,a=", "ac=", "b=", "none", "abc", "d=", "aa=", "**", "abc="]
RESULTS = ["int", "list", "dict", "set", "nested", "thing", "raise", "recurse", "forget", "other"]
CHANGES = ["advance", "invalidate", "all", "clear", "put", "peek", "refresh", "off", "gc", "unbind", "sweep", "expire"]
OPTIONS: list[dict[str, Any]] = [
    {}, {"ttl": 10}, {"maxsize": 2}, {"share": True}, {"idle": 7}, {"ttl": 4, "maxsize": 3}, {"key": "{a}"},
    {"exclude": "b"}, {"tags": "t"}, {"share": True, "maxsize": 3, "ttl": 20}, {"errors": ValueError},
    {"maxsize": None},
]  # fmt: skip


class World:
    """A cache with functions that do what they are told, one of which is the other by another decoration."""

    def __init__(self, options: dict[str, Any], *, native: bool) -> None:
        self.native = native
        self.clock = FakeClock()
        self.cache = Cache("memory://?maxsize=6", clock=self.clock)
        self.runs = 0
        self.result = "int"
        self.things: weakref.WeakSet[Thing] = weakref.WeakSet()
        world = self

        def plain(a: Any, b: Any = 2, *, c: Any = None) -> Any:
            return world.compute(a)

        def only(a: Any, /, b: Any = "b") -> Any:
            return world.compute(a)

        def none() -> Any:
            return world.compute(1)

        self.functions: list[Any] = [
            self.cache.cached(name=name, **(options if "{a}" not in str(options) or what is not none else {}))(what)
            for name, what in (("plain", plain), ("only", only), ("none", none))
            if what is not none or not {"exclude", "key"} & options.keys()
        ]
        self.bind()

    def bind(self) -> None:
        """Bind the functions, with their look-up in C or without it."""
        with patch.object(native_lookup, "NATIVE", NATIVE if self.native else None):
            for f in self.functions:
                f._self_state.bound()

    def compute(self, a: Any) -> Any:
        """What the functions return."""
        self.runs += 1
        result, self.result = self.result, "int"
        match result:
            case "list":
                return [self.runs, 2]
            case "dict":
                return {"runs": self.runs}
            case "set":
                return {self.runs}
            case "nested":
                return [[self.runs], {"a": []}]
            case "thing":
                thing = Thing()
                self.things.add(thing)
                return thing
            case "raise":
                raise ValueError(self.runs)
            case "recurse":
                return [self.functions[0](3), self.functions[0](a=3)]
            case "forget":
                self.functions[0].invalidate(1)
            case "other":
                self.cache.clear()
        return self.runs

    def call(self, f: Any, spelling: str, x: Any, y: Any) -> Any:
        """A call, in one of its spellings."""
        match spelling:
            case "a":
                return f(x)
            case "a=":
                return f(a=x)
            case "ab":
                return f(x, y)
            case "a,b=":
                return f(x, b=y)
            case "b=,a=":
                return f(b=y, a=x)
            case "ac=":
                return f(x, c=y)
            case "b=":
                return f(b=x)
            case "none":
                return f()
            case "abc":
                return f(x, y, x)
            case "d=":
                return f(x, d=y)
            case "aa=":
                return f(x, a=y)
            case "abc=":
                return f(x, y, c=x)
            case _:  # a name that is not interned
                return f(**{"".join(["", "a"]): x, "".join(("b", "")): y})

    def change(self, what: str, f: Any, x: Any) -> Any:
        """Something other than a call."""
        match what:
            case "advance":
                self.clock.advance(3)
            case "invalidate":
                return f.invalidate(x)
            case "all":
                return f.invalidate_all()
            case "clear":
                return f.cache_clear()
            case "put":
                return f.put([7], x)
            case "peek":
                return f.peek(x)
            case "refresh":
                return f.refresh(x)
            case "off":
                with disabled():
                    return f(x)
            case "gc":
                gc.collect(0)
            case "unbind":
                f._self_state.unbind()
            case "sweep":
                return self.cache._core.tier.sweep()
            case "expire":
                self.clock.advance(1000)
        return None

    def step(self, number: int, what: str, x: Any, y: Any, result: str) -> Any:
        """Do one thing; what came of it, and all that can be seen after it."""
        f = self.functions[number % len(self.functions)]
        self.result = result
        try:
            came = self.change(what, f, x) if what in CHANGES else self.call(f, what, x, y)
            seen: Any = (type(came), repr(came))
            if isinstance(came, list):
                came.append("changed by its caller")
            del came
        except Exception as error:
            seen = type(error), str(error)
            del error
        if what == "unbind":
            self.bind()
        return seen, self.runs, len(self.things), [self.held(f) for f in self.functions]

    def held(self, f: Any) -> Any:
        """The entries of a function, and what was counted."""
        table = f._self_state.bound()[1].table
        return (
            f.cache_info(),
            table.counters.hits,
            [(list(map(repr, entry.key)) if type(entry.key) is tuple else "digest", entry.hits, entry.last, entry.rank,
              entry.fresh_until, entry.ttl) for entry in table.entries.values()],
        )  # fmt: skip

    def references(self) -> list[int]:
        """How many references there are to each entry and its value."""
        entries = [entry for f in self.functions for entry in f._self_state.bound()[1].table.entries.values()]
        return [
            count
            for entry in entries
            for count in (sys.getrefcount(entry), 0 if _shared(entry.value) else sys.getrefcount(entry.value))
        ]


Step = tuple[int, str, int, int, str]


def drive(options: dict[str, Any], steps: list[Step]) -> int:
    """Take both worlds through the same steps; how many calls the C served. Raises AssertionError where they part."""
    gc.collect()
    held = _references()
    native, pure = World(options, native=True), World(options, native=False)
    gc.disable()  # garbage holds entries, and is to go at the same steps in both
    for number, what, x, y, result in steps:
        a, b = (world.step(number, what, ARGUMENTS[x], ARGUMENTS[y], result) for world in (native, pure))
        assert a == b, (options, what, ARGUMENTS[x], ARGUMENTS[y], result, a, b)
    gc.collect()
    if "errors" not in options:  # the frames of a kept error hold what they looked at
        assert native.references() == pure.references(), (options, native.references(), pure.references())
    served = sum(f._self_hit.indexed for f in native.functions if hasattr(f, "_self_hit"))
    for world in (native, pure):
        world.cache.close()
        world.functions.clear()
    del native, pure, world, a, b
    gc.enable()
    gc.collect()
    gc.collect()  # what finalizers of the first let go of
    assert _references() == held
    return served


def _references() -> list[int]:
    """How many references there are to each argument that is not all of Python's."""
    return [sys.getrefcount(argument) for argument in ARGUMENTS if not _shared(argument)]


def _shared(argument: Any) -> bool:
    """Whether all of Python refers to an object."""
    small = type(argument) is int and -6 < argument < 257
    return (
        argument is None
        or small
        or type(argument) in (bool, type)
        or (type(argument) in (str, bytes) and len(argument) < 2)
    )


def random_steps(source: random.Random, count: int) -> list[Step]:
    """Steps of which most are calls of a few arguments, so that most are hits."""
    kinds = range(len(SCALARS) if source.random() < 0.6 else len(ARGUMENTS))
    few, others = source.sample(kinds, source.choice((2, 3, 8))), source.sample(kinds, 2)
    advancing = source.choice((0.0, 0.1, 0.3))
    changing = advancing + source.choice((0.01, 0.03, 0.2))

    def spelled() -> str:
        return source.choice(SPELLINGS[:7] if source.random() < 0.8 else SPELLINGS)

    return [
        (
            source.choice((0, 0, 0, 0, 0, 0, 1, 2)),
            "advance"
            if (chance := source.random()) < advancing
            else source.choice(CHANGES)
            if chance < changing
            else spelled(),
            source.choice(few),
            source.choice(others),
            source.choice(RESULTS),
        )
        for _ in range(count)
    ]


def main(count: int, seed: int) -> None:
    """Drive so many steps."""
    import warnings

    warnings.simplefilter("ignore")
    done = served = 0
    while done < count:
        source = random.Random(seed + done)
        steps = random_steps(source, 250)
        served += drive(source.choice(OPTIONS), steps)
        done += len(steps)
    print(f"{done} steps, seed {seed}: alike; {served} entries were in an index at the end")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
