"""Leases are kept and given back in the background, and nothing that goes wrong there reaches a caller."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from memocache import Cache
from memocache._runtime.singleflight import Signal
from memocache._stores.remote import lease_heartbeat as _keeper
from memocache._stores.remote.guard import BackendGuard
from memocache._stores.remote.lease_heartbeat import Keeper, mint
from memocache.backends.memory import MemoryBackend
from memocache.typing import Put


class Lease:
    """What a computation holds."""


class Toggled(MemoryBackend):
    """Fails while it is `down`, and counts what it was asked."""

    down = False
    asked = 0

    def transact(self, *args: Any, **kwargs: Any) -> Any:
        self.asked += 1
        if self.down:
            raise ConnectionError
        return super().transact(*args, **kwargs)


@pytest.fixture
def backend() -> Toggled:
    return Toggled()


@pytest.fixture
def keeper(backend: Toggled, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keeper]:
    """One whose thread cannot be started, so that its steps can be taken here; leases of 60 s."""

    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    keeper = Keeper(BackendGuard(backend, lambda *args: None), 60.0)
    yield keeper
    keeper.after_fork()


def hold(keeper: Keeper, key: str) -> tuple[Lease, bytes]:
    """Hold a lease that stands in the backend."""
    lease, held = Lease(), mint()
    keeper._guard.backend.transact([], [Put(key, held + bytes(8), None)])
    keeper.hold(lease, key, held, b"", "channel", object())  # type: ignore[arg-type]  # any flight
    return lease, held


def test_without_a_thread_a_lease_is_held_all_the_same(keeper: Keeper) -> None:
    """Where no thread can be had nobody hears of it, and the next lease tries again."""
    _lease, held = hold(keeper, "key")
    assert keeper._thread is None
    assert keeper.holder(held + bytes(8)) is not None


def test_a_lease_that_is_gone_is_forgotten_and_one_that_cannot_be_reached_is_not(
    keeper: Keeper, backend: Toggled
) -> None:
    """A renewal that finds another's lease gives ours up; one that finds no backend leaves it to its time."""
    _lease, held = hold(keeper, "key")
    backend.down = True
    keeper._renew("key", held, 1, b"")
    assert keeper.holder(held) is not None
    backend.down = False
    keeper._guard.breaker.__init__()  # type: ignore[misc]  # the backend is well again, and known to be
    keeper._renew("key", held, 1, b"")
    assert backend.read(["key"]) == [held + (1).to_bytes(8)]
    backend.delete(["key"])
    keeper._renew("key", held, 2, b"")
    assert keeper.holder(held) is None


def test_leases_are_given_back_once_the_backend_answers(keeper: Keeper, backend: Toggled) -> None:
    """While it does not, one is tried and the others wait; past their time they are forgotten: they have expired."""
    held = {key: hold(keeper, key)[1] for key in ("one", "two")}  # dropped at once, and so doomed
    assert set(keeper._doomed) == set(held.values())
    backend.down = True
    before = backend.asked
    keeper._give_back()
    assert backend.asked == before + 1
    assert set(keeper._doomed) == set(held.values())
    keeper._doomed = {mine: (key, channel, time.monotonic()) for mine, (key, channel, _) in keeper._doomed.items()}
    keeper._give_back()
    assert backend.asked == before + 1
    assert keeper._doomed == {}


def test_a_child_holds_nothing_of_its_parents(keeper: Keeper) -> None:
    """After a fork the leases are the parent's, and none of their values is taken for one's own."""
    _lease, held = hold(keeper, "key")
    keeper.after_fork()
    assert not keeper.holds(held)
    assert keeper.holder(held) is None
    assert keeper._held == {}


class Rounds:
    """The keeper's event and its clock: each wait is over at once, and lasted what the next round says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, keeper: Keeper, *rounds: Callable[[], float]) -> None:
        self.now = time.monotonic()
        self.left = list(rounds)
        monkeypatch.setattr(_keeper, "time", SimpleNamespace(monotonic=lambda: self.now))
        keeper._wake = self  # type: ignore[assignment]  # all that the keeper's thread asks of an event

    def wait(self, seconds: float) -> None:
        self.now += self.left.pop(0)()

    def clear(self) -> None:
        """Nothing is set."""


def test_a_lease_that_goes_while_others_are_renewed_is_left_alone(
    keeper: Keeper, backend: Toggled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those due are renewed, those not due and one that was forgotten meanwhile are not; idle for a minute it ends."""
    first, second = hold(keeper, "one"), hold(keeper, "two")
    renewed: list[str] = []

    def renew(key: str, held: bytes, beat: int, generations: bytes) -> None:
        renewed.append(f"{key} {beat}")
        keeper.forget(second[1])

    monkeypatch.setattr(keeper, "_renew", renew)

    def end() -> float:
        keeper.forget(first[1])
        return 30.0

    rounds = Rounds(monkeypatch, keeper, lambda: 19.0, lambda: 2.0, lambda: 2.0, end, lambda: 31.0)
    keeper._thread = threading.current_thread()
    keeper._work()
    assert renewed == ["one 1"]
    assert rounds.left == []
    assert keeper._thread is None


def test_a_lease_that_comes_as_the_thread_is_about_to_end_keeps_it(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether there is nothing to keep is asked again under the lock under which a new lease asks for the thread."""
    late: list[Any] = []

    class Late:
        """Taken only after somebody else has had it."""

        def __enter__(self) -> None:
            keeper._lock = nullcontext()  # type: ignore[assignment]  # nobody else is here
            late.append(hold(keeper, "key"))

        def __exit__(self, *exc: object) -> None:
            """Let go of nothing."""

    monkeypatch.setattr(keeper, "_lock", Late())
    keeper._thread = threading.current_thread()

    def forget() -> float:
        assert keeper._thread is threading.current_thread(), "it has ended"
        keeper.forget(late[0][1])
        return 61.0

    rounds = Rounds(monkeypatch, keeper, lambda: 61.0, lambda: 1.0, forget)
    keeper._work()
    assert rounds.left == [], "it ended too early"
    assert keeper._thread is None


def test_the_thread_ends_when_the_cache_is_closed() -> None:
    """A closed cache has no thread for its leases; the next lease after that starts one again."""
    with Cache(MemoryBackend()) as cache:
        f = cache.cached(lambda n: n)
        for n in (1, 2):
            f(n)
            thread = cache._core.places.shared.keeper._thread  # type: ignore[union-attr]  # there is a backend
            assert thread is not None
            cache.close()
            thread.join(20)
            assert not thread.is_alive()


def test_a_waiter_that_leaves_while_it_is_woken_is_no_error() -> None:
    """A waiter may be gone, and take others with it, before it is taken off the list; each is woken once."""
    signal, woken = Signal(), []

    def leave(number: int) -> None:
        woken.append(number)
        signal._waiters.clear()

    for number in range(3):
        assert signal.add(partial(leave, number))
    signal.fire()
    assert woken == [0, 1, 2]
    assert signal._waiters == []
    assert signal.fired
