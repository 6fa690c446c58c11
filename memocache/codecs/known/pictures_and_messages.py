"""Pictures of PIL, messages of protobuf and arrays of jax: each by what its own library says that it is made of.

A message comes back as the class that the program has loaded under its full name; none is imported or made for it.
"""

from __future__ import annotations

import math
from typing import Any, Final

from memocache.codecs.ext_types import Unfit, expect, expect_list
from memocache.codecs.known.known_type import KnownType, loaded
from memocache.exceptions import DecodeError

# PIL: by mode, size and pixels. Bits of a pixel, and whether rows end on a whole byte.

_BITS: Final = {
    "1": 1, "L": 8, "P": 8, "LA": 16, "PA": 16, "La": 16, "RGB": 24, "YCbCr": 24, "LAB": 24, "HSV": 24, "RGBA": 32,
    "RGBa": 32, "RGBX": 32, "CMYK": 32, "I": 32, "F": 32, "I;16": 16, "I;16B": 16,
}  # fmt: skip
# Of a picture without pixels: its rows take room all the same.
_LONGEST_SIDE: Final = 1 << 16
_PALETTE_MODES: Final = {"RGB": 3, "RGBA": 4}


def _picture_apart(value: Any) -> list[Any]:
    if value.mode not in _BITS:
        raise Unfit(value, "a picture of this mode cannot be stored; return picture.convert('RGB')")
    palette = value.palette and [value.palette.mode, bytes(value.palette.palette)]
    if palette and palette[0] not in _PALETTE_MODES:
        raise Unfit(value, "a picture with a palette of this kind cannot be stored; return picture.convert('RGB')")
    return [value.mode, list(value.size), value.tobytes(), palette, dict(value.info)]


def _picture_together(parts: Any) -> Any:
    mode, size, pixels, palette, info = expect_list(parts, 5)
    width, height = (expect(int, length) for length in expect_list(size, 2))
    if mode not in _BITS or min(width, height) < 0 or (not pixels and max(width, height) > _LONGEST_SIDE):
        raise DecodeError("payload holds a picture of an unknown kind")
    if (width * _BITS[mode] + 7) // 8 * height != len(expect(bytes, pixels)):
        raise DecodeError("payload holds a picture of another size than it says")
    made = loaded("PIL.Image:new")(mode, (width, height))
    if pixels:
        made.frombytes(pixels)
    if palette is not None:
        kind, colours = expect_list(palette, 2)
        if kind not in _PALETTE_MODES or mode not in ("P", "PA") or len(expect(bytes, colours)) > 256 * 4:
            raise DecodeError("payload holds a malformed palette")
        if colours:
            made.putpalette(colours, kind)
    made.info = expect(dict, info)
    return made


# protobuf


def _message_apart(value: Any) -> list[Any]:
    name = value.DESCRIPTOR.full_name
    if _message_class(name) is not type(value):
        raise Unfit(value, "a message whose class no loaded module declares cannot be stored; return its bytes")
    return [name, value.SerializePartialToString(deterministic=True)]


def _message_class(name: str) -> Any:
    """The class that goes by a full name, which a loaded module has declared, or None."""
    pool = loaded("google.protobuf.descriptor_pool:Default")()
    try:
        descriptor = pool.FindMessageTypeByName(name)
    except KeyError:
        return None
    return getattr(descriptor, "_concrete_class", None)


def _message_together(parts: Any) -> Any:
    name, content = expect_list(parts, 2)
    cls = _message_class(expect(str, name))
    if cls is None:
        raise DecodeError("payload names a message that no loaded module declares")
    made = cls()
    made.MergeFromString(expect(bytes, content))
    return made


# jax: the elements as bytes, since jax has types that numpy has not; on the default device when they come back.

_JAX_TYPES: Final = frozenset((
    "bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float16", "bfloat16", "float32",
    "float64", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2", "float8_e4m3b11fnuz", "float8_e4m3fnuz",
    "float8_e5m2fnuz",
))  # fmt: skip


def _jax_apart(value: Any) -> list[Any]:
    name = str(value.dtype)
    if name not in _JAX_TYPES:
        raise Unfit(value, "a jax array of this type cannot be stored; return jax.random.key_data(key), or cast it")
    if not value.is_fully_addressable:
        raise Unfit(value, "a jax array that is spread over processes cannot be stored; gather it first")
    if value.weak_type and value.ndim:
        raise Unfit(value, "a weakly typed jax array cannot be stored; return array.astype(array.dtype)")
    elements = loaded("numpy:asarray")(value, order="C").reshape(-1).view("u1")
    return [name, list(value.shape), bool(value.weak_type), elements]


def _jax_together(parts: Any) -> Any:
    name, shape, weak, content = expect_list(parts, 4)
    if name not in _JAX_TYPES:
        raise DecodeError("payload holds an array of an unknown type")
    lengths = [expect(int, length) for length in expect(list, shape)]
    whole = expect(loaded("numpy:ndarray"), content)
    dtype = loaded("jax.numpy:dtype")(name)
    if (
        len(lengths) > 64
        or any(not 0 <= length < 1 << 31 for length in lengths)
        or whole.dtype.str != "|u1"
        or whole.ndim != 1
    ):
        raise DecodeError("payload holds an array of an impossible shape")
    if math.prod(lengths) * dtype.itemsize != len(whole):
        raise DecodeError("payload holds an array of another size than it says")
    plain = whole.view(dtype).reshape(lengths)
    if expect(bool, weak) and not lengths:
        plain = plain.item()
    made = loaded("jax.numpy:array")(plain)  # a copy
    if str(made.dtype) != name:
        raise DecodeError("payload holds an array of 64 bits, which this process's jax does not have")
    return made


TYPES: Final = (
    KnownType(70, ("jaxlib._jax:ArrayImpl", "jaxlib.xla_extension:ArrayImpl"), _jax_apart, _jax_together,
              immutable=True, note="on the default device when they come back"),
    KnownType(71, ("PIL.Image:Image",), _picture_apart, _picture_together,
              note="mode, size, pixels, palette and `info`; of one that was opened from a file, `copy()`"),
    KnownType(78, ("google.protobuf.message:Message",), _message_apart, _message_together, family=True,
              note="of protobuf, by their own serialisation; of any module that is loaded"),
)  # fmt: skip
