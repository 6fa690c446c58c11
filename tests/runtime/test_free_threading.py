"""Without the global lock a hit is counted under a lock; with it the look-up has none. Threads are made to meet."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest

from memocache._calls.signature import Signature
from memocache._runtime import free_threading


class Meeting:
    """An entry whose count is read by two threads before either writes it, unless something keeps them apart."""

    fresh_until = float("inf")
    thaw = None
    value = "value"
    last = 0.0

    def __init__(self, patience: float) -> None:
        self._hits = 0
        self._patience = patience
        self._both = threading.Barrier(2)

    @property
    def hits(self) -> int:
        seen = self._hits
        try:
            self._both.wait(self._patience)
        except threading.BrokenBarrierError:
            pass
        return seen

    @hits.setter
    def hits(self, count: int) -> None:
        self._hits = count


def counted(patience: float) -> int:
    """The hits that two threads have counted together in the compiled look-up."""
    signature = Signature(lambda item: item, "f")
    entry = Meeting(patience)
    given = {"entries": {(1, int): entry}, "monotonic": float, "off": lambda: None}
    namespace: dict[str, Any] = {signature.name(short): thing for short, thing in given.items()}
    look = signature.lookup(["item"], namespace, colour="sync", method=False, tagged=False)
    threads = [threading.Thread(target=look, args=(1,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return entry._hits


def test_without_the_global_lock_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads that would read the count together are kept apart, and count twice."""
    monkeypatch.setattr(free_threading, "FREE_THREADED", True)
    assert counted(patience=0.05) == 2


def test_the_threads_of_this_test_would_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without that lock the same two threads count once: the test above can fail."""
    monkeypatch.setattr(free_threading, "FREE_THREADED", False)
    assert counted(patience=60) == 1


def test_what_this_python_is() -> None:
    """The answer is the interpreter's own; a Python that cannot be asked has its global lock."""
    assert (not getattr(sys, "_is_gil_enabled", lambda: True)()) is free_threading.FREE_THREADED
