"""Values of pandas as tuples that say everything about them: labels and columns, each with its dtype.

What is not a numpy array goes item by item in a small frame, and as the arrays that it is made of in a large one.
pandas is not imported here: a value of it can only exist once it is loaded.
"""

from __future__ import annotations

import sys
from typing import Any, Final

from memocache._calls.keys.arrays import array
from memocache._runtime.object_identity import NoIdentity, type_name
from memocache.codecs.arrays import LONG

_Tuple = tuple[Any, ...]
_WIDE: Final = 1 << 18
"""Bytes from which on the columns of a frame that are numbers of one type are one array."""


def lowered(numpy: Any, value: Any, cls: type, ancestors: frozenset[int]) -> _Tuple | None:
    """Return the tuple (kind, parts...) of a value of pandas (`ancestors`: ids of the mro of its class), else None."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not hasattr(pandas, "DataFrame"):
        return None
    if value is pandas.NaT or value is pandas.NA:
        return "pandas", cls
    if cls is pandas.Timestamp:
        return "pandas.Timestamp", value.asm8.view("i8").item(), value.unit, value.tzinfo, value.fold
    if cls is pandas.Timedelta:
        return "pandas.Timedelta", value.asm8.view("i8").item(), value.unit
    if cls is pandas.Period:
        return "pandas.Period", value.ordinal, value.freqstr
    if cls is pandas.Interval:
        return "pandas.Interval", value.left, value.right, value.closed
    if id(pandas.DataFrame) in ancestors:
        columns = _columns(numpy, pandas, value)
        return "pandas.DataFrame", cls, value.index, value.columns, columns, _metadata(value), *_told(value)
    if id(pandas.Series) in ancestors:
        column = _column(numpy, pandas, value.array, len(value))
        return "pandas.Series", cls, value.name, value.index, column, _metadata(value), *_told(value)
    if cls is pandas.RangeIndex:
        return "pandas.RangeIndex", value.name, value.start, value.stop, value.step
    if id(pandas.MultiIndex) in ancestors:
        cells = len(value) * value.nlevels
        levels = [_column(numpy, pandas, value.get_level_values(at).array, cells) for at in range(value.nlevels)]
        return "pandas.MultiIndex", cls, tuple(value.names), tuple(levels)
    if id(pandas.Index) in ancestors:
        column = _column(numpy, pandas, value.array, len(value))
        return "pandas.Index", cls, value.name, getattr(value, "freqstr", None), column
    return None


def _metadata(value: Any) -> _Tuple:
    """What subclasses (geopandas) declare as theirs."""
    return tuple([(name, getattr(value, name, None)) for name in value._metadata if name != "name"])


def _told(value: Any) -> _Tuple:
    """What a frame was told besides its content, where there is something."""
    attrs, strict = value.attrs, not value.flags.allows_duplicate_labels
    return (dict(attrs), strict) if attrs or strict else ()


def _columns(numpy: Any, pandas: Any, frame: Any) -> _Tuple:
    rows, width = frame.shape
    if width > 1:
        dtype = frame.iloc[:, 0].dtype
        wide = isinstance(dtype, numpy.dtype) and dtype.kind in "biufc" and rows * width * dtype.itemsize >= _WIDE
        if wide and all(other == dtype for other in frame.dtypes.array):
            return "alike", array(numpy, frame.to_numpy().T)
    return tuple([_column(numpy, pandas, frame.iloc[:, at].array, rows * width) for at in range(width)])


def _column(numpy: Any, pandas: Any, values: Any, cells: int) -> _Tuple:
    """The tuple of an array of pandas, which is of a frame or an index of so many `cells`."""
    if type(values) is pandas.arrays.NumpyExtensionArray:  # whose dtype is none of numpy's
        return array(numpy, values.to_numpy())
    dtype = values.dtype
    if isinstance(dtype, numpy.dtype):
        return array(numpy, values.to_numpy())
    if not type_name(type(dtype)).startswith("pandas."):
        raise NoIdentity(type(values))
    if isinstance(dtype, pandas.CategoricalDtype):
        return "categories", dtype.ordered, dtype.categories, array(numpy, values.codes)
    storage = getattr(dtype, "storage", None), getattr(dtype, "na_value", None)
    if isinstance(dtype, pandas.DatetimeTZDtype):
        return "zoned", dtype.unit, dtype.tz, array(numpy, values.asi8)
    items = _whole(numpy, pandas, values) if cells >= LONG else None
    if items is None:
        items = list(numpy.asarray(values, dtype=object))
    return "column", type(dtype), str(dtype), storage, items


def _whole(numpy: Any, pandas: Any, values: Any) -> Any:
    """What the items of a column are made of; None for a type that is a list at any length."""
    dtype = values.dtype
    if isinstance(dtype, pandas.ArrowDtype):
        return values.__arrow_array__()
    if isinstance(dtype, pandas.StringDtype) and dtype.storage == "pyarrow":
        return values.__arrow_array__().cast("large_string")
    if isinstance(values, pandas.arrays.IntegerArray | pandas.arrays.FloatingArray | pandas.arrays.BooleanArray):
        plain = "bool" if isinstance(values, pandas.arrays.BooleanArray) else dtype.numpy_dtype
        return array(numpy, values.to_numpy(dtype=plain, na_value=0)), array(numpy, numpy.packbits(values.isna()))
    if isinstance(dtype, pandas.PeriodDtype):
        return array(numpy, values.asi8)
    if isinstance(dtype, pandas.IntervalDtype):
        return values.left, values.right
    if isinstance(dtype, pandas.SparseDtype):
        return array(numpy, values.to_dense())
    return None
