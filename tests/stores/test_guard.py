"""The guard translates, times and weighs whatever a backend does, also what no backend of ours does."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from memocache import BackendError
from memocache._runtime.budget import Budget
from memocache._runtime.drivers import arun, run
from memocache._stores.remote import guard as _guard
from memocache._stores.remote.guard import BackendGuard, NoRoom, _written_keys, tell_of_writes
from memocache.backends.base import NO_ROOM, Busy, NodeFailure, ReplyError
from memocache.backends.memory import MemoryBackend
from memocache.exceptions import ConfigurationError
from memocache.typing import Put


class Raising(MemoryBackend):
    """Raises `error` for every reading."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error

    def read(self, keys: Sequence[str], *, timeout: float | None = None) -> list[bytes | None]:
        if self.error is not None:
            self.fail()
        return super().read(keys, timeout=timeout)

    def fail(self, *args: Any, **kwargs: Any) -> None:
        """Raise it, whatever was asked."""
        assert self.error is not None
        raise self.error


class Listening:
    """A `Watcher` that remembers what it was told of keys without a colon: caches of other tests may still write."""

    def __init__(self) -> None:
        self.told: list[list[str]] = []

    def changed(self, keys: Iterable[str] | None) -> None:
        ours = sorted(key for key in keys or () if ":" not in key)
        if ours:
            self.told.append(ours)

    def heard(self, since: float) -> None:
        """Nothing that these tests look at."""

    def refused(self) -> None:
        """Nothing that these tests look at."""


@pytest.fixture
def without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """No probe gets a thread."""

    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)


def read(guard: BackendGuard, *, budget: Budget | None = None) -> Any:
    """One reading, in this thread."""
    return guard.io("read", ["k"], budget=budget or Budget(5.0)).blocking()


@pytest.mark.parametrize(
    ("error", "named", "weighed"),
    [
        (ReplyError("WRONGTYPE", "canary"), "ReplyError WRONGTYPE", False),
        (ReplyError("LOADING"), "ReplyError LOADING", True),
        (ReplyError("NOPERM"), "ReplyError NOPERM", True),
        (NodeFailure("canary", "stalled"), "NodeFailure stalled", False),
        (Busy("canary"), "Busy", False),
        (OSError("canary"), "OSError", True),
    ],
    ids=lambda item: type(item).__name__ if isinstance(item, Exception) else None,
)
@pytest.mark.usefixtures("without_threads")
def test_a_failure_is_named_by_its_class_and_code(error: Exception, named: str, weighed: bool) -> None:
    """Without the words of the server; the breaker weighs only what says that the backend itself is not well."""
    reported: list[tuple[str, str]] = []
    guard = BackendGuard(Raising(error), lambda *what: reported.append(what[:2]))
    for _ in range(10):
        with pytest.raises(BackendError) as caught:
            read(guard)
        assert "canary" not in str(caught.value)
    assert reported[0] == ("read", named)
    assert guard.breaker.open == weighed
    assert len(reported) == (5 if weighed else 10), "whoever is not let through is not heard of"


def test_a_backend_without_room_is_well() -> None:
    """Its refusal is a rejection, of which the breaker hears nothing."""
    guard = BackendGuard(Raising(ReplyError(NO_ROOM)))
    for _ in range(10):
        with pytest.raises(NoRoom, match="full"):
            read(guard)
    assert not guard.breaker.open


@pytest.mark.parametrize("operation", ["prolong", "tally"])
def test_what_is_sent_in_the_background_decides_for_nobody(operation: str) -> None:
    """A batch that fails, also for lack of an answer, keeps no caller from asking."""
    backend = MemoryBackend()
    guard = BackendGuard(backend)
    setattr(backend, operation, Raising(TimeoutError()).fail)
    for _ in range(10):
        with pytest.raises(BackendError, match="no answer"):
            guard.io(operation, [], budget=Budget(5.0)).blocking()
    assert not guard.breaker.open
    assert read(guard) == [None]


def test_our_own_errors_pass_through() -> None:
    """What a backend says in our words needs no translation, and says nothing of its health."""
    error = ConfigurationError("secret= is missing")
    guard = BackendGuard(Raising(error), pytest.fail)  # type: ignore[arg-type]  # never called
    for _ in range(10):
        with pytest.raises(ConfigurationError) as caught:
            read(guard)
        assert caught.value is error
    assert not guard.breaker.open


def test_a_spent_budget_asks_nobody() -> None:
    """A call that has nothing left to spend is told so, in either colour, and the backend hears nothing of it."""
    guard = BackendGuard(Raising(AssertionError("asked")), pytest.fail)  # type: ignore[arg-type]  # never called
    io = guard.io("read", ["k"], budget=Budget(0.0))
    with pytest.raises(BackendError, match="no time left for reading"):
        io.blocking()
    with pytest.raises(BackendError, match="no time left for reading"):
        asyncio.run(_await(io))


async def _await(io: Any) -> Any:
    return await io.awaiting()


def test_a_blocking_backend_never_blocks_a_loop() -> None:
    """One that has no `aio` and may block is asked in a thread; one that never blocks is asked in the task's own."""
    asked_in: list[int] = []

    class Where(MemoryBackend):
        def read(self, keys: Sequence[str], *, timeout: float | None = None) -> list[bytes | None]:
            asked_in.append(threading.get_ident())
            return super().read(keys, timeout=timeout)

    for blocks in (True, False):
        backend = Where()
        backend.blocks = blocks
        assert asyncio.run(_await(BackendGuard(backend).io("read", ["k"], budget=Budget(5.0)))) == [None]
    assert asked_in[0] != threading.get_ident()
    assert asked_in[1] == threading.get_ident()


@pytest.mark.parametrize("colour", [run, lambda steps: asyncio.run(arun(steps))], ids=["sync", "async"])
def test_several_operations_leave_together_where_the_backend_can(colour: Callable[[Any], Any]) -> None:
    """A backend with `together` is given them at once, one alone and one without it is asked in order; watchers are
    told of what was written either way.
    """

    class Together(MemoryBackend):
        batches = 0

        def together(self, calls: Any, *, timeout: float | None = None) -> list[Any]:
            self.batches += 1
            return [getattr(self, name)(*args, **kwargs) for name, args, kwargs in calls]

    watcher = Listening()
    tell_of_writes(watcher)
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
        ("transact", ([], [Put("a", b"1")], ["b"]), {}),
        ("read", (["a"],), {}),
        ("delete", (["a"],), {}),
    ]
    together, alone = Together(), MemoryBackend()
    for backend in (together, alone):
        assert colour(BackendGuard(backend).each(calls, budget=Budget(5.0))) == [None, [b"1"], 1]
    assert together.batches == 1
    assert watcher.told == [["a", "a", "b"], ["a", "b"], ["a"]]
    assert colour(BackendGuard(together).each(calls[:1], budget=Budget(5.0))) == [None]
    assert together.batches == 1


def test_a_reading_among_writings_changes_nothing() -> None:
    """What is read together with writes is not told of."""
    assert _written_keys("together", ([("read", (["a"],), {}), ("transact", ([],), {})],)) == []


def test_a_watcher_that_goes_while_another_is_told_is_not_missed() -> None:
    """Those who are to be told are found first; who is gone when their turn comes is passed over."""

    class Last(Listening):
        def changed(self, keys: Iterable[str] | None) -> None:
            super().changed(keys)
            if self.told:
                others.clear()

    first, others = Last(), [Listening()]
    tell_of_writes(first)
    tell_of_writes(others[0])
    guard = BackendGuard(MemoryBackend())
    for _ in range(2):
        guard.io("delete", ["k"], budget=Budget(5.0)).blocking()
    assert first.told == [["k"], ["k"]]


def test_subscriptions_that_fail_are_reported_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever waits polls where `subscribe` raises or is not to be had; where ending it raises, it has ended."""

    def stop() -> None:
        raise OSError("canary")

    def subscribe(channel: str, wake: Callable[[], None]) -> Callable[[], None] | None:
        made = outcomes.pop(0)
        if isinstance(made, Exception):
            raise made
        return made  # type: ignore[no-any-return]  # a list of whatever

    outcomes: list[Any] = [KeyError("canary"), None, stop]
    backend: Any = MemoryBackend()
    backend.subscribe = subscribe
    reported: list[tuple[str, str]] = []
    guard = BackendGuard(backend, lambda *what: reported.append(what[:2]))
    with caplog.at_level(logging.WARNING):
        assert guard.subscribe("c", lambda: None) is None
        assert guard.subscribe("c", lambda: None) is None
        ending = guard.subscribe("c", lambda: None)
        assert ending is not None
        ending()
    assert reported == [("subscribe", "KeyError"), ("subscribe", "OSError")]
    assert [record.getMessage() for record in caplog.records] == [
        "memocache: the backend failed while listening: KeyError"
    ]


def test_doubts_are_told_to_the_backend_and_cost_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most every tenth of a second; a backend without `doubt`, or whose own fails, is reported all the same."""
    now = [100.0]
    monkeypatch.setattr(
        _guard, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=time.sleep)
    )  # another guard may sleep
    told: list[str] = []

    def doubt() -> None:
        told.append("doubt")
        raise OSError("canary")

    backend: Any = MemoryBackend()
    guard = BackendGuard(backend, lambda *what: told.append(" ".join(what[:2])))
    guard.doubt()
    assert told == ["read EchoMismatch"]
    backend.doubt = doubt
    guard.doubt()
    assert len(told) == 1
    now[0] += 0.11
    guard.doubt()
    assert told[1:] == ["doubt", "read EchoMismatch"]


def test_one_thread_logs_at_a_time_and_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who finds another logging leaves it to them, and who comes just after them has nothing to add."""
    guard = BackendGuard(MemoryBackend())
    assert guard._may_log(100.0)
    assert not guard._may_log(159.0)
    with guard._logging:
        assert not guard._may_log(160.0)
    assert guard._may_log(160.0)

    class Overtaken:
        """A lock that is free only after another has logged."""

        def acquire(self, blocking: bool = True) -> bool:
            guard._logged_at = 230.0
            return True

        def release(self) -> None:
            """Nobody waits."""

    monkeypatch.setattr(guard, "_logging", Overtaken())
    assert not guard._may_log(229.0)


@pytest.mark.usefixtures("without_threads")
def test_without_a_thread_for_the_probe_a_later_call_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the breaker is open each call may start the probe, and the first that can does."""
    backend = Raising(TimeoutError())
    guard = BackendGuard(backend)
    with pytest.raises(BackendError):
        read(guard)
    assert guard.breaker.open
    assert not guard._probing.locked()
    started: list[Any] = []
    monkeypatch.setattr(threading.Thread, "start", lambda self: started.append(self))
    for _ in range(2):
        with pytest.raises(BackendError, match="not asked since"):
            read(guard)
    assert len(started) == 1


def test_probing_goes_on_until_the_backend_is_well_or_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a probe raises the next one follows; one that is answered closes the breaker; without callers it
    rests after half a minute, and lets another be started.
    """
    now = [100.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(_guard, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    answers: list[Any] = [OSError(), ValueError(), None]

    def ping(*, timeout: float | None = None) -> None:
        answer = answers.pop(0) if answers else OSError()
        if answer is not None:
            raise answer

    backend: Any = MemoryBackend()
    backend.ping = ping
    guard = BackendGuard(backend)
    guard.breaker.open = True
    guard._wanted_at = now[0]
    assert guard._probing.acquire(blocking=False)
    guard._probe_until_well()
    assert not guard.breaker.open
    assert answers == []
    assert not guard._probing.locked()
    guard.breaker.open = True
    guard._wanted_at = began = now[0]
    assert guard._probing.acquire(blocking=False)
    guard._probe_until_well()
    assert guard.breaker.open
    assert 30.0 <= now[0] - began < 32.0
    assert not guard._probing.locked()


def test_a_child_logs_and_probes_for_itself() -> None:
    """After a fork nothing that another thread of the parent held is held for ever."""
    guard = BackendGuard(MemoryBackend())
    with guard._probing, guard._logging:
        guard.after_fork()
        assert not guard._probing.locked()
        assert guard._may_log(100.0)
