"""A page of the documentation whose figures come from a run: what stands between two marks is written by a command.

``<!-- figures: NAME -->`` … ``<!-- end -->`` is filled with the tables of the suite of that name (and its picture),
or with the goals (``goals``), the panels where a peer is ahead (``behind``) or the machine (``machine``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from benchmarks import _goals, _html, _plots, _tables
from benchmarks._measure import PanelResult, Result
from benchmarks._results import SuiteResult
from benchmarks._units import UNITS

_BLOCK = re.compile(r"(<!-- figures: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


class BadPage(Exception):
    """The page asks for figures that are not there; its text says which."""


def fill(page: Path, results: list[SuiteResult]) -> Iterator[Path]:
    """Write the figures into the page and the pictures into ``images`` beside it; yield what was written.

    Raises `BadPage`, OSError, and ModuleNotFoundError where matplotlib is not installed.
    """
    by_name = {one.name: one for one in results}
    text = page.read_text(encoding="utf-8")
    pictures: dict[Path, str] = {}

    def block(match: re.Match[str]) -> str:
        name = match[2]
        if name == "goals":
            content = _judged(results)
        elif name == "behind":
            content = _behind(results)
        elif name == "machine":
            content = _machine(results)
        elif name in by_name:
            picture = _plots.suite_picture(by_name[name])
            target = page.parent / "images" / f"performance-{name}.svg"
            content = "\n\n".join(_suite(by_name[name], picture is not None, target.name))
            if picture is not None:
                pictures[target] = picture
        else:
            raise BadPage(f"{page} has a place for {name}, of which these results say nothing")
        return f"{match[1]}{content}\n{match[3]}"

    filled = _BLOCK.sub(block, text)
    for target, picture in pictures.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(picture, encoding="utf-8")
        yield target
    page.write_text(filled, encoding="utf-8")
    yield page


def _suite(suite: SuiteResult, drawn: bool, picture: str) -> Iterator[str]:
    yield f"Counted: {suite.counted}."
    if drawn:
        yield f"![{suite.about}](images/{picture})"
    for panel in suite.panels:
        if panel.results:
            base = 0 if UNITS[panel.unit].as_difference else 1
            yield f"**{panel.panel}** ({panel.base} = {base})"
            yield _tables.markdown(panel)
        if panel.skipped:
            yield "; ".join(_tables.skipped(panel)) + "."


def _judged(results: list[SuiteResult]) -> str:
    lines = ["| goal | bound | measured | quartiles | |", "| --- | --: | --: | --: | --- |"]
    for goal in _goals.judged(results):
        verdict = "held" if goal.held else "**missed**"
        lines.append(f"| {goal.name} | {goal.bound} | {goal.measured} | {goal.quartiles} | {verdict} |")
    return "\n".join(lines)


def behind(panel: PanelResult) -> Iterator[tuple[Result, Result]]:
    """Yield memocache's figure and a peer's, for each peer that is ahead of it by more than their spreads."""
    ours = next((one for one in panel.results if one.contender == "memocache"), None)
    if ours is None:
        return
    more = UNITS[panel.unit].more_is_better
    for other in panel.results:
        if not (other.peer or other.contender == "functools.lru_cache") or " raised " in other.note:
            continue  # one that raises is quick, and gives no answer
        ahead = other.ratio.low > ours.ratio.high if more else other.ratio.high < ours.ratio.low
        if ahead:
            yield ours, other


def _behind(results: list[SuiteResult]) -> str:
    lines = ["| suite | workload | ahead of memocache | by |", "| --- | --- | --- | --: |"]
    for suite in results:
        for panel in suite.panels:
            unit = UNITS[panel.unit]
            for ours, other in behind(panel):
                if unit.as_difference:
                    by = f"{other.figure.median - ours.figure.median:.2f} points"
                elif unit.more_is_better:
                    by = f"{other.ratio.median / ours.ratio.median:.2f} times as much"
                else:
                    by = f"memocache takes {unit.spell_ratio(ours.ratio.median / other.ratio.median)} times as much"
                lines.append(f"| {suite.name} | {panel.panel} | {other.contender} | {by} |")
    return "\n".join(lines)


def _machine(results: list[SuiteResult]) -> str:
    return "\n\n".join("\n".join(f"- {name}: {fact}" for name, fact in facts) for _, facts in _html.machines(results))
