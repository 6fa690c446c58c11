"""Values of pydantic, msgspec, numpy, pandas and polars as tuples that say everything about them.

None of these is imported here: a value of theirs can only exist once its module is in `sys.modules`.
`lowered` answers None for everything else.
"""

from __future__ import annotations

import sys
from typing import Any

from memocache._calls.keys import arrays, pandas_frames, polars_frames
from memocache._calls.keys.instance_state import shape_of_names
from memocache._runtime.object_identity import inherited

_Tuple = tuple[Any, ...]


def lowered(value: Any, cls: Any, ancestors: frozenset[int]) -> _Tuple | None:
    """Return the tuple (kind, parts...) of a value of a third-party class (`ancestors`: ids of its mro), else None."""
    if id(_loaded("pydantic.main", "BaseModel")) in ancestors:
        return _lowered_pydantic(value, cls)
    if id(_loaded("msgspec", "Struct")) in ancestors:
        return _lowered_struct(value, cls)
    numpy = sys.modules.get("numpy")
    if numpy is None or not hasattr(numpy, "ma"):
        return polars_frames.lowered(value, cls)
    if id(numpy.ndarray) in ancestors:
        return arrays.lowered_array(numpy, value, cls, ancestors)
    if id(numpy.generic) in ancestors:
        return "numpy scalar", cls, arrays.array(numpy, value)
    if id(numpy.dtype) in ancestors:
        return "numpy dtype", arrays.dtype_of(numpy, value)
    return pandas_frames.lowered(numpy, value, cls, ancestors) or polars_frames.lowered(value, cls)


def _lowered_pydantic(value: Any, cls: type) -> _Tuple:
    """The fields that are set, what was given besides, private attributes, and other state."""
    declared = inherited(cls, "__pydantic_fields__") or inherited(cls, "model_fields")  # since, before 2.10
    shape = shape_of_names(cls, declared)
    fields, more = value.__dict__, shape.added(value, cls)
    names = tuple([name for name in shape.names if name in fields])
    made = "pydantic", cls, names, tuple([fields[name] for name in names]), value.__pydantic_extra__
    private = value.__pydantic_private__ or None
    return made if more is None and private is None else (*made, private, more)


def _lowered_struct(value: Any, cls: Any) -> _Tuple:
    shape = shape_of_names(cls, cls.__struct_fields__)
    parts = tuple([(getattr(value, name),) if hasattr(value, name) else () for name in shape.names])
    made, more = ("struct", cls, shape.names, parts), shape.added(value, cls)
    return made if more is None else (*made, more)


def _loaded(module: str, name: str) -> Any:
    return getattr(sys.modules.get(module), name, lowered)  # `lowered` is nobody's ancestor
