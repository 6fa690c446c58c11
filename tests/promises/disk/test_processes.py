"""Several processes on one store: a writer that stands still, one that is killed, forks; one store a directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memocache import Cache
from memocache._runtime.budget import Budget
from memocache.backends._disk.open_store import _stores
from memocache.backends.base import Busy
from memocache.backends.disk import DiskBackend
from memocache.typing import Put

HOLDER = """
import sys, time
from memocache.backends.disk import DiskBackend
backend = DiskBackend(sys.argv[1])
backend.delete(["x"])
with backend._store.turn(5), backend._store.opened.env.begin(write=True) as txn:
    txn.put(b"half", b"written", db=backend._store.opened.values)
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def backend(directory: str) -> Any:
    backend = DiskBackend(directory)
    yield backend
    backend.close()


def test_a_writer_that_stands_still_costs_one_wait(
    directory: str, backend: DiskBackend, spawn: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process holds the writers' lock and is stopped, hits go on, misses are computed, and of many calls
    only the first of a second waits for the lock; once it is gone, writes go on.
    """
    monkeypatch.undo()  # the very budget is the point here
    assert Budget().left < 1
    with Cache(backend) as cache:

        @cache.cached(name="f")
        def f(x: int) -> list[int]:
            return [x]

        assert f(1) == [1]
        other = spawn(HOLDER, directory)
        os.kill(other.pid, signal.SIGSTOP)
        waited = []
        for x in range(2, 12):
            begun = time.monotonic()
            assert f(x) == [x]
            waited.append(time.monotonic() - begun)
            assert f(1) == [1]
        assert f.cache_info().hits == 10
        assert f.stats().backend_errors >= 10
        # the others fail at once, unless the machine is so slow that a second has passed meanwhile
        assert sum(one > 0.2 for one in waited) <= 2 + sum(waited)
        os.kill(other.pid, signal.SIGCONT)
        other.kill()
        other.wait()
        f.invalidate(1)
        assert f(1) == [1]
        assert f(1) == [1]
        assert f.cache_info().hits == 11


def test_a_killed_writer_leaves_nothing_behind(directory: str, backend: DiskBackend, spawn: Callable[..., Any]) -> None:
    """A process killed in the midst of a transaction holds no lock afterwards, and nothing it wrote is there."""
    backend.transact([], [Put("a", b"1")])
    other = spawn(HOLDER, directory)
    with pytest.raises(Busy):
        backend.delete(["a"], timeout=0.05)
    other.kill()
    other.wait()
    assert backend.delete(["a"]) == 1
    assert backend.read(["half"]) == [None]


def test_another_process_sees_what_was_written(directory: str, backend: DiskBackend, spawn: Callable[..., Any]) -> None:
    """What one process wrote another reads, deletes and counts, without either being reopened."""
    backend.transact([], [Put("a", b"1"), Put("b", b"x" * 3_000_000)])
    other = spawn(
        """
import sys
from memocache.backends.disk import DiskBackend
from memocache.typing import Put
backend = DiskBackend(sys.argv[1])
assert backend.read(["a", "b"]) == [b"1", b"x" * 3_000_000]
print("ready", flush=True)
sys.stdin.readline()
assert backend.read(["a", "c"]) == [None, b"3"]
backend.transact([], [Put("d", b"4")], ["b"])
print("done", flush=True)
""",
        directory,
    )
    backend.transact([], [Put("c", b"3")], ["a"])
    out, _ = other.communicate("go\n")
    assert out == "done\n"
    assert backend.read(["b", "d"]) == [None, b"4"]


FORKS = """
import os, sys, threading
from memocache import Cache
directory = sys.argv[1]
cache = Cache(f"disk://{directory}")

@cache.cached(ttl=60, name="f")
def f(x):
    return [x] * 10

stop = threading.Event()
def use(n):
    x = n
    while not stop.is_set():
        x += 4
        assert f(x % 97) == [x % 97] * 10
        if x % 5 == 0:
            f.invalidate(x % 97)
threads = [threading.Thread(target=use, args=(n,)) for n in range(4)]
for thread in threads:
    thread.start()
children = []
for n in range(8):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for x in range(60):
                assert f(x % 97) == [x % 97] * 10
            f.invalidate(3)
            cache.set("child", n)
            assert cache.get("child") is not None
            code = 0
        finally:
            os._exit(code)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
stop.set()
for thread in threads:
    thread.join()
f.invalidate_all()
before = f.cache_info().misses
f(1)
print(set(codes), f.cache_info().misses - before, cache.get("child") is not None, f.stats().backend_errors)
cache.close()
"""


def test_forks_under_way(directory: str) -> None:
    """Children forked while threads read, write and invalidate use the store as their own, and so does the parent."""
    script = "from tests.patience import be_patient\nbe_patient()\n" + FORKS
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script, directory],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[3],
    )
    assert (done.stdout, done.stderr) == ("{0} 1 True 0\n", "")


def test_one_store_for_a_directory(directory: str, tmp_path: Path) -> None:
    """Two caches and a symbolic link share one store of the process, which is closed with the last of them."""
    link = tmp_path / "link"
    link.symlink_to(directory)
    one, two = Cache(f"disk://{directory}"), Cache(f"disk://{link}/")
    one.set("a", 1)
    assert two.get("a") == 1
    assert directory in _stores
    assert str(link) not in _stores
    one.close()
    assert two.get("a") == 1
    assert directory in _stores
    two.close()
    assert directory not in _stores
    assert one.get("a") == 1
    one.close()


def test_threads_open_a_store_together(directory: str) -> None:
    """Eight threads that use a cache for the first time at once all get through."""
    with Cache(f"disk://{directory}/new/and/deep") as cache:
        barrier = threading.Barrier(8)
        wrong: list[Any] = []

        def use(n: int) -> None:
            barrier.wait()
            try:
                cache.set(str(n), n)
                wrong.extend([n] if cache.get(str(n)) != n else [])
            except Exception as error:
                wrong.append(error)

        threads = [threading.Thread(target=use, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


def test_nothing_is_touched_before_first_use(directory: str) -> None:
    """Making and decorating makes no directory; the first call does, for this user only."""
    with Cache(f"disk://{directory}/new") as cache:
        f = cache.cached(lambda x: x)
        assert not os.path.exists(f"{directory}/new")
        f(1)
        assert os.stat(f"{directory}/new").st_mode & 0o777 == 0o700
