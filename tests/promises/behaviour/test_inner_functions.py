"""A cached function that is made anew in each call of another one: it never serves what an earlier one computed from
state that has changed since.
"""

from __future__ import annotations

import collections
import functools
import types
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memocache import Cache


class Shop:
    """An object known by identity alone."""

    def __init__(self, rate: int) -> None:
        self.rate = rate

    def total(self, amount: int) -> int:
        return amount * self.rate


class Callable_(Shop):
    """The same, to be called."""

    def __call__(self, amount: int) -> int:
        return self.total(amount)


# what is captured, how it is asked, how it is changed in place
CAPTURED: dict[str, tuple[Callable[[int], Any], Callable[[Any, int], int], Callable[[Any, int], None]]] = {
    "an object": (Shop, lambda it, x: x * it.rate, lambda it, n: setattr(it, "rate", n)),
    "its method": (
        lambda n: Shop(n).total,
        lambda it, x: it(x),
        lambda it, n: setattr(it.__self__, "rate", n),
    ),
    "a callable object": (Callable_, lambda it, x: it(x), lambda it, n: setattr(it, "rate", n)),
    "a list": (lambda n: [n], lambda it, x: x * it[0], lambda it, n: it.__setitem__(0, n)),
    "a dict": (lambda n: {"n": n}, lambda it, x: x * it["n"], lambda it, n: it.__setitem__("n", n)),
    "a dict of objects": (
        lambda n: {"shop": Shop(n)},
        lambda it, x: x * it["shop"].rate,
        lambda it, n: setattr(it["shop"], "rate", n),
    ),
    "a tuple of an object": (
        lambda n: (Shop(n), 1),
        lambda it, x: x * it[0].rate,
        lambda it, n: setattr(it[0], "rate", n),
    ),
    "a deque": (lambda n: collections.deque([n]), lambda it, x: x * it[0], lambda it, n: it.__setitem__(0, n)),
    "a namespace": (
        lambda n: types.SimpleNamespace(rate=n),
        lambda it, x: x * it.rate,
        lambda it, n: setattr(it, "rate", n),
    ),
    "a partial of a method": (
        lambda n: functools.partial(Shop(n).total),
        lambda it, x: it(x),
        lambda it, n: setattr(it.func.__self__, "rate", n),
    ),
    "a function with an attribute": (
        lambda n: _with_attribute(n),
        lambda it, x: x * it.rate,
        lambda it, n: setattr(it, "rate", n),
    ),
}


def _with_attribute(n: int) -> Any:
    def held() -> None:
        """Holds a number."""

    held.rate = n  # type: ignore[attr-defined]  # as people do
    return held


def _bill(decorate: Callable[[Any], Any], held: Any, ask: Callable[[Any, int], int], items: list[int]) -> list[int]:
    @decorate
    def price(item: int) -> int:
        return ask(held, item)

    return [price(item) for item in items]


@pytest.mark.filterwarnings("ignore::memocache.UnsharedWarning")
@pytest.mark.parametrize("kind", CAPTURED)
@settings(deadline=None, max_examples=15, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.integers(1, 3), min_size=1, max_size=5), items=st.lists(st.integers(1, 3), max_size=4))
def test_an_inner_function_answers_as_the_plain_one(
    cache: Cache, kind: str, changes: list[int], items: list[int]
) -> None:
    """Whatever it captured and however often that is changed in place between two calls of the outer function."""
    make, ask, change = CAPTURED[kind]
    held, plain = make(7), make(7)
    for n in changes:
        assert _bill(cache.cached, held, ask, items) == _bill(lambda f: f, plain, ask, items)
        change(held, n)
        change(plain, n)
    assert _bill(cache.cached, held, ask, items) == _bill(lambda f: f, plain, ask, items)
