"""How a panel is run, and what its figures are."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from benchmarks._measure import QUICK, Bench, Broken, Effort, Noted, Panel, Spread, Unavailable, run_panel, suites
from benchmarks._units import BYTES, COUNT, PERCENT, SECONDS, UNITS
from tests.benchmarks.support import failing, outcome, telling


def test_a_ratio_is_the_median_of_the_ratios_of_each_round():
    """A slow round that slows everybody leaves the ratio alone, where the ratio of the medians would move."""
    result = outcome(telling("base", [1.0, 10.0, 4.0]), telling("other", [2.0, 20.0, 5.0]), base="base", rounds=3)
    base, other = result.results
    assert (base.figure.median, base.ratio) == (4.0, Spread(1.0, 1.0, 1.0))
    assert other.figure == Spread(5.0, 3.5, 12.5)
    assert other.ratio.median == 2.0
    assert other.samples == (2.0, 20.0, 5.0)


def test_each_round_begins_with_another_contender():
    """Whoever is first, and meets a cold machine, is another one in each round."""
    told: list[str] = []
    entrants = [telling(name, [1.0] * 3, told=told) for name in "abc"]
    outcome(*entrants, base="a", rounds=3)
    assert "".join(told) == "abcbcacab"


def test_a_missing_peer_is_skipped_by_name():
    """A library that is not installed leaves a line with its name and the reason, and the others their figures."""
    missing = failing("absent", lambda: ModuleNotFoundError("No module named 'absent'"))
    result = outcome(telling("base", [1.0] * 2), missing, base="base", rounds=2)
    assert [one.contender for one in result.results] == ["base"]
    assert result.skipped == (("absent", "No module named 'absent'"),)


def test_a_peer_that_fails_is_named_and_ours_ends_the_run():
    """What a peer raises is told by its type alone; what our own contender raises is an error of the run."""
    broken = failing("peer", lambda: RuntimeError("with details"))
    odd = failing("odd", lambda: Broken("it computed twice"))
    result = outcome(telling("base", [1.0] * 2), broken, odd, base="base", rounds=2)
    assert result.skipped == (("peer", "failed: RuntimeError"), ("odd", "failed: it computed twice"))
    with pytest.raises(RuntimeError, match="details"):
        outcome(
            telling("base", [1.0] * 2),
            failing("memocache", lambda: RuntimeError("with details"), peer=False),
            base="base",
            rounds=2,
        )


def test_a_peer_that_fails_midway_has_no_figures():
    """A contender that gives fewer samples than there are rounds is not compared at all."""
    result = outcome(telling("base", [1.0] * 3), telling("peer", [1.0], peer=True), base="base", rounds=3)
    assert [one.contender for one in result.results] == ["base"]
    assert result.skipped == (("peer", "failed: IndexError"),)


def test_what_is_unavailable_here_says_why():
    """Not even a contender of our own ends the run when it says that it cannot take part."""
    result = outcome(
        telling("base", [1.0]), failing("ours", lambda: Unavailable("no disk"), peer=False), base="base", rounds=1
    )
    assert result.skipped == (("ours", "no disk"),)


def test_without_its_base_a_panel_gives_nothing():
    """A ratio to somebody who is not there is not made up."""
    result = outcome(
        failing("base", lambda: ModuleNotFoundError("gone")), telling("other", [1.0] * 2), base="base", rounds=2
    )
    assert result.results == ()
    assert result.skipped == (("base", "gone"), ("all others", "base is the base"))


def test_peers_can_be_left_out():
    """Without peers only what needs no further library takes part, and nobody is called skipped."""
    entrants = (telling("base", [1.0]), telling("peer", [1.0], peer=True))
    result = outcome(*entrants, base="base", rounds=1, peers=False)
    assert [one.contender for one in result.results] == ["base"]
    assert result.skipped == ()


def test_a_panel_may_ask_for_fewer_rounds_than_the_effort():
    """A count that is the same every time is taken once."""
    told: list[str] = []
    panel = Panel("a panel", "base", (telling("base", [1.0] * 9, told=told),), once=True, rounds=1)
    with ExitStack() as stack:
        run_panel(panel, Bench(stack, Effort("tiny", rounds=5, sample_seconds=0.0)))
    assert told == ["base"]


def test_a_figure_keeps_its_note():
    """The words that a contender puts beside its figure reach the result."""
    (result,) = outcome(telling("base", [Noted(3.0, "three of them")]), base="base", rounds=1, unit=COUNT).results
    assert (result.figure.median, result.note) == (3.0, "three of them")


def test_points_are_compared_by_difference():
    """A hit ratio of 12.5 percent is 12.5 points ahead of one of 0, not infinitely many times as good."""
    result = outcome(telling("base", [0.0]), telling("other", [12.5]), base="base", rounds=1, unit=PERCENT)
    assert result.results[1].ratio.median == 12.5


def test_units_spell_what_they_measure():
    """A figure is written in the unit that suits its size."""
    assert [SECONDS.spell(one) for one in (2.5e-7, 2.5e-5, 0.25, 2.5)] == ["250 ns", "25.00 µs", "250.00 ms", "2.50 s"]
    assert (BYTES.spell(1234.5), COUNT.spell(3.0), PERCENT.spell_ratio(-1.0)) == ("1,234 B", "3", "-1.00")
    assert all(name == unit.name for name, unit in UNITS.items())


def test_every_suite_names_its_bases_among_its_contenders():
    """A panel whose base is misspelt would never give a figure; and no two contenders of a panel share a name."""
    with ExitStack() as stack:
        bench = Bench(stack, QUICK)
        for suite in suites().values():
            for panel in suite.panels(bench):
                names = [one.name for one in panel.contenders]
                assert panel.base in names, (suite.name, panel.name)
                assert len(set(names)) == len(names), (suite.name, panel.name)
