"""Every row of docs/reliability.md has a line in README.md, and every test named there exists."""

from __future__ import annotations

import re
from pathlib import Path

from tests.promises.faults import report

TESTS = Path(__file__).parents[2]
PAGE = (TESTS.parent / "docs" / "reliability.md").read_text()
ROWS = {row.number: row for row in report.rows(report.INDEX.read_text())}
TABLE = report.INDEX.read_text()


def test_every_row_is_there() -> None:
    """Rows 1 to 44, once each; one without tests says why."""
    assert sorted(ROWS) == list(range(1, 45))
    assert len(re.findall(r"^\| \d+ \|", TABLE, re.M)) == 44
    for row in ROWS.values():
        assert bool(row.tests) != ("not in this version" in row.remarks)


def test_every_named_test_exists() -> None:
    """Each `file::test` is a function in that file."""
    named = re.findall(r"`([a-z_/]+\.py)::(\w+)`", TABLE)
    assert len(named) > 90
    for file, test in named:
        assert re.search(rf"def {test}\(", (TESTS / file).read_text()), f"{file} has no {test}"


def test_every_test_here_is_named() -> None:
    """Each test of this folder that bears a row's number stands in that row."""
    for path in (TESTS / "promises" / "faults").glob("test_*.py"):
        for test, number in re.findall(r"^def (test_(\d+)_\w+)", path.read_text(), re.M):
            assert any(named.endswith(f"::{test}") for named in ROWS[int(number)].tests), test


def test_the_page_has_these_rows() -> None:
    """The reliability page, which `tests.promises.faults.report` writes, has the rows of the table, each as it is
    here."""
    assert report.MARK in PAGE
    lines = [line for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)]
    assert len(lines) == len(ROWS)
    for line, row in zip(lines, ROWS.values(), strict=True):
        assert line.startswith(f"| {row.number} | {row.fault} | {row.inject} | {row.goal} |"), row.number
