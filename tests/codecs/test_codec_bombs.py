"""Payloads of a few bytes that ask for very much: found by fuzzing, refused before anything is built."""

from __future__ import annotations

import struct
from typing import Any

import msgpack
import pytest

from memocache.codecs import Codec
from memocache.exceptions import DecodeError, EncodeError


def extension(code: int, thing: Any) -> bytes:
    """The payload of an extension whose body is `thing`."""
    body: bytes = msgpack.packb(thing)
    return struct.pack(">BIb", 0xC9, len(body), code) + body


def numbers(dtype: str, count: int) -> msgpack.ExtType:
    """An array of zeros, for use inside a payload."""
    header = msgpack.packb([dtype, [count], "C", True])
    return msgpack.ExtType(48, struct.pack(">I", len(header)) + header + bytes(count * int(dtype[2])))


HUGE = ["range", 0, 10**8, 1, None]
ONE_ROW = ["range", 0, 1, 1, None]
EMPTY = {"names": [], "formats": [], "offsets": [], "itemsize": 0, "aligned": False}


def bombs() -> dict[str, bytes]:
    """By name: each took seconds, hundreds of megabytes, or a look at a file, before it was refused."""
    header = msgpack.packb([EMPTY, [10**13], "C", True])
    body = struct.pack(">I", len(header)) + header
    zoned = ["zoned", numbers("<i8", 1), "ns", "dateutil//etc/hostname"]
    moment = msgpack.packb("<M8[ns]")
    stamp = msgpack.ExtType(49, struct.pack(">I", len(moment)) + moment + bytes(8))
    fields = [[f"f{index}", ["Int64"]] for index in range(3000)]
    return {
        "numpy: elements without a size": struct.pack(">BIb", 0xC9, len(body), 48) + body,
        "pandas: a range as categories": extension(57, [["categories", numbers("<i8", 1), HUGE, False], ONE_ROW, None]),
        "pandas: ranges as levels": extension(58, ["multi", [HUGE, HUGE], [numbers("<i8", 1)] * 2, [None, None]]),
        "pandas: a zone that is a file": extension(57, [zoned, ONE_ROW, None]),
        "pandas: a stamp's zone that is a file": extension(59, [stamp, "dateutil//etc/hostname"]),
        "pandas: a stamp that is a text": extension(59, ["now", None]),
        "pandas: a span that is a text": extension(60, "1 days"),
        "polars: null arrays": extension(73, ["x", ["Array", ["Int64"], 10**8], [None], None]),
        "polars: null arrays in lists": extension(73, ["x", ["List", ["Array", ["Int8"], 10**8]], [[None]], None]),
        "polars: null structs": extension(73, ["x", ["Struct", fields], [None] * 30_000, None]),
        "polars: structs without fields": extension(73, ["x", ["Struct", fields], [{}] * 30_000, None]),
    }


@pytest.mark.parametrize("name", bombs())
def test_a_bomb_is_refused(name: str) -> None:
    """What would take far more memory or time than its length, or read a file, is a DecodeError at once."""
    pytest.importorskip(name.partition(":")[0])
    with pytest.raises(DecodeError):
        Codec().decode(bombs()[name])


def test_elements_without_a_size_are_not_stored() -> None:
    """What could not be read again is refused when it is written."""
    np = pytest.importorskip("numpy")
    with pytest.raises(EncodeError, match="elements of this type"):
        Codec().encode(np.zeros(3, np.dtype([])))


def test_long_ranges_of_categories_are_not_stored() -> None:
    """A range of categories or of a level is stored up to the length that is read, and refused beyond it."""
    pd = pytest.importorskip("pandas")
    codec = Codec()
    for length, stored in ((1 << 16, True), ((1 << 16) + 1, False)):
        column = pd.Series(pd.Categorical.from_codes([0, 1], dtype=pd.CategoricalDtype(pd.RangeIndex(length))))
        if stored:
            pd.testing.assert_series_equal(codec.decode(codec.encode(column)), column, check_exact=True)
        else:
            with pytest.raises(EncodeError, match="would not come back"):
                codec.encode(column)


def test_nested_polars_columns_with_nulls_come_back() -> None:
    """Nulls in arrays, lists and structs, at any depth, are stored while their cells are few."""
    pl = pytest.importorskip("polars")
    codec = Codec()
    inner = pl.Struct({"a": pl.Int8, "b": pl.Array(pl.Int16, 2)})
    column = pl.Series(
        "x", [[{"a": 1, "b": [1, None]}, None], None, [{"a": None, "b": None}], []], dtype=pl.List(inner)
    )
    assert codec.decode(codec.encode(column)).equals(column, null_equal=True)
    wide = pl.Series("y", [None, None], dtype=pl.Array(pl.Int8, (1 << 23) + 2))
    with pytest.raises(EncodeError, match="would not come back"):
        codec.encode(wide)
