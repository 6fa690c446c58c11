"""The freshness options through the engine: each alone and together, in both colours, on a clock that stands still."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from memocache import ComputeTimeout
from memocache._calls import engine as _engine
from memocache._calls.engine import REFRESH_THROTTLE
from memocache._runtime import drivers as _runtime
from memocache.testing import servers
from tests.promises.behaviour.world import World
from tests.promises.flight.conftest import KINDS
from tests.promises.flight.scene import VARIABLE, Scene
from tests.promises.flight.support import BOUND, assert_quiet, join, start
from tests.worlds import worlds


@pytest.fixture(params=worlds(KINDS))
def world(request: pytest.FixtureRequest, running_server: Callable[[str], servers.Server]) -> Iterator[World]:
    """Every kind of backend in both colours."""
    kind, _, colour = request.param.partition("-")
    server = running_server(kind) if kind in servers.available_servers() else None
    if server is not None:
        with server.client() as client:
            client.flushall()
    world = World(kind, colour, server)
    yield world
    world.close()


@pytest.fixture
def scene(world: World) -> Iterator[Scene]:
    """A scene that must be quiet in the end."""
    scene = Scene(world)
    yield scene
    scene.slow.go.set()
    scene.settle()
    assert_quiet(scene.cache)


def test_stale_is_served_while_one_refresh_runs(scene: Scene) -> None:
    """Past the ttl the old value is served at once; one refresh replaces it, however many callers see it stale."""
    scene.function(ttl=10, stale=20)
    assert scene.call() == 1
    scene.advance(10)
    scene.slow.go.clear()
    assert scene.meanwhile(20) == [1] * 20
    scene.wait(lambda: scene.slow.calls == 2)
    assert scene.meanwhile(5) == [1] * 5
    assert scene.slow.calls == 2
    scene.slow.go.set()
    scene.settle()
    assert scene.call() == 2
    assert scene.counted() == (26, 1, 25)


def test_past_stale_a_call_computes(scene: Scene) -> None:
    """At the end of `stale` nothing old is served."""
    scene.function(ttl=10, stale=20)
    assert scene.call() == 1
    scene.advance(30)
    assert scene.call() == 2
    assert scene.counted() == (0, 2, 0)


def test_a_failed_refresh_is_silent_and_throttled(scene: Scene) -> None:
    """No caller hears of a refresh that raised; the next is tried after a pause, on the cache's clock."""
    scene.function(ttl=10, stale=1000)
    scene.failing = {2}
    assert scene.call() == 1
    scene.advance(10)
    assert scene.call() == 1
    scene.settle()
    assert scene.slow.calls == 2
    for _ in range(5):
        assert scene.call() == 1
        scene.settle()
    assert scene.slow.calls == 2
    scene.advance(REFRESH_THROTTLE + 1)
    assert scene.call() == 1
    scene.settle()
    assert scene.slow.calls == 3
    assert scene.call() == 3


def test_a_refresh_keeps_context_variables(scene: Scene) -> None:
    """A background computation sees the context of the caller that started it."""
    scene.function(ttl=10, stale=20)
    token = VARIABLE.set("the first caller's")
    try:
        scene.call()
        VARIABLE.set("the second caller's")
        scene.advance(10)
        if scene.world.is_async:

            async def in_context() -> Any:
                VARIABLE.set("the second caller's")
                return await scene.f(1)

            assert scene.world.run(in_context()) == 1
        else:
            assert scene.call() == 1
    finally:
        VARIABLE.reset(token)
    scene.settle()
    assert scene.seen[1] == "the second caller's"


def test_refreshes_are_bounded_in_number(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """More stale keys than may be refreshed at once: all are served, the rest are refreshed later."""
    monkeypatch.setattr(_runtime, "MAX_BACKGROUND", 2)
    scene.function(ttl=10, stale=20)
    values = [scene.call(n) for n in range(6)]
    scene.advance(10)
    scene.slow.go.clear()
    assert [scene.call(n) for n in range(6)] == values
    scene.wait(lambda: scene.slow.calls == 8)
    assert [scene.call(n) for n in range(6)] == values
    assert scene.slow.calls == 8
    scene.slow.go.set()
    scene.settle()
    assert [scene.call(n) for n in range(2, 6)] == values[2:]
    scene.wait(lambda: scene.slow.calls >= 9)


def test_stale_if_error_stands_in_for_a_failure(scene: Scene) -> None:
    """A raising function's caller gets the old value, as a stale hit, and the error once the window has passed."""
    scene.function(ttl=10, stale_if_error=20)
    scene.failing = {2, 4}
    assert scene.call() == 1
    scene.advance(29)
    assert scene.call() == 1
    assert scene.counted() == (1, 1, 1)
    assert scene.call() == 3
    scene.advance(30)
    with pytest.raises(LookupError, match="4"):
        scene.call()
    assert scene.counted() == (1, 3, 1)


def test_stale_if_error_is_for_followers_too(scene: Scene) -> None:
    """All who share the failing computation get the old value."""
    scene.function(ttl=10, stale_if_error=20)
    scene.failing = {2}
    assert scene.call() == 1
    scene.advance(10)
    assert scene.meanwhile(1) == [1]
    assert scene.slow.calls == 2
    hits, misses, stale_hits = scene.counted()
    assert hits + misses == 2
    assert hits == stale_hits == 1


def test_early_refreshes_before_expiry(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `early`, a fresh value that took long to compute may be refreshed in the background by a hit."""
    scene.function(ttl=100, early=1.0)
    scene.cost = 30.0
    assert scene.call() == 1
    scene.cost = 0.0
    monkeypatch.setattr(_engine.random, "random", lambda: 0.0)  # a draw of 1: no margin
    assert scene.call() == 1
    monkeypatch.setattr(_engine.random, "random", lambda: 1.0 - 1e-3)  # a margin of 207 s
    assert scene.call() == 1
    scene.settle()
    assert scene.slow.calls == 2
    assert scene.call() == 2
    assert scene.counted() == (3, 1, 0)


def test_without_early_nothing_is_refreshed_early(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default is off, whatever the draw."""
    monkeypatch.setattr(_engine.random, "random", lambda: 1.0 - 1e-12)
    scene.function(ttl=100)
    scene.cost = 30.0
    assert scene.call() == 1
    assert scene.call() == 1
    scene.settle()
    assert scene.slow.calls == 1


def test_jitter_shortens_the_ttl(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the share of the ttl is subtracted."""
    monkeypatch.setattr(_engine.random, "random", lambda: 0.5)
    scene.function(ttl=100, jitter=0.5)
    assert scene.call() == 1
    scene.advance(74.9)
    assert scene.call() == 1
    scene.advance(0.2)
    assert scene.call() == 2


def test_soft_timeout_serves_the_old_value(scene: Scene) -> None:
    """Past `soft_timeout` the old value is served; the computation goes on and stores."""
    scene.function(ttl=10, stale_if_error=100, soft_timeout=0.05)
    assert scene.call() == 1
    scene.advance(20)
    scene.slow.go.clear()
    assert scene.meanwhile(5) == [1] * 5
    assert scene.slow.calls == 2
    scene.slow.go.set()
    scene.settle()
    assert scene.call() == 2
    hits, misses, stale_hits = scene.counted()
    assert (hits + misses, stale_hits) == (7, 5)


def test_soft_timeout_without_an_old_value_waits(scene: Scene) -> None:
    """Where there is nothing to fall back on, a slow computation is waited for, and only one runs."""
    scene.function(ttl=10, soft_timeout=0.01, errors=LookupError, error_ttl=5, stale_if_error=100)
    scene.failing = {1}
    with pytest.raises(LookupError):
        scene.call()  # remembered, and no value to fall back on
    scene.advance(6)
    assert scene.waited(calls=2) == 2


def test_hard_timeout_raises_and_the_value_is_stored(scene: Scene) -> None:
    """Past `hard_timeout` leader and followers get ComputeTimeout; the computation goes on, once, and stores."""
    scene.function(ttl=10, hard_timeout=0.05)
    scene.slow.go.clear()
    outcomes = scene.meanwhile(5)
    assert [type(outcome) for outcome in outcomes] == [ComputeTimeout] * 5
    assert "f did not finish" in str(outcomes[0])
    assert scene.slow.calls == 1
    scene.slow.go.set()
    scene.settle()
    assert scene.call() == 1
    assert scene.counted() == (1, 5, 0)


def test_hard_timeout_is_not_shortened_by_soft_timeout(scene: Scene) -> None:
    """With nothing to fall back on (a remembered error is no value), the caller waits for the whole hard_timeout."""
    scene.function(ttl=10, soft_timeout=0.01, hard_timeout=BOUND, errors=LookupError, error_ttl=5, stale_if_error=100)
    scene.failing = {1}
    with pytest.raises(LookupError):
        scene.call()
    scene.advance(6)
    assert scene.waited(calls=2) == 2


def test_a_quick_function_with_timeouts_is_as_without(scene: Scene) -> None:
    """Timeouts change nothing for a function that is quick enough; its exceptions are its own."""
    scene.function(ttl=10, soft_timeout=BOUND, hard_timeout=BOUND)
    scene.failing = {2}
    assert scene.call() == 1
    assert scene.call() == 1
    scene.advance(10)
    with pytest.raises(LookupError, match="2"):
        scene.call()
    assert scene.call() == 3
    assert scene.counted() == (1, 3, 0)


def test_no_thread_to_be_had_means_computing_here(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no background run can be started, the caller computes by itself."""
    if scene.world.is_async:
        pytest.skip("a task can always be made")
    scene.function(ttl=10, hard_timeout=BOUND)
    honest = _runtime.threading.Thread.start

    def refuse(thread: Any) -> None:
        if thread.name == "memocache-refresh":
            raise RuntimeError("can't start new thread")
        honest(thread)

    monkeypatch.setattr(_runtime.threading.Thread, "start", refuse)
    calling, got = start(lambda: scene.call())
    calling.join(3)
    monkeypatch.undo()
    join(calling)
    assert got == [1]
    assert scene.slow.calls == 1


def test_errors_are_remembered_for_error_ttl(scene: Scene) -> None:
    """A remembered error is raised afresh as a hit, without a traceback that grows, and for `error_ttl` only."""
    scene.function(ttl=100, errors=LookupError, error_ttl=5, stale=50)
    scene.failing = {1}
    depths = []
    for _ in range(4):
        with pytest.raises(LookupError, match="1") as caught:
            scene.call()
        depths.append(len(caught.traceback))
    assert scene.slow.calls == 1
    assert depths[1:] == depths[1:2] * 3
    assert scene.counted() == (3, 1, 0)
    scene.advance(5)
    assert scene.call() == 2  # `stale` is for values: no error outlives its error_ttl


def test_an_error_that_is_not_named_is_not_remembered(scene: Scene) -> None:
    """Other exceptions are raised and forgotten."""
    scene.function(ttl=100, errors=KeyError, error_ttl=5)
    scene.failing = {1}
    with pytest.raises(LookupError):
        scene.call()
    assert scene.call() == 2


def test_all_options_together(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """stale, then stale_if_error, then the computation: each has its turn as time passes."""
    monkeypatch.setattr(_engine.random, "random", lambda: 0.0)
    scene.function(
        ttl=10, stale=10, stale_if_error=50, early=1.0, jitter=0.1, soft_timeout=0.05, hard_timeout=BOUND,
        errors=KeyError, error_ttl=5,
    )  # fmt: skip
    scene.failing = {2, 3}
    assert scene.call() == 1
    scene.advance(5)
    assert scene.call() == 1  # fresh
    scene.advance(10)
    assert scene.call() == 1  # stale; the refresh fails
    scene.settle()
    assert scene.slow.calls == 2
    scene.advance(10)
    assert scene.call() == 1  # past stale: computed, failed, the old value stood in
    assert scene.slow.calls == 3
    scene.slow.go.clear()
    assert scene.call() == 1  # computed, too slow, the old value stood in
    scene.slow.go.set()
    scene.settle()
    assert scene.call() == 4
    hits, misses, stale_hits = scene.counted()
    assert (hits, misses, stale_hits) == (5, 1, 3)
