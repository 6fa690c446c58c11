"""numpy's odds, scipy's sparse arrays and torch's tensors, as numpy arrays and what is said about them.

Their elements are arrays, so on disk they stand apart and are mapped.
"""

from __future__ import annotations

import math
import re
import sys
import warnings
from typing import Any, Final

from memocache.codecs import arrays as _arrays
from memocache.codecs.ext_types import Unfit, expect, expect_list
from memocache.codecs.known.known_type import KnownType, loaded
from memocache.exceptions import DecodeError, UncacheableWarning


def _array(value: Any) -> Any:
    """`value` if it is an array of numpy's own class."""
    return expect(loaded("numpy:ndarray"), value)


# numpy


def _masked_apart(value: Any) -> list[Any]:
    np = loaded("numpy:ma")
    if vars(value).get("_optinfo"):
        raise Unfit(value, "a masked array with information of its own cannot be stored; return its data and mask")
    mask = None if value._mask is np.nomask else value._mask
    fill = None if value._fill_value is None else value._fill_value
    return [value.data.view(loaded("numpy:ndarray")), mask, fill, bool(value._hardmask)]


def _masked_together(parts: Any) -> Any:
    data, mask, fill, hard = expect_list(parts, 4)
    ma = loaded("numpy:ma")
    if mask is not None and (_array(mask).shape != _array(data).shape or mask.dtype != ma.make_mask_descr(data.dtype)):
        raise DecodeError("payload holds a mask of another shape")
    with loaded("numpy:errstate")(over="ignore"):  # numpy's own default to fill with does not fit fields of float16
        made = ma.MaskedArray(_array(data), mask=ma.nomask if mask is None else mask, hard_mask=expect(bool, hard))
        if fill is not None:
            made.fill_value = fill
    return made


def _record_apart(value: Any) -> Any:
    plain = value.view(loaded("numpy:ndarray"))
    return plain.view(loaded("numpy:dtype")((loaded("numpy:void"), plain.dtype))) if plain.dtype.names else plain


def _record_together(parts: Any) -> Any:
    if _array(parts).dtype.names is None:
        raise DecodeError("payload holds a record array without fields")
    return parts.view(loaded("numpy:recarray"))


def _one_record_apart(value: Any) -> Any:
    return _record_apart(loaded("numpy:asarray")(value))


def _one_record_together(parts: Any) -> Any:
    array = _record_together(parts)
    if array.shape != ():
        raise DecodeError("payload holds several records where one belongs")
    return array.view(loaded("numpy:dtype")((loaded("numpy:record"), array.dtype)))[()]


# scipy: the arrays of each format, which its own check goes through before anybody's C code does.

_SPARSE: Final = {
    "csr": ("data", "indices", "indptr"), "csc": ("data", "indices", "indptr"), "bsr": ("data", "indices", "indptr"),
    "coo": ("data",), "dia": ("data", "offsets"),
}  # fmt: skip
_SPARSE_CLASSES: Final = {
    f"scipy.sparse._{format_}:{format_}_{kind}": f"{format_}_{kind}"
    for format_ in _SPARSE
    for kind in ("array", "matrix")
}


def _sparse_apart(value: Any) -> list[Any]:
    if value.format in ("csr", "csc", "bsr") and len(value.indices) != value.indptr[-1]:
        value = value.copy()
        value.prune()
    arrays = [getattr(value, name) for name in _SPARSE[value.format]]
    if value.format == "coo":
        arrays += value.coords
    return [type(value).__name__, list(map(int, value.shape)), *arrays]


def _sparse_together(parts: Any) -> Any:
    name, shape, *arrays = expect(list, parts)
    if name not in _SPARSE_CLASSES.values():
        raise DecodeError("payload holds a sparse array of an unknown kind")
    shape = tuple(expect(int, length) for length in expect(list, shape))
    if not 1 <= len(shape) <= 64 or any(length < 0 for length in shape):
        raise DecodeError("payload holds a sparse array of an impossible shape")
    for array in arrays:
        if _array(array).dtype.kind not in "biufc":
            raise DecodeError("payload holds a sparse array of an unknown type")
    format_ = name[:3]
    data, *places = arrays
    _check_places(format_, shape, data, places)
    cls = loaded(f"scipy.sparse:{name}")
    return cls((data, tuple(places)) if format_ == "coo" else (data, *places), shape=shape)


def _check_places(format_: str, shape: tuple[int, ...], data: Any, places: list[Any]) -> None:
    """Raise DecodeError unless every place lies inside: C code believes them, and scipy's own check leaves some out."""
    if any(place.dtype.str not in ("<i4", "<i8", ">i4", ">i8") or place.ndim != 1 for place in places):
        raise DecodeError("payload holds malformed indices")
    if format_ == "coo":
        fits = (
            len(places) == len(shape)
            and data.ndim == 1
            and all(
                len(place) == len(data) and _within(place, length) for place, length in zip(places, shape, strict=True)
            )
        )
    elif format_ == "dia":
        (offsets,) = places
        fits = len(shape) == data.ndim == 2 and len(offsets) == len(data) == len(set(offsets.tolist()))
    else:
        indices, ends = places
        rows, columns = _rows_and_columns(format_, shape, data)
        fits = (
            len(ends) == rows + 1
            and ends[0] == 0
            and bool((ends[1:] >= ends[:-1]).all())
            and ends[-1] == len(indices) == len(data)
            and _within(indices, columns)
        )
    if not fits:
        raise DecodeError("payload holds malformed indices")


def _rows_and_columns(format_: str, shape: tuple[int, ...], data: Any) -> tuple[int, int]:
    """What the ends and the indices of a compressed format count."""
    if format_ == "csr" and len(shape) == 1 and data.ndim == 1:
        return 1, shape[0]
    if len(shape) != 2 or data.ndim != (3 if format_ == "bsr" else 1):
        raise DecodeError("payload holds a sparse array of an impossible shape")
    rows, columns = shape if format_ != "csc" else shape[::-1]
    if format_ != "bsr":
        return rows, columns
    height, width = data.shape[1:]
    if min(height, width) < 1 or rows % height or columns % width:
        raise DecodeError("payload holds blocks of an impossible shape")
    return rows // height, columns // width


def _within(places: Any, length: int) -> bool:
    return not len(places) or (int(places.min()) >= 0 and int(places.max()) < length)


def _sparse_key(value: Any) -> Any:
    """Format and shape, and the elements in one order: equal by content, however they lie."""
    whole = value.tocoo(copy=True)
    whole.sum_duplicates()
    return [type(value).__name__, list(map(int, value.shape)), whole.data, *whole.coords]


# torch

_TENSOR_TYPES: Final = frozenset((
    "bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float16", "bfloat16", "float32",
    "float64", "complex32", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz",
    "float8_e5m2fnuz", "float8_e8m0fnu",
))  # fmt: skip


_DEVICE: Final = re.compile(r"cpu|(?:cuda|mps|xpu|hpu|npu|mtia|xla)(?::[0-9]{1,3})?")


def _tensor_apart(value: Any) -> list[Any]:
    torch = _torch()
    name = str(value.dtype).removeprefix("torch.")
    if value.layout is not torch.strided or name not in _TENSOR_TYPES or value.is_meta or value.is_nested:
        raise Unfit(value, "a sparse, quantised or nested tensor cannot be stored; return to_dense() or dequantize()")
    if not _DEVICE.fullmatch(str(value.device)):
        raise Unfit(value, "a tensor on this device cannot be stored; return tensor.cpu()")
    plain = value.detach().resolve_conj().resolve_neg().to("cpu").contiguous()
    return [name, list(plain.shape), str(value.device), plain.reshape(-1).view(torch.uint8).numpy()]


def _tensor_together(parts: Any) -> Any:
    torch = _torch()
    name, shape, device, content = expect_list(parts, 4)
    if name not in _TENSOR_TYPES or not hasattr(torch, name):
        raise DecodeError("payload holds a tensor of an unknown type")
    shape = [expect(int, length) for length in expect(list, shape)]
    dtype = getattr(torch, name)
    whole = _array(content)
    if len(shape) > 64 or any(length < 0 for length in shape) or whole.dtype.str != "|u1" or whole.ndim != 1:
        raise DecodeError("payload holds a tensor of an impossible shape")
    if math.prod(shape) * dtype.itemsize != len(whole):
        raise DecodeError("payload holds a tensor of another size than it says")
    if not whole.flags.writeable:
        whole = whole.copy()
    made = torch.from_numpy(whole).view(dtype).reshape(shape) if len(whole) else torch.empty(shape, dtype=dtype)
    if not _DEVICE.fullmatch(expect(str, device)):
        raise DecodeError("payload names an unknown device")
    return made if device == "cpu" else _on_device(made, device)


def _on_device(tensor: Any, name: str) -> Any:
    """The tensor where it was, or on the CPU, with a word, where there is no such device."""
    kind = name.partition(":")[0]
    try:
        if f"torch.{kind}" not in sys.modules and not (kind == "xla" and "torch_xla" in sys.modules):
            raise NotImplementedError  # torch would try to import it
        return tensor.to(name)
    except (RuntimeError, AssertionError, NotImplementedError):
        if name not in _missing:
            _missing.add(name)
            warnings.warn(
                "a cached tensor was on a device that is not there, and is on the CPU; return tensor.cpu()",
                UncacheableWarning,
                stacklevel=2,
            )
        return tensor


_missing: set[str] = set()


def _torch() -> Any:
    loaded("torch:Tensor")
    return sys.modules["torch"]


def _named(kind: str, number: int) -> KnownType:
    """A dtype or layout of torch, by its name."""

    def together(parts: Any) -> Any:
        found = vars(_torch()).get(expect(str, parts))
        return expect(loaded(f"torch:{kind}"), found)

    return KnownType(
        number, (f"torch:{kind}",), lambda value: str(value).removeprefix("torch."), together, immutable=True
    )


def _parameter_apart(value: Any) -> Any:
    raise Unfit(value, "a parameter belongs to its model; return parameter.detach(), or the model's state_dict()")


def _size_together(parts: Any) -> Any:
    return loaded("torch:Size")([expect(int, length) for length in expect(list, parts)])


def _narrow_together(parts: Any) -> Any:
    made = _array(parts)
    if made.shape != () or made.dtype.type.__module__ != "ml_dtypes":
        raise DecodeError("payload holds something else where a number of ml_dtypes belongs")
    return made[()]


TYPES: Final = (
    KnownType(64, ("numpy.ma.core:MaskedArray", "numpy.ma:MaskedArray"), _masked_apart, _masked_together),
    KnownType(110, ("numpy.ma.core:MaskedConstant",), lambda value: None, lambda parts: loaded("numpy:ma").masked,
              immutable=True, note="`masked`"),
    KnownType(65, ("numpy:recarray", "numpy.rec:recarray"), _record_apart, _record_together),
    KnownType(66, ("numpy:dtype",), _arrays.any_dtype, _arrays.make_any_dtype, immutable=True, family=True),
    KnownType(67, ("numpy:record", "numpy.rec:record"), _one_record_apart, _one_record_together),
    KnownType(109, tuple(f"ml_dtypes:{name}" for name in sorted(_arrays.NARROW_TYPES)),
              lambda value: loaded("numpy:asarray")(value), _narrow_together, immutable=True,
              note="as elements of numpy arrays too"),
    KnownType(68, tuple(_SPARSE_CLASSES), _sparse_apart, _sparse_together, _sparse_key,
              note="csr, csc, bsr, coo, dia; arrays and matrices"),
    KnownType(72, ("torch:Tensor",), _tensor_apart, _tensor_together,
              note="strided ones, bfloat16 and float8 too; contiguous and without gradient when they come back; on "
              "their device, or where that is not there on the CPU with one warning"),
    KnownType(76, ("torch.nn.parameter:Parameter", "torch.nn.parameter:Buffer"), _parameter_apart, _tensor_together,
              lambda value: [type(value).__name__, value.requires_grad, *_tensor_apart(value)], results=False,
              note="as an argument, by content"),
    _named("dtype", 73),
    KnownType(74, ("torch:Size",), lambda value: list(map(int, value)), _size_together, immutable=True),
    KnownType(75, ("torch:device",), str, lambda parts: loaded("torch:device")(expect(str, parts)), immutable=True),
)  # fmt: skip
