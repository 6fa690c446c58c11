"""Methods of built-in and extension types, decorated as they are: the object that a method is bound to counts."""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import fractions
import functools
import ipaddress
import itertools
import re
import string
import struct
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy
import pytest

from memocache import Cache, UnsharedWarning

# objects without a value: entries of their methods stay in this process
UNSHARED = ("Match.group", "Struct.pack", "Template.substitute")

# how to make an object of a number, the method, its arguments
METHODS: dict[str, tuple[Callable[[int], Any], str, tuple[Any, ...]]] = {
    "dict.get": (lambda n: {"x": n}, "get", ("x",)),
    "dict.__getitem__": (lambda n: {"x": n}, "__getitem__", ("x",)),
    "mappingproxy.get": (lambda n: types.MappingProxyType({"x": n}), "get", ("x",)),
    "OrderedDict.get": (lambda n: collections.OrderedDict(x=n), "get", ("x",)),
    "ChainMap.get": (lambda n: collections.ChainMap({"x": n}), "get", ("x",)),
    "list.index": (lambda n: [*range(n), 9], "index", (9,)),
    "tuple.count": (lambda n: (9,) * n, "count", (9,)),
    "set.isdisjoint": (lambda n: {n}, "isdisjoint", ((1,),)),
    "frozenset.union": (lambda n: frozenset({n}), "union", ((9,),)),
    "deque.count": (lambda n: collections.deque([9] * n), "count", (9,)),
    "array.index": (lambda n: array.array("i", [*range(n), 9]), "index", (9,)),
    "range.index": (lambda n: range(-n, 10), "index", (0,)),
    "str.join": (str, "join", (["x", "y"],)),
    "str.format": (lambda n: f"{n} {{}}", "format", (1,)),
    "bytes.join": (lambda n: bytes([n]), "join", ([b"x", b"y"],)),
    "bytearray.find": (lambda n: bytearray(n) + b"\xff", "find", (b"\xff",)),
    "int.__add__": (int, "__add__", (1,)),
    "float.__add__": (float, "__add__", (1.0,)),
    "Pattern.sub": (lambda n: re.compile(str(n)), "sub", ("_", "0123")),
    "Match.group": (lambda n: re.match(".*", str(n)), "group", ()),
    "Template.substitute": (lambda n: string.Template(f"{n} $x"), "substitute", ({"x": 1},)),
    "Struct.pack": (lambda n: struct.Struct("<>"[n % 2] + "i"), "pack", (1,)),
    "date.strftime": (lambda n: datetime.date(2026, 1, 1 + n), "strftime", ("%d",)),
    "timedelta.__mul__": (lambda n: datetime.timedelta(n), "__mul__", (2,)),
    "Decimal.compare": (decimal.Decimal, "compare", (decimal.Decimal(1),)),
    "Fraction.__add__": (lambda n: fractions.Fraction(n, 7), "__add__", (1,)),
    "IPv4Network.supernet_of": (
        lambda n: ipaddress.ip_network(f"10.{n}.0.0/16"),
        "supernet_of",
        (ipaddress.ip_network("10.1.2.0/24"),),
    ),
    "ndarray.sum": (lambda n: numpy.arange(n + 3), "sum", ()),
    "ndarray.dot": (lambda n: numpy.full(2, n), "dot", (numpy.ones(2),)),
    "numpy.generic.__add__": (numpy.int64, "__add__", (1,)),
    "partial.__call__": (lambda n: functools.partial(pow, n + 2), "__call__", (2,)),
}


def plain(value: Any) -> Any:
    """A result as it can be compared."""
    return value.tolist() if isinstance(value, numpy.ndarray) else value


@pytest.mark.parametrize("layer", ["bound", "partial", "wrapped"])
@pytest.mark.parametrize("kind", METHODS)
def test_methods_of_two_objects_are_two_functions(cache: Cache, kind: str, layer: str) -> None:
    """Called in turn, in any layer, each answers as without a cache; what is made of the same value may share."""
    make, name, arguments = METHODS[kind]

    def of(n: int) -> Callable[..., Any]:
        method = getattr(make(n), name)
        if layer == "partial":
            return functools.partial(method, *arguments)
        if layer == "wrapped":

            @functools.wraps(method)
            def wrapper(*args: Any) -> Any:
                return method(*args)

            return wrapper
        return method  # type: ignore[no-any-return]  # of any object

    if kind in UNSHARED:
        warnings.simplefilter("ignore", UnsharedWarning)  # pytest restores the filters after the test
    given = () if layer == "partial" else arguments
    decorated = {n: cache.cached(of(n)) for n in (0, 1, 2)}
    for n in (0, 1, 2, 1, 0):
        assert plain(decorated[n](*given)) == plain(of(n)(*given))


REGISTRARS: dict[str, Callable[[], tuple[Callable[..., Any], Callable[..., Any]]]] = {}


def registrar(make: Callable[[], Any]) -> Callable[[], Any]:
    REGISTRARS[make.__name__] = make
    return make


@registrar
def singledispatch() -> Any:
    area, perimeter = (functools.singledispatch(lambda shape: None) for _ in range(2))
    return area, perimeter, area.register, perimeter.register


@registrar
def registry() -> Any:
    first: dict[type, Any] = {}
    second: dict[type, Any] = {}

    def dispatcher(found: dict[type, Any]) -> Any:
        return lambda shape: found[type(shape)](shape)

    def register(found: dict[type, Any]) -> Any:
        return lambda kind: functools.partial(found.__setitem__, kind)

    return dispatcher(first), dispatcher(second), register(first), register(second)


@pytest.mark.parametrize("kind", REGISTRARS)
def test_functions_of_one_name_that_a_registry_holds(cache: Cache, kind: str) -> None:
    """Every ``def _`` is a function of its own, whichever registry it is found in."""
    area, perimeter, of_area, of_perimeter = REGISTRARS[kind]()  # type: ignore[misc]  # four of them

    @cache.cached
    def _(side):  # type: ignore[no-untyped-def]  # as in the registries' own documentation
        return side * side

    of_area(int)(_)

    @cache.cached
    def _(side):  # type: ignore[no-untyped-def,no-redef]
        return 4 * side

    of_perimeter(int)(_)

    @cache.cached
    def _(text):  # type: ignore[no-untyped-def,no-redef]
        return len(text)

    of_area(str)(_)
    asked = list(itertools.product((area, perimeter), (3, 5)))
    for _again in range(2):
        assert [ask(side) for ask, side in asked] == [9, 25, 12, 20]
        assert area("abcd") == 4
