"""Images of PIL (Pillow): by mode, size, pixels, palette and `info`."""

from __future__ import annotations

from typing import Any, Final

from memocache.codecs.ext_types import Unfit, expect, expect_list
from memocache.codecs.known.known_type import KnownType, loaded
from memocache.exceptions import DecodeError

# Bits of a pixel.
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


TYPES: Final = (
    KnownType(71, ("PIL.Image:Image",), _picture_apart, _picture_together,
              note="mode, size, pixels, palette and `info`; of one that was opened from a file, `copy()`"),
)  # fmt: skip
