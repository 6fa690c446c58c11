"""What the tests of the harness share: contenders that return what they are told, and results made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

from benchmarks._loops import contender
from benchmarks._measure import TINY, Bench, Contender, Panel, PanelResult, Sample, run_panel
from benchmarks._results import SuiteResult
from benchmarks._units import SECONDS, Unit

FACTS = {
    "effort": {"name": "tiny", "rounds": 2, "sample_seconds": 0.0},
    "processor": "a processor",
    "cores": 2,
    "platform": "a platform",
    "python": "a Python",
    "server": None,
    "load_average_before": (0.0, 0.0, 0.0),
    "commit": None,
    "uncommitted_changes": False,
    "versions": {"memocache": "0"},
}


def telling(name: str, figures: Sequence[float], *, peer: bool = False, told: list[str] | None = None) -> Contender:
    """A contender whose samples are `figures` in turn; it adds its name to `told` whenever it is asked."""

    @contender(name, peer=peer)
    def setup(bench: Bench) -> Iterator[Sample]:
        left = list(figures)

        def sample(number: int) -> float:
            if told is not None:
                told.append(name)
            return left.pop(0)

        yield sample

    return setup


def failing(name: str, error: Callable[[], BaseException], *, peer: bool = True) -> Contender:
    """A contender that cannot be set up."""

    @contender(name, peer=peer)
    def setup(bench: Bench) -> Iterator[Sample]:
        raise error()
        yield lambda number: 0.0

    return setup


def outcome(*contenders: Contender, base: str, rounds: int, unit: Unit = SECONDS, peers: bool = True) -> PanelResult:
    """The result of one panel of these contenders, a sample being one operation."""
    panel = Panel("a panel", base, contenders, unit=unit, once=True)
    with ExitStack() as stack:
        return run_panel(panel, Bench(stack, replace(TINY, rounds=rounds)), peers=peers)


def suite(name: str, *panels: PanelResult, at: str = "2026-01-01T00:00:00+00:00") -> SuiteResult:
    """A suite's results."""
    return SuiteResult(name, f"about {name}", "what is counted", panels, at, FACTS)
