"""The closed table of extension types: which code stands for which type, and the words in which a type is described.

A payload is one msgpack object. None, bool, int of 64 bits, float, str, bytes, list and dict are msgpack's own; str is
UTF-8 with lone surrogates passed through. Everything else is an extension of a code that never changes meaning:

====  ==================  =====================================================================================
code  type                body (`[…]`, `{…}` are nested payloads; numbers are big-endian)
====  ==================  =====================================================================================
1     tuple               [item, …]
2     set                 [item, …]
3     frozenset           [item, …]
4     bytearray           the bytes
5     int over 64 bits    two's complement
6     complex             real, imaginary: two doubles
7     OrderedDict         {key: value}; [{key: value}, {attribute: value}] where it has attributes
8     Counter             {key: value}
9     defaultdict         [index of the factory in `standard_types.FACTORIES`, or a partial of one, {key: value}]
10    deque               [maxlen, item, …]
11    Decimal             its text in capitals
12    Fraction            [numerator, denominator]
13    Path                one byte: index in `standard_types.PATHS`; then the text
14    UUID                16 bytes; one more (0 safe, 1 unsafe) where `is_safe` is known
15    range               [start, stop, step]
16    slice               [start, stop, step]
17    datetime            year u16, month, day, hour, minute, second u8, microsecond u32, fold u8; then the zone
18    date                year u16, month, day u8
19    time                hour, minute, second u8, microsecond u32, fold u8; then the zone
20    timedelta           days i32, seconds u32, microseconds u32
21    timezone            as timedelta; then a zero byte and the name, where it has one
22    ZoneInfo            its key
23    frozendict          {key: value}
24    sentinel            [module, name]
25    Template            [[text, …], [[value, expression, conversion, format], …]]
32    Enum                [class, name of the member, or the number of a composite flag]
33    namedtuple          [class, {field: value}, {attribute: value}, [absent field]]; empty ends left out
34    dataclass           as namedtuple
35    attrs               as namedtuple
36    msgspec Struct      as namedtuple
37    pydantic model      [class, {field: value}, {attribute: value}, [absent], [fields set], extra, private]
38    registered          [class, what its encoder returned]
39    exception           [class, [arg, …], {attribute: value}]
40    known type          [number in `memocache.codecs.known`, what its `apart` gives]
48    numpy array         u32 length of a header; [dtype, [shape], order, writeable]; the elements.
                          Of objects: the dtype is nil, the items follow in the header
49    numpy scalar        u32 length of a header; dtype; the element
50    numpy array, apart  u64 offset, u64 length of the elements behind the head; the header as in 48
51    head and elements   u32 length of the head; the head: a payload; zeros; elements of arrays (50), each beginning at
                          a multiple of 64 from where the first begins. Only a whole payload can be this
56    pandas DataFrame    [[column, …], index, columns]
57    pandas Series       [column, index, name]
58    pandas Index        [index]
59    pandas Timestamp    [numpy datetime64, zone]
60    pandas Timedelta    numpy timedelta64
61    pandas NaT, NA      one byte: 0 NaT, 1 NA
72    polars DataFrame    [height, [series, …]]
73    polars Series       [name, dtype, values, nulls]
====  ==================  =====================================================================================

A class is ``module:qualname``; `memocache.codecs.classes` tells which may be rebuilt.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from memocache.exceptions import DecodeError, EncodeError

Buffer: TypeAlias = bytes | memoryview
Body: TypeAlias = bytes | tuple[Buffer, ...]
Pack: TypeAlias = Callable[[object], bytes]
Unpack: TypeAlias = Callable[[Buffer], Any]
Dump: TypeAlias = Callable[[Any, Pack], Body]
Load: TypeAlias = Callable[[Buffer, Unpack], Any]

ENUM, NAMEDTUPLE, DATACLASS, ATTRS, MSGSPEC, PYDANTIC, REGISTERED, ERROR = range(32, 40)


class Unfit(EncodeError):
    """A part that cannot be encoded: `culprit` is the part itself, so that its path can be looked for afterwards."""

    def __init__(self, culprit: object, reason: str) -> None:
        super().__init__(reason)
        self.culprit = culprit


class Kind(NamedTuple):
    """How one exact type is written: its code and the function that makes the body."""

    code: int
    dump: Dump


def expect(kind: type, value: object) -> Any:
    """Return `value` if it is exactly a `kind`; DecodeError otherwise."""
    if type(value) is not kind:
        raise DecodeError(f"payload holds something else where a {kind.__name__} belongs")
    return value


def expect_list(value: object, least: int, most: int | None = None) -> list[Any]:
    """Return `value` if it is a list of `least` to `most` (default: `least`) items; DecodeError otherwise."""
    items: list[Any] = expect(list, value)
    if not least <= len(items) <= (least if most is None else most):
        raise DecodeError("payload holds a list of the wrong length")
    return items
