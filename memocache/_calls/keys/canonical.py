"""Arguments → canonical bytes: the one encoding that keys are digests of.

Rules, which the version of the key layout pins:

1. The encoding is **injective**: two values share bytes only if they are the same value of the same exact type. Every
   value begins with its tag and ends by itself, so no two sequences of values run into each other.
2. It depends on the **value alone**: not on its address, its history, the order of a dict or set, ``PYTHONHASHSEED``.
   Where there are two routes (a whole tuple in one msgpack call, or item by item), the value alone decides.
3. Types are exact: ``type(x)``, since ``__class__`` and ``isinstance`` can be made to lie. What a class overrides is
   not called, but for ``__cache_key__``, the ``__hash__`` and ``__eq__`` of interned objects, and reading fields.

::

    ( [      tuple, list of plain scalars (those of ``.`` below): msgpack of the items
    < > {    set, frozenset all of str, of int or of bytes; dict of such keys: msgpack of the items or keys, sorted;
             for a dict then the encoding of the tuple of its values
    T L      any other tuple, list: length, encodings
    S F D    any other set, frozenset, dict: length, encodings sorted (of a dict: by key, then value)
    .        None, bool, int up to 64 bits, float, str, bytes: msgpack
    ~ I B    NaN; a larger int; bytearray
    C G      class, function: module and qualname, which must lead back to it
    @        a token of this process (see `memocache._runtime.object_identity`)
    V        anything else known by value: the encoding of a tuple (kind, parts...), made by
             `memocache._calls.keys.standard_types` and `memocache._calls.keys.libraries`
    M        bound method (in the process only): encodings of function and self
    #        (nothing but arguments whose encoding is large) the SHA-256 of it
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any

from msgpack import Packer

from memocache._calls.keys.arrays import Elements
from memocache._calls.keys.proxies import is_proxy, is_wrapper, stood_for
from memocache._calls.keys.standard_types import lowered
from memocache._runtime.object_identity import Identities, NoIdentity, TokenSource, class_path, function_path, inherited
from memocache.codecs.ext_types import Unfit
from memocache.codecs.refusals import as_argument

__all__ = ["Identities", "NoIdentity", "canonical", "canonical_args"]

_Piece = bytes | memoryview
_Out = list[_Piece]
_Process = TokenSource | None
_DEPTH = 200
_BIG_PACKER = 1 << 20
_CONDENSED = 1 << 18
"""Bytes from which on arguments are known by a digest of their own: twice as fast as BLAKE2b where the processor knows
SHA-256, and their elements are read where they lie.
"""
_SMALL = 1 << 12

# A packer is not reentrant (a finalizer may run in the middle of one) and costly to make: each is in one pair of hands.
_packers: list[Callable[[Any], bytes]] = []


def canonical(value: object, process: _Process = None) -> bytes:
    """Return injective, type-tagged, length-delimited bytes of a value, equal in every process for equal values.

    With `process` (a `Recorder`) values without an identity that holds across processes get a process-local token.
    Time is linear in the size of the value (n log n for dicts and sets).

    Raises `NoIdentity` for a value without identity, and for one that is cyclic or nested deeper than 200 levels; what
    the ``__hash__`` or ``__eq__`` of a value that gets a token raises; RecursionError where the caller leaves no room.
    """
    return b"".join(_pieces(value, process))


def canonical_args(values: tuple[object, ...], process: _Process = None) -> bytes:
    """Return what says which the bound arguments of a call are: `canonical(values)`, or, where that is 256 KiB or more,
    ``#`` and its SHA-256. Quick where all of them are plain scalars. Raises as `canonical` does.
    """
    if _plain(values):
        try:
            packed = _pack(values)
        except OverflowError:
            pass
        else:
            return b"(" + packed if len(packed) < _CONDENSED else _condensed((b"(", packed))
    out = _pieces(values, process)
    return b"".join(out) if sum(map(len, out)) < _CONDENSED else _condensed(out)


def _pieces(value: object, process: _Process) -> _Out:
    """The parts of `canonical(value)`: what is large lies where it lay."""
    out: _Out = []
    try:
        _put(value, out, process, 0)
    except NoIdentity as error:
        if error.local_class:
            _refuse_all_but_classes(value)
        raise
    return out


def _condensed(out: Iterable[_Piece]) -> bytes:
    """No encoding of a value begins as this does, and no two values have one that anybody could find."""
    digest, small = sha256(), list[_Piece]()
    for piece in out:
        if len(piece) < _SMALL:
            small.append(piece)
            continue
        digest.update(b"".join(small))
        small.clear()
        digest.update(piece)
    digest.update(b"".join(small))
    return b"#" + digest.digest()


class _AnyClass:
    """Accepts every class, and no other object, so that what else has no identity comes to light."""

    def identity(self, obj: object) -> bytes:
        return b""

    def token(self, obj: object) -> bytes:
        raise NoIdentity(type(obj))


def _refuse_all_but_classes(value: object) -> None:
    _put(value, [], _AnyClass(), 0)


def _pack(value: object) -> bytes:
    """msgpack of scalars, or of a tuple or list of them: OverflowError for ints beyond 64 bits, `NoIdentity` for what
    is beyond msgpack's own limit.
    """
    try:
        pack = _packers.pop()
    except IndexError:
        pack = Packer(buf_size=4096).pack
    try:
        packed: bytes = pack(value)
    except UnicodeEncodeError:  # lone surrogates
        return bytes(Packer(unicode_errors="surrogatepass").pack(value))
    except ValueError:
        raise NoIdentity(type(value), "holds a part of 4 GiB or more") from None
    if len(packed) < _BIG_PACKER:  # a packer never gives its buffer back
        _packers.append(pack)
    return packed


def _plain(values: tuple[object, ...] | list[Any]) -> bool:
    """Whether all are scalars that msgpack spells one to one (NaN has many spellings)."""
    for value in values:
        kind = type(value)
        if (
            kind is str
            or kind is int
            or kind is bool
            or value is None
            or kind is bytes
            or (kind is float and value == value)
        ):
            continue
        return False
    return True


def _alike(values: list[Any]) -> bool:
    """Whether all are of one of the types whose order is total and looks at nothing but the value."""
    kinds = set(map(id, map(type, values)))
    return len(kinds) <= 1 and kinds <= _SORTABLE


def _put(value: Any, out: _Out, process: _Process, depth: int) -> None:
    if depth > _DEPTH:
        raise NoIdentity(type(value), "is cyclic or nested too deep")
    put = _STRUCTURAL.get(id(type(value)))  # by address: a metaclass may define __hash__ and __eq__
    if put is not None:
        put(value, out, process, depth)
    else:
        _put_object(value, out, process, depth)


def _put_scalar(value: Any, out: _Out, process: _Process, depth: int) -> None:
    if value != value:
        out.append(b"~")
        return
    if type(value) is bytes and _BIG_PACKER <= len(value) < 1 << 32:
        _put_where_it_lies(value, out)
        return
    try:
        out.append(b"." + _pack(value))
    except OverflowError:
        number: Any = value  # an int, which a checker does not see after the question about bytes
        out.append(b"I" + _pack(number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)))


def _put_elements(value: Elements, out: _Out, process: _Process, depth: int) -> None:
    if len(value.view) >= 1 << 32:
        raise NoIdentity(bytes, "holds a part of 4 GiB or more")
    _put_where_it_lies(value.view, out)


def _put_where_it_lies(data: _Piece, out: _Out) -> None:
    """As msgpack writes bytes, 64 KiB of them or more, and not copied."""
    out += b".\xc6" + len(data).to_bytes(4, "big"), data


def _put_bytearray(value: bytearray, out: _Out, process: _Process, depth: int) -> None:
    out.append(b"B" + _pack(bytes(value)))


def _put_tuple(value: tuple[Any, ...], out: _Out, process: _Process, depth: int) -> None:
    _put_sequence(b"(", b"T", value, out, process, depth)


def _put_list(value: list[Any], out: _Out, process: _Process, depth: int) -> None:
    _put_sequence(b"[", b"L", tuple(value), out, process, depth)


def _put_sequence(
    flat: bytes, general: bytes, items: tuple[Any, ...], out: _Out, process: _Process, depth: int
) -> None:
    if _plain(items):
        try:
            out.append(flat + _pack(items))
            return
        except OverflowError:
            pass
    out.append(general + _pack(len(items)))
    for item in items:
        _put(item, out, process, depth + 1)


def _put_dict(value: dict[Any, Any], out: _Out, process: _Process, depth: int) -> None:
    items = list(value.items())  # at once: another thread may change the dict
    keys = [key for key, _ in items]
    if _alike(keys):
        keys.sort()
        items.sort()  # the keys differ, so no value is ever compared
        try:
            out.append(b"{" + _pack(keys))
        except OverflowError:
            pass
        else:
            _put_tuple(tuple([item for _, item in items]), out, process, depth)
            return
    pairs = sorted((_apart(key, process, depth), _apart(item, process, depth)) for key, item in items)
    out.append(b"D" + _pack(len(pairs)))
    for pair in pairs:
        out += pair


def _put_set(value: set[Any], out: _Out, process: _Process, depth: int) -> None:
    _put_unordered(b"<", b"S", list(value), out, process, depth)


def _put_frozenset(value: frozenset[Any], out: _Out, process: _Process, depth: int) -> None:
    _put_unordered(b">", b"F", list(value), out, process, depth)


def _put_unordered(flat: bytes, general: bytes, items: list[Any], out: _Out, process: _Process, depth: int) -> None:
    if _alike(items):
        try:
            out.append(flat + _pack(sorted(items)))
            return
        except OverflowError:
            pass
    out.append(general + _pack(len(items)))
    out += sorted([_apart(item, process, depth) for item in items])


def _apart(value: Any, process: _Process, depth: int) -> bytes:
    out: _Out = []
    _put(value, out, process, depth + 1)
    return b"".join(out)


def _put_object(value: Any, out: _Out, process: _Process, depth: int) -> None:
    """Encode what is neither scalar nor container: by name, by lowering it to a tuple, or by a token."""
    cls = type(value)
    if issubclass(cls, type):
        _put_class(value, out, process, depth)
        return
    proxy = False
    try:
        made = lowered(value, cls)
        if made is None and (proxy := is_proxy(value)):
            made = stood_for(value, cls)
    except (NoIdentity, RecursionError, MemoryError):
        raise
    except Unfit as unfit:
        raise NoIdentity(cls, way_out=as_argument(str(unfit))) from unfit
    except Exception as error:  # a property, a descriptor, a __cache_key__
        raise NoIdentity(cls) from error
    if made is not None:
        out.append(b"V")
        _put_tuple(made, out, process, depth + 1)
    elif (id(cls) in _FUNCTIONS or (proxy and is_wrapper(cls))) and (path := function_path(value)) is not None:
        out.append(b"G" + _pack(path))
    elif process is None:
        raise NoIdentity(cls, unhashable=inherited(cls, "__hash__") is None)
    elif cls is types.MethodType:  # a temporary: known by its parts
        out.append(b"M")
        _put(value.__func__, out, process, depth + 1)
        _put(value.__self__, out, process, depth + 1)
    else:  # a wrapper hashes as the function that others may wrap, too
        out.append(b"@" + (process.identity(value) if proxy else process.token(value)))


def _put_class(cls: type, out: _Out, process: _Process, depth: int) -> None:
    path = class_path(cls)
    if path is not None:
        out.append(b"C" + _pack(path))
        return
    generic = vars(cls).get("__pydantic_generic_metadata__")  # its own: a subclass is not the class it inherits from
    if generic is not None and generic["origin"] is not None:  # a generic model, parametrised where no name leads to it
        out.append(b"V")
        _put_tuple(("generic", generic["origin"], generic["args"]), out, process, depth + 1)
    elif process is None:
        raise NoIdentity(cls, "is a class that cannot be imported by its name", local_class=True)
    else:
        out.append(b"@" + process.identity(cls))


_SCALARS = (type(None), bool, int, float, str, bytes)
_SORTABLE = frozenset(map(id, (str, int, bytes)))
_STRUCTURAL: dict[int, Callable[[Any, _Out, _Process, int], None]] = {
    **dict.fromkeys(map(id, _SCALARS), _put_scalar),
    id(bytearray): _put_bytearray,
    id(Elements): _put_elements,
    id(tuple): _put_tuple,
    id(list): _put_list,
    id(dict): _put_dict,
    id(set): _put_set,
    id(frozenset): _put_frozenset,
}
_FUNCTIONS = frozenset(
    map(
        id,
        (types.FunctionType, types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType),
    )
)
