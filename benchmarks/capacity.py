"""What a fleet asks of its servers: ``python -m benchmarks capacity``.

The coefficients are measured (`benchmarks._coefficients`), the model is held against a small fleet of real processes,
and fleets of up to 10,000 processes and 100 nodes are simulated with it (`benchmarks._fleet`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from math import log
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import _plots
from benchmarks._coefficients import Checked, checked, measured
from benchmarks._fleet import Cost, Costs, Fleet, Rates, simulated_at_hottest
from benchmarks._plots import BLUE, FAINT, GREY, INK, ORANGE
from benchmarks._results import RESULTS, ROOT, facts

ABOUT = "commands, messages and memory of a fleet: coefficients measured, the model checked, large fleets simulated"
PAGE = ROOT / "docs" / "capacity.md"
PICTURE = ROOT / "docs" / "images" / "capacity.svg"
PROCESSES = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000)
APART = 0.1
"""How far from what a real fleet did the model may be."""
BASE = Fleet(reads=1_000.0, local=10_000, nodes=10)
_BLOCK = re.compile(r"(<!-- capacity: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_NAMES = {
    "hits": "a hit on the server",
    "misses": "a miss, computed and stored",
    "invalidations": "an invalidation of a call",
    "flushes": "a flush of statistics: each process, each second, each node",
    "touched": "more in it for each entry that was hit since the last",
    "pings": "a PING of a listener: each process and node, 3.3 a second",
    "messages": "a message about one key to one listener",
}


class BadPage(Exception):
    """The page has a place for what there is none of; its text says which."""


@dataclass(frozen=True)
class Setting:
    """One setting, and fleets that differ by it alone."""

    title: str
    fleets: tuple[tuple[str, Fleet], ...]


SETTINGS = (
    Setting("copies in the process", tuple((f"local={n:,}", replace(BASE, local=n)) for n in (0, 1_000, 10_000))),
    Setting("nodes", tuple((f"{n} node{'s' * (n > 1)}", replace(BASE, nodes=n)) for n in (1, 10, 100))),
    Setting("ttl", tuple((f"ttl={ttl:g}", replace(BASE, ttl=ttl)) for ttl in (6.0, 60.0, 600.0))),
    Setting(
        "invalidations", tuple((f"{n:,} a second", replace(BASE, invalidations=float(n))) for n in (0, 100, 1_000))
    ),
)


# -- tables


def tables(costs: Costs, others: dict[str, Cost], found: Sequence[Checked], server: str) -> dict[str, str]:
    """Return the tables of the page by name, in Markdown."""
    return {
        "costs": _costs(costs, others),
        "memory": _memory(costs),
        "checked": _checked(found),
        "fleets": _fleets(costs),
        "machine": _machine(server),
    }


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---", *("--:" for _ in heads[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _costs(costs: Costs, others: dict[str, Cost]) -> str:
    named = [(words, getattr(costs, name)) for name, words in _NAMES.items()] + [
        (f"{name} (each bucket of a cluster)", cost) for name, cost in others.items()
    ]
    heads = ("", "requests", "commands, with those in scripts", "processor time", "bytes in", "bytes out")
    return _table(
        heads,
        (
            (
                words,
                _few(cost.requests),
                _few(cost.commands),
                f"{max(0.0, cost.cpu_us):.1f} µs",
                f"{max(0.0, cost.bytes_in):,.0f}",
                f"{max(0.0, cost.bytes_out):,.0f}",
            )
            for words, cost in named
        ),
    )


def _few(number: float) -> str:
    return f"{abs(number):.2f}".rstrip("0").rstrip(".")


def _memory(costs: Costs) -> str:
    rows = [
        (f"an entry of {size:,} bytes", f"{held:,.0f}", f"{held - size:,.0f}")
        for size, held in sorted(costs.entry_bytes.items())
    ]
    rows.append(("access counts of an entry, kept for a day after its last hit", f"{costs.touched_bytes:,.0f}", ""))
    return _table(("", "bytes on the server", "beyond the value"), rows)


def _checked(found: Sequence[Checked]) -> str:
    heads = ("fleet of real processes", "model", "measured", "apart", f"at most {APART:.0%}")
    return _table(
        heads,
        (
            (
                f"{one.fleet}: {one.what}",
                f"{one.predicted:,.1f}",
                f"{one.measured:,.1f}",
                f"{one.apart * 100:.1f} %",
                _verdict(one),
            )
            for one in found
        ),
    )


def _verdict(one: Checked) -> str:
    return "held" if one.apart <= APART else "**missed**"


def _fleets(costs: Costs) -> str:
    heads = ("setting", "", "100 processes", "1,000", "10,000", "full at", "its messages a second at 10,000")
    return _table(heads, _rows(costs))


def _rows(costs: Costs) -> Iterator[Sequence[str]]:
    for setting in SETTINGS:
        for words, fleet in setting.fleets:
            line = {processes: simulated_at_hottest(replace(fleet, processes=processes)) for processes in PROCESSES}
            busy = {processes: costs.busy(rates) for processes, rates in line.items()}
            full = full_at(list(busy.values()))
            shown = [f"{busy[processes] * 100:,.0f} %" for processes in (100, 1_000, 10_000)]
            yield (setting.title, words, *shown, full or "", f"{line[10_000].messages:,.0f}")


def _machine(server: str) -> str:
    known = facts()
    lines = {
        "processor": f"{known['processor']}, {known['cores']} cores",
        "python": known["python"],
        "server": server,
        "load average before": ", ".join(f"{load:.1f}" for load in known["load_average_before"] or ()),
    }
    return "\n".join(f"- {name}: {fact}" for name, fact in lines.items())


def fill(text: str, parts: dict[str, str]) -> str:
    """Return a page with its places filled; raises `BadPage`."""

    def block(match: re.Match[str]) -> str:
        if match[2] not in parts:
            raise BadPage(f"the page has a place for {match[2]}; there are {', '.join(parts)}")
        return f"{match[1]}{parts[match[2]]}\n{match[3]}"

    return _BLOCK.sub(block, text)


# -- the command


def run(out: Console, *, quick: bool, save: bool, keep: bool) -> None:
    """Measure, check and simulate; print the tables, and write them into the page."""
    costs, others, server = measured(number=200 if quick else 2_000)
    found = checked(costs, warm=2.5, watch=2.0) if quick else checked(costs)
    parts = tables(costs, others, found, server)
    for name in ("costs", "memory", "checked", "fleets"):
        out.print(f"\n{parts[name]}", soft_wrap=True)
    if save:
        content = {"suite": "capacity", "at": datetime.now(UTC).isoformat(timespec="seconds"), "facts": facts()}
        content |= {"server": server, "costs": costs.as_json(), "checked": [asdict(one) for one in found]}
        path = RESULTS / f"capacity-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
        _write(out, path, json.dumps(content, indent=1))
    if keep:
        _write(out, PAGE, fill(PAGE.read_text(encoding="utf-8"), parts))
        _write(out, PICTURE, draw(costs))


def _write(out: Console, path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    out.print(f"saved {path}", soft_wrap=True)


# -- the picture


def draw(costs: Costs) -> str:
    """Return what the hottest node does in fleets of all sizes, as an SVG picture. Raises ModuleNotFoundError without
    matplotlib.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with _plots.style("capacity"):
        layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08, hspace=0.06, wspace=0.04)
        figure = Figure(figsize=(11, 6.6), facecolor="white", layout=layout)
        grid = figure.subplots(2, 3, sharex=True, sharey=True)
        places = [grid[0][0], grid[0][1], grid[1][0], grid[1][1]]
        for axes, setting in zip(places, SETTINGS, strict=True):
            lines = [(words, _busy(costs, fleet, costs.busy)) for words, fleet in setting.fleets]
            _panel(axes, setting.title, lines, (GREY, BLUE, ORANGE))
        for axes, fleet, title in (
            (grid[0][2], replace(BASE, local=0), "what it does, without copies"),
            (grid[1][2], BASE, "what it does, with local=10,000"),
        ):
            _panel(axes, title, _parts(costs, fleet), (BLUE, ORANGE, INK, GREY))
        for axes in grid[-1]:
            axes.set_xlabel("processes")
        for axes in grid[:, 0]:
            axes.set_ylabel("the hottest node needs")
        figure.suptitle(
            "What the hottest node needs, by the size of the fleet (simulated with measured costs)",
            x=0.01,
            ha="left",
            fontsize=12,
            fontweight="bold",
        )
        return _plots.svg(figure)


def _busy(costs: Costs, fleet: Fleet, measure: Callable[[Rates], float]) -> list[float]:
    return [measure(simulated_at_hottest(replace(fleet, processes=processes))) for processes in PROCESSES]


def _parts(costs: Costs, fleet: Fleet) -> list[tuple[str, list[float]]]:
    together = {
        "hits": ("hits",),
        "statistics": ("touched", "flushes"),
        "messages and PINGs": ("messages", "pings"),
        "misses, invalidations": ("misses", "invalidations"),
    }

    def part(names: Sequence[str]) -> Callable[[Rates], float]:
        def measure(rates: Rates) -> float:
            by_name = costs.of(rates, "cpu_us")
            return sum(by_name[name] for name in names) / 1e6

        return measure

    return [(words, _busy(costs, fleet, part(names))) for words, names in together.items()]


def full_at(shares: Sequence[float]) -> str | None:
    """The number of processes, in two digits, at which the shares for each of `PROCESSES` come to a whole core: on the
    straight line between neighbours, on logarithmic axes. None if they do not.
    """
    for (less, below), (more, above) in pairwise(zip(PROCESSES, shares, strict=True)):
        if 0 < below < 1 <= above:
            return f"{float(f'{less * (more / less) ** (log(1 / below) / log(above / below)):.2g}'):,.0f}"
    return None


def _panel(axes: Any, title: str, lines: Sequence[tuple[str, list[float]]], colours: Sequence[str]) -> None:
    """Lines over the number of processes, both axes logarithmic, and where a core is full."""
    axes.set_title(title, fontsize=10, loc="left")
    axes.axhline(1.0, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    for (words, shares), colour in zip(lines, colours, strict=False):
        if any(share > 0 for share in shares):
            shown = [share or float("nan") for share in shares]  # nothing has no place on a logarithmic axis
            full = full_at(shares)
            at = f": a core at {full}" if full else ""
            axes.plot(PROCESSES, shown, color=colour, linewidth=2, label=words + at)
            if full:
                axes.plot([int(full.replace(",", ""))], [1.0], marker="o", markersize=5, color=colour)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(1e-4, 100)
    axes.set_xticks([1, 10, 100, 1_000, 10_000], ["1", "10", "100", "1,000", "10,000"])
    axes.set_yticks([1e-4, 1e-2, 1, 100], ["0.01 %", "1 %", "a core", "100 cores"])
    axes.tick_params(which="both", length=0)
    axes.minorticks_off()
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.legend(loc="upper left", frameon=False, fontsize=8.5)
