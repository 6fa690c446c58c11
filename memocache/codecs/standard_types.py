"""The standard library's part of the closed table `memocache.codecs.ext_types`: a body from each value, and back.

Bodies are checked as they are read. A type that only newer Pythons have is in `memocache.codecs.newer_types`.
"""

from __future__ import annotations

import re
import struct
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from types import BuiltinFunctionType, FunctionType, GenericAlias
from typing import Any, Final
from uuid import UUID, SafeUUID
from zoneinfo import ZoneInfo

from memocache.codecs.ext_types import Buffer, Kind, Load, Pack, Unfit, Unpack, expect, expect_list
from memocache.exceptions import DecodeError

FACTORIES: Final = (
    None, int, float, complex, bool, str, bytes, bytearray,
    list, tuple, dict, set, frozenset, OrderedDict, Counter, deque,
)  # fmt: skip
PATHS: Final = (PurePosixPath, PureWindowsPath, PosixPath, WindowsPath)

_CALLABLES: Final = (FunctionType, BuiltinFunctionType, type, partial, GenericAlias)

_DATETIME = struct.Struct(">HBBBBBIB")
_DATE = struct.Struct(">HBB")
_TIME = struct.Struct(">BBBIB")
_DELTA = struct.Struct(">iII")
_COMPLEX = struct.Struct(">dd")
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,64}(?:/[A-Za-z0-9_+-]{1,64}){0,4}")
# Reducing a fraction is quadratic in its length: this keeps a hostile one under a millisecond or so.
_FRACTION_BITS = 1 << 16


def _items(value: Any, pack: Pack) -> bytes:
    return pack(list(value))


def _bare(value: Any) -> None:
    if value.__dict__:
        raise Unfit(value, f"a {type(value).__name__} with attributes of its own cannot be stored; return a plain one")


def _dump_int(value: int, pack: Pack) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _load_int(data: Buffer, unpack: Unpack) -> int:
    return int.from_bytes(data, "big", signed=True)


def _dump_complex(value: complex, pack: Pack) -> bytes:
    return _COMPLEX.pack(value.real, value.imag)


def _load_complex(data: Buffer, unpack: Unpack) -> complex:
    return complex(*_COMPLEX.unpack(data))


def _dump_dict(value: Any, pack: Pack) -> bytes:
    _bare(value)
    return pack(dict(value.items()))


def _dump_ordered(value: OrderedDict[Any, Any], pack: Pack) -> bytes:
    items = dict(value.items())
    return pack([items, vars(value)] if vars(value) else items)


def _load_ordered(data: Buffer, unpack: Unpack) -> OrderedDict[Any, Any]:
    parts = unpack(data)
    if type(parts) is dict:
        return OrderedDict(parts)
    items, attributes = (expect(dict, part) for part in expect_list(parts, 2))  # as `state_dict()` of torch
    if not {str}.issuperset(map(type, attributes)):
        raise DecodeError("payload holds malformed attributes")
    made: OrderedDict[Any, Any] = OrderedDict(items)
    vars(made).update(attributes)
    return made


def _load_counter(data: Buffer, unpack: Unpack) -> Counter[Any]:
    return Counter(expect(dict, unpack(data)))


def _dump_defaultdict(value: defaultdict[Any, Any], pack: Pack) -> bytes:
    for index, factory in enumerate(FACTORIES):
        if value.default_factory is factory:
            return pack([index, dict(value)])
    if isinstance(value.default_factory, _CALLABLES):
        try:
            return pack([value.default_factory, dict(value)])  # in the process, where anything can be held
        except Unfit as unfit:
            if unfit.culprit is not value.default_factory:
                raise
    raise Unfit(value, "a defaultdict whose factory is not a built-in type cannot be stored; return dict(value)")


def _load_defaultdict(data: Buffer, unpack: Unpack) -> defaultdict[Any, Any]:
    index, items = expect_list(unpack(data), 2)
    if isinstance(index, _CALLABLES):  # a partial of a built-in type; of this process: no payload holds another
        factory: Any = index
        return defaultdict(factory, expect(dict, items))
    if not 0 <= expect(int, index) < len(FACTORIES):
        raise DecodeError("payload holds an unknown factory")
    return defaultdict(FACTORIES[index], expect(dict, items))


def _dump_deque(value: deque[Any], pack: Pack) -> bytes:
    return pack([value.maxlen, *value])


def _load_deque(data: Buffer, unpack: Unpack) -> deque[Any]:
    maxlen, *items = expect(list, unpack(data))
    if maxlen is not None and not len(items) <= expect(int, maxlen):
        raise DecodeError("payload holds an overfull deque")
    return deque(items, maxlen)


def _dump_decimal(value: Decimal, pack: Pack) -> bytes:
    # Capitals, because the case of the exponent follows the current decimal context.
    return str(value).upper().encode("ascii")


def _load_decimal(data: Buffer, unpack: Unpack) -> Decimal:
    text = str(data, "ascii")
    value = Decimal(text)
    # A context that does not trap InvalidOperation makes NaN of any nonsense.
    if str(value).upper() != text:
        raise DecodeError("payload holds a malformed Decimal")
    return value


def _dump_fraction(value: Fraction, pack: Pack) -> bytes:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > _FRACTION_BITS:
        raise Unfit(
            value, f"a Fraction of more than {_FRACTION_BITS} bits cannot be stored; return limit_denominator()"
        )
    return pack([value.numerator, value.denominator])


def _load_fraction(data: Buffer, unpack: Unpack) -> Fraction:
    pair = expect_list(unpack(data), 2)
    if any(expect(int, part).bit_length() > _FRACTION_BITS for part in pair):
        raise DecodeError("payload holds too large a Fraction")
    value = Fraction(*pair)
    if [value.numerator, value.denominator] != pair:
        raise DecodeError("payload holds a Fraction that is not reduced")
    return value


def _dump_path(value: PurePosixPath | PureWindowsPath, pack: Pack) -> bytes:
    text = str(value)
    # Some Windows paths ("./c:x") have no text of their own on older interpreters.
    if isinstance(value, PureWindowsPath) and type(value)(text) != value:
        raise Unfit(value, "a path whose text means another path cannot be stored; return str(path)")
    return bytes((PATHS.index(type(value)),)) + text.encode("utf-8", "surrogatepass")


def _load_path(data: Buffer, unpack: Unpack) -> PurePosixPath | PureWindowsPath:
    return PATHS[data[0]](str(data[1:], "utf-8", "surrogatepass"))


def _dump_uuid(value: UUID, pack: Pack) -> bytes:
    return value.bytes + {SafeUUID.unknown: b"", SafeUUID.safe: b"\0", SafeUUID.unsafe: b"\1"}[value.is_safe]


def _load_uuid(data: Buffer, unpack: Unpack) -> UUID:
    safety = {b"": SafeUUID.unknown, b"\0": SafeUUID.safe, b"\1": SafeUUID.unsafe}[bytes(data[16:])]
    return UUID(bytes=bytes(data[:16]), is_safe=safety)


def _dump_range(value: range, pack: Pack) -> bytes:
    return pack([int(value.start), int(value.stop), int(value.step)])


def _load_range(data: Buffer, unpack: Unpack) -> range:
    return range(*(expect(int, part) for part in expect_list(unpack(data), 3)))


def _dump_slice(value: slice, pack: Pack) -> bytes:
    return pack([value.start, value.stop, value.step])


def _load_slice(data: Buffer, unpack: Unpack) -> slice:
    return slice(*expect_list(unpack(data), 3))


def _dump_zone_of(value: datetime | time, pack: Pack) -> bytes:
    return b"" if value.tzinfo is None else pack(value.tzinfo)


def _load_zone_of(data: Buffer, unpack: Unpack) -> tzinfo | None:
    if not data:
        return None
    zone = unpack(data)
    if not isinstance(zone, tzinfo):
        raise DecodeError("payload holds something else where a zone belongs")
    return zone


def _dump_datetime(value: datetime, pack: Pack) -> bytes:
    v = value
    stamp = _DATETIME.pack(v.year, v.month, v.day, v.hour, v.minute, v.second, v.microsecond, v.fold)
    return stamp + _dump_zone_of(value, pack)


def _load_datetime(data: Buffer, unpack: Unpack) -> datetime:
    year, month, day, hour, minute, second, microsecond, fold = _DATETIME.unpack_from(data)
    zone = _load_zone_of(data[_DATETIME.size :], unpack)
    return datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)


def _dump_date(value: date, pack: Pack) -> bytes:
    return _DATE.pack(value.year, value.month, value.day)


def _load_date(data: Buffer, unpack: Unpack) -> date:
    return date(*_DATE.unpack(data))


def _dump_time(value: time, pack: Pack) -> bytes:
    stamp = _TIME.pack(value.hour, value.minute, value.second, value.microsecond, value.fold)
    return stamp + _dump_zone_of(value, pack)


def _load_time(data: Buffer, unpack: Unpack) -> time:
    hour, minute, second, microsecond, fold = _TIME.unpack_from(data)
    return time(hour, minute, second, microsecond, _load_zone_of(data[_TIME.size :], unpack), fold=fold)


def _dump_timedelta(value: timedelta, pack: Pack) -> bytes:
    return _DELTA.pack(value.days, value.seconds, value.microseconds)


def _load_timedelta(data: Buffer, unpack: Unpack) -> timedelta:
    return timedelta(*_DELTA.unpack(data))


def _dump_timezone(value: timezone, pack: Pack) -> bytes:
    offset, *name = value.__getinitargs__()  # type: ignore[attr-defined]  # the only way to tell a given name
    return _dump_timedelta(offset, pack) + b"".join(b"\0" + part.encode("utf-8", "surrogatepass") for part in name)


def _load_timezone(data: Buffer, unpack: Unpack) -> timezone:
    offset = timedelta(*_DELTA.unpack_from(data))
    if len(data) == _DELTA.size:
        return timezone(offset)
    return timezone(offset, str(data[_DELTA.size + 1 :], "utf-8", "surrogatepass"))


def _dump_zone(value: ZoneInfo, pack: Pack) -> bytes:
    if value.key is None or not _ZONE.fullmatch(value.key):
        raise Unfit(value, "a ZoneInfo without a key cannot be stored; make it with ZoneInfo(name)")
    return value.key.encode("ascii")


def _load_zone(data: Buffer, unpack: Unpack) -> ZoneInfo:
    key = str(data, "ascii")
    # ZoneInfo reads a file of this name, so nothing but a zone's name gets that far.
    if not _ZONE.fullmatch(key):
        raise DecodeError("payload holds a malformed zone name")
    return ZoneInfo(key)


def _load_tuple(data: Buffer, unpack: Unpack) -> tuple[Any, ...]:
    return tuple(expect(list, unpack(data)))


def _load_set(data: Buffer, unpack: Unpack) -> set[Any]:
    return set(expect(list, unpack(data)))


def _load_frozenset(data: Buffer, unpack: Unpack) -> frozenset[Any]:
    return frozenset(expect(list, unpack(data)))


DUMPS: Final[dict[type, Kind]] = {
    tuple: Kind(1, _items),
    set: Kind(2, _items),
    frozenset: Kind(3, _items),
    bytearray: Kind(4, lambda value, pack: bytes(value)),
    int: Kind(5, _dump_int),
    complex: Kind(6, _dump_complex),
    OrderedDict: Kind(7, _dump_ordered),
    Counter: Kind(8, _dump_dict),
    defaultdict: Kind(9, _dump_defaultdict),
    deque: Kind(10, _dump_deque),
    Decimal: Kind(11, _dump_decimal),
    Fraction: Kind(12, _dump_fraction),
    **dict.fromkeys(PATHS, Kind(13, _dump_path)),
    UUID: Kind(14, _dump_uuid),
    range: Kind(15, _dump_range),
    slice: Kind(16, _dump_slice),
    datetime: Kind(17, _dump_datetime),
    date: Kind(18, _dump_date),
    time: Kind(19, _dump_time),
    timedelta: Kind(20, _dump_timedelta),
    timezone: Kind(21, _dump_timezone),
    ZoneInfo: Kind(22, _dump_zone),
}

LOADS: Final[dict[int, Load]] = {
    1: _load_tuple,
    2: _load_set,
    3: _load_frozenset,
    4: lambda data, unpack: bytearray(data),
    5: _load_int,
    6: _load_complex,
    7: _load_ordered,
    8: _load_counter,
    9: _load_defaultdict,
    10: _load_deque,
    11: _load_decimal,
    12: _load_fraction,
    13: _load_path,
    14: _load_uuid,
    15: _load_range,
    16: _load_slice,
    17: _load_datetime,
    18: _load_date,
    19: _load_time,
    20: _load_timedelta,
    21: _load_timezone,
    22: _load_zone,
}
