"""docs/promises.md and docs/architecture.md are what is cited: each number and each path that is named exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROMISES = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
DESIGN = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
NUMBERS = re.findall(r"^\| (\d\.\d) \|", PROMISES, re.M)
QUESTIONS = re.findall(r"^### (\d)\. ", DESIGN, re.M)

_CITED = re.compile(r"\bpromises? ((?:\d\.\d(?:,? (?:and|to|or) |, )?)+)", re.I)
_QUESTION = re.compile(r"\barchitecture (\d)\b")


def texts() -> Iterator[tuple[Path, str]]:
    """Yield every text that may cite: the package, the tests, the benchmarks and the pages."""
    for folder in ("memocache", "tests", "benchmarks", "docs"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".md"):
                yield path, path.read_text(encoding="utf-8")
    for path in sorted(ROOT.glob("*.md")):
        yield path, path.read_text(encoding="utf-8")


def test_promises_are_numbered_in_order() -> None:
    """Each promise has a number of its own, and the numbers of a section follow each other."""
    assert len(NUMBERS) > 30
    assert sorted(set(NUMBERS)) == NUMBERS
    sections = re.findall(r"^## (\d)\. ", PROMISES, re.M)
    assert sections == sorted({number[0] for number in NUMBERS})


def test_every_cited_promise_exists() -> None:
    """Every "promise 3.1" in code, tests and pages is a number of docs/promises.md."""
    cited = [
        (path.name, number)
        for path, text in texts()
        for found in _CITED.finditer(text)
        for number in re.findall(r"\d\.\d", found[1])
    ]
    assert len(cited) > 10
    assert [(name, number) for name, number in cited if number not in NUMBERS] == []


def test_every_cited_question_exists() -> None:
    """Every "architecture 2" in code, tests and pages is a question of docs/architecture.md."""
    cited = [(path.name, found[1]) for path, text in texts() for found in _QUESTION.finditer(text)]
    assert cited
    assert [(name, number) for name, number in cited if number not in QUESTIONS] == []


def test_nothing_outside_the_repository_is_cited() -> None:
    """No text cites a paper in capitals that the repository does not hold, as the first contract and plan were."""
    papers = "|".join(["SPEC", "DESIGN", "ARCHITECTURE", "FAULTS", "MECHANISMS", "HOUSE", "PEERS"])
    cited = re.compile(rf"\b({papers})(\.md\b| sections?\b| ideas?\b| rows?\b| \d)")
    assert [path.name for path, text in texts() if cited.search(text)] == []


def test_every_path_that_a_table_names_exists() -> None:
    """Each module and each folder of tests in the two pages is there."""
    named = re.findall(r"`((?:memocache|tests)/[\w/.]+)`", PROMISES + DESIGN)
    assert len(named) > 80
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_promise_has_a_place() -> None:
    """The table of where each promise lives has every number once."""
    table = DESIGN[DESIGN.index("## Where each promise lives") : DESIGN.index("## Where a change")]
    placed: list[str] = []
    for cell in re.findall(r"^\| (\d\.\d.*?) \|", table, re.M):
        first, _, last = cell.partition(" to ")
        if last:
            placed += [number for number in NUMBERS if first <= number <= last]
        else:
            placed += cell.split(", ")
    assert sorted(placed) == NUMBERS
