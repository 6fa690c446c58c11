"""``memocache doctor``: how the backend is set up, and what to change."""

from __future__ import annotations

import statistics
import time

import typer
from rich.table import Table
from rich.text import Text

from memocache import Cache
from memocache.cli._common import (
    Failure,
    JsonOption,
    PrefixOption,
    UrlOption,
    console,
    opened,
    print_json,
    seconds,
    where,
)
from memocache.typing import Finding

_PINGS = 20
_STYLES = {"ok": "green", "note": "cyan", "warn": "yellow", "fail": "bold red"}
_SLOW_SECONDS = 0.005
_CLOCK_SECONDS = 1.0


def doctor(url: UrlOption = "memory://", prefix: PrefixOption = "memo", as_json: JsonOption = False) -> None:
    """Check the backend and its settings; the exit status is 1 if something fails."""
    with opened(url, prefix) as cache:
        findings = examine(cache)
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        table = Table(title=f"{where(url)}", title_justify="left")
        for heading in ("", "what", "found", "advice"):
            table.add_column(heading, overflow="fold")
        for finding in findings:
            level = Text(finding.level, style=_STYLES[finding.level])
            table.add_row(level, finding.what, Text(finding.found), Text(finding.advice or "-"))
        console().print(table)
    if any(finding.level == "fail" for finding in findings):
        raise typer.Exit(1)


def examine(cache: Cache) -> list[Finding]:
    """Everything that can be said of a cache's backend."""
    health = cache.health()
    if not health.ok:
        raise Failure(f"the backend is not healthy: {health.detail}")
    backend = cache.backend
    if backend is None:
        return [Finding("ok", "backend", "this process", "")]
    findings = [_latency(backend)]
    if not health.roundtrip_ok:
        findings.append(
            Finding("fail", "probe key", health.detail, "look for an eviction policy that drops it at once")
        )
    check = getattr(backend, "checkup", None)
    if check is not None:
        findings += check(timeout=5.0)
    return findings


def _latency(backend: object) -> Finding:
    taken = []
    for _ in range(_PINGS):
        begun = time.perf_counter()
        backend.ping(timeout=5.0)  # type: ignore[attr-defined]  # every backend has it
        taken.append(time.perf_counter() - begun)
    median, worst = statistics.median(taken), max(taken)
    found = f"median {seconds(median)}, worst {seconds(worst)} of {_PINGS}"
    if median < _SLOW_SECONDS:
        return Finding("ok", "latency", found, "")
    return Finding("warn", "latency", found, "each hit costs one of these: move closer, or hold hot keys with local=")
