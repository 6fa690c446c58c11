"""The codec's classes of attrs, pydantic and msgspec, and its arrays and frames of numpy, pandas and polars."""

from __future__ import annotations

import math
import random
import struct
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Generic, NoReturn, TypeVar

import msgpack
import pytest

from memocache.codecs import Codec
from memocache.codecs import arrays as _arrays
from memocache.codecs import dataframes as _frames
from memocache.codecs import pandas_frames as _pandas
from memocache.codecs import polars_frames as _polars
from memocache.exceptions import DecodeError, EncodeError

CALLS: list[str] = []
T = TypeVar("T")

try:
    import pydantic as _pydantic

    class Item(_pydantic.BaseModel):
        id: int

    class Page(_pydantic.BaseModel, Generic[T]):
        items: list[T]

except ImportError:  # an extra
    pass


@pytest.fixture
def codec() -> Codec:
    return Codec()


def again(value: object) -> Any:
    codec = Codec()
    return codec.decode(codec.encode(value))


try:
    import attrs

    @attrs.frozen(cache_hash=True)
    class Frozen:
        a: Any
        b: Any = attrs.field(factory=list, init=False)

    @attrs.define
    class Defined:
        x: Any = attrs.field(converter=str)

        def __attrs_post_init__(self) -> None:
            CALLS.append("attrs")

    @attrs.define(slots=False)
    class Loose:
        x: Any
except ImportError:
    pass

try:
    import pydantic

    class Inner(pydantic.BaseModel):
        n: int

    class Model(pydantic.BaseModel, extra="allow"):
        inner: Inner | None = None
        names: set[str] = set()
        when: datetime | None = None
        _private: Any = pydantic.PrivateAttr(default_factory=list)

        @pydantic.field_validator("names")
        @classmethod
        def _validate(cls, names: set[str]) -> set[str]:
            CALLS.append("pydantic")
            return names

    class Rows(pydantic.RootModel[list[int]]):
        pass
except ImportError:
    pass

try:
    import msgspec

    class Struct(msgspec.Struct):
        a: Any
        b: Any = 2

    class Hooked(msgspec.Struct, frozen=True, tag=True):
        a: Any

        def __post_init__(self) -> None:
            CALLS.append("msgspec")

    class WithDict(msgspec.Struct, dict=True):
        a: Any
except ImportError:
    pass


def test_attrs_classes() -> None:
    """attrs classes come back by their fields: no converter or hook runs, and no hash of another process is kept."""
    pytest.importorskip("attrs")
    frozen = Frozen((1,))
    object.__setattr__(frozen, "b", "set")
    hash(frozen)
    loose, defined = Loose(1), Defined(1)
    loose.extra = {2}  # type: ignore[attr-defined]
    object.__setattr__(defined, "x", 5)
    CALLS.clear()
    result = again([frozen, loose, defined])
    assert CALLS == []
    assert result[0] == frozen
    assert result[0]._attrs_cached_hash is None
    assert hash(result[0]) == hash(frozen)
    assert vars(result[1]) == {"x": 1, "extra": {2}}
    assert (type(result[2]), result[2].x) == (Defined, 5)


def test_pydantic_models() -> None:
    """Models come back with fields, fields_set, extras and private attributes, and no validator runs."""
    pytest.importorskip("pydantic")
    model = Model(inner=Inner(n=1), names={"a"}, other=(1, 2))
    model._private.append("p")
    partial = Model.model_construct()
    del partial.__dict__["when"]
    CALLS.clear()
    result = again([model, partial, Rows([1])])
    assert CALLS == []
    assert result[0] == model
    assert result[0].model_fields_set == {"inner", "names", "other"}
    assert result[0].model_extra == {"other": (1, 2)}
    assert result[0]._private == ["p"]
    assert result[1].__dict__ == partial.__dict__
    assert result[2] == Rows([1])


def test_msgspec_structs() -> None:
    """Structs come back by their fields, frozen and tagged ones too, and __post_init__ does not run."""
    pytest.importorskip("msgspec")
    with_dict = WithDict(1)
    with_dict.extra = 2  # type: ignore[attr-defined]
    values = [Struct((1,), {2}), Hooked("x"), with_dict]
    CALLS.clear()
    result = again(values)
    assert CALLS == []
    assert result[:2] == values[:2]
    assert [type(value) for value in result] == [Struct, Hooked, WithDict]
    assert msgspec.json.encode(result[1]) == b'{"type":"Hooked","a":"x"}'
    assert vars(result[2]) == {"extra": 2}


def test_annotations_reach_nested_fields() -> None:
    """A model named in a return annotation is trusted with the classes of its fields."""
    pytest.importorskip("pydantic")

    def load() -> dict[str, Model]: ...

    reader = Codec()
    reader.trust_annotations(load)
    model = Model(inner=Inner(n=1))
    assert reader.decode(Codec().encode(model)) == model


def arrays() -> list[Any]:
    np = pytest.importorskip("numpy")
    read_only = np.arange(3)
    read_only.flags.writeable = False
    return [
        np.arange(5), np.array(3.5), np.zeros((0, 3)), np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array(["a", "bc"]), np.array([b"x"]), np.array(["2020"], "M8[D]"), np.array([5], "m8[ns]"),
        np.array([1], ">i4"), np.array([True]), np.zeros(2, "f2"), np.array([1], np.complex64), read_only,
        np.array([(1, 2.0)], [("a", "i4"), ("b", ">f8")]),
        np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
        np.zeros(2, [("x", "f4", (2, 2))]), np.arange(10)[::-2], np.broadcast_to(np.int8(1), (2, 2)),
        np.array([1, [2], None, (3, {4})], object), np.empty((2, 0), object), np.array([-0.0, np.nan, np.inf]),
        np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
    ]  # fmt: skip


def test_numpy_arrays() -> None:
    """Arrays come back with elements, dtype, shape, order and writeability."""
    np = pytest.importorskip("numpy")
    for array in arrays():
        for result in (again(array), again([(array,)])[0][0]):
            assert type(result) is np.ndarray
            assert result.dtype == array.dtype
            assert result.shape == array.shape
            assert result.flags.writeable == array.flags.writeable
            assert repr(result.tolist()) == repr(array.tolist())
            if array.flags.f_contiguous:
                assert result.flags.f_contiguous
            assert result.flags.aligned


def test_numpy_scalars() -> None:
    """Scalars come back as the very type they were."""
    np = pytest.importorskip("numpy")
    for scalar in (
        np.float64(1), np.float32("nan"), np.int8(3), np.bool_(True), np.str_("hé"), np.bytes_(b"x"),
        np.datetime64("2020-01-01", "ns"), np.datetime64("NaT", "ns"), np.timedelta64(5, "s"), np.complex128(1j),
        np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")])[0],
    ):  # fmt: skip
        result = again([scalar])[0]
        assert type(result) is type(scalar)
        assert result.dtype == scalar.dtype
        assert repr(result) == repr(scalar)


def test_what_numpy_cannot_bring_back_is_refused(codec: Codec) -> None:
    """Machine-dependent types, subclasses and objects without a code are refused."""
    np = pytest.importorskip("numpy")
    for value in (
        np.longdouble(1), np.array([1], np.longdouble), np.str_("a\0"), np.zeros(1, "V0"), np.dtype("g"),
        np.array([object()]), np.zeros(1, [("o", "O")]), np.zeros(1).view(np.matrix), np.ma.array([np.longdouble(1)]),
    ):  # fmt: skip
        with pytest.raises(EncodeError):
            codec.encode(value)


def test_numpy_headers_are_not_believed(codec: Codec) -> None:
    """Shapes that do not fit the bytes, object types and nonsense dtypes are DecodeErrors."""
    pytest.importorskip("numpy")
    for header, data in (
        (["<f8", [1 << 60], "C", True], bytes(8)),
        (["<f8", [-1], "C", True], bytes(8)),
        (["<f8", [1] * 65, "C", True], bytes(8)),
        (["|O", [1], "C", True], bytes(8)),
        (["|O8", [1], "C", True], bytes(8)),
        ([["|O", [1]], [1], "C", True], bytes(8)),
        ([{"names": ["a"], "formats": ["|O"], "offsets": [0], "itemsize": 8}, [1], "C", True], bytes(8)),
        ([{"names": ["a"], "formats": ["<f8"], "offsets": [8], "itemsize": 8}, [1], "C", True], bytes(8)),
        (["<U0", [1 << 40], "C", True], b""),
        (["i4,O", [1], "C", True], bytes(12)),
        (["<f8", [1], "K", True], bytes(8)),
        (["<f8", [1], "C", 1], bytes(8)),
        ([None, [1 << 40], "C", True], b""),
        ([None, [2], "C", True, 1], b""),
        (["<f8", "x", "C", True], bytes(8)),
    ):
        packed = msgpack.packb(header)
        body = struct.pack(">I", len(packed)) + packed + data
        with pytest.raises(DecodeError):
            codec.decode(struct.pack(">BHb", 0xC8, len(body), 48) + body)


def frames() -> list[Any]:
    np, pd = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    days = pd.date_range("2020", periods=3, tz="Europe/Paris")
    return [
        pd.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"], "c": [1.5, np.nan, 2]}),
        pd.DataFrame({"c": pd.Categorical(["a", "b", None], ordered=True)}, index=days),
        pd.DataFrame(),
        pd.DataFrame(index=[1, 2]),
        pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": pd.array([True, None], dtype="boolean")}),
        pd.DataFrame({"f": pd.array([1.5, None], dtype="Float64"), "s": pd.array(["a", None], dtype="string")}),
        pd.DataFrame([[1, 2], [3, 4]], columns=["x", "x"]),
        pd.DataFrame({"o": [[1], {"a": (1,)}, None]}),
        pd.DataFrame({"t": days, "d": pd.to_timedelta([1, 2, 3], unit="s")}),
        pd.DataFrame({"o": pd.Series(["a", pd.NA, date(2020, 1, 1)], dtype=object)}),
        pd.DataFrame({1: [1]}, index=pd.MultiIndex.from_tuples([(1, "a")], names=["p", None])),
    ]


@pytest.mark.filterwarnings("ignore")
def test_pandas() -> None:
    """Frames, series, indexes and pandas' own scalars come back with dtypes, names, categories, zones and frequency."""
    pd = pytest.importorskip("pandas")
    exact: dict[str, Any] = {"check_exact": True, "check_index_type": "exact"}
    for frame in frames():
        pd.testing.assert_frame_equal(frame, again(frame), check_column_type="exact", **exact)
        for name in set(frame.columns):
            column = frame[name]
            if isinstance(column, pd.Series):
                pd.testing.assert_series_equal(column, again([column])[0], **exact)
    for index in (
        pd.Index([1, 2]), pd.Index(["a"], name="q"), pd.RangeIndex(5), pd.date_range("2020", periods=3, freq="2h"),
        pd.timedelta_range("1s", periods=3), pd.MultiIndex.from_product([[1, 2], ["a", "b"]]),
        pd.CategoricalIndex(["a"]),
        pd.Index([1.5, None], dtype=object), pd.date_range("2020", periods=2, tz="UTC", name=("a", 1)),
    ):  # fmt: skip
        result = again(index)
        pd.testing.assert_index_equal(index, result, exact=True)
        assert getattr(index, "freq", None) == getattr(result, "freq", None)
    for scalar in (pd.Timestamp("2020", tz="Europe/Paris"), pd.Timestamp("2020-01-01").as_unit("s"), pd.Timedelta(5)):
        result = again(scalar)
        assert type(result) is type(scalar)
        assert (result, result.unit) == (scalar, scalar.unit)
    assert again([pd.NaT, pd.NA]) == [pd.NaT, pd.NA] or again(pd.NaT) is pd.NaT
    assert again(pd.NA) is pd.NA


@pytest.mark.filterwarnings("ignore")
def test_what_pandas_cannot_bring_back_is_refused(codec: Codec) -> None:
    """Subclasses, frequencies of their own and objects without a code are refused, in notes too."""
    pd = pytest.importorskip("pandas")
    described = pd.DataFrame({"a": [1]})
    described.attrs["x"] = object()

    class Sub(pd.DataFrame):  # type: ignore[misc]
        pass

    for value in (
        described, Sub({"a": [1]}),
        pd.bdate_range("2020", periods=3, freq="C", holidays=["2020-01-02"]), pd.DataFrame({"o": [object()]}),
    ):  # fmt: skip
        with pytest.raises(EncodeError):
            codec.encode(value)


def polars_frame() -> Any:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(
        {
            "i": [1, None, 3], "f": [1.5, float("nan"), None], "s": ["a", None, "b"], "b": [True, None, False],
            "d": [date(2020, 1, 1), None, None], "dt": [datetime(2020, 1, 1), None, None], "l": [[1], None, []],
            "st": [{"a": 1}, None, {"a": 2}], "bi": [b"x", None, b""], "dec": [Decimal("1.50"), None, None],
            "n": [None] * 3, "t": [time(1), None, None], "du": [timedelta(1), None, None],
        },
        strict=False,
    )  # fmt: skip
    return frame.with_columns(
        c=pl.col("s").cast(pl.Categorical),
        e=pl.col("s").cast(pl.Enum(["a", "b"])),
        tz=pl.col("dt").dt.replace_time_zone("Europe/Paris"),
        ns=pl.col("dt").cast(pl.Datetime("ns")) + pl.duration(nanoseconds=1),
        arr=pl.Series([[1, 2], [3, 4], None], dtype=pl.Array(pl.Int8, 2)),
        u8=pl.Series([1, 2, 3], dtype=pl.UInt8),
    )


def test_polars() -> None:
    """Frames and series come back with dtypes, nulls apart from NaN, categories and zones."""
    pl = pytest.importorskip("polars")
    frame = polars_frame()
    for value in (frame, pl.DataFrame(), pl.DataFrame({"a": []}, schema={"a": pl.Int8}), frame.head(0)):
        result = again([value])[0]
        assert result.schema == value.schema
        assert result.equals(value, null_equal=True)
    for series in frame.get_columns():
        assert again(series).equals(series, check_dtypes=True, check_names=True, null_equal=True)


def test_what_polars_cannot_bring_back_is_refused(codec: Codec) -> None:
    """Object columns, lazy frames and times finer than Python's inside lists are refused."""
    pl = pytest.importorskip("polars")
    fine = pl.Series([1], dtype=pl.Int64).cast(pl.Datetime("ns")).implode()
    for value in (pl.DataFrame({"o": [object()]}, schema={"o": pl.Object}), pl.DataFrame({"a": [1]}).lazy(), fine):
        with pytest.raises(EncodeError):
            codec.encode(value)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["arrays", "frames", "polars"])
def test_corrupted_arrays_and_frames(codec: Codec, kind: str) -> None:
    """Cut or changed bytes of arrays and frames never raise anything but DecodeError, and never crash."""
    makers = {"arrays": arrays, "frames": frames, "polars": lambda: [polars_frame(), *polars_frame().get_columns()]}
    rng = random.Random(0)
    for payload in map(codec.encode, makers[kind]()):
        for length in rng.sample(range(len(payload)), min(len(payload), 40)):
            with pytest.raises(DecodeError):
                codec.decode(payload[:length])
        for _ in range(60):
            changed = bytearray(payload)
            for _ in range(rng.choice((1, 1, 2, 5))):
                changed[rng.randrange(len(changed))] = rng.randrange(256)
            try:
                codec.decode(bytes(changed))
            except DecodeError:
                pass


def test_zone_aware_values_within_arrays() -> None:
    """Object arrays hold values of every kind the codec knows."""
    np = pytest.importorskip("numpy")
    array = np.array([datetime(2020, 1, 1, tzinfo=UTC), Decimal("1.0")], object)
    assert again(array).tolist() == array.tolist()


def test_parts_that_no_frame_is_made_of() -> None:
    """Each part of a frame that a payload may have wrong is a DecodeError, and interrupts stay what they are."""
    np, pl = pytest.importorskip("numpy"), pytest.importorskip("polars")
    pytest.importorskip("pandas")
    for parts in (["numpy", np.zeros((2, 2))], ["numpy", [1]], ["zoned", np.zeros(1, "i8"), "years", UTC]):
        with pytest.raises(DecodeError):
            _pandas.make_column(parts)
    assert _polars.make_frame([0, []]).equals(pl.DataFrame())
    with pytest.raises(DecodeError, match="another height"):
        _polars.make_frame([2, []])

    def interrupted(parts: object) -> NoReturn:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _frames._guarded(interrupted, b"", lambda data: data)


def test_columns_and_indexes_of_every_type_come_back(codec: Codec) -> None:
    """Arrow-backed, period, interval and sparse columns and indexes, notes and flags: equal, of the same types."""
    pd: Any = pytest.importorskip("pandas")
    pa = pytest.importorskip("pyarrow")
    columns = [
        pd.array([1, None], dtype="int64[pyarrow]"),
        pd.array(["x", None], dtype=pd.ArrowDtype(pa.string())),
        pd.array([[1], None], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
        pd.period_range("2024", periods=2, freq="M").array,
        pd.period_range("2024", periods=2, freq="2D").array,
        pd.interval_range(0, 2).array,
        pd.interval_range(pd.Timestamp("2024"), periods=2, closed="left").array,
        pd.arrays.SparseArray([0, 1]),
        pd.arrays.SparseArray([1.5, None]),
    ]
    for column in columns:
        for value in (pd.Series(column), pd.DataFrame({"a": column, "b": column})):
            again: Any = codec.decode(codec.encode(value))
            assert again.equals(value)
            assert str(getattr(again, "dtypes", None)) == str(getattr(value, "dtypes", None))
    for index in (pd.interval_range(0, 2), pd.period_range("2020", periods=2, freq="D")):
        again = codec.decode(codec.encode(pd.Series([1, 2], index=index)))
        assert again.index.equals(index)
        assert type(again.index) is type(index)
    noted = pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False)
    noted.attrs["unit"] = ("m", [1])
    again = codec.decode(codec.encode([noted, noted["a"]]))
    for held in again:
        assert held.attrs == noted.attrs
        assert not held.flags.allows_duplicate_labels


def test_a_sparse_column_is_bounded(codec: Codec) -> None:
    """What takes no bytes may not be longer than a bound, and places must lie within the column."""
    np, pd = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    for length, places in ((1 << 40, [0]), (3, [5]), (3, [-1]), (3, [1, 0])):
        parts = ["sparse", np.ones(len(places)), np.array(places, "i4"), length, np.dtype("f8"), 0.0]
        with pytest.raises((DecodeError, ValueError)):
            _pandas.make_column(parts)
    assert len(pd.Series(_pandas.make_column(["sparse", np.ones(1), np.array([1], "i4"), 3, np.dtype("f8"), 0.0]))) == 3


def test_texts_of_any_length_come_back(codec: Codec) -> None:
    """numpy's StringDType, in any shape and order, with a mark for what is missing; and the dtype itself."""
    np = pytest.importorskip("numpy")
    for array in (
        np.array(["a", "ü" * 50], np.dtypes.StringDType()),
        np.array([["a"], ["b"]], np.dtypes.StringDType()).T,
        np.array(["a", None], np.dtypes.StringDType(na_object=None, coerce=False)),
        np.array(["a", "none"], np.dtypes.StringDType(na_object="none")),
    ):
        again: Any = codec.decode(codec.encode([array]))[0]  # type: ignore[index]  # it is a list
        assert again.dtype == array.dtype
        assert again.tolist() == array.tolist()
        assert codec.decode(codec.encode(array.dtype)) == array.dtype
    unknown: Any = codec.decode(codec.encode(np.array(["a", math.nan], np.dtypes.StringDType(na_object=math.nan))))
    assert unknown.dtype == np.dtypes.StringDType(na_object=math.nan)
    assert unknown[0] == "a"
    assert math.isnan(unknown[1])
    assert codec.decode(codec.encode(np.dtype("O"))) == np.dtype("O")
    for parts in (["text", 1], ["text", True, [1]], ["text"], ["text", True, 1]):
        with pytest.raises(DecodeError):
            _arrays.make_any_dtype(parts)


def test_generic_models_made_concrete_come_back(codec: Codec) -> None:
    """By the generic class and what its parameters are; a reader that has not seen that class takes none for it."""
    models: list[Any] = [
        Page[Item](items=[Item(id=1)]),
        Page[dict[str, int | None]](items=[{"a": 1}]),
        Page[Page[Item]](items=[Page[Item](items=[])]),
    ]
    for model in models:
        payload = codec.encode(model)
        again = codec.decode(payload)
        assert type(again) is type(model)
        assert again == model
        with pytest.raises(DecodeError, match="not trusted"):
            Codec(trust=["nowhere"]).decode(payload)

    def annotated() -> list[Page[Item]]: ...

    reader = Codec()
    reader.trust_annotations(annotated)
    assert reader.decode(codec.encode(models[0])) == models[0]


def test_what_numpy_says_of_itself_must_fit(codec: Codec) -> None:
    """Fields with titles are refused, and a scalar has the size of its type."""
    np = pytest.importorskip("numpy")
    titled = np.dtype({"names": ["a"], "formats": ["i4"], "titles": ["t"]})
    for value in (np.zeros(2, titled), np.zeros(1, titled)[0]):
        with pytest.raises(EncodeError):
            codec.encode(value)
    header = msgpack.packb("<i4")
    for element in (b"123", b"12345", b""):
        with pytest.raises(DecodeError, match="another size"):
            _arrays._load_scalar(struct.pack(">I", len(header)) + header + element, msgpack.unpackb)
