"""The commands of ``python -m benchmarks``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import _guard, _html, _page, _results, _tables, capacity, dashboard, freshness
from benchmarks._measure import FULL, QUICK, TINY, Bench, PanelResult, Suite, run_panel, suites

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, no_args_is_help=True)
_TRACES = _results.ROOT.parent / "shared" / "traces"
TracesOption = Annotated[
    Path | None, typer.Option("--traces", help="A directory of traces for hit-ratio, with a README of figures.")
]


class Failure(Exception):
    """A command cannot go on: its text is the one line that the user sees on stderr."""


@app.callback()
def _root() -> None:
    """Memocache beside its peers, measured on this machine."""


@app.command("list")
def list_() -> None:
    """Say what there is: suites, their panels, and who takes part."""
    out = _console()
    with ExitStack() as stack:
        bench = Bench(stack, FULL, _traces(None))
        for suite in suites().values():
            out.print(f"{suite.name}: {suite.about}")
            out.print(f"    counted: {suite.counted}", style="dim")
            for panel in suite.panels(bench):
                names = ", ".join(contender.name for contender in panel.contenders)
                out.print(f"    {panel.name}: {names}", style="dim", soft_wrap=True)
    commands = {"freshness": freshness.ABOUT, "capacity": capacity.ABOUT, "dashboard": dashboard.ABOUT}
    for name, about in commands.items():
        out.print(f"{name} (a command of its own): {about}")


@app.command()
def run(
    names: Annotated[list[str] | None, typer.Argument(metavar="[SUITE]...", help="All of them by default.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small and short: to see that it works, not to quote.")
    ] = False,
    tiny: Annotated[bool, typer.Option("--tiny", hidden=True)] = False,
    rounds: Annotated[int | None, typer.Option("--rounds", min=1, help="How many rounds; at most.")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Save here, not in benchmarks/results.")] = None,
    no_save: Annotated[bool, typer.Option("--no-save", help="Leave no file.")] = False,
    no_peers: Annotated[bool, typer.Option("--no-peers", help="Leave other libraries out.")] = False,
    traces: TracesOption = None,
    entries: Annotated[
        int | None,
        typer.Option("--entries", min=1_000, help="Entries of the largest store of disk: ten million take 6 GB."),
    ] = None,
) -> None:
    """Run suites, all of them by default."""
    effort = TINY if tiny else QUICK if quick else FULL
    if rounds is not None:
        effort = replace(effort, rounds=rounds)
    known, out = suites(), _console()
    if unknown := [name for name in names or () if name not in known]:
        raise Failure(f"no suite named {', '.join(unknown)}; there are {', '.join(known)}")
    results: list[_results.SuiteResult] = []
    facts = _results.facts(effort)
    try:
        for suite in [known[name] for name in names or known]:
            with ExitStack() as stack:  # a server of its own for each suite
                bench = Bench(stack, effort, _traces(traces), entries)
                _run_suite(out, suite, bench, facts, results, peers=not no_peers)
    finally:
        if results and not no_save:
            path = json or _results.default_path()
            _results.save(results, path)
            out.print(f"saved {path}", soft_wrap=True)


def _run_suite(
    out: Console,
    suite: Suite,
    bench: Bench,
    facts: dict[str, Any],
    results: list[_results.SuiteResult],
    *,
    peers: bool,
) -> None:
    """Run a suite and add its results, those of the panels that were done if it is interrupted."""
    outcomes: list[PanelResult] = []
    try:
        with _progress() as progress:
            panels = list(suite.panels(bench))
            for number, panel in enumerate(panels, start=1):
                title = f"{suite.name}: {panel.name}"
                task = progress.add_task(f"{number}/{len(panels)} {title}", total=None, doing="")

                def show(doing: str, done: int, of: int, task: Any = task) -> None:
                    progress.update(task, completed=done, total=of, doing=doing)

                outcome = run_panel(panel, bench, peers=peers, progress=show)
                progress.remove_task(task)
                outcomes.append(outcome)
                if outcome.results:
                    out.print(_tables.terminal(title, outcome))
                for line in _tables.skipped(outcome):
                    out.print(line, style="dim")
    finally:
        if outcomes:
            results.append(_results.finished(suite, outcomes, facts | {"server": bench.server_version}))


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(help="The results of an earlier run.")],
    after: Annotated[Path, typer.Argument(help="The results of a later one.")],
    everything: Annotated[bool, typer.Option("--all", help="Show also what did not change.")] = False,
) -> None:
    """Compare two runs by their ratios to the base: what changed by more than its spread."""
    out = _console()
    changes = list(_results.compare(_results.load(before), _results.load(after)))
    if not changes:
        raise Failure("the two runs have no panel in common")
    changed = sum(bool(change.verdict) for change in changes)
    if changed or everything:
        out.print(_tables.changes(changes, everything=everything))
    out.print(f"{changed} of {len(changes)} ratios changed by more than their spread")


@app.command()
def report(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="[RESULTS.json]...", help="The latest run by default.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write an HTML report here.")] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="Fill the tables of this page, and draw its pictures.")
    ] = None,
) -> None:
    """Make a report of one run or several: an HTML file, or the tables and pictures of a page of the documentation."""
    results = _results.merged(map(_results.load, paths or [_latest()]))
    if out is None and markdown is None:
        out = Path("report.html")
    try:
        if out is not None:
            out.write_text(_html.page(results), encoding="utf-8")
            _console().print(f"wrote {out}", soft_wrap=True)
        if markdown is not None:
            for written in _page.fill(markdown, results):
                _console().print(f"wrote {written}", soft_wrap=True)
    except ModuleNotFoundError as error:
        raise Failure(f"{error}; the extra bench has it") from error


@app.command()
def guard(
    update: Annotated[bool, typer.Option("--update", help="Keep the figures of today.")] = False,
) -> None:
    """Count the instructions of the hit paths and compare them with those that are kept (needs valgrind)."""
    if not _guard.check(_console(), update=update):
        raise typer.Exit(1)


@app.command("freshness")
def _freshness(
    quick: Annotated[bool, typer.Option("--quick", help="Few expiries.")] = False,
    no_save: Annotated[bool, typer.Option("--no-save", help="Leave no file in benchmarks/results.")] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help=f"Draw {freshness.PICTURE.relative_to(_results.ROOT)} anew.")
    ] = False,
) -> None:
    """Simulate what an expiry costs under each freshness option."""
    expiries = freshness.EXPIRIES // 10 if quick else freshness.EXPIRIES
    freshness.run(_console(), expiries=expiries, save=not no_save, keep=keep)


@app.command("capacity")
def _capacity(
    quick: Annotated[bool, typer.Option("--quick", help="Few operations: to see that it works, not to quote.")] = False,
    no_save: Annotated[bool, typer.Option("--no-save", help="Leave no file in benchmarks/results.")] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help=f"Fill {capacity.PAGE.relative_to(_results.ROOT)}, and draw its picture.")
    ] = False,
) -> None:
    """Measure what operations cost a server, check the model of a fleet, and simulate large ones."""
    capacity.run(_console(), quick=quick, save=not no_save, keep=keep)


@app.command("dashboard")
def _dashboard(
    quick: Annotated[bool, typer.Option("--quick", help="A tenth of the functions and keys.")] = False,
) -> None:
    """Measure the dashboard beside many functions and keys (extra `dashboard`)."""
    part = 10 if quick else 1
    dashboard.run(_console(), functions=dashboard.FUNCTIONS // part, keys=dashboard.KEYS // part)


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command and return the exit status: 2 for misuse, 1 for failure, 130 for Ctrl-C."""
    try:
        words = None if arguments is None else list(arguments)
        status = app(args=words, prog_name="python -m benchmarks", standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except typer.TyperException as error:
        return _fail(error.format_message(), error.exit_code)
    except (Failure, _results.BadResults, _guard.GuardError, _page.BadPage, capacity.BadPage, OSError) as error:
        return _fail(str(error), 1)
    return status if isinstance(status, int) else 0


def _fail(message: str, status: int) -> int:
    print(f"benchmarks: {' '.join(message.split())}", file=sys.stderr)
    return status


def _console() -> Console:
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 150)


def _progress() -> Progress:
    # on stderr, and gone when it is done: what is piped are the tables
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[doing]}", style="dim"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _traces(given: Path | None) -> Path | None:
    return given if given is not None else _TRACES if _TRACES.is_dir() else None


def _latest() -> Path:
    found = sorted(_results.RESULTS.glob("2*.json"))
    if not found:
        raise Failure(f"no results in {_results.RESULTS}: run something first")
    return found[-1]
