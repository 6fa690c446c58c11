"""The value codec: what comes back equals what went in, hostile bytes are harmless, nothing stored is executed."""

from __future__ import annotations

import dataclasses
import enum
import functools
import math
import os
import pickle
import random
import re
import struct
import sys
import threading
import typing
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PosixPath, PurePath, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from uuid import UUID, SafeUUID
from zoneinfo import ZoneInfo

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memocache.codecs import Codec
from memocache.exceptions import ConfigurationError, DecodeError, EncodeError

EXAMPLES = int(os.environ.get("MEMOCACHE_EXAMPLES", "200"))
ZONES = ("UTC", "Europe/Paris", "America/New_York", "Asia/Kathmandu")


class Colour(enum.Enum):
    RED = 1
    CRIMSON = 1  # noqa: PIE796  # an alias
    BLUE = (2, "b")


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    A = "a"


class Right(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Mask(enum.IntFlag):
    ONE = 1
    TWO = 2


class Pair(NamedTuple):
    left: Any
    right: Any = None


class Named(namedtuple("Named", "x y")):
    """Its instances have a ``__dict__``."""


@dataclasses.dataclass
class Point:
    x: Any
    y: Any = 0
    note: Any = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        CALLS.append("post_init")


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    a: Any
    b: Any = ()


@dataclasses.dataclass
class Base:
    one: Any


@dataclasses.dataclass
class Derived(Base):
    two: Any
    __secret: Any = 3


class Plain:
    pass


@dataclasses.dataclass
class Popen:
    command: str

    def __init__(self, command: str) -> None:
        CALLS.append("init")
        self.command = command

    def __setstate__(self, state: object) -> None:
        CALLS.append("setstate")


def spring() -> None:
    CALLS.append("pickle")


class Evil:
    def __reduce__(self) -> Any:
        return spring, ()


class SubList(list[Any]):
    pass


class SubStr(str):
    __slots__ = ()


class SubInt(int):
    pass


class Custom:
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __eq__(self, other: object) -> bool:
        return type(other) is Custom and same(self.inner, other.inner)

    __hash__ = None  # type: ignore[assignment]


CALLS: list[str] = []


def same(a: Any, b: Any) -> bool:
    """Tell whether `b` is what `a` is: type for type, order for order, NaN for NaN, sign of zero for sign of zero."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return struct.pack("d", a) == struct.pack("d", b) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, Decimal):
        return a.as_tuple() == b.as_tuple()
    if isinstance(a, enum.Enum):
        return a is b
    if isinstance(a, dict):
        factory = getattr(a, "default_factory", None) is getattr(b, "default_factory", None)
        return factory and same(list(a.items()), list(b.items()))
    if isinstance(a, set | frozenset):
        return len(a) == len(b) and all(any(same(x, y) for y in b) for x in a)
    if isinstance(a, list | tuple | deque):
        sizes = len(a) == len(b) and getattr(a, "maxlen", None) == getattr(b, "maxlen", None)
        return sizes and all(map(same, a, b)) and same_vars(a, b)
    if isinstance(a, datetime | time):
        return a.replace(tzinfo=None) == b.replace(tzinfo=None) and a.fold == b.fold and same(a.tzinfo, b.tzinfo)
    if isinstance(a, timezone):
        return a.__getinitargs__() == b.__getinitargs__()  # type: ignore[attr-defined]
    if isinstance(a, ZoneInfo):
        return a.key == b.key
    if isinstance(a, UUID):
        return a.bytes == b.bytes and a.is_safe is b.is_safe
    if isinstance(a, range | slice):
        return same((a.start, a.stop, a.step), (b.start, b.stop, b.step))
    if dataclasses.is_dataclass(a):
        return same_vars(a, b)
    return bool(a == b)


def vars_of(value: Any) -> dict[str, Any]:
    slots = [name for base in type(value).__mro__ for name in getattr(base, "__slots__", ()) if hasattr(value, name)]
    return {**getattr(value, "__dict__", {}), **{name: getattr(value, name) for name in slots}}


def same_vars(a: Any, b: Any) -> bool:
    mine, others = vars_of(a), vars_of(b)
    return mine.keys() == others.keys() and all(same(mine[name], others[name]) for name in mine)


def text() -> st.SearchStrategy[str]:
    return st.text(st.characters(exclude_categories=()), max_size=8)


def with_attribute(value: Named, attribute: int | None) -> Named:
    if attribute is not None:
        value.extra = attribute
    return value


zones = st.one_of(
    st.none(),
    st.sampled_from(ZONES).map(ZoneInfo),
    st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23))),
    st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)), text()),
)
folds = st.sampled_from((0, 1))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-300, 300),
    st.integers(),
    st.integers(-(1 << 300), 1 << 300),
    st.sampled_from([s * ((1 << n) + d) for n in (7, 8, 15, 16, 31, 32, 63, 64) for d in (-1, 0, 1) for s in (1, -1)]),
    st.floats(),
    st.complex_numbers(),
    text(),
    st.binary(max_size=8),
    st.decimals(),
    st.builds(Decimal, st.from_regex(r"\A-?(s?NaN[1-9][0-9]{0,5}|[0-9]{1,30}E[+-]?[0-9]{1,6})\Z")),
    st.fractions(),
    st.uuids().map(lambda u: UUID(int=u.int, is_safe=[*SafeUUID][u.int % 3])),
    st.builds(PurePosixPath, text()),
    st.builds(Path, text()),
    st.from_regex(r"\A[a-z]:[/\\][a-z/]{0,5}\Z").map(PureWindowsPath),
    st.builds(range, st.integers(-9, 9), st.integers(), st.integers(1, 9)),
    st.dates(),
    st.builds(lambda d, z, f: d.replace(tzinfo=z, fold=f), st.datetimes(), zones, folds),
    st.builds(lambda t, z, f: t.replace(tzinfo=z, fold=f), st.times(), zones, folds),
    st.timedeltas(),
    zones,
    st.sampled_from([*Colour, *Level, *Word, *Right, *Mask, Right(0), Right.READ | Right.WRITE, Mask(3), Mask(8)]),
)
# A signalling NaN has no hash.
hashable = st.recursive(
    scalars.filter(lambda key: not (isinstance(key, Decimal) and key.is_snan())),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple),
        st.frozensets(inner, max_size=3),
        st.builds(Frozen, inner, inner),
        st.builds(Pair, inner, inner),
    ),
    max_leaves=3,
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(inner, max_size=4)
    dicts = st.dictionaries(hashable, inner, max_size=4)
    return st.one_of(
        lists,
        lists.map(tuple),
        dicts,
        st.sets(hashable, max_size=4),
        st.frozensets(hashable, max_size=4),
        st.binary(max_size=8).map(bytearray),
        dicts.map(OrderedDict),
        dicts.map(Counter),
        st.builds(defaultdict, st.sampled_from([None, list, int, dict]), dicts),
        st.builds(deque, lists, st.none() | st.integers(4, 9)),
        st.builds(slice, inner, inner, inner),
        st.builds(Pair, inner, inner),
        st.builds(with_attribute, st.builds(Named, inner, inner), st.none() | st.integers()),
        st.builds(Point, inner, inner),
        st.builds(Frozen, inner, inner),
        st.builds(Derived, inner, inner),
    )


values = st.recursive(scalars, containers, max_leaves=12)


@pytest.fixture
def codec() -> Codec:
    return Codec()


def refused(codec: Codec, value: object) -> str:
    with pytest.raises(EncodeError) as caught:
        codec.encode(value)
    assert caught.value.__cause__ is None
    return str(caught.value)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(values, min_size=1, max_size=8))
def test_round_trip_is_exact(batch: list[Any]) -> None:
    """Every encodable value comes back type for type, on its own and among others."""
    codec = Codec()
    for value in batch:
        assert same(value, codec.decode(codec.encode(value)))
    assert same(batch, codec.decode(memoryview(codec.encode(batch))))


CORPUS: list[Any] = [
    {"rows": [{"id": 1, "tags": ("a", "b")}, {"id": 2**70, "tags": {1, 2}}], "at": datetime(2024, 1, 2, tzinfo=UTC)},
    (Decimal("1.50"), Fraction(1, 3), UUID(int=7), Path("/tmp/x"), range(3), slice(1), 1j, bytearray(b"ab")),
    [Point(1, [2]), Frozen("x"), Pair(1, {2: 3}), Colour.BLUE, Right.READ | Right.WRITE, OrderedDict(a=1)],
    (
        Counter("aab"),
        defaultdict(list, {1: [2]}),
        deque([1, 2], 5),
        frozenset([b"x"]),
        timedelta(1),
        time(1, 2, fold=1),
    ),
    (datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Paris")), timezone(timedelta(hours=1), "CET")),
]


def survives(codec: Codec, payload: bytes) -> None:
    for decode in (codec.decode, codec.decode_error):
        try:
            decode(payload)
        except DecodeError as error:
            assert error.__cause__ is None  # noqa: PT017  # a decoder that returns is as good


def test_truncation_and_corruption_are_decode_errors_or_values(codec: Codec) -> None:
    """Cutting a payload anywhere, or changing its bytes at random, never raises anything but DecodeError."""
    rng = random.Random(0)
    payloads = [codec.encode(value) for value in CORPUS]
    payloads.append(codec.encode_error(OSError(2, "x", "y")))
    payloads.append(codec.encode([CORPUS] * 10))
    for payload in payloads:
        for length in range(min(len(payload), 700)):
            with pytest.raises(DecodeError):
                codec.decode(payload[:length])
        with pytest.raises(DecodeError):
            codec.decode(payload + b"\0")
        for _ in range(600):
            changed = bytearray(payload)
            for _ in range(rng.choice((1, 1, 2, 5))):
                changed[rng.randrange(len(changed))] = rng.randrange(256)
            survives(codec, bytes(changed))
    for _ in range(3000):
        survives(codec, rng.randbytes(rng.randrange(40)))


def test_every_code_survives_random_bodies(codec: Codec) -> None:
    """No extension code, known or unknown, makes anything but a DecodeError of a body that is not its own."""
    rng = random.Random(1)
    objects = (None, 1, "x", [], {}, [1, 2, 3], ["a:b"], [1, {}], [[], "C", True], ["x", {}, {}, []])
    plain = [b"", *map(msgpack.packb, objects)]
    for code in range(-128, 128):
        for body in (*plain, *(rng.randbytes(n) for n in (1, 4, 12, 13, 16, 17))):
            framed = struct.pack(">BBb", 0xC7, len(body), code) + body
            survives(codec, framed)
            survives(codec, struct.pack(">BBb", 0xC7, len(body) + 4, code) + struct.pack(">I", len(body)) + body)


def test_planted_pickle_is_inert(codec: Codec) -> None:
    """A pickle in place of a payload, or as the body of any extension, runs nothing."""
    CALLS.clear()
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        planted = pickle.dumps(Evil(), protocol)
        survives(codec, planted)
        for code in range(-128, 128):
            survives(codec, struct.pack(">BHb", 0xC8, len(planted), code) + planted)
    assert CALLS == []
    pickle.loads(planted)
    assert CALLS == ["pickle"]


def test_depth_is_bounded_both_ways() -> None:
    """Nesting beyond max_depth and cycles are refused, and no deeply nested payload is read."""
    codec = Codec(max_depth=20)
    wraps = (lambda v: [v], lambda v: (v,), lambda v: {1: v}, lambda v: deque([v]), lambda v: Frozen(v))
    for wrap, levels in zip(wraps, (18, 18, 18, 18, 9), strict=True):
        value: Any = 1
        for _ in range(levels):
            value = wrap(value)
        assert same(value, codec.decode(codec.encode(value)))
        for _ in range(2000):
            value = wrap(value)
        assert "deeper" in refused(codec, value)
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    assert "deeper" in refused(codec, cyclic)
    knot = Point(1)
    knot.y = {"knot": (knot,)}
    assert "deeper" in refused(codec, knot)
    bomb = b"\xc0"
    for _ in range(3000):
        bomb = bytes(msgpack.packb(msgpack.ExtType(1, b"\x91" + bomb)))
    with pytest.raises(DecodeError):
        codec.decode(bomb)
    with pytest.raises(DecodeError):
        codec.decode(b"\x91" * 100_000 + b"\xc0")


def test_shared_parts_do_not_explode() -> None:
    """A small graph that would unfold to more than max_bytes is refused, not unfolded."""
    codec = Codec(max_bytes=10_000)
    for wrap in (lambda v: [v, v], lambda v: (v, v), lambda v: {1: v, 2: v}):
        value: Any = 1
        for _ in range(60):
            value = wrap(value)
        assert "more than 10000 bytes" in refused(codec, value)


@pytest.mark.parametrize("claimed", [1000, 65_535, 2**31, 2**32 - 1])
@pytest.mark.parametrize("head", [b"\xdd", b"\xdf", b"\xdb", b"\xc6"])
def test_claimed_lengths_are_not_believed(codec: Codec, head: bytes, claimed: int) -> None:
    """A header that claims more than there is costs neither memory nor time, nested or not."""
    bomb = head + struct.pack(">I", claimed)
    for payload in (bomb, bomb * 900, bomb * 900 + b"\xc0" * 60_000):
        with pytest.raises(DecodeError):
            codec.decode(payload)
        with pytest.raises(DecodeError):
            codec.decode(bytes(msgpack.packb(msgpack.ExtType(1, payload))))


def test_max_bytes_bounds_both_ways() -> None:
    """Neither a larger payload nor a larger value passes."""
    codec = Codec(max_bytes=100)
    for value in (b"x" * 101, "x" * 101, bytearray(101), [0] * 101, list(range(200)), (b"x" * 99,) * 2):
        assert "more than 100 bytes" in refused(codec, value)
    with pytest.raises(DecodeError, match="max_bytes"):
        codec.decode(bytes(101))


@pytest.mark.parametrize(
    ("code", "body"),
    [
        (9, msgpack.packb([99, {}])),
        (9, msgpack.packb([-1, {}])),
        (10, msgpack.packb([1, 1, 2])),
        (11, b"1e5"),
        (11, b"nonsense"),
        (11, b"NAN(x)"),
        (12, msgpack.packb([1, 0])),
        (12, msgpack.packb([2, 4])),
        (12, msgpack.packb([True, 4])),
        (13, b"\x09x"),
        (13, b""),
        (14, bytes(15)),
        (14, bytes(16) + b"\7"),
        (15, msgpack.packb([1, 2, 0])),
        (17, bytes(12)),
        (17, struct.pack(">HBBBBBIB", 2020, 1, 1, 0, 0, 0, 0, 0) + msgpack.packb(5)),
        (19, struct.pack(">BBBIB", 1, 1, 1, 1, 9)),
        (20, struct.pack(">iII", 2**31 - 1, 0, 0)),
        (21, struct.pack(">iII", 3, 0, 0)),
        (22, b"../../etc/passwd"),
        (22, b"/etc/passwd"),
        (22, b"Europe"),
        (22, b"No/Such"),
        (22, b"x" * 300),
        (1, msgpack.packb({})),
        (2, msgpack.packb([[]])),
        (99, b""),
        (-2, b""),
    ],
)
def test_malformed_extensions(codec: Codec, code: int, body: bytes) -> None:
    """What no encoder writes is refused by each type's decoder."""
    with pytest.raises(DecodeError):
        codec.decode(struct.pack(">BHb", 0xC8, len(body), code) + body)


def test_invalid_text_and_keys(codec: Codec) -> None:
    """Invalid UTF-8 and unhashable keys are DecodeErrors."""
    for payload in (b"\xa1\xff", b"\x81\xa1\xff\x01", b"\x81\x90\x01", b"\xc1", b""):
        with pytest.raises(DecodeError):
            codec.decode(payload)


def test_silently_packed_types_are_found(codec: Codec) -> None:
    """bytearray comes back as one wherever it lies; msgpack's own types are refused."""
    value = [{"a": bytearray(b"x"), (1,): [bytearray()]}, [bytearray(b"y"), 2**80, Point(bytearray(b"z"))]]
    assert same(value, codec.decode(codec.encode(value)))
    for odd in (msgpack.ExtType(1, b"\x90"), msgpack.Timestamp(1)):
        for wrapped in (odd, [odd], {"a": [odd]}, {odd: 1}, (odd,), [[bytearray()], odd]):
            refused(codec, wrapped)


class Zone(tzinfo):
    pass


CounterWithAttribute = Counter(a=1)
CounterWithAttribute.x = 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "value",
    [
        SubList(), SubStr("x"), SubInt(1), Plain(), Plain, len, (i for i in ()), threading.Lock(), re.compile("x"),
        KeyboardInterrupt(), object(), sys, defaultdict(lambda: 1),
        datetime(2020, 1, 1, tzinfo=Zone()), CounterWithAttribute, Fraction(1, 1 << 70_000),
        type("Point", (), {"__module__": __name__})(), functools.partial(len), iter([]), open,
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_would_not_come_back_is_refused(codec: Codec, value: object) -> None:
    """Subclasses, resources, functions and values with hidden state are refused wherever they lie."""
    for wrapped in (value, [value], (1, value), {"a": {"b": value}}, Point(value), Pair(value)):
        refused(codec, wrapped)


def test_local_and_shadowed_classes_are_refused(codec: Codec) -> None:
    """A class that its name does not lead back to cannot be stored."""

    @dataclasses.dataclass
    class Local:
        x: int

    shadow = dataclasses.make_dataclass("Point", ["x"], namespace={"__module__": __name__})
    shadow.__module__ = __name__
    for value in (Local(1), shadow(1)):
        refused(codec, value)


def test_paths_show_positions_and_fields_only(codec: Codec) -> None:
    """The error leads to the offending part by positions and field names; no key and no value is shown."""
    secret = "hunter2"
    deep = {secret: 1, "x": 2, 3: [0, (secret, Point({secret: Pair(1, [Plain()])}))]}
    message = refused(codec, deep)
    assert message.startswith("result{key 2}[1][1].x{key 0}.right[0] (")
    assert "Plain" in message
    assert secret not in message
    assert refused(codec, {secret: 1, (1, frozenset([Plain()])): 2}).startswith("result{key 1 itself}[1]{item 0} (")


def test_rebuilding_runs_no_code_of_the_class() -> None:
    """Neither __init__ nor __post_init__ nor __setstate__ is called, and attributes beyond the fields are kept."""
    codec = Codec()
    point, popen = Point(1), Popen("ls")
    point.extra = [1]  # type: ignore[attr-defined]
    payload = codec.encode([point, popen])
    CALLS.clear()
    again = codec.decode(payload)
    assert CALLS == []
    assert same([point, popen], again)
    assert not hasattr(again[0], "note")  # type: ignore[index]


def test_only_trusted_classes_are_rebuilt() -> None:
    """A class comes back where it was seen, annotated or trusted, or lies in a trusted module; nowhere else."""
    payload = Codec().encode(Point(1))

    def annotated() -> list[dict[str, Outer] | None]: ...

    def unresolved() -> Nowhere: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(DecodeError, match="not trusted"):
        Codec().decode(payload)
    package = __name__.rpartition(".")[0] or __name__
    readers = [Codec(trust=[__name__]), Codec(trust=[package]), Codec(), Codec(), Codec()]
    readers[2].trust(Point)
    readers[3].trust_annotations(annotated)
    readers[3].trust_annotations(unresolved)
    readers[4].encode(Point(2))
    for reader in readers:
        assert same(reader.decode(payload), Point(1))
    with pytest.raises(DecodeError):
        Codec(trust=[__name__[:-1], "os"]).decode(payload)


@dataclasses.dataclass
class Outer:
    points: tuple[Point, ...]
    missing: typing.Any = None


def test_a_payload_cannot_choose_what_is_instantiated() -> None:
    """Even in a trusted module only classes of the claimed, structured kind are made, and only with their fields."""
    codec = Codec(trust=["subprocess", "builtins", "os", __name__, "collections"])
    names = ["subprocess:Popen", "builtins:dict", "builtins:print", "os:system", "x:y", "", ":", "a:b:c"]
    names += [f"{__name__}:{name}" for name in ("Plain", "Point", "Colour", "Pair", "Point.__init__")]
    fields: list[Any] = [[{}], [{"x": 1}], [{"x": 1, "y": 2, "z": 3}], [{}, {}, [], [], {}, {}]]
    parts_of_others: list[Any] = [[], ["RED"], ["x"], [[1, 2]], *fields]
    for name in names:
        for parts in parts_of_others:
            for code in range(32, 39):
                payload = bytes(msgpack.packb(msgpack.ExtType(code, msgpack.packb([name, *parts]))))
                try:
                    value = codec.decode(payload)
                except DecodeError:
                    continue
                assert value is Colour.RED


def test_fields_of_another_version_are_refused(codec: Codec) -> None:
    """A payload whose class has gained or lost a field since is not taken for the class's value."""
    codec.encode([Point(1), Pair(1), Frozen(1)])

    def packed(code: int, name: str, *parts: object) -> bytes:
        return bytes(msgpack.packb(msgpack.ExtType(code, msgpack.packb([f"{__name__}:{name}", *parts]))))

    assert same(codec.decode(packed(33, "Pair", {"left": 1, "right": None})), Pair(1))
    for payload in (
        packed(33, "Pair", {"left": 1}),
        packed(33, "Pair", {"left": 1}, {}, ["right"]),
        packed(33, "Pair", {"left": 1, "wrong": 1}),
        packed(34, "Point", {"x": 1, "y": 1}),
        packed(34, "Point", {"x": 1, "y": 1, "note": 1, "z": 2}),
        packed(34, "Frozen", {"a": 1, "b": 2}, {"c": 3}),
        packed(34, "Frozen", {"a": 1, "b": 2}, {5: 3}),
        packed(34, "Pair", {"left": 1, "right": 1}),
    ):
        with pytest.raises(DecodeError):
            codec.decode(payload)


def test_trusting_imports_nothing_but_the_named_module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A payload makes a trusted module be imported, but neither its submodules nor anything else."""
    package = tmp_path / "memocache_trusted"
    package.mkdir()
    source = "import dataclasses\n@dataclasses.dataclass\nclass Thing:\n    x: int\n"
    (package / "__init__.py").write_text(source)
    (package / "sub.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    codec = Codec(trust=["memocache_trusted"])

    def packed(module: str) -> bytes:
        return bytes(msgpack.packb(msgpack.ExtType(34, msgpack.packb([f"{module}:Thing", {"x": 1}]))))

    with pytest.raises(DecodeError):
        codec.decode(packed("memocache_trusted.sub"))
    assert "memocache_trusted" not in sys.modules
    assert codec.decode(packed("memocache_trusted")).x == 1  # type: ignore[attr-defined]
    assert "memocache_trusted.sub" not in sys.modules
    with pytest.raises(DecodeError):
        codec.decode(packed("memocache_trusted.sub"))
    del sys.modules["memocache_trusted"]


def test_registered_types(codec: Codec) -> None:
    """A registered type, exactly, is stored as what its encoder makes of it, by both ends' registration."""
    codec.register(Custom, lambda c: (c.inner,), lambda parts: Custom(parts[0]))
    payload = codec.encode({"x": [Custom(Custom({1}))]})
    assert codec.decode(payload) == {"x": [Custom(Custom({1}))]}
    with pytest.raises(DecodeError):
        Codec().decode(payload)
    with pytest.raises(ConfigurationError):
        codec.register(dict, list, dict)
    with pytest.raises(ConfigurationError):
        codec.trust(Plain)
    codec.register(Plain, lambda p: 1 / 0, lambda p: p)
    assert "ZeroDivisionError" in refused(codec, [Plain()])
    codec.register(Custom, lambda c: None, lambda parts: 1 / 0)  # type: ignore[arg-type, return-value]
    with pytest.raises(DecodeError):
        codec.decode(payload)


class AppError(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        CALLS.append("AppError")


class FileTrouble(OSError):
    pass


class SlottedError(Exception):
    __slots__ = ("code", "unset")

    def __init__(self, code: Any) -> None:
        super().__init__("failed")
        self.code = code


@dataclasses.dataclass(slots=True)
class DataError(Exception):
    code: int

    def __str__(self) -> str:
        return f"code {self.code}"


class GroupError(ExceptionGroup[Exception]):
    """A group of the user's."""


def raised_by(code: str) -> Exception:
    try:
        exec(code, {})
    except Exception as error:
        return error
    raise AssertionError(code)


def described(error: Any) -> Any:
    """All that one can see of an exception, but the object whose attribute was missing."""
    names = set(dir(error)) - {"obj", "exceptions", "args"}
    seen = {name: value for name in names if not callable(value := getattr(error, name, None)) and name[:2] != "__"}
    grouped = [described(inner) for inner in getattr(error, "exceptions", ())]
    args = error.args[:1] if grouped else error.args
    return type(error), str(error), args, vars(error), seen, getattr(error, "__notes__", None), grouped


def noted() -> Exception:
    error = ValueError("x")
    error.add_note("a note")
    return error


ERRORS: dict[str, Callable[[], Exception]] = {
    "slots": lambda: SlottedError([7]),
    "slots of a dataclass": lambda: DataError(7),
    "ImportError": lambda: ImportError("text", name="module", path="path"),
    "no module": lambda: raised_by("import nowhere.at_all"),
    "no name": lambda: raised_by("from math import nothing"),
    "NameError": lambda: raised_by("variable"),
    "AttributeError": lambda: raised_by("(1).attribute"),
    "AttributeError by hand": lambda: AttributeError("text", name="attribute", obj=[1]),
    "OSError": lambda: raised_by("open('/nowhere/at/all')"),
    "two file names": lambda: raised_by("import os; os.rename('/nowhere/a', '/nowhere/b')"),
    "BlockingIOError": lambda: BlockingIOError(11, "text"),
    "SyntaxError": lambda: raised_by("1 +"),
    "UnicodeDecodeError": lambda: raised_by("b'\\xff'.decode()"),
    "StopIteration": lambda: StopIteration((1,)),
    "notes": noted,
    "group": lambda: ExceptionGroup("several", [noted(), SlottedError(1), ExceptionGroup("more", [KeyError(2)])]),
    "group of the user's": lambda: GroupError("several", [ImportError("x", name="n")]),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_keep_what_makes_them_themselves(name: str) -> None:
    """Slots, names of modules, variables and attributes, files, notes and what is grouped come back, remembered or
    returned; the object of an AttributeError does not.
    """
    codec = Codec(trust=[__name__])
    error = ERRORS[name]()
    again = codec.decode_error(codec.encode_error(error))
    assert described(again) == described(error)
    assert getattr(again, "obj", None) is None
    (returned,) = Codec(trust=[__name__]).decode(codec.encode([error]))  # type: ignore[misc]  # it is a list
    assert described(returned) == described(error)


def test_groups_hold_known_errors_only() -> None:
    """A group of an error that is neither built in nor trusted is refused as that error is."""
    for error in (GroupError("x", [ValueError()]), ExceptionGroup("x", [ExceptionGroup("y", [SlottedError(1)])])):
        with pytest.raises(EncodeError, match="neither built in nor trusted"):
            Codec().encode_error(error)


def test_a_payload_puts_nothing_where_an_error_keeps_what_it_is_made_of() -> None:
    """What a payload names as attributes is set on the error alone, and its keys are texts."""
    for attributes in ({1: 2}, {("x",): 1}):
        with pytest.raises(DecodeError, match="attributes"):
            Codec().decode_error(Codec().encode(["builtins:ValueError", [], attributes]))
    made = Codec().decode_error(Codec().encode(["builtins:ExceptionGroup", ["x", [KeyError(1)]], {"exceptions": 5}]))
    assert type(made.exceptions) is tuple  # type: ignore[attr-defined]  # it is a group


def test_errors_come_back_by_class_and_args(codec: Codec) -> None:
    """Built-in and trusted exceptions are rebuilt with args, attributes and notes, running no code of their class."""
    codec.trust(AppError, FileTrouble)
    noted = ValueError("x")
    noted.add_note("seen")
    unicode = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")
    errors: list[Exception] = [
        KeyError("k"), noted, OSError(2, "no", "file"), FileNotFoundError(2, "a", "b", None, "c"), unicode,
        StopIteration(5), ZeroDivisionError(), AppError(7, "boom"), FileTrouble(13, "denied", "x"), ImportError("a"),
    ]  # fmt: skip
    for error in errors:
        payload = codec.encode_error(error)
        CALLS.clear()
        again = codec.decode_error(payload)
        assert CALLS == []
        assert type(again) is type(error)
        assert again.args == error.args
        assert str(again) == str(error)
        assert vars(again) == vars(error)
        assert again.__traceback__ is None
        assert again is not codec.decode_error(payload)
    with pytest.raises(EncodeError, match="nor trusted"):
        Codec().encode_error(AppError(1, "x"))
    with pytest.raises(EncodeError, match=r"result\.args\[0\]"):
        codec.encode_error(ValueError(Plain()))
    with pytest.raises(DecodeError):
        Codec().decode_error(codec.encode_error(AppError(1, "x")))
    for name in ("builtins:SystemExit", "builtins:int", "builtins:eval", f"{__name__}:AppError", "x"):
        with pytest.raises(DecodeError):
            Codec().decode_error(Codec().encode([name, [], {}]))


def test_decimal_ignores_the_context(codec: Codec) -> None:
    """The current decimal context changes neither what is stored nor what is read."""
    import decimal

    value = Decimal("1.23456789012345678901234567890E+50")
    with decimal.localcontext(prec=2, capitals=0, traps=[]):
        payload = codec.encode(value)
        assert codec.decode(payload).as_tuple() == value.as_tuple()  # type: ignore[attr-defined]
        with pytest.raises(DecodeError):
            codec.decode(struct.pack(">BBb", 0xC7, 4, 11) + b"oops")
    assert payload == codec.encode(value)


def test_paths_of_the_other_system(codec: Codec) -> None:
    """Pure paths of either flavour come back as they are."""
    for path in (PureWindowsPath(r"\\host\share\a"), PureWindowsPath("c:x"), PurePosixPath("//a"), PurePath("\udc80")):
        assert same(path, codec.decode(codec.encode(path)))
    assert type(codec.decode(codec.encode(Path("x")))) is (PosixPath if os.name == "posix" else type(Path("x")))


def test_little_room_on_the_stack() -> None:
    """Near the recursion limit coding fails as EncodeError and DecodeError, and works again afterwards."""
    codec = Codec()
    value: Any = 1
    for _ in range(60):
        value = (value,)
    payload = codec.encode(value)
    outcomes = set()

    def dive() -> None:
        try:
            dive()
        except RecursionError:
            pass
        for work in (lambda: codec.encode(value), lambda: codec.decode(payload)):
            try:
                work()
            except (EncodeError, DecodeError) as error:
                outcomes.add(type(error))
            except RecursionError:
                outcomes.add(RecursionError)

    dive()
    assert same(codec.decode(codec.encode(value)), value)


def test_threads_share_a_codec() -> None:
    """Many threads encode and decode at once without seeing each other's bytes."""
    codec = Codec()
    failures: list[object] = []
    interval = sys.getswitchinterval()
    barrier = threading.Barrier(4)

    def work(number: int) -> None:
        value = [{"n": number, "t": (number, [Point(number)]), "b": bytearray([number])} for _ in range(5)]
        barrier.wait()
        for _ in range(100):
            again = codec.decode(codec.encode(value))
            if not same(value, again):
                failures.append(again)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert failures == []


def test_nothing_optional_is_imported() -> None:
    """Importing the codec, and using it on the standard library's types, imports no array or model library."""
    import subprocess

    script = (
        "import sys; from memocache.codecs import Codec; c = Codec(); c.decode(c.encode([(1,), {2}, 1j])); "
        "print([m for m in ('numpy', 'pandas', 'polars', 'attrs', 'attr', 'pydantic', 'msgspec', 'pickle') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
