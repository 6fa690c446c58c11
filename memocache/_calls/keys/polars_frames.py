"""Values of polars as tuples that say everything about them: names, dtypes and physical values; null stays None.

The series of a large frame are their numbers and texts as polars holds them, those of a small one lists of their items.
polars is not imported here: a value of it can only exist once it is loaded.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, Final

from memocache._calls.keys.arrays import array
from memocache.codecs.arrays import LONG, narrowest

_Tuple = tuple[Any, ...]
_NUMBERS: Final = frozenset((
    "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64", "Boolean",
))  # fmt: skip


def lowered(value: Any, cls: type) -> _Tuple | None:
    """Return the tuple (kind, parts...) of a frame or a series, else None."""
    polars = sys.modules.get("polars")
    if polars is None or not hasattr(polars, "DataFrame"):
        return None
    if cls is polars.DataFrame:
        long = value.height * value.width >= LONG
        columns = tuple([_series(polars, column, long=long) for column in value.get_columns()])
        return "polars.DataFrame", value.height, columns
    return _series(polars, value, long=len(value) >= LONG) if cls is polars.Series else None


def _series(polars: Any, series: Any, *, long: bool) -> _Tuple:
    return "polars.Series", series.name, str(series.dtype), _items(polars, series, long=long)


def _items(polars: Any, series: Any, *, long: bool) -> Any:
    dtype = series.dtype
    if dtype == polars.Struct:
        fields = tuple([_series(polars, series.struct.field(field.name), long=long) for field in dtype.fields])
        return _items(polars, series.is_null(), long=long), fields
    if dtype in (polars.List, polars.Array):
        inner = series.arr.to_list() if dtype == polars.Array else series
        flat = inner.explode()
        return _items(polars, inner.list.len(), long=long), _series(polars, flat, long=long or len(flat) >= LONG)
    if dtype in (polars.Categorical, polars.Enum):
        categories = dtype.categories.to_list() if dtype == polars.Enum else None
        return categories, _items(polars, series.cast(polars.String), long=long)
    if dtype.is_temporal():  # a datetime has no nanoseconds
        series = series.to_physical()
    made = _whole(polars, series) if long else None
    return series.to_list() if made is None else made


def _whole(polars: Any, series: Any) -> _Tuple | None:
    """Which items of a series are null, and what the others are; None for a type that is a list at any length."""
    try:
        numpy = import_module("numpy")  # which polars does without
    except ImportError:
        return None
    nulls = array(numpy, numpy.packbits(series.is_null().to_numpy())) if series.null_count() else None
    if str(series.dtype) in _NUMBERS:
        filled = series if nulls is None else series.fill_null(False if series.dtype == polars.Boolean else 0)
        return "numbers", nulls, array(numpy, filled.to_numpy())
    if series.dtype == polars.String:
        held = series.drop_nulls()
        whole = held.str.join("").cast(polars.Binary).item()
        return "texts", nulls, array(numpy, narrowest(held.str.len_bytes().to_numpy())), whole
    if series.dtype == polars.Binary:
        held = series.drop_nulls()
        return "bytes", nulls, array(numpy, narrowest(held.bin.size().to_numpy())), b"".join(held.to_list())
    return None
