"""Frames and their parts: pandas and polars, each imported only when a value or a payload of its kind comes by.

`memocache.codecs.pandas_frames` and `memocache.codecs.polars_frames` take a frame apart into arrays and lists, never
into another library's file format: those can name code to run, expand without bound, or crash on damaged bytes. The
parts are put together and compared before a frame is stored. A frame that loses something on the way (odd extension
types) cannot be stored.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

from memocache.codecs import arrays as _arrays
from memocache.codecs import pandas_frames as _pandas
from memocache.codecs import polars_frames as _polars
from memocache.codecs.ext_types import Buffer, Dump, Kind, Load, Pack, Unfit, Unpack
from memocache.exceptions import DecodeError


def kind_of(cls: type) -> Kind | None:
    """Return how instances of exactly `cls` are written, if it is an array, a frame or a part of one."""
    module = cls.__module__.partition(".")[0]
    name = cls.__name__
    if module == "numpy":
        np = sys.modules["numpy"]
        if cls is np.ndarray:
            return Kind(48, _arrays.dump_array)
        return Kind(49, _arrays.dump_scalar) if issubclass(cls, np.generic) and cls is not np.record else None
    if module in ("pandas", "polars"):
        entry = _FRAMES.get((module, name))
        found: Any = getattr(sys.modules[module], name, None)
        if entry is not None and (found is cls or name in ("NaTType", "NAType")):
            return entry
    return None


class _Way(NamedTuple):
    """How values of one class are taken apart and put together, and whether two of them are the same to the last type,
    where their parts are equal.
    """

    apart: Callable[[Any], list[Any]]
    together: Callable[[Any], Any]
    alike: Callable[[Any, Any], bool]


def _verified(way: _Way, value: Any, pack: Pack) -> bytes:
    packed = pack(way.apart(value))
    try:
        again = way.together(way.apart(value))
        same = type(again) is type(value) and pack(way.apart(again)) == packed and way.alike(again, value)
    except Exception:
        same = False
    if not same:
        raise Unfit(value, "this frame or column would not come back as it is; return to_dict()")
    return packed


def _guarded(put_together: Callable[[Any], Any], data: Buffer, unpack: Unpack) -> Any:
    parts = unpack(data)
    try:
        return put_together(parts)
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        # A panic inside polars is no Exception.
        raise DecodeError(f"payload holds a malformed frame ({type(error).__name__})") from None


def _both(way: _Way) -> tuple[Dump, Load]:
    return partial(_verified, way), partial(_guarded, way.together)


_FRAME = _both(_Way(_pandas.parts_of_frame, _pandas.make_frame, _pandas.alike))
_SERIES = _both(_Way(_pandas.parts_of_series, _pandas.make_series, _pandas.alike))
_INDEX = _both(_Way(_pandas.parts_of_index, _pandas.make_index, _pandas.alike))
_POLARS_FRAME = _both(_Way(_polars.parts_of_frame, _polars.make_frame, _polars.alike))
_POLARS_SERIES = _both(_Way(_polars.parts_of_series, _polars.make_series, _polars.alike))

_INDEXES: Final = (
    "Index", "RangeIndex", "MultiIndex", "DatetimeIndex", "TimedeltaIndex", "CategoricalIndex", "PeriodIndex",
    "IntervalIndex",
)  # fmt: skip
_FRAMES: Final[dict[tuple[str, str], Kind]] = {
    ("pandas", "DataFrame"): Kind(56, _FRAME[0]),
    ("pandas", "Series"): Kind(57, _SERIES[0]),
    **{("pandas", name): Kind(58, _INDEX[0]) for name in _INDEXES},
    ("pandas", "Timestamp"): Kind(59, _pandas.dump_timestamp),
    ("pandas", "Timedelta"): Kind(60, _pandas.dump_timedelta),
    ("pandas", "NaTType"): Kind(61, _pandas.dump_missing),
    ("pandas", "NAType"): Kind(61, _pandas.dump_missing),
    ("polars", "DataFrame"): Kind(72, _POLARS_FRAME[0]),
    ("polars", "Series"): Kind(73, _POLARS_SERIES[0]),
}

LOADS: Final[dict[int, Load]] = {
    **_arrays.LOADS,
    56: _FRAME[1],
    57: _SERIES[1],
    58: _INDEX[1],
    59: _pandas.load_timestamp,
    60: _pandas.load_timedelta,
    61: _pandas.load_missing,
    72: _POLARS_FRAME[1],
    73: _POLARS_SERIES[1],
}
