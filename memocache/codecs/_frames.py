"""Frames and their parts: pandas and polars, each imported only when a value or a payload of its kind comes by.

Frames are taken apart into arrays and lists, never
into another library's file format: those can name code to run, expand without bound, or crash on damaged bytes.
What is taken apart is put together and compared before it is stored; whatever is lost on the way (odd extension types,
``attrs``, flags) makes the value one that cannot be stored.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import tzinfo
from functools import partial
from importlib import import_module
from typing import Any, Final

from memocache.codecs import _arrays
from memocache.codecs._types import Buffer, Dump, Kind, Load, Pack, Unfit, Unpack, expect, expect_list
from memocache.exceptions import DecodeError


def kind_of(cls: type) -> Kind | None:
    """Return how instances of exactly `cls` are written, if it is an array, a frame or a part of one."""
    module = cls.__module__.partition(".")[0]
    name = cls.__name__
    if module == "numpy":
        np = sys.modules["numpy"]
        if cls is np.ndarray:
            return Kind(48, _arrays.dump_array)
        return Kind(49, _arrays.dump_scalar) if issubclass(cls, np.generic) else None
    if module in ("pandas", "polars"):
        entry = _FRAMES.get((module, name))
        found: Any = getattr(sys.modules[module], name, None)
        if entry is not None and (found is cls or name in ("NaTType", "NAType")):
            return entry
    return None


# pandas

_LONGEST_INNER_RANGE = 1 << 16


def _parts_of_column(values: Any) -> list[Any]:
    np, pd = import_module("numpy"), import_module("pandas")

    dtype = values.dtype
    if isinstance(dtype, np.dtype) or type(values) is pd.arrays.NumpyExtensionArray:
        return ["numpy", np.array(values.to_numpy(), order="C")]
    if isinstance(dtype, pd.CategoricalDtype):
        codes = np.array(values.codes)
        return ["categories", codes, _parts_of_index(values.categories), bool(values.ordered)]
    if isinstance(dtype, pd.DatetimeTZDtype):
        return ["zoned", np.array(values.asi8), dtype.unit, dtype.tz]
    if isinstance(dtype, pd.StringDtype):
        missing = values.isna()
        texts = [None if absent else text for text, absent in zip(values, missing, strict=True)]
        return ["text", dtype.storage, dtype.na_value is not pd.NA, texts]
    if isinstance(values, pd.arrays.IntegerArray | pd.arrays.FloatingArray | pd.arrays.BooleanArray):
        plain = "bool" if isinstance(values, pd.arrays.BooleanArray) else dtype.numpy_dtype
        missing = np.array(values.isna())
        return ["masked", values.to_numpy(dtype=plain, na_value=0, copy=True), missing]
    raise Unfit(values, "a pandas column of this type cannot be stored")


def _make_column(parts: Any) -> Any:
    np, pd = import_module("numpy"), import_module("pandas")

    kind, *rest = expect(list, parts)
    if kind == "numpy":
        (array,) = rest
        if type(array) is not np.ndarray or array.ndim != 1:
            raise DecodeError("payload holds a malformed column")
        return array
    if kind == "categories":
        codes, categories, ordered = rest
        dtype = pd.CategoricalDtype(_make_inner_index(categories), ordered=expect(bool, ordered))
        return pd.Categorical.from_codes(codes, dtype=dtype)
    if kind == "zoned":
        stamps, unit, zone = rest
        naive = stamps.view(f"M8[{_unit(unit)}]")
        return pd.Series(naive).dt.tz_localize("UTC").dt.tz_convert(_zone(zone)).array
    if kind == "text":
        storage, nan, texts = rest
        return pd.array(expect(list, texts), dtype=pd.StringDtype(storage, na_value=np.nan if nan else pd.NA))
    if kind == "masked":
        values, missing = rest
        makers = {"b": pd.arrays.BooleanArray, "f": pd.arrays.FloatingArray}
        return makers.get(values.dtype.kind, pd.arrays.IntegerArray)(values, missing)
    raise DecodeError("payload holds a column of an unknown kind")


def _unit(unit: object) -> object:
    if unit not in ("s", "ms", "us", "ns"):
        raise DecodeError("payload holds an unknown unit of time")
    return unit


def _zone(zone: object) -> tzinfo:
    """Return `zone`: a text in its place could name any file to read it from."""
    if not isinstance(zone, tzinfo):
        raise DecodeError("payload holds something else where a zone belongs")
    return zone


def _parts_of_index(index: Any) -> list[Any]:
    np, pd = import_module("numpy"), import_module("pandas")

    cls = type(index)
    if cls is pd.RangeIndex:
        return ["range", index.start, index.stop, index.step, index.name]
    if cls is pd.MultiIndex:
        levels = [_parts_of_index(level) for level in index.levels]
        return ["multi", levels, [np.array(codes) for codes in index.codes], list(index.names)]
    if cls in (pd.DatetimeIndex, pd.TimedeltaIndex):
        if index.freq is not None and pd.tseries.frequencies.to_offset(index.freqstr) != index.freq:
            raise Unfit(index, "a pandas index with a frequency of its own cannot be stored")
        return ["time", _parts_of_column(index.array), index.freqstr, index.name]
    if cls in (pd.Index, pd.CategoricalIndex):
        return ["index", _parts_of_column(index.array), index.name]
    raise Unfit(index, "a pandas index of this type cannot be stored")


def _make_index(parts: Any) -> Any:
    pd = import_module("pandas")

    kind, *rest = expect(list, parts)
    if kind == "range":
        start, stop, step, name = rest
        return pd.RangeIndex(expect(int, start), expect(int, stop), expect(int, step), name=name)
    if kind == "multi":
        levels, codes, names = rest
        return pd.MultiIndex([_make_inner_index(level) for level in expect(list, levels)], codes, names=names)
    if kind == "time":
        column, freq, name = rest
        values = _make_column(column)
        maker = pd.TimedeltaIndex if values.dtype.kind == "m" else pd.DatetimeIndex
        return maker(values, freq=freq, name=name)
    if kind == "index":
        column, name = rest
        values = _make_column(column)
        return pd.Index(values, dtype=values.dtype, name=name)
    raise DecodeError("payload holds an index of an unknown kind")


def _make_inner_index(parts: Any) -> Any:
    """Return the index of categories or of a level: pandas spells these out, and a range says its length in 9 bytes."""
    index = _make_index(parts)
    if type(index) is import_module("pandas").RangeIndex and len(index) > _LONGEST_INNER_RANGE:
        raise DecodeError("payload holds too long a range")
    return index


def _parts_of_series(series: Any) -> list[Any]:
    return [_parts_of_column(series.array), _parts_of_index(series.index), series.name]


def _make_series(parts: Any) -> Any:
    pd = import_module("pandas")

    column, index, name = expect_list(parts, 3)
    values = _make_column(column)
    return pd.Series(values, index=_make_index(index), dtype=values.dtype, name=name, copy=False)


def _parts_of_frame(frame: Any) -> list[Any]:
    columns = [_parts_of_column(frame.iloc[:, position].array) for position in range(frame.shape[1])]
    return [columns, _parts_of_index(frame.index), _parts_of_index(frame.columns)]


def _make_frame(parts: Any) -> Any:
    pd = import_module("pandas")

    columns, index_parts, names = expect_list(parts, 3)
    index = _make_index(index_parts)
    columns = [_make_column(column) for column in expect(list, columns)]
    if any(len(column) != len(index) for column in columns):
        raise DecodeError("payload holds columns of different lengths")
    # the columns were made for this frame: it may have them as they are, one of them a map of a file
    series = {at: pd.Series(column, index=index, dtype=column.dtype, copy=False) for at, column in enumerate(columns)}
    frame = pd.DataFrame(series, index=index, copy=False)
    frame.columns = _make_index(names)
    return frame


def _dump_timestamp(value: Any, pack: Pack) -> bytes:
    return pack([value.asm8, value.tzinfo])


def _load_timestamp(data: Buffer, unpack: Unpack) -> Any:
    pd = import_module("pandas")

    moment, zone = expect_list(unpack(data), 2)
    stamp = pd.Timestamp(expect(import_module("numpy").datetime64, moment))
    return stamp if zone is None else stamp.tz_localize("UTC").tz_convert(_zone(zone))


def _dump_timedelta(value: Any, pack: Pack) -> bytes:
    return pack(value.asm8)


def _load_timedelta(data: Buffer, unpack: Unpack) -> Any:
    pd = import_module("pandas")

    return pd.Timedelta(expect(import_module("numpy").timedelta64, unpack(data)))


def _dump_missing(value: Any, pack: Pack) -> bytes:
    return bytes((type(value).__name__ == "NAType",))


def _load_missing(data: Buffer, unpack: Unpack) -> Any:
    pd = import_module("pandas")

    return (pd.NaT, pd.NA)[data[0]]


# polars

_PLAIN = {f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)}
_PLAIN |= {"Float32", "Float64", "Boolean"}
_LISTED: Final = {"String", "Binary", "Null", "Categorical"}
_TIMES: Final = {"Date", "Time"}
# A null array or struct takes a cell for each of its elements or fields, and one byte of a payload.
_MOST_NULL_CELLS = 1 << 24


def _parts_of_dtype(series: Any, dtype: Any) -> list[Any]:
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
        return [name, _parts_of_dtype(series, dtype.inner)]
    if name == "Array":
        return [name, _parts_of_dtype(series, dtype.inner), dtype.size]
    if name == "Struct":
        return [name, [[field.name, _parts_of_dtype(series, field.dtype)] for field in dtype.fields]]
    raise Unfit(series, "a polars column of this type cannot be stored")


def _make_polars_dtype(parts: Any) -> Any:
    pl = import_module("polars")

    name, *rest = expect(list, parts)
    if name in _PLAIN | _LISTED | _TIMES and not rest:
        return getattr(pl, name)()
    if name in ("Datetime", "Duration", "Decimal", "Enum"):
        return getattr(pl, name)(*rest)
    if name == "List":
        return pl.List(_make_polars_dtype(*rest))
    if name == "Array":
        inner, size = rest
        return pl.Array(_make_polars_dtype(inner), expect(int, size))
    if name == "Struct":
        (fields,) = rest
        return pl.Struct([pl.Field(expect(str, field), _make_polars_dtype(dtype)) for field, dtype in fields])
    raise DecodeError("payload holds a column of an unknown type")


def _parts_of_polars(series: Any) -> list[Any]:
    dtype = _parts_of_dtype(series, series.dtype)
    if dtype[0] not in _PLAIN | _TIMES | {"Datetime", "Duration"}:
        return [series.name, dtype, series.to_list(), None]
    nulls = series.is_null().to_numpy() if series.null_count() else None
    numbers = series.to_physical()
    if nulls is not None:
        numbers = numbers.fill_null(False if dtype[0] == "Boolean" else 0)
    return [series.name, dtype, numbers.to_numpy(), nulls]


def _make_polars(parts: Any) -> Any:
    pl = import_module("polars")

    name, dtype_parts, values, nulls = expect_list(parts, 4)
    dtype = _make_polars_dtype(dtype_parts)
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


def _parts_of_polars_frame(frame: Any) -> list[Any]:
    return [frame.height, [_parts_of_polars(series) for series in frame.get_columns()]]


def _make_polars_frame(parts: Any) -> Any:
    pl = import_module("polars")

    height, columns = expect_list(parts, 2)
    frame = pl.DataFrame([_make_polars(column) for column in expect(list, columns)])
    if frame.height != expect(int, height):
        raise DecodeError("payload holds a frame of another height than it says")
    return frame


# Taken apart, put together, compared.


def _verified(take_apart: Callable[[Any], Any], put_together: Callable[[Any], Any], value: Any, pack: Pack) -> bytes:
    if getattr(value, "attrs", None) or not getattr(getattr(value, "flags", None), "allows_duplicate_labels", True):
        raise Unfit(value, "a pandas object with attrs or flags cannot be stored")
    packed = pack(take_apart(value))
    try:
        again = put_together(take_apart(value))
        same = type(again) is type(value) and pack(take_apart(again)) == packed
        if type(value).__module__.startswith("polars"):
            # Python's times, of which lists of times are made, are coarser than polars'.
            same = same and again.equals(value, null_equal=True)
        else:
            same = same and _types_of(again) == _types_of(value)
    except Exception:
        same = False
    if not same:
        raise Unfit(value, "this frame or column would not come back as it is")
    return packed


def _types_of(value: Any) -> list[Any]:
    """Return every type in a pandas object: of its columns, its index, its columns' names and their levels."""
    name = type(value).__name__
    if name == "DataFrame":
        return [*value.dtypes, *_types_of(value.index), *_types_of(value.columns)]
    parts = [value.index] if name == "Series" else getattr(value, "levels", ())
    return [type(value), value.dtype, *(type_ for part in parts for type_ in _types_of(part))]


def _guarded(put_together: Callable[[Any], Any], data: Buffer, unpack: Unpack) -> Any:
    parts = unpack(data)
    try:
        return put_together(parts)
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        # A panic inside polars is no Exception.
        raise DecodeError(f"payload holds a malformed frame ({type(error).__name__})") from None


def _pair(take_apart: Callable[[Any], Any], put_together: Callable[[Any], Any]) -> tuple[Dump, Load]:
    return partial(_verified, take_apart, put_together), partial(_guarded, put_together)


_FRAME, _SERIES, _INDEX = (
    _pair(_parts_of_frame, _make_frame),
    _pair(_parts_of_series, _make_series),
    _pair(_parts_of_index, _make_index),
)
_POLARS_FRAME, _POLARS_SERIES = _pair(_parts_of_polars_frame, _make_polars_frame), _pair(_parts_of_polars, _make_polars)

_FRAMES: Final[dict[tuple[str, str], Kind]] = {
    ("pandas", "DataFrame"): Kind(56, _FRAME[0]),
    ("pandas", "Series"): Kind(57, _SERIES[0]),
    **{
        ("pandas", name): Kind(58, _INDEX[0])
        for name in ("Index", "RangeIndex", "MultiIndex", "DatetimeIndex", "TimedeltaIndex", "CategoricalIndex")
    },
    ("pandas", "Timestamp"): Kind(59, _dump_timestamp),
    ("pandas", "Timedelta"): Kind(60, _dump_timedelta),
    ("pandas", "NaTType"): Kind(61, _dump_missing),
    ("pandas", "NAType"): Kind(61, _dump_missing),
    ("polars", "DataFrame"): Kind(72, _POLARS_FRAME[0]),
    ("polars", "Series"): Kind(73, _POLARS_SERIES[0]),
}

LOADS: Final[dict[int, Load]] = {
    **_arrays.LOADS,
    56: _FRAME[1],
    57: _SERIES[1],
    58: _INDEX[1],
    59: _load_timestamp,
    60: _load_timedelta,
    61: _load_missing,
    72: _POLARS_FRAME[1],
    73: _POLARS_SERIES[1],
}
