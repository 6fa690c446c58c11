"""The last hour, the sessions and the throttle: pure, with a clock passed in."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette")
from memocache.dashboard._history import FUNCTION_POINTS, MAX_FUNCTIONS, POINTS, History
from memocache.dashboard._sessions import (
    IDLE_SECONDS,
    LIFE_SECONDS,
    MAX_SESSIONS,
    TRIES,
    TRIES_OF_ALL,
    Sessions,
    Throttle,
)
from memocache.stats import CacheStats, FunctionStats


def seen(hits: int, misses: int, functions: int = 0) -> CacheStats:
    """The figures of a fleet."""
    of = {f"f{n}": FunctionStats(f"f{n}", hits=hits) for n in range(functions)}
    return CacheStats(hits=hits, misses=misses, functions=of)


def test_points_are_rates_between_looks() -> None:
    """Calls per second and the hit rate are of the time between two looks; an idle time has no hit rate."""
    history = History()
    history.seen(seen(10, 10), 100.0)
    history.seen(seen(40, 20), 110.0)
    history.seen(seen(40, 20), 120.0)
    assert [(p.calls, p.hit_rate) for p in history.points] == [(4.0, 0.75), (0.0, None)]


def test_counters_that_fall_and_outages_make_no_rates() -> None:
    """A zeroed counter reads as nothing, an outage as a gap, and what happened meanwhile is in no rate."""
    history = History()
    history.seen(seen(100, 0), 100.0)
    history.seen(seen(0, 0), 110.0)
    history.missed(120.0)
    history.seen(seen(1000, 0), 130.0)
    assert [p.calls for p in history.points] == [0.0, None]


def test_the_hour_is_bounded() -> None:
    """However long and however many functions: so many points, so many lines, and only the new ones are sent."""
    history = History()
    for n in range(POINTS + 500):
        history.seen(seen(n, 0), n * 2.0)
    assert len(history.points) == POINTS
    now = (POINTS + 499) * 2.0
    assert len(history.since(history.points[-1].number - 3, now)) == 3
    for n in range(FUNCTION_POINTS + 5):
        history.seen(seen(n, 0, MAX_FUNCTIONS + 10), 10_000.0 + n * 60)
    lines = [history.spark(f"f{n}") for n in range(MAX_FUNCTIONS + 10)]
    assert sum(map(bool, lines)) == MAX_FUNCTIONS
    assert max(map(len, lines)) == FUNCTION_POINTS


def test_sessions_end_and_are_bounded() -> None:
    """A session ends when unused, and at its age whatever is done with it; the oldest goes when there are too many."""
    sessions = Sessions()
    one = sessions.begin(0.0)
    assert sessions.find(one.id, IDLE_SECONDS) is one
    assert sessions.find(one.id, 2 * IDLE_SECONDS + 1) is None
    kept, now = sessions.begin(0.0), 0.0
    while now < LIFE_SECONDS - 1000:
        now += 1000
        assert sessions.find(kept.id, now) is kept
    assert sessions.find(kept.id, LIFE_SECONDS + 1) is None
    made = [sessions.begin(0.0) for _ in range(MAX_SESSIONS + 1)]
    assert sessions.find(made[0].id, 0.0) is None
    assert sessions.find(made[-1].id, 0.0) is made[-1]
    assert len({one.id for one in made} | {one.csrf for one in made}) == 2 * len(made)


def test_the_throttle_counts_by_address_and_in_all() -> None:
    """Five a minute from one address, fifty from all; then it says how long, and forgets after a minute."""
    throttle = Throttle()
    for _ in range(TRIES):
        assert throttle.wait("a", 0.0) == 0
        throttle.failed("a", 0.0)
    assert throttle.wait("a", 20.0) == 40.0
    assert throttle.wait("b", 20.0) == 0
    for n in range(TRIES_OF_ALL):
        throttle.failed(str(n), 30.0)
    assert throttle.wait("new", 31.0) == 59.0
    assert throttle.wait("a", 91.0) == 0
