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
)  # fmt: skip
