"""``memocache demo``: an expensive function, computed once and then served. Every figure is measured while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.table import Table

from memocache import Cache
from memocache.cli._common import Failure, UrlOption, console, seconds, where

_NAME = "demo.count_primes"
_LIMIT = 4_000_000
_REPEATS = 1_000


def _primes_below(limit: int) -> int:
    """Count the primes below `limit`: the sieve of Eratosthenes, honest work for a few tenths of a second."""
    composite = bytearray(limit)
    count = 0
    for number in range(2, limit):
        if not composite[number]:
            count += 1
            composite[number * number :: number] = b"\x01" * len(range(number * number, limit, number))
    return count


def demo(url: UrlOption = "memory://") -> None:
    """Show a function computed once, served, counted, invalidated."""
    # A prefix of its own: the demo meets no other entries, and what it leaves are a few words, the same each time.
    with Cache(url, prefix="memocache-demo", default_ttl=60) as cache:
        health = cache.health()
        if not health.ok:
            raise Failure(f"{where(url)} is not healthy: {health.detail}")
        cache.clear()
        try:
            _show(cache, url)
        finally:
            cache.clear()
            cache.purge()


def _show(cache: Cache, url: str) -> None:
    out = console()
    computed = 0

    @cache.cached(name=_NAME)
    def count_primes(limit: int) -> int:
        nonlocal computed
        computed += 1
        return _primes_below(limit)

    table = Table(title=f"count_primes({_LIMIT:_}) on {where(url)}", title_justify="left")
    table.add_column("step", overflow="fold")
    table.add_column("what happened")
    table.add_column("time", justify="right")

    def step(label: str, call: Callable[[], object]) -> float:
        """Run `call`, and add a row that says whether the function itself ran in it."""
        before, start = computed, time.perf_counter()
        call()
        spent = time.perf_counter() - start
        table.add_row(label, "computed" if computed > before else "served", seconds(spent))
        return spent

    def repeat() -> None:
        for _ in range(_REPEATS):
            count_primes(_LIMIT)

    served = 0.0
    step("the first call", lambda: count_primes(_LIMIT))
    served += step("the same call again", lambda: count_primes(_LIMIT))
    served += step("the same, by keyword", lambda: count_primes(limit=_LIMIT))
    served += step(f"{_REPEATS:,} more calls, together", repeat)
    start = time.perf_counter()
    cache.invalidate(_NAME)
    table.add_row(f'cache.invalidate("{_NAME}")', "forgotten, by name", seconds(time.perf_counter() - start))
    step("the call after it", lambda: count_primes(_LIMIT))
    served += step("and once more", lambda: count_primes(_LIMIT))
    out.print(table)

    stats = count_primes.stats()
    table = Table(title=f'cache.stats().functions["{_NAME}"]', title_justify="left", show_header=False)
    table.add_row("hits", f"{stats.hits:,}")
    table.add_row("misses", f"{stats.misses:,}")
    table.add_row("stores", f"{stats.stores:,}")
    table.add_row("seconds computing", f"{stats.compute_seconds:.3f}")
    table.add_row("seconds serving, measured here", f"{served:.6f}")
    table.add_row("seconds saved (hits x mean computation)", f"{stats.saved_seconds:,.1f}")
    out.print(table)
