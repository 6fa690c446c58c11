"""The regression guard: how many instructions a hit takes, counted by valgrind, beside the figures that are kept.

A count does not depend on how busy the machine is. Each path runs in a forked child, few times and many times; the
difference of the two counts, by the difference in turns, is the path's own, without starting up or filling the cache.
No path goes over a wire: in how many pieces an answer comes is chance, and was seen to change a count by 6 %.
Figures are kept for one build each (of Python and of the native libraries on the paths): elsewhere they say nothing.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks._results import ROOT, versions

FIGURES = ROOT / "benchmarks" / "instructions.json"
TOLERANCE = 0.02
"""The share by which a count may grow. Two runs of one build were seen to differ by up to 0.6 %."""
FEW, MANY = 1_000, 2_000
_NATIVE = ("hiredis", "lmdb", "msgpack", "redis", "wrapt", "xxhash")
_COLLECTED = re.compile(r"Collected : (\d+)")


class GuardError(Exception):
    """The counting itself failed; its text says how."""


def build() -> str:
    """Return what counts depend on besides our own code."""
    native = versions()
    parts = [sys.version, platform.machine(), "-".join(platform.libc_ver())]
    return "; ".join([*parts, *(f"{name} {native.get(name)}" for name in _NATIVE)])


def minor() -> str:
    """Return the version of Python that figures are filed under."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def check(out: Console, *, update: bool) -> bool:
    """Count, show the figures beside those that are kept, and return whether none grew too much; or keep them.

    Without valgrind or figures of this build it says so and returns True: there is nothing to compare.
    Raises `GuardError`.
    """
    if shutil.which("valgrind") is None:
        out.print("skipped: valgrind is not installed")
        return True
    kept = figures()
    if not update and kept is None:
        out.print(f"skipped: no figures for this build in {FIGURES.name} ({build()})", soft_wrap=True)
        return True
    counted = count(out)
    if update:
        keep(counted)
        out.print(table(counted, {}))
        out.print(f"kept in {FIGURES}", soft_wrap=True)
        return True
    assert kept is not None
    out.print(table(counted, kept))
    if grown := worse(counted, kept):
        out.print(f"slower by more than {TOLERANCE:.0%}: {', '.join(grown)}")
    return not grown


def worse(counted: Mapping[str, float], kept: Mapping[str, float]) -> list[str]:
    """Return the paths that take more than what is kept and the tolerance allow."""
    return [name for name, count in counted.items() if name in kept and count > kept[name] * (1 + TOLERANCE)]


def figures() -> dict[str, float] | None:
    """Return what is kept for this very build, or None."""
    of_minor = _read().get(minor(), {})
    return of_minor["instructions"] if of_minor.get("build") == build() else None


def keep(counted: Mapping[str, float]) -> None:
    """Write today's figures in the place of this minor version's."""
    everything = _read() | {minor(): {"build": build(), "instructions": dict(counted)}}
    FIGURES.write_text(json.dumps(dict(sorted(everything.items())), indent=1) + "\n", encoding="utf-8")


def table(counted: Mapping[str, float], kept: Mapping[str, float]) -> Table:
    """Return the figures beside each other."""
    shown = Table(title="instructions of one hit", title_justify="left")
    shown.add_column("path")
    for head in ("counted", "kept", "change"):
        shown.add_column(head, justify="right")
    shown.add_column("what it is")
    for name, count in counted.items():
        was = kept.get(name)
        cells = ("", "") if was is None else (f"{was:,.0f}", f"{(count / was - 1) * 100:+.2f} %")
        shown.add_row(name, f"{count:,.0f}", *cells, about(name))
    return shown


def about(path: str) -> str:
    """Return what a path is, in words."""
    from benchmarks._instructions import PATHS

    return (PATHS[path].__doc__ or "").rstrip(".") if path in PATHS else ""


def count(out: Console) -> dict[str, float]:
    """Return the instructions of one turn of each path. Raises `GuardError`."""
    with out.status("counting instructions"), tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch, "children")
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--log-file={scratch}/log.%p"]
        command += [sys.executable, "-m", "benchmarks._instructions", str(report), str(FEW), str(MANY)]
        # one seed, one order of sets and dicts; what the children leave goes with the scratch
        environment = os.environ | {"PYTHONHASHSEED": "0", "TMPDIR": scratch}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise GuardError(f"the counting failed: {(done.stderr.splitlines() or ['valgrind said nothing'])[-1]}")
        totals: dict[tuple[str, int], int] = {}
        for line in report.read_text(encoding="utf-8").splitlines():
            child, name, turns = line.split()
            collected = _COLLECTED.search(Path(scratch, f"log.{child}").read_text(encoding="utf-8"))
            if collected is None:
                raise GuardError(f"valgrind did not count {name}")
            totals[name, int(turns)] = int(collected[1])
    names = dict.fromkeys(name for name, _ in totals)
    return {name: round((totals[name, MANY] - totals[name, FEW]) / (MANY - FEW), 1) for name in names}


def _read() -> dict[str, Any]:
    return json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
