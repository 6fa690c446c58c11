"""Large values: files beside the map, checked when read, mapped for arrays, and gone with their entries."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from memocache import Cache
from memocache.backends.disk import LARGE, DiskBackend
from memocache.testing import FakeClock
from memocache.typing import Guard, Pieces, Put

np = pytest.importorskip("numpy")


def files(directory: str) -> list[Path]:
    """The files of large values."""
    return sorted(Path(directory, "files").iterdir()) if Path(directory, "files").exists() else []


@pytest.mark.parametrize("size", [LARGE - 1, LARGE, LARGE + 1, 5 * LARGE + 3])
def test_bytes_come_back_as_bytes(directory: str, size: int) -> None:
    """From `LARGE` bytes on a value is a file of its own, and still comes back as the bytes that were put."""
    backend = DiskBackend(directory)
    value = os.urandom(size)
    backend.transact([], [Put("a", value)])
    assert len(files(directory)) == (size >= LARGE)
    (found,) = backend.read(["a"])
    assert type(found) is bytes
    assert found == value
    assert backend.transact([Guard("a", value[:-1]), Guard("a", value[:3])]) is None
    assert backend.transact([Guard("a", value[:-1] + bytes([value[-1] ^ 1]))]) == [value]
    assert backend.transact([Guard("a")], [Put("a", b"")]) == [value]
    backend.close()


def test_pieces_come_back_as_a_map_of_ones_own(directory: str) -> None:
    """What was put in pieces comes back whole, writable, with its largest piece on a page, and is nobody else's."""
    backend = DiskBackend(directory)
    pieces = [b"head", memoryview(os.urandom(LARGE)), b"end"]
    backend.transact([], [Put("a", Pieces(pieces))])
    (one,), (two,) = backend.read(["a"]), backend.read(["a"])
    assert bytes(one) == b"".join(pieces)
    assert np.frombuffer(one, np.uint8, LARGE, 4).ctypes.data % 4096 == 0
    one[:4] = b"mine"
    assert bytes(two[:4]) == b"head"
    assert bytes(backend.read(["a"])[0][:4]) == b"head"
    backend.close()


def test_a_file_goes_with_its_entry(directory: str) -> None:
    """Replaced, deleted, expired and evicted values take their files with them; a refused transaction leaves none."""
    clock = FakeClock()
    backend = DiskBackend(directory, 10 * LARGE, clock.time)
    large = bytes(LARGE)
    backend.transact([], [Put(name, large) for name in "abc"] + [Put("d", large, 1000)])
    assert len(files(directory)) == 4
    backend.transact([], [Put("a", b"small")], ["b"])
    assert len(files(directory)) == 2
    backend.delete(["c"])
    clock.advance(2)
    backend.transact([], [Put("x", b"")])
    assert files(directory) == []
    assert backend.transact([Guard("a")], [Put("b", large)]) == [b"small"]
    assert files(directory) == []
    for n in range(20):
        backend.transact([], [Put(f"n{n}", large)])
        clock.advance(1)
    assert 5 <= len(files(directory)) <= 9
    assert backend.read(["n19"]) == [large]
    backend.close()


def test_purge_removes_what_was_invalidated(directory: str) -> None:
    """The files of invalidated entries go when the cache is purged."""
    with Cache(f"disk://{directory}") as cache:
        f = cache.cached(lambda x: bytes(LARGE), name="f")
        for x in range(3):
            f(x)
        f.invalidate_all()
        assert len(files(directory)) == 3
        assert cache.purge() == 3
        assert files(directory) == []


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-LARGE // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "spoil",
    [_flip, Path.unlink, lambda path: os.truncate(path, LARGE), lambda path: path.write_bytes(b"")],
    ids=["flip", "unlink", "cut", "empty"],
)
def test_a_damaged_file_is_a_miss(directory: str, spoil: Any) -> None:
    """A file that was changed, cut or removed is never served: the call is computed and stored again."""
    calls: list[int] = []
    with Cache(f"disk://{directory}") as cache:

        @cache.cached(name="f")
        def f(x: int) -> Any:
            calls.append(x)
            return np.arange(LARGE // 4) + x

        assert f(1)[0] == 1
        assert f(1)[-1] == LARGE // 4
        (path,) = files(directory)
        spoil(path)
        assert (f(1) == np.arange(LARGE // 4) + 1).all()
        assert calls == [1, 1]
        assert (f(1) == np.arange(LARGE // 4) + 1).all()
        assert calls == [1, 1]


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_mapped(directory: str, colour: str, order: Any) -> None:
    """A large array comes back equal, aligned, writable as it was, without its bytes being copied into the process, and
    a caller's changes are its own.
    """
    with Cache(f"disk://{directory}") as cache:
        made = np.asarray(np.arange(LARGE).reshape(1024, -1), order=order)

        if colour == "async":

            @cache.cached(name="f")
            async def co() -> Any:
                return made

            def call() -> Any:
                return asyncio.run(co())

        else:
            call = cache.cached(name="f")(lambda: made)
        call()
        first, second = call(), call()
        for found in (first, second):
            assert found.dtype == made.dtype
            assert found.flags.aligned
            assert found.flags.writeable
            assert found.flags.f_contiguous == made.flags.f_contiguous
            assert (found == made).all()
        maps = Path("/proc/self/maps")
        if maps.exists():
            assert str(files(directory)[0]) in maps.read_text()
        first[0, 0] = -1
        assert second[0, 0] == 0
        assert call()[0, 0] == 0


def test_what_is_sealed_or_compressed_is_stored_too(directory: str) -> None:
    """With a secret or compression large values are one piece, and come back."""
    pytest.importorskip("lz4")
    for options in ({"secret": "s"}, {"compress": "lz4"}):
        with Cache(f"disk://{directory}", prefix=str(list(options)), **options) as cache:
            f = cache.cached(lambda: np.arange(LARGE), name="f")
            f()
            assert (f() == np.arange(LARGE)).all()
            assert f.cache_info()[:2] == (1, 1)
            (key,) = cache.keys()
            info = cache.inspect(key)
            assert info is not None


def test_looking_in_at_large_values(directory: str) -> None:
    """Inspecting, listing, counting, expiring and peeking work on entries that are files."""
    with Cache(f"disk://{directory}") as cache:
        f = cache.cached(lambda: np.arange(LARGE), name="f", tags="t")
        f()
        (key,) = cache.keys("f")
        info = cache.inspect(key)
        assert info is not None
        assert info.function == "f"
        assert info.size_bytes > LARGE
        assert cache.stats("fleet").total_keys == 1
        assert (f.peek() == np.arange(LARGE)).all()
        assert cache.expire(key, 100)
        assert 90 < (cache.ttl(key) or 0) <= 100
        f()
        assert f.cache_info()[:2] == (1, 1)
        cache.invalidate(tag="t")
        f()
        assert f.cache_info()[:2] == (1, 2)


def test_the_default_takes_large_values(directory: str) -> None:
    """On disk:// a cache stores results of up to 1 GiB without being told, elsewhere of 16 MiB."""
    with Cache(f"disk://{directory}") as cache:
        f = cache.cached(lambda: np.zeros(20 * 2**20, np.uint8), name="f")
        f()
        f()
        assert f.cache_info()[:2] == (1, 1)
        assert f.stats().rejected == 0


MEMORY = """
import resource, sys
import numpy as np
from memocache import Cache
cache = Cache(f"disk://{sys.argv[1]}")
size = 64 * 2**20
f = cache.cached(lambda: np.ones(size, np.uint8), name="f")
f(); f()
now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
limit = resource.RLIMIT_DATA
before = int(next(line for line in open("/proc/self/status") if line.startswith("RssAnon")).split()[1]) * 1024
found = f()
after = int(next(line for line in open("/proc/self/status") if line.startswith("RssAnon")).split()[1]) * 1024
assert found[-1] == 1 and f.cache_info().hits == 2
print(after - before < size // 10)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell what memory is used")
def test_a_large_value_takes_no_memory(directory: str) -> None:
    """Reading an array of 64 MiB takes next to no memory of the process: its pages are those of the file."""
    done = subprocess.run([sys.executable, "-c", MEMORY, directory], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("True\n", "")


def _frame() -> Any:
    pd = pytest.importorskip("pandas")
    numbers = np.arange(100_000)
    columns = {"a": numbers, "b": numbers / 3, "again": numbers, "c": pd.Categorical(numbers % 3), "s": ["x"] * 100_000}
    return pd.DataFrame(columns, index=pd.date_range("2020", periods=100_000, freq="s"))


def _polars() -> Any:
    pl = pytest.importorskip("polars")
    return pl.DataFrame({"a": np.arange(200_000), "n": [None, 1.5] * 100_000})


def _nested() -> Any:
    one = np.arange(100_000)
    return {"x": one, "y": [one.copy(), (np.ones((400, 300), order="F"), np.arange(3))], "z": "ü" * 10}


@pytest.mark.parametrize("make", [_frame, _polars, _nested])
def test_tables_and_nested_arrays_are_mapped(directory: str, make: Any) -> None:
    """The arrays in frames and containers come back equal and of their types, from the file; two callers, and two equal
    arrays of one value, do not share what they change.
    """
    with Cache(f"disk://{directory}") as cache:
        f = cache.cached(make, name="f")
        made, (first, second) = f(), (f(), f())
        assert f.cache_info()[:2] == (2, 1)
        assert (f.stats().rejected, f.stats().decode_errors) == (0, 0)
        assert len(files(directory)) == 1
        if make is _nested:
            assert (first["x"] == made["x"]).all()
            assert (first["y"][1][0] == made["y"][1][0]).all()
            assert first["y"][1][0].flags.f_contiguous
            assert first["z"] == made["z"]
            first["x"][0] = 7
            assert (first["y"][0][0], second["x"][0], f()["x"][0]) == (0, 0, 0)
        else:
            assert first.equals(made)
            assert list(first.dtypes) == list(made.dtypes)
        if make is _frame:
            first.loc[first.index[0], "a"] = 7
            first["again"] += 1
            assert second.equals(made)
            assert f().equals(made)
