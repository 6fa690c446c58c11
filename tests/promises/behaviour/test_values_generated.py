"""Generated values come back type-exact from the process and from a real server.

`MEMOCACHE_EXAMPLES=100000 pytest tests/promises/behaviour/test_values_generated.py` is the long run.
"""

from __future__ import annotations

import datetime as dt
import os
import uuid
import zoneinfo
from collections import Counter, OrderedDict, deque
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from pathlib import PurePosixPath
from random import Random
from typing import Any

from tests.codecs.test_codec import Colour, Derived, Frozen, Level, Pair, Point, same
from tests.promises.behaviour.world import World

COUNT = int(os.environ.get("MEMOCACHE_EXAMPLES", "600"))
BATCH = 500
ZONES = (None, dt.UTC, dt.timezone(dt.timedelta(minutes=-150), "odd"), zoneinfo.ZoneInfo("Europe/Paris"))


def _moment(random: Random) -> dt.datetime:
    at = dt.datetime(random.randint(1, 9998), random.randint(1, 12), random.randint(1, 28), random.randint(0, 23))
    return at.replace(microsecond=random.randrange(10**6), tzinfo=random.choice(ZONES), fold=random.randrange(2))


def _text(random: Random) -> str:
    letters = ("a", "é", "e\u0301", "\0", "\ud800", "\N{GRINNING FACE}", " ", "{", "\n")
    return "".join(random.choices(letters, k=random.randrange(8)))


LEAVES = (
    lambda r: None,
    lambda r: r.random() < 0.5,
    lambda r: r.randint(-5, 300),
    lambda r: r.getrandbits(r.randrange(1, 300)) * r.choice((1, -1)),
    lambda r: r.choice((0.0, -0.0, float("nan"), float("inf"), r.gauss(0, 1e9))),
    lambda r: complex(r.gauss(0, 1), r.choice((0.0, -0.0, float("nan")))),
    _text,
    lambda r: r.randbytes(r.randrange(20)),
    lambda r: bytearray(r.randbytes(r.randrange(20))),
    lambda r: Decimal(r.choice(("1.0", "1.00", "-0", "NaN", "1E+50", str(r.gauss(0, 1))))),
    lambda r: Fraction(r.randint(-99, 99), r.randint(1, 99)),
    lambda r: uuid.UUID(int=r.getrandbits(128)),
    _moment,
    lambda r: _moment(r).date(),
    lambda r: _moment(r).timetz(),
    lambda r: dt.timedelta(days=r.randint(-999, 999), microseconds=r.randrange(10**9)),
    lambda r: range(r.randint(-9, 9), r.randint(-9, 99), r.choice((1, 2, -3))),
    lambda r: PurePosixPath(*r.choices(("a", "b c", "/", ".."), k=2)),
    lambda r: r.choice(list(Colour)),
    lambda r: r.choice(list(Level)),
)
HASHABLE = (_text, *(LEAVES[i] for i in (0, 1, 2, 3, 9, 10, 11, 12, 13, 18, 19)))


def value(random: Random, depth: int = 4) -> Any:
    """One random value, containers within containers."""
    if not depth or random.random() < 0.4:
        return random.choice(LEAVES)(random)
    several = [value(random, depth - 1) for _ in range(random.randrange(5))]
    keys = [random.choice(HASHABLE)(random) for _ in range(random.randrange(5))]
    make = random.choice(
        (
            lambda: several,
            lambda: tuple(several),
            lambda: dict(zip(keys, several, strict=False)),
            lambda: set(keys),
            lambda: frozenset(keys),
            lambda: OrderedDict(zip(keys, several, strict=False)),
            lambda: Counter("abracadabra"[: random.randrange(11)]),
            lambda: deque(several, random.choice((None, 9))),
            lambda: Pair(several, tuple(keys)),
            lambda: random.choice((_point, _frozen, _derived))(random, several),
        )
    )
    return make()


def _filled(cls: type, random: Random, parts: list[Any]) -> Any:
    made = object.__new__(cls)
    for name in cls.__dataclass_fields__:  # type: ignore[attr-defined]  # only dataclasses come here
        object.__setattr__(made, name, random.choice(parts) if parts else None)
    return made


def _point(random: Random, parts: list[Any]) -> Any:
    return _filled(Point, random, parts)


def _frozen(random: Random, parts: list[Any]) -> Any:
    return _filled(Frozen, random, parts)


def _derived(random: Random, parts: list[Any]) -> Any:
    return _filled(Derived, random, parts)


def test_generated_values_come_back(world: World) -> None:
    """Every one of `COUNT` generated values comes back equal and of the same types, through set_many and get_many."""
    random = Random(20261122)
    stream = (value(random) for _ in range(COUNT))
    seen = 0
    while batch := dict(zip(map(str, range(BATCH)), islice(stream, BATCH), strict=False)):
        world.ask("set_many", batch)
        back = world.ask("get_many", list(batch))
        assert back.keys() == batch.keys()
        for name, sent in batch.items():
            assert same(sent, back[name]), type(sent)
        seen += len(batch)
    assert seen == COUNT
