"""What memocache is meant to reach, as data, and whether a run reached it.

A goal is about one panel (or each panel whose name begins so). What is compared are figures of the same round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks._measure import PanelResult, Result, Spread
from benchmarks._results import SuiteResult
from benchmarks._units import COUNT, SPEED, spell_seconds
from benchmarks.arguments import FRAMES

_NO_TTL = {"functools.lru_cache"}
Measure = Callable[[PanelResult], Sequence[float] | None]
"""The figures that a goal is about, one a round; None where the panel lacks a contender it needs."""


@dataclass(frozen=True)
class Goal:
    """A bound on what `measure` returns, in panels of `suite` whose name begins with `panel`."""

    name: str
    suite: str
    panel: str
    measure: Measure
    limit: float
    at_least: bool = False
    spell: Callable[[float], str] = "{:.2f}".format

    @property
    def bound(self) -> str:
        """The bound in words."""
        return f"at {'least' if self.at_least else 'most'} {self.spell(self.limit)}"


@dataclass(frozen=True)
class Judged:
    """A goal and what a run came to."""

    name: str
    bound: str
    measured: str
    quartiles: str
    held: bool


def judged(results: Iterable[SuiteResult]) -> Iterator[Judged]:
    """Judge every goal whose panel is in the results, with all it needs."""
    by_name = {one.name: one for one in results}
    for goal in GOALS:
        suite = by_name.get(goal.suite)
        for panel in () if suite is None else suite.panels:
            figures = goal.measure(panel) if panel.panel.startswith(goal.panel) else None
            if figures is None:
                continue
            spread = Spread.of(figures)
            held = spread.median >= goal.limit if goal.at_least else spread.median <= goal.limit
            name = f"{goal.name}: {panel.panel}" if goal.panel.endswith(" ") else goal.name
            quartiles = "" if spread.low == spread.high else f"{goal.spell(spread.low)} to {goal.spell(spread.high)}"
            yield Judged(name, goal.bound, goal.spell(spread.median), quartiles, held)


# -- measures


def _by_name(panel: PanelResult) -> dict[str, Result]:
    return {one.contender: one for one in panel.results}


def _pairs(panel: PanelResult, ours: str, other: str) -> list[tuple[float, float]] | None:
    found = _by_name(panel)
    if ours not in found or other not in found:
        return None
    return list(zip(found[ours].samples, found[other].samples, strict=True))


def of(other: str, ours: str = "memocache") -> Measure:
    """How many times the other's figure ours is."""

    def measure(panel: PanelResult) -> Sequence[float] | None:
        pairs = _pairs(panel, ours, other)
        return None if pairs is None else [mine / its for mine, its in pairs if its]

    return measure


def of_fastest_peer(panel: PanelResult) -> Sequence[float] | None:
    """How many times the figure of the fastest peer with a ttl ours is."""
    peers = [one for one in panel.results if one.peer and one.contender not in _NO_TTL]
    if not peers:
        return None
    return of(min(peers, key=lambda one: one.figure.median).contender)(panel)


def beyond(other: str, ours: str = "memocache") -> Measure:
    """By how much our figure is above the other's."""

    def measure(panel: PanelResult) -> Sequence[float] | None:
        pairs = _pairs(panel, ours, other)
        return None if pairs is None else [mine - its for mine, its in pairs]

    return measure


def figure(ours: str = "memocache") -> Measure:
    """Our own figure."""

    def measure(panel: PanelResult) -> Sequence[float] | None:
        found = _by_name(panel).get(ours)
        return None if found is None else found.samples

    return measure


def slowest(panel: PanelResult) -> Sequence[float] | None:
    """The figure of the slowest of ours but the base, in each round."""
    ours = [one.samples for one in panel.results if not one.peer and one.contender != panel.base]
    return [min(figures) for figures in zip(*ours, strict=True)] or None


def lost_counts(panel: PanelResult) -> Sequence[float] | None:
    """Hits that are missing from memocache's own count, all thread numbers together."""
    notes = [one.note for one in panel.results]
    if panel.panel != "memocache" or not all(note.endswith(" counts lost") for note in notes):
        return None
    return [sum(float(note.split()[0].replace(",", "")) for note in notes)]


_POSITIONAL, _KEYWORD, _DEFAULT = "sync, f(k, 3)", "sync, f(a=k, b=3)", "sync, f(k), b left out"
_S3 = "S3-FIFO, as published with the trace"

GOALS = (
    *(
        Goal(f"hit in the process, {words}, of the fastest TTL peer's", "hit-process", panel, of_fastest_peer, 0.75)
        for panel, words in ((_POSITIONAL, "positional"), (_KEYWORD, "keyword"), (_DEFAULT, "default left out"))
    ),
    Goal("the same, positional, of lru_cache's", "hit-process", _POSITIONAL, of("functools.lru_cache"), 4.2),
    Goal("the same, keyword, of lru_cache's", "hit-process", _KEYWORD, of("functools.lru_cache"), 2.7),
    Goal("async hit, of the fastest async peer's", "hit-process", "async, await f(k)", of_fastest_peer, 0.60),
    Goal(
        "hit of a method, of the function's",
        "hit-process",
        "memocache, a method beside a function",
        of("function f(k, 3)", "method o.m(k, 3)"),
        2.4,
    ),
    Goal("counting, of the hit without it", "counters", "sync", of("without counters", "as it is"), 1.10),
    Goal(
        "miss in the process, beyond the plain call",
        "miss",
        "in the process, sync",
        beyond("plain call"),
        12e-6,
        spell=spell_seconds,
    ),
    Goal("round trips of a miss on a server", "miss", "round trips", figure(), 3, spell=COUNT.spell),
    Goal("hit on a server, sync, of redis-py's GET", "hit-server", "sync, one caller", of("redis-py GET"), 1.0),
    Goal("the same, async, of redis.asyncio's GET", "hit-server", "async, one caller", of("redis.asyncio GET"), 1.05),
    Goal("hit on disk, of diskcache's memoize", "disk", "hit, one caller", of("diskcache memoize"), 0.5),
    Goal("the same, of joblib's", "disk", "hit, one caller", of("joblib"), 0.1),
    Goal("an array of 100 MB on disk, of joblib's", "disk", "array of 100 MB", of("joblib"), 0.1),
    Goal("a tensor of 100 MB on disk, of joblib's", "disk", "tensor of 100 MB", of("joblib"), 0.1),
    Goal(
        "an Arrow table of 100 MB on disk, of its mapped IPC file",
        "disk",
        "Arrow table of 100 MB",
        of("its IPC file, mapped"),
        1.2,
    ),
    Goal("the slowest frame as an argument", "arguments", FRAMES, slowest, 1e9, at_least=True, spell=SPEED.spell),
    *(
        Goal(
            f"100 distinct gets at once, {words}, of redis.asyncio's",
            "hit-server",
            "async, 100 distinct gets at once",
            of("redis.asyncio GET", ours),
            0.2,
        )
        for words, ours in (("bytes", "memocache, the backend's read_soon"), ("values", "memocache aio.get"))
    ),
    Goal(
        "f.map over 1,000 hits, of MGET and unpacking",
        "bulk",
        "1,000 hits on a server",
        of("redis-py MGET, msgpack", "memocache f.map"),
        4.0,
    ),
    Goal("points below S3-FIFO's published hit ratio", "hit-ratio", "trace ", lambda panel: _below(panel), 1.0),
    Goal("memory per entry, of cachetools.TTLCache's", "memory", "f(int)", of("cachetools"), 1.0),
    Goal(
        "8 threads, of 1 thread's hits a second",
        "threads",
        "memocache",
        of("1 thread", "8 threads"),
        0.85,
        at_least=True,
    ),
    Goal("counts lost by threads", "threads", "memocache", lost_counts, 0, spell=COUNT.spell),
    Goal("import memocache, of import redis", "import", "fresh", of("import redis", "import memocache"), 0.5),
)


def _below(panel: PanelResult) -> Sequence[float] | None:
    pairs = _pairs(panel, "memocache", _S3)
    return None if pairs is None else [its - mine for mine, its in pairs]
