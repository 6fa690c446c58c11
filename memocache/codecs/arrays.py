"""numpy arrays and scalars: a small header, and the elements as they lie in memory.

Only types by which numpy means the same on every machine are stored: no long double, no type without a size, and
objects one by one as values.
"""

from __future__ import annotations

import math
import re
import struct
import sys
from importlib import import_module
from typing import Any, Final

from memocache.codecs.ext_types import Body, Buffer, Load, Pack, Unfit, Unpack, expect, expect_list
from memocache.exceptions import DecodeError

LONG: Final = 1 << 12
"""Cells from which on a frame is known, as an argument, by the arrays that its columns are made of."""
_DTYPE = re.compile(r"[<>|=](?:[biufcSUVmM][1-9][0-9]{0,8}|[mM]8\[[0-9]{0,9}[a-zA-Zμ]{1,7}\])")
_TEXTS = "text"  # in the place of a dtype: texts of any length
_NARROW = "ml_dtypes"  # before the name of a dtype of this library
NARROW_TYPES = frozenset((
    "bfloat16", "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2",
    "float8_e5m2fnuz", "float8_e8m0fnu", "float6_e2m3fn", "float6_e3m2fn", "float4_e2m1fn", "int2", "int4", "uint2",
    "uint4",
))  # fmt: skip
_LONG_DOUBLES = frozenset("gG")


def _describe_dtype(dtype: Any) -> Any:
    if dtype.type.__module__ == _NARROW:  # whose letters are numpy's over again
        return None if dtype.metadata is not None else [_NARROW, dtype.name]
    if dtype.metadata is not None or dtype.char in _LONG_DOUBLES or dtype.hasobject:
        return None
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return [_describe_dtype(base), list(shape)]
    if dtype.names is None:
        return dtype.str
    fields = [(name, *dtype.fields[name]) for name in dtype.names]
    if any(len(field) != 3 for field in fields):
        return None
    return {
        "names": list(dtype.names),
        "formats": [_describe_dtype(format_) for _, format_, _ in fields],
        "offsets": [offset for _, _, offset in fields],
        "itemsize": dtype.itemsize,
        "aligned": dtype.isalignedstruct,
    }


def _describe_texts(dtype: Any) -> list[Any]:
    return [_TEXTS, bool(dtype.coerce), *([dtype.na_object] if hasattr(dtype, "na_object") else [])]


def _make_texts(description: list[Any]) -> Any:
    np = import_module("numpy")
    _, coerce, *missing = expect_list(description, 2, 3)
    if missing and not (type(missing[0]) in (type(None), str, float) or type(missing[0]).__name__ == "NAType"):
        raise DecodeError("payload holds a type of texts with an unknown mark for what is missing")
    return np.dtypes.StringDType(coerce=expect(bool, coerce), **({"na_object": missing[0]} if missing else {}))


def _text(item: object, *missing: object) -> object:
    """Return `item` if it is a text or stands for one that is missing."""
    return item if missing and type(item) is type(missing[0]) else expect(str, item)


def make_any_dtype(description: Any) -> Any:
    """As `make_dtype`, also of texts of any length and of objects, of which nobody makes elements from bytes."""
    np = import_module("numpy")
    if description == "O":
        return np.dtype("O")
    if type(description) is list and description[:1] == [_TEXTS]:
        return _make_texts(description)
    return make_dtype(description)


def any_dtype(dtype: Any) -> Any:
    """As `checked_dtype`, also of texts of any length and of objects."""
    if dtype.char == "T":
        return _describe_texts(dtype)
    return "O" if dtype.char == "O" and dtype.metadata is None else checked_dtype(dtype)


def make_dtype(description: Any) -> Any:
    """Return the dtype that a payload describes; DecodeError for one that is not stored."""
    np = import_module("numpy")
    if type(description) is str:
        if not _DTYPE.fullmatch(description):
            raise DecodeError("payload names an array type that is not stored")
        return np.dtype(description)
    if type(description) is list:
        base, shape = expect_list(description, 2)
        if base == _NARROW:
            return np.dtype(_narrow_type(shape))
        return np.dtype((make_dtype(base), tuple(expect(int, length) for length in expect(list, shape))))
    fields = dict(expect(dict, description))
    fields["formats"] = [make_dtype(format_) for format_ in expect(list, fields["formats"])]
    fields["offsets"] = [expect(int, offset) for offset in expect(list, fields["offsets"])]
    fields["names"] = [expect(str, name) for name in expect(list, fields["names"])]
    if expect(int, fields["itemsize"]) < 1:
        raise DecodeError("payload names an array type without a size")  # of which any number takes no bytes, but time
    return np.dtype(fields)


def _narrow_type(name: object) -> Any:
    """A type of numbers that ml_dtypes brings, if the program has imported it."""
    library = sys.modules.get(_NARROW)
    if name not in NARROW_TYPES or not hasattr(library, str(name)):
        raise DecodeError("payload names an array type of a library that is not loaded")
    return getattr(library, str(name))


def checked_dtype(value: Any) -> Any:
    """Return the description of the dtype of `value`, or of one that `value` is; `Unfit` if it would not come back."""
    dtype = getattr(value, "dtype", value)
    description = _describe_dtype(dtype)
    try:
        same = description is not None and make_dtype(description) == dtype
    except (DecodeError, TypeError, ValueError):
        same = False
    if not same:
        raise Unfit(value, "elements of this type cannot be stored; convert them with astype")
    return description


def narrowest(counts: Any) -> Any:
    """Whole numbers from 0 on as an array of the narrowest type that holds them all."""
    np = import_module("numpy")
    return counts.astype(np.min_scalar_type(int(counts.max(initial=0))).newbyteorder("<"))


def dump_array(value: Any, pack: Pack) -> Body:
    """Return the parts of a numpy array: header and buffer."""
    order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
    facts = [list(value.shape), order, bool(value.flags.writeable)]
    if value.dtype.char == "O" and value.dtype.metadata is None:
        header = pack([None, *facts, *value.ravel(order).tolist()])
        return struct.pack(">I", len(header)) + header
    if value.dtype.char == "T":
        header = pack([_describe_texts(value.dtype), *facts, *value.ravel(order).tolist()])
        return struct.pack(">I", len(header)) + header
    np = import_module("numpy")
    header = pack([checked_dtype(value), *facts])
    lying = np.ascontiguousarray(value.T if order == "F" else value)
    return struct.pack(">I", len(header)), header, lying.reshape(-1).view(np.uint8).data


def _load_array(data: Buffer, unpack: Unpack) -> Any:
    return load_array(*_split(data), unpack)


def load_array(header: Buffer, elements: Buffer, unpack: Unpack) -> Any:
    """The array of a header and its elements; it lives in them if they are writable, and else in a copy."""
    np = import_module("numpy")
    description, shape, order, writeable, *items = expect(list, unpack(header))
    shape, order = _shape(shape), _order(order)
    size = math.prod(shape)
    if description is None:
        array = _objects(size, items).reshape(shape, order=order)
    elif type(description) is list and description[:1] == [_TEXTS]:
        dtype = _make_texts(description)
        texts = _objects(size, [_text(item, *description[2:]) for item in items])
        array = texts.astype(dtype).reshape(shape, order=order)
    else:
        dtype = make_dtype(description)
        if dtype.hasobject or size * dtype.itemsize != len(elements):
            raise DecodeError("payload holds an array of another size than it says")
        array = np.ndarray(shape, dtype, elements, order=order)
        if memoryview(elements).readonly:  # else it is a private map of a file, and the array may live in it
            array = array.copy(order)
    array.flags.writeable = expect(bool, writeable)
    return array


def _objects(size: int, items: list[Any]) -> Any:
    np = import_module("numpy")
    if size != len(items):
        raise DecodeError("payload holds an array of another size than it says")
    flat = np.empty(size, object)
    # One by one: assigned together, items that are sequences would be taken for rows.
    for index, item in enumerate(items):
        flat[index] = item
    return flat


def _split(data: Buffer) -> tuple[Buffer, Buffer]:
    (length,) = struct.unpack_from(">I", data)
    view = memoryview(data)
    return view[4 : 4 + length], view[4 + length :]


def _shape(shape: object) -> tuple[int, ...]:
    lengths = tuple(expect(int, length) for length in expect(list, shape))
    if len(lengths) > 64 or any(length < 0 for length in lengths):
        raise DecodeError("payload holds an array of an impossible shape")
    return lengths


def _order(order: object) -> Any:
    if order not in ("C", "F"):
        raise DecodeError("payload holds an array of an unknown order")
    return order


def dump_scalar(value: Any, pack: Pack) -> bytes:
    """Return the bytes of a numpy scalar."""
    header = pack(checked_dtype(value))
    body: bytes = struct.pack(">I", len(header)) + header + value.tobytes()
    # Texts lose trailing NULs, and C's second name for a 64-bit integer is a type of its own.
    # A record is a type of its own, too.
    again = _make_scalar(make_dtype(checked_dtype(value)), value.tobytes())
    if type(again) is not type(value) or again.tobytes() != value.tobytes() or _length(again) != _length(value):
        raise Unfit(value, "a scalar of this type cannot be stored; convert it with astype")
    return body


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str | bytes) else 0


def _load_scalar(data: Buffer, unpack: Unpack) -> Any:
    header, element = _split(data)
    dtype = make_dtype(unpack(header))
    if dtype.hasobject or dtype.itemsize != len(element):
        raise DecodeError("payload holds a scalar of another size than it says")
    return _make_scalar(dtype, element)


def _make_scalar(dtype: Any, element: Buffer) -> Any:
    np = import_module("numpy")
    return np.ndarray((), dtype, element).copy()[()]


LOADS: dict[int, Load] = {48: _load_array, 49: _load_scalar}
