"""pyarrow's tables, batches, arrays, scalars, schemas and types: types by name, arrays as their buffers.

Not as Arrow's own file format, whose reader may decompress without bound and load extension types: a payload names
plain types alone, and what was put together is validated in full before anybody sees it. What lies in a file is
validated once, for a file never changes.
"""

from __future__ import annotations

import sys
from typing import Any, Final

from memocache.codecs.ext_types import Unfit, expect, expect_list
from memocache.codecs.file_map import FileMap
from memocache.codecs.known.arrow_content import content, whole
from memocache.codecs.known.known_type import KnownType, loaded
from memocache.exceptions import DecodeError

_PLAIN: Final = frozenset((
    "null", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "halffloat", "float",
    "double", "string", "binary", "large_string", "large_binary", "date32[day]", "date64[ms]", "string_view",
    "binary_view",
))  # fmt: skip
_MAKERS: Final = {
    "null": "null", "bool": "bool_", "halffloat": "float16", "float": "float32", "double": "float64",
    "date32[day]": "date32", "date64[ms]": "date64",
}  # fmt: skip
# A null array of any length takes no bytes.
_MOST_NULLS: Final = 1 << 24
_DEEPEST: Final = 64


def _pa(name: str) -> Any:
    library = sys.modules.get("pyarrow.lib")  # a table asks a hundred times: more quickly than `loaded`
    if library is None:
        raise DecodeError("payload holds a value of a library that is not loaded")
    return vars(library)[name]


def type_apart(dtype: Any) -> list[Any]:
    """What a type is made of."""
    name = type(dtype).__name__
    text = str(dtype)
    if name == "DataType" and text in _PLAIN:
        return [text]
    if name == "TimestampType":
        return ["timestamp", dtype.unit, dtype.tz]
    if name in ("Time32Type", "Time64Type", "DurationType"):
        return [name.removesuffix("Type").lower(), dtype.unit]
    if name.startswith("Decimal"):
        return [f"decimal{dtype.bit_width}", dtype.precision, dtype.scale]
    if name == "FixedSizeBinaryType":
        return ["fixed", dtype.byte_width]
    if name in ("ListType", "LargeListType"):
        return [name.removesuffix("Type").lower(), _field_apart(dtype.value_field)]
    if name == "FixedSizeListType":
        return ["fixedlist", _field_apart(dtype.value_field), dtype.list_size]
    if name == "MapType":
        return ["map", _field_apart(dtype.key_field), _field_apart(dtype.item_field), dtype.keys_sorted]
    if name == "StructType":
        return ["struct", [_field_apart(dtype.field(at)) for at in range(dtype.num_fields)]]
    if name == "DictionaryType":
        return ["dictionary", type_apart(dtype.index_type), type_apart(dtype.value_type), dtype.ordered]
    raise Unfit(dtype, "an Arrow type of this kind cannot be stored; cast it to a plain one")


def _field_apart(field: Any) -> list[Any]:
    return [field.name, type_apart(field.type), field.nullable, _metadata(field)]


def _metadata(held: Any) -> Any:
    return None if held.metadata is None else dict(held.metadata)


def type_together(parts: Any, depth: int = 0) -> Any:
    """The type of `type_apart`."""
    if depth > _DEEPEST:
        raise DecodeError("payload holds too deep a type")
    name, *rest = expect(list, parts)
    if name in _PLAIN and not rest:
        return _pa(_MAKERS.get(name, name))()
    if name == "timestamp":
        unit, zone = expect_list(rest, 2)
        return _pa("timestamp")(expect(str, unit), zone if zone is None else expect(str, zone))
    if name in ("time32", "time64", "duration"):
        return _pa(name)(*map(str, expect_list(rest, 1)))
    if name in ("decimal32", "decimal64", "decimal128", "decimal256"):
        return _pa(name)(*(expect(int, part) for part in expect_list(rest, 2)))
    if name == "fixed":
        (width,) = expect_list(rest, 1)
        if not 0 <= expect(int, width) < 1 << 31:
            raise DecodeError("payload holds an impossible width")
        return _pa("binary")(width)
    if name in ("list", "largelist"):
        (field,) = expect_list(rest, 1)
        return _pa({"list": "list_", "largelist": "large_list"}[name])(_field_together(field, depth))
    if name == "fixedlist":
        field, size = expect_list(rest, 2)
        if not 0 <= expect(int, size) < 1 << 31:
            raise DecodeError("payload holds an impossible width")
        return _pa("list_")(_field_together(field, depth), size)
    if name == "map":
        key, item, ordered = expect_list(rest, 3)
        return _pa("map_")(_field_together(key, depth), _field_together(item, depth), expect(bool, ordered))
    if name == "struct":
        return _pa("struct")([_field_together(field, depth) for field in expect(list, *expect_list(rest, 1))])
    if name == "dictionary":
        index, value, ordered = expect_list(rest, 3)
        return _pa("dictionary")(
            type_together(index, depth + 1), type_together(value, depth + 1), expect(bool, ordered)
        )
    raise DecodeError("payload holds an Arrow type of an unknown kind")


def _field_together(parts: Any, depth: int = 0) -> Any:
    name, dtype, nullable, metadata = expect_list(parts, 4)
    made = _pa("field")(expect(str, name), type_together(dtype, depth + 1), expect(bool, nullable))
    return made if metadata is None else made.with_metadata(_pairs(metadata))


def _pairs(metadata: Any) -> dict[bytes, bytes]:
    pairs: dict[bytes, bytes] = expect(dict, metadata)
    if not {bytes}.issuperset(map(type, [*pairs, *pairs.values()])):
        raise DecodeError("payload holds malformed metadata")
    return pairs


def _schema_apart(schema: Any) -> list[Any]:
    return [[_field_apart(schema.field(at)) for at in range(len(schema))], _metadata(schema)]


def _schema_together(parts: Any) -> Any:
    fields, metadata = expect_list(parts, 2)
    made = _pa("schema")([_field_together(field) for field in expect(list, fields)])
    return made if metadata is None else made.with_metadata(_pairs(metadata))


# Arrays: length, nulls and buffers, of what they are made of too.


def _array_apart(array: Any) -> list[Any]:
    return [type_apart(array.type), *_data(array)]


def _data(array: Any) -> list[Any]:
    """What an array is beside its type, with no more of its buffers than it needs."""
    if array.offset or len(array) == 0 or _is_slice(array):
        # a copy of what a slice shows, and not of what it is a slice of
        array = loaded("pyarrow.lib:concat_arrays")([array, array.slice(0, 0)])
    return _parts(array)


def _is_slice(array: Any) -> bool:
    return bool(array.nbytes < array.get_total_buffer_size() // 2)


def _parts(array: Any) -> list[Any]:
    numpy_frombuffer = loaded("numpy:frombuffer")
    dtype = array.type
    if type(dtype).__name__ == "DictionaryType":
        return ["dictionary", _parts(array.indices), _data(array.dictionary)]
    buffers = array.buffers()
    own = len(buffers) if dtype.num_fields == 0 else dtype.num_buffers
    held = [None if buffer is None else numpy_frombuffer(buffer, "u1") for buffer in buffers[:own]]
    children = [] if dtype.num_fields == 0 else [_parts(child) for child in _children(array)]
    return [len(array), array.null_count, array.offset, held, children]


def _children(array: Any) -> list[Any]:
    kind = type(array.type).__name__
    if kind == "StructType":
        return [array.field(at) for at in range(array.type.num_fields)]
    if kind == "MapType":
        return [_entries(array)]
    return [array.values]


def _entries(array: Any) -> Any:
    """The pairs of a map array, as the struct array that they are."""
    keys, items = array.keys, array.items
    fields = [array.type.key_field, array.type.item_field]
    return _pa("StructArray").from_arrays([keys, items], fields=fields)


def _array_together(parts: Any) -> Any:
    dtype, *data = expect(list, parts)
    return _valid(_make(type_together(dtype), data), data)


def _valid(made: Any, data: Any) -> Any:
    """Return an array once it is validated: in full, unless it lies in a file from which it was decoded before."""
    made.validate(full=not _decoded_before(data))
    return made


def _decoded_before(data: Any) -> bool:
    for part in data:
        if type(part) is list and _decoded_before(part):
            return True
        held = getattr(part, "base", None)
        if type(held) is FileMap and held.sighting.decoded:
            return True
    return False


def _make(dtype: Any, data: Any) -> Any:
    kind = type(dtype).__name__
    if kind == "DictionaryType":
        word, indices, values = expect_list(data, 3)
        if word != "dictionary":
            raise DecodeError("payload holds a malformed Arrow array")
        index = _valid(_make(dtype.index_type, indices), indices)
        held = _valid(_make(dtype.value_type, values), values)
        return _pa("DictionaryArray").from_arrays(index, held, ordered=dtype.ordered)
    length, nulls, offset, buffers, children = expect_list(data, 5)
    if not 0 <= expect(int, length) < 1 << 62 or not 0 <= expect(int, offset) < 1 << 62:
        raise DecodeError("payload holds an Arrow array of an impossible length")
    if kind == "DataType" and str(dtype) == "null" and length > _MOST_NULLS:
        raise DecodeError("payload holds too many nulls")
    py_buffer, array = _pa("py_buffer"), loaded("numpy:ndarray")
    held = [None if part is None else py_buffer(expect(array, part)) for part in expect(list, buffers)]
    types = _child_types(dtype)
    if len(types) != len(expect(list, children)):
        raise DecodeError("payload holds a malformed Arrow array")
    inner = [_valid(_make(child, part), part) for child, part in zip(types, children, strict=True)]
    expect(int, nulls)  # not believed: counted anew
    return _pa("Array").from_buffers(dtype, length, held, -1, offset, inner)


def _child_types(dtype: Any) -> list[Any]:
    kind = type(dtype).__name__
    if kind == "MapType":
        return [_pa("struct")([dtype.key_field, dtype.item_field])]
    if kind == "StructType":
        return [dtype.field(at).type for at in range(dtype.num_fields)]
    return [dtype.value_type] if dtype.num_fields else []


def _chunked_apart(value: Any) -> list[Any]:
    return [type_apart(value.type), [_data(chunk) for chunk in value.chunks]]


def _chunked_together(parts: Any) -> Any:
    dtype, chunks = expect_list(parts, 2)
    return _chunked(type_together(dtype), chunks)


def _chunked(dtype: Any, chunks: Any) -> Any:
    made = [_valid(_make(dtype, chunk), chunk) for chunk in expect(list, chunks)]
    return _pa("chunked_array")(made, type=dtype)


def _table_apart(table: Any) -> list[Any]:
    columns = [[_data(chunk) for chunk in table.column(at).chunks] for at in range(table.num_columns)]
    return [_schema_apart(table.schema), columns, table.num_rows]


def _table_together(parts: Any) -> Any:
    schema, columns, rows = expect_list(parts, 3)
    schema = _schema_together(schema)
    if len(expect(list, columns)) != len(schema):
        raise DecodeError("payload holds another number of columns than it says")
    made = [_chunked(field.type, chunks) for field, chunks in zip(schema, columns, strict=True)]
    table = _pa("Table").from_arrays(made, schema=schema)
    table.validate()  # that columns are of one length: their content was validated above
    if table.num_rows != rows:
        raise DecodeError("payload holds another number of rows than it says")
    return table


def _batch_apart(batch: Any) -> list[Any]:
    return [_schema_apart(batch.schema), [_data(column) for column in batch.columns]]


def _batch_together(parts: Any) -> Any:
    schema, columns = expect_list(parts, 2)
    schema = _schema_together(schema)
    if len(expect(list, columns)) != len(schema):
        raise DecodeError("payload holds another number of columns than it says")
    made = [_valid(_make(field.type, column), column) for field, column in zip(schema, columns, strict=True)]
    batch = _pa("RecordBatch").from_arrays(made, schema=schema)
    batch.validate()  # as of a table
    return batch


def _scalar_apart(value: Any) -> list[Any]:
    return _array_apart(_pa("repeat")(value, 1))


def _scalar_together(parts: Any) -> Any:
    made = _array_together(parts)
    if len(made) != 1:
        raise DecodeError("payload holds no scalar")
    return made[0]


# As arguments: by content.


def _array_key(value: Any) -> Any:
    return ["array", type_apart(value.type), content(value)]


def _chunked_key(value: Any) -> Any:
    return [type_apart(value.type), content(whole(value))]


def _table_key(value: Any) -> Any:
    return [_schema_apart(value.schema), value.num_rows, [content(whole(column)) for column in value.columns]]


def _batch_key(value: Any) -> Any:
    return [_schema_apart(value.schema), value.num_rows, [content(column) for column in value.columns]]


TYPES: Final = (
    KnownType(80, ("pyarrow.lib:DataType",), type_apart, type_together, immutable=True, family=True),
    KnownType(81, ("pyarrow.lib:Field",), _field_apart, _field_together, immutable=True),
    KnownType(82, ("pyarrow.lib:Schema",), _schema_apart, _schema_together, immutable=True),
    KnownType(83, ("pyarrow.lib:Array",), _array_apart, _array_together, _array_key, immutable=True, family=True,
              note="of plain and nested types, dictionaries too; not of extension types"),
    KnownType(84, ("pyarrow.lib:ChunkedArray",), _chunked_apart, _chunked_together, _chunked_key, immutable=True,
              note="one argument for any chunking"),
    KnownType(85, ("pyarrow.lib:RecordBatch",), _batch_apart, _batch_together, _batch_key, immutable=True),
    KnownType(86, ("pyarrow.lib:Table",), _table_apart, _table_together, _table_key, immutable=True,
              note="one argument for any chunking"),
    KnownType(87, ("pyarrow.lib:Scalar",), _scalar_apart, _scalar_together,
              lambda value: [type_apart(value.type), content(_pa("repeat")(value, 1))], immutable=True, family=True),
)  # fmt: skip
