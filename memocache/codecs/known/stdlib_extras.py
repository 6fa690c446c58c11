"""Types of the standard library beyond the first table, `memocache.codecs.standard_types`."""

from __future__ import annotations

import decimal
import sys
import types
from typing import Any, Final

from memocache.codecs.ext_types import Unfit, expect, expect_list
from memocache.codecs.known.known_type import KnownType, loaded
from memocache.codecs.standard_types import FACTORIES
from memocache.exceptions import DecodeError

_ARRAY_CODES: Final = frozenset("bBhHiIlLqQfd")


def _address(name: str, number: int, *, scoped: bool = False) -> KnownType:
    """An address of `ipaddress`: its bytes, and the scope of an IPv6 one."""

    def apart(value: Any) -> Any:
        return [value.packed, value.scope_id] if scoped else value.packed

    def together(parts: Any) -> Any:
        if not scoped:
            return loaded(f"ipaddress:{name}")(expect(bytes, parts))
        packed, scope = expect_list(parts, 2)
        address = loaded(f"ipaddress:{name}")(expect(bytes, packed))
        return address if scope is None else type(address)(f"{address}%{expect(str, scope)}")

    return KnownType(number, (f"ipaddress:{name}",), apart, together, immutable=True)


def _network(name: str, number: int, address: str) -> KnownType:
    """A network or interface of `ipaddress`: an address and the length of its prefix."""

    def apart(value: Any) -> Any:
        base = value.ip if name.endswith("Interface") else value.network_address
        prefix = value.network.prefixlen if name.endswith("Interface") else value.prefixlen
        scoped = value if name.endswith("Interface") else base
        return [base.packed, prefix, getattr(scoped, "scope_id", None)]

    def together(parts: Any) -> Any:
        packed, prefix, scope = expect_list(parts, 3)
        base = loaded(f"ipaddress:{address}")(expect(bytes, packed))
        if scope is not None:
            return loaded(f"ipaddress:{name}")(f"{base}%{expect(str, scope)}/{expect(int, prefix)}")
        return loaded(f"ipaddress:{name}")((base, expect(int, prefix)))

    return KnownType(number, (f"ipaddress:{name}",), apart, together, immutable=True)


def _array_apart(value: Any) -> list[Any]:
    if value.typecode not in _ARRAY_CODES:
        return [value.typecode, 0, value.tounicode()]
    if sys.byteorder == "big":
        value = value[:]
        value.byteswap()
    return [value.typecode, value.itemsize, value.tobytes()]


def _array_together(parts: Any) -> Any:
    code, size, content = expect_list(parts, 3)
    made = loaded("array:array")(expect(str, code))
    if type(content) is str:
        made.fromunicode(content)
        return made
    if made.itemsize != size or code not in _ARRAY_CODES:
        raise DecodeError("payload holds an array of another machine's sizes")
    made.frombytes(expect(bytes, content))
    if sys.byteorder == "big":
        made.byteswap()
    return made


def _namespace_together(parts: Any) -> types.SimpleNamespace:
    if not {str}.issuperset(map(type, expect(dict, parts))):
        raise DecodeError("payload holds malformed attributes")
    return types.SimpleNamespace(**parts)


def _proxy_together(parts: Any) -> Any:
    if not isinstance(parts, dict):
        raise DecodeError("payload holds something else where a mapping belongs")
    return types.MappingProxyType(parts)


def _user(name: str, number: int, held: type) -> KnownType:
    """A wrapper of `collections` around one built-in value."""

    def apart(value: Any) -> Any:
        if vars(value).keys() != {"data"} or type(value.data) is not held:
            raise Unfit(value, f"a {name} with attributes of its own cannot be stored; return value.data")
        return value.data

    def together(parts: Any) -> Any:
        made = loaded(f"collections:{name}")(())
        made.data = expect(held, parts)
        return made

    return KnownType(number, (f"collections:{name}",), apart, together)


def _chain_together(parts: Any) -> Any:
    if not all(isinstance(part, dict) for part in expect(list, parts)):
        raise DecodeError("payload holds something else where a mapping belongs")
    return loaded("collections:ChainMap")(*parts)


def _sequence(name: str, number: int) -> KnownType:
    """A struct sequence: its items, and the fields that are no items."""
    together = lambda parts: loaded(name)(tuple(expect_list(parts, 2)[0]), expect(dict, parts[1]))  # noqa: E731
    return KnownType(
        number, (name,), lambda value: [list(value), dict(value.__reduce__()[1][1])], together, immutable=True
    )


def _normal_together(parts: Any) -> Any:
    mean, deviation = (expect(float, part) for part in expect_list(parts, 2))
    return loaded("statistics:NormalDist")(mean, deviation)


# Callables of plain parts.


def _partial_apart(value: Any) -> Any:
    if value.func not in FACTORIES or vars(value):
        raise Unfit(value, "a partial of what is not a built-in type cannot be stored; return its parts")
    return [FACTORIES.index(value.func), list(value.args), dict(value.keywords)]


def _partial_together(parts: Any) -> Any:
    index, args, keywords = expect_list(parts, 3)
    if not 0 < expect(int, index) < len(FACTORIES) or not {str}.issuperset(map(type, expect(dict, keywords))):
        raise DecodeError("payload holds a malformed partial")
    return loaded("functools:partial")(FACTORIES[index], *expect(list, args), **keywords)


def _partial_key(value: Any) -> Any:
    return value.func, value.args, value.keywords, vars(value)


def _getter(name: str, number: int) -> KnownType:
    """A getter of `operator`: what it gets."""

    def together(parts: Any) -> Any:
        if name == "attrgetter" and not {str}.issuperset(map(type, expect(list, parts))):
            raise DecodeError("payload holds a malformed getter")
        return loaded(f"operator:{name}")(*expect(list, parts))

    return KnownType(number, (f"operator:{name}",), lambda value: list(value.__reduce__()[1]), together, immutable=True)


def _view(name: str, number: int, together: Any) -> KnownType:
    """A view of a dict, as what it holds."""
    return KnownType(number, (f"builtins:dict_{name}",), lambda value: [*value], together, note="as what it holds")


def _memory_apart(value: memoryview) -> Any:
    if value.format not in ("B", "b", "c") or not value.c_contiguous or value.ndim != 1:
        raise Unfit(value, "a memoryview of other than plain bytes cannot be stored; return bytes(view)")
    return [value.format, value.readonly, value.tobytes()]


def _memory_together(parts: Any) -> Any:
    format_, readonly, content = expect_list(parts, 3)
    if format_ not in ("B", "b", "c"):
        raise DecodeError("payload holds a malformed memoryview")
    held = expect(bytes, content)  # a number would be a length to allocate
    return memoryview(held if expect(bool, readonly) else bytearray(held)).cast(format_)


def _context_apart(value: Any) -> list[Any]:
    """All that a context of decimals is; signals by name."""
    numbers = [value.prec, value.rounding, value.Emin, value.Emax, value.capitals, value.clamp]
    return [*numbers, *([signal.__name__ for signal, on in held.items() if on] for held in (value.flags, value.traps))]


def _context_together(parts: Any) -> Any:
    prec, rounding, least, most, capitals, clamp, flags, traps = expect_list(parts, 8)
    blank = decimal.Context()  # kept: its flags cannot be read once it is gone (CPython 3.14.8: "invalid signal dict")
    named = {signal.__name__: signal for signal in blank.flags}
    on = [[named[expect(str, name)] for name in expect(list, names)] for names in (flags, traps)]
    numbers = [expect(int, number) for number in (least, most, capitals, clamp)]
    return decimal.Context(expect(int, prec), expect(str, rounding), *numbers, *on)


def _pairs(parts: Any) -> dict[Any, Any]:
    return dict(tuple(expect(tuple, pair)) for pair in expect(list, parts))


TYPES: Final = (
    _address("IPv4Address", 1),
    _address("IPv6Address", 2, scoped=True),
    _network("IPv4Network", 3, "IPv4Address"),
    _network("IPv6Network", 4, "IPv6Address"),
    _network("IPv4Interface", 5, "IPv4Address"),
    _network("IPv6Interface", 6, "IPv6Address"),
    KnownType(7, ("array:array",), _array_apart, _array_together),
    KnownType(8, ("types:SimpleNamespace",), lambda value: dict(vars(value)), _namespace_together),
    KnownType(
        9, ("builtins:mappingproxy",), lambda value: value.copy(), _proxy_together, note="of a dict or its kin"
    ),
    _user("UserDict", 10, dict),
    _user("UserList", 11, list),
    _user("UserString", 12, str),
    KnownType(13, ("collections:ChainMap",), lambda value: list(value.maps), _chain_together, note="of dicts"),
    _sequence("time:struct_time", 14),
    _sequence("os:stat_result", 15),
    KnownType(
        16, ("statistics:NormalDist",), lambda value: [float(value.mean), float(value.stdev)], _normal_together,
        immutable=True,
    ),
    KnownType(
        18, ("functools:partial",), _partial_apart, _partial_together, _partial_key,
        note="of a built-in type; as arguments of any function with a name",
    ),
    _getter("itemgetter", 19),
    _getter("attrgetter", 20),
    _view("keys", 21, lambda parts: dict.fromkeys(expect(list, parts)).keys()),
    _view("items", 22, lambda parts: _pairs(parts).items()),
    _view("values", 23, lambda parts: dict(enumerate(expect(list, parts))).values()),
    KnownType(24, ("builtins:memoryview",), _memory_apart, _memory_together, note="of bytes"),
    KnownType(105, ("decimal:Context",), _context_apart, _context_together, note="its flags too"),
    KnownType(25, ("builtins:ellipsis", "types:EllipsisType"), lambda value: None, lambda parts: ..., immutable=True),
)  # fmt: skip
