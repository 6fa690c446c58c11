"""polars' types and schemas, by the parts that the types of columns are taken apart into.

A type is put together once before it is stored, and compared: polars has more kinds than its parts say.
"""

from __future__ import annotations

from typing import Any, Final

from memocache.codecs import polars_frames as _frames
from memocache.codecs.ext_types import Unfit, expect, expect_list
from memocache.codecs.known.known_type import KnownType, loaded


def _apart(value: Any) -> list[Any]:
    parts = _frames.parts_of_polars_dtype(value, value)
    again = _frames.make_polars_dtype(parts)
    if type(again) is not type(value) or again != value or hash(again) != hash(value):
        raise Unfit(value, "a polars type of this kind cannot be stored; return its text, as str(dtype)")
    return parts


def _schema_apart(value: Any) -> list[Any]:
    if any(isinstance(dtype, type) for dtype in value.values()):
        raise Unfit(value, "a schema of polars' classes cannot be stored; give it instances, as polars.Int64()")
    return [[name, _apart(dtype)] for name, dtype in value.items()]


def _schema_together(parts: Any) -> Any:
    pairs = [expect_list(pair, 2) for pair in expect(list, parts)]
    return loaded("polars:Schema")([(expect(str, name), _frames.make_polars_dtype(dtype)) for name, dtype in pairs])


TYPES: Final = (
    KnownType(107, ("polars.datatypes.classes:DataType",), _apart, _frames.make_polars_dtype,
              immutable=True, family=True, note="types of columns, nested ones too; not `Object`"),
    KnownType(108, ("polars.schema:Schema",), _schema_apart, _schema_together),
)  # fmt: skip
