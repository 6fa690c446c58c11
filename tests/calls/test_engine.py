"""What a call comes to where somebody else stores in between, where the backend fails in between, and where the old
value cannot be had.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from memocache import Cache, EncodeError, UncacheableWarning
from memocache._calls.engine import REFRESH_THROTTLE
from memocache._runtime import drivers as _runtime
from memocache._runtime.drivers import run
from memocache._runtime.outcome import Outcome
from memocache._runtime.singleflight import Role
from memocache.backends.base import NO_ROOM, ReplyError
from memocache.backends.memory import MemoryBackend
from memocache.exceptions import DecodeError
from memocache.instrumentation import Refreshed
from memocache.testing import FailingBackend, FakeClock
from memocache.typing import Put
from tests.patience import patient  # noqa: F401  # autouse
from tests.promises.flight.support import join, start, until


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


@pytest.fixture
def make(clock: FakeClock) -> Iterator[Callable[..., Cache]]:
    """Makes caches on that clock; in the process unless told otherwise."""
    made: list[Cache] = []

    def make(backend: Any = "memory://", **options: Any) -> Cache:
        made.append(Cache(backend, clock=clock, **options))
        return made[-1]

    yield make
    for cache in made:
        cache.close()


class Numbers:
    """The body of a function: 1, 2, 3 …"""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: int) -> int:
        self.calls += 1
        return self.calls


@pytest.fixture
def spawned(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The steps that were to run in the background; they run when the test says so."""
    steps: list[Any] = []

    def spawn(effect: Any) -> bool:
        steps.append(effect.steps)
        return True

    monkeypatch.setattr(_runtime, "_spawn_thread", spawn)
    return steps


def test_without_a_thread_a_call_takes_what_was_stored_meanwhile(
    make: Callable[..., Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call with a time limit that gets no thread to compute in looks once more before it computes by itself."""
    compute = Numbers()
    f = make().cached(name="f", hard_timeout=60)(compute)

    def refuse(effect: Any) -> bool:
        effect.steps.close()
        f.put("other's", 1)
        return False

    monkeypatch.setattr(_runtime, "_spawn_thread", refuse)
    assert f(1) == "other's"
    assert compute.calls == 0
    assert (f.stats().hits, f.stats().misses) == (0, 1)


def test_an_old_value_that_cannot_be_read_is_not_served(
    make: Callable[..., Cache], clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When `soft_timeout` ends and the kept value turns out to be unreadable, the call waits for the new one."""
    cache = make(MemoryBackend(clock.monotonic))
    calls = [0]

    def compute(x: int) -> int:
        calls[0] += 1
        if calls[0] > 1:
            until(lambda: f.stats().decode_errors == 1)
        return calls[0]

    f: Any = cache.cached(name="f", ttl=10, stale_if_error=100, soft_timeout=0.01)(compute)
    assert f(1) == 1
    clock.advance(20)

    def unreadable(payload: Any) -> Any:
        raise DecodeError("no")

    with monkeypatch.context() as patched:
        patched.setattr(cache._codec, "decode", unreadable)
        assert f(1) == 2
    assert f.stats().stale_hits == 0
    assert f(1) == 2


@pytest.mark.parametrize("fails", [False, True])
def test_a_refresh_that_finds_it_done_or_the_backend_gone_computes_nothing(
    make: Callable[..., Cache], clock: FakeClock, spawned: list[Any], fails: bool
) -> None:
    """What was stored between its start and its first step stands; without the backend it is left to a later call."""
    failing = FailingBackend(MemoryBackend(clock.monotonic))
    failing.active = False
    compute, refreshed = Numbers(), []
    cache = make(failing, observers=[lambda event: isinstance(event, Refreshed) and refreshed.append(event)])
    f = cache.cached(name="f", ttl=10, stale=60)(compute)
    assert f(1) == 1
    clock.advance(10)
    assert f(1) == 1
    if fails:
        failing.active = True
    else:
        f.put("other's", 1)
    run(spawned.pop())
    failing.active = False
    assert compute.calls == 1
    assert refreshed == []
    assert len(cache._flights) == 0
    assert f.stats().backend_errors == fails
    assert f(1) == (1 if fails else "other's")
    assert len(spawned) == fails, "the next call that finds it stale begins one"
    for steps in spawned:
        run(steps)
    assert compute.calls == 1 + fails
    assert len(refreshed) == fails


def test_who_is_overtaken_by_another_s_refresh_begins_none(
    make: Callable[..., Cache], clock: FakeClock, spawned: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between seeing that nobody computes and beginning to, somebody else may have begun."""
    cache = make()
    f = cache.cached(name="f", ttl=10, stale=60)(Numbers())
    assert f(1) == 1
    clock.advance(10)
    flights, others = cache._flights, []

    def nobody(key: Any) -> bool:
        others.append(flights.enter(key, (), ()))
        return False

    monkeypatch.setattr(flights, "busy", nobody)
    assert f(1) == 1
    assert [role for _, role, _ in others] == [Role.LEAD]
    assert spawned == []
    flights.finish(others[0][0], None)
    assert len(flights) == 0


def test_failed_refreshes_are_remembered_no_longer_than_they_matter(
    make: Callable[..., Cache], clock: FakeClock
) -> None:
    """Many keys whose refresh failed are forgotten once each may be tried again, and those of now are kept."""
    engine = make()._engine
    for key in range(1025):
        engine._throttle(key)
    clock.advance(REFRESH_THROTTLE / 2)
    engine._throttle("half")
    assert len(engine._throttled) == 1026
    clock.advance(REFRESH_THROTTLE / 2)
    engine._throttle("now")
    assert set(engine._throttled) == {"half", "now"}


def test_what_cannot_be_copied_is_shared_with_followers(make: Callable[..., Cache]) -> None:
    """A value that can be held by reference only is the leader's own, for those who waited and for later hits."""
    made: list[Any] = []

    def compute(x: int) -> Any:
        made.append(start(lambda: f(1)))
        until(lambda: f.stats().coalesced == 1)
        return threading.Lock()

    f: Any = make().cached(name="f")(compute)
    value = f(1)
    ((follower, got),) = made
    join(follower)
    assert got == [value]
    assert f(1) is value


def test_a_backend_without_room_rejects_and_does_not_fail(make: Callable[..., Cache], clock: FakeClock) -> None:
    """Calls go uncached and are counted as rejected; the backend is not held to be ill."""

    class Full(MemoryBackend):
        def transact(self, guards: Any, puts: Sequence[Put] = (), *args: Any, **kwargs: Any) -> Any:
            if puts:
                raise ReplyError(NO_ROOM)
            return super().transact(guards, puts, *args, **kwargs)

    compute = Numbers()
    f = make(Full(clock.monotonic)).cached(name="f")(compute)
    assert [f(1), f(1)] == [1, 2]
    stats = f.stats()
    assert stats.rejected == 2
    assert stats.backend_errors == 0


def test_who_follows_again_is_counted_once(make: Callable[..., Cache]) -> None:
    """When a flight ends without outcome its follower may follow the next one; it is one coalesced call."""
    cache = make()
    f = cache.cached(name="f")(Numbers())
    _, binding = f._self_state.bound()
    address, _ = binding.address((1,))
    flights, marks = cache._flights, cache._tier.marks("f")
    key = (id(address.table), address.key)
    steps = cache._engine.call(binding, (1,))
    first, _, _token = flights.enter(key, marks, ())
    assert next(steps).signal is first.signal  # type: ignore[union-attr]  # it waits
    flights.finish(first, None)
    second, _, _other = flights.enter(key, marks, ())
    assert steps.send(True).signal is second.signal  # type: ignore[union-attr]  # it waits
    flights.finish(second, Outcome("second's"))
    with pytest.raises(StopIteration) as ended:
        steps.send(True)
    assert ended.value.value == Outcome("second's")
    assert f.stats().coalesced == 1


def test_what_tears_a_computation_down_gives_its_lease_up(make: Callable[..., Cache], clock: FakeClock) -> None:
    """An exception that is no `Exception` passes, and the next call computes at once."""
    cache = make(MemoryBackend(clock.monotonic))
    calls: list[int] = []

    def compute(x: int) -> int:
        calls.append(x)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return x

    f = cache.cached(name="f")(compute)
    with pytest.raises(KeyboardInterrupt):
        f(1)
    keeper = cache._places.shared.keeper  # type: ignore[union-attr]  # the cache has a backend
    assert len(cache._flights) == 0
    assert keeper._held == {}
    until(lambda: not keeper._doomed)
    assert f(1) == 1


def test_an_error_that_cannot_be_kept_is_raised_and_no_more(make: Callable[..., Cache]) -> None:
    """In the process too an error is remembered as bytes; one of a class that nobody can find is the call's own."""

    class Local(Exception):
        """Of a class without a name that another could find."""

    calls: list[int] = []

    def compute(x: int) -> None:
        calls.append(x)
        raise Local

    f = make().cached(name="f", errors=(Local,))(compute)
    with pytest.warns(UncacheableWarning), pytest.raises(Local):
        f(1)
    with pytest.raises(Local):
        f(1)
    assert calls == [1, 1]
    assert f.stats().rejected == 2


def test_what_cannot_be_kept_is_an_error_where_that_is_asked_for(make: Callable[..., Cache], clock: FakeClock) -> None:
    """With `strict` a result that no backend takes is raised as `EncodeError`, and otherwise it is the caller's."""
    f = make(MemoryBackend(clock.monotonic)).cached(name="f", strict=True)(lambda x: threading.Lock())
    with pytest.raises(EncodeError):
        f(1)


def test_a_shared_value_is_handed_out_itself(make: Callable[..., Cache]) -> None:
    """With `share` hits in the process are the very object that was computed."""
    f = make().cached(name="f", share=True)(lambda x: [x])
    assert f(1) is f(1)
