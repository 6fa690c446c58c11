"""The bytes of keys, as they were yesterday: another version of memocache, or of Python, that encodes a value otherwise
finds nothing of what is stored, and another value's bytes would find what is not its own.

A change here is a change of the layout of keys (docs/keys.md), never a matter of course.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import pathlib
import re
import sys
from collections import OrderedDict
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from memocache._calls.keys.canonical import canonical, canonical_args


class Level(enum.Enum):
    ONE = 1


class Bits(enum.Flag):
    A = 1
    B = 2


@dataclasses.dataclass
class Point:
    x: int
    y: int = dataclasses.field(default=0, compare=False)


class Pair(NamedTuple):
    left: int
    right: str


class Text(str):
    pass


class Loud(str):
    def __init__(self, text: str) -> None:
        self.volume = 11

    def __eq__(self, other: object) -> bool:
        return NotImplemented

    __hash__ = str.__hash__


class Keyed:
    def __cache_key__(self) -> str:
        return "me"


# The name of a class is in its keys; these bytes were first written in a module of this name.
WRITTEN_IN = "tests.unit.test_golden_keys"
sys.modules[WRITTEN_IN] = sys.modules[__name__]
for _cls in (Level, Bits, Point, Pair, Text, Loud, Keyed):
    _cls.__module__ = WRITTEN_IN

VALUES: dict[str, Any] = {
    "none": None,
    "true": True,
    "int": 1,
    "negative": -1,
    "int64": -(2**63),
    "uint64": 2**64 - 1,
    "huge": 2**64,
    "huge negative": -(2**63) - 1,
    "float": 1.0,
    "minus zero": -0.0,
    "nan": math.nan,
    "str": "é",
    "surrogate": "\ud800",
    "bytes": b"b",
    "bytearray": bytearray(b"b"),
    "tuple": (1, "a", None, 2.5, b"b", True),
    "empty tuple": (),
    "list": [1, "a"],
    "deep tuple": (1, (2, 3)),
    "deep list": [[], 1],
    "tuple of nan": (math.nan, 1),
    "tuple of huge": (2**64, 1),
    "tuple of subclass": (Text("a"),),
    "set": {"b", "a"},
    "set of ints": {3, 1, 2},
    "set of bytes": {b"b", b"a"},
    "mixed set": {1, "a"},
    "set of floats": {1.5, 0.5},
    "set of huge": {2**64, 1},
    "set of bools": {True},
    "set of tuples": {(1, (2, 3)), (1, (2, 4))},
    "set of a tuple of one": {((1,),)},
    "empty set": set(),
    "frozenset": frozenset({"b", "a"}),
    "mixed frozenset": frozenset({1, "a", None}),
    "dict": {"b": 1, "a": [2]},
    "dict of ints": {2: "b", 1: "a"},
    "mixed dict": {"b": 1, 2: "a"},
    "dict of huge": {2**64: 1, 1: 2},
    "dict of tuples": {(2,): 1, (1,): 2},
    "empty dict": {},
    "class": dict,
    "method of a class": str.join,
    "function": math.sin,
    "python function": dataclasses.fields,
    "key": Keyed(),
    "enum": Level.ONE,
    "flag": Bits.A | Bits.B,
    "dataclass": Point(1, 2),
    "named tuple": Pair(1, "a"),
    "derived": Text("a"),
    "derived with equality": Loud("a"),
    "ellipsis": ...,
    "not implemented": NotImplemented,
    "complex": 1 + 2j,
    "memoryview": memoryview(b"abcd").cast("i"),
    "range": range(1, 9, 2),
    "slice": slice(1, None, 2),
    "ordered dict": OrderedDict(b=1, a=2),
    "datetime": datetime(2020, 1, 2, 3, 4, 5, 6),
    "datetime utc": datetime(2020, 1, 2, tzinfo=UTC),
    "datetime fold": datetime(2020, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Paris")),
    "date": date(2020, 1, 2),
    "time": time(1, 2, 3, 4),
    "timedelta": timedelta(1, 2, 3),
    "timezone": timezone(timedelta(hours=1)),
    "named timezone": timezone(timedelta(hours=1), "X"),
    "zone": ZoneInfo("Europe/Paris"),
    "uuid": UUID(int=1),
    "decimal": Decimal("-1.50"),
    "decimal nan": Decimal("nan"),
    "decimal infinity": Decimal("inf"),
    "fraction": Fraction(1, 2),
    "pattern": re.compile("a", re.IGNORECASE),
    "posix path": pathlib.PurePosixPath("a/b"),
    "windows path": pathlib.PureWindowsPath("a/b"),
}

# fmt: off
GOLDEN: dict[str, bytes] = {
    "none": b".\xc0",
    "true": b".\xc3",
    "int": b".\x01",
    "negative": b".\xff",
    "int64": b".\xd3\x80\x00\x00\x00\x00\x00\x00\x00",
    "uint64": b".\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
    "huge": b"I\xc4\t\x01\x00\x00\x00\x00\x00\x00\x00\x00",
    "huge negative": b"I\xc4\t\xff\x7f\xff\xff\xff\xff\xff\xff\xff",
    "float": b".\xcb?\xf0\x00\x00\x00\x00\x00\x00",
    "minus zero": b".\xcb\x80\x00\x00\x00\x00\x00\x00\x00",
    "nan": b"~",
    "str": b".\xa2\xc3\xa9",
    "surrogate": b".\xa3\xed\xa0\x80",
    "bytes": b".\xc4\x01b",
    "bytearray": b"B\xc4\x01b",
    "tuple": b"(\x96\x01\xa1a\xc0\xcb@\x04\x00\x00\x00\x00\x00\x00\xc4\x01b\xc3",
    "empty tuple": b"(\x90",
    "list": b"[\x92\x01\xa1a",
    "deep tuple": b"T\x02.\x01(\x92\x02\x03",
    "deep list": b"L\x02[\x90.\x01",
    "tuple of nan": b"T\x02~.\x01",
    "tuple of huge": b"T\x02I\xc4\t\x01\x00\x00\x00\x00\x00\x00\x00\x00.\x01",
    "tuple of subclass": b"T\x01VT\x04.\xa7derivedC\x92\xbbtests.unit.test_golden_keys\xa4Text.\xa1a.\xc0",
    "set": b"<\x92\xa1a\xa1b",
    "set of ints": b"<\x93\x01\x02\x03",
    "set of bytes": b"<\x92\xc4\x01a\xc4\x01b",
    "mixed set": b"S\x02.\x01.\xa1a",
    "set of floats": b"S\x02.\xcb?\xe0\x00\x00\x00\x00\x00\x00.\xcb?\xf8\x00\x00\x00\x00\x00\x00",
    "set of huge": b"S\x02.\x01I\xc4\t\x01\x00\x00\x00\x00\x00\x00\x00\x00",
    "set of bools": b"S\x01.\xc3",
    "set of tuples": b"S\x02T\x02.\x01(\x92\x02\x03T\x02.\x01(\x92\x02\x04",
    "set of a tuple of one": b"S\x01T\x01(\x91\x01",
    "empty set": b"<\x90",
    "frozenset": b">\x92\xa1a\xa1b",
    "mixed frozenset": b"F\x03.\x01.\xa1a.\xc0",
    "dict": b"{\x92\xa1a\xa1bT\x02[\x91\x02.\x01",
    "dict of ints": b"{\x92\x01\x02(\x92\xa1a\xa1b",
    "mixed dict": b"D\x02.\x02.\xa1a.\xa1b.\x01",
    "dict of huge": b"D\x02.\x01.\x02I\xc4\t\x01\x00\x00\x00\x00\x00\x00\x00\x00.\x01",
    "dict of tuples": b"D\x02(\x91\x01.\x02(\x91\x02.\x01",
    "empty dict": b"{\x90(\x90",
    "class": b"C\x92\xa8builtins\xa4dict",
    "method of a class": b"G\x92\xa8builtins\xa8str.join",
    "function": b"G\x92\xa4math\xa3sin",
    "python function": b"G\x92\xabdataclasses\xa6fields",
    "key": b"VT\x03.\xa3keyC\x92\xbbtests.unit.test_golden_keys\xa5Keyed.\xa2me",
    "enum": b"VT\x03.\xa6memberC\x92\xbbtests.unit.test_golden_keys\xa5Level.\xa3ONE",
    "flag": b"VT\x03.\xa4flagC\x92\xbbtests.unit.test_golden_keys\xa4Bits.\x03",
    "dataclass": b"VT\x05.\xa6fieldsC\x92\xbbtests.unit.test_golden_keys\xa5Point(\x91\xa1x(\x91\x01.\xc0",
    "named tuple": b"VT\x04.\xa7derivedC\x92\xbbtests.unit.test_golden_keys\xa4Pair(\x92\x01\xa1a.\xc0",
    "derived": b"VT\x04.\xa7derivedC\x92\xbbtests.unit.test_golden_keys\xa4Text.\xa1a.\xc0",
    "derived with equality": b'VT\x04.\xa7derivedC\x92\xbbtests.unit.test_'
    b'golden_keys\xa4Loud.\xa1a{\x91\xa6volume(\x91\x0b',
    "ellipsis": b"V(\x91\xa8Ellipsis",
    "not implemented": b"V(\x91\xaeNotImplemented",
    "complex": b"V(\x93\xa7complex\xcb?\xf0\x00\x00\x00\x00\x00\x00\xcb@\x00\x00\x00\x00\x00\x00\x00",
    "memoryview": b"VT\x04.\xaamemoryview.\xa1i(\x91\x01.\xc4\x04abcd",
    "range": b"V(\x94\xa5range\x01\t\x02",
    "slice": b"V(\x94\xa5slice\x01\xc0\x02",
    "ordered dict": b"VT\x02.\xabOrderedDictT\x02(\x92\xa1b\x01(\x92\xa1a\x02",
    "datetime": b"V(\x92\xa8datetime\xc4\n\x07\xe4\x01\x02\x03\x04\x05\x00\x00\x06",
    "datetime utc": b'VT\x03.\xa8datetime.\xc4\n\x07\xe4\x01\x02\x00\x00\x00\x00\x00\x00VT\x03.'
    b'\xa8timezoneV(\x94\xa9timedelta\x00\x00\x00.\xa3UTC',
    "datetime fold": b'VT\x03.\xa8datetime.\xc4\n\x07\xe4\x8a\x19\x02\x1e\x00\x00\x00'
    b'\x00V(\x92\xa8ZoneInfo\xacEurope/Paris',
    "date": b"V(\x92\xa4date\xc4\x04\x07\xe4\x01\x02",
    "time": b"V(\x92\xa4time\xc4\x06\x01\x02\x03\x00\x00\x04",
    "timedelta": b"V(\x94\xa9timedelta\x01\x02\x03",
    "timezone": b"VT\x03.\xa8timezoneV(\x94\xa9timedelta\x00\xcd\x0e\x10\x00.\xa9UTC+01:00",
    "named timezone": b"VT\x03.\xa8timezoneV(\x94\xa9timedelta\x00\xcd\x0e\x10\x00.\xa1X",
    "zone": b"V(\x92\xa8ZoneInfo\xacEurope/Paris",
    "uuid": b"V(\x92\xa4UUID\xc4\x10\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01",
    "decimal": b"V(\x94\xa7Decimal\x01\xc4\x03\x01\x05\x00\xfe",
    "decimal nan": b"VT\x02.\xa7Decimal~",
    "decimal infinity": b"V(\x94\xa7Decimal\x00\xc4\x01\x00\xa1F",
    "fraction": b"V(\x93\xa8Fraction\x01\x02",
    "pattern": b'V(\x93\xa7Pattern\xa1a"',
    "posix path": b"V(\x93\xa4path\xadPurePosixPath\xa3a/b",
    "windows path": b"V(\x93\xa4path\xafPureWindowsPath\xa3a\\b",
}
# fmt: on


@pytest.mark.parametrize("name", VALUES)
def test_the_bytes_of_a_value(name: str) -> None:
    """What a value was known by, it is known by."""
    assert canonical(VALUES[name]) == GOLDEN[name]


def test_arguments_are_a_tuple() -> None:
    """The bytes of a call are those of the tuple of its arguments, in pieces of any kind."""
    for name, value in VALUES.items():
        for arguments in ((), (value,), (1, value), (value, "a")):
            assert canonical_args(arguments) == canonical(arguments), name


def test_every_golden_value_is_apart() -> None:
    """No two of them share their bytes."""
    assert len(set(GOLDEN.values())) == len(GOLDEN) == len(VALUES)
