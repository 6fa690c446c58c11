"""The checker in short (`python -m tests.checker`): it sees what is wrong, and finds nothing where nothing is."""

from __future__ import annotations

import pytest

from memocache.testing import servers
from tests.checker.storm import overlaps, storm

_KIND = (servers.available_servers() or ["none"])[0]


@pytest.mark.parametrize(
    ("computations", "invalidations", "faults", "found"),
    [
        ([(1, 0.0, 2.0), (2, 1.0, 3.0)], [], [], (2, 0, 0)),
        ([(1, 0.0, 2.0), (1, 1.0, 3.0)], [], [], (2, 1, 0)),
        ([(1, 0.0, 2.0), (1, 1.0, 3.0)], [(1, 0.5, 0.6)], [], (2, 0, 0)),
        ([(1, 0.0, 2.0), (1, 1.0, 3.0)], [(-1, 0.5, 0.6)], [], (2, 0, 0)),
        ([(1, 0.0, 2.0), (1, 1.0, 3.0)], [(2, 0.5, 0.6)], [], (2, 1, 0)),
        ([(1, 0.0, 2.0), (1, 1.0, 3.0)], [(1, 1.5, 1.6)], [], (2, 1, 0)),
        ([(1, 0.0, 2.0), (1, 1.0, 3.0)], [], [(0.5, 5.0)], (2, 0, 1)),
        ([(1, 0.0, 9.0), (1, 1.0, 2.0), (1, 8.0, 9.0)], [], [], (3, 2, 0)),
    ],
)
def test_overlaps_are_counted(
    computations: list[tuple[int, float, float]],
    invalidations: list[tuple[int, float, float]],
    faults: list[tuple[float, float]],
    found: tuple[int, int, int],
) -> None:
    """A computation overlaps another of its key, unless an invalidation came between; about faults it is excused."""
    assert overlaps(computations, invalidations, faults) == found


@pytest.mark.skipif(not servers.available_servers(), reason="no server")
def test_a_server_in_trouble() -> None:
    """On a server that is emptied, filled, ended and begun anew nothing wrong is served, raised or left hanging."""
    steps = ["flush", "kill_clients", "restart", "full", "swap", "kill_process"]
    report = storm("server", steps, seed=31, server=_KIND, workers=2)
    assert (report.wrong, report.raised, report.hung) == ([], [], 0)
    assert len(report.steps) == len(steps)
    assert report.hits > 0
    assert report.invalidations > 0
    assert report.puts + report.cancelled > 0


@pytest.mark.skipif(not servers.available_servers(), reason="no server")
def test_a_build_that_loses_invalidations_is_caught() -> None:
    """Where deletes are only said to be done, wrong values are seen, and none of them is excused."""
    report = storm("server", ["calm_down"], seed=32, server=_KIND, workers=2, broken=True)
    assert report.wrong
    assert report.exempt == 0


def test_processes_on_one_store() -> None:
    """On a store on disk whose processes are killed and stopped nothing wrong is served, raised or left hanging."""
    report = storm("disk", ["kill_process", "stop_process"], seed=33, server=_KIND, workers=2)
    assert (report.wrong, report.raised, report.hung) == ([], [], 0)
    assert report.hits > 0
