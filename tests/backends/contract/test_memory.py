"""The contract on the backends that live in this process."""

from __future__ import annotations

from memocache.backends.memory import MemoryBackend
from memocache.backends.null import NullBackend
from memocache.testing.contract import BackendContract
from memocache.typing import Backend, Guard, Put, Tally


class TestMemoryBackend(BackendContract):
    """The reference implementation."""

    def make_backend(self) -> Backend:
        return MemoryBackend()


def test_time_is_injected() -> None:
    """Values expire by the clock given, exactly when their life is over, and are counted."""
    now = 100.0
    backend = MemoryBackend(lambda: now)
    backend.transact([], [Put("a", b"1", 500)])
    now = 100.499
    assert backend.read(["a"]) == [b"1"]
    now = 100.5
    assert backend.read(["a"]) == [None]
    assert backend.facts().expired == 1


def test_what_nobody_reads_again_does_not_pile_up() -> None:
    """Expired values are dropped as others are written, so memory follows what is alive."""
    now = 0.0
    backend = MemoryBackend(lambda: now)
    for n in range(50_000):
        now += 0.001
        backend.transact([], [Put(f"k{n}", b"", 100)])
    assert len(backend._cells) <= 1001


def test_null_keeps_nothing() -> None:
    """The null backend accepts every transaction and finds nothing afterwards."""
    backend = NullBackend()
    assert backend.transact([Guard("a", b"x")], [Put("a", b"1")], members=[("s", "m")]) is None
    backend.tally([Tally("n", {"a": 1}, {})])
    assert backend.read(["a", "b"]) == [None, None]
    assert backend.members("s") == set()
    assert backend.counts(["n"]) == [{}]
    assert backend.scan("") == (None, [])
    assert backend.delete(["a"]) == 0
    assert backend.ping() is None
