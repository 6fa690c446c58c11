"""Markers that a process remembers from one write of the store to the next."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from memocache import Cache
from memocache.backends.disk import _STANDING, DiskBackend
from memocache.typing import Put

CHANGE = """
import sys
from memocache.backends.disk import DiskBackend
from memocache.typing import Put
backend = DiskBackend(sys.argv[1])
if sys.argv[2]:
    backend.transact((), [Put("a:g:p", sys.argv[2].encode(), None)])
else:
    backend.delete(["a:g:p"])
backend.close()
"""


@pytest.fixture
def backend(directory: str) -> Any:
    backend = DiskBackend(directory)
    yield backend
    backend.close()


def test_what_another_process_writes_is_read_at_once(directory: str, backend: DiskBackend) -> None:
    """A marker that was read before is read anew after another process's write: changed, gone, made again."""
    backend.transact((), [Put("a:g:p", b"before", None)])
    assert backend.read(["a:g:p"]) == backend.read(["a:g:p"]) == [b"before"]
    for value in ("after", "", "again"):
        subprocess.run([sys.executable, "-c", CHANGE, directory, value], check=True)
        assert backend.read(["a:g:p"]) == backend.read(["a:g:p"]) == [value.encode() or None]


def test_a_value_that_may_expire_is_not_remembered(directory: str) -> None:
    """Short values with an end of life are read each time, and gone when that comes, though nobody writes."""
    now = [1_000_000_000.0]
    backend = DiskBackend(directory, now=lambda: now[0])
    backend.transact((), [Put("a:w:x", b"token", 500)])
    assert backend.read(["a:w:x"]) == backend.read(["a:w:x"]) == [b"token"]
    now[0] += 0.6
    assert backend.read(["a:w:x"]) == [None]
    backend.close()


def test_few_are_remembered(backend: DiskBackend) -> None:
    """However many markers are asked for between two writes, those remembered take bounded memory; all are found."""
    keys = [f"a:g:t:{number}" for number in range(_STANDING + 10)]
    backend.transact((), [Put(key, b"m", None) for key in keys])
    backend.read(keys[:1])  # looks at the directory: the next reads are quick ones
    assert backend.read(keys) == backend.read(keys) == [b"m"] * len(keys)
    store = backend._store
    assert store is not None
    assert store.opened is not None
    assert len(store.opened.standing[1]) == _STANDING


def test_an_invalidated_function_is_computed_again(directory: str) -> None:
    """After hits by remembered markers, another cache's invalidation of the function is seen by the next call."""
    calls = []
    with Cache(f"disk://{directory}") as cache, Cache(f"disk://{directory}") as other:

        def f(x: int) -> int:
            calls.append(x)
            return x

        mine, theirs = cache.cached(name="f")(f), other.cached(name="f")(f)
        assert [mine(1), mine(1), mine(1)] == [1, 1, 1]
        assert calls == [1]
        theirs.invalidate_all()
        assert mine(1) == 1
        assert calls == [1, 1]
