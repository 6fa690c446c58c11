"""What an expiry costs, simulated in virtual time: ``python -m benchmarks freshness``.

Reads of one key arrive at random (a Poisson process); the entry is judged by `memocache._calls.freshness` itself. An
*expiry* is
a computation that begins while none is under way; what is counted is how many computations each brings about, and how
many reads find nothing to serve and wait.
"""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import _plots
from benchmarks._plots import BLUE, FAINT, ORANGE, bare
from benchmarks._results import RESULTS, ROOT, facts
from memocache._calls.freshness import Verdict, early_margin, jittered, judge, smoothed

ABOUT = "recomputations and waits an expiry, simulated, under each freshness option"
TTL = 60.0
COMPUTE = 0.5
RATES = (20, 200, 2_000)
EXPIRIES = 100
PICTURE = ROOT / "docs" / "images" / "freshness.svg"


@dataclass(frozen=True)
class Policy:
    """Freshness options, as `cached` takes them; durations in seconds."""

    name: str
    early: float = 0.0
    stale: float = 0.0
    jitter: float = 0.0


POLICIES = (
    Policy("ttl alone"),
    Policy("early=1", early=1.0),
    Policy("stale=60", stale=60.0),
    Policy("early, stale, jitter", early=1.0, stale=60.0, jitter=0.1),
)


@dataclass(frozen=True)
class Result:
    """One policy at one rate (reads a second): means an expiry."""

    policy: str
    rate: int
    single_flight: bool
    computations: float
    waits: float


def simulate(policy: Policy, rate: int, *, single_flight: bool, expiries: int, seed: int = 1) -> Result:
    """Let reads of one key arrive until it has expired `expiries` times."""
    chance = random.Random(seed)
    now, computations, waits, expired = 0.0, 0, 0, 0
    cost, expires = COMPUTE, TTL
    under_way: deque[float] = deque()  # when each computation ends; all take the same time, so in this order
    while True:
        if not under_way:  # what has no memory may be skipped: no read before this can start anything
            now = max(now, expires - early_margin(policy.early, cost))
        now += chance.expovariate(rate)
        while under_way and under_way[0] <= now:
            cost = smoothed(cost, COMPUTE)
            expires = under_way.popleft() + jittered(TTL, policy.jitter, chance.random())
        draw = 1.0 - chance.random() if policy.early else 1.0
        verdict = judge(now, expires, expires + policy.stale, early=policy.early, cost=cost, draw=draw)
        if verdict is Verdict.FRESH:
            continue
        if not under_way:
            if expired == expiries:
                return Result(policy.name, rate, single_flight, computations / expiries, waits / expiries)
            expired += 1
        waits += verdict is Verdict.MISS
        if not (single_flight and under_way):
            computations += 1
            under_way.append(now + COMPUTE)


def run(out: Console, *, expiries: int, save: bool, keep: bool) -> None:
    """Simulate every policy, with and without single-flight, at every rate; show a table, and draw it."""
    results = [
        simulate(policy, rate, single_flight=single_flight, expiries=expiries)
        for rate in RATES
        for policy in POLICIES
        for single_flight in (False, True)
    ]
    _show(out, results, expiries)
    if not (save or keep):
        return
    try:
        picture = draw(results)
    except ModuleNotFoundError as error:
        out.print(f"no picture: {error}")
        picture = None
    now = datetime.now(UTC)
    path = RESULTS / f"freshness-{now:%Y%m%dT%H%M%SZ}.json"
    if save:
        content = {"suite": "freshness", "at": now.isoformat(timespec="seconds"), "expiries": expiries}
        content |= {"ttl": TTL, "compute": COMPUTE, "facts": facts(), "results": [asdict(one) for one in results]}
        _write(out, path, json.dumps(content, indent=1))
    if picture is not None:
        for target in (*((path.with_suffix(".svg"),) if save else ()), *((PICTURE,) if keep else ())):
            _write(out, target, picture)


def _write(out: Console, path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    out.print(f"saved {path}", soft_wrap=True)


def _show(out: Console, results: Sequence[Result], expiries: int) -> None:
    title = f"freshness: means of {expiries} expiries; ttl {TTL:g} s, compute {COMPUTE:g} s, simulated"
    table = Table(title=title, title_justify="left")
    table.add_column("reads/s", justify="right")
    table.add_column("policy", no_wrap=True)
    for column in ("computations", "with single-flight", "reads that wait", "with single-flight"):
        table.add_column(column, justify="right")
    for alone, shared in zip(results[::2], results[1::2], strict=True):
        figures = (alone.computations, shared.computations, alone.waits, shared.waits)
        first = alone.policy == POLICIES[0].name
        table.add_row(f"{alone.rate:,}" if first else "", alone.policy, *map(_spell, figures))
        if alone.policy == POLICIES[-1].name:
            table.add_section()
    out.print(table)


def _spell(figure: float) -> str:
    if figure < 0.05:
        return "0"
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.1f}"


def draw(results: Sequence[Result]) -> str:
    """Return the results as an SVG picture, its text as paths. Raises ModuleNotFoundError without matplotlib."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with _plots.style("freshness"):
        layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06, hspace=0.06, wspace=0.03)
        figure = Figure(figsize=(10, 5.2), facecolor="white", layout=layout)
        grid = figure.subplots(2, len(RATES), sharex=True, sharey=True)
        for row, (figures, label) in enumerate((("computations", "computations"), ("waits", "reads that wait"))):
            for axes, rate in zip(grid[row], RATES, strict=True):
                _panel(axes, [one for one in results if one.rate == rate], figures)
                axes.set_title(f"{label} at {rate:,} reads/s", fontsize=10, loc="left")
        for axes in grid[-1]:
            axes.set_xlabel("per expiry")
        handles = grid[0][0].collections[1:3]
        names = ["without single-flight", "with single-flight"]
        figure.legend(handles, names, loc="outside upper right", ncols=2, frameon=False)
        figure.suptitle(
            f"What one expiry costs (ttl {TTL:g} s, compute {COMPUTE:g} s, simulated)",
            x=0.01,
            ha="left",
            fontsize=12,
            fontweight="bold",
        )
        return _plots.svg(figure)


def _panel(axes: Any, results: Sequence[Result], figures: str) -> None:
    """One row a policy: a dot without and a dot with single-flight, joined."""
    rows = range(len(POLICIES))
    alone = [getattr(one, figures) for one in results if not one.single_flight]
    shared = [getattr(one, figures) for one in results if one.single_flight]
    axes.hlines(rows, shared, alone, color=FAINT, linewidth=3, zorder=1)
    axes.scatter(alone, rows, s=46, color=ORANGE, zorder=2)
    axes.scatter(shared, rows, s=46, color=BLUE, zorder=3)
    for at, without, having in zip(rows, alone, shared, strict=True):
        apart = abs(without - having) > max(0.2, 0.2 * having)  # closer dots and their figures would lie on each other
        place = {"xytext": (0, 8), "textcoords": "offset points", "ha": "center", "fontsize": 8.5}
        if apart:
            axes.annotate(_spell(without), (without, at), color=ORANGE, **place)
        axes.annotate(_spell(having), (having, at), color=BLUE, **place)
    axes.set_xscale("symlog", linthresh=1.0, linscale=0.6)
    axes.set_xlim(-0.25, 3_000)
    axes.set_xticks([0, 1, 10, 100, 1_000], ["0", "1", "10", "100", "1,000"])
    axes.set_xticks([], minor=True)
    axes.set_ylim(len(POLICIES) - 0.5, -0.7)
    axes.set_yticks(rows, [policy.name for policy in POLICIES])
    bare(axes)
