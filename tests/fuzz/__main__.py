"""``python -m tests.fuzz [--minutes 10] [--grow] [target …]``: fuzz for that long in all, one target after the other.

Prints executions, findings (crash: an undocumented error or a broken promise; executed: code that must not run; hang:
more than a second for one input, or the process had to be given up; memory: more than a bounded amount for one input)
and the largest resident size. The exit status is 1 where there is a finding; its input is kept, and its path printed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.fuzz.targets import TARGETS

_KINDS = ("crash", "executed", "hang", "memory")
_LIBFUZZER_TIMEOUT = 70
_GRACE = 300.0  # seconds for starting and ending, also on a busy machine
_FEWEST_SECONDS = 2.0


def fuzz(name: str, work: Path, seconds: float) -> dict[str, Any]:
    """Fuzz one target for `seconds`, beginning again where an input kills the process; its figures."""
    total: dict[str, Any] = {"executions": 0, "slowest": 0.0, "base_bytes": 0, "peak_bytes": 0, "findings": []}
    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > _FEWEST_SECONDS or not total["executions"]:
        command = [sys.executable, "-m", "tests.fuzz.child", name, str(work), str(left)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=left + _GRACE)
            status: int | None = done.returncode
        except subprocess.TimeoutExpired:
            status = None
        figures = work.with_suffix(".figures")
        if not figures.exists():
            raise SystemExit(f"{name}: the fuzzer did not start\n{done.stderr[-2000:]}")
        part = json.loads(figures.read_text())
        figures.unlink()
        total["executions"] += part["executions"]
        total["findings"] += part["findings"]
        for figure in ("slowest", "base_bytes", "peak_bytes"):
            total[figure] = max(total[figure], part[figure])
        if status != 0:
            kind = "hang" if status in (None, _LIBFUZZER_TIMEOUT) else "crash"
            total["findings"].append([kind, f"the process ended with status {status}", _blamed(work)])
            if len(total["findings"]) > 20:
                break
    return total


def _blamed(work: Path) -> str:
    """Keep the input that was being run."""
    current = work.with_suffix(".current").read_bytes()
    path = work.with_suffix(".findings") / f"died-{time.time_ns()}"
    path.write_bytes(current[4 : 4 + int.from_bytes(current[:4])])
    return str(path)


def main() -> int:
    """Run what the command line asks for; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n\n")[0])
    parser.add_argument("targets", nargs="*", metavar="target", help=f"which: {', '.join(TARGETS)} (default: all)")
    parser.add_argument("--minutes", type=float, default=10.0, help="for how long, all targets together (default: 10)")
    parser.add_argument("--work", type=Path, help="where inputs and findings are kept (default: a new directory)")
    parser.add_argument("--grow", action="store_true", help="keep what reached new branches in tests/fuzz/corpus")
    asked = parser.parse_args()
    if unknown := set(asked.targets) - TARGETS.keys():
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    names = asked.targets or list(TARGETS)
    work: Path = asked.work or Path(tempfile.mkdtemp(prefix="memocache-fuzz-"))
    work.mkdir(parents=True, exist_ok=True)
    print(f"{asked.minutes:g} minutes over {len(names)} targets; inputs and findings in {work}")
    print(
        f"{'target':<10} {'executions':>11} {'a second':>9} {'crashes':>8} {'executed':>9} {'hangs':>6} {'memory':>7}",
        end="",
    )
    print(f" {'slowest ms':>11} {'peak MB':>8} {'of that before':>15}", flush=True)
    seconds = asked.minutes * 60 / len(names)
    findings: list[Any] = []
    executions = 0
    for name in names:
        figures = fuzz(name, work / name, seconds)
        executions += figures["executions"]
        findings += ([name, *finding] for finding in figures["findings"])
        counts = [sum(found[0] == kind for found in figures["findings"]) for kind in _KINDS]
        print(
            f"{name:<10} {figures['executions']:>11,} {figures['executions'] / seconds:>9,.0f} "
            f"{counts[0]:>8} {counts[1]:>9} {counts[2]:>6} {counts[3]:>7} {figures['slowest'] * 1000:>11.1f} "
            f"{figures['peak_bytes'] / 2**20:>8.0f} {figures['base_bytes'] / 2**20:>15.0f}",
            flush=True,
        )
        if asked.grow:
            subprocess.run([sys.executable, "-m", "tests.fuzz.grow", name, str(work / name)], check=True)
    print(f"{executions:,} executions, {len(findings)} findings")
    for name, kind, where, path in findings:
        print(f"{name}: {kind}: {where}\n  {path}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
