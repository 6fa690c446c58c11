"""Classes that the fuzzed codec may rebuild; each tells if its own code ran (see `memocache.codecs.classes`)."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any, ClassVar, NamedTuple

import attrs
import msgspec
import pydantic


class Executed(BaseException):
    """Code ran that a payload must not be able to run; not an `Exception`, so that no decoder takes it for its own."""


def _tell(*args: Any, **kwargs: Any) -> Any:
    raise Executed


class Colour(enum.Enum):
    RED = 1
    BLUE = (2, 3)


class Right(enum.Flag):
    READ = 1
    WRITE = 2

    @classmethod
    def _missing_(cls, value: object) -> Any:
        raise Executed


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclasses.dataclass
class Point:
    x: Any
    y: Any = None

    __post_init__ = __setstate__ = __setattr__ = _tell


@dataclasses.dataclass(slots=True)
class Slotted:
    x: Any
    y: Any = None

    __post_init__ = _tell


@attrs.define
class Attrs:
    x: Any = attrs.field(validator=_tell, converter=_tell)
    y: Any = None

    __attrs_post_init__ = _tell


class Struct(msgspec.Struct):
    x: Any
    y: Any = None

    __post_init__ = _tell


class Model(pydantic.BaseModel, extra="allow"):
    x: Any
    y: Any = None
    _hidden: Any = pydantic.PrivateAttr(None)

    model_post_init: ClassVar[Any] = _tell
    __init__ = __setattr__ = _tell


class Oops(ValueError):
    """An exception that may be rebuilt, whose constructor may not run."""

    __init__ = __setstate__ = _tell  # type: ignore[assignment]  # it never returns


class Registered:
    """Registered with the codec: its own decoder, and nothing else, is run."""

    def __init__(self, x: Any) -> None:
        self.x = x
