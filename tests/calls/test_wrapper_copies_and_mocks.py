"""A decorated function beside the standard library's copies and mocks: as a plain function or method would be."""

from __future__ import annotations

import copy
import pickle
from typing import Any, get_type_hints
from unittest import mock

import pytest

from memocache import Cache

CACHE = Cache()


class Shop:
    def __init__(self) -> None:
        self.names = ["a"]
        self.price: Any = self.look_up

    @CACHE.cached
    def look_up(self, x: int) -> tuple[list[str], int]:
        """Its own names, so that one can tell whose method it is."""
        return self.names, x

    @CACHE.cached
    @classmethod
    def rate(cls, x: int) -> int:
        return x


@CACHE.cached
def double(x: int) -> int:
    return 2 * x


def test_a_deep_copy_of_a_bound_method_has_a_copy_of_its_object() -> None:
    """As that of a plain bound method; the copy of an object that stores one is about the copy."""
    shop = Shop()
    method = copy.deepcopy(shop.look_up)
    assert method(1) == (["a"], 1)
    assert method.__self__ is not shop
    copied = copy.deepcopy(shop)
    assert copied.price.__self__ is copied
    assert copy.copy(shop).price.__self__ is shop
    assert pickle.loads(pickle.dumps(shop)).price(1) == (["a"], 1)


def test_a_copy_of_a_function_is_the_function() -> None:
    """As of a plain one."""
    assert copy.deepcopy(double) is double
    assert copy.copy(double) is double
    assert copy.deepcopy(Shop.rate)(1) == 1


@pytest.mark.parametrize("instance", [True, False])
def test_an_autospec_knows_the_arguments_of_methods(instance: bool) -> None:
    """Of a class method above `@classmethod` and of a plain method: good calls pass, bad ones are TypeErrors."""
    spec = mock.create_autospec(Shop, instance=instance)
    spec.rate.return_value = 7
    assert spec.rate(1) == 7
    with pytest.raises(TypeError):
        spec.rate()
    with pytest.raises(TypeError):
        spec.rate(1, 2)
    spec.look_up(1)  # as of a plain class: mock leaves `self` out
    with pytest.raises(TypeError):
        spec.look_up(1, 2)


@pytest.mark.parametrize("made", [mock.create_autospec, lambda f: mock.Mock(spec=f)], ids=["autospec", "spec"])
def test_a_mock_of_a_function_has_its_attributes(made: Any) -> None:
    """Those of a cached function too, and no others."""
    spec = made(double)
    for name in (
        "cache_clear",
        "cache_info",
        "invalidate",
        "invalidate_all",
        "refresh",
        "peek",
        "put",
        "map",
        "key_for",
    ):
        assert hasattr(spec, name)
        assert name in dir(double)
    assert not hasattr(spec, "nothing")


def test_annotations_are_the_functions_whoever_reads_the_classes() -> None:
    """A function's and a method's annotations are its own, also after somebody read those of the decorated function's
    class and of its bases, which Python before 3.14 then gives them.
    """
    method = Shop().look_up
    for kind in (*type(double).__mro__, *type(method).__mro__):
        getattr(kind, "__annotations__", None)
    assert get_type_hints(double) == {"x": int, "return": int}
    assert get_type_hints(method) == {"x": int, "return": tuple[list[str], int]}
    double.__annotations__ = {"x": float}
    assert double.__wrapped__.__annotations__ == {"x": float}
    double.__annotations__ = {"x": "int", "return": "int"}
