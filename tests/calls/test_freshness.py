"""The rules of freshness, row by row of the decision table in `memocache._calls.freshness`."""

from __future__ import annotations

import math
import random

import pytest

from memocache._calls.freshness import (
    Verdict,
    early_margin,
    jittered,
    judge,
    retention,
    servable_on_failure,
    smoothed,
)

_EXPIRES = 100.0


@pytest.mark.parametrize(
    ("now", "stale", "verdict"),
    [
        (0.0, 0, Verdict.FRESH),
        (99.999, 0, Verdict.FRESH),
        (100.0, 0, Verdict.MISS),  # the ttl is an upper bound: at its end the entry is past it
        (100.0, 20, Verdict.STALE),
        (119.999, 20, Verdict.STALE),
        (120.0, 20, Verdict.MISS),
        (1e9, 20, Verdict.MISS),
        (1e9, math.inf, Verdict.STALE),
        (-math.inf, 0, Verdict.FRESH),
    ],
)
def test_an_entry_is_fresh_then_stale_then_nothing(now: float, stale: float, verdict: Verdict) -> None:
    """Each interval is closed at its beginning and open at its end."""
    assert judge(now, _EXPIRES, _EXPIRES + stale) is verdict


def test_nothing_found_is_a_miss() -> None:
    """Nothing found expires at minus infinity."""
    assert judge(0.0, -math.inf, -math.inf) is Verdict.MISS


def test_an_entry_without_ttl_is_fresh_for_ever() -> None:
    """It expires at infinity, and no early refresh is due."""
    assert judge(1e15, math.inf, math.inf) is Verdict.FRESH
    assert judge(1e15, math.inf, math.inf, early=1.0, cost=1e3, draw=1e-9) is Verdict.FRESH


@pytest.mark.parametrize(
    ("now", "early", "cost", "draw", "verdict"),
    [
        (99.0, 0.0, 10.0, 1e-9, Verdict.FRESH),  # off
        (99.0, 1.0, 0.0, 1e-9, Verdict.FRESH),  # costs nothing to compute
        (99.0, 1.0, 1.0, 1.0, Verdict.FRESH),  # the draw that never refreshes
        (99.0, 1.0, 1.0, math.exp(-1), Verdict.REFRESH),  # exactly the margin
        (98.9, 1.0, 1.0, math.exp(-1), Verdict.FRESH),
        (98.9, 2.0, 1.0, math.exp(-1), Verdict.REFRESH),  # beta and delta both widen it
        (98.9, 1.0, 2.0, math.exp(-1), Verdict.REFRESH),
        (100.0, 1.0, 9.0, 1e-9, Verdict.STALE),  # past the ttl early has no say
    ],
)
def test_early_refreshes_by_chance(now: float, early: float, cost: float, draw: float, verdict: Verdict) -> None:
    """XFetch: refresh when now - delta * beta * ln(U) reaches the expiry."""
    assert judge(now, _EXPIRES, _EXPIRES + 50, early=early, cost=cost, draw=draw) is verdict


def test_early_has_the_published_probability() -> None:
    """At a distance d before expiry the chance is exp(-d / (beta * delta)), here 1/e within three sigmas."""
    draws = random.Random(3)
    n = 20_000
    refreshed = sum(
        judge(98.0, _EXPIRES, _EXPIRES, early=1.0, cost=2.0, draw=1.0 - draws.random()) is Verdict.REFRESH
        for _ in range(n)
    )
    p = math.exp(-1)
    assert abs(refreshed - n * p) < 3 * math.sqrt(n * p * (1 - p))


def test_before_the_margin_early_is_as_good_as_off() -> None:
    """`early_margin` is where the chance is one in a billion."""
    margin = early_margin(2.0, 3.0)
    assert math.exp(-margin / 6.0) == pytest.approx(1e-9)
    assert judge(_EXPIRES - margin - 0.01, _EXPIRES, _EXPIRES, early=2.0, cost=3.0, draw=1e-9) is Verdict.FRESH
    assert early_margin(0.0, 3.0) == 0.0


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999999])
def test_jitter_only_subtracts(draw: float) -> None:
    """The ttl stays an upper bound, and the share a lower one."""
    assert jittered(60.0, 0.0, draw) == 60.0
    assert jittered(60.0, 0.25, draw) == pytest.approx(60.0 * (1 - 0.25 * draw))
    assert 45.0 <= jittered(60.0, 0.25, draw) <= 60.0
    assert jittered(60.0, 1.0, draw) > 0.0
    assert jittered(math.inf, 0.5, draw) == math.inf


@pytest.mark.parametrize(("stale", "if_error", "kept"), [(0, 0, 0), (5, 0, 5), (0, 7, 7), (5, 7, 7), (9, 7, 9)])
def test_an_entry_is_kept_for_the_longer_of_both(stale: float, if_error: float, kept: float) -> None:
    """`stale` and `stale_if_error` both begin at the ttl's end."""
    assert retention(stale, if_error) == kept


@pytest.mark.parametrize(
    ("now", "stale", "if_error", "servable"),
    [
        (100.0, 0, 0, False),
        (100.0, 0, 10, True),
        (109.9, 0, 10, True),
        (110.0, 0, 10, False),
        (115.0, 20, 10, True),  # still stale, so all the more servable
        (120.0, 20, 10, False),
        (99.0, 0, 0, True),  # fresh again since: somebody else stored
    ],
)
def test_an_old_value_stands_in_for_a_failure(now: float, stale: float, if_error: float, servable: bool) -> None:
    """Past its ttl, within either window."""
    assert servable_on_failure(now, _EXPIRES, _EXPIRES + stale, if_error) is servable


def test_compute_times_are_smoothed() -> None:
    """The first sample is the mean; later ones move it by a quarter."""
    assert smoothed(0.0, 4.0) == 4.0
    assert smoothed(4.0, 8.0) == 5.0
    assert smoothed(4.0, 0.0) == 3.0
