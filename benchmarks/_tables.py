"""Figures as tables: on the terminal, and in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.table import Table
from rich.text import Text

from benchmarks._measure import PanelResult, Result, Spread
from benchmarks._results import Change
from benchmarks._units import UNITS, Unit, spell_seconds

OURS = "memocache"


def is_ours(contender: str) -> bool:
    """Whether a contender is a way to use memocache."""
    return contender.startswith((OURS, f"import {OURS}"))


def columns(panel: PanelResult) -> list[str]:
    """Return the headings of a panel's table."""
    unit = UNITS[panel.unit]
    heads = ["contender", "median", "quartiles", "points" if unit.as_difference else "ratio", "quartiles"]
    if _has_cpu(panel):
        heads += ["CPU", "CPU ratio"]
    if _has_notes(panel):
        heads.append("")
    return heads


def rows(panel: PanelResult) -> Iterator[tuple[Result, list[str]]]:
    """Yield each result with the cells of its row."""
    unit = UNITS[panel.unit]
    for one in panel.results:
        cells = [one.contender, unit.spell(one.figure.median), _quartiles(one.figure, unit.spell)]
        cells += [unit.spell_ratio(one.ratio.median), _quartiles(one.ratio, unit.spell_ratio)]
        if _has_cpu(panel):
            cells += ["", ""] if one.cpu is None else [spell_seconds(one.cpu.median)]
            cells += [] if one.cpu_ratio is None else [unit.spell_ratio(one.cpu_ratio.median)]
        if _has_notes(panel):
            cells.append(one.note)
        yield one, cells


def terminal(title: str, panel: PanelResult) -> Table:
    """Return a panel as a table of the terminal: memocache in bold, the base dim."""
    base = 0 if UNITS[panel.unit].as_difference else 1
    table = Table(
        title=Text.assemble((title, "bold"), (f"  {panel.base} = {base}", "dim")), title_justify="left", expand=False
    )
    for index, head in enumerate(columns(panel)):
        table.add_column(head, justify="left" if head in ("contender", "") else "right", no_wrap=head != "", ratio=None)
        table.columns[index].overflow = "fold"
    for one, cells in rows(panel):
        style = "bold green" if is_ours(one.contender) else "dim" if one.contender == panel.base else ""
        table.add_row(*map(Text, cells), style=style)
    return table


def skipped(panel: PanelResult) -> list[str]:
    """Return a line for each contender that did not take part."""
    return [f"skipped {name}: {why}" for name, why in panel.skipped]


def changes(found: Iterable[Change], *, everything: bool) -> Table:
    """Return two runs side by side; without `everything`, only what changed by more than its spread."""
    table = Table(title="ratios to the base, before and after", title_justify="left")
    for head in ("suite", "panel", "contender"):
        table.add_column(head, overflow="fold")
    for head in ("before", "after", "change", ""):
        table.add_column(head, justify="right", no_wrap=True)
    for change in found:
        if not (everything or change.verdict):
            continue
        unit = UNITS[change.unit]
        style = {"better": "green", "worse": "red"}.get(change.verdict, "")
        cells = [change.suite, change.panel, change.contender]
        cells += [unit.spell_ratio(change.before.median), unit.spell_ratio(change.after.median)]
        cells += [_change(unit, change), change.verdict]
        table.add_row(*map(Text, cells), style=style)
    return table


def markdown(panel: PanelResult) -> str:
    """Return a panel as a Markdown table, memocache in bold."""
    heads = [head or "remarks" for head in columns(panel)]
    lines = [_line(heads), _line(["---", *("--:" if head != "remarks" else "---" for head in heads[1:])])]
    for one, cells in rows(panel):
        cells = [cell.replace("|", "\\|") for cell in cells]
        lines.append(_line([f"**{cells[0]}**", *cells[1:]] if is_ours(one.contender) else cells))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _quartiles(spread: Spread, spell: object) -> str:
    assert callable(spell)
    if spread.low == spread.high:
        return ""
    return f"{spell(spread.low)} to {spell(spread.high)}"


def _change(unit: Unit, change: Change) -> str:
    before, after = change.before.median, change.after.median
    if unit.as_difference or not before:
        return f"{after - before:+.2f}"
    return f"{(after / before - 1) * 100:+.1f} %"


def _has_cpu(panel: PanelResult) -> bool:
    return any(one.cpu is not None for one in panel.results)


def _has_notes(panel: PanelResult) -> bool:
    return any(one.note for one in panel.results)
