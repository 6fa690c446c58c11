"""Values of web and database libraries: URLs, headers, rows, sentinels."""

from __future__ import annotations

from typing import Any, Final

from memocache.codecs.ext_types import Unfit, expect, expect_list
from memocache.codecs.known.known_type import KnownType, loaded
from memocache.exceptions import DecodeError


def _url_together(parts: Any) -> Any:
    return loaded("yarl:URL")(expect(str, parts), encoded=True)


def _headers_together(parts: Any) -> Any:
    pairs = [tuple(expect_list(pair, 2)) for pair in expect(list, parts)]
    if not {bytes}.issuperset(type(part) for pair in pairs for part in pair):
        raise DecodeError("payload holds malformed headers")
    return loaded("httpx:Headers")(pairs)


def _row_parts(value: Any) -> list[Any]:
    fields = list(value._fields) if hasattr(value, "_fields") else list(value.keys())
    values = list(value) if hasattr(value, "_fields") else list(value.values())
    if not {str}.issuperset(map(type, fields)) or len(fields) != len(values):
        raise Unfit(value, "a row whose columns have no names cannot be stored; return its values as a tuple")
    return [fields, values]


def _row_together(parts: Any) -> Any:
    fields, values = expect_list(parts, 2)
    if not {str}.issuperset(map(type, expect(list, fields))) or len(fields) != len(expect(list, values)):
        raise DecodeError("payload holds a malformed row")
    return loaded("sqlalchemy.engine.result:result_tuple")(fields)(values)


def _pydantic_url_apart(value: Any) -> list[str]:
    parts = [type(value).__name__, str(value)]
    try:
        same = _pydantic_url_together(parts) == value
    except Exception:
        same = False
    if not same:
        raise Unfit(value, "a URL that its own class does not read cannot be stored; return str(url)")
    return parts


def _pydantic_url_together(parts: Any) -> Any:
    name, text = (expect(str, part) for part in expect_list(parts, 2))
    found = loaded(f"pydantic.networks:{name}")
    bases = tuple(loaded(f"pydantic.networks:{base}") for base in ("_BaseUrl", "_BaseMultiHostUrl"))
    if not (isinstance(found, type) and issubclass(found, bases)):
        raise DecodeError("payload names a class that is no URL's")
    return found(text)


def _core_url(name: str, number: int) -> KnownType:
    """A URL of pydantic_core."""
    cls = f"pydantic_core._pydantic_core:{name}"
    return KnownType(number, (cls,), str, lambda parts: loaded(cls)(expect(str, parts)), immutable=True)


def _query_together(parts: Any) -> Any:
    pairs = [tuple(expect_list(pair, 2)) for pair in expect(list, parts)]
    if not {str}.issuperset(type(part) for pair in pairs for part in pair):
        raise DecodeError("payload holds malformed parameters")
    return loaded("httpx:QueryParams")(pairs)


def _multi(name: str, number: int) -> KnownType:
    """A dict of several values for a key."""

    def apart(value: Any) -> list[Any]:
        return [[str.__str__(key), held] for key, held in value.items()]

    def together(parts: Any) -> Any:
        pairs = [(expect(str, key), held) for key, held in (expect_list(pair, 2) for pair in expect(list, parts))]
        made = loaded(f"multidict:{name.removesuffix('Proxy')}")(pairs)
        return loaded(f"multidict:{name}")(made) if name.endswith("Proxy") else made

    return KnownType(number, (f"multidict._multidict:{name}", f"multidict._multidict_py:{name}"), apart, together)


def _binary_together(parts: Any) -> Any:
    content, subtype = expect_list(parts, 2)
    return loaded("bson.binary:Binary")(expect(bytes, content), expect(int, subtype))


def _timestamp_together(parts: Any) -> Any:
    return loaded("bson.timestamp:Timestamp")(*(expect(int, part) for part in expect_list(parts, 2)))


def _object_id_together(parts: Any) -> Any:
    return loaded("bson.objectid:ObjectId")(expect(bytes, parts))


TYPES: Final = (
    KnownType(48, ("yarl:URL", "yarl._url:URL"), str, _url_together, immutable=True),
    KnownType(49, ("httpx:URL",), str, lambda parts: loaded("httpx:URL")(expect(str, parts)), immutable=True),
    KnownType(50, ("httpx:Headers",), lambda value: [list(pair) for pair in value.raw], _headers_together),
    KnownType(51, ("msgspec:UnsetType",), lambda value: None, lambda parts: loaded("msgspec:UNSET"), immutable=True,
              note="`UNSET`"),
    KnownType(52, ("sqlalchemy.engine.row:Row",), _row_parts, _row_together,
              note="its names and values; looked up by name or position, no longer by Column"),
    KnownType(53, ("sqlalchemy.engine.row:RowMapping",), _row_parts, lambda parts: _row_together(parts)._mapping,
              note="as Row"),
    KnownType(54, ("django.utils.safestring:SafeString",), lambda value: str.__str__(value + ""),
              lambda parts: loaded("django.utils.safestring:SafeString")(expect(str, parts)), immutable=True),
    KnownType(55, ("bson.objectid:ObjectId",), lambda value: value.binary, _object_id_together, immutable=True),
    KnownType(57, ("pydantic.networks:_BaseUrl", "pydantic.networks:_BaseMultiHostUrl"), _pydantic_url_apart,
              _pydantic_url_together, immutable=True, family=True, note="`HttpUrl`, `PostgresDsn` and their kin"),
    _core_url("Url", 58),
    _core_url("MultiHostUrl", 47),
    KnownType(60, ("bson.decimal128:Decimal128",), lambda value: value.bid,
              lambda parts: loaded("bson.decimal128:Decimal128").from_bid(expect(bytes, parts)), immutable=True),
    KnownType(61, ("bson.int64:Int64",), int.__int__,
              lambda parts: loaded("bson.int64:Int64")(expect(int, parts)), immutable=True),
    KnownType(62, ("bson.timestamp:Timestamp",), lambda value: [value.time, value.inc], _timestamp_together,
              immutable=True),
    KnownType(63, ("bson.binary:Binary",), lambda value: [bytes(value), value.subtype], _binary_together,
              immutable=True),
    KnownType(88, ("httpx:QueryParams",), lambda value: [list(pair) for pair in value.multi_items()], _query_together,
              immutable=True),
    _multi("MultiDict", 100),
    _multi("CIMultiDict", 101),
    _multi("MultiDictProxy", 102),
    _multi("CIMultiDictProxy", 103),
)  # fmt: skip
