"""Every row of FAULTS.md has a line in README.md, and every test named there exists."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent.parent
TABLE = (TESTS / "faults" / "README.md").read_text()
ROWS = {
    int(number): (tests.strip(), remarks.strip())
    for number, tests, remarks in re.findall(r"^\| (\d+) \| (.*?) \| (.*?)\|$", TABLE, re.M)
}


def test_every_row_is_there() -> None:
    """Rows 1 to 44, once each; one without tests says why."""
    assert sorted(ROWS) == list(range(1, 45))
    assert len(re.findall(r"^\| \d+ \|", TABLE, re.M)) == 44
    for tests, remarks in ROWS.values():
        assert ("::" in tests) != ("not in this version" in remarks)


def test_every_named_test_exists() -> None:
    """Each `file::test` is a function in that file."""
    named = re.findall(r"`([a-z_/]+\.py)::(\w+)`", TABLE)
    assert len(named) > 90
    for file, test in named:
        assert re.search(rf"def {test}\(", (TESTS / file).read_text()), f"{file} has no {test}"


def test_every_test_here_is_named() -> None:
    """Each test of this folder that bears a row's number stands in that row."""
    for path in (TESTS / "faults").glob("test_*.py"):
        for test, number in re.findall(r"^def (test_(\d+)_\w+)", path.read_text(), re.M):
            assert test in ROWS[int(number)][0], test
