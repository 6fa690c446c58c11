"""Assertions about the calls of a decorated function: how many were hits, and how many were computed.

::

    with assert_computed(price, 1), assert_hits(price, 2):
        price(7), price(7), price(item=7)

They compare the function's own counters before and after the block, so calls of other threads count too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def assert_hits(function: Any, count: int) -> Iterator[None]:
    """Exactly `count` calls of the function are served from the cache inside the block (``async with`` is not needed).

    Raises AssertionError, and TypeError for what is not decorated.
    """
    before = _info(function).hits
    yield
    hits = _info(function).hits - before
    if hits != count:
        raise AssertionError(f"{_name(function)}: {hits} calls were served from the cache, not {count}")


@contextmanager
def assert_computed(function: Any, count: int) -> Iterator[None]:
    """The function itself runs exactly `count` times inside the block, for whatever reason (calls, refreshes).

    Raises AssertionError, and TypeError for what is not decorated.
    """
    before = _computations(function)
    yield
    computed = _computations(function) - before
    if computed != count:
        raise AssertionError(f"{_name(function)}: it ran {computed} times, not {count}")


def _info(function: Any) -> Any:
    try:
        return function.cache_info()
    except AttributeError:
        raise TypeError("takes a function decorated with memocache's cached()") from None


def _computations(function: Any) -> int:
    _info(function)
    return int(function._self_state.bound()[1].counters.computations)


def _name(function: Any) -> str:
    return str(function.stats().name)
