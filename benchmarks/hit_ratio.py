"""Which requests a bounded cache serves: synthetic mixes, and real traces given by path.

A trace is an xz-compressed file of big-endian 32-bit keys, one a request. The reference figures are those of the table
in the traces' own README: rows ``| name@size (first N M) |``, of which only the columns that name a policy are used.
"""

from __future__ import annotations

import lzma
import random
import re
import sys
from array import array
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks._loops import contender
from benchmarks._measure import Bench, Contender, Panel, Sample, Suite
from benchmarks._peers import OURS, Maker, sync_memory
from benchmarks._units import PERCENT

_ROW = re.compile(r"^\| *([\w.-]+)@(\d+)(?: \(first (\d+) M\))? *\|(.+)\|$", re.MULTILINE)
_SEED = 20_231_023
_NO_BOUND = {"cachekit"}
"""What takes no bound on its entries, so that its hit ratio would say nothing."""


class Trace(NamedTuple):
    """A file of requests, the size of the cache, how many requests are used, and the published hit ratios."""

    path: Path
    size: int
    first: int | None
    published: dict[str, float]


# -- requests


def zipf(requests: int, *, keys: int, exponent: float, chance: random.Random) -> list[int]:
    """Return requests of independent keys, the n-th most popular with a chance in proportion to n ** -exponent."""
    steps = list(accumulate(rank**-exponent for rank in range(1, keys + 1)))
    return [bisect(steps, chance.random() * steps[-1]) for _ in range(requests)]


def with_scans(popular: list[int], *, every: int, length: int) -> list[int]:
    """Return the requests with a run of `length` keys never asked for again put in after each `every` of them."""
    mixed: list[int] = []
    fresh = 10**9
    for start in range(0, len(popular), every):
        mixed += popular[start : start + every]
        mixed += range(fresh, fresh + length)
        fresh += length
    return mixed


def read_trace(path: Path, first: int | None = None) -> Sequence[int]:
    """Return the keys of a trace file, all or the first so many."""
    with lzma.open(path) as file:
        keys = array("i", file.read(-1 if first is None else 4 * first))
    if sys.byteorder == "little":
        keys.byteswap()
    return keys


def traces(directory: Path | None) -> list[Trace]:
    """Return the traces that a directory's README gives figures for; without figures, each file at 1,000 entries."""
    if directory is None or not directory.is_dir():
        return []
    readme = directory / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    header = re.search(r"^\| *trace@size *\|(.+)\|$", text, re.MULTILINE)
    policies = [] if header is None else [cell.strip() for cell in header[1].split("|")]
    found = []
    for name, size, millions, cells in _ROW.findall(text):
        path = directory / f"{name}.trace.xz"
        if path.exists():
            figures = dict(zip(policies, map(float, cells.split("|")), strict=True))
            found.append(Trace(path, int(size), int(millions) * 10**6 if millions else None, figures))
    return found or [Trace(path, 1_000, None, {}) for path in sorted(directory.glob("*.trace.xz"))]


# -- contenders

Requests = Callable[[], Sequence[int]]


def _ratio(maker: Maker, size: int, requests: Sequence[int]) -> float:
    computed = 0

    def work(key: int) -> int:
        nonlocal computed
        computed += 1
        return key

    function = maker(size)(work)
    for key in requests:
        function(key)
    return 100.0 * (1 - computed / len(requests))


def _cachetools_lru(size: int) -> Any:
    from threading import Lock

    import cachetools

    return cachetools.cached(cachetools.LRUCache(size), lock=Lock())


def _cachebox_lfu(size: int) -> Any:
    import cachebox

    return cachebox.cached(cachebox.LFUCache(size))


def _cachebox_lru(size: int) -> Any:
    import cachebox

    return cachebox.cached(cachebox.LRUCache(size))


_MAKERS: dict[str, Maker] = {
    **{name: maker for name, maker in sync_memory.items() if name not in _NO_BOUND | {"cachetools", "cachebox"}},
    "cachetools LRU": _cachetools_lru,
    "cachebox LRU": _cachebox_lru,
    "cachebox LFU": _cachebox_lfu,
}


def _contender(name: str, maker: Maker, size: int, requests: Requests) -> Contender:
    @contender(name, peer=name not in OURS)
    def setup(bench: Bench) -> Iterator[Sample]:
        yield lambda number: _ratio(maker, size, requests())

    return setup


def _published(policy: str, figure: float) -> Contender:
    @contender(f"{policy}, as published with the trace")
    def setup(bench: Bench) -> Iterator[Sample]:
        yield lambda number: figure

    return setup


def _panel(name: str, size: int, requests: Requests, published: dict[str, float] | None = None) -> Panel:
    kept = lru_cache(maxsize=1)(requests)  # read or made once for all contenders
    contenders = [_contender(other, maker, size, kept) for other, maker in _MAKERS.items()]
    contenders += [_published(*item) for item in (published or {}).items()]
    return Panel(name, "functools.lru_cache", tuple(contenders), unit=PERCENT, once=True, rounds=1)


def _panels(bench: Bench) -> Iterator[Panel]:
    number = bench.effort.pick(full=400_000, quick=20_000, tiny=100)
    keys = bench.effort.pick(full=100_000, quick=10_000, tiny=50)
    size = keys // 50
    popular = partial(_popular, number, keys)
    yield _panel(f"Zipf (0.9) over {keys:,} keys, {size:,} entries", size, popular)
    scan = max(1, size // 2)
    yield _panel(
        f"the same, with scans of {scan:,} keys",
        size,
        lambda: with_scans(popular(), every=5 * scan, length=scan),
    )
    yield _panel(
        f"the same, with a loop over {2 * size:,} keys",
        size,
        lambda: [key for turn, one in enumerate(popular()) for key in (one, 10**9 + turn % (2 * size))],
    )
    yield _panel(
        f"a loop alone, over {size + size // 4:,} keys, {size:,} entries",
        size,
        lambda: [turn % (size + size // 4) for turn in range(number)],
    )
    for trace in traces(bench.traces):
        first = bench.effort.pick(full=trace.first, quick=20_000, tiny=100)
        cut = "" if first is None else f", first {first:,}"
        published = bench.effort.pick(full=trace.published, quick={}, tiny={})  # they are of the whole
        name = f"trace {trace.path.name.partition('.')[0]}, {trace.size:,} entries{cut}"
        yield _panel(name, trace.size, partial(read_trace, trace.path, first), published)


def _popular(number: int, keys: int) -> list[int]:
    return zipf(number, keys=keys, exponent=0.9, chance=random.Random(_SEED))


SUITE = Suite(
    name="hit-ratio",
    about="the requests that a bounded cache serves, on synthetic mixes and on traces given by --traces",
    counted="hits in percent of requests; the second figure is the difference in points",
    panels=_panels,
)
