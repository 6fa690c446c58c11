"""Values of numpy as tuples that say everything about them: dtype, shape, content in C order.

Structured arrays go field by field (padding is not content), and every NaN is the same NaN. Content that is large stays
where it lies (`Elements`). numpy is not imported here: a value of it can only exist once it is loaded.
"""

from __future__ import annotations

import sys
from typing import Any, Final

from memocache._runtime.object_identity import NoIdentity, type_name

_Tuple = tuple[Any, ...]
_LARGE: Final = 1 << 16


class Elements:
    """Bytes of an argument as they lie in memory: in keys they are what `bytes` of them are, without a copy."""

    __slots__ = ("view",)

    def __init__(self, view: memoryview) -> None:
        self.view = view


def lowered_array(numpy: Any, value: Any, cls: type, ancestors: frozenset[int]) -> _Tuple:
    """Return the tuple (kind, parts...) of an array (`ancestors`: ids of the mro of its class)."""
    if value is numpy.ma.masked:  # whose attributes cannot be read
        return ("masked",)
    if id(numpy.ma.MaskedArray) in ancestors:
        mask, data = numpy.ma.getmaskarray(value), value.data.view(numpy.ndarray)
        return "masked array", cls, array(numpy, data), array(numpy, mask), array(numpy, value.fill_value)
    made = array(numpy, value.view(numpy.ndarray))
    if cls is numpy.ndarray:
        return made
    # A user's subclass (a quantity with a unit) has state beside its items; numpy's own keep nothing that matters.
    state = None if type_name(cls).startswith("numpy.") else object.__getstate__(value)
    return "derived", cls, made, state


def array(numpy: Any, value: Any) -> _Tuple:
    """The tuple of what numpy makes an array of."""
    made = numpy.asarray(value)
    return "ndarray", dtype_of(numpy, made.dtype), made.shape, _content(numpy, made)


def dtype_of(numpy: Any, dtype: Any) -> Any:
    """A dtype as plain values; `NoIdentity` for one of somebody else's, whose bytes may be addresses."""
    if dtype.fields is not None:
        fields = tuple(
            [(name, dtype_of(numpy, dtype.fields[name][0]), *dtype.fields[name][1:]) for name in dtype.names]
        )
        return "fields", dtype.type.__name__, dtype.itemsize, fields
    if dtype.subdtype is not None:
        return "items", dtype_of(numpy, dtype.base), dtype.shape
    if dtype.kind == "T":
        return "strings", dtype.coerce, hasattr(dtype, "na_object"), getattr(dtype, "na_object", None)
    if dtype.type.__module__ == "ml_dtypes" and sys.modules["ml_dtypes"].__dict__.get(dtype.name) is dtype.type:
        return "ml_dtypes", dtype.name
    if dtype.type.__module__ != "numpy":
        raise NoIdentity(type(dtype))
    return dtype.str


def _content(numpy: Any, held: Any) -> Any:
    dtype = held.dtype
    if dtype.fields is not None:
        return tuple([_content(numpy, held[name]) for name in dtype.names])
    if dtype.kind in "OT":
        return held.ravel().tolist()
    if dtype.kind in "fc" and dtype.type.__module__ == "numpy":
        held = _one_nan(numpy, numpy.ascontiguousarray(held, dtype.newbyteorder("=")))
        size = held.dtype.itemsize
        if size > 8 and numpy.finfo(held.dtype).nmant == 63:  # x86: ten bytes of number, then rubbish
            return held.view("u1").reshape(-1, size)[:, :10].tobytes()
    if held.nbytes < _LARGE:
        return held.tobytes()
    return Elements(numpy.ascontiguousarray(held).reshape(-1).view("u1").data)


def _one_nan(numpy: Any, held: Any) -> Any:
    """Return a C-ordered float or complex array as 1-d floats, every NaN of it the same NaN."""
    flat = held.reshape(-1)
    parts = flat.view(flat.real.dtype)
    unknown = numpy.isnan(parts)
    if unknown.any():
        parts = parts.copy()
        parts[unknown] = numpy.nan
    return parts
