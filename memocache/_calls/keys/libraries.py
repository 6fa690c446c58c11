"""Values of pydantic, msgspec, numpy, pandas and polars as tuples that say everything about them.

None of these is imported here: a value of theirs can only exist once its module is in `sys.modules`.
`lowered` answers None for everything else.
"""

from __future__ import annotations

import sys
from typing import Any

from memocache._calls.keys.instance_state import shape_of_names
from memocache._runtime.object_identity import NoIdentity, inherited, type_name

_Tuple = tuple[Any, ...]


def lowered(value: Any, cls: Any, ancestors: frozenset[int]) -> _Tuple | None:
    """Return the tuple (kind, parts...) of a value of a third-party class (`ancestors`: ids of its mro), else None."""
    if id(_loaded("pydantic.main", "BaseModel")) in ancestors:
        return _lowered_pydantic(value, cls)
    if id(_loaded("msgspec", "Struct")) in ancestors:
        return _lowered_struct(value, cls)
    numpy = sys.modules.get("numpy")
    if numpy is None or not hasattr(numpy, "ma"):
        return _lowered_polars(value, cls)
    if id(numpy.ndarray) in ancestors:
        return _lowered_array(numpy, value, cls, ancestors)
    if id(numpy.generic) in ancestors:
        return "numpy scalar", cls, _array(numpy, numpy.asarray(value))
    if id(numpy.dtype) in ancestors:
        return "numpy dtype", _dtype(numpy, value)
    return _lowered_pandas(numpy, value, cls, ancestors) or _lowered_polars(value, cls)


def _lowered_pydantic(value: Any, cls: type) -> _Tuple:
    """The fields that are set, what was given besides, private attributes, and other state."""
    declared = inherited(cls, "__pydantic_fields__") or inherited(cls, "model_fields")  # since, before 2.10
    shape = shape_of_names(cls, declared)
    fields, more = value.__dict__, shape.added(value, cls)
    names = tuple([name for name in shape.names if name in fields])
    made = "pydantic", cls, names, tuple([fields[name] for name in names]), value.__pydantic_extra__
    private = value.__pydantic_private__ or None
    return made if more is None and private is None else (*made, private, more)


def _lowered_struct(value: Any, cls: Any) -> _Tuple:
    shape = shape_of_names(cls, cls.__struct_fields__)
    parts = tuple([(getattr(value, name),) if hasattr(value, name) else () for name in shape.names])
    made, more = ("struct", cls, shape.names, parts), shape.added(value, cls)
    return made if more is None else (*made, more)


def _loaded(module: str, name: str) -> Any:
    return getattr(sys.modules.get(module), name, lowered)  # `lowered` is nobody's ancestor


# numpy: dtype, shape, content in C order; structured arrays field by field (padding is not content).


def _lowered_array(numpy: Any, value: Any, cls: type, ancestors: frozenset[int]) -> _Tuple:
    if id(numpy.ma.MaskedArray) in ancestors:
        mask, data = numpy.ma.getmaskarray(value), value.data.view(numpy.ndarray)
        return "masked array", cls, _array(numpy, data), _array(numpy, mask), _array(numpy, value.fill_value)
    array = _array(numpy, value.view(numpy.ndarray))
    if cls is numpy.ndarray:
        return array
    # A user's subclass (a quantity with a unit) has state beside its items; numpy's own keep nothing that matters.
    state = None if type_name(cls).startswith("numpy.") else object.__getstate__(value)
    return "derived", cls, array, state


def _array(numpy: Any, value: Any) -> _Tuple:
    array = numpy.asarray(value)
    return "ndarray", _dtype(numpy, array.dtype), array.shape, _content(numpy, array)


def _dtype(numpy: Any, dtype: Any) -> Any:
    if dtype.fields is not None:
        fields = tuple([(name, _dtype(numpy, dtype.fields[name][0]), *dtype.fields[name][1:]) for name in dtype.names])
        return "fields", dtype.type.__name__, dtype.itemsize, fields
    if dtype.subdtype is not None:
        return "items", _dtype(numpy, dtype.base), dtype.shape
    if dtype.kind == "T":
        return "strings", dtype.coerce, hasattr(dtype, "na_object"), getattr(dtype, "na_object", None)
    if dtype.type.__module__ == "ml_dtypes" and sys.modules["ml_dtypes"].__dict__.get(dtype.name) is dtype.type:
        return "ml_dtypes", dtype.name
    if dtype.type.__module__ != "numpy":  # a dtype of somebody else's: its bytes may be addresses
        raise NoIdentity(type(dtype))
    return dtype.str


def _content(numpy: Any, array: Any) -> Any:
    dtype = array.dtype
    if dtype.fields is not None:
        return tuple([_content(numpy, array[name]) for name in dtype.names])
    if dtype.kind in "OT":
        return array.flatten().tolist()
    if dtype.kind in "fc" and dtype.type.__module__ == "numpy":
        array = _one_nan(numpy, numpy.ascontiguousarray(array, dtype.newbyteorder("=")))
        size = array.dtype.itemsize
        if size > 8 and numpy.finfo(array.dtype).nmant == 63:  # x86: ten bytes of number, then rubbish
            return array.view("u1").reshape(-1, size)[:, :10].tobytes()
    return array.tobytes()


def _one_nan(numpy: Any, array: Any) -> Any:
    """Return a C-ordered float or complex array as 1-d floats, every NaN of it the same NaN."""
    flat = array.reshape(-1)
    parts = flat.view(flat.real.dtype)
    unknown = numpy.isnan(parts)
    if unknown.any():
        parts = parts.copy()
        parts[unknown] = numpy.nan
    return parts


# pandas: labels and columns, each with its dtype; what is not a numpy array is encoded item by item.


def _lowered_pandas(numpy: Any, value: Any, cls: type, ancestors: frozenset[int]) -> _Tuple | None:
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
        columns = tuple([_column(numpy, pandas, value.iloc[:, at].array) for at in range(value.shape[1])])
        return "pandas.DataFrame", cls, value.index, value.columns, columns, _metadata(value), *_told(value)
    if id(pandas.Series) in ancestors:
        column = _column(numpy, pandas, value.array)
        return "pandas.Series", cls, value.name, value.index, column, _metadata(value), *_told(value)
    if cls is pandas.RangeIndex:
        return "pandas.RangeIndex", value.name, value.start, value.stop, value.step
    if id(pandas.MultiIndex) in ancestors:
        levels = tuple([_column(numpy, pandas, value.get_level_values(at).array) for at in range(value.nlevels)])
        return "pandas.MultiIndex", cls, tuple(value.names), levels
    if id(pandas.Index) in ancestors:
        return "pandas.Index", cls, value.name, getattr(value, "freqstr", None), _column(numpy, pandas, value.array)
    return None


def _metadata(value: Any) -> _Tuple:
    """What subclasses (geopandas) declare as theirs."""
    return tuple([(name, getattr(value, name, None)) for name in value._metadata if name != "name"])


def _told(value: Any) -> _Tuple:
    """What a frame was told besides its content, where there is something."""
    attrs, strict = value.attrs, not value.flags.allows_duplicate_labels
    return (dict(attrs), strict) if attrs or strict else ()


def _column(numpy: Any, pandas: Any, array: Any) -> _Tuple:
    if type(array) is pandas.arrays.NumpyExtensionArray:  # whose dtype is none of numpy's
        return _array(numpy, array.to_numpy())
    dtype = array.dtype
    if isinstance(dtype, numpy.dtype):
        return _array(numpy, array.to_numpy())
    if not type_name(type(dtype)).startswith("pandas."):
        raise NoIdentity(type(array))
    if isinstance(dtype, pandas.CategoricalDtype):
        return "categories", dtype.ordered, dtype.categories, _array(numpy, array.codes)
    storage = getattr(dtype, "storage", None), getattr(dtype, "na_value", None)
    if isinstance(dtype, pandas.DatetimeTZDtype):
        return "zoned", dtype.unit, dtype.tz, _array(numpy, array.asi8)
    return "column", type(dtype), str(dtype), storage, list(numpy.asarray(array, dtype=object))


# polars: names, dtypes and physical values; null stays None.


def _lowered_polars(value: Any, cls: type) -> _Tuple | None:
    polars = sys.modules.get("polars")
    if polars is None or not hasattr(polars, "DataFrame"):
        return None
    if cls is polars.DataFrame:
        return "polars.DataFrame", value.height, tuple([_series(polars, column) for column in value.get_columns()])
    if cls is polars.Series:
        return _series(polars, value)
    return None


def _series(polars: Any, series: Any) -> _Tuple:
    return "polars.Series", series.name, str(series.dtype), _items(polars, series)


def _items(polars: Any, series: Any) -> Any:
    dtype = series.dtype
    if dtype == polars.Struct:
        fields = tuple([_series(polars, series.struct.field(field.name)) for field in dtype.fields])
        return series.is_null().to_list(), fields
    if dtype in (polars.List, polars.Array):
        inner = series.arr.to_list() if dtype == polars.Array else series
        return inner.list.len().to_list(), _series(polars, inner.explode())
    if dtype in (polars.Categorical, polars.Enum):
        categories = dtype.categories.to_list() if dtype == polars.Enum else None
        return categories, series.cast(polars.String).to_list()
    if dtype.is_temporal():  # a datetime has no nanoseconds
        return series.to_physical().to_list()
    return series.to_list()
