"""Whole keys, as the backend sees them: a fleet of several Python versions shares its entries.

The keys below were written by Python 3.11; every version that runs this test finds what 3.11 stored. A change here is a
change of the layout of keys (docs/keys.md). ``python -m tests.calls.test_call_key_golden`` prints them.
"""

from __future__ import annotations

import decimal
import enum
import pathlib
import types
from typing import Any

import pytest

from memocache import Cache
from tests.calls import golden_calls as functions

CALLS: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {
    "plain": (functions.plain, ("book",), {}),
    "more": (functions.plain, ("book", "BE", 1, 2.5), {"x": None, "a": (1, [2])}),
    "async": (functions.slow, (decimal.Decimal("1.50"),), {}),
    "static": (functions.Shop.price, ({"a": {1, 2}},), {}),
    "path": (functions.plain, (pathlib.PurePosixPath("a/b"),), {}),
    "class": (functions.plain, (types.UnionType,), {}),
    "class of the library": (functions.plain, (enum.Enum,), {}),
    "default": (functions.with_default, (), {}),
    "partial": (functions.bound, (), {}),
}
GOLDEN: dict[str, str] = {
    "plain": "memo:e:tests.calls.golden_calls.plain:502a96ea5cbaf7247c702d44b654f86b",
    "more": "memo:e:tests.calls.golden_calls.plain:506791cf8880d821e2b04fb7a3b80a0d",
    "async": "memo:e:tests.calls.golden_calls.slow:13d6da46a788e791fe8d6fff810ed51b",
    "static": "memo:e:tests.calls.golden_calls.Shop.price:6746b84c012339d068952c3a35f99586",
    "path": "memo:e:tests.calls.golden_calls.plain:872ee778d66a4e7edc41e74b5b82483f",
    "class": "memo:e:tests.calls.golden_calls.plain:5b69e274a7e1bf026a2d5bc8e0e85d5e",
    "class of the library": "memo:e:tests.calls.golden_calls.plain:61d706fa9c4fe9476bc4158f93f69ced",
    "default": "memo:e:tests.calls.golden_calls.with_default:6932a03b4cf2fcff315fd1837177be63",
    "partial": "memo:e:tests.calls.bound:5c9031f8bd873f89e78a231054c26e93",
}


def key_of(name: str) -> str:
    function, args, kwargs = CALLS[name]
    cache = Cache()
    options = {"name": "tests.calls.bound"} if name == "partial" else {}
    return str(cache.cached(function, **options).key_for(*args, **kwargs))


@pytest.mark.parametrize("name", CALLS)
def test_the_key_of_a_call(name: str) -> None:
    """What Python 3.11 stored under, every version looks under."""
    assert key_of(name) == GOLDEN[name]


if __name__ == "__main__":
    print("GOLDEN: dict[str, str] = {")
    for name in CALLS:
        print(f'    "{name}": "{key_of(name)}",')
    print("}")
