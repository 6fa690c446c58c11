"""polars as arrays, lists and scalars: how frames and series are taken apart and put together.

See `memocache.codecs.dataframes` for what is done with it. polars is imported only when a value or a payload comes by.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from memocache.codecs.ext_types import Unfit, expect, expect_list
from memocache.exceptions import DecodeError

_PLAIN = {f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)}
_PLAIN |= {"Float32", "Float64", "Boolean"}
_LISTED: Final = {"String", "Binary", "Null", "Categorical"}
_TIMES: Final = {"Date", "Time"}
# A null array or struct takes a cell for each of its elements or fields, and one byte of a payload.
_MOST_NULL_CELLS = 1 << 24


def parts_of_polars_dtype(series: Any, dtype: Any) -> list[Any]:
    """Return what a type is made of; `Unfit`, with `series` as the culprit, for one that is not stored."""
    name = type(dtype).__name__ if not isinstance(dtype, type) else dtype.__name__
    if name in _PLAIN | _LISTED | _TIMES:
        return [name]
    if name == "Datetime":
        return [name, dtype.time_unit, dtype.time_zone]
    if name == "Duration":
        return [name, dtype.time_unit]
    if name == "Decimal":
        return [name, dtype.precision, dtype.scale]
    if name == "Enum":
        return [name, dtype.categories.to_list()]
    if name == "List":
        return [name, parts_of_polars_dtype(series, dtype.inner)]
    if name == "Array":
        return [name, parts_of_polars_dtype(series, dtype.inner), dtype.size]
    if name == "Struct":
        return [name, [[field.name, parts_of_polars_dtype(series, field.dtype)] for field in dtype.fields]]
    raise Unfit(series, "a polars column of this type cannot be stored; cast it")


def make_polars_dtype(parts: Any) -> Any:
    """Return the type of `parts_of_polars_dtype`."""
    pl = import_module("polars")

    name, *rest = expect(list, parts)
    if name in _PLAIN | _LISTED | _TIMES and not rest:
        return getattr(pl, name)()
    if name in ("Datetime", "Duration", "Decimal", "Enum"):
        return getattr(pl, name)(*rest)
    if name == "List":
        return pl.List(make_polars_dtype(*rest))
    if name == "Array":
        inner, size = rest
        return pl.Array(make_polars_dtype(inner), expect(int, size))
    if name == "Struct":
        (fields,) = rest
        return pl.Struct([pl.Field(expect(str, field), make_polars_dtype(dtype)) for field, dtype in fields])
    raise DecodeError("payload holds a column of an unknown type")


def parts_of_series(series: Any) -> list[Any]:
    """Return what a series is made of."""
    dtype = parts_of_polars_dtype(series, series.dtype)
    if dtype[0] not in _PLAIN | _TIMES | {"Datetime", "Duration"}:
        return [series.name, dtype, series.to_list(), None]
    nulls = series.is_null().to_numpy() if series.null_count() else None
    numbers = series.to_physical()
    if nulls is not None:
        numbers = numbers.fill_null(False if dtype[0] == "Boolean" else 0)
    return [series.name, dtype, numbers.to_numpy(), nulls]


def make_series(parts: Any) -> Any:
    """Return the series of `parts_of_series`."""
    pl = import_module("polars")

    name, dtype_parts, values, nulls = expect_list(parts, 4)
    dtype = make_polars_dtype(dtype_parts)
    if type(values) is list:
        if _null_cells(dtype_parts, values) > _MOST_NULL_CELLS:
            raise DecodeError("payload holds too many nulls of too large a type")
        return pl.Series(expect(str, name), values, dtype=dtype, strict=True)
    series = pl.Series(expect(str, name), values)
    if nulls is not None:
        series = pl.select(pl.when(~pl.Series(nulls)).then(series).alias(name)).to_series()
    return series.cast(dtype)


def _null_cells(dtype: Any, values: list[Any]) -> int:
    """Return how many cells the nulls among `values` take, beyond one each."""
    if _width(dtype) == 1:
        return 0
    name, *rest = dtype
    cells = (_width(dtype) - 1) * values.count(None)
    held = [value for value in values if value is not None]
    if name == "Struct":
        fields = rest[0]
        if any(expect(dict, value).keys() != {field for field, _ in fields} for value in held):
            raise DecodeError("payload holds a struct with other fields than its type has")
        return cells + sum(_null_cells(inner, [value[field] for value in held]) for field, inner in fields)
    return cells + _null_cells(rest[0], [part for value in held for part in expect(list, value)])


def _width(dtype: Any) -> int:
    """Return how many cells one null of a type takes; where that is 1, so do those of all types inside."""
    name, *rest = dtype
    if name == "Struct":
        return max(1, sum(_width(inner) for _, inner in rest[0]))
    if name not in ("List", "Array"):
        return 1
    inner = _width(rest[0])
    return max(2, inner * int(rest[1])) if name == "Array" else inner


def parts_of_frame(frame: Any) -> list[Any]:
    """Return what a frame is made of: its height and its columns."""
    return [frame.height, [parts_of_series(series) for series in frame.get_columns()]]


def make_frame(parts: Any) -> Any:
    """Return the frame of `parts_of_frame`."""
    pl = import_module("polars")

    height, columns = expect_list(parts, 2)
    frame = pl.DataFrame([make_series(column) for column in expect(list, columns)])
    if frame.height != expect(int, height):
        raise DecodeError("payload holds a frame of another height than it says")
    return frame


def alike(one: Any, other: Any) -> bool:
    """Whether two objects whose parts are equal are so in full: Python's times, of which lists of times are made, are
    coarser than polars'.
    """
    return bool(one.equals(other, null_equal=True))
