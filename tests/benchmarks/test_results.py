"""What is saved, read back, merged and compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import _goals, _page, _results
from benchmarks._units import PERCENT
from tests.benchmarks.support import failing, outcome, suite, telling


def _run(other: list[float], name: str = "a suite", at: str = "2026-01-01T00:00:00+00:00") -> _results.SuiteResult:
    panel = outcome(
        telling("base", [1.0] * len(other)),
        telling("other", other, peer=True),
        failing("absent", lambda: ModuleNotFoundError("not here")),
        base="base",
        rounds=len(other),
    )
    return suite(name, panel, at=at)


def test_what_is_saved_is_what_is_read(tmp_path: Path):
    """Figures, spreads, notes, who was skipped, and the facts survive the file."""
    results = [_run([1.5, 2.0, 2.5])]
    _results.save(results, tmp_path / "made" / "run.json")
    (found,) = _results.load(tmp_path / "made" / "run.json")
    assert found.panels == results[0].panels
    assert dict(found.facts, load_average_before=None) == dict(results[0].facts, load_average_before=None)


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"suites": []}'])
def test_another_file_is_refused(tmp_path: Path, text: str):
    """A file that holds no results, or another format's, is named in the error."""
    path = tmp_path / "other.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(_results.BadResults, match=r"other\.json"):
        _results.load(path)


def test_of_several_runs_the_latest_of_each_suite_counts():
    """Runs of different suites make one report, and a suite that was run again is shown once."""
    old, new = _run([1.0], at="2026-01-01T00:00:00+00:00"), _run([2.0], at="2026-01-02T00:00:00+00:00")
    other = _run([3.0], name="another")
    assert _results.merged([[new], [old, other]]) == [new, other]


def test_a_change_within_the_spread_is_no_change():
    """Only where the quartiles are apart is a run better or worse than another."""
    before = _run([2.0, 2.1, 2.2, 2.3])
    verdicts = {}
    for label, figures in {
        "same": [2.1, 2.2, 2.3, 2.4],
        "worse": [3.0, 3.1, 3.2, 3.3],
        "better": [1.0, 1.1, 1.2, 1.3],
    }.items():
        (change,) = _results.compare([before], [_run(figures)])
        verdicts[label] = change.verdict
    assert verdicts == {"same": "", "worse": "worse", "better": "better"}


def test_a_tiny_change_is_no_change_even_without_spread():
    """Two counts a hundredth apart are the same."""
    (change,) = _results.compare([_run([2.0, 2.0])], [_run([2.02, 2.02])])
    assert change.verdict == ""


def test_more_hits_are_better():
    """Where more is better, a growing figure is no regression."""

    def run(figure: float) -> _results.SuiteResult:
        return suite("s", outcome(telling("a", [1.0]), telling("b", [figure]), base="a", rounds=1, unit=PERCENT))

    (change,) = _results.compare([run(10.0)], [run(20.0)])
    assert change.verdict == "better"


def test_what_only_one_run_has_is_not_compared():
    """A new panel has no before."""
    assert list(_results.compare([_run([1.0], name="old")], [_run([1.0], name="new")])) == []


def test_facts_name_the_machine_and_the_versions():
    """Whoever reads figures can tell what they were measured on and with."""
    facts = _results.facts()
    assert facts["cores"] >= 1
    assert "memocache" in facts["versions"]
    assert "redis" in facts["versions"]


def test_a_goal_is_judged_by_figures_of_the_same_round():
    """A goal compares round with round, and says whether its bound was held."""
    panel = outcome(
        telling("functools.lru_cache", [1.0, 1.0, 1.0]),
        telling("memocache", [2.0, 30.0, 4.0]),
        telling("slow", [9.0, 99.0, 9.0], peer=True),
        telling("fast", [4.0, 40.0, 4.0], peer=True),
        base="functools.lru_cache",
        rounds=3,
    )
    named = suite("hit-process", *(type(panel)(**{**vars(panel), "panel": "sync, f(k, 3)"}) for _ in range(1)))
    goals = {goal.name: goal for goal in _goals.judged([named])}
    fastest = goals["hit in the process, positional, of the fastest TTL peer's"]
    assert (fastest.measured, fastest.held) == ("0.75", True)
    lru = goals["the same, positional, of lru_cache's"]
    assert (lru.measured, lru.held) == ("4.00", True)


def test_a_peer_is_ahead_only_beyond_the_spread():
    """The list of where memocache loses names those whose quartiles lie apart from its own."""
    panel = outcome(
        telling("base", [1.0] * 3),
        telling("memocache", [3.0, 4.0, 5.0]),
        telling("close", [3.0, 3.9, 5.0], peer=True),
        telling("ahead", [1.0, 1.1, 1.2], peer=True),
        base="base",
        rounds=3,
    )
    assert [other.contender for _, other in _page.behind(panel)] == ["ahead"]
