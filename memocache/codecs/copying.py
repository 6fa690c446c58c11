"""How the in-process tier keeps callers from seeing each other's mutations, by the cheapest faithful way.

What is immutable all the way down is held and handed out as it is. Flat containers, rows of flat containers, and
records with a few containers inside are copied by their own methods; arrays and frames by theirs. Everything else is
held as a payload and decoded on each hit.
An object that has no code is held by reference, and what lies around it is copied all the same.
"""

from __future__ import annotations

import enum
import functools
import sys
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from re import Pattern
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from memocache.codecs import single_use
from memocache.codecs.classes import slots_of, state_of
from memocache.codecs.codec import Codec
from memocache.codecs.known import table as known_types
from memocache.codecs.newer_types import FROZENDICT, SENTINEL
from memocache.codecs.refusals import refusal as refusal_of
from memocache.codecs.value_paths import path_to
from memocache.exceptions import EncodeError

IMMUTABLE = frozenset(
    (
        object, type(None), bool, int, float, complex, str, bytes, range, type(...), type(NotImplemented),
        date, datetime, time, timedelta, timezone, ZoneInfo, Decimal, Fraction, UUID, Pattern,
        PurePosixPath, PureWindowsPath, PosixPath, WindowsPath,
        types.FunctionType, types.BuiltinFunctionType, types.ModuleType,
    )
)  # fmt: skip
_FLAT: dict[type, Callable[[Any], Any]] = {
    list: list.copy,
    dict: dict.copy,
    set: set.copy,
    bytearray: bytearray.copy,
    deque: deque.copy,
    OrderedDict: OrderedDict.copy,
    Counter: Counter.copy,
    defaultdict: defaultdict.copy,
}
_MAPPINGS = frozenset((dict, OrderedDict, Counter, defaultdict))
_DEEP = 50
_FEW = 16
"""Containers of a record, itself among them, at most: each is looked for on a miss, and takes room in the entry."""


def copier(
    value: Any, codec: Codec, told: Callable[[str], None] | None = None
) -> tuple[object, Callable[[Any], Any] | None]:
    """Return what the process holds for `value`, and how a hit makes its own copy of that.

    The second is None where the value is immutable all the way down and is handed out itself, or cannot be copied.
    `told` is called with the path to a part that could be mutated and is held by reference all the same, and why.
    EncodeError where some part of it can be used once.
    """
    kind = type(value)
    copy = _FLAT.get(kind)
    if kind in IMMUTABLE or (copy is None and _is_immutable(value)):
        return value, None
    if copy is not None and not getattr(value, "__dict__", None):
        parts: Iterable[Any] = chain(value, value.values()) if kind in _MAPPINGS else value
        if kind is bytearray or _all_immutable(parts):
            return copy(value), copy
        rows = _rows_copier(value)
        if rows is not None:
            return rows(value), rows
        record = _record_copier(value, [_FEW])
        if record is not None:
            return record(value), record
    copy = _array_copier(value)
    if copy is not None:
        return copy(value), copy
    try:
        return codec.encode(value), codec.decode
    except EncodeError as refusal:
        return _around(value, codec, str(refusal), told)


def _around(
    value: Any, codec: Codec, refusal: str, told: Callable[[str], None] | None
) -> tuple[object, Callable[[Any], Any] | None]:
    """As `copier`, for what has no payload that could leave the process, because of `refusal`."""
    kept: list[Any]
    held: object
    try:
        held, kept = codec.encode_around(value)
    except EncodeError:  # cyclic, or nested too deeply
        once = single_use.part_of(value)
        held, kept = value, [value if once is None else once]
    for part in kept:
        once = single_use.part_of(part, vouched=False)  # a container of a class of its own is kept whole
        if once is not None:
            single_use.refuse(once, value)
    shared = next((part for part in kept if not _all_immutable((part,))), None)
    if told is not None and shared is not None:
        told(refusal if codec.kind_of(type(shared)) else f"{path_to(shared, value)}: {refusal_of(shared)}")
    if kept and kept[0] is value:
        return value, None
    return held, None if held is value else codec.decoder(kept)


def _all_immutable(parts: Iterable[Any], depth: int = 0) -> bool:
    parts = list(parts)
    if set(map(type, parts)) <= IMMUTABLE:
        return True
    return depth < _DEEP and all(type(part) in IMMUTABLE or _is_immutable(part, depth) for part in parts)


def _is_immutable(value: Any, depth: int = 0) -> bool:
    kind = type(value)
    if kind is tuple or kind is frozenset:
        return _all_immutable(value, depth + 1)
    if isinstance(value, enum.Enum | type) or kind is SENTINEL or kind.__module__ in single_use.LOCKS:
        return True
    if kind is FROZENDICT:
        return _all_immutable(chain(value, value.values()), depth + 1)
    if kind is slice:
        return _all_immutable((value.start, value.stop, value.step), depth + 1)
    if known_types.is_immutable(kind):
        return True
    if issubclass(kind, tuple):
        named = hasattr(kind, "_fields") and not state_of(value, slots_of(kind)) and not _has_cached_property(kind)
        return named and _all_immutable(value, depth + 1)
    params = getattr(kind, "__dataclass_params__", None)
    if params is not None and params.frozen and not _has_cached_property(kind):
        state = state_of(value, slots_of(kind))
        return state.keys() == value.__dataclass_fields__.keys() and _all_immutable(state.values(), depth + 1)
    np = sys.modules.get("numpy")
    return np is not None and isinstance(value, np.generic) and not isinstance(value, np.void)


def _has_cached_property(kind: type) -> bool:
    """Tell whether an instance could come to hold more than it does now, in plain sight of every caller."""
    return any(isinstance(held, functools.cached_property) for base in kind.__mro__ for held in vars(base).values())


def _rows_copier(value: Any) -> Callable[[Any], Any] | None:
    """Return what copies a list or dict whose items are all flat lists, dicts or sets of one type."""
    kind = type(value)
    if kind is not list and not (kind is dict and _all_immutable(value)):
        return None
    rows = value if kind is list else list(value.values())
    kinds = set(map(type, rows))
    row = kinds.pop()
    if kinds or row not in (list, dict, set):
        return None
    parts = chain(chain.from_iterable(rows), chain.from_iterable(map(dict.values, rows)) if row is dict else ())
    if not _all_immutable(parts):
        return None
    return partial(_copy_list if kind is list else _copy_dict, _FLAT[row])


def _copy_list(copy: Callable[[Any], Any], rows: list[Any]) -> list[Any]:
    return list(map(copy, rows))


def _copy_dict(copy: Callable[[Any], Any], rows: dict[Any, Any]) -> dict[Any, Any]:
    return dict(zip(rows, map(copy, rows.values()), strict=True))


def _record_copier(value: Any, left: list[int]) -> Callable[[Any], Any] | None:
    """Return what copies a container by its own method and puts copies of the containers inside in their places.

    None where something inside is neither such a container nor immutable, or where there are more than `left` of them.
    """
    left[0] -= 1
    kind = type(value)
    copy = _FLAT.get(kind)
    if left[0] < 0 or copy is None or getattr(value, "__dict__", None):
        return None
    mapping = kind in _MAPPINGS
    if kind is bytearray or _all_immutable(chain(value, value.values()) if mapping else value):
        return copy
    if not mapping and kind is not list:
        return None
    if mapping and not _all_immutable(value):
        return None
    inside: list[tuple[Any, Callable[[Any], Any]]] = []
    for place, part in value.items() if mapping else enumerate(value):
        if not _all_immutable((part,)):
            copy_part = _record_copier(part, left)
            if copy_part is None:
                return None
            inside.append((place, copy_part))
    return _record_copy(copy, inside)


def _record_copy(copy: Callable[[Any], Any], inside: list[tuple[Any, Callable[[Any], Any]]]) -> Callable[[Any], Any]:
    """Return what copies by `copy`, then copies what stands `inside` by place; two places without a loop, for speed."""
    if len(inside) == 2:
        (first, copy_first), (second, copy_second) = inside

        def with_two(held: Any) -> Any:
            copied = copy(held)
            copied[first] = copy_first(held[first])
            copied[second] = copy_second(held[second])
            return copied

        return with_two

    def with_all(held: Any) -> Any:
        copied = copy(held)
        for place, copy_part in inside:
            copied[place] = copy_part(held[place])
        return copied

    return with_all


def _array_copier(value: Any) -> Callable[[Any], Any] | None:
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    module: Any = sys.modules.get(library)
    if library == "numpy" and kind is module.ndarray and not value.dtype.hasobject:
        return _copy_array
    if library == "pandas" and kind in (module.DataFrame, module.Series) and _holds_no_objects(value, module):
        return partial(kind.copy, deep=True)
    if library == "polars" and kind in (module.DataFrame, module.Series) and not _holds_polars_objects(value, module):
        return kind.clone  # type: ignore[no-any-return]  # polars is not imported here
    return None


def _copy_array(array: Any) -> Any:
    copied = array.copy("K")
    copied.flags.writeable = array.flags.writeable
    return copied


def _holds_no_objects(value: Any, pd: Any) -> bool:
    """Tell whether pandas' own deep copy, which does not copy Python objects in columns, leaves nothing shared."""
    dtypes = value.dtypes if isinstance(value, pd.DataFrame) else [value.dtype]
    return not value.attrs and not any(getattr(dtype, "hasobject", False) for dtype in dtypes)


def _holds_polars_objects(value: Any, pl: Any) -> bool:
    return pl.Object in (value.dtypes if isinstance(value, pl.DataFrame) else [value.dtype])
