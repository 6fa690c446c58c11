"""Arguments of many bytes: read where they lie, known by a digest of their own, and apart from all others.

``python -m tests.calls.test_canonical_large`` prints the digests that are pinned below.
"""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from memocache import Cache
from memocache._calls.keys.arrays import Elements
from memocache._calls.keys.canonical import NoIdentity, canonical, canonical_args
from memocache.backends.memory import MemoryBackend

np = pytest.importorskip("numpy")
LEAST = 1 << 18
ROWS = 5_000
"""More than make a frame a large one (`memocache.codecs.arrays.LONG`)."""


def apart(values: list[Any]) -> bool:
    """Whether no two of the values are one argument."""
    return len({canonical((value,)) for value in values}) == len(values)


def numbers() -> Any:
    return np.arange(ROWS, dtype="f8")


def changed(values: Any, at: int, to: Any) -> Any:
    """A copy with one item changed."""
    made = values.copy()
    made[at] = to
    return made


def texts() -> list[str]:
    return [f"text {number}" for number in range(ROWS)]


@pytest.mark.parametrize(
    "make", [bytes, lambda size: "x" * size, lambda size: [0] * size, np.zeros], ids=("bytes", "str", "list", "array")
)
def test_large_arguments_are_known_by_their_sha256(make: Callable[[int], Any]) -> None:
    """From 256 KiB of encoding on the digest stands for it, and below that nothing does."""
    for size in (LEAST - 100, LEAST + 100):
        value = make(size // 8 if make is np.zeros else size)
        encoded = canonical((value,))
        assert (len(encoded) >= LEAST) == (size > LEAST)
        assert canonical_args((value,)) == (encoded if size < LEAST else b"#" + sha256(encoded).digest())


def test_an_encoding_of_exactly_256_kib_is_large() -> None:
    """The bound is the length of the encoding, and that alone."""
    for length, large in ((LEAST - 7, False), (LEAST - 6, True)):  # two tags, and the header of the bytes
        encoded = canonical((bytes(length),))
        assert canonical_args((bytes(length),)) == (b"#" + sha256(encoded).digest() if large else encoded)


def test_bytes_that_look_like_a_digest_are_not_taken_for_one() -> None:
    """Whoever passes what stands for a large argument passes another argument."""
    stands = canonical_args((bytes(LEAST),))
    assert len(stands) == 33
    assert len({stands, canonical_args((stands,)), canonical_args((stands[1:],)), canonical_args(())}) == 4


def test_large_arrays_are_one_argument_however_they_lie() -> None:
    """Order, strides, and where they begin are no part of what an array is; every item is, also in the middle."""
    grid = np.arange(100_000, dtype="f8").reshape(250, 400)
    padded = np.zeros((251, 403))
    padded[1:, 3:] = grid
    frozen = grid.copy()
    frozen.flags.writeable = False
    for same in (grid, np.asfortranarray(grid), grid[:, ::-1][:, ::-1], padded[1:, 3:], frozen):
        assert canonical_args((same,)) == canonical_args((grid,))
    assert apart([grid, grid.T, grid.reshape(-1), grid.astype("f4"), grid.view("i8"), changed(grid, (100, 7), -1.0)])
    odd = np.frombuffer(b"\x01" + bytes(5) + b"\xf8\x7f", "f8")[0]  # a NaN of other bits
    assert canonical(changed(grid, (1, 1), odd)) == canonical(changed(grid, (1, 1), np.nan))


def test_a_large_array_is_not_copied() -> None:
    """What is allocated on the way to a key is a small part of the array, in a frame and a list too."""
    pandas = pytest.importorskip("pandas")
    grid = np.arange(1_000_000, dtype="i8").reshape(4, -1)
    values = {"array": grid, "list": [1, grid], "dict": {"a": grid, "b": 2}, "frame": pandas.DataFrame(grid.T)}
    for name, value in values.items():
        canonical_args((value,))
        tracemalloc.start()
        try:
            canonical_args((value,))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < grid.nbytes // 50, name


def test_a_huge_array_is_refused() -> None:
    """An array of 4 GiB is a NoIdentity that says so, before a byte of it is read."""
    huge: Any = range(1 << 32)  # all that is asked of it is its length
    with pytest.raises(NoIdentity, match="4 GiB"):
        canonical(Elements(huge))


def pandas_columns(pandas: Any) -> dict[str, list[Any]]:
    """Series by kind, all of one kind apart from each other; rows enough to be large."""
    some, whole = texts(), pandas.array(np.arange(ROWS), dtype="Int64")
    nulls = [None, *some[1:]]
    kinds = {
        "text": [
            pandas.Series(given, dtype=dtype)
            for dtype in ("str", "string")
            for given in (some, nulls, ["", *some[1:]], ["tex", "t 0" + some[1], *some[2:]])
        ],
        "masked": [
            *(pandas.Series(given) for given in (whole, changed(whole, 9, None), changed(whole, 9, 0))),
            pandas.Series(whole, dtype="Int32"),
            pandas.Series(whole, dtype="Float64"),
            pandas.Series(changed(whole, 9, None), dtype="Float64"),
            pandas.Series(whole % 2 == 0),
            pandas.Series((whole % 2 == 0).to_numpy()),
            pandas.Series(changed(whole % 2 == 0, 9, None)),
        ],
        "period": [
            pandas.Series(pandas.period_range("2020", periods=ROWS, freq=freq).shift(by))
            for freq, by in itertools.product("DM", (0, 1))
        ],
        "interval": [
            pandas.Series(pandas.interval_range(begin, begin + ROWS, closed=closed))
            for begin, closed in itertools.product((0, 1), ("left", "right"))
        ],
        "sparse": [
            pandas.Series(pandas.arrays.SparseArray(given, fill_value=fill))
            for given, fill in itertools.product((numbers(), changed(numbers(), 3, 0.0)), (0.0, 1.0))
        ],
    }
    return {kind: columns for kind, columns in kinds.items() if columns}


@pytest.mark.parametrize("kind", ["text", "masked", "period", "interval", "sparse"])
def test_columns_of_large_pandas_frames_are_apart(kind: str) -> None:
    """A cell, a null in its place, where one text ends, a dtype: each makes another argument, as series and in a frame
    and as an index; equal ones are one argument.
    """
    pandas = pytest.importorskip("pandas")
    columns = pandas_columns(pandas)[kind]
    assert apart(columns)
    assert apart([pandas.DataFrame({"a": column}) for column in columns])
    if kind != "sparse":
        assert apart([pandas.Index(column) for column in columns])
    for column, again in zip(columns, pandas_columns(pandas)[kind], strict=True):
        assert canonical(column) == canonical(again)


def test_large_arrow_backed_columns_are_known_by_content() -> None:
    """Chunks do not matter, and a null, a type and a text's end do."""
    pandas, pa = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    made = pa.array(texts())

    def column(array: Any) -> Any:
        return pandas.Series(pandas.arrays.ArrowExtensionArray(array))

    cut = pa.chunked_array([made[:7], made[7:]])
    assert canonical(column(made)) == canonical(column(cut))
    moved = pa.array(["text", " 0" + texts()[1], *texts()[2:]])
    assert apart(list(map(column, (made, made.cast("large_string"), moved, pa.array([None, *texts()[1:]])))))


def test_a_large_frame_of_one_type_is_one_argument_however_it_was_made() -> None:
    """Blocks of pandas are no part of what a frame is; labels, order and every cell are."""
    pandas = pytest.importorskip("pandas")
    names = [f"c{number}" for number in range(40)]
    grid = np.arange(40_000, dtype="f8").reshape(1_000, 40)
    frame = pandas.DataFrame(grid, columns=names)
    assert canonical_args((frame,)).startswith(b"#")
    grown = pandas.DataFrame({"c0": frame["c0"]})
    for name in names[1:]:
        grown[name] = frame[name]
    for same in (pandas.DataFrame({name: frame[name] for name in names}), grown, frame[names[::-1]][names]):
        assert canonical(same) == canonical(frame)
    other = frame.copy()
    other.loc[500, "c20"] = -1.0
    mixed = frame.astype({"c39": "f4"})
    assert apart(
        [frame, other, mixed, frame.astype("f4"), frame[names[::-1]], frame.T, frame.set_axis(range(40), axis=1)]
    )


def polars_columns(polars: Any) -> list[Any]:
    """Series of several types, no two of them alike; rows enough to be large."""
    plain, some = polars.Series(numbers()), texts()
    made = [
        plain,
        plain.cast(polars.Float32),
        plain.cast(polars.Int64),
        plain.cast(polars.Datetime("us")),
        plain.cast(polars.Datetime("us", "UTC")),
        plain.set(plain == 9, None),
        plain.set(plain == 9, 0.0),
        plain.set(plain == 9, float("nan")),
        plain > 9,
        (plain > 9).set(plain == 9, None),
        *map(polars.Series, (some, [None, *some[1:]], ["", *some[1:]], ["tex", "t 0" + some[1], *some[2:]])),
        polars.Series([text.encode() for text in some]),
        polars.Series([b"tex", b"t 0" + some[1].encode(), *(text.encode() for text in some[2:])]),
        polars.Series(some).cast(polars.Categorical),
        polars.Series([[number, 1] for number in range(ROWS)]),
        polars.Series([[number, 1] for number in range(ROWS)], dtype=polars.Array(polars.Int64, 2)),
        polars.Series([[0], [1, 1, 1], *([number, 1] for number in range(2, ROWS))]),
        polars.Series([{"a": number} for number in range(ROWS)]),
        polars.Series([{"a": number or None} for number in range(ROWS)]),
        polars.Series([None, *({"a": number} for number in range(1, ROWS))]),
    ]
    return [series.alias("same") for series in made]


def test_large_polars_frames_are_known_by_content() -> None:
    """A cell, a null in its place, where one text or list ends, a dtype: each makes another argument; chunks do not."""
    polars = pytest.importorskip("polars")
    columns = polars_columns(polars)
    assert apart(columns)
    assert apart([polars.DataFrame({"a": column}) for column in columns])
    for column, again in zip(columns, polars_columns(polars), strict=True):
        cut = polars.concat([again[:11], again[11:]], rechunk=False)
        assert canonical(column) == canonical(again) == canonical(cut), column.dtype


def test_a_wide_polars_frame_is_a_large_one() -> None:
    """Few rows of many columns are as many cells."""
    polars = pytest.importorskip("polars")
    wide = polars.DataFrame({f"c{number}": [number, None, "x"] for number in range(2_000)}, strict=False)
    assert apart([wide, wide.with_columns(c9=polars.lit(None)), wide.rename({"c9": "d9"})])


def arrow_columns(pa: Any) -> list[Any]:
    """Arrays of several types, no two of them alike; rows enough to be large."""
    from decimal import Decimal

    some = texts()
    money = [Decimal(number) for number in range(ROWS)]
    pairs = [[number, 1] for number in range(ROWS)]
    return [
        pa.array(numbers()),
        pa.array(numbers(), mask=numbers() == 9),
        pa.array(changed(numbers(), 9, 0.0)),
        pa.array(numbers() > 9),
        pa.array(numbers() > 9, mask=numbers() == 9),
        pa.array(changed(numbers() > 9, 9, True)),
        *map(pa.array, (some, [None, *some[1:]], ["", *some[1:]], ["tex", "t 0" + some[1], *some[2:]])),
        pa.array(some, "large_string"),
        *(pa.array(given, pa.decimal128(30)) for given in (money, [None, *money[1:]], [Decimal(7), *money[1:]])),
        pa.array(money, pa.decimal128(20)),
        pa.array(money, pa.decimal256(30)),
        *(pa.array(given, pa.list_(pa.int64(), 2)) for given in (pairs, [None, *pairs[1:]], [[1, 0], *pairs[1:]])),
        *(pa.array(given, pa.list_(pa.int64())) for given in (pairs, [None, *pairs[1:]], [[0], [1, 1, 1], *pairs[2:]])),
    ]


def test_large_arrow_arrays_are_known_by_content() -> None:
    """A cell, a null in its place, where one text or list ends, a type: each makes another argument; chunks, offsets
    and what lies under a null do not.
    """
    pa = pytest.importorskip("pyarrow")
    arrays = arrow_columns(pa)
    assert apart(arrays)
    assert apart([pa.table({"a": array}) for array in arrays])
    for array, again in zip(arrays, arrow_columns(pa), strict=True):
        cut = pa.chunked_array([again[:11], again[11:]])
        slid = pa.concat_arrays([again[:3], again])[3:]
        assert canonical(array) == canonical(again) == canonical(slid), array.type
        assert canonical(pa.table({"a": array})) == canonical(pa.table({"a": cut})), array.type
    hidden = pa.Array.from_buffers(pa.float64(), ROWS, [arrays[1].buffers()[0], arrays[2].buffers()[1]])
    assert canonical(hidden) == canonical(arrays[1])


@pytest.mark.parametrize("secret", [None, "s" * 32, "t" * 32], ids=["plain", "secret", "another"])
def test_a_large_argument_finds_its_entry_by_every_way(secret: str | None) -> None:
    """A store behind a backend and the process's own name its entry alike, and a secret makes a MAC of it."""

    def doubled(data: Any) -> int:
        return 2 * len(data)

    keys = set()
    for where in (MemoryBackend(), "memory://"):
        cache = Cache(where, **({} if secret is None else {"secret": secret}))
        function = cache.cached(doubled, name="doubled")
        for value in ("x" * LEAST, bytes(LEAST), np.zeros(LEAST)):
            assert function(value) == function(value) == 2 * LEAST
            keys.add((type(value), function.key_for(value)))
        assert function.cache_info()[:2] == (3, 3)
        function.invalidate(np.zeros(LEAST))
        function(np.zeros(LEAST))
        assert function.cache_info().misses == 4
    assert len(keys) == 3
    open_keys = {Cache().cached(doubled, name="doubled").key_for(value) for value in ("x" * LEAST, bytes(LEAST))}
    assert open_keys.isdisjoint(key for _, key in keys) == (secret is not None)


def pinned() -> dict[str, Any]:
    """Arguments whose encoding depends on no version of a library, small and large."""
    made: dict[str, Any] = {}
    for size, rows in (("small", 9), ("large", 50_000)):
        counted = np.arange(rows)
        made[f"{size} array"] = counted.astype("<f8").reshape(-1, 1)
        some = [f"text {number}" for number in counted.tolist()]
        try:
            import pandas

            made[f"{size} pandas"] = pandas.DataFrame({0: counted.astype("<i8"), 1: counted.astype("<f8") / 2})
            made[f"{size} masked"] = pandas.Series(pandas.array([None, *counted.tolist()[1:]], dtype="Int64"))
            import polars

            made[f"{size} polars"] = polars.DataFrame({"a": counted.tolist(), "b": [None, *some[1:]]})
            import pyarrow as pa

            made[f"{size} arrow"] = pa.table({"a": counted.astype("<i8"), "b": pa.array([None, *some[1:]])})
        except ImportError:
            pass
    return made


GOLDEN: dict[str, str] = {
    "small array": "9acf7928a7038b56981d392cda58b52c",
    "small pandas": "7ce381ec2d647a06b831b6e83c6cb842",
    "small masked": "28ed6370cadab2b7672c5db3fb15eab8",
    "small polars": "f9a09939081fc353425ef68e1a4cb9e2",
    "small arrow": "fb110c2c2f3e12176e9eeafecbfe28cc",
    "large array": "78fe2851930080731f714c41d0aad92c",
    "large pandas": "60c48c0730172ab01f7a775b64488787",
    "large masked": "2a6cee9f873b02d7c52c76e5afa8f402",
    "large polars": "912d3026c6e15e9d6c92f1417a5b39af",
    "large arrow": "7db6f2ef0d47ddc2211f341764f01547",
}  # fmt: skip


def digest_of(value: Any) -> str:
    return sha256(canonical_args((value,))).hexdigest()[:32]


@pytest.mark.parametrize("name", pinned())
def test_what_says_which_argument_it_is(name: str) -> None:
    """Small frames are known by what they were known by before large ones had digests of their own; and another
    version, or another machine, knows large ones by the same.
    """
    assert digest_of(pinned()[name]) == GOLDEN[name]


if __name__ == "__main__":
    print("GOLDEN: dict[str, str] = {")
    for name, value in pinned().items():
        print(f'    "{name}": "{digest_of(value)}",')
    print("}  # fmt: skip")
