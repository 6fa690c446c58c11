"""What an array of Arrow holds, as an argument: equal for any chunking, any offset, and whatever lies under a null.

A short array says it in lists where that was the shortest way to write this down, a long one in arrays throughout, for
a table of 10 MB is to be known at the speed at which its bytes are.
"""

from __future__ import annotations

from typing import Any, Final

from memocache.codecs.arrays import LONG, narrowest
from memocache.codecs.known.known_type import loaded

_TEXTS: Final = frozenset(("string", "binary", "large_string", "large_binary", "string_view", "binary_view"))
_NUMBERS: Final = frozenset(
    ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float", "double")
)


def content(array: Any) -> list[Any]:
    """Length, which are null, and the content of one array."""
    dtype, text = array.type, str(array.type)
    kind = type(dtype).__name__
    nulls = _packed(array.is_null()) if array.null_count else None
    said: list[Any] = [len(array), nulls]
    if kind == "DictionaryType":
        return [*said, content(array.dictionary_decode())]
    if kind == "StructType":
        return [*said, [content(part) for part in array.flatten()]]
    if kind in ("ListType", "LargeListType"):
        counts = loaded("pyarrow.compute:list_value_length")(array)
        return [*said, content(counts), content(array.flatten())]
    if kind == "FixedSizeListType" and len(array) * dtype.list_size >= LONG:
        return [*said, content(array.flatten())]
    long = len(array) >= LONG
    if long and kind.startswith("Decimal"):
        return [*said, _fixed(array.drop_null(), dtype.bit_width // 8)]
    if dtype.num_fields or kind.startswith("Decimal") or text == "null":
        return [*said, array.to_pylist()]
    if text in _TEXTS:
        held = array.cast(loaded("pyarrow.lib:large_binary")()).drop_null()
        counts = loaded("pyarrow.compute:binary_length")(held).to_numpy(zero_copy_only=False)
        return [*said, narrowest(counts) if long else counts, _bytes_of(held)]
    if long and text == "bool":
        return [*said, _packed(array.fill_null(False))]
    if long and text in _NUMBERS and nulls is not None:
        return [*said, array.fill_null(0).to_numpy()]
    return [*said, array.drop_null().to_numpy(zero_copy_only=False)]


def whole(chunked: Any) -> Any:
    """One array of a chunked one."""
    if chunked.num_chunks == 1:
        return chunked.chunk(0)
    made = chunked.combine_chunks()
    return made if isinstance(made, loaded("pyarrow.lib:Array")) else loaded("pyarrow.lib:concat_arrays")(made.chunks)


def _packed(flags: Any) -> Any:
    """Flags without nulls as numpy packs them: the first in the highest bit, and nothing behind the last."""
    held = loaded("numpy:frombuffer")(flags.buffers()[1], "u1")
    bits = loaded("numpy:unpackbits")(held, count=flags.offset + len(flags), bitorder="little")
    return loaded("numpy:packbits")(bits[flags.offset :])


def _bytes_of(array: Any) -> Any:
    """The bytes of an array of large_binary without nulls, one after the other."""
    frombuffer = loaded("numpy:frombuffer")
    _, offsets, held = array.buffers()
    if held is None or not len(array):
        return None
    ends = frombuffer(offsets, "i8")[array.offset : array.offset + len(array) + 1]
    return frombuffer(held, "u1")[ends[0] : ends[-1]]


def _fixed(array: Any, width: int) -> Any:
    """The bytes of an array without nulls, `width` for each element."""
    return loaded("numpy:frombuffer")(array.buffers()[1], "u1")[
        array.offset * width : (array.offset + len(array)) * width
    ]
