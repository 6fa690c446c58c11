"""Suites, panels and contenders, and how they are run."""

from __future__ import annotations

import gc
import importlib
import pkgutil
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property

import benchmarks

Sample = Callable[[int], float]
"""Runs the operation about that many times and returns seconds per operation."""


class Bench:
    """What contenders may use: a server of our own, started when first asked for and stopped at the end."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    @cached_property
    def server_url(self) -> str:
        """The URL of a fresh Valkey on this machine."""
        from memocache.testing.servers import ValkeyServer

        return self._stack.enter_context(ValkeyServer()).url

    @property
    def server_started(self) -> bool:
        return "server_url" in self.__dict__


@dataclass(frozen=True)
class Contender:
    """One way to work. `setup` is entered once, before the first round; one whose module is missing is skipped."""

    name: str
    setup: Callable[[Bench], AbstractContextManager[Sample]]


@dataclass(frozen=True)
class Panel:
    """One workload, its contenders, and the name of the one that counts as 1."""

    name: str
    base: str
    contenders: tuple[Contender, ...]
    once: bool = False
    """Whether a sample is a single operation, as where each one is a process of its own."""


@dataclass(frozen=True)
class Suite:
    """One question, asked in one or more panels."""

    name: str
    about: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Effort:
    """How many rounds, and how long one sample shall last at least, in seconds."""

    rounds: int
    sample_seconds: float


FULL = Effort(rounds=25, sample_seconds=0.03)
QUICK = Effort(rounds=5, sample_seconds=0.005)


@dataclass(frozen=True)
class Result:
    """One contender in one panel; times in seconds per operation."""

    contender: str
    median: float
    quartiles: tuple[float, float]
    ratio: float
    ratio_quartiles: tuple[float, float]
    samples: tuple[float, ...]


@dataclass(frozen=True)
class PanelResult:
    """What a panel gave: results in the contenders' order, and who was skipped and why."""

    panel: str
    base: str
    results: tuple[Result, ...]
    skipped: tuple[tuple[str, str], ...]


def suites() -> dict[str, Suite]:
    """Return every suite in this package by name."""
    modules = (info.name for info in pkgutil.iter_modules(benchmarks.__path__) if not info.name.startswith("_"))
    found = (getattr(importlib.import_module(f"benchmarks.{name}"), "SUITE", None) for name in modules)
    return {suite.name: suite for suite in found if suite is not None}


def run_panel(panel: Panel, bench: Bench, effort: Effort) -> PanelResult:
    """Set up every contender, run them in turns, and compare each with the base of its own round."""
    with ExitStack() as stack:
        entrants: dict[str, Sample] = {}
        skipped: list[tuple[str, str]] = []
        for contender in panel.contenders:
            try:
                entrants[contender.name] = stack.enter_context(contender.setup(bench))
            except ModuleNotFoundError as error:
                skipped.append((contender.name, str(error)))
        if panel.base not in entrants:
            return PanelResult(panel.name, panel.base, (), (*skipped, ("all others", f"{panel.base} is the base")))
        numbers = {name: 1 if panel.once else _calibrate(sample, effort) for name, sample in entrants.items()}
        samples: dict[str, list[float]] = {name: [] for name in entrants}
        for _ in range(effort.rounds):
            for name, sample in entrants.items():
                samples[name].append(_without_gc(sample, numbers[name]))
    base = samples[panel.base]
    return PanelResult(panel.name, panel.base, tuple(_summary(n, s, base) for n, s in samples.items()), tuple(skipped))


def _calibrate(sample: Sample, effort: Effort) -> int:
    """Return how many operations last one sample; warms the contender up on the way."""
    number = 1
    while True:
        start = time.perf_counter()
        sample(number)
        if time.perf_counter() - start >= effort.sample_seconds:
            return number
        number *= 2


def _without_gc(sample: Sample, number: int) -> float:
    gc.collect()
    gc.disable()
    try:
        return sample(number)
    finally:
        gc.enable()


def _summary(name: str, samples: list[float], base: list[float]) -> Result:
    ratios = [mine / its for mine, its in zip(samples, base, strict=True)]
    return Result(
        contender=name,
        median=statistics.median(samples),
        quartiles=_quartiles(samples),
        ratio=statistics.median(ratios),
        ratio_quartiles=_quartiles(ratios),
        samples=tuple(samples),
    )


def _quartiles(values: list[float]) -> tuple[float, float]:
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


# What most suites make their contenders of.

KEYS = tuple(range(1_000, 1_256))
"""The arguments that a hot loop goes round: 256 of them, so that no contender is measured on one lucky entry."""


def contender(name: str) -> Callable[[Callable[[Bench], Iterator[Sample]]], Contender]:
    """Make a `Contender` of a generator function that yields its `Sample` once."""
    return lambda setup: Contender(name, contextmanager(setup))


def sync_loop(call: Callable[..., object], expression: str = "f(k)") -> Sample:
    """Return a sample of `expression` (in `f` and `k`) over `KEYS`, after one pass that fills the cache."""
    scope: dict[str, object] = {"f": call, "keys": KEYS, "clock": time.perf_counter}
    exec(
        "def run(loops):\n"
        "    start = clock()\n"
        "    for _ in range(loops):\n"
        f"        for k in keys: {expression}\n"
        "    return clock() - start\n",
        scope,
    )
    return _per_operation(scope["run"])  # type: ignore[arg-type]  # exec's scope has no types


def async_loop(
    call: Callable[..., Awaitable[object]], run_until: Callable[..., float], expression: str = "f(k)"
) -> Sample:
    """Return a sample like `sync_loop`'s of an awaited `expression`; `run_until` runs a coroutine on one loop."""
    scope: dict[str, object] = {"f": call, "keys": KEYS, "clock": time.perf_counter}
    exec(
        "async def run(loops):\n"
        "    start = clock()\n"
        "    for _ in range(loops):\n"
        f"        for k in keys: await {expression}\n"
        "    return clock() - start\n",
        scope,
    )
    run: Callable[[int], object] = scope["run"]  # type: ignore[assignment]  # exec's scope has no types
    return _per_operation(lambda loops: run_until(run(loops)))


def _per_operation(run: Callable[[int], float]) -> Sample:
    run(1)  # fills the cache

    def sample(loops: int) -> float:
        return run(loops) / (loops * len(KEYS))

    return sample
