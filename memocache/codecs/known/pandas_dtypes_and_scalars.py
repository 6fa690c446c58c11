"""pandas' scalars, dtypes, offsets and arrays outside of a frame, by the parts that frames are taken apart into.

What is taken apart is put together once before it is stored, and compared: pandas has more kinds than its parts say.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import tzinfo
from typing import Any, Final

from memocache.codecs import pandas_frames as _frames
from memocache.codecs.ext_types import Unfit, expect, expect_list
from memocache.codecs.known.known_type import KnownType, loaded
from memocache.exceptions import DecodeError

_PLAIN: Final = (
    "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64", "Boolean",
)  # fmt: skip
_ARRAYS: Final = {
    "Categorical": "categorical", "IntegerArray": "integer", "FloatingArray": "floating", "BooleanArray": "boolean",
    "StringArray": "string_", "ArrowStringArray": "string_arrow", "NumpyExtensionArray": "numpy_",
    "DatetimeArray": "datetimes", "TimedeltaArray": "timedeltas", "PeriodArray": "period", "IntervalArray": "interval",
    "SparseArray": "sparse.array", "ArrowExtensionArray": "arrow.array",
}  # fmt: skip
_LONGEST_NAME: Final = 100
_SHIFTS: Final = frozenset(
    f"{unit}{end}"
    for unit in ("year", "month", "day", "hour", "minute", "second", "microsecond", "nanosecond")
    for end in ("", "s")
) | {"weeks", "weekday", "milliseconds"}


def _pd(name: str) -> Any:
    return loaded(f"pandas:{name}")


def _compared(apart: Callable[[Any], Any], together: Callable[[Any], Any], alike: Callable[[Any, Any], Any]) -> Any:
    """`apart`, which refuses what would not come back as it is."""

    def checked(value: Any) -> Any:
        parts = apart(value)
        try:
            again = together(parts)
            same = type(again) is type(value) and bool(alike(again, value))
        except Exception:
            same = False
        if not same:
            raise Unfit(value, "this pandas value would not come back as it is; return a frame, or plain data")
        return parts

    return checked


def _equal(one: Any, other: Any) -> Any:
    return one == other


# Scalars and offsets.


def _period_apart(value: Any) -> list[Any]:
    return [int(value.ordinal), value.freqstr]


def _period_together(parts: Any) -> Any:
    ordinal, freq = expect_list(parts, 2)
    if _short(freq).strip("0123456789").upper() == "B":  # which pandas warns of
        raise DecodeError("payload holds a period of business days")
    return _pd("Period")(ordinal=expect(int, ordinal), freq=_short(freq))


def _interval_together(parts: Any) -> Any:
    left, right, closed = expect_list(parts, 3)
    return _pd("Interval")(left, right, closed=_short(closed))


def _same_interval(one: Any, other: Any) -> bool:
    return bool(one == other) and type(one.left) is type(other.left) and type(one.right) is type(other.right)


def _offset_together(parts: Any) -> Any:
    return loaded("pandas.tseries.frequencies:to_offset")(_short(parts))


def _offset_key(value: Any) -> list[Any]:
    return [type(value).__name__, value.n, value.normalize, dict(value.kwds)]


def _shift_apart(value: Any) -> list[Any]:
    return [value.n, value.normalize, dict(sorted(value.kwds.items()))]  # pandas has them from a set


def _shift_together(parts: Any) -> Any:
    times, normalize, shifts = expect_list(parts, 3)
    if not _SHIFTS.issuperset(expect(dict, shifts)) or any(
        type(part) not in (int, float) or not abs(part) < 1 << 31 for part in (expect(int, times), *shifts.values())
    ):
        raise DecodeError("payload holds a malformed offset")
    return _pd("DateOffset")(times, expect(bool, normalize), **shifts)


def _short(text: object) -> str:
    """`text`, if it is one that pandas may have a look at."""
    if len(expect(str, text)) > _LONGEST_NAME:
        raise DecodeError("payload holds too long a name")
    return str(text)


# Dtypes.


def _dtype_apart(dtype: Any) -> list[Any]:
    name = type(dtype).__name__.removesuffix("Dtype")
    if name in _PLAIN:
        return [name]
    if name == "Categorical":
        return [name, None if dtype.categories is None else _frames.parts_of_index(dtype.categories), dtype.ordered]
    if name == "String":
        return [name, dtype.storage, dtype.na_value is not _pd("NA")]
    if name == "DatetimeTZ":
        return [name, dtype.unit, dtype.tz]
    if name == "Period":
        return [name, str(dtype).removeprefix("period[").removesuffix("]")]
    if name == "Interval":
        return [name, dtype.subtype, dtype.closed]
    if name == "Sparse":
        return [name, dtype.subtype, dtype.fill_value]
    if name == "Arrow":
        return [name, dtype.pyarrow_dtype]
    raise Unfit(dtype, "a pandas dtype of this kind cannot be stored; return its text")


def _dtype_together(parts: Any) -> Any:
    name, *rest = expect(list, parts)
    if name in _PLAIN and not rest:
        return _pd(f"{name}Dtype")()
    if name == "Categorical":
        categories, ordered = expect_list(rest, 2)
        held = None if categories is None else _frames.make_inner_index(categories)
        return _pd("CategoricalDtype")(held, ordered=expect(bool, ordered))
    if name == "String":
        storage, nan = expect_list(rest, 2)
        return _pd("StringDtype")(_short(storage), na_value=math.nan if expect(bool, nan) else _pd("NA"))
    if name == "DatetimeTZ":
        unit, zone = expect_list(rest, 2)
        if not isinstance(zone, tzinfo):  # a text could name any file to read it from
            raise DecodeError("payload holds something else where a zone belongs")
        return _pd("DatetimeTZDtype")(_short(unit), zone)
    if name == "Period":
        return _pd("PeriodDtype")(_short(*expect_list(rest, 1)))
    if name == "Interval":
        subtype, closed = expect_list(rest, 2)
        return _pd("IntervalDtype")(None if subtype is None else _frames.expect_dtype(subtype), closed)
    if name == "Sparse":
        subtype, fill = expect_list(rest, 2)
        return _pd("SparseDtype")(_frames.expect_dtype(subtype), fill)
    if name == "Arrow":
        (held,) = expect_list(rest, 1)
        if not isinstance(held, loaded("pyarrow.lib:DataType")):
            raise DecodeError("payload holds something else where a type of Arrow belongs")
        return _pd("ArrowDtype")(held)
    raise DecodeError("payload holds a dtype of an unknown kind")


# Arrays.


def _array_apart(value: Any) -> list[Any]:
    return [_frames.parts_of_column(value), getattr(getattr(value, "freq", None), "freqstr", None)]


def _array_together(parts: Any) -> Any:
    column, freq = expect_list(parts, 2)
    made = _frames.make_column(column)
    if type(made) is loaded("numpy:ndarray"):
        made = _pd("Series")(made, dtype=made.dtype, copy=False).array
    if freq is None or column[0] == "period":
        return made
    return _pd("TimedeltaIndex" if made.dtype.kind == "m" else "DatetimeIndex")(made, freq=_short(freq)).array


def _same_array(one: Any, other: Any) -> bool:
    return bool(one.equals(other)) and one.dtype == other.dtype


def _here(number: int, names: tuple[str, ...], apart: Any, together: Any, **options: Any) -> KnownType:
    alike = options.pop("alike", _equal)
    options.setdefault("key", apart)
    return KnownType(number, names, _compared(apart, together, alike), together, **options)


TYPES: Final = (
    _here(90, ("pandas:Period", "pandas._libs.tslibs.period:Period"), _period_apart, _period_together, immutable=True),
    _here(91, ("pandas:Interval", "pandas._libs.interval:Interval"),
          lambda value: [value.left, value.right, value.closed], _interval_together, immutable=True,
          alike=_same_interval),
    _here(92, ("pandas.core.dtypes.base:ExtensionDtype", "pandas.api.extensions:ExtensionDtype"), _dtype_apart,
          _dtype_together, immutable=True, family=True, note="plain, categorical, texts, zoned, period, interval, "
          "sparse, Arrow"),
    _here(93, (*(f"{place}:{name}" for name, module in _ARRAYS.items()
                 for place in ("pandas", "pandas.arrays", f"pandas.core.arrays.{module}")),),
          _array_apart, _array_together, alike=_same_array, note="as of a frame's column"),
    _here(106, ("pandas:DateOffset", "pandas._libs.tslibs.offsets:DateOffset"), _shift_apart, _shift_together,
          immutable=True, note="by its parts"),
    _here(94, ("pandas._libs.tslibs.offsets:BaseOffset",), lambda value: value.freqstr, _offset_together,
          key=_offset_key, immutable=True, family=True, note="offsets, by the text of their frequency"),
)  # fmt: skip
