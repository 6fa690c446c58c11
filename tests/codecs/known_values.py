"""Values of every known type, by the library that must be installed for them: what the table is walked with."""

from __future__ import annotations

import array
import collections
import datetime
import functools
import ipaddress
import operator
import os
import statistics
import time
import types
import typing
from collections.abc import Callable
from importlib import import_module
from typing import Any


def rows() -> list[Any]:
    """Two rows of a query."""
    sqlalchemy: Any = import_module("sqlalchemy")
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as connection:
        found = connection.execute(sqlalchemy.text("select 1 as a, 'x' as b union select 2, 'y' order by 1")).all()
    engine.dispose()
    return list(found)


def zoned(zone: Any) -> datetime.datetime:
    """A moment in a zone."""
    return datetime.datetime(2024, 7, 1, 12, tzinfo=zone)


MOMENT = datetime.datetime(2024, 7, 1, 12)
STAT = os.stat(__file__)
# By number in the table: the package, and values that differ from each other.
VALUES: dict[int, tuple[str, Callable[[Any], list[Any]]]] = {
    1: ("", lambda _: [ipaddress.ip_address("10.0.0.1"), ipaddress.ip_address("10.0.0.2")]),
    2: ("", lambda _: [ipaddress.ip_address("::1"), ipaddress.ip_address("fe80::1%eth0"), ipaddress.ip_address("::2")]),
    3: ("", lambda _: [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("10.0.0.0/9")]),
    4: ("", lambda _: [ipaddress.ip_network("2001:db8::/32"), ipaddress.ip_network("2001:db8::/33")]),
    5: ("", lambda _: [ipaddress.ip_interface("10.0.0.1/8"), ipaddress.ip_interface("10.0.0.1/9")]),
    6: ("", lambda _: [ipaddress.ip_interface("fe80::1/64"), ipaddress.ip_interface("fe80::1%eth0/64")]),
    7: (
        "",
        lambda _: [array.array("i", [1, -2]), array.array("d", [1.5]), array.array("i", []), array.array("u", "é")],
    ),
    8: ("", lambda _: [types.SimpleNamespace(a=1, b=[2]), types.SimpleNamespace()]),
    9: ("", lambda _: [types.MappingProxyType({"a": [1]}), types.MappingProxyType(collections.OrderedDict(a=1))]),
    10: ("", lambda _: [collections.UserDict(a=1), collections.UserDict()]),
    11: ("", lambda _: [collections.UserList([1]), collections.UserList()]),
    12: ("", lambda _: [collections.UserString("a"), collections.UserString("")]),
    13: ("", lambda _: [collections.ChainMap({"a": 1}, {"b": [2]}), collections.ChainMap()]),
    14: ("", lambda _: [time.gmtime(0), time.localtime(1e9), time.struct_time(range(9))]),
    15: ("", lambda _: [STAT]),
    16: ("", lambda _: [statistics.NormalDist(1, 2), statistics.NormalDist()]),
    17: (
        "",
        lambda _: [
            list[int],
            dict[str, list[int]],
            int | None,
            list[int] | dict[str, int],
            typing.Union[int, bytes],  # noqa: UP007  # the type is what is tested
            typing.Optional[list[int]],  # noqa: UP045  # the same
            typing.Literal[1, "a"],
            typing.Literal[True],
            typing.Literal[1],
            tuple[int, ...],
            type[int],
        ],
    ),
    18: ("", lambda _: [functools.partial(int, "1"), functools.partial(int, "1", base=3), functools.partial(str)]),
    19: ("", lambda _: [operator.itemgetter(1), operator.itemgetter("a", (2,))]),
    20: ("", lambda _: [operator.attrgetter("a"), operator.attrgetter("a.b", "c")]),
    21: ("", lambda _: [{1: 2}.keys(), {}.keys()]),
    22: ("", lambda _: [{1: (2,)}.items(), {}.items()]),
    23: ("", lambda _: [{1: [2]}.values()]),
    24: ("", lambda _: [memoryview(b"abc"), memoryview(bytearray(b"x")), memoryview(b"c").cast("c")]),
    25: ("", lambda _: [...]),
    32: ("dateutil", lambda _: [import_module("dateutil.tz").tzutc()]),
    33: ("dateutil", lambda _: [import_module("dateutil.tz").tzoffset(name, 3600) for name in ("a", None)]),
    34: ("dateutil", lambda _: [import_module("dateutil.tz").gettz(name) for name in ("Europe/Paris", "Asia/Tokyo")]),
    35: (
        "dateutil",
        lambda _: [
            import_module("dateutil.relativedelta").relativedelta(**parts)
            for parts in ({"months": 1}, {"day": 31}, {"weekday": import_module("dateutil.relativedelta").FR(-1)})
        ],
    ),
    36: ("pytz", lambda pytz: [pytz.utc]),
    37: ("pytz", lambda pytz: [pytz.FixedOffset(60), pytz.FixedOffset(-90)]),
    38: (
        "pytz",
        lambda pytz: [
            pytz.timezone("Europe/Paris"),
            pytz.timezone("Europe/Paris").localize(MOMENT).tzinfo,
            pytz.timezone("Etc/GMT+5"),
        ],
    ),
    40: (
        "pendulum",
        lambda pendulum: [
            pendulum.datetime(2024, 1, 1, tz="Europe/Paris"),
            pendulum.parse("2024-01-01T00:00:00+02:00"),
            pendulum.naive(2024, 1, 1, 1, 2, 3, 4),
        ],
    ),
    41: ("pendulum", lambda pendulum: [pendulum.date(2024, 1, 1), pendulum.date(2024, 1, 2)]),
    42: ("pendulum", lambda pendulum: [pendulum.time(1, 2, 3, 4), pendulum.time(1)]),
    43: ("pendulum", lambda pendulum: [pendulum.timezone("Europe/Paris"), pendulum.timezone("UTC")]),
    44: ("pendulum", lambda pendulum: [pendulum.timezone(3600), pendulum.timezone(-5400)]),
    45: (
        "pendulum",
        lambda pendulum: [
            pendulum.duration(days=40, months=1),
            pendulum.duration(years=-2, hours=-5, microseconds=1),
            pendulum.duration(weeks=3),
        ],
    ),
    48: ("yarl", lambda yarl: [yarl.URL("http://a/b?c=%20d#e"), yarl.URL("/x"), yarl.URL("http://ü.de/%2F")]),
    49: ("httpx", lambda httpx: [httpx.URL("http://a/b?c=d"), httpx.URL("/x")]),
    50: ("httpx", lambda httpx: [httpx.Headers({"A": "b"}), httpx.Headers([("a", "b"), ("a", "c")])]),
    51: ("msgspec", lambda msgspec: [msgspec.UNSET]),
    52: ("sqlalchemy", lambda _: rows()),
    53: ("sqlalchemy", lambda _: [row._mapping for row in rows()]),
    54: ("django", lambda _: [import_module("django.utils.safestring").mark_safe(text) for text in ("<b>", "")]),
    55: ("bson", lambda _: [import_module("bson.objectid").ObjectId(bytes([number] * 12)) for number in (1, 2)]),
}
