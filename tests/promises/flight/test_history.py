"""The history checker can fail: schedules on which an honest build passes and a broken one is caught."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from memocache import Cache
from memocache._runtime.singleflight import Flight
from memocache._stores.remote.store import SharedStore
from memocache.backends.memory import MemoryBackend
from tests.promises.flight.history import Op, Recorder, violations
from tests.promises.flight.support import BOUND, join, start, until


class _Delayed(MemoryBackend):
    """A backend whose answer to a store can be held back after it was applied."""

    def __init__(self) -> None:
        super().__init__()
        self.armed = False
        self.applied, self.answer = threading.Event(), threading.Event()

    def transact(self, guards: Any, puts: Any = (), deletes: Any = (), **options: Any) -> Any:
        found = super().transact(guards, puts, deletes, **options)
        if self.armed and options.get("publish"):
            self.armed = False
            self.applied.set()
            assert self.answer.wait(BOUND)
        return found


def _stored_after_an_invalidation() -> list[str]:
    """A computation is overtaken by an invalidation elsewhere and then tries to store."""
    backend, recorder = MemoryBackend(), Recorder("p")
    here, elsewhere = Cache(backend), Cache(backend)
    entered, go = threading.Event(), threading.Event()

    def body() -> None:
        entered.set()
        assert go.wait(BOUND)

    f, g = (cache.cached(name="f")(lambda n: recorder.compute(n, body)) for cache in (here, elsewhere))
    leader, _ = start(lambda: recorder.call(1, lambda: f(1)))
    assert entered.wait(BOUND)
    recorder.invalidate(1, lambda: g.invalidate(1))
    go.set()
    join(leader)
    recorder.call(1, lambda: g(1))
    return violations(recorder.ops)


def _joined_after_the_store() -> list[str]:
    """A call begins after an invalidation elsewhere, while the answer to a store from before it is on its way."""
    backend, recorder = _Delayed(), Recorder("p")
    here, elsewhere = Cache(backend), Cache(backend)
    f, g = (cache.cached(name="f")(lambda n: recorder.compute(n, lambda: None)) for cache in (here, elsewhere))
    f(0)
    backend.armed = True
    leader, _ = start(lambda: recorder.call(1, lambda: f(1)))
    assert backend.applied.wait(BOUND)
    recorder.invalidate(1, lambda: g.invalidate(1))
    follower, _ = start(lambda: recorder.call(1, lambda: f(1)))
    until(lambda: f.stats().coalesced == 1)
    backend.answer.set()
    join(leader, follower)
    return violations(recorder.ops)


def test_an_honest_build_passes() -> None:
    """On both schedules nothing is violated."""
    assert _stored_after_an_invalidation() == []
    assert _joined_after_the_store() == []


def test_a_store_without_the_token_check_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the guard on the witness, a store from before an invalidation is accepted: the checker says so."""
    honest = SharedStore.commit

    def commit(self: SharedStore, address: Any, lease: Any, record: Any, flight: Any) -> Any:
        steps = honest(self, address, lease, record, flight)
        io = self.guard.io

        def unguarded(operation: str, guards: Any, *args: Any, **options: Any) -> Any:
            return io(
                operation,
                [guard for guard in guards if guard.key != lease.spot.witness and guard.key != lease.spot.lease],
                *args,
                **options,
            )

        monkeypatch.setattr(self.guard, "io", unguarded)
        try:
            effect = next(steps)
        finally:
            monkeypatch.setattr(self.guard, "io", io)
        try:
            while True:
                effect = steps.send((yield effect))
        except StopIteration as stop:
            return stop.value

    monkeypatch.setattr(SharedStore, "commit", commit)
    assert _stored_after_an_invalidation() == ["key 1: a value from before an invalidation"]


def test_free_joining_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower that takes the outcome though it joined after the store was sent: the checker says so."""
    monkeypatch.setattr(Flight, "open", property(lambda self: True))
    assert _joined_after_the_store() == ["key 1: a value from before an invalidation"]


def test_the_checker_knows_good_from_bad() -> None:
    """By hand: what overlaps an invalidation may be old or new; what begins after it may not be old."""
    old, new = Op("compute", 1, 0, 10, "old"), Op("compute", 1, 30, 40, "new")
    gone = Op("invalidate", None, 20, 25, "")
    assert violations([old, gone, new, Op("call", 1, 24, 50, "old"), Op("call", 1, 26, 50, "new")]) == []
    assert violations([old, gone, Op("call", 1, 26, 50, "old")]) == ["key 1: a value from before an invalidation"]
    assert violations([old, Op("put", 1, 20, 25, "put"), Op("call", 1, 26, 50, "put")]) == []
    assert violations([old, Op("call", 1, 26, 50, "who")]) == ["key 1: a value that nobody made"]
    both = [Op("compute", 1, 0, 10, "a"), Op("compute", 1, 5, 15, "b")]
    assert violations(both) == ["key 1: two computations at once"]
    assert violations([*both, Op("invalidate", 1, 1, 2, "")]) == []
