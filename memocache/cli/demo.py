"""``memocache demo``: an expensive function, computed once and then served, whoever asks and whatever fails.

First one caller alone, then ten at once, another process, and an outage. Every figure is measured while it runs; the
outage is made by raising in place of the backend's answers.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from rich.table import Table

from memocache import Cache
from memocache.cli._common import Failure, UrlOption, console, duration, where

_NAME = "demo.count_primes"
_SHARED = "demo.shared"
_PREFIX = "memocache-demo"
_CALLERS = 10
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
    """Show a function computed once, then served, whatever happens."""
    # A prefix of its own: the demo meets no other entries, and what it leaves are a few words, the same each time.
    with Cache(url, prefix=_PREFIX, default_ttl=60) as cache:
        health = cache.health()
        if not health.ok:
            raise Failure(f"{where(url)} is not healthy: {health.detail}")
        cache.clear()
        try:
            _show(cache, url)
            with _shared_url(url) as shared:
                _show_beside_others(shared, url)
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
        table.add_row(label, "computed" if computed > before else "served", duration(spent))
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
    table.add_row(f'cache.invalidate("{_NAME}")', "forgotten, by name", duration(time.perf_counter() - start))
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


@contextmanager
def _shared_url(url: str) -> Iterator[str | None]:
    """A backend that other processes see: the one given, or for the process's own memory a store on disk (extra
    ``disk``) for as long as this lasts; None where there is none.
    """
    if not url.startswith("memory:"):
        yield url
    elif find_spec("lmdb") is None or find_spec("xxhash") is None:
        yield None
    else:
        with tempfile.TemporaryDirectory(prefix="memocache-demo-") as folder:
            yield f"disk://{folder}"


def _show_beside_others(shared: str | None, url: str) -> None:
    """Ten callers at once, another process, an outage."""
    table = Table(title=f"beside others, on {where(shared or url)}", title_justify="left")
    for heading in ("situation", "what happened"):
        table.add_column(heading, overflow="fold")
    for heading in ("computed", "time"):
        table.add_column(heading, justify="right")
    from memocache.testing import FailingBackend

    with Cache(shared or url, prefix=_PREFIX, default_ttl=60) as cache:
        backend: Any = cache.backend
        weak: Any = None if backend is None else FailingBackend(backend, error=ConnectionRefusedError)
        if weak is not None:
            weak.active = False
        with Cache(url if weak is None else weak, prefix=_PREFIX, default_ttl=60) as watched:
            f = watched.cached(name=_SHARED)(_primes_below)
            for row in _situations(watched, f, shared, weak):
                table.add_row(*row)
        cache.clear()
        cache.purge()
    console().print(table)


def _situations(cache: Cache, f: Any, shared: str | None, weak: Any) -> Iterator[tuple[str, str, str, str]]:
    """Rows of the table: each says what was done, what came of it, how often the function ran, and the time."""

    def measured(call: Callable[[], object]) -> tuple[int, str]:
        before, start = f.stats(), time.perf_counter()
        call()
        spent = time.perf_counter() - start
        return f.stats().misses - before.misses - f.stats().coalesced + before.coalesced, duration(spent)

    computed, spent = measured(lambda: _at_once(_CALLERS, lambda: f(_LIMIT)))
    waited = f.stats().coalesced
    yield f"{_CALLERS} callers at once", f"{computed} computed, {waited} waited for it", f"{computed}", spent
    if shared is None:
        yield "another process", 'needs a backend that is shared: --url, or pip install "memocache[disk]"', "-", "-"
        return
    told = _asked_elsewhere(shared)
    found = "computed again" if told["computed"] else "served what this one computed"
    yield "another process, the same call", found, f"{told['computed']}", duration(told["seconds"])
    weak.active = True
    computed, spent = measured(lambda: f(_LIMIT))
    yield "the backend is away (injected)", "computed, and no error", f"{computed}", spent
    weak.active = False
    cache.health()  # an answer ends the time in which the backend is left alone
    computed, spent = measured(lambda: f(_LIMIT))
    yield "the backend is back", "computed" if computed else "served again", f"{computed}", spent


def _at_once(callers: int, call: Callable[[], object]) -> None:
    """Let so many threads call at the same moment."""
    gate = threading.Barrier(callers)

    def caller() -> None:
        gate.wait()
        call()

    threads = [threading.Thread(target=caller) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _asked_elsewhere(url: str) -> Any:
    """What another process makes of the call. The URL goes by stdin: others can see a command line."""
    program = "from memocache.cli.demo import _elsewhere; _elsewhere()"
    child = subprocess.run([sys.executable, "-c", program], input=url, capture_output=True, text=True, check=False)
    if child.returncode != 0:
        raise Failure("another process could not be started")
    return json.loads(child.stdout)


def _elsewhere() -> None:
    """In that process: call, and tell how often the function ran and how long it took."""
    with Cache(sys.stdin.read(), prefix=_PREFIX, default_ttl=60) as cache:
        f = cache.cached(name=_SHARED)(_primes_below)
        cache.health()  # connected: what is measured is the call
        start = time.perf_counter()
        f(_LIMIT)
        print(json.dumps({"computed": f.stats().stores, "seconds": time.perf_counter() - start}))
