"""Threads that hit one function at once: what all of them do together, and whether a hit is lost from the count."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks._loops import Threads, contender
from benchmarks._measure import Bench, Contender, Noted, Panel, Sample, Suite
from benchmarks._peers import OURS, sync_memory
from benchmarks._units import RATE

SIZE = 1_024


def _hits(function: Any) -> int | None:
    """The hits that the library itself counted, if it counts."""
    info = getattr(function, "cache_info", None)
    return None if info is None else int(info().hits)


def _contender(library: str, number: int) -> Contender:
    @contender(f"{number} thread{'s' if number > 1 else ''}", peer=library not in OURS)
    def setup(bench: Bench) -> Iterator[Sample]:
        function = sync_memory[library](SIZE)(_work)
        loop = Threads(function, number)
        lost = 0

        def sample(loops: int) -> float:
            nonlocal lost
            before = _hits(function)
            seconds = loop(loops)
            after = _hits(function)
            if before is None or after is None:
                return Noted(1 / seconds, "it does not count")
            lost += loop.calls(loops) - (after - before)
            return Noted(1 / seconds, f"{lost:,} counts lost")

        yield sample

    return setup


def _work(a: int) -> int:
    return a


def _panels(bench: Bench) -> Iterator[Panel]:
    numbers = bench.effort.pick(full=(1, 2, 4, 8), quick=(1, 8), tiny=(1, 2))
    for library in bench.effort.pick(full=tuple(sync_memory), quick=("memocache",), tiny=("memocache",)):
        yield Panel(
            library,
            base="1 thread",
            contenders=tuple(_contender(library, number) for number in numbers),
            unit=RATE,
        )


SUITE = Suite(
    name="threads",
    about="threads hitting one function in the process",
    counted="hits a second of all threads together, and hits missing from the library's own count",
    panels=_panels,
)
