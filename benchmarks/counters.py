"""What counting costs: the compiled look-up as it is, beside the same one with its counting lines taken out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import process_time
from typing import Any

from benchmarks._loops import contender, sync_loop
from benchmarks._measure import Bench, Contender, Panel, Sample, Suite, Unavailable

_LINES = {
    "count": re.compile(r"^(\s*)\S*\.hits \+= 1$", re.MULTILINE),
    "last access": re.compile(r"^(\s*)\S*\.last = \S+$", re.MULTILINE),
}


@contextmanager
def _without(*what: str) -> Iterator[None]:
    """Have look-ups compiled without these lines. Raises `Unavailable` if one is not to be found in them."""
    from memocache._calls import signature as _signature

    original: Callable[[str], Any] = _signature._code
    found: set[str] = set()

    def stripped(source: str) -> Any:
        for name in what:
            source, number = _LINES[name].subn(r"\1pass", source)
            found.update({name} if number else ())
        return original(source)

    _signature._code = stripped  # type: ignore[assignment]  # a cached function by a plain one, for a moment
    try:
        yield
    finally:
        _signature._code = original  # type: ignore[assignment]
    if missing := set(what) - found:
        raise Unavailable(f"the compiled look-up has no line for the {' and the '.join(sorted(missing))}")


def _function() -> Any:
    from memocache import Cache

    return Cache("memory://?maxsize=1024").cached(ttl=3_600)(_work)


def _work(a: int, b: int = 3) -> int:
    return a * b


def _contender(label: str, *what: str) -> Contender:
    @contender(label)
    def setup(bench: Bench) -> Iterator[Sample]:
        with _without(*what):
            function = _function()
        yield sync_loop(function, "f(k, 3)", process_time)

    return setup


def _panels(bench: Bench) -> Iterator[Panel]:
    yield Panel(
        "sync, f(k, 3)",
        base="without counters",
        contenders=(
            _contender("without counters", "count", "last access"),
            _contender("without the count", "count"),
            _contender("without the last access", "last access"),
            _contender("as it is"),
        ),
    )


SUITE = Suite(
    name="counters",
    about="the cost of counting hits: variants of the compiled look-up without the lines that do it",
    counted="processor time of one hit; the count also steers eviction, so it is no pure statistic",
    panels=_panels,
)
