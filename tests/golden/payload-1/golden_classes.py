"""The classes of the golden payloads, imported under the name ``golden_classes``; they never change."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any, NamedTuple

import attrs
import msgspec
import pydantic


class Colour(enum.Enum):
    RED = 1


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclasses.dataclass
class Point:
    x: Any
    y: Any


@attrs.define
class Attrs:
    x: Any


class Struct(msgspec.Struct):
    x: Any


class Model(pydantic.BaseModel, extra="allow"):
    x: int
    y: int = 2


@dataclasses.dataclass
class Registered:
    x: Any
