"""A function that is defined again, its own code as it was, beside other names: it answers as the plain one would."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memocache import Cache

pytestmark = pytest.mark.filterwarnings("ignore::memocache.UnsharedWarning")

# What stands beside a function that is the same in every edition, and reads it.
BESIDE = {
    "a constant": "K = {k}\n@cached\ndef f(x): return x + K",
    "constants in containers": "K, L = [{k}], {{'k': {k}}}\n@cached\ndef f(x): return x + K[0] + L['k']",
    "a helper": "def helper(): return {k}\n@cached\ndef f(x): return x + helper()",
    "a helper's helper": "K = {k}\ndef a(): return K\ndef b(): return a()\n@cached\ndef f(x): return x + b()",
    "a cached helper": "@cached\ndef helper(): return {k}\n@cached\ndef f(x): return x + helper()",
    "a helper's default": "def helper(k={k}): return k\n@cached\ndef f(x): return x + helper()",
    "a lambda": "helper = lambda: {k}\n@cached\ndef f(x): return x + helper()",
    "a class's constant": "class C:\n    k = {k}\n@cached\ndef f(x): return x + C.k",
    "a class's method": "class C:\n    def k(self): return {k}\n@cached\ndef f(x): return x + C().k()",
    "a class's property": "class C:\n    @property\n    def k(self): return {k}\n@cached\ndef f(x): return x + C().k",
    "its class": "class C:\n    k = {k}\n    @classmethod\n    @cached\n    def f(cls, x): return x + cls.k\nf = C.f",
    "a function within": "K = {k}\n@cached\ndef f(x): return (lambda: x + K)()",
    "a factory": "K = {k}\ndef make(n):\n    @cached\n    def f(x): return x + n + K\n    return f\nf = make(1)",
    "two that call each other": (
        "K = {k}\ndef a(n): return b(n - 1) if n else K\ndef b(n): return a(n)\n@cached\ndef f(x): return x + a(2)"
    ),
}


@pytest.fixture(params=["edited_module", "__main__"])
def module(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module whose code is executed again and again, as by a reload or a notebook."""
    made = types.ModuleType(request.param)
    monkeypatch.setitem(sys.modules, request.param, made)
    return made


@given(beside=st.sampled_from(sorted(BESIDE)), editions=st.lists(st.integers(1, 3), max_size=5))
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_stands_beside_a_function_was_edited(
    cache: Cache, module: types.ModuleType, beside: str, editions: list[int]
) -> None:
    """Of any editions one after the other, each answers as its module says then, also an earlier one that came back."""
    for k in (1, 2, *editions):
        vars(module).update(cached=cache.cached)
        source = BESIDE[beside].format(k=k)
        exec(source, vars(module))
        plain: dict[str, Any] = {"cached": lambda function: function, "__name__": "plain_module"}
        exec(source, plain)
        for x in (0, 1, 0):
            assert module.f(x) == plain["f"](x), (beside, k)


def test_a_cell_that_is_run_again_is_served(cache: Cache, module: types.ModuleType) -> None:
    """A definition that reads what the one before read has its entries, whatever objects stand beside it."""
    runs: list[int] = []
    vars(module).update(cached=cache.cached, note=runs.append)
    source = "K = 2\nclient = object()\ndef helper(x): return x * K\n@cached\ndef f(x): return note(x) or helper(x)"
    for _ in range(3):
        exec(source, vars(module))
        assert module.f(4) == 8
    assert runs == [4]
