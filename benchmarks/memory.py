"""What an entry costs in memory: the growth of a fresh process as entries are added, by what the system says it holds.

Arguments and results exist before the measurement begins, so that the figure is what the cache adds to them. Native
libraries allocate outside Python's sight; the resident set sees them all.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks._loops import contender
from benchmarks._measure import Bench, Contender, Panel, Sample, Suite, Unavailable
from benchmarks._peers import OURS, sync_memory
from benchmarks._units import BYTES

ROOT = Path(__file__).parent.parent
_STATM = Path("/proc/self/statm")


def measure(name: str, text: bool, entries: int) -> float:
    """Return bytes per entry of that library, in this process."""
    import gc
    import resource

    arguments = [f"customer:{number}" if text else number for number in range(10_000, 10_000 + entries)]
    results = dict(zip(arguments, arguments, strict=True))
    function = sync_memory[name](2 * entries)(lambda argument: results[argument])
    for argument in ("warm", "up") if text else (1, 2):
        results[argument] = argument
        function(argument)

    def resident() -> int:
        gc.collect()
        return int(_STATM.read_text().split()[1]) * resource.getpagesize()

    before = resident()
    for argument in arguments:
        function(argument)
    return (resident() - before) / entries


def _contender(name: str, *, text: bool) -> Contender:
    @contender(name, peer=name not in OURS)
    def setup(bench: Bench) -> Iterator[Sample]:
        if not _STATM.exists():
            raise Unavailable("it needs /proc")
        sync_memory[name](1)  # is it installed?
        entries = bench.effort.pick(full=100_000, quick=20_000, tiny=100)
        code = f"from benchmarks.memory import measure; print(measure({name!r}, {text}, {entries}))"

        def sample(number: int) -> float:
            command = [sys.executable, "-W", "ignore", "-c", code]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
            return float(done.stdout.splitlines()[-1])

        yield sample

    return setup


def _panels(bench: Bench) -> Iterator[Panel]:
    for text in bench.effort.pick(full=(False, True), quick=(False,), tiny=(False,)):
        yield Panel(
            "f(str) -> str" if text else "f(int) -> int",
            base="functools.lru_cache",
            contenders=tuple(_contender(name, text=text) for name in sync_memory),
            unit=BYTES,
            once=True,
            rounds=bench.effort.pick(full=5, quick=1, tiny=1),
        )


SUITE = Suite(
    name="memory",
    about="memory per small entry, native allocations included",
    counted="growth of the resident set of a fresh process, by entries",
    panels=_panels,
)
