"""Annotations that Python 3.14 has not evaluated yet: a function with one is decorated, called and trusted as others.

No future import here: it would make strings of them.
"""

# ruff: noqa: F821 - `Absent` is nowhere, on purpose

import asyncio
import dataclasses
import functools
from typing import Any

import pytest

pytest.importorskip("annotationlib", reason="annotations are evaluated at once before Python 3.14")

from memocache import Cache
from memocache.codecs.return_types import classes_returned


@dataclasses.dataclass
class Inner:
    x: int


@dataclasses.dataclass
class Outer:
    lost: dict[str, "Absent"]
    inner: list[Inner]


class Callable:
    def __call__(self, x: "int", y: Absent = 1) -> Absent:
        return x


def plain(a: Absent, b: int) -> Absent:
    return a + b


@functools.wraps(plain)
def wrapper(*args: Absent, **kwargs: Absent) -> Absent:
    return plain(*args, **kwargs)


def test_functions_of_every_kind() -> None:
    """Methods, class and static methods, partials, callable objects, wrappers and loaders are decorated and cached."""
    cache = Cache()
    loads: list[Any] = []

    class A:
        @cache.cached
        def m(self, o: Absent) -> "A":
            return o

        @cache.cached
        async def am(self, o: Absent) -> list[Absent]:
            return o

        @classmethod
        @cache.cached
        def cm(cls, o: Absent) -> Absent:
            return o

        @cache.cached
        @staticmethod
        def sm(o: Absent) -> Absent:
            return o

    @cache.cached_many
    def load(ids: list[Absent]) -> dict[Absent, A]:
        loads.append(list(ids))
        return {i: i for i in ids}

    a = A()
    assert [a.m(1), asyncio.run(a.am(2)), A.cm(3), A.sm(4)] == [1, 2, 3, 4]
    assert cache.cached(functools.partial(plain, 1), name="p")(2) == 3
    assert cache.cached(Callable(), name="o")(4) == 4
    assert cache.cached(wrapper)(1, b=2) == 3
    assert load([1, 2]) == load([1, 2]) == {1: 1, 2: 2}
    assert loads == [[1, 2]]


def test_one_lost_annotation_loses_no_trust() -> None:
    """Fields beside one that cannot be evaluated are trusted, and so is what stands around the lost part of a hint."""

    def one() -> Outer: ...

    def two() -> dict[Absent, list[Inner]]: ...

    assert {Outer, Inner} <= set(classes_returned(one))
    assert Inner in set(classes_returned(two))
