"""Histograms and causes as pure things: which bucket, what a quantile says, what is remembered of a place."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memocache._stores.memory.miss_reasons import Causes
from memocache.stats import (
    BUCKETS,
    CAUSES,
    COLD,
    EVICTED,
    EXPIRED,
    INVALIDATED,
    LIFE_BUCKETS,
    REJECTED,
    Counters,
    FunctionStats,
    Histogram,
    bucket,
    function_details,
)


def histogram(seconds: list[float], buckets: int = BUCKETS) -> Histogram:
    """The histogram of some times."""
    counts = [0] * buckets
    for one in seconds:
        counts[bucket(one, buckets)] += 1
    return Histogram(tuple(counts))


MICROSECONDS = st.integers(0, 2**40)


@given(MICROSECONDS)
def test_a_time_lies_within_its_bucket(micros: int) -> None:
    """A time is below the bound of its bucket and not below that of the one before, the first and the last apart."""
    seconds = (micros + 0.5) / 1e6
    index, bounds = bucket(seconds), Histogram().bounds
    assert seconds < bounds[index]
    assert index == 0 or seconds >= bounds[index - 1]
    assert (index == 0) == (micros == 0)


@pytest.mark.parametrize(("seconds", "index"), [(-1.0, 0), (0.0, 0), (1e300, -1), (math.inf, -1), (2.0**31, -1)])
def test_times_beyond_all_buckets(seconds: float, index: int) -> None:
    """What is below nothing is in the first bucket, whatever is too long, infinite too, in the last."""
    for buckets in (BUCKETS, LIFE_BUCKETS):
        expected = index % buckets if seconds != 2.0**31 or buckets == BUCKETS else 51
        assert bucket(seconds, buckets) == expected


def test_bounds_double_and_the_last_is_open() -> None:
    """The bounds are a microsecond, two, four …, and the last bucket has none."""
    bounds = Histogram().bounds
    assert bounds[:3] == (1e-6, 2e-6, 4e-6)
    assert len(bounds) == BUCKETS
    assert all(after == pytest.approx(2 * before) for before, after in pairwise(bounds[:-1]))
    assert bounds[-1] == math.inf


@given(st.lists(MICROSECONDS, min_size=1), st.floats(0, 1))
def test_a_quantile_bounds_the_true_one(micros: list[int], q: float) -> None:
    """At least the share `q` of all times lies below the quantile, and it is no more than twice what it must be."""
    times = sorted((one + 0.5) / 1e6 for one in micros)
    found = histogram(times).quantile(q)
    true = times[max(1, math.ceil(q * len(times))) - 1]
    assert found is not None
    assert true < found
    assert sum(one < found for one in times) >= q * len(times)
    assert found <= max(1e-6, 2 * true) or found == math.inf


def test_a_quantile_of_nothing_is_none() -> None:
    """Nothing counted has no quantile; a share beyond 0 to 1 is refused."""
    assert Histogram().quantile(0.5) is None
    assert Histogram().total == 0
    for q in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="quantile"):
            Histogram().quantile(q)


def test_details_of_counters() -> None:
    """What counters read is what details show, also of two that were added up, and after they began again."""
    one, other = Counters(), Counters()
    one.hit_times[3] += 2
    one.causes[COLD] += 1
    one.add(misses=1)
    assert one.read_details() == {"h:3": 2, "why:cold": 1}
    other.compute_times[31] += 1
    other.hit_times[3] += 1
    other.hits += 5
    one.absorb(other)
    assert one.read_details() == {"h:3": 3, "c:31": 1, "why:cold": 1}
    details = function_details(FunctionStats("f", hits=one.hits), one.read_details())
    assert (details.hit.total, details.untimed_hits, details.compute.counts[-1]) == (3, 2, 1)
    assert details.causes == dict.fromkeys(CAUSES, 0) | {COLD: 1}
    one.zero()
    assert one.read_details() == {}
    one.causes[EXPIRED] += 1
    one.add(misses=1)
    assert one.read_details() == {"why:expired": 1}


def test_causes_of_what_is_not_there() -> None:
    """Unknown is cold; stored is evicted while it would be fresh and expired after; else the last thing that was."""
    causes = Causes()
    assert causes.why(1, 0.0) == COLD
    causes.stored(1, 100.0)
    assert [causes.why(1, now) for now in (0.0, 99.9, 99.995, 100.0, 1e9)] == [EVICTED, EVICTED, *[EXPIRED] * 3]
    causes.stored(2, math.inf)
    assert causes.why(2, 1e12) == EVICTED
    for cause in (INVALIDATED, REJECTED):
        causes.gone(1, cause)
        assert causes.why(1, 1e9) == cause
    causes.stored(1, 2e9)
    assert causes.why(1, 1e9) == EVICTED


@given(st.integers(2, 50), st.lists(st.integers(0, 200)))
def test_causes_are_bounded_and_the_newest_stay(bound: int, places: list[int]) -> None:
    """Never more places than the bound are remembered, and the half of it that changed last always are."""
    causes = Causes(bound)
    for place in places:
        causes.gone(place, INVALIDATED)
        assert sum(causes.why(one, 0.0) != COLD for one in range(201)) <= bound
    newest = list(dict.fromkeys(reversed(places)))[: bound // 2]
    assert all(causes.why(place, 0.0) == INVALIDATED for place in newest)
