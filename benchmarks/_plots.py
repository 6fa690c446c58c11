"""Figures as pictures: one SVG a suite, drawn by matplotlib. Raises ModuleNotFoundError where it is not installed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import Any

from benchmarks._measure import PanelResult, Result
from benchmarks._results import SuiteResult
from benchmarks._tables import is_ours
from benchmarks._units import UNITS, Unit

INK, FAINT, ORANGE, BLUE, GREY = "#1f2430", "#d5d8de", "#d1603d", "#2a6f97", "#a9b0bb"
_COLUMNS = 2
_CURVE = 8
"""As many bars high is a curve."""
_WIDE = 30.0
"""From this quotient of the longest bar and the shortest one on, the axis is logarithmic."""


@contextmanager
def style(salt: str) -> Iterator[None]:
    """Our fonts and colours; the same figures give the same file."""
    import matplotlib as mpl

    settings: dict[Any, Any] = {
        "font.family": "DejaVu Sans",
        "font.size": 9.5,
        "text.color": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "svg.hashsalt": salt,
    }
    with mpl.rc_context(settings):
        yield


def svg(figure: Any) -> str:
    """Return a figure as an SVG picture, its text as paths."""
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def bare(axes: Any) -> None:
    """Leave of the axes only a faint grid across."""
    axes.tick_params(length=0)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)


def suite_picture(suite: SuiteResult) -> str | None:
    """Return the panels of a suite side by side, a bar for each contender, or a curve where they are sizes.

    None where there is nothing to draw.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    panels = [panel for panel in suite.panels if panel.results]
    if not panels:
        return None
    columns = min(_COLUMNS, len(panels))
    lines = [panels[at : at + columns] for at in range(0, len(panels), columns)]
    heights = [0.75 + 0.27 * max(map(_places, line)) for line in lines]
    with style(suite.name):
        layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08, hspace=0.04, wspace=0.04)
        figure = Figure(figsize=(6.2 * columns, sum(heights)), facecolor="white", layout=layout)
        grid = figure.subplots(len(lines), columns, squeeze=False, height_ratios=heights)
        for line, across in zip(lines, grid, strict=True):
            most = max(map(_places, line))
            for at, axes in enumerate(across):
                if at < len(line) and (sizes := sizes_of(line[at])):
                    _curve(axes, line[at], sizes)
                elif at < len(line):
                    _bars(axes, line[at], most)
                else:
                    axes.set_visible(False)
        return svg(figure)


def _bars(axes: Any, panel: PanelResult, places: int) -> None:
    """A bar for each contender, with its quartiles and its figures at its end; there is space for `places` bars."""
    unit = UNITS[panel.unit]
    results = panel.results
    values = [max(one.figure.median, 0.0) for one in results]
    rows = range(len(results))
    logarithmic = _is_wide(values)
    axes.barh(rows, values, height=0.62, color=[_colour(one, panel) for one in results], zorder=2)
    for row, one in zip(rows, results, strict=True):
        axes.hlines(row, max(one.figure.low, 0.0), one.figure.high, color=INK, linewidth=1.1, zorder=3)
        text = unit.spell(one.figure.median)
        if one.contender != panel.base:
            text += f"   {unit.spell_ratio(one.ratio.median)}{'' if unit.as_difference else '×'}"
        axes.annotate(
            text,
            (max(one.figure.high, one.figure.median, 0.0), row),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            fontweight="bold" if is_ours(one.contender) else "normal",
        )
    longest = max((max(one.figure.high, one.figure.median) for one in results), default=1.0) or 1.0
    if logarithmic:
        shortest = min(value for value in values if value > 0)
        axes.set_xscale("log")
        axes.set_xlim(shortest / 3, longest * (longest / shortest) ** 0.55)
    else:
        axes.set_xlim(0, longest * 1.42)
    axes.set_yticks(rows, [one.contender for one in results])
    for label, one in zip(axes.get_yticklabels(), results, strict=True):
        label.set_fontweight("bold" if is_ours(one.contender) else "normal")
    axes.set_ylim(places - 0.45, -0.6)
    axes.set_title(_shortened(panel.panel) + (" (log)" if logarithmic else ""), fontsize=10, loc="left")
    bare(axes)
    _ticks(axes, unit, logarithmic)


def _places(panel: PanelResult) -> int:
    """How many bars' height a panel takes."""
    return len(panel.results) if sizes_of(panel) is None else _CURVE


def sizes_of(panel: PanelResult) -> list[int] | None:
    """Return the number that each contender's name begins with, if they are three or more that grow a hundredfold."""
    firsts = [one.contender.split()[0].replace(",", "") for one in panel.results]
    sizes = [int(first) for first in firsts if first.isdecimal()]
    grown = len(sizes) == len(firsts) >= 3 and sizes == sorted(sizes) and sizes[-1] >= 100 * sizes[0] > 0
    return sizes if grown else None


def _curve(axes: Any, panel: PanelResult, sizes: Sequence[int]) -> None:
    """The figures by size, which is on a logarithmic axis; the figures' own begins at nothing."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    unit = UNITS[panel.unit]
    figures = [one.figure for one in panel.results]
    axes.fill_between(
        sizes, [one.low for one in figures], [one.high for one in figures], color=ORANGE, alpha=0.18, linewidth=0
    )
    axes.plot(sizes, [one.median for one in figures], color=ORANGE, marker="o", markersize=4, linewidth=1.6)
    for size, one in zip(sizes, figures, strict=True):
        text, at = unit.spell(one.median), (size, one.median)
        axes.annotate(text, at, xytext=(0, -15), textcoords="offset points", ha="center", fontsize=8.5)
    axes.set_xscale("log")
    axes.set_xlim(sizes[0] / 2, sizes[-1] * 2)
    axes.set_ylim(0, max(one.high for one in figures) * 1.35)
    axes.set_xlabel(panel.results[0].contender.partition(" ")[2])
    axes.set_title(_shortened(panel.panel), fontsize=10, loc="left")
    bare(axes)
    axes.grid(axis="both", color=FAINT, linewidth=0.6)
    axes.xaxis.set_major_locator(LogLocator(numticks=len(sizes) + 2))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: "0" if not value else _round(unit.spell(value))))


def _ticks(axes: Any, unit: Unit, logarithmic: bool) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    axes.xaxis.set_major_locator(LogLocator(numticks=5) if logarithmic else MaxNLocator(4))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: "0" if not value else _round(unit.spell(value))))


def _round(text: str) -> str:
    """Return a spelt figure without the zeros after its point."""
    number, space, rest = text.partition(" ")
    return (number.rstrip("0").rstrip(".") if "." in number else number) + space + rest


def _is_wide(values: Sequence[float]) -> bool:
    positive = [value for value in values if value > 0]
    return len(positive) == len(values) > 1 and max(positive) / min(positive) > _WIDE and math.isfinite(max(positive))


def _colour(one: Result, panel: PanelResult) -> str:
    if is_ours(one.contender):
        return ORANGE
    return BLUE if one.contender == panel.base else GREY


def _shortened(text: str, length: int = 62) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
