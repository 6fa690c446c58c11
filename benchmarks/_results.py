"""What a run leaves: one JSON file of figures, with the facts of the machine; read back, merged and compared."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks._measure import Effort, PanelResult, Result, Spread, Suite
from benchmarks._units import UNITS

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
FORMAT = 2
_OWN = ("memocache", "redis", "hiredis", "lmdb", "msgpack", "wrapt", "xxhash")
_FLOOR = 0.02
"""Changes smaller than this are nobody's, whatever the quartiles say."""


@dataclass(frozen=True)
class SuiteResult:
    """What a suite gave, with what one must know to read it."""

    name: str
    about: str
    counted: str
    panels: tuple[PanelResult, ...]
    at: str
    facts: Mapping[str, Any]


class BadResults(Exception):
    """A file is not the results of a run; its text says which and why."""


# -- facts


def facts(effort: Effort | None = None, server: str | None = None) -> dict[str, Any]:
    """Return what one must know of the machine and the versions to read figures; to be asked before the work begins,
    for the load average.
    """
    return {
        "effort": None if effort is None else asdict(effort),
        "python": sys.version,
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_average_before": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "server": server,
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Return the version of memocache, of the native code it uses and of the libraries of the extra ``bench``."""
    try:
        needed = metadata.requires("memocache") or []
    except metadata.PackageNotFoundError:
        needed = []
    peers = [line.partition(";")[0] for line in needed if 'extra == "bench"' in line.replace("'", '"')]
    names = [*_OWN, *(_name_of(peer) for peer in peers if not peer.startswith("memocache"))]
    return {name: found for name in dict.fromkeys(names) if (found := _version(name)) is not None}


def _name_of(requirement: str) -> str:
    end = next((at for at, char in enumerate(requirement) if char in " [<>=!~("), len(requirement))
    return requirement[:end]


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


# -- files


def now() -> datetime:
    """Return the time of day, for the file's name and its content."""
    return datetime.now(UTC)


def finished(suite: Suite, panels: Iterable[PanelResult], known: Mapping[str, Any]) -> SuiteResult:
    """Return what a suite gave, as it is saved."""
    return SuiteResult(
        suite.name, suite.about, suite.counted, tuple(panels), now().isoformat(timespec="seconds"), known
    )


def save(results: Iterable[SuiteResult], path: Path) -> None:
    """Write results to a file, which says all that a report needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"format": FORMAT, "suites": [asdict(one) for one in results]}
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def default_path() -> Path:
    """Return where a run is saved if nobody says."""
    return RESULTS / f"{now():%Y%m%dT%H%M%SZ}.json"


def load(path: Path) -> list[SuiteResult]:
    """Return the results in a file. Raises `BadResults`, OSError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise BadResults(f"{path} has format {content['format']}, and this version reads {FORMAT}")
        return [_suite(one) for one in content["suites"]]
    except (ValueError, KeyError, TypeError) as error:
        raise BadResults(f"{path} does not hold the results of a run") from error


def merged(runs: Iterable[Iterable[SuiteResult]]) -> list[SuiteResult]:
    """Return each suite's latest results of several runs, in the order in which the suites were first met."""
    found: dict[str, SuiteResult] = {}
    for run in runs:
        for one in run:
            if one.name not in found or found[one.name].at <= one.at:
                found[one.name] = one
    return list(found.values())


def _suite(content: Mapping[str, Any]) -> SuiteResult:
    return SuiteResult(**{**content, "panels": tuple(map(_panel, content["panels"]))})


def _panel(content: Mapping[str, Any]) -> PanelResult:
    results = tuple(map(_result, content["results"]))
    UNITS[content["unit"]]  # a unit of a later version cannot be shown
    return PanelResult(**{**content, "results": results, "skipped": tuple(map(tuple, content["skipped"]))})


def _result(content: Mapping[str, Any]) -> Result:
    made = dict(content) | {"samples": tuple(content["samples"])}
    for field in fields(Result):
        if isinstance(made[field.name], dict):
            made[field.name] = Spread(**made[field.name])
    return Result(**made)


# -- comparing


@dataclass(frozen=True)
class Change:
    """One contender's comparison with its base, in an earlier run and in a later one."""

    suite: str
    panel: str
    contender: str
    unit: str
    before: Spread
    after: Spread
    verdict: str
    """ "better", "worse", or "" where the quartiles overlap or the change is below two per cent."""


def compare(before: Iterable[SuiteResult], after: Iterable[SuiteResult]) -> Iterator[Change]:
    """Compare two runs by their ratios, which a faster or busier machine leaves as they are; bases are left out."""
    earlier = {(suite.name, panel.panel, one.contender): one for suite, panel, one in _each(before)}
    for suite, panel, one in _each(after):
        old = earlier.get((suite.name, panel.panel, one.contender))
        if old is None or one.contender == panel.base:
            continue
        yield Change(
            suite.name,
            panel.panel,
            one.contender,
            panel.unit,
            old.ratio,
            one.ratio,
            _verdict(old.ratio, one.ratio, panel.unit),
        )


def _each(results: Iterable[SuiteResult]) -> Iterator[tuple[SuiteResult, PanelResult, Result]]:
    for suite in results:
        for panel in suite.panels:
            for one in panel.results:
                yield suite, panel, one


def _verdict(before: Spread, after: Spread, unit_name: str) -> str:
    unit = UNITS[unit_name]
    if after.low <= before.high and before.low <= after.high:
        return ""
    floor = _FLOOR if unit.as_difference else _FLOOR * abs(before.median)
    if abs(after.median - before.median) <= floor:
        return ""
    return "better" if (after.median > before.median) == unit.more_is_better else "worse"
