"""Defaults without a value: left out, such an argument is known by being the default of its parameter."""

from __future__ import annotations

import dataclasses
import functools
import logging
import operator
import threading
from collections.abc import Callable
from typing import Any

import pytest

from memocache import UnstableKeyError
from tests.promises.behaviour.world import World


class Unset:
    """A library's class of sentinels: equal to itself alone, and no name leads to an instance."""


DEFAULTS: dict[str, Any] = {
    "object": object(),
    "instance": Unset(),
    "dataclasses": dataclasses.MISSING,
    "lambda": lambda value: value,
    "getter": operator.itemgetter(0),
    "logger": logging.getLogger("tests.defaults"),
    "lock": threading.Lock(),
    "list of one": [Unset()],
}


def positional(default: Any) -> Callable[..., Any]:
    def f(x: int, given: Any = default) -> Any:
        return x, given is default

    return f


def keyword(default: Any) -> Callable[..., Any]:
    def f(x: int, *, given: Any = default) -> Any:
        return x, given is default

    return f


def two(default: Any) -> Callable[..., Any]:
    def f(x: int, given: Any = default, *more: int, other: Any = default) -> Any:
        return x, given is default and other is default

    return f


def below_a_wrapper(default: Any) -> Callable[..., Any]:
    def f(x: int, given: Any = default) -> Any:
        return x, given is default

    @functools.wraps(f)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return f(*args, **kwargs)

    return wrapper


FACTORIES = (positional, keyword, two, below_a_wrapper)


@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize("kind", DEFAULTS)
def test_a_default_left_out_hits(world: World, factory: Callable[[Any], Any], kind: str) -> None:
    """Whatever the default is, on every backend: one computation for each `x`, and the function gets its default."""
    f = world.cached(factory(DEFAULTS[kind]), name=f"{factory.__name__}-{kind}")
    assert [world.call(f, x) for x in (1, 2, 1, 2)] == [(1, True), (2, True), (1, True), (2, True)]
    assert f.cache_info()[:2] == (2, 2)


@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize("kind", DEFAULTS)
def test_the_default_passed_is_the_default(world: World, factory: Callable[[Any], Any], kind: str) -> None:
    """Passing the very object of the default is the call that leaves it out."""
    default = DEFAULTS[kind]
    f = world.cached(factory(default), name=f"{factory.__name__}-{kind}")
    assert [world.call(f, 1), world.call(f, 1, given=default)] == [(1, True)] * 2
    assert f.cache_info()[:2] == (1, 1)


@pytest.mark.parametrize("factory", FACTORIES)
def test_another_object_is_no_default(world: World, factory: Callable[[Any], Any]) -> None:
    """An object of the default's class is another call in the process, and refused on a shared backend."""
    f = world.cached(factory(DEFAULTS["instance"]), name=f"{factory.__name__}-other")
    world.call(f, 1)
    if world.kind == "memory":
        assert world.call(f, 1, given=Unset()) == (1, False)
    else:
        with pytest.raises(UnstableKeyError, match="given"):
            world.call(f, 1, given=Unset())
    assert world.call(f, 1) == (1, True)
