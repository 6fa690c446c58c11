"""The reliability page: runs the tests of the fault table and writes what they measured to `docs/reliability.md`.

::

    python -m tests.promises.faults.report                      # a quick share of the calls
    python -m tests.promises.faults.report --full --soak 1000000

The table is `README.md` beside this file: a row gets its figures from the tests named in it. Tests hand in figures as a
property ``figures`` (see `conftest.rig`): colour, calls, wrong, raised, worst (seconds added to a call) and recovery.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from memocache.testing import servers

INDEX = Path(__file__).with_name("README.md")
ROOT = INDEX.parents[3]
PAGE = ROOT / "docs" / "reliability.md"
MARK = "<!-- written by `python -m tests.promises.faults.report`; not by hand -->"
SOAK = "promises/faults/test_soak.py::test_soak"
_TEST = re.compile(r"`([a-z_/]+\.py::\w+)`")
_HEAD = (
    "| # | fault → promise | injected by | pass | tests | calls | wrong | raised "
    "| worst added: threads | tasks | used again after |"
)

_COLUMNS = """
Calls are those whose result was checked, in both colours; *wrong* are values that the function would not have returned,
*raised* exceptions that are not the function's own. *Worst added* is the longest that a call took (the function itself
takes no time), less the time for which a thread that only sleeps was kept waiting by the machine meanwhile; a dash
where calls had no deadline because something else is tested, or the tests time nothing. *Used again after* is the
longest from the end of a fault until calls were hits again. Bad builds are versions broken on purpose, which the same
measure must find.
""".strip()


class Row(NamedTuple):
    """One row of the table; `tests` and `caught` (builds that must fail) are `file::test` below ``tests/``."""

    number: int
    fault: str
    inject: str
    goal: str
    tests: list[str]
    caught: list[str]
    remarks: str


def rows(table: str) -> Iterator[Row]:
    """The rows of the table in a README."""
    for line in table.splitlines():
        if re.match(r"\| \d+ \|", line):
            number, fault, inject, goal, tests, remarks = (cell.strip() for cell in line.strip("|\n").split(" |"))
            more, _, caught = remarks.partition("caught")
            yield Row(int(number), fault, inject, goal, _TEST.findall(tests + more), _TEST.findall(caught), remarks)


class Recorder:
    """A pytest plugin that runs the tests `named` alone and keeps outcomes and figures, all by `file::test`."""

    def __init__(self, named: set[str]) -> None:
        self.named = named
        self.outcomes: dict[str, list[str]] = {}
        self.figures: dict[str, list[dict[str, Any]]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Called by pytest with all tests of the files."""
        items[:] = [item for item in items if _name(item.nodeid) in self.named]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called by pytest after each phase of each test."""
        test = _name(report.nodeid)
        if report.when == "call" or not report.passed:
            self.outcomes.setdefault(test, []).append(report.outcome)
        if report.when == "teardown":
            found = [value for name, value in report.user_properties if name == "figures"]
            self.figures.setdefault(test, []).extend(found)  # type: ignore[arg-type]  # ours are dicts

    def tally(self, tests: Iterable[str]) -> str:
        """How many ran, in words."""
        outcomes = [outcome for test in tests for outcome in self.outcomes.get(test, ["missing"])]
        counts = {kind: outcomes.count(kind) for kind in ("passed", "failed", "skipped", "missing")}
        return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)


def _name(nodeid: str) -> str:
    """``file::test`` of pytest's name for a test, which may have a class and parameters."""
    file, *_, function = nodeid.partition("[")[0].removeprefix("tests/").split("::")
    return f"{file}::{function}"


def line(row: Row, recorder: Recorder) -> str:
    """A row of the page."""
    start = f"| {row.number} | {row.fault} | {row.inject} | {row.goal} |"
    if not row.tests:
        return f"{start} {row.remarks} | | | | | | |"
    tests = recorder.tally(row.tests)
    if row.caught:
        tests += f"; bad builds caught: {recorder.tally(row.caught)}"
    figures = [one for test in row.tests for one in recorder.figures.get(test, []) if one["calls"]]
    if not figures:
        return f"{start} {tests} | - | - | - | - | - | - |"
    sums = [sum(one[name] for one in figures) for name in ("calls", "wrong", "raised")]
    worst = [_worst(one["worst"] for one in figures if one["colour"] == colour) for colour in ("sync", "async")]
    cells = [tests, *(f"{total:,}" for total in sums), *worst, _worst(one["recovery"] for one in figures)]
    return f"{start} {' | '.join(cells)} |"


def _worst(seconds: Iterable[float | None]) -> str:
    known = [one for one in seconds if one is not None]
    return f"{1000 * max(known):.0f} ms" if known else "-"


def page(recorder: Recorder, *, full: bool, lasted: float) -> str:
    """The whole page."""
    table = list(rows(INDEX.read_text()))
    share = "all the calls of the pass figures" if full else "a quick share of the calls of the pass figures"
    lines = [
        "# Reliability",
        "",
        MARK,
        "",
        "What can go wrong beside a cache, what memocache promises then, and what the last run of the tests measured.",
        "",
        *_filled(
            f"This run: {share}, {time.strftime('%Y-%m-%d', time.gmtime())}, {lasted / 60:.0f} minutes. {_machine()}"
        ),
        "",
        *_legend(),
        "",
        *_filled(_COLUMNS),
        "",
        _HEAD,
        "|" + " --- |" * (_HEAD.count("|") - 1),
        *(line(row, recorder) for row in table),
        "",
        *_soak(recorder),
        "",
        "The tests behind each row are named in `tests/promises/faults/README.md`.",
        "",
    ]
    return "\n".join(lines)


def _legend() -> list[str]:
    """What the table's abbreviations mean, from the README."""
    text = INDEX.read_text()
    return text[text.index("**D**") : text.index("| #")].strip().splitlines()


def _soak(recorder: Recorder) -> list[str]:
    found = recorder.figures.get(SOAK)
    if not found:
        return []
    one = found[-1]
    added = ", ".join(f"{name} {ms:.1f} ms" for name, ms in one["quantiles"].items())
    text = (
        f"{one['calls']:,} reads by 25 threads and 25 tasks in turn under a seeded mix of {one['faults']:,} injected "
        f"faults in {one['seconds']:.0f} s, with a breaker that lets callers try again after 10 ms: {one['wrong']} "
        f"wrong values, {one['raised']} exceptions of the cache side, {one['hits']:,} hits. Added time of a call: "
        f"{added}, worst {one['what']}."
    )
    return ["## Everything at once", "", *_filled(text)]


def _filled(text: str) -> list[str]:
    return textwrap.wrap(text, 120, break_long_words=False, break_on_hyphens=False)


def _machine() -> str:
    binaries = [kind.find() for kind in (servers.ValkeyServer, servers.RedisServer)]
    found = [_first_words(binary) for binary in binaries if binary is not None]
    parts = [
        f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f} at the end",
        f"Python {platform.python_version()}",
        *(f"{name} {version(name)}" for name in ("memocache", "redis", "hiredis")),
        *found,
    ]
    return "; ".join(parts) + "."


def _first_words(binary: str) -> str:
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"v=(\S+)", said)
    return f"{'Valkey' if 'alkey' in said else 'Redis'} server {found[1] if found else 'of unknown version'}"


def main() -> int:
    """Run the tests and write the page; the exit code is pytest's."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.promises.faults.report", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--full", action="store_true", help="all calls of the pass figures (some 20 minutes)")
    parser.add_argument("--soak", type=int, metavar="READS", help="how many reads under every fault at once")
    parser.add_argument("--output", type=Path, default=PAGE)
    chosen = parser.parse_args()
    os.environ["MEMOCACHE_WORLDS"] = "all"  # here and below: before the tests are imported
    if chosen.full:
        os.environ["MEMOCACHE_FAULTS"] = "full"
    if chosen.soak is not None:
        os.environ["MEMOCACHE_SOAK"] = str(chosen.soak)
    named = {test for row in rows(INDEX.read_text()) for test in (*row.tests, *row.caught)} | {SOAK}
    recorder = Recorder(named)
    begun = time.monotonic()
    os.chdir(ROOT)
    # the package was imported by the above, and is none of what pytest rewrites
    words = ["-q", "-p", "no:cacheprovider", "-o", "timeout=7200", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    words += sorted({f"tests/{test.partition('::')[0]}" for test in named})
    code = pytest.main(words, plugins=[recorder])
    chosen.output.write_text(page(recorder, full=chosen.full, lasted=time.monotonic() - begun))
    missing = named - set(recorder.outcomes)
    if missing:
        print("not run:", *sorted(missing))
    return int(code) or len(missing)


if __name__ == "__main__":
    sys.exit(main())
