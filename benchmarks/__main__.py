"""``python -m benchmarks list``, ``python -m benchmarks run [SUITE ...] [--quick]`` and a simulation,
``python -m benchmarks freshness [--quick] [--keep]``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict

from rich.console import Console

from benchmarks import _report, freshness
from benchmarks._measure import FULL, QUICK, Bench, run_panel, suites


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command and return the exit status."""
    known = suites()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="memocache beside its peers.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="say what there is")
    run = commands.add_parser("run", help="run suites (all of them by default)")
    run.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(known))
    run.add_argument("--quick", action="store_true", help="few short rounds: to see that it works, not to quote")
    run.add_argument("--no-save", action="store_true", help="leave no file in benchmarks/results")
    simulation = commands.add_parser("freshness", help="simulate what an expiry costs under each freshness option")
    simulation.add_argument("--quick", action="store_true", help="few expiries")
    simulation.add_argument("--no-save", action="store_true", help="leave no file in benchmarks/results")
    simulation.add_argument(
        "--keep", action="store_true", help=f"draw {freshness.PICTURE.relative_to(_report.ROOT)} anew"
    )
    options = parser.parse_args(arguments)

    width = None if sys.stdout.isatty() else 120
    out = Console(highlight=False, markup=False, width=width)
    if options.command == "list":
        for suite in known.values():
            out.print(f"{suite.name}: {suite.about}")
            for panel in suite.panels:
                out.print(f"    {panel.name}: {', '.join(contender.name for contender in panel.contenders)}")
        out.print(f"freshness (a command of its own): {freshness.ABOUT}")
        return 0

    if options.command == "freshness":
        expiries = freshness.EXPIRIES // 10 if options.quick else freshness.EXPIRIES
        freshness.run(out, expiries=expiries, save=not options.no_save, keep=options.keep)
        return 0

    if unknown := [name for name in options.suites if name not in known]:
        parser.error(f"no suite named {', '.join(unknown)}; there are {', '.join(known)}")
    effort = QUICK if options.quick else FULL
    for suite in [known[name] for name in options.suites] or known.values():
        with ExitStack() as stack:
            bench = Bench(stack)
            outcomes = []
            for panel in suite.panels:
                outcomes.append(run_panel(panel, bench, effort))
                _report.show(out, suite, outcomes[-1])
        if not options.no_save:
            conditions = asdict(effort) | {"quick": options.quick, "server": bench.server_started}
            out.print(f"saved {_report.save(suite, outcomes, conditions)}\n", soft_wrap=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
