"""pandas as arrays, lists and scalars: how frames, series, indexes and times are taken apart and put together.

See `memocache.codecs.dataframes` for what is done with it. pandas is imported only when a value or a payload comes by.
"""

from __future__ import annotations

from datetime import tzinfo
from importlib import import_module
from typing import Any

from memocache.codecs.ext_types import Buffer, Pack, Unfit, Unpack, expect, expect_list
from memocache.codecs.known.known_type import find_loaded
from memocache.exceptions import DecodeError

_LONGEST_INNER_RANGE = 1 << 16
# What is not stored of a sparse column takes no bytes, and a cell each where the column is used.
_LONGEST_SPARSE = 1 << 28


def parts_of_column(values: Any) -> list[Any]:
    """Return what an array of pandas is made of."""
    np, pd = import_module("numpy"), import_module("pandas")

    dtype = values.dtype
    if isinstance(dtype, np.dtype) or type(values) is pd.arrays.NumpyExtensionArray:
        return ["numpy", np.array(values.to_numpy(), order="C")]
    if isinstance(dtype, pd.CategoricalDtype):
        codes = np.array(values.codes)
        return ["categories", codes, parts_of_index(values.categories), bool(values.ordered)]
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
    if isinstance(dtype, pd.ArrowDtype):
        return ["arrow", values.__arrow_array__()]
    if isinstance(dtype, pd.PeriodDtype):
        return ["period", np.array(values.asi8), values.freqstr]
    if isinstance(dtype, pd.IntervalDtype):
        return ["interval", parts_of_index(values.left), parts_of_index(values.right), values.closed]
    if isinstance(dtype, pd.SparseDtype):
        return ["sparse", values.sp_values, values.sp_index.indices, len(values), dtype.subtype, dtype.fill_value]
    raise Unfit(values, "a pandas column of this type cannot be stored; convert it with astype")


def make_column(parts: Any) -> Any:
    """Return the array of `parts_of_column`; one of numpy's where its type is."""
    np, pd = import_module("numpy"), import_module("pandas")

    kind, *rest = expect(list, parts)
    if kind == "numpy":
        (array,) = rest
        if type(array) is not np.ndarray or array.ndim != 1:
            raise DecodeError("payload holds a malformed column")
        return array
    if kind == "categories":
        codes, categories, ordered = rest
        dtype = pd.CategoricalDtype(make_inner_index(categories), ordered=expect(bool, ordered))
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
    if kind == "arrow":
        (array,) = rest
        return pd.arrays.ArrowExtensionArray(expect(find_loaded("pyarrow.lib:ChunkedArray"), array))
    if kind == "period":
        ordinals, freq = rest
        return pd.arrays.PeriodArray(ordinals, dtype=pd.PeriodDtype(expect(str, freq)))
    if kind == "interval":
        left, right, closed = rest
        return pd.arrays.IntervalArray.from_arrays(
            make_inner_index(left), make_inner_index(right), closed=expect(str, closed)
        )
    if kind == "sparse":
        values, indices, length, subtype, fill = rest
        dtype = pd.SparseDtype(expect_dtype(subtype), fill)
        if type(values) is not np.ndarray or expect(int, length) > _LONGEST_SPARSE or values.dtype != subtype:
            raise DecodeError("payload holds a malformed column")
        places = pd.core.arrays.sparse.IntIndex(length, indices)
        if places.npoints != len(values) or values.ndim != 1:
            raise DecodeError("payload holds a malformed column")
        return pd.arrays.SparseArray._simple_new(values, places, dtype)
    raise DecodeError("payload holds a column of an unknown kind")


def expect_dtype(value: object) -> Any:
    """Return `value` if it is a dtype of numpy's; DecodeError otherwise."""
    if not isinstance(value, import_module("numpy").dtype):
        raise DecodeError("payload holds something else where a dtype belongs")
    return value


def _unit(unit: object) -> object:
    if unit not in ("s", "ms", "us", "ns"):
        raise DecodeError("payload holds an unknown unit of time")
    return unit


def _zone(zone: object) -> tzinfo:
    """Return `zone`: a text in its place could name any file to read it from."""
    if not isinstance(zone, tzinfo):
        raise DecodeError("payload holds something else where a zone belongs")
    return zone


def parts_of_index(index: Any) -> list[Any]:
    """Return what an index is made of."""
    np, pd = import_module("numpy"), import_module("pandas")

    cls = type(index)
    if cls is pd.RangeIndex:
        return ["range", index.start, index.stop, index.step, index.name]
    if cls is pd.MultiIndex:
        levels = [parts_of_index(level) for level in index.levels]
        return ["multi", levels, [np.array(codes) for codes in index.codes], list(index.names)]
    if cls in (pd.DatetimeIndex, pd.TimedeltaIndex):
        if index.freq is not None and pd.tseries.frequencies.to_offset(index.freqstr) != index.freq:
            raise Unfit(index, "a pandas index with a frequency of its own cannot be stored; set its freq to None")
        return ["time", parts_of_column(index.array), index.freqstr, index.name]
    if cls is pd.PeriodIndex:
        return ["index", parts_of_column(index.array), index.name]
    if cls in (pd.Index, pd.CategoricalIndex, pd.IntervalIndex):
        return ["index", parts_of_column(index.array), index.name]
    raise Unfit(index, "a pandas index of this type cannot be stored; return reset_index()")


def make_index(parts: Any) -> Any:
    """Return the index of `parts_of_index`."""
    pd = import_module("pandas")

    kind, *rest = expect(list, parts)
    if kind == "range":
        start, stop, step, name = rest
        return pd.RangeIndex(expect(int, start), expect(int, stop), expect(int, step), name=name)
    if kind == "multi":
        levels, codes, names = rest
        return pd.MultiIndex([make_inner_index(level) for level in expect(list, levels)], codes, names=names)
    if kind == "time":
        column, freq, name = rest
        values = make_column(column)
        maker = pd.TimedeltaIndex if values.dtype.kind == "m" else pd.DatetimeIndex
        return maker(values, freq=freq, name=name)
    if kind == "index":
        column, name = rest
        values = make_column(column)
        return pd.Index(values, dtype=values.dtype, name=name)
    raise DecodeError("payload holds an index of an unknown kind")


def make_inner_index(parts: Any) -> Any:
    """Return the index of categories or of a level: pandas spells these out, and a range says its length in 9 bytes."""
    index = make_index(parts)
    if type(index) is import_module("pandas").RangeIndex and len(index) > _LONGEST_INNER_RANGE:
        raise DecodeError("payload holds too long a range")
    return index


def parts_of_series(series: Any) -> list[Any]:
    """Return what a series is made of; what was noted on it, and its flag, only if there is something to say."""
    return [parts_of_column(series.array), parts_of_index(series.index), series.name, *_notes(series)]


def _notes(value: Any) -> list[Any]:
    if value.flags.allows_duplicate_labels:
        return [value.attrs] if value.attrs else []
    return [value.attrs, False]


def _noted(value: Any, notes: list[Any]) -> Any:
    if notes:
        value.attrs = expect(dict, notes[0])
    if len(notes) > 1 and not expect(bool, notes[1]):
        value.flags.allows_duplicate_labels = False
    return value


def make_series(parts: Any) -> Any:
    """Return the series of `parts_of_series`."""
    pd = import_module("pandas")

    column, index, name, *notes = expect_list(parts, 3, 5)
    values = make_column(column)
    return _noted(pd.Series(values, index=make_index(index), dtype=values.dtype, name=name, copy=False), notes)


def parts_of_frame(frame: Any) -> list[Any]:
    """Return what a frame is made of: columns, index, names of columns."""
    columns = [parts_of_column(frame.iloc[:, position].array) for position in range(frame.shape[1])]
    return [columns, parts_of_index(frame.index), parts_of_index(frame.columns), *_notes(frame)]


def make_frame(parts: Any) -> Any:
    """Return the frame of `parts_of_frame`."""
    pd = import_module("pandas")

    columns, index_parts, names, *notes = expect_list(parts, 3, 5)
    index = make_index(index_parts)
    columns = [make_column(column) for column in expect(list, columns)]
    if any(len(column) != len(index) for column in columns):
        raise DecodeError("payload holds columns of different lengths")
    # the columns were made for this frame: it may have them as they are, one of them a map of a file
    series = {at: pd.Series(column, index=index, dtype=column.dtype, copy=False) for at, column in enumerate(columns)}
    frame = pd.DataFrame(series, index=index, copy=False)
    frame.columns = make_index(names)
    return _noted(frame, notes)


def dump_timestamp(value: Any, pack: Pack) -> bytes:
    """Return the bytes of a pandas Timestamp: nanoseconds and zone."""
    return pack([value.asm8, value.tzinfo])


def load_timestamp(data: Buffer, unpack: Unpack) -> Any:
    """Return the Timestamp of `dump_timestamp`."""
    pd = import_module("pandas")

    moment, zone = expect_list(unpack(data), 2)
    stamp = pd.Timestamp(expect(import_module("numpy").datetime64, moment))
    return stamp if zone is None else stamp.tz_localize("UTC").tz_convert(_zone(zone))


def dump_timedelta(value: Any, pack: Pack) -> bytes:
    """Return the bytes of a pandas Timedelta."""
    return pack(value.asm8)


def load_timedelta(data: Buffer, unpack: Unpack) -> Any:
    """Return the Timedelta of `dump_timedelta`."""
    pd = import_module("pandas")

    return pd.Timedelta(expect(import_module("numpy").timedelta64, unpack(data)))


def dump_missing(value: Any, pack: Pack) -> bytes:
    """Return a byte: 1 for `pandas.NA`, 0 for `pandas.NaT`."""
    return bytes((type(value).__name__ == "NAType",))


def load_missing(data: Buffer, unpack: Unpack) -> Any:
    """Return `pandas.NA` or `pandas.NaT`."""
    pd = import_module("pandas")

    return (pd.NaT, pd.NA)[data[0]]


def alike(one: Any, other: Any) -> bool:
    """Whether two objects whose parts are equal have the same types throughout."""
    return _types_of(one) == _types_of(other)


def _types_of(value: Any) -> list[Any]:
    """Return every type in a pandas object: of its columns, its index, its columns' names and their levels."""
    name = type(value).__name__
    if name == "DataFrame":
        return [*value.dtypes, *_types_of(value.index), *_types_of(value.columns)]
    parts = [value.index] if name == "Series" else getattr(value, "levels", ())
    return [type(value), value.dtype, *(type_ for part in parts for type_ in _types_of(part))]
