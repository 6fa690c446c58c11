"""Golden payloads: every released code means what it meant, and is written as it was.

A file is never changed. To add files for new codes: ``python tests/codecs/test_codec_golden.py`` writes those
missing.
"""

from __future__ import annotations

import builtins
import importlib.util
import math
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import ModuleType
from typing import Any
from uuid import UUID, SafeUUID
from zoneinfo import ZoneInfo

import pytest

from memocache.codecs import Codec
from memocache.codecs.known.table import KNOWN
from memocache.codecs.standard_types import DUMPS
from tests.codecs.known_values import VALUES as KNOWN_VALUES
from tests.codecs.test_known_types import STORED

GOLDEN = Path(__file__).parents[1] / "golden" / "payload-1"


def classes() -> ModuleType:
    if "golden_classes" not in sys.modules:
        spec = importlib.util.spec_from_file_location("golden_classes", GOLDEN / "golden_classes.py")
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules["golden_classes"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules["golden_classes"]


def library(name: str, make: Callable[[Any], object]) -> Callable[[], object]:
    return lambda: make(classes() if name == "classes" else pytest.importorskip(name))


def registered(codec: Codec) -> None:
    cls = classes().Registered
    codec.register(cls, lambda value: [value.x], lambda parts: cls(*parts))


def texts(pd: Any, letters: str) -> Any:
    """An index of texts as pandas has them where pyarrow is not installed."""
    return pd.Index([*letters], dtype=pd.StringDtype("python", na_value=math.nan))


def error() -> list[Exception]:
    made: list[Exception] = [KeyError(1), ImportError("text", name="module"), OSError(2, "no", "file")]
    made.append(ExceptionGroup("several", [ValueError("x", (1,)), ExceptionGroup("more", [TypeError()])]))
    made[0].add_note("a note")
    return made


def newer(name: str, make: Callable[[Any], object]) -> Callable[[], object]:
    """A value of a type that is there from some version of Python on."""

    def made() -> object:
        if name == "Template" and sys.version_info >= (3, 14):
            return make(importlib.import_module("string.templatelib"))
        if not hasattr(builtins, name):
            pytest.skip(f"this Python has no {name}")
        return make(getattr(builtins, name))

    return made


def absent(_: object) -> object:
    namespace = vars(classes())
    if "ABSENT" not in namespace:
        exec("ABSENT = sentinel('ABSENT')", namespace)  # its module is where it was made
    return namespace["ABSENT"]


PLAIN: Any = [None, True, -1, 2**64 - 1, -(2**63), 1.5, "é\ud800", b"\xff", {"a": [1], 2: None}]
VALUES: dict[str, Callable[[], object]] = {
    "00-plain": lambda: PLAIN,
    "01-tuple": lambda: (1, ("a", [])),
    "02-set": lambda: {1},
    "03-frozenset": lambda: frozenset([(1,)]),
    "04-bytearray": lambda: [bytearray(b"x")],
    "05-int": lambda: [2**64, -(2**63) - 1, 10**30, -(10**30)],
    "06-complex": lambda: complex(-0.0, 2.5),
    "07-ordereddict": lambda: OrderedDict(b=1, a=2),
    "08-counter": lambda: Counter("aab"),
    "09-defaultdict": lambda: [defaultdict(list, {1: [2]}), defaultdict(None, {})],
    "10-deque": lambda: [deque([1, 2], 5), deque()],
    "11-decimal": lambda: [Decimal("-1.50"), Decimal("1E+5"), Decimal("Infinity"), Decimal("-0")],
    "12-fraction": lambda: Fraction(-2, 3),
    "13-path": lambda: [PurePosixPath("/a/b"), PureWindowsPath("c:/x")],
    "14-uuid": lambda: [UUID(int=5), UUID(int=6, is_safe=SafeUUID.safe), UUID(int=7, is_safe=SafeUUID.unsafe)],
    "15-range": lambda: range(1, 10, 2),
    "16-slice": lambda: slice(1, None, -1),
    "17-datetime": lambda: [
        datetime(2024, 10, 27, 2, 30, 1, 5, tzinfo=ZoneInfo("Europe/Paris"), fold=1),
        datetime(1, 1, 1),
        datetime(2024, 1, 1, tzinfo=UTC),
    ],
    "18-date": lambda: date(2024, 2, 29),
    "19-time": lambda: [time(23, 59, 58, 7, fold=1), time(1, tzinfo=UTC)],
    "20-timedelta": lambda: timedelta(days=-3, microseconds=5),
    "21-timezone": lambda: [UTC, timezone(timedelta(hours=5, minutes=45), "NPT")],
    "22-zoneinfo": lambda: ZoneInfo("Europe/Paris"),
    "23-frozendict": newer("frozendict", lambda frozendict: frozendict(b=(1,), a=frozendict())),
    "24-sentinel": newer("sentinel", absent),
    "25-template": newer("Template", lambda t: [t.Template("a ", t.Interpolation((1,), "x", "r", ">3"), " b")]),
    "32-enum": library("classes", lambda c: [c.Colour.RED, c.Right.READ | c.Right.WRITE]),
    "33-namedtuple": library("classes", lambda c: c.Pair(1, (2,))),
    "34-dataclass": library("classes", lambda c: c.Point(1, [2])),
    "35-attrs": library("classes", lambda c: c.Attrs("x")),
    "36-msgspec": library("classes", lambda c: c.Struct({1})),
    "37-pydantic": library("classes", lambda c: c.Model(x=1, z=(3,))),
    "38-registered": library("classes", lambda c: c.Registered((1,))),
    "39-exception": error,
    "48-array": library("numpy", lambda np: [np.array([[1.5, 2]], "<f8"), np.array([1, (2,)], object)]),
    "48-structured": library("numpy", lambda np: np.array([(1, 2.0)], [("a", "<i4"), ("b", ">f8")])),
    "49-scalar": library("numpy", lambda np: [np.int8(-3), np.datetime64("2020-01-01", "ns"), np.str_("é")]),
    "56-dataframe": library(
        "pandas",
        lambda pd: pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5]}, index=[(1, 2), (3, 4)]).set_axis(
            texts(pd, "ab"), axis="columns"
        ),
    ),
    "57-series": library(
        "pandas", lambda pd: pd.Series(pd.Categorical(["x", "y"], texts(pd, "xyz")), name="n").astype("category")
    ),
    "58-index": library("pandas", lambda pd: pd.date_range("2020", periods=2, tz="UTC", unit="ns", name="t")),
    "59-timestamp": library("pandas", lambda pd: pd.Timestamp(1, unit="s", tz="Europe/Paris").as_unit("ns")),
    "60-timedelta": library("pandas", lambda pd: pd.Timedelta(5, "s").as_unit("ns")),
    "61-missing": library("pandas", lambda pd: [pd.NaT, pd.NA]),
    "72-frame": library(
        "polars",
        lambda pl: pl.DataFrame({"a": [1, None], "s": ["x", None], "l": [[1.5], []], "d": [date(2020, 1, 1), None]}),
    ),
    "73-series": library("polars", lambda pl: pl.Series("t", [timedelta(1), None], dtype=pl.Duration("us"))),
}


def codec() -> Codec:
    made = Codec(trust=["golden_classes"])
    registered(made)
    return made


@pytest.mark.parametrize("name", VALUES)
def test_golden_payload(name: str) -> None:
    """The file decodes to the value, and the value encodes to the bytes of the file."""
    pytest.importorskip("attrs")
    value = VALUES[name]()
    payload = (GOLDEN / f"{name}.bin").read_bytes()
    reader, writer = codec(), codec()
    decoded = reader.decode(payload)
    assert type(decoded) is type(value)
    # What frames and arrays are equal by is their payload, which follows.
    assert hasattr(decoded, "__array__") or isinstance(decoded, list) or decoded == value
    assert repr(decoded) == repr(value)
    assert writer.encode(value) == payload
    assert writer.encode(decoded) == payload


def test_every_code_has_a_file() -> None:
    """No code of the table is without its golden file, and no file is forgotten by the tests."""
    files = {path.stem for path in GOLDEN.glob("*.bin")}
    known = {
        f"{KNOWN}-{number:03}" for number in KNOWN_VALUES if number in STORED
    }  # see `tests.codecs.test_known_types`
    assert files == set(VALUES) | known
    assert {int(name[:2]) for name in files} == {0, 23, 24, 25, *Codec()._loads}
    assert {kind.code for kind in DUMPS.values()} == set(range(1, 23))


if __name__ == "__main__":
    for name, make in VALUES.items():
        path = GOLDEN / f"{name}.bin"
        if not path.exists():
            try:
                path.write_bytes(codec().encode(make()))
            except BaseException as skipped:  # pytest's, where a library is missing
                print("skipped", path.name, skipped)
            else:
                print("wrote", path.name)
