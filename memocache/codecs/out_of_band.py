"""What stands apart from a payload, and the payload names by its place: elements of large arrays, and objects.

Elements stand apart so that a file of them can be mapped and they need not be copied. Writing, those of each array go
to an `Aside`; equal elements have one place, so that a value that is packed twice to be compared compares equal.
Objects stand apart where a value stays in its process: those without a code are held as they are, and what lies around
them is a payload (`Kept`). No payload of a backend can name an object.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final

from memocache.codecs import arrays as _arrays
from memocache.codecs.ext_types import Body, Buffer, Unpack
from memocache.codecs.file_map import sighting_of
from memocache.exceptions import DecodeError

ARRAY: Final = 48
ARRAY_APART: Final = 50
HEAD_AND_ELEMENTS: Final = 51
KEPT: Final = 127
LEAST_BYTES: Final = 1 << 16
_ALIGN = 64
_PLACE = struct.Struct(">QQ")
_LENGTH = struct.Struct(">I")


class Aside:
    """Elements put aside while one value is written."""

    def __init__(self) -> None:
        self._elements: dict[bytes, tuple[int, Buffer]] = {}
        self._end = 0

    def take(self, body: Body) -> bytes | None:
        """The body that stands for the body of an array, or None if that is too small to be put aside."""
        if isinstance(body, bytes) or len(body) != 3 or len(body[2]) < LEAST_BYTES:
            return None
        _, header, elements = body
        digest = blake2b(elements, digest_size=32).digest()
        if digest not in self._elements:
            self._elements[digest] = self._end, elements
            self._end += -(-len(elements) // _ALIGN) * _ALIGN
        return _PLACE.pack(self._elements[digest][0], len(elements)) + bytes(header)

    def pieces(self, head: bytes) -> tuple[Buffer, ...]:
        """The body of `HEAD_AND_ELEMENTS`; nothing if nothing was put aside."""
        if not self._elements:
            return ()
        pieces: list[Buffer] = [_LENGTH.pack(len(head)), head]
        for _, elements in self._elements.values():
            pieces += [elements, bytes(-len(elements) % _ALIGN)]
        return tuple(pieces)


class Kept(list[Any]):
    """Objects that have no code, as one value is written and each time it is read."""

    def take(self, value: object) -> bytes:
        """The body that stands for `value`."""
        self.append(value)
        return _LENGTH.pack(len(self) - 1)


class Apart:
    """What stands apart from a payload, as it is read."""

    def __init__(self, view: Buffer = b"", kept: Sequence[object] = ()) -> None:
        self._view = memoryview(view)
        self._taken: set[int] = set()
        self._kept = kept

    def load(self, code: int, data: Buffer, unpack: Unpack) -> object:
        """What a body stands for; raises `DecodeError` for a code that stands for nothing apart, or not there."""
        if code == ARRAY_APART:
            return self._load_array(data, unpack)
        if code == KEPT and self._kept:
            return self._kept[_LENGTH.unpack(data)[0]]
        raise DecodeError("payload holds an unknown extension type")

    def found_sound(self) -> None:
        """Say, of the file that holds the elements if there is one, that the whole value in it was decoded."""
        sighting = sighting_of(self._view)
        if sighting is not None:
            sighting.decoded = True

    def _load_array(self, data: Buffer, unpack: Unpack) -> object:
        start, length = _PLACE.unpack_from(data)
        found = self._view[start : start + length]
        if len(found) != length:
            raise DecodeError("payload holds an array whose elements are missing")
        if start in self._taken:
            found = found.toreadonly()  # two arrays of equal elements, and not one: the second gets a copy
        self._taken.add(start)
        return _arrays.load_array(memoryview(data)[_PLACE.size :], found, unpack)


def split(body: Buffer) -> tuple[memoryview, Apart]:
    """The head and the elements of a body of `HEAD_AND_ELEMENTS`."""
    (length,) = _LENGTH.unpack_from(body)
    view = memoryview(body)[_LENGTH.size :]
    return view[:length], Apart(view[length:])
