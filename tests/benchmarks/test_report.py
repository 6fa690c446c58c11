"""The HTML report and the page of the documentation."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from benchmarks import _app, _html, _page, _plots
from benchmarks._app import main
from benchmarks._measure import Panel, Suite
from benchmarks._results import load, save
from tests.benchmarks.support import failing, outcome, suite, telling

_REFERRING = {"src", "href", "data", "poster", "srcset", "action", "xlink:href"}


class _References(HTMLParser):
    """Collects what a page would have to fetch, and all of its text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in _REFERRING]
        assert tag not in ("script", "link", "iframe")

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def results():
    """The results of one suite, with a peer whose name is no markup and one that is not there."""
    panel = outcome(
        telling("memocache", [1e-6, 2e-6]),
        telling("<peer> & co", [2e-6, 6e-6], peer=True),
        failing("absent", lambda: ModuleNotFoundError("not here")),
        base="memocache",
        rounds=2,
    )
    return [suite("a-suite", panel)]


def _parsed(page: str) -> _References:
    parser = _References()
    parser.feed(page)
    return parser


def test_the_report_is_one_file(results):
    """Nothing in the report is fetched from anywhere: every reference is within it or is data."""
    page = _html.page(results)
    references = _parsed(page).found
    assert "#a-suite" in references
    assert all(one.startswith(("#", "data:")) for one in references)
    assert re.search(r"url\((?!data:)|@import", page) is None


def test_the_report_says_what_was_measured(results):
    """Names, figures, ratios, who was skipped, and the machine stand in it; names are text, not markup."""
    text = _parsed(_html.page(results)).text
    for expected in ("<peer> & co", "1.50 µs", "2.50", "skipped absent: not here", "a processor"):
        assert expected in text


def test_the_report_does_without_pictures(results, monkeypatch):
    """Without matplotlib the tables are there, opened."""

    def missing(suite: object) -> str:
        raise ModuleNotFoundError("No module named 'matplotlib'")

    monkeypatch.setattr(_plots, "suite_picture", missing)
    page = _html.page(results)
    assert "<img" not in page
    assert "<details open>" in page


@pytest.mark.filterwarnings("default")  # matplotlib's own
def test_the_pictures_are_in_the_report(results):
    """With matplotlib each suite has its picture, in the file itself."""
    pytest.importorskip("matplotlib")
    assert any(one.startswith("data:image/svg+xml;base64,") for one in _parsed(_html.page(results)).found)


@pytest.mark.filterwarnings("default")  # matplotlib's own
def test_a_page_is_filled_between_its_marks(results, tmp_path: Path):
    """Tables and pictures are put between the marks, again each time; the prose around them stays."""
    pytest.importorskip("matplotlib")
    page = tmp_path / "page.md"
    page.write_text("# Prose\n\n<!-- figures: a-suite -->\nold\n<!-- end -->\n\nMore prose.\n", encoding="utf-8")
    written = list(_page.fill(page, results))
    once = page.read_text(encoding="utf-8")
    assert once.startswith("# Prose\n")
    assert once.endswith("<!-- end -->\n\nMore prose.\n")
    assert "old" not in once
    assert "| **memocache** | 1.50 µs |" in once
    assert written == [tmp_path / "images" / "performance-a-suite.svg", page]
    list(_page.fill(page, results))
    assert page.read_text(encoding="utf-8") == once


def test_a_page_that_asks_for_other_figures_is_refused(results, tmp_path: Path):
    """A mark for a suite that was not run is an error that names it, and the page stays as it was."""
    page = tmp_path / "page.md"
    text = "<!-- figures: unheard-of -->\n<!-- end -->\n"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(_page.BadPage, match="unheard-of"):
        list(_page.fill(page, results))
    assert page.read_text(encoding="utf-8") == text


def test_commands_end_with_their_status(results, tmp_path: Path, capsys):
    """`compare` and `report` work from files, and what cannot be done is one line on stderr and a status."""
    before, report = tmp_path / "before.json", tmp_path / "report.html"
    save(results, before)
    assert main(["compare", str(before), str(before), "--all"]) == 0
    assert "0 of 1 ratios changed" in capsys.readouterr().out
    assert main(["run", "unheard-of"]) == 1
    assert main(["compare", str(before), str(tmp_path / "none.json")]) == 1
    assert main(["nonsense"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3
    assert not report.exists()


def test_what_was_done_is_saved_when_a_run_ends_early(tmp_path: Path, monkeypatch):
    """A run that is interrupted, or fails, leaves the panels that were done before."""
    done = Panel("done", "base", (telling("base", [1.0] * 2),), once=True)
    ends = Panel("ends", "base", (failing("base", KeyboardInterrupt, peer=False),), once=True)
    made = Suite("a-suite", "about it", "what is counted", lambda bench: (done, ends))
    monkeypatch.setattr(_app, "suites", lambda: {"a-suite": made})
    assert main(["run", "--tiny", "--json", str(tmp_path / "run.json")]) == 130
    (found,) = load(tmp_path / "run.json")
    assert [panel.panel for panel in found.panels] == ["done"]


def test_sizes_are_drawn_as_a_curve():
    """Where contenders are sizes that grow a hundredfold, the picture has a curve; names that are none, or too few or
    too much alike, have bars.
    """

    def panel(*names: str):
        return outcome(*(telling(name, [1e-6]) for name in names), base=names[0], rounds=1)

    grown = panel("1,000 entries", "30,000 entries", "1,000,000 entries")
    assert _plots.sizes_of(grown) == [1_000, 30_000, 1_000_000]
    for names in (("1 thread", "4 threads", "8 threads"), ("10 a", "10,000 a"), ("1 a", "memocache", "1,000 a")):
        assert _plots.sizes_of(panel(*names)) is None
    pytest.importorskip("matplotlib")
    assert _plots.suite_picture(suite("grown", grown)) != _plots.suite_picture(suite("grown", panel("a", "b", "c")))
