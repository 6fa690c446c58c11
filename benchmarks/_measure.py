"""Suites, panels and contenders, and how they are run."""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import pkgutil
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import benchmarks
from benchmarks._units import SECONDS, Unit

if TYPE_CHECKING:
    from memocache.testing.servers import Server

T = TypeVar("T")
Sample = Callable[[int], float]
"""Runs the operation about that many times and returns the figure: by default, seconds per operation."""


class Noted(float):
    """A figure with a few words that go beside it in the tables."""

    note: str

    def __new__(cls, figure: float, note: str) -> Noted:
        made = super().__new__(cls, figure)
        made.note = note
        return made


@dataclass(frozen=True)
class Effort:
    """How many rounds, how long one sample lasts at least (in seconds), and how large the workloads are."""

    name: str
    rounds: int
    sample_seconds: float

    def pick(self, *, full: T, quick: T, tiny: T) -> T:
        """Return the size of a workload that suits."""
        return {"full": full, "quick": quick, "tiny": tiny}[self.name]


FULL = Effort("full", rounds=25, sample_seconds=0.03)
QUICK = Effort("quick", rounds=3, sample_seconds=0.003)
TINY = Effort("tiny", rounds=2, sample_seconds=0.0)
"""For tests of the harness: everything runs, nothing is measured."""


class Unavailable(Exception):
    """A contender cannot take part on this machine or in this version; its text says why."""


class Broken(Exception):
    """A contender did not do what is measured; its text says what it did."""


class Bench:
    """What contenders may use: the effort, and a server of our own, started when first asked for and stopped at the
    end.
    """

    def __init__(
        self, stack: ExitStack, effort: Effort, traces: Path | None = None, entries: int | None = None
    ) -> None:
        self._stack = stack
        self.effort = effort
        self.traces = traces
        self.entries = entries

    @cached_property
    def server(self) -> Server:
        """A fresh Valkey on this machine (a Redis where there is none)."""
        from memocache.testing.servers import available_servers, start

        kinds = available_servers()
        if not kinds:
            raise Unavailable("no server on this machine; the extra bench brings one")
        return self._stack.enter_context(start(kinds[0]))

    @property
    def server_url(self) -> str:
        """Its URL."""
        return self.server.url

    @property
    def server_version(self) -> str | None:
        """Its name and version; None if nobody asked for it."""
        if "server" not in self.__dict__:
            return None
        with self.server.client() as client:
            info = client.info("server")
        return f"{info.get('server_name', 'redis')} {info.get('valkey_version', info['redis_version'])}"


@dataclass(frozen=True)
class Contender:
    """One way to work. `setup` is entered once, before the first round; one whose module is missing is skipped.

    A `peer` is somebody else's library: it may be left out, and its failure is a line of the report, not the end.
    """

    name: str
    setup: Callable[[Bench], AbstractContextManager[Sample]]
    peer: bool = False


@dataclass(frozen=True)
class Panel:
    """One workload, its contenders, and the name of the one that the others are compared with."""

    name: str
    base: str
    contenders: tuple[Contender, ...]
    unit: Unit = SECONDS
    once: bool = False
    """Whether a sample is a single operation, as where each one is a process of its own."""
    rounds: int | None = None
    """At most so many, as where every round gives the same count."""
    cpu: bool = False
    """Whether the CPU time of this process is reported beside the time."""


@dataclass(frozen=True)
class Suite:
    """One question, asked in one or more panels; `counted` says what a figure is."""

    name: str
    about: str
    counted: str
    panels: Callable[[Bench], Iterable[Panel]]
    """The workloads that suit the effort; it starts nothing."""


@dataclass(frozen=True)
class Spread:
    """A median and the quartiles around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarize values, one at least."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(statistics.median(values), low, high)


@dataclass(frozen=True)
class Result:
    """One contender in one panel: its figure, and the median of its comparisons with the base of the same round."""

    contender: str
    peer: bool
    figure: Spread
    ratio: Spread
    samples: tuple[float, ...]
    cpu: Spread | None = None
    cpu_ratio: Spread | None = None
    note: str = ""


@dataclass(frozen=True)
class PanelResult:
    """What a panel gave: results in the contenders' order, and who was skipped and why."""

    panel: str
    base: str
    unit: str
    results: tuple[Result, ...]
    skipped: tuple[tuple[str, str], ...] = ()


class Progress(Protocol):
    """Told of each step of a panel: what is being done, and how many steps are done of how many."""

    def __call__(self, doing: str, done: int, of: int) -> None: ...


def _quietly(doing: str, done: int, of: int) -> None:
    pass


class _Entrant:
    """A contender that was set up, and its figures so far."""

    def __init__(self, contender: Contender, bench: Bench, panel: Panel) -> None:
        self.contender = contender
        self.figures: list[float] = []
        self.cpu: list[float] = []
        self._context = contender.setup(bench)
        self.sample = self._context.__enter__()
        self._timed = bench.effort.sample_seconds > 0
        self._number = 1 if panel.once else _calibrate(self.sample, bench.effort.sample_seconds)

    def take(self) -> None:
        """Take one sample, with the collector at rest, and the share of it that this process spent on a CPU."""
        if self._timed:
            gc.collect()
        gc.disable()
        try:
            wall, cpu = time.perf_counter(), time.process_time()
            figure = self.sample(self._number)
            share = (time.process_time() - cpu) / max(time.perf_counter() - wall, 1e-9)
        finally:
            gc.enable()
        self.figures.append(figure)
        self.cpu.append(figure * share)

    def leave(self) -> None:
        """End the contender's setup, which may say that its figures are worth nothing."""
        self._context.__exit__(None, None, None)


class _Heat:
    """One panel as it is run: who is in it, and who is out of it and why."""

    def __init__(self, panel: Panel, bench: Bench, contenders: Sequence[Contender], progress: Progress) -> None:
        self.panel = panel
        self.bench = bench
        self.rounds = min(bench.effort.rounds, panel.rounds or bench.effort.rounds)
        self.contenders = contenders
        self.entrants: dict[str, _Entrant] = {}
        self.skipped: list[tuple[str, str]] = []
        self._progress = progress
        self._done = 0

    def run(self) -> None:
        """Set up, take turns, and leave."""
        try:
            for contender in self.contenders:
                self._attempt(contender, self._enter)
            for number in range(self.rounds):
                for contender in rotated(self.contenders, number):
                    self._attempt(contender, self._take)
        finally:
            for entrant in list(self.entrants.values()):
                self._attempt(entrant.contender, self._leave)

    def _enter(self, contender: Contender) -> None:
        self.entrants[contender.name] = _Entrant(contender, self.bench, self.panel)

    def _take(self, contender: Contender) -> None:
        if contender.name in self.entrants:
            self.entrants[contender.name].take()

    def _leave(self, contender: Contender) -> None:
        self.entrants[contender.name].leave()

    def _attempt(self, contender: Contender, step: Callable[[Contender], object]) -> None:
        """Do one step of a contender; one that is not installed, and a peer that fails, is out from then on."""
        self._progress(contender.name, self._done, len(self.contenders) * (self.rounds + 2))
        self._done += 1
        try:
            step(contender)
        except (ModuleNotFoundError, Unavailable) as error:
            self._out(contender, str(error))
        except Exception as error:
            if not contender.peer:
                raise
            self._out(contender, f"failed: {error if isinstance(error, Broken) else type(error).__name__}")

    def _out(self, contender: Contender, why: str) -> None:
        self.skipped.append((contender.name, why))
        entrant = self.entrants.pop(contender.name, None)
        if entrant is not None:
            with contextlib.suppress(Exception):
                entrant.leave()


_FIRST = ("hit-process", "hit-server", "bulk", "miss", "stampede", "invalidation", "outage", "hit-ratio", "memory")
"""Suites that come first, in this order."""


def suites() -> dict[str, Suite]:
    """Return every suite in this package by name."""
    modules = (info.name for info in pkgutil.iter_modules(benchmarks.__path__) if not info.name.startswith("_"))
    found = (getattr(importlib.import_module(f"benchmarks.{name}"), "SUITE", None) for name in modules)
    made = {suite.name: suite for suite in found if suite is not None}
    order = dict.fromkeys((*_FIRST, *made))
    return {name: made[name] for name in order if name in made}


def run_panel(panel: Panel, bench: Bench, *, peers: bool = True, progress: Progress = _quietly) -> PanelResult:
    """Run every contender in turns, and compare each with the base of its own round.

    Without `peers` only memocache and what needs no further library take part.
    """
    contenders = [contender for contender in panel.contenders if peers or not contender.peer]
    heat = _Heat(panel, bench, contenders, progress)
    with _silence():
        heat.run()
    skipped = tuple(heat.skipped)
    base = heat.entrants.get(panel.base)
    if base is None:
        skipped = (*skipped, ("all others", f"{panel.base} is the base"))
        return PanelResult(panel.name, panel.base, panel.unit.name, (), skipped)
    results = tuple(_result(panel, entrant, base) for entrant in heat.entrants.values())
    return PanelResult(panel.name, panel.base, panel.unit.name, results, skipped)


def rotated(items: Sequence[T], by: int) -> list[T]:
    """Return the items beginning with the one at `by`, so that each is first, and each is last, in its turn."""
    by %= max(1, len(items))
    return [*items[by:], *items[:by]]


def _calibrate(sample: Sample, seconds: float) -> int:
    """Return how many operations last one sample; warms the contender up on the way."""
    number = 1
    while True:
        start = time.perf_counter()
        sample(number)
        if time.perf_counter() - start >= seconds:
            return number
        number *= 2


def _result(panel: Panel, entrant: _Entrant, base: _Entrant) -> Result:
    def against(mine: list[float], its: list[float]) -> Spread:
        return Spread.of([panel.unit.compare(one, other) for one, other in zip(mine, its, strict=True)])

    figures = list(map(float, entrant.figures))  # without their notes
    return Result(
        contender=entrant.contender.name,
        peer=entrant.contender.peer,
        figure=Spread.of(figures),
        ratio=against(figures, base.figures),
        samples=tuple(figures),
        cpu=Spread.of(entrant.cpu) if panel.cpu else None,
        cpu_ratio=against(entrant.cpu, base.cpu) if panel.cpu else None,
        note=getattr(entrant.figures[-1], "note", ""),
    )


@contextmanager
def _silence() -> Iterator[None]:
    """No logging and no warnings of peers between the lines of the tables."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
