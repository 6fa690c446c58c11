"""Room: the bound in bytes, what is evicted first, what expires, and a disk that is full."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest

from memocache import Cache
from memocache.backends._disk.blob_files import STRAY_SECONDS, UNFINISHED_SECONDS
from memocache.backends.disk import LARGE, DiskBackend
from memocache.testing import FakeClock
from memocache.typing import Put, Tally


def on_disk(directory: str) -> int:
    """The bytes that a directory takes on the disk."""
    return sum(path.stat().st_blocks * 512 for path in Path(directory).rglob("*") if path.is_file())


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def make(directory: str, clock: FakeClock) -> Iterator[Any]:
    """A function that makes a backend of so many bytes on the fake clock."""
    made: list[DiskBackend] = []

    def backend(max_bytes: int = 4_000_000) -> DiskBackend:
        made.append(DiskBackend(directory, max_bytes, clock.time))
        return made[-1]

    yield backend
    for one in made:
        one.close()


@pytest.mark.parametrize("size", [40, 700, 5000, 100_000, 1_100_000])
def test_a_store_stays_within_its_bound(directory: str, make: Any, clock: FakeClock, size: int) -> None:
    """However much is written, in values of whatever size, files and map take no more than `max_bytes` on the disk, and
    most of that is used.
    """
    backend = make(4_000_000)
    entries = 6_000_000 // (size + 400)
    keys = [f"p:e:f:{md5(b'%d' % n).hexdigest()}" for n in range(entries)]
    step = max(1, 400 // size)
    most = 0
    for start in range(0, entries, step):
        backend.transact([], [Put(key, os.urandom(size), 3_600_000) for key in keys[start : start + step]])
        clock.advance(0.001)
        most = max(most, on_disk(directory) if start % (step * 8) == 0 else 0)
    assert most <= 1.2 * 4_000_000 + 150_000  # LMDB's lock file, and the pages of one transaction
    facts = backend.facts()
    assert 0.7 * 4_000_000 < facts.memory_bytes <= 4_000_000
    assert facts.evicted > entries // 4
    assert backend.read(keys[-1:]) != [None]


def test_what_is_used_stays(make: Any, clock: FakeClock) -> None:
    """Of entries of one age, those whose accesses were reported outlive the others; hits alone write nothing."""
    backend = make(1_000_000)
    keys = [f"p:e:f:{n:032d}" for n in range(800)]
    for key in keys:
        backend.transact([], [Put(key, bytes(300), 86_400_000)])
    clock.advance(120)
    used = [key for key in keys[::8] if backend.read([key])[0] is not None]
    written = backend._store.opened.info()["last_txnid"]
    backend.read(used)
    assert backend._store.opened.info()["last_txnid"] == written
    backend.tally([Tally(key.replace("p:e:", "p:a:e"), {"n": 3}, {"last": 1}, 86_400_000) for key in used])
    clock.advance(1)
    fresh = 0
    while backend.facts().evicted < 500:
        backend.transact([], [Put(f"p:e:g:{fresh:032d}", bytes(300), 86_400_000)])
        fresh += 1
    assert None not in backend.read(used)
    assert sum(value is None for value in backend.read(keys)) >= 400


def test_markers_are_not_evicted(make: Any) -> None:
    """What is small and needed (markers, registries, counters) stays when entries are evicted."""
    backend = make(1_000_000)
    backend.transact([], [Put("p:g:p", b"12345678"), Put("p:g:f:f", b"12345678")], members=[("p:r:names", "f")])
    for n in range(3000):
        backend.transact([], [Put(f"p:e:f:{n:032d}", bytes(600), None)])
    assert backend.facts().evicted > 1000
    assert backend.read(["p:g:p", "p:g:f:f"]) == [b"12345678"] * 2
    assert backend.members("p:r:names") == {"f"}


def test_what_is_needed_leaves_room_for_entries(directory: str, make: Any, clock: FakeClock) -> None:
    """With a tag that is new for every call, and with counters and witnesses as many, the store keeps to its bound, and
    the entries of late are there with all that they need.
    """
    backend = make(1_000_000)
    most = 0
    for n in range(6000):
        needed = [Put(f"p:g:t:{n:032d}", b"12345678"), Put(f"p:w:ef:{n:032d}", b"12345678", 3_600_000)]
        backend.transact([], [*needed, Put(f"p:e:f:{n:032d}", bytes(300), 86_400_000)])
        backend.tally([Tally(f"p:a:ef:{n:032d}", {"n": 1}, {"last": 1}, 86_400_000)])
        clock.advance(1.0)
        most = max(most, on_disk(directory) if n % 500 == 0 else 0)
    assert most <= 1.1 * 1_000_000 + 150_000  # LMDB's lock file
    late = [f"p:{kind}:{n:032d}" for n in range(5800, 6000) for kind in ("e:f", "g:t", "w:ef", "a:ef")]
    assert None not in backend.read(late)
    assert backend.facts().memory_bytes <= 1_000_000


def test_needed_things_alone_are_bounded(make: Any, clock: FakeClock) -> None:
    """Markers without any entry go when they fill the store, the oldest first."""
    backend = make(1_000_000)
    for n in range(6000):
        backend.transact([], [Put(f"p:g:t:{n:032d}", b"12345678")])
        clock.advance(0.01)
    assert backend.facts().memory_bytes <= 1_000_000
    assert backend.read(["p:g:t:" + f"{n:032d}" for n in (0, 5999)]) == [None, b"12345678"]


def test_two_bounds_on_one_store_are_said(directory: str) -> None:
    """A program whose bound is another than the last one's is told of it once, with both and the way out."""
    with Cache(f"disk://{directory}?max_bytes=4MB") as cache:
        cache.set("k", 1)
        with Cache(f"disk://{directory}?max_bytes=4MB") as same:
            same.set("k", 2)
        with Cache(f"disk://{directory}?max_bytes=6MB") as other:
            with pytest.warns(UserWarning, match="max_bytes=4000000.*max_bytes=6000000.*the same"):
                other.set("k", 3)
            other.set("k", 4)  # a second warning would fail the test
            assert cache.get("k") == 4


def test_what_expired_unread_goes(make: Any, clock: FakeClock) -> None:
    """Expired entries are removed as others are written, so that their room follows what is alive."""
    backend = make()
    for n in range(2000):
        clock.advance(0.01)
        backend.transact([], [Put(f"p:e:f:{n}", bytes(100), 200)])
    backend.transact([], [Put("p:e:f:last", b"", 200)])
    assert backend.facts().expired >= 1950
    assert backend.facts().memory_bytes < 50_000


def test_room_is_counted_exactly(make: Any, clock: FakeClock) -> None:
    """After every put, replacement, deletion and expiry nothing is left of what entries took."""
    backend = make()
    for n in range(50):
        backend.transact([], [Put(f"k{n}", bytes(n * 100), 1000 * n or None), Put(f"k{n // 2}", b"again" * n)])
    backend.transact([], [Put("large", bytes(LARGE + 1)), Put("l" * 600, b"long")])
    backend.transact([], [Put("large", bytes(LARGE), 1)])
    clock.advance(100)
    backend.transact([], [Put("x", b"")])
    backend._write(lambda table: table.collect(1000), None)
    backend.delete([f"k{n}" for n in range(50)] + ["x", "l" * 600])
    facts = backend.facts()
    assert facts.memory_bytes == 0
    assert os.listdir(Path(backend._path, "files")) == []


def test_the_background_removes_what_writes_left(make: Any, clock: FakeClock) -> None:
    """Housekeeping collects what expired and removes stray files: of killed writers, and of removed entries."""
    backend = make()
    backend.transact([], [Put(f"k{n}", bytes(10), 1000) for n in range(1500)] + [Put("large", bytes(LARGE))])
    files = Path(backend._path, "files")
    (kept,) = os.listdir(files)
    for name, age in (("a" * 32, STRAY_SECONDS), ("b" * 32 + ".tmp", UNFINISHED_SECONDS), ("c" * 32, 0)):
        (files / name).write_bytes(b"x")
        then = (files / name).stat().st_mtime - age - 1
        os.utime(files / name, (then, then))
    os.utime(files / kept, (0, 0))
    clock.advance(2)
    backend._janitor.step(-1)
    assert sorted(os.listdir(files)) == sorted([kept, "c" * 32])
    assert backend.facts().expired == 1500


def test_a_value_too_large_for_the_store_is_rejected(directory: str) -> None:
    """A result of more than half the bound is returned, counted as rejected, and puts nothing out."""
    with Cache(f"disk://{directory}?max_bytes=4MB") as cache:
        f = cache.cached(lambda x: bytes(x), name="f")
        assert f(10) == bytes(10)
        assert f(3_000_000) == bytes(3_000_000)
        assert f(3_000_000) == bytes(3_000_000)
        assert f(10) == bytes(10)
        assert f.cache_info()[:2] == (1, 3)
        assert (f.stats().rejected, f.stats().backend_errors) == (2, 0)
        assert not os.path.exists(f"{directory}/files")


@pytest.fixture
def full(directory: str) -> Iterator[str]:
    """A file system of a few megabytes; skips where this user may not mount one."""
    place = f"{directory}/full"
    os.mkdir(place)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("this user may not mount a file system")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_rejects_and_serves(full: str) -> None:
    """On a full file system calls compute and are counted as rejected, hits go on, nothing raises; with room again,
    results are stored again.
    """
    with Cache(f"disk://{full}/store") as cache:
        f = cache.cached(lambda x: bytes([x % 256]) * 20_000, name="f")
        big = cache.cached(lambda x: bytes([x]) * LARGE, name="big")
        assert f(0) == bytes(20_000)
        filler = Path(full, "filler")
        left = os.statvfs(full)
        filler.write_bytes(bytes(left.f_bavail * left.f_frsize))
        for x in range(1, 30):
            assert f(x) == bytes([x]) * 20_000
            assert big(x) == bytes([x]) * LARGE
            assert f(0) == bytes(20_000)
        assert f.cache_info().hits >= 29
        assert f.stats().rejected > 0
        assert f.stats().backend_errors == 0
        assert big.stats().rejected == 29
        filler.unlink()
        f(200)
        assert f(200) == bytes([200]) * 20_000
        hits = f.cache_info().hits
        assert f(200) == bytes([200]) * 20_000
        assert f.cache_info().hits == hits + 1


@pytest.mark.parametrize("size", [300, 5000])
def test_a_full_disk_lets_go(full: str, size: int) -> None:
    """On a file system that the store itself has filled, every invalidation works: what was forgotten is computed
    again, and hits on the rest go on.
    """
    with Cache(f"disk://{full}/store") as cache:
        computed: list[int] = []

        @cache.cached(name="f", tags=["t:{x}"])
        def f(x: int) -> bytes:
            computed.append(x)
            return bytes([x % 256]) * size

        x = 0
        while f.stats().rejected < 20:
            f(x)
            x += 1
        for x in range(0, 40, 4):
            f.invalidate(x)
            cache.invalidate(tag=f"t:{x + 1}")
            cache.delete(f.key_for(x + 2))
        computed.clear()
        for x in range(40):
            assert f(x) == bytes([x]) * size
        assert {x for x in range(40) if x % 4 != 3} <= set(computed)
        assert not set(range(3, 40, 4)) & set(computed)
        f.invalidate_all()
        cache.clear()
        computed.clear()
        f(3)
        assert computed == [3]
        assert f.stats().backend_errors == 0


LIMITED = """
import resource, sys
from tests.patience import be_patient
from memocache import Cache
be_patient()
cache = Cache(f"disk://{sys.argv[1]}")
f = cache.cached(lambda x: bytes([x % 256]) * 20_000, name="f")
assert f(0) == bytes(20_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
for x in range(1, 60):
    assert f(x) == bytes([x]) * 20_000
    assert f(0) == bytes(20_000)
assert f.stats().rejected > 0 and f.stats().backend_errors == 0, f.stats()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
f(100)
hits = f.cache_info().hits
f(100)
assert f.cache_info().hits == hits + 1
print("ok")
"""


def test_a_file_that_may_not_grow(directory: str) -> None:
    """Where the map's file reaches a limit of the process, calls are rejected and hits go on, as on a full disk."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, directory],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[3],
    )
    assert (done.stdout, done.stderr) == ("ok\n", "")
