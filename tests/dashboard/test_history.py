"""The history, the sessions and the throttle: pure, with a clock passed in."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette")
from memocache.dashboard._history import DAY, FUNCTION_POINTS, HOUR, MAX_FUNCTIONS, POINTS, History
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
    assert [(p.calls, p.hit_rate) for p in history.looks.points] == [(4.0, 0.75), (0.0, None)]


def test_counters_that_fall_and_outages_make_no_rates() -> None:
    """A zeroed counter reads as nothing, an outage as a gap, and what happened meanwhile is in no rate."""
    history = History()
    history.seen(seen(100, 0), 100.0)
    history.seen(seen(0, 0), 110.0)
    history.missed(120.0)
    history.seen(seen(1000, 0), 130.0)
    assert [p.calls for p in history.looks.points] == [0.0, None]


def test_the_hour_is_bounded() -> None:
    """However long and however many functions: so many points, so many lines, and only the new ones are sent."""
    history = History()
    for n in range(POINTS + 500):
        history.seen(seen(n, 0), n * 2.0)
    assert len(history.looks.points) == POINTS
    now = (POINTS + 499) * 2.0
    assert len(history.since(history.looks.points[-1].number - 3, now)) == 3
    for n in range(FUNCTION_POINTS + 5):
        history.seen(seen(n, 0, MAX_FUNCTIONS + 10), 10_000.0 + n * 60)
    lines = [history.spark(f"f{n}") for n in range(MAX_FUNCTIONS + 10)]
    assert sum(map(bool, lines)) == MAX_FUNCTIONS
    assert max(map(len, lines)) == FUNCTION_POINTS


def test_older_points_are_fewer() -> None:
    """A day is kept by the minute and a week by ten minutes, as exact rates of those; each span shows its own."""
    history = History()
    for n in range(int(DAY / 15) + 2):  # looks every 15 s, three calls each
        history.seen(seen(3 * n, 0), n * 15.0)
    now = DAY + 15.0
    assert {p.calls for p in history.since(0, now, "24h")} == {p.calls for p in history.since(0, now, "7d")} == {0.2}
    assert [len(history.since(0, now, span)) for span in ("15m", "1h", "24h", "7d")] == [60, 240, 1440, 144]
    assert len(history.since(history.minutes.points[-4].number, now, "24h")) == 3


def test_counters_that_fall_take_nothing_from_the_minute() -> None:
    """A function whose counters are zeroed within a minute does not hide the minute's other calls."""
    history = History()
    for at, hits in ((0.0, 1000), (20.0, 1060), (40.0, 0), (60.0, 60)):
        history.seen(seen(hits, 0), at)
    assert [p.calls for p in history.since(0, 60.0, "24h")] == [2.0]


def test_a_long_outage_is_one_gap_of_the_minutes() -> None:
    """One point a minute without figures, however often it was looked; the minute after it is whole again."""
    history = History()
    history.seen(seen(0, 0), 0.0)
    for at in range(2, 150, 2):
        history.missed(float(at))
    history.seen(seen(0, 0), 150.0)
    history.seen(seen(60, 0), 210.0)
    assert [(p.at, p.calls) for p in history.minutes.points] == [(60.0, None), (120.0, None), (210.0, 1.0)]


def test_the_next_process_takes_it_over() -> None:
    """What the texts say is in every span of the next process, then a gap, then its own; texts of others are passed
    over, whatever they hold.
    """
    old = History()
    texts: dict[str, bytes] = {}
    for n in range(300):
        if old.seen(seen(n * 60, 0), n * 60.0):
            texts |= old.texts(n * 60.0)
    now = 300 * 60.0
    assert set(texts) <= set(old.names(now))
    assert max(map(len, texts.values())) < 20_000
    sound = dict(texts)
    bad = [b"", b"[", b"{}", b"[[1]]", b'[["x",1,1,1,1,1,1]]', b"[[NaN,1,1,1,1,1,1]]", b"[" * 60_000, b"9" * 60_000]
    texts |= {f"m:{-1 - n}": text for n, text in enumerate([*bad, b"[[1e400,1,1,1,1,1,1]]", b" " * 70_000])}
    new = History()
    new.restore(texts, now)
    new.seen(seen(0, 0), now)
    new.seen(seen(120, 0), now + 60)
    assert [p.calls for p in new.since(0, now + 60, "24h")] == [1.0] * 299 + [None, 2.0]
    assert [p.calls for p in new.since(0, now + 60, "7d")] == [1.0] * 29 + [None]
    assert {p.calls for p in new.since(0, now + 60, "1h")} == {1.0, 2.0, None}
    assert {p.number for p in new.since(0, now + 60, "1h")} == {0, 1}
    assert [p.number for p in new.since(1, now + 60, "24h")] == []
    newest = new.texts(now + 60)
    assert len(newest[f"t:{int(now // DAY)}"]) > len(sound[f"t:{int(now // DAY)}"]), "the gap too"
    assert all(now // (HOUR if name[0] == "m" else DAY) - int(name[2:]) in (0, 1) for name in newest)
    assert len(newest) == 4, "what the backend refused at an hour's end is told again after it"


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
