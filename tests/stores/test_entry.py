"""The entries of the process tier: their counts are exact whoever moves them, and they are small."""

from __future__ import annotations

import gc
import math
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any, cast

import pytest

from memocache import MISSING, Cache
from memocache._runtime.disabled import DISABLED
from memocache.testing import FakeClock


class Meddled(FakeClock):
    """A clock that does something else, once, when it is asked for the `nth` time from now: as another thread might,
    for Python changes threads at calls."""

    meddling: Callable[[], object] | None = None
    nth = 0

    def monotonic(self) -> float:
        self.meddle()
        return super().monotonic()

    def meddle(self) -> None:
        self.nth -= 1
        if self.nth == 0 and self.meddling is not None:
            self.meddling()


MEDDLING: dict[str, Callable[[Cache, Any], object]] = {
    "evicted": lambda cache, f: [f.put(n, n) for n in (2, 3, 4)],
    "replaced": lambda cache, f: f.put(5, 1),
    "invalidated": lambda cache, f: f.invalidate(1),
    "cleared": lambda cache, f: f.invalidate_all(),
    "tagged": lambda cache, f: cache.invalidate(tag="t"),
}


@pytest.mark.parametrize("nth", range(1, 7))
@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "observed"])
@pytest.mark.parametrize("what", MEDDLING)
def test_a_call_is_counted_though_its_entry_goes_under_it(what: str, compiled: bool, nth: int) -> None:
    """Whatever happens to an entry between two steps of a call that finds it, the call is one hit or one miss."""
    clock = Meddled()
    cache = Cache("memory://?maxsize=2", clock=clock, observers=() if compiled else (lambda event: None,))

    @cache.cached(ttl=60, tags=("t",) if what == "tagged" else ())
    def f(n: int) -> int:
        return n

    f(1)
    f(1)
    clock.meddling, clock.nth = lambda: MEDDLING[what](cache, f), nth
    for _ in range(3):
        f(1)
    counted = f.cache_info()
    assert counted.hits + counted.misses == 5


@pytest.mark.parametrize("what", MEDDLING)
def test_nothing_comes_between_the_last_look_and_the_count(what: str) -> None:
    """The look-up asks whether caching is off before it looks whether the entry still holds, not after."""
    clock = Meddled()
    cache = Cache("memory://?maxsize=2", clock=clock)

    @cache.cached(ttl=60, tags=("t",) if what == "tagged" else ())
    def f(n: int) -> int:
        return n

    f(1)
    f(1)
    state = cast("Any", f)._self_state
    asked = DISABLED.get

    def meddled() -> Any:
        clock.meddle()
        return asked()

    state._namespace[state.function.signature.name("off")] = meddled
    clock.meddling, clock.nth = lambda: MEDDLING[what](cache, f), 2  # the clock itself is asked first
    for _ in range(3):
        f(1)
    counted = f.cache_info()
    assert counted.hits + counted.misses == 5


def test_a_new_value_goes_on_with_the_hits_of_the_old() -> None:
    """Replacing a value loses neither the function's hits nor the entry's; clearing begins both anew."""
    cache = Cache()

    @cache.cached(ttl=60)
    def f(n: int) -> int:
        return n

    for _ in range(5):
        f(1)
    f.put(10, 1)
    assert (f(1), f.cache_info().hits) == (10, 5)
    info = cache.inspect(f.key_for(1))
    assert info is not None
    assert info.access_count == 5
    f.cache_clear()
    assert f.cache_info().hits == 0
    f(1)
    f(1)
    assert f.cache_info()[:2] == (1, 1)


def test_a_new_value_earns_its_own_stay() -> None:
    """When space is short, a replaced entry is judged by the hits since, not by those it took over."""
    cache = Cache("memory://?maxsize=2")

    @cache.cached(ttl=60)
    def f(n: int) -> int:
        return n

    for _ in range(5):
        f(1)
    f.put(10, 1)
    f(2)
    f(3)
    assert (f.peek(1), f.peek(2)) == (MISSING, 2)


def test_what_never_expires_knows_when_it_was_stored() -> None:
    """An entry without ttl, or with a changed one, tells its age as any other does."""
    clock = FakeClock()
    cache = Cache(clock=clock)
    begun = clock.time()
    cache.set("k", 1, ttl=None)
    clock.advance(100)
    info = cache.inspect("k")
    assert info is not None
    assert (info.created_at, info.expires_at) == (pytest.approx(begun, abs=1e-3), math.inf)
    assert cache.ttl("k") == math.inf
    assert cache.expire("k", 50)
    info = cache.inspect("k")
    assert info is not None
    assert (info.created_at, info.expires_at) == pytest.approx((begun, begun + 150), abs=1e-3)
    assert cache.ttl("k") == pytest.approx(50, abs=1e-3)


def test_an_entry_of_a_small_value_is_small() -> None:
    """A call with one int and a float result takes at most 264 bytes, value, key and bookkeeping together.

    That is what `cachetools.TTLCache` takes; counted by the allocator, so it is the same on every machine, in a process
    where nothing else goes on.
    """
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=True, timeout=60)
    assert float(done.stdout) <= 264


def bytes_an_entry() -> float:
    """What the allocator says that an entry takes."""
    count = 2_500
    cache = Cache(f"memory://?maxsize={2 * count}")

    @cache.cached(ttl=60)
    def f(n: int) -> float:
        return n * 1.5

    keys = list(range(1000, 1000 + count))
    f(0)
    gc.collect()
    tracemalloc.start()
    try:
        for key in keys:
            f(key)
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return held / count


if __name__ == "__main__":
    print(bytes_an_entry())
