"""Row 21 of docs/reliability.md, in short: `tests.checker.storm` has more rounds and other seeds.

0 wrong values, 0 exceptions to callers, and every worker is served again soon after the servers themselves can.
"""

from __future__ import annotations

import pytest

from memocache.testing import servers
from tests.checker.storm import Report, storm

pytestmark = [pytest.mark.skipif(not servers.available_servers(), reason="no server"), pytest.mark.full]

_SERVER = (servers.available_servers() or ["none"])[0]
_BEHIND = 2.0
"""Seconds that a copy in the process may be behind: twice what is promised, for a busy machine."""
_SOON = 10.0
"""Seconds: ten times what is promised, for a busy machine."""


def _check(report: Report, faults: int) -> None:
    assert report.raised == []
    assert report.wrong == []
    assert len(report.resumed) == faults
    assert all(seconds < _SOON for _, seconds in report.resumed), report.resumed
    assert report.hits > 0
    assert report.invalidations > 0


def test_a_cluster_that_loses_primaries_and_moves_slots() -> None:
    """A primary killed, slots moved with keys half on their way, a primary stopped and resumed, one replaced in good
    order, all of them down and up: no wrong answer, no exception, and service again after each; also in a process with
    copies of its own.
    """
    steps = ["reshard", "kill", "hand_over", "stop", "down"]
    _check(storm("cluster", steps, seed=21, server=_SERVER, workers=3, behind=_BEHIND), faults=3)


def test_a_master_that_sentinels_replace() -> None:
    """The master is killed and a replica takes over: no wrong answer, no exception, and service again, with copies
    in the process too.
    """
    _check(storm("sentinel", ["kill"], seed=21, server=_SERVER, workers=3, behind=_BEHIND), faults=1)


def test_replicas_have_what_an_invalidation_waited_for() -> None:
    """With ``wait=1`` nothing is lost with a master that dies: not one answer needs the exemption."""
    report = storm("sentinel", ["calm_down", "stop", "calm_down"], seed=22, server=_SERVER, workers=2, wait=1)
    _check(report, faults=1)
    assert report.exempt == 0


def test_a_build_that_loses_invalidations_is_caught() -> None:
    """The checker sees wrong values where there are some, without any fault."""
    report = storm("sentinel", ["calm_down"], seed=23, server=_SERVER, workers=2, broken=True)
    assert report.wrong
    assert report.exempt == 0
    assert report.raised == []
