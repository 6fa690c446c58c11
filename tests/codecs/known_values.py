"""Values of every known type, by the library that must be installed for them: what the table is walked with."""

from __future__ import annotations

import array
import collections
import datetime
import decimal
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


def tensors(torch: Any) -> list[Any]:
    """Tensors of every kind that is stored."""
    return [
        torch.arange(6).reshape(2, 3),
        torch.arange(6).reshape(2, 3).T,
        torch.tensor([1.5, -2.25], dtype=torch.bfloat16),
        torch.tensor([1.5, 2.0]).to(torch.float8_e5m2),
        torch.tensor(True),
        torch.empty(0, 3),
        torch.tensor([1 + 2j]).conj(),
        torch.ones(2, requires_grad=True) * 2,
        torch.tensor([0.5, float("inf")], dtype=torch.float16),
    ]


def sparse(scipy: Any) -> list[Any]:
    """Sparse arrays and matrices of every format that is stored."""
    sp, np = import_module("scipy.sparse"), import_module("numpy")
    dense = np.array([[0, 1.5, 0], [2, 0, 0]])
    formats = ("csr", "csc", "coo", "bsr", "dia")
    arrays = [getattr(sp, f"{format_}_array")(dense) for format_ in formats]
    return [*arrays, sp.csr_matrix(dense), sp.coo_array(np.array([0, 3])), sp.csr_array((2, 2))]


def arrow_arrays(_: Any) -> list[Any]:
    """Arrays of every type that is stored, with and without nulls, and slices."""
    pa: Any = import_module("pyarrow")
    moment, number = MOMENT, decimal.Decimal("1.50")
    made = [
        pa.array([1, None, 3]),
        pa.array([], pa.int8()),
        pa.array(["a", None, "é", ""]),
        pa.array(["a", "bc"], pa.large_string()),
        pa.array(["a", None, "a long text of more than twelve bytes"], pa.string_view()),
        pa.array([b"x", None]),
        pa.array([True, False, None]),
        pa.array([None, None]),
        pa.array([1.5, float("inf")]),
        pa.array([1.5], pa.float16()),
        pa.array([moment, None], pa.timestamp("us", "Europe/Paris")),
        pa.array([datetime.date(2024, 1, 1)]),
        pa.array([datetime.time(1, 2, 3)]),
        pa.array([datetime.timedelta(1), None]),
        pa.array([number, None]),
        pa.array([number], pa.decimal256(50, 2)),
        pa.array([b"ab", None], pa.binary(2)),
        pa.array([[1, None], None, [], [2]]),
        pa.array([[1], [2, 3]], pa.large_list(pa.int8())),
        pa.array([[1, 2], None], pa.list_(pa.int32(), 2)),
        pa.array([{"a": 1, "b": ["x"]}, None, {"a": None, "b": None}]),
        pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
        pa.array(["x", "y", None, "x"]).dictionary_encode(),
        pa.array([[{"a": [1]}], None]),
    ]
    longer = pa.array([[{"a": [n], "b": str(n)}] if n % 7 else None for n in range(100)])
    return [*made, pa.array(range(1000)).slice(3, 5), longer.slice(5, 20), pa.array(["a"] * 9 + ["b"]).slice(8)]


def tables(_: Any) -> list[Any]:
    """Tables with and without metadata, of several chunks, of no columns and of no rows."""
    pa: Any = import_module("pyarrow")
    first = pa.table({"a": [1, 2], "b": ["x", None]})
    schema = pa.schema([pa.field("a", pa.int8(), nullable=False, metadata={"k": "v"})], metadata={b"m": b"n"})
    return [
        first,
        pa.concat_tables([first, first.slice(1)]),
        pa.Table.from_arrays([pa.array([1], pa.int8())], schema=schema),
        pa.table({}),
        pa.table({"a": pa.chunked_array([], pa.int64())}),
        pa.table({"d": pa.array(["x", "y", "x"]).dictionary_encode(), "l": [[1], [], None]}),
    ]


def masked(np: Any) -> list[Any]:
    """Masked arrays with a mask, without one, and with a value to fill with."""
    made = [np.ma.array([1, 2, 3], mask=[0, 1, 0]), np.ma.array([1, 2, 3]), np.ma.array([1.5], mask=[1], fill_value=7)]
    return [*made, np.ma.array([(1, 2.0)], dtype=[("a", "<i4"), ("b", "<f8")], mask=[(1, 0)])]


def _bson(module: str) -> Any:
    return import_module(f"bson.{module}")


def times_of_whenever(whenever: Any) -> list[Any]:
    """A time of each kind; of a zone, both of an hour that comes twice."""
    return [
        whenever.Instant.parse_iso("2024-01-01T00:00:00.000000001Z"),
        whenever.ZonedDateTime.parse_iso("2024-10-27T02:30:00+02:00[Europe/Paris]"),
        whenever.ZonedDateTime.parse_iso("2024-10-27T02:30:00+01:00[Europe/Paris]"),
        whenever.OffsetDateTime.parse_iso("2024-10-27T02:30:00+01:00"),
        whenever.PlainDateTime(2024, 1, 1, 12),
        whenever.Date(2024, 1, 1),
        whenever.Time(12, 30),
        whenever.TimeDelta(hours=1),
        whenever.YearMonth(2024, 1),
        whenever.MonthDay(2, 29),
    ]


def arrays_of_jax(jax: Any) -> list[Any]:
    """Arrays of types that numpy has and has not, of no elements, and a weakly typed scalar."""
    jnp: Any = import_module("jax.numpy")
    return [
        jnp.arange(6).reshape(2, 3),
        jnp.array([1.5, -2], jnp.bfloat16),
        jnp.array([1.5]).astype(jnp.float8_e5m2),
        jnp.array(1.5),
        jnp.array(1.5, jnp.float32),
        jnp.array([True]),
        jnp.zeros((0, 3)),
        jnp.array([1 + 2j]),
    ]


def pictures(_: Any) -> list[Any]:
    """Pictures of several modes, with a palette, with notes, and of no pixels."""
    image: Any = import_module("PIL.Image")
    noted = image.new("RGB", (2, 1), "red")
    noted.info["dpi"] = (72, 72)
    modes = [image.new(mode, (3, 2)) for mode in ("1", "L", "P", "RGBA", "F", "I;16", "CMYK")]
    several = noted.quantize(4)
    return [noted, image.new("RGB", (2, 1), "red"), image.new("RGB", (2, 1)), *modes, several, image.new("L", (0, 5))]


def messages(_: Any) -> list[Any]:
    """Messages of protobuf's own modules."""
    struct, timestamp = (import_module(f"google.protobuf.{name}_pb2") for name in ("struct", "timestamp"))
    held = struct.Struct()
    held.update({"a": 1, "b": [None, "x", {"c": True}]})
    return [timestamp.Timestamp(seconds=1), timestamp.Timestamp(seconds=2), timestamp.Timestamp(), held]


def dtypes_of_pandas(pd: Any) -> list[Any]:
    """A dtype of each kind."""
    made = [pd.CategoricalDtype(["a", "b"]), pd.CategoricalDtype(["a", "b"], ordered=True), pd.CategoricalDtype()]
    plain = [pd.Int64Dtype(), pd.Float32Dtype(), pd.BooleanDtype(), pd.StringDtype("python")]
    zoned = [pd.DatetimeTZDtype("ns", "UTC"), pd.PeriodDtype("M"), pd.IntervalDtype("int64", "right")]
    return [*made, *plain, *zoned, pd.SparseDtype("float64"), pd.SparseDtype("int64", 7)]


def arrays_of_pandas(pd: Any) -> list[Any]:
    """An array of each kind."""
    times = pd.date_range("2024", periods=2, freq="D", tz="Europe/Paris")
    return [
        pd.Categorical(["a", "b"]), pd.Categorical(["a", "b"], ordered=True), pd.array([1, None], dtype="Int64"),
        pd.array([1.5, None], dtype="Float64"), pd.array([True, None], dtype="boolean"),
        pd.array(["a", None], dtype=pd.StringDtype("python")), pd.arrays.NumpyExtensionArray(times.asi8), times.array,
        times.tz_localize(None).array, (times - times[0]).array, pd.period_range("2024", periods=2, freq="M").array,
        pd.interval_range(0, 2).array, pd.arrays.SparseArray([0, 0, 1]),
    ]  # fmt: skip


def responses_of_django(_: Any) -> list[Any]:
    """Responses of several classes, with headers, cookies, another charset, and a rendered template."""
    settings = import_module("django.conf").settings
    if not settings.configured:
        settings.configure()
    http: Any = import_module("django.http")
    cookies = http.HttpResponse("é", headers={"X-Two": "2"}, charset="latin-1", reason="Fine")
    cookies.set_cookie("a", "b c", max_age=60, expires="Thu, 01 Jan 2030 00:00:00 GMT", secure=True, httponly=True)
    cookies.set_cookie("d", samesite="Lax")
    made = [http.HttpResponse(), http.HttpResponse(b"\x00", status=201), http.HttpResponseRedirect("/there"), cookies]
    made += [http.JsonResponse({"a": [1]}), http.HttpResponseNotFound("no"), http.HttpResponseNotAllowed(["GET"])]
    text = types.SimpleNamespace(render=lambda *_: "rendered")
    response = import_module("django.template.response").TemplateResponse(None, text)
    return [*made, response.render()]


T, U, P, Ts = typing.TypeVar("T"), typing.TypeVar("U"), typing.ParamSpec("P"), typing.TypeVarTuple("Ts")
UserId = typing.NewType("UserId", int)


class Box(typing.Generic[T]):
    """A generic class."""


def hints(_: Any) -> list[Any]:
    """Type hints that are known as arguments alone."""
    elsewhere = [typing.TypeVar("E", bound=bound) for bound in (int, str)]  # type: ignore[misc]  # no name leads to them
    return [
        T, U, P, P.args, P.kwargs, Ts, UserId, *elsewhere, typing.Unpack[Ts], typing.Annotated[int, "a"],
        typing.Annotated[int, "b"], typing.Annotated[str, "a"], typing.List[int], typing.List[str], typing.List,  # noqa: UP006
        typing.Callable[[int], str], typing.Callable[[str], str], typing.Callable[..., str],
        typing.NoReturn, typing.Self, typing.Generic[T], typing.Concatenate[int, P], Box[int], Box[str], Box[T],
        typing.ForwardRef("Box"), typing.ForwardRef("Other"), typing.ClassVar[int], Callable[[int], str],
        Callable[[str], str],
    ]  # fmt: skip


def contexts(_: Any) -> list[Any]:
    """Contexts of decimals that differ in each of their parts."""
    made = [decimal.Context(prec=5), decimal.Context(prec=6), decimal.Context(prec=5, rounding=decimal.ROUND_UP)]
    made += [decimal.Context(prec=5, traps=[]), decimal.Context(prec=5, flags=[decimal.Inexact])]
    return [*made, decimal.Context(prec=5, Emin=-9, Emax=9), decimal.Context(prec=5, capitals=0, clamp=1)]


def types_of_polars(pl: Any) -> list[Any]:
    """A type of each kind, nested ones too."""
    plain = [pl.Int64(), pl.Int8(), pl.String(), pl.Binary(), pl.Boolean(), pl.Date(), pl.Time(), pl.Null()]
    told = [pl.Datetime("us", "UTC"), pl.Datetime("ns"), pl.Duration("ms"), pl.Decimal(10, 2), pl.Enum(["a", "b"])]
    nested = [pl.List(pl.Int8()), pl.Array(pl.Int8(), 2), pl.Struct({"a": pl.Int8(), "b": pl.List(pl.String())})]
    return [*plain, *told, *nested, pl.Categorical()]


def shifts(pd: Any) -> list[Any]:
    """Offsets by parts of a date."""
    made = [pd.DateOffset(months=1), pd.DateOffset(months=2), pd.DateOffset(2, months=1), pd.DateOffset(3)]
    return [*made, pd.DateOffset(day=31, hour=2), pd.DateOffset(weekday=0), pd.DateOffset(normalize=True, days=1)]


def narrow(library: Any) -> list[Any]:
    """Numbers of ml_dtypes."""
    return [library.bfloat16(1.5), library.bfloat16(-2), library.float8_e5m2(1.5), library.int4(-3), library.uint4(3)]


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
    26: ("", hints),
    105: ("", contexts),
    106: ("pandas", shifts),
    107: ("polars", types_of_polars),
    108: ("polars", lambda pl: [pl.Schema({"a": pl.Int8()}), pl.Schema({"a": pl.String()}), pl.Schema()]),
    109: ("ml_dtypes", narrow),
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
    46: ("whenever", times_of_whenever),
    47: (
        "pydantic_core",
        lambda core: [core.MultiHostUrl("redis://a:1,b:2/0"), core.MultiHostUrl("redis://a:1,b:2/1")],
    ),
    56: ("pydantic_core", lambda core: [core.TzInfo(seconds) for seconds in (0, 3600, -5400)]),
    57: (
        "pydantic",
        lambda pydantic: [
            pydantic.HttpUrl("http://a/b?c=%20d"),
            pydantic.AnyUrl("http://a/b?c=%20d"),
            pydantic.PostgresDsn("postgresql://u:p@a:1,b:2/d"),
        ],
    ),
    58: ("pydantic_core", lambda core: [core.Url("http://a/b"), core.Url("http://a/c")]),
    59: ("bson", lambda _: [_bson("tz_util").utc, _bson("tz_util").FixedOffset(60, "a")]),
    60: ("bson", lambda _: [_bson("decimal128").Decimal128(text) for text in ("1.5", "1.50")]),
    61: ("bson", lambda _: [_bson("int64").Int64(number) for number in (1, -(2**40))]),
    62: ("bson", lambda _: [_bson("timestamp").Timestamp(1, count) for count in (2, 3)]),
    63: ("bson", lambda _: [_bson("binary").Binary(b"a", subtype) for subtype in (0, 5)]),
    70: ("jax", arrays_of_jax),
    71: ("PIL", pictures),
    78: ("google.protobuf", messages),
    88: ("httpx", lambda httpx: [httpx.QueryParams("a=b"), httpx.QueryParams("a=b&a=c"), httpx.QueryParams()]),
    90: ("pandas", lambda pd: [pd.Period("2024-01", "M"), pd.Period("2024-01-01", "D"), pd.Period("2024-02", "M")]),
    91: (
        "pandas",
        lambda pd: [
            pd.Interval(0, 1),
            pd.Interval(0, 1, closed="left"),
            pd.Interval(0.0, 1.0),
            pd.Interval(pd.Timestamp("2024"), pd.Timestamp("2025")),
        ],
    ),
    92: ("pandas", dtypes_of_pandas),
    93: ("pandas", arrays_of_pandas),
    94: ("pandas", lambda pd: [pd.offsets.MonthEnd(), pd.offsets.MonthEnd(2), pd.offsets.Minute(5), pd.offsets.BDay()]),
    100: ("multidict", lambda md: [md.MultiDict([("a", 1), ("a", 2)]), md.MultiDict()]),
    101: ("multidict", lambda md: [md.CIMultiDict([("A", 1)]), md.CIMultiDict()]),
    102: ("multidict", lambda md: [md.MultiDictProxy(md.MultiDict(a=1)), md.MultiDictProxy(md.MultiDict())]),
    103: ("multidict", lambda md: [md.CIMultiDictProxy(md.CIMultiDict(a=1)), md.CIMultiDictProxy(md.CIMultiDict())]),
    104: ("django", responses_of_django),
    48: ("yarl", lambda yarl: [yarl.URL("http://a/b?c=%20d#e"), yarl.URL("/x"), yarl.URL("http://ü.de/%2F")]),
    49: ("httpx", lambda httpx: [httpx.URL("http://a/b?c=d"), httpx.URL("/x")]),
    50: ("httpx", lambda httpx: [httpx.Headers({"A": "b"}), httpx.Headers([("a", "b"), ("a", "c")])]),
    51: ("msgspec", lambda msgspec: [msgspec.UNSET]),
    52: ("sqlalchemy", lambda _: rows()),
    53: ("sqlalchemy", lambda _: [row._mapping for row in rows()]),
    54: ("django", lambda _: [import_module("django.utils.safestring").mark_safe(text) for text in ("<b>", "")]),
    64: ("numpy", masked),
    110: ("numpy", lambda np: [np.ma.masked]),
    65: ("numpy", lambda np: [np.rec.array([(1, 2.0)], dtype=[("a", "<i4"), ("b", "<f8")])]),
    66: (
        "numpy",
        lambda np: [np.dtype("<i4"), np.dtype("M8[ns]"), np.dtype([("a", "<i4"), ("b", "<f8", (2,))]), np.dtype("<U3")],
    ),
    67: ("numpy", lambda np: [np.rec.array([(at, 2.0)], dtype=[("a", "<i4"), ("b", "<f8")])[0] for at in (1, 2)]),
    68: ("scipy", sparse),
    72: ("torch", tensors),
    76: (
        "torch",
        lambda torch: [
            torch.nn.Parameter(torch.ones(2)),
            torch.nn.Parameter(torch.ones(3)),
            torch.nn.Parameter(torch.ones(2), requires_grad=False),
        ],
    ),
    73: ("torch", lambda torch: [torch.float32, torch.bfloat16, torch.bool]),
    74: ("torch", lambda torch: [torch.Size([1, 2]), torch.Size([])]),
    75: ("torch", lambda torch: [torch.device("cpu"), torch.device("cuda:1")]),
    80: ("pyarrow", lambda pa: [array.type for array in arrow_arrays(pa)[:24]][::2]),
    81: (
        "pyarrow",
        lambda pa: [pa.field("a", pa.int8()), pa.field("a", pa.int8(), nullable=False, metadata={"k": "v"})],
    ),
    82: ("pyarrow", lambda pa: [table.schema for table in tables(pa)[2:]]),
    83: ("pyarrow", arrow_arrays),
    84: ("pyarrow", lambda pa: [pa.chunked_array([[1, 2], [3]]), pa.chunked_array([["x"], [None]])]),
    85: ("pyarrow", lambda pa: [batch for table in tables(pa) for batch in table.to_batches()][:1]),
    86: ("pyarrow", tables),
    87: ("pyarrow", lambda pa: [pa.scalar(1), pa.scalar("x"), pa.scalar(None, pa.int8()), pa.scalar([1, None])]),
    55: ("bson", lambda _: [import_module("bson.objectid").ObjectId(bytes([number] * 12)) for number in (1, 2)]),
}
