"""The look-up in C beside the compiled one, which is its specification: one random world, driven both ways."""

from __future__ import annotations

import gc
import sys
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memocache import Cache
from memocache._runtime.native import NATIVE
from tests.calls.native_world import ARGUMENTS, CHANGES, OPTIONS, RESULTS, SPELLINGS, drive

pytestmark = pytest.mark.skipif(NATIVE is None, reason="the pure build")

_PLACES = st.integers(0, len(ARGUMENTS) - 1)
_STEPS = st.tuples(st.integers(0, 2), st.sampled_from(SPELLINGS + CHANGES), _PLACES, _PLACES, st.sampled_from(RESULTS))


@pytest.mark.filterwarnings("ignore::UserWarning")
@given(steps=st.lists(_STEPS, min_size=1, max_size=40), options=st.sampled_from(OPTIONS))
def test_same_world_either_way(steps: Any, options: Any) -> None:
    """Values, errors, keys, counters, evictions and references are the compiled look-up's, whatever the steps."""
    drive(options, steps)


def test_an_index_keeps_no_entry_alive() -> None:
    """An entry that left its table is let go of at once, and the index knows nothing more of it."""
    cache = Cache("memory://")

    class Thing:
        pass

    @cache.cached(share=True)
    def f(a: int) -> Thing:
        return Thing()

    for number in range(100):
        assert f(number) is f(number)
    assert f._self_hit.indexed == 100  # type: ignore[attr-defined]
    f.invalidate_all()
    assert f._self_hit.indexed == 0  # type: ignore[attr-defined]


def test_a_function_that_refers_to_itself_is_collected() -> None:
    """A decorated function in a circle goes with the circle: the C holds nothing that the collector does not see."""
    cache = Cache("memory://")

    def make() -> Any:
        def plain(a: int) -> Any:
            return f, a

        f: Any = cache.cached(share=True)(plain)
        f(1), f(1)
        f.cache_clear()
        return type(f)

    import weakref

    made = weakref.ref(make())
    gc.collect()
    gc.collect()
    assert made() is None


def test_threads_are_counted_exactly() -> None:
    """Threads that change as often as they can, and entries that go meanwhile: each call is a hit or a miss."""
    cache, before = Cache("memory://?maxsize=20"), sys.getswitchinterval()

    @cache.cached
    def f(a: Any) -> list[Any]:
        return [a]

    wrong: list[Any] = []

    def work() -> None:
        for number in range(1000):
            a = (1, True, 1.0, "1", number % 30)[number % 5]
            came = f(a)
            if type(came[0]) is not type(a) or came != [a]:
                wrong.append((a, came))
            if number % 100 == 0:
                f.invalidate(1)

    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    info = f.cache_info()
    assert (wrong, info.hits + info.misses) == ([], 4000)
