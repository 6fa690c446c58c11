"""The codec at the edges: objects half made, bodies half right, annotations that cannot be read."""

from __future__ import annotations

import dataclasses
import enum
import io
import shutil
import struct
import sys
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple, NewType, TypeVar
from zoneinfo import ZoneInfo

import msgpack
import pytest

from memocache.codecs import Codec
from memocache.exceptions import DecodeError, EncodeError
from tests.calls.test_canonical_limits import ZONE_FILE


class Colour(enum.Enum):
    RED = 1


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclasses.dataclass(slots=True)
class Slotted:
    x: int
    y: int


@dataclasses.dataclass
class Held:
    x: int


@dataclasses.dataclass
class Bounding:
    x: int


class Failure(Exception):
    pass


Own = NewType("Own", Held)
Bound = TypeVar("Bound", bound=Bounding)


def payload(code: int, thing: Any) -> bytes:
    """An extension whose body is `thing`."""
    body: bytes = msgpack.packb(thing)
    return struct.pack(">BIb", 0xC9, len(body), code) + body


def test_a_slot_without_a_value_comes_back_without_one() -> None:
    """A field that was deleted is absent again, and no default takes its place."""
    codec = Codec()
    value = Slotted(1, 2)
    del value.y
    back: Any = codec.decode(codec.encode(value))
    assert back.x == 1
    assert not hasattr(back, "y")


def test_objects_made_past_their_class_are_refused() -> None:
    """A namedtuple of another length and an Enum's value that is no member could not be rebuilt as they are."""
    short = tuple.__new__(Pair, (1,))
    stray = object.__new__(Colour)
    stray._name_, stray._value_ = "RED", 1
    for value, reason in ((short, "another length"), (stray, "no member")):
        with pytest.raises(EncodeError, match=reason):
            Codec().encode(value)


def test_values_whose_text_is_not_theirs_are_refused() -> None:
    """A zone read from a stream has no name; a path like ``./c:x`` has, on older interpreters, the text of another."""
    with pytest.raises(EncodeError, match="without a key"):
        Codec().encode(ZoneInfo.from_file(io.BytesIO(ZONE_FILE)))
    path = PureWindowsPath("./c:x")
    if PureWindowsPath(str(path)) == path:
        assert Codec().decode(Codec().encode(path)) == path
    else:
        with pytest.raises(EncodeError, match="means another path"):
            Codec().encode(path)


@pytest.mark.parametrize(
    "parts",
    [
        [{"x": 1}, {}, [], ["x"], [], None],
        [{"x": 1}, {}, [], ["x"], None, 3],
        [{"x": 1}, {1: 2}, [], ["x"], None, None],
        [{"x": 1}, {}, [], ["x"], {2: 3}, None],
        [{"x": 1}, {"x": 2}, [], ["x"], None, None],
    ],
)
def test_a_malformed_model_is_refused(parts: list[Any]) -> None:
    """A pydantic model's extra and private parts are dicts or nil, its names are texts, its attributes no fields."""
    pydantic = pytest.importorskip("pydantic")
    model: Any = pydantic.create_model("Model", x=(int, ...), __module__=__name__)
    vars(sys.modules[__name__])["Model"] = model
    try:
        codec = Codec()
        codec.trust(model)
        with pytest.raises(DecodeError, match="malformed model"):
            codec.decode(payload(37, [f"{__name__}:Model", *parts]))
    finally:
        del vars(sys.modules[__name__])["Model"]


def test_an_overlong_fraction_is_refused() -> None:
    """Reducing is quadratic, so what would take long is refused before."""
    long = msgpack.ExtType(5, b"\x7f" + bytes(8193))
    with pytest.raises(DecodeError, match="too large a Fraction"):
        Codec().decode(payload(12, [long, 1]))


def test_an_error_that_its_class_does_not_take_is_refused() -> None:
    """Arguments that a built-in exception's constructor refuses are a DecodeError, not its TypeError."""
    with pytest.raises(DecodeError, match="malformed"):
        Codec().decode_error(Codec().encode(["builtins:UnicodeDecodeError", [1], {}]))


def test_a_long_extension_of_another_length_than_it_says_is_refused() -> None:
    """One large extension is read without a copy, and still only if all of it is there and nothing more."""
    whole = struct.pack(">BIb", 0xC9, 5000, 4) + bytes(5000)
    assert Codec().decode(whole) == bytearray(5000)
    for other in (whole[:-1], whole + b"\0"):
        with pytest.raises(DecodeError, match="cut short or too long"):
            Codec().decode(other)


@pytest.mark.parametrize("size", [0, 255, 256, 65_535, 65_536, 70_000])
def test_bodies_of_any_length_come_back(size: int) -> None:
    """The three forms of an extension's header, and a packer that is too large to be kept."""
    codec = Codec()
    for value in (bytearray(size), [bytearray(size)], ["x" * size]):
        assert codec.decode(codec.encode(value)) == value


def test_a_later_class_of_the_same_name_replaces_the_registered_one() -> None:
    """A module that is reloaded registers its class again; instances of the former are then refused."""
    codec = Codec()
    former, later = (type("Thing", (), {"__module__": __name__}) for _ in range(2))
    for cls in (former, later):
        codec.register(cls, lambda value: None, lambda plain, cls=cls: cls())  # type: ignore[misc]
    assert type(codec.decode(codec.encode(later()))) is later
    with pytest.raises(EncodeError):
        codec.encode(former())


def test_a_class_of_a_trusted_module_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A module may be trusted and the class be gone, or of no kind that can be rebuilt."""
    codec = Codec(trust=(__name__,))
    assert codec.decode(payload(34, [f"{__name__}:Held", {"x": 1}])) == Held(1)
    for name in (f"{__name__}:Gone", f"{__name__}:Failure", f"{__name__}.below:Held"):
        with pytest.raises(DecodeError, match="not trusted"):
            codec.decode(payload(34, [name, {"x": 1}]))


def test_annotations_of_every_form_are_looked_into() -> None:
    """NewTypes and type variables' bounds name classes to trust; errors, and what cannot be hashed or read, do not."""

    def plain() -> tuple[Own, Failure]: ...

    def bound() -> list[Bound]: ...

    def odd() -> Literal[[1]]: ...  # type: ignore[valid-type]  # unhashable, and no annotation at all

    codec = Codec()
    for function in (plain, bound, odd, len, SimpleNamespace()):
        codec.trust_annotations(function)  # type: ignore[arg-type]
    for cls in (Held, Bounding):
        assert codec.decode(payload(34, [f"{__name__}:{cls.__name__}", {"x": 1}])) == cls(1)
    with pytest.raises(EncodeError, match="neither built in nor trusted"):
        codec.encode_error(Failure())


def test_errors_of_a_trusted_module_come_back() -> None:
    """Where the module is trusted its errors are found by name; where it is not, neither end takes them."""
    trusting = Codec(trust=["shutil"])
    payload = trusting.encode_error(shutil.SameFileError("text"))
    again = trusting.decode_error(payload)
    assert type(again) is shutil.SameFileError
    assert again.args == ("text",)
    with pytest.raises(DecodeError, match="not trusted"):
        Codec().decode_error(payload)
    with pytest.raises(EncodeError, match="nor trusted"):
        Codec().encode_error(shutil.SameFileError("text"))
