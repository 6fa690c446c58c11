"""What type checkers make of the public face. Checked by mypy --strict and pyright, never run.

`assert_type` pins what is inferred. A line that must not pass carries a ``type: ignore`` with its code: mypy's
``warn_unused_ignores`` reports it the day the error is lost.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from datetime import timedelta
from typing import Any, Literal, Protocol, TypeVar, assert_type

from memocache import MISSING, Cache, CacheInfo, CacheStatus, FunctionStats, cached, cached_many, default_cache
from memocache.typing import AsyncCachedFunction, CachedFunction, Missing

T = TypeVar("T")

cache = Cache()


# -- functions: bare, called, with options, on a cache of one's own


@cached
def bare(item: str, country: str = "NL") -> float:
    return 1.0


@cached()
def called(item: str, country: str = "NL") -> float:
    return 1.0


@cached(ttl="5m", idle="1m", stale=timedelta(hours=1), tags=["price:{item}"], exclude="country", errors=KeyError)
def optioned(item: str, country: str = "NL") -> float:
    return 1.0


@cache.cached
def own_bare(item: str, country: str = "NL") -> float:
    return 1.0


@cache.cached(ttl=None, key=lambda item, country: item, coalesce=None, version="auto", maxsize=10, share=True)
def own(item: str, country: str = "NL") -> float:
    return 1.0


def functions() -> None:
    assert_type(bare("book"), float)
    assert_type(called("book", "BE"), float)
    assert_type(optioned("book", country="BE"), float)
    assert_type(own_bare("book"), float)
    assert_type(own(item="book"), float)
    assert_type(default_cache().cached(ttl=60)(spelled)("book", 2), list[str])
    bare(1)  # type: ignore[arg-type]
    bare()  # type: ignore[call-arg]
    bare("book", town="Delft")  # type: ignore[call-arg]
    optioned(1)  # type: ignore[arg-type]
    own("book", 2)  # type: ignore[arg-type]


def what_a_function_has() -> None:
    assert_type(bare.cache_info(), CacheInfo)
    assert_type(bare.cache_parameters(), dict[str, Any])
    assert_type(bare.stats(), FunctionStats)
    assert_type(bare.key_for("book"), str)
    assert_type(bare.refresh("book", country="BE"), float)
    assert_type(bare.peek("book"), float | Missing)
    assert_type(bare.map(["book", "pen"], ["NL", "BE"]), list[float])
    assert_type(bare.with_status("book", country="BE"), tuple[float, CacheStatus])
    assert_type(bare.map_with_status(["book", "pen"]), list[tuple[float, CacheStatus]])
    bare.with_status(1)  # type: ignore[arg-type]
    assert_type(bare.__wrapped__("book"), float)
    assert_type(bare.__name__, str)
    bare.cache_clear()
    bare.invalidate("book")
    bare.invalidate_all()
    bare.put(2.5, "book", country="BE")
    bare.put("dear", "book")  # type: ignore[arg-type]
    bare.put(2.5)  # type: ignore[call-arg]
    bare.invalidate(1)  # type: ignore[arg-type]
    bare.refresh()  # type: ignore[call-arg]
    bare.peek("book", town="Delft")  # type: ignore[call-arg]
    bare.key_for(None)  # type: ignore[arg-type]
    print(bare.stale)  # type: ignore[attr-defined]


def missing_narrows() -> float:
    price = bare.peek("book")
    price + 1  # type: ignore[operator]
    if price is MISSING:
        assert_type(price, Literal[Missing.MISSING])
        return 0.0
    assert_type(price, float)
    return price


# -- streams


@cached(ttl=60, stream=True)
def tokens(prompt: str, temperature: float = 1.0) -> Iterator[str]:
    yield prompt


@cache.cached(stream=True)
async def tokens_soon(prompt: str) -> AsyncIterator[str]:
    yield prompt


async def streams() -> None:
    assert_type(list(tokens("why")), list[str])
    tokens("why").close()
    assert_type(tokens.peek("why", temperature=0.5), list[str] | Missing)
    assert_type(tokens.refresh("why"), list[str])
    stream, status = tokens.with_status("why")
    assert_type(next(stream), str)
    assert_type(status, CacheStatus)
    tokens(1)  # type: ignore[arg-type]
    tokens.put([1], "why")  # type: ignore[list-item]
    assert_type([token async for token in tokens_soon("why")], list[str])
    await tokens_soon("why").aclose()
    assert_type(await tokens_soon.peek("why"), list[str] | Missing)
    assert_type(await tokens_soon.map(["why"]), list[list[str]])


# -- async


@cached
async def fetch(url: str, *, timeout: float = 1.0) -> bytes:
    return b""


@cached(ttl=60)
async def fetch_optioned(url: str) -> bytes:
    return b""


@cache.cached(ttl=60)
async def fetch_own(url: str) -> bytes:
    return b""


async def coroutines() -> None:
    waiting: Coroutine[Any, Any, bytes] = fetch("url")
    assert_type(await waiting, bytes)
    assert_type(await fetch("url", timeout=2), bytes)
    assert_type(await fetch_optioned("url"), bytes)
    assert_type(await fetch_own("url"), bytes)
    assert_type(await fetch.refresh("url"), bytes)
    assert_type(await fetch.peek("url"), bytes | Missing)
    assert_type(await fetch.map(["url"]), list[bytes])
    assert_type(await fetch.with_status("url"), tuple[bytes, CacheStatus])
    assert_type(await fetch.map_with_status(["url"]), list[tuple[bytes, CacheStatus]])
    assert_type(fetch.cache_info(), CacheInfo)
    assert_type(fetch.cache_parameters(), dict[str, Any])
    assert_type(fetch.stats(), FunctionStats)
    assert_type(fetch.key_for("url"), str)
    assert_type(await fetch.__wrapped__("url"), bytes)
    await fetch.put(b"", "url", timeout=2)
    await fetch.invalidate("url")
    await fetch.invalidate_all()
    await fetch.cache_clear()
    await fetch(1)  # type: ignore[arg-type]
    await fetch.put("", "url")  # type: ignore[arg-type]
    await fetch.stats()  # type: ignore[misc]
    fetch.invalidate("url")  # type: ignore[unused-coroutine]
    found = await fetch.peek("url")
    assert_type(found if found is not MISSING else b"", bytes)


# -- methods


class Shop:
    @cached
    def price(self, item: str) -> float:
        return 1.0

    @cache.cached(ttl=60)
    async def fetch(self, item: str) -> float:
        return 1.0

    @cached
    @classmethod
    def made(cls, item: str) -> float:
        return 1.0

    @classmethod
    @cached(ttl=60)
    def made_inside(cls, item: str) -> float:
        return 1.0

    @cached(ttl=60)
    @staticmethod
    def rate(item: str) -> float:
        return 1.0

    @staticmethod
    @cached
    def rate_inside(item: str) -> float:
        return 1.0

    @cached
    @staticmethod
    def dumps(value: object, indent: int = 0) -> str:
        return ""

    @staticmethod
    @cached(ttl=60)
    def dumps_inside(value: Any, indent: int = 0) -> str:
        return ""

    @cached
    @classmethod
    async def made_async(cls, item: str) -> float:
        return 1.0

    @cached
    @staticmethod
    async def rate_async(item: str) -> float:
        return 1.0


class Branch(Shop):
    pass


async def methods(shop: Shop, branch: Branch) -> None:
    assert_type(shop.price("book"), float)
    assert_type(branch.price("book"), float)
    assert_type(Shop.price(shop, "book"), float)
    assert_type(Branch.price(branch, "book"), float)
    assert_type(shop.price.peek("book"), float | Missing)
    assert_type(Shop.price.peek(shop, "book"), float | Missing)
    shop.price.invalidate("book")
    shop.price.put(2.5, "book")
    shop.price(1)  # type: ignore[arg-type]
    shop.price.invalidate(shop, "book")  # type: ignore[call-arg, arg-type]
    Shop.price("book")  # type: ignore[call-arg, arg-type]

    assert_type(await shop.fetch("book"), float)
    assert_type(await Shop.fetch(shop, "book"), float)
    await shop.fetch.invalidate("book")


async def class_methods(shop: Shop) -> None:
    assert_type(Shop.made("book"), float)
    assert_type(shop.made("book"), float)
    assert_type(Branch.made("book"), float)
    assert_type(Shop.made_inside("book"), float)
    assert_type(shop.made_inside("book"), float)
    assert_type(await Shop.made_async("book"), float)
    Shop.made.invalidate("book")
    Shop.made_inside.invalidate("book")
    Shop.made(1)  # type: ignore[arg-type]


async def static_methods(shop: Shop) -> None:
    assert_type(Shop.rate("book"), float)
    assert_type(shop.rate("book"), float)
    assert_type(Shop.rate_inside("book"), float)
    assert_type(shop.rate_inside("book"), float)
    assert_type(Shop.dumps(1, indent=2), str)
    assert_type(shop.dumps(1, indent=2), str)
    assert_type(Shop.dumps_inside(1, 2), str)
    assert_type(shop.dumps_inside(value=1), str)
    assert_type(await shop.rate_async("book"), float)
    Shop.rate.invalidate("book")
    shop.rate.invalidate("book")
    Shop.rate_inside.invalidate("book")
    Shop.rate(1)  # type: ignore[arg-type]


# -- other callables, and annotations


def spelled(item: str, count: int) -> list[str]:
    return [item] * count


twice = cached(functools.partial(spelled, count=2))
assert_type(twice("book"), list[str])
anonymous = cached(ttl=60)(lambda: 1)
assert_type(anonymous(), int)


def takes_function(function: Callable[[str], float]) -> None: ...
def takes_cached(function: CachedFunction[[str], float]) -> None: ...
def takes_async(function: AsyncCachedFunction[[str], bytes]) -> None: ...
def takes_any(function: CachedFunction[..., Any]) -> None: ...


@cached
def short(item: str) -> float:
    return 1.0


def in_annotations(shop: Shop) -> None:
    takes_function(bare)
    takes_function(shop.price)
    takes_cached(short)
    takes_cached(shop.price)
    takes_async(fetch_own)
    takes_any(bare)
    takes_any(shop.price)
    takes_cached(fetch_own)  # type: ignore[arg-type]
    takes_async(short)  # type: ignore[arg-type]
    takes_cached(spelled)  # type: ignore[arg-type]
    cache.invalidate(bare)


# -- functions whose result a checker does not know, or knows only of each call


@cached(ttl=60)
def config(path: str) -> Any:
    return path


@cached
def unannotated(path: str):  # type: ignore[no-untyped-def]
    return config(path)


@cached
def same(x: T) -> T:
    return x


@cached(ttl=60)
def first(items: list[T]) -> T:
    return items[0]


class Reader:
    @cached(ttl=60)
    def get(self, x: int) -> Any:
        return x


def unknown_results() -> None:
    assert_type(config("a")["key"], Any)
    print(unannotated("a")["key"], Reader().get(1) + 1)
    config.invalidate("a")
    one: int = same(1)
    two: int = first([1])
    print(one, two)
    same.invalidate(1)
    first.put(2, [1])


# -- overrides


class Factory:
    @cached
    def make(self, x: int) -> float:
        return 1.5

    @cached
    async def make_soon(self, x: int) -> float:
        return 1.5


class Narrower(Factory):  # pyright compares the parameter `self` too, as it does for functools.cache
    @cached
    def make(self, x: int) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return 1

    @cached
    async def make_soon(self, x: int) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return 1


class Wider(Factory):
    @cached
    def make(self, x: int) -> object:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        return 1


class Plain:
    def make(self, x: int) -> float:
        return 1.5


class CachedOverPlain(Plain):  # pyright lets nothing but a function override a method, functools.cache neither
    @cached
    def make(self, x: int) -> float:  # pyright: ignore[reportIncompatibleMethodOverride]
        return 1.5


class Makes(Protocol):
    def make(self, x: int) -> float: ...


made: Makes = Factory()  # pyright: ignore[reportAssignmentType]  # pyright does not bind what is no function


# -- options


def options() -> None:
    cached(tll=60)  # type: ignore[call-overload]
    cached(ttl=b"5m")  # type: ignore[call-overload]
    cached(coalesce="world")  # type: ignore[call-overload]
    cached(errors=1)  # type: ignore[call-overload]
    cache.cached(tll=60)  # type: ignore[call-overload]
    cached(1)  # type: ignore[call-overload]
    cached_many(stale=1)  # type: ignore[call-overload]


# -- loaders


@cached_many(ttl="5m", cache_missing=True)
def load(ids: list[int], currency: str = "EUR") -> dict[int, float]:
    return {}


@cache.cached_many
async def load_async(ids: list[int]) -> Mapping[int, float]:
    return {}


@cached_many(ttl="5m")
def load_list(ids: list[int], currency: str = "EUR") -> list[float]:
    return [1.0 for _ in ids]


@cache.cached_many
async def load_list_async(ids: list[int]) -> list[str]:
    return ["" for _ in ids]


@cached_many
def load_tuple(ids: list[int]) -> tuple[float, ...]:
    return tuple(1.0 for _ in ids)


@cached_many  # type: ignore[arg-type]
def no_loader(ids: list[int]) -> set[float]:
    return set()


async def loaders() -> None:
    assert_type(load([1, 2]), dict[int, float])
    assert_type(load([1, 2], currency="USD"), dict[int, float])
    assert_type(await load_async([1]), Mapping[int, float])
    assert_type(load_list([1], currency="USD"), dict[Any, float])
    assert_type(await load_list_async([1]), dict[Any, str])
    assert_type(load_tuple([1]), dict[Any, float])
    load_list(["a"])  # type: ignore[list-item]
    load(["a"])  # type: ignore[list-item]
    load.invalidate([1])
