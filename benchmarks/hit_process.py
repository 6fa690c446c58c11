"""What a hit costs where nothing leaves the process, with a bounded cache and (except in lru_cache) a ttl."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from threading import Lock
from typing import Any

from benchmarks._measure import KEYS, Bench, Contender, Panel, Sample, Suite, async_loop, contender, sync_loop

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

TTL = 3_600
SIZE = 1_024


def _memocache() -> Decorator:
    from memocache import Cache

    return Cache(f"memory://?maxsize={SIZE}").cached(ttl=TTL)


def _lru_cache() -> Decorator:
    from functools import lru_cache

    return lru_cache(maxsize=SIZE)


def _cachetools() -> Decorator:
    import cachetools

    return cachetools.cached(cachetools.TTLCache(SIZE, TTL), lock=Lock())


def _cachebox() -> Decorator:
    import cachebox

    return cachebox.cached(cachebox.TTLCache(SIZE, TTL))


def _moka() -> Decorator:
    import moka_py

    return moka_py.cached(maxsize=SIZE, ttl=TTL)


def _theine() -> Decorator:
    import theine

    return theine.Memoize(SIZE, timedelta(seconds=TTL))


def _async_lru() -> Decorator:
    import async_lru

    return async_lru.alru_cache(maxsize=SIZE, ttl=TTL)


def _aiocache() -> Decorator:
    import aiocache

    return aiocache.cached(ttl=TTL)


def _cashews() -> Decorator:
    import cashews

    cache = cashews.Cache()
    cache.setup(f"mem://?size={SIZE}")
    return cache(ttl=TTL)


SYNC = {
    "functools.lru_cache": _lru_cache,
    "memocache": _memocache,
    "cachebox": _cachebox,
    "cachetools": _cachetools,
    "moka-py": _moka,
    "theine": _theine,
}
ASYNC = {
    "memocache": _memocache,
    "cachebox": _cachebox,
    "async-lru": _async_lru,
    "aiocache": _aiocache,
    "cashews": _cashews,
}


def _sync(name: str, decorator: Callable[[], Decorator], expression: str) -> Contender:
    @contender(name)
    def setup(bench: Bench) -> Iterator[Sample]:
        computed = 0

        def work(a: int, b: int = 3) -> int:
            nonlocal computed
            computed += 1
            return a * b

        yield sync_loop(decorator()(work), expression)
        assert computed == len(KEYS), f"{name} computed {computed} times: these were not all hits"

    return setup


def _async(name: str, decorator: Callable[[], Decorator], expression: str) -> Contender:
    @contender(name)
    def setup(bench: Bench) -> Iterator[Sample]:
        computed = 0

        async def work(a: int, b: int = 3) -> int:
            nonlocal computed
            computed += 1
            return a * b

        with asyncio.Runner() as runner:
            yield async_loop(decorator()(work), runner.run, expression)
        assert computed == len(KEYS), f"{name} computed {computed} times: these were not all hits"

    return setup


@contender("plain awaited call")
def _awaited(bench: Bench) -> Iterator[Sample]:
    async def work(a: int, b: int = 3) -> int:
        return a * b

    with asyncio.Runner() as runner:
        yield async_loop(work, runner.run)


SUITE = Suite(
    name="hit-process",
    about="a hit in the process, sync beside functools.lru_cache and async beside a plain awaited call",
    panels=(
        *(
            Panel(
                f"sync, {label}",
                base="functools.lru_cache",
                contenders=tuple(_sync(name, decorator, expression) for name, decorator in SYNC.items()),
            )
            for label, expression in (
                ("f(k, 3)", "f(k, 3)"),
                ("f(a=k, b=3)", "f(a=k, b=3)"),
                ("f(k), b left out", "f(k)"),
            )
        ),
        Panel(
            "async, await f(k)",
            base="plain awaited call",
            contenders=(_awaited, *(_async(name, decorator, "f(k)") for name, decorator in ASYNC.items())),
        ),
    ),
)
