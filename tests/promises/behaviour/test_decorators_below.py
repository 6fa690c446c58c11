"""Decorators below a cached method: those that bind are told whose method it is, as without a cache."""

from __future__ import annotations

import asyncio
from functools import partial, update_wrapper
from typing import Any

import pytest
import wrapt

from memocache import Cache

pytestmark = pytest.mark.filterwarnings("ignore::memocache.UnsharedWarning")


@wrapt.decorator
def with_owner(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """A decorator that wants to know whose method is called."""
    return getattr(instance, "n", None), wrapped(*args, **kwargs)


class Bound:
    """A decorator of a user's that binds as functions do, and tells of it."""

    def __init__(self, function: Any) -> None:
        update_wrapper(self, function)
        self.function = function

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else lambda *args, **kwargs: ("bound", self.function(instance, *args, **kwargs))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return "unbound", self.function(*args, **kwargs)


ORDERS: list[list[Any]] = [
    [with_owner], [Bound], [with_owner, with_owner], [Bound, with_owner], [with_owner, Bound],
    [classmethod, with_owner], [staticmethod, with_owner],
]  # fmt: skip


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "-".join(getattr(d, "__name__", "wraps") for d in order))
def test_a_decorator_below_gets_its_object(cache: Cache, order: list[Any]) -> None:
    """A wrapper that binds (wrapt's, a descriptor) is bound to the object of the call, as in the plain class; also in a
    refresh, with caching off and by the function that the class has.
    """

    def decorated(*above: Any) -> Any:
        def m(self: Any, x: int = 0, *, y: int = 0) -> Any:
            return getattr(self, "n", None), x, y

        function: Any = m
        for decorate in reversed(order):
            function = decorate(function)
        for decorate in above:
            function = decorate(function)
        namespace = {"m": function, "n": 0, "__init__": lambda self, n: setattr(self, "n", n)}
        return type("C", (), namespace)

    plain, remembered = decorated(), decorated(cache.cached(name="below"))
    for n in (1, 2, 1):
        p, r = plain(n), remembered(n)
        for args, kwargs in (((3,), {}), ((3,), {"y": 1}), ((4,), {})):
            expected = p.m(*args, **kwargs)
            assert r.m(*args, **kwargs) == r.m(*args, **kwargs) == expected
            assert r.m.refresh(*args, **kwargs) == expected
            with cache.disabled():
                assert r.m(*args, **kwargs) == expected
    given = () if order[0] in (classmethod, staticmethod) else (remembered(1),)
    assert remembered.m(*given, 5) == plain(1).m(5)


def test_an_async_method_below_a_decorator_gets_its_object(cache: Cache) -> None:
    """The same for what is awaited."""
    owners: list[Any] = []

    @wrapt.decorator
    def noted(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        owners.append(instance)
        return wrapped(*args, **kwargs)

    class C:
        @cache.cached(name="awaited")
        @noted
        async def m(self, x: int) -> int:
            return x

    one, other = C(), C()

    async def main() -> list[int]:
        return [await one.m(1), await one.m(1), await other.m(1)]

    assert asyncio.run(main()) == [1, 1, 1]
    assert owners == [one, other]


def test_an_object_of_c_is_called_as_it_was_spelled(cache: Cache) -> None:
    """Parameters that it declares say which call it is; passing their defaults may be another call (a ufunc's are)."""
    np = pytest.importorskip("numpy")
    for function, args, expected in ((np.add, (1, 2), 3), (np.multiply, (3, 2), 6), (partial(np.add, 1), (2,), 3)):
        remembered = cache.cached(function)
        assert remembered(*args) == remembered(*args) == expected
