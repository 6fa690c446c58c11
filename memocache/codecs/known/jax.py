"""Arrays of jax: their elements as bytes, since jax has types that numpy has not.

An array comes back on the default device of the process.
"""

from __future__ import annotations

import math
from typing import Any, Final

from memocache.codecs.ext_types import Unfit, expect, expect_list
from memocache.codecs.known.known_type import KnownType, loaded
from memocache.exceptions import DecodeError

_JAX_TYPES: Final = frozenset((
    "bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float16", "bfloat16", "float32",
    "float64", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2", "float8_e4m3b11fnuz", "float8_e4m3fnuz",
    "float8_e5m2fnuz",
))  # fmt: skip


def _jax_apart(value: Any) -> list[Any]:
    name = str(value.dtype)
    if name not in _JAX_TYPES:
        raise Unfit(value, "a jax array of this type cannot be stored; return jax.random.key_data(key), or cast it")
    if not value.is_fully_addressable:
        raise Unfit(value, "a jax array that is spread over processes cannot be stored; gather it first")
    if value.weak_type and value.ndim:
        raise Unfit(value, "a weakly typed jax array cannot be stored; return array.astype(array.dtype)")
    elements = loaded("numpy:asarray")(value, order="C").reshape(-1).view("u1")
    return [name, list(value.shape), bool(value.weak_type), elements]


def _jax_together(parts: Any) -> Any:
    name, shape, weak, content = expect_list(parts, 4)
    if name not in _JAX_TYPES:
        raise DecodeError("payload holds an array of an unknown type")
    lengths = [expect(int, length) for length in expect(list, shape)]
    whole = expect(loaded("numpy:ndarray"), content)
    dtype = loaded("jax.numpy:dtype")(name)
    if (
        len(lengths) > 64
        or any(not 0 <= length < 1 << 31 for length in lengths)
        or whole.dtype.str != "|u1"
        or whole.ndim != 1
    ):
        raise DecodeError("payload holds an array of an impossible shape")
    if math.prod(lengths) * dtype.itemsize != len(whole):
        raise DecodeError("payload holds an array of another size than it says")
    plain = whole.view(dtype).reshape(lengths)
    if expect(bool, weak) and not lengths:
        plain = plain.item()
    made = loaded("jax.numpy:array")(plain)  # a copy
    if str(made.dtype) != name:
        raise DecodeError("payload holds an array of 64 bits, which this process's jax does not have")
    return made


TYPES: Final = (
    KnownType(70, ("jaxlib._jax:ArrayImpl", "jaxlib.xla_extension:ArrayImpl"), _jax_apart, _jax_together,
              immutable=True, note="on the default device when they come back"),
)  # fmt: skip
