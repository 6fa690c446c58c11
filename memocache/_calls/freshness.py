"""The rules of freshness, as pure functions: no clock, no I/O, no randomness that is not passed in.

The decision table of one call (docs/freshness.md shows it to users; tests/calls/test_freshness.py has a test a row):

=========  ==============================================  ==================================================
entry      what `judge` says                               what happens
=========  ==============================================  ==================================================
fresh      FRESH                                           served; with `early`, perhaps a background refresh
past ttl   STALE within `stale`                            served; one background refresh
past ttl   MISS, kept within `stale_if_error`              computed; served if the function raises, or is
                                                           slower than `soft_timeout`
none       MISS                                            computed
=========  ==============================================  ==================================================
"""

from __future__ import annotations

import math
from enum import Enum


class Verdict(Enum):
    """What an entry is good for now."""

    FRESH = "fresh"
    REFRESH = "refresh"  # fresh, and due for an early refresh
    STALE = "stale"
    MISS = "miss"


def judge(
    now: float, expires: float, stale_until: float, *, early: float = 0.0, cost: float = 0.0, draw: float = 1.0
) -> Verdict:
    """Say what an entry is good for; all times on one clock, in seconds.

    `early` is XFetch's beta and `cost` its delta, the measured compute time; `draw` is uniform in (0, 1].
    Source: Vattani, Chierichetti, Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015, fig. 3.
    """
    if now < expires:
        if early and now - cost * early * math.log(draw) >= expires:
            return Verdict.REFRESH
        return Verdict.FRESH
    return Verdict.STALE if now < stale_until else Verdict.MISS


def early_margin(early: float, cost: float) -> float:
    """Seconds before expiry from which `judge` has more than one chance in 10⁹ of saying REFRESH."""
    return early * cost * math.log(1e9)


def jittered(ttl: float, jitter: float, draw: float) -> float:
    """Subtract up to the share `jitter` of `ttl`; `draw` is uniform in [0, 1). The ttl stays an upper bound."""
    return ttl * (1.0 - jitter * draw) if jitter else ttl


def retention(stale: float, stale_if_error: float) -> float:
    """Seconds an entry is kept after its ttl."""
    return max(stale, stale_if_error)


def servable_on_failure(now: float, expires: float, stale_until: float, stale_if_error: float) -> bool:
    """Whether an entry may be served because the function raised or is slower than its soft timeout."""
    return now < max(stale_until, expires + stale_if_error)


def smoothed(mean: float, sample: float, weight: float = 0.25) -> float:
    """The exponentially weighted mean of compute times after one more `sample`; a `mean` of 0 means none yet."""
    return sample if not mean else mean + weight * (sample - mean)
