"""Invalidation by pattern: every function it names, known here or not, and no success that missed one."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from memocache import MISSING, BackendError, Cache
from memocache.backends.memory import MemoryBackend
from memocache.testing.servers import Server

NAMES = ("shop.price", "shop.stock", "shopping", "abc", "axc", "abbc", "shop.[x]", "Shop.price", "größe.*", "a:b%c")


@pytest.fixture
def cache(valkey: Server) -> Iterator[Cache]:
    """A cache on a real server."""
    with Cache(valkey.url) as made:
        yield made


@pytest.fixture
def stranger(valkey: Server) -> Iterator[Cache]:
    """A cache of the same backend and prefix that knows no function."""
    with Cache(valkey.url) as made:
        yield made


def decorate(cache: Cache, names: tuple[str, ...] = NAMES) -> dict[str, Any]:
    """One function of each name, with an entry for 1."""
    functions: dict[str, Any] = {name: cache.cached(name=name)(lambda n: [n]) for name in names}
    for f in functions.values():
        f(1)
    return functions


def alive(functions: dict[str, Any]) -> set[str]:
    return {name for name, f in functions.items() if f.peek(1) is not MISSING}


@pytest.mark.parametrize("pattern", ["shop.*", "*", "a?c", "sh*p*", "shop.[[]x]", "nothing*", "größe.[*]", "a:*%c"])
def test_a_pattern_forgets_what_it_matches(cache: Cache, stranger: Cache, pattern: str) -> None:
    """A pattern from a process that imported none of them forgets exactly the names it matches."""
    functions = decorate(cache)
    stranger.invalidate(pattern)
    assert alive(functions) == {name for name in NAMES if not fnmatch.fnmatchcase(name, pattern)}


@pytest.mark.parametrize("pattern", ["shop.*", "*"])
def test_a_lost_registry_misses_no_function(cache: Cache, stranger: Cache, valkey: Server, pattern: str) -> None:
    """The registry of names deleted on the server, as an eviction would: it is rebuilt, again and again."""
    functions = decorate(cache)
    with valkey.client() as client:
        for _ in range(3):
            for f in functions.values():
                f(1)
            assert alive(functions) == set(NAMES)
            assert client.delete("memo:r:names") == 1
            stranger.invalidate(pattern)
            assert alive(functions) == {name for name in NAMES if not fnmatch.fnmatchcase(name, pattern)}


def test_a_registry_that_grew_again_after_its_loss_is_no_registry(
    cache: Cache, stranger: Cache, valkey: Server
) -> None:
    """Lost, then begun anew by one function's miss: the others are still found."""
    functions = decorate(cache)
    stranger.invalidate("nothing*")
    with valkey.client() as client:
        client.delete("memo:r:names")
        functions["abc"](2)
        assert client.smembers("memo:r:names") == {b"abc"}
    stranger.invalidate("*")
    assert alive(functions) == set()


def test_a_foreign_value_in_place_of_the_registry_heals(cache: Cache, stranger: Cache, valkey: Server) -> None:
    """A text where the registry should be is no registry: it is rebuilt."""
    functions = decorate(cache)
    with valkey.client() as client:
        client.set("memo:r:names", "x")
    stranger.invalidate("shop.*")
    assert alive(functions) == {name for name in NAMES if not name.startswith("shop.")}


def test_a_registry_that_cannot_be_read_is_no_success(cache: Cache) -> None:
    """A glob that could not see the names raises; nobody believes in it."""

    class Blind(MemoryBackend):
        def members(self, key: str, *, timeout: float | None = None) -> set[str]:
            raise OSError

    blind = Cache(Blind())
    with pytest.raises(BackendError):
        blind.invalidate("shop.*")


@pytest.mark.parametrize("make", [lambda: Cache(), lambda: Cache(MemoryBackend())], ids=["memory", "object"])
def test_a_function_whose_name_reads_as_a_pattern(make: Callable[[], Cache]) -> None:
    """Given as a function it is forgotten, and only it; a text is a pattern, which also names what it spells."""
    cache = make()
    functions = decorate(cache, ("shop.[x]", "shop.x", "shop.*"))
    cache.invalidate(functions["shop.[x]"])
    assert alive(functions) == {"shop.x", "shop.*"}
    cache.invalidate(functions["shop.*"])
    assert alive(functions) == {"shop.x"}
    functions["shop.[x]"](1)
    cache.invalidate("shop.[x]")
    assert alive(functions) == set()


def test_a_pattern_forgets_what_stays_in_the_process(cache: Cache, stranger: Cache) -> None:
    """Entries that could not be shared obey a pattern from elsewhere too."""
    connection = object()

    def f(n: int) -> list[Any]:
        return [n, connection is None]

    f.__module__, f.__qualname__ = "shop", "f"
    g = cache.cached(f)
    with pytest.warns(UserWarning, match="stay in this process"):
        g(1)
    assert g.peek(1) == [1, False]
    stranger.invalidate("shop.*")
    assert g.peek(1) is MISSING
