"""A row for each process of a fleet: where it runs, what it has counted, and when it last told.

A process tells with its figures, from the second time on: whoever lives for a moment is no row. An hour's rows are
counters under one key, which goes two hours later. Pure but for the names of host and process.
"""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from memocache._runtime.humanize import printable
from memocache.typing import Tally

HOUR = 3600
_LONGEST = 100


class ProcessRow(NamedTuple):
    """One cache of one process: hits and misses since it began, and when it last told of them (epoch seconds)."""

    host: str
    pid: int
    version: str
    hits: int
    misses: int
    last_seen: float


def row_tally(key: str, token: str, counts: Mapping[str, Mapping[str, int]], now: float) -> Tally:
    """The figures with which this process tells of itself; `token` tells its caches apart."""
    who = f"{token} {os.getpid()} {release()} {socket.gethostname()[:_LONGEST]}"
    hits, misses = called(counts)
    return Tally(key, {}, {f"{who}:h": hits, f"{who}:m": misses, f"{who}:t": int(now * 1000)}, 2 * HOUR * 1000)


def own_row(counts: Mapping[str, Mapping[str, int]], now: float) -> ProcessRow:
    """This process's row."""
    return ProcessRow(printable(socket.gethostname()[:_LONGEST]), os.getpid(), release(), *called(counts), now)


def called(counts: Mapping[str, Mapping[str, int]]) -> tuple[int, int]:
    """Hits and misses of all functions."""
    return sum(one.get("hits", 0) for one in counts.values()), sum(one.get("misses", 0) for one in counts.values())


def rows_of(hours: Iterable[Mapping[str, int]]) -> list[ProcessRow]:
    """The rows that stand in a backend, whoever told last first; of what is no row of ours, nothing."""
    told: dict[str, dict[str, int]] = {}
    for hour in hours:  # a later hour's counters stand for an earlier one's
        for name, count in hour.items():
            who, _, figure = name.rpartition(":")
            told.setdefault(who, {})[figure] = count
    rows = []
    for who, figures in told.items():
        words = who.split(" ", 3)
        if len(words) == 4 and words[1].isascii() and words[1].isdigit() and figures.keys() >= {"h", "m", "t"}:
            host, pid, version = printable(words[3][:_LONGEST]), int(words[1][:9]), printable(words[2][:_LONGEST])
            rows.append(ProcessRow(host, pid, version, figures["h"], figures["m"], figures["t"] / 1000))
    return sorted(rows, key=lambda row: row.last_seen, reverse=True)


@functools.cache
def release() -> str:
    """The version of memocache that runs here."""
    from importlib.metadata import PackageNotFoundError, version  # not before: it takes longer than all of this module

    try:
        return version("memocache")
    except PackageNotFoundError:
        return "unknown"
