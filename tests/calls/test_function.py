"""What a function is, at the edges: what it captured, what cannot be decorated, and calls without a name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from memocache import Cache, ConfigurationError, UnstableKeyError
from memocache._calls import process_key as _binding
from memocache._calls.code_digest import code_digest
from memocache._calls.function import Function, public_name
from memocache._stores import entry as _entry
from memocache._stores.entry import Entry, Table


class Nameless:
    """Its instances can neither be told apart by value nor have a hash."""

    __slots__ = ("inner",)
    __hash__ = None  # type: ignore[assignment]  # unhashable on purpose

    def __init__(self) -> None:
        self.inner = self


def identity(function: Callable[..., Any]) -> bytes:
    """What a function is known by."""
    return Function(function, {}).identity()[0]


def test_a_function_that_calls_itself_is_known_by_its_code() -> None:
    """Its own name in its closure takes no part, so that two that are made alike are one."""

    def make(step: int) -> Callable[[int], int]:
        def down(n: int) -> int:
            return 0 if n <= 0 else down(n - step)

        return down

    assert identity(make(1)) == identity(make(1))
    assert identity(make(1)) != identity(make(2))


def test_a_captured_module_is_known_by_its_name() -> None:
    """Two functions of the same code that use different modules are two."""

    def make(module: Any) -> Callable[[], Any]:
        return lambda: module.sqrt

    import cmath

    assert identity(make(math)) == identity(make(math))
    assert identity(make(math)) != identity(make(cmath))


def test_code_that_is_not_there_or_has_strange_defaults_has_a_digest() -> None:
    """A built-in has none of its own; a default without identity counts as one like any other such."""

    def make(default: object) -> Callable[..., object]:
        def f(x: object = default) -> object:
            return x

        return f

    assert code_digest(math.sin) == b""
    assert code_digest(make(Nameless())) == code_digest(make(Nameless())) != code_digest(make(1))
    assert code_digest(make(1)) == code_digest(make(1)) != code_digest(make(2))


def test_the_name_of_a_plain_function_is_its_path() -> None:
    """A function that is not decorated is named by module and qualname, a decorated one as it was; nothing else is."""
    cache = Cache()
    assert public_name(math.sin) == "math.sin"
    assert public_name("any") == "any"
    assert public_name(cache.cached(name="mine")(lambda: 1)) == "mine"
    for bad in ("", 5, None):
        with pytest.raises(ConfigurationError):
            public_name(bad)


@pytest.mark.parametrize(
    ("key", "culprit"),
    [(lambda a, b: a, "the result of key="), ("{b}{a}", "a"), (None, "a")],
    ids=["callable", "template", "arguments"],
)
def test_a_call_without_a_name_says_what_holds_the_culprit(key: Any, culprit: str) -> None:
    """The error names the parameter, or `key=` where that made the key."""

    def body(a: object, b: int) -> int:
        raise AssertionError("never called")

    f = Cache().cached(body, key=key)
    with pytest.raises(UnstableKeyError, match=f"parameter '{culprit}' holds a .*Nameless"):
        f(Nameless(), 1)


def test_a_digest_is_its_own() -> None:
    """A call held under its digest is named by it; one held under its plain arguments is named as in a backend."""
    cache = Cache()
    f = cache.cached(lambda a: a, name="f")
    f([1])
    f(1)
    assert set(cache.keys(f)) == {f.key_for([1]), f.key_for(1)}
    digest = f.key_for(1).rpartition(":")[2]
    assert len(digest) == 2 * _binding.DIGEST_BYTES
    assert _binding.key_digest(b"", b"", None, digest) == digest


def test_an_entry_knows_when_it_expires() -> None:
    """After its ttl, or never."""
    table = Table.__new__(Table)
    entry = Entry(table, "k", 1, None, now=100.0, ttl=5.0, compute=0.25)
    assert (entry.expires, entry.compute, entry.held) == (105.0, 0.25, False)
    assert Entry(table, "k", 1, None, now=100.0, ttl=math.inf, compute=0.0).expires == math.inf
    assert Entry(table, "k", 1, None, now=100.0, ttl=_entry.NEVER / 2, compute=0.0).expires < math.inf
