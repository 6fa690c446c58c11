"""What a hit costs where nothing leaves the process, with a bounded cache and (except in lru_cache) a ttl."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from time import process_time
from typing import Any

from benchmarks._loops import KEYS, async_loop, contender, sync_loop
from benchmarks._measure import Bench, Broken, Contender, Panel, Sample, Suite
from benchmarks._peers import OURS, Maker, async_memory, sync_memory

SIZE = 1_024
Shape = Callable[[list[Any]], Callable[..., Any]]
"""Makes a function to be cached, which appends to the list whenever it computes."""


def _two(calls: list[Any]) -> Callable[..., Any]:
    def work(a: int, b: int = 3) -> int:
        calls.append(a)
        return a * b

    return work


def _one(calls: list[Any]) -> Callable[..., Any]:
    def work(a: int) -> int:
        calls.append(a)
        return a

    return work


def _four(calls: list[Any]) -> Callable[..., Any]:
    def work(a: int, b: int, c: int, d: int) -> int:
        calls.append(a)
        return a

    return work


def _eight(calls: list[Any]) -> Callable[..., Any]:
    def work(a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int) -> int:
        calls.append(a)
        return a

    return work


def _method(calls: list[Any]) -> Callable[..., Any]:
    def work(self: Any, a: int, b: int = 3) -> int:
        calls.append(a)
        return a * b

    return work


def _large(calls: list[Any]) -> Callable[..., Any]:
    def work(a: int) -> bytes:
        calls.append(a)
        return a.to_bytes(4, "big") * 25_000

    return work


def _list(calls: list[Any]) -> Callable[..., Any]:
    def work(a: int) -> list[int]:
        calls.append(a)
        return list(range(a, a + 100))

    return work


def _record(calls: list[Any]) -> Callable[..., Any]:
    def work(a: int) -> dict[str, Any]:
        calls.append(a)
        return {"id": a, "name": "Ada", "scores": [a, a + 1, a + 2], "tags": {"first": True, "second": None}}

    return work


def _async_two(calls: list[Any]) -> Callable[..., Any]:
    async def work(a: int, b: int = 3) -> int:
        calls.append(a)
        return a * b

    return work


def _async_method(calls: list[Any]) -> Callable[..., Any]:
    async def work(self: Any, a: int, b: int = 3) -> int:
        calls.append(a)
        return a * b

    return work


def _shared(size: int) -> Any:
    from memocache import Cache

    return Cache(f"memory://?maxsize={size}").cached(ttl=3_600, share=True)


def _contender(name: str, maker: Maker, shape: Shape, expression: str, *, label: str = "") -> Contender:
    @contender(label or name, peer=name not in OURS)
    def setup(bench: Bench) -> Iterator[Sample]:
        calls: list[Any] = []
        work = maker(SIZE)(shape(calls))
        if shape in (_method, _async_method):
            work = type("Owner", (), {"m": work})()
        if shape in (_async_two, _async_method):
            with asyncio.Runner() as runner:
                yield async_loop(work, runner.run, expression, process_time)
        else:
            yield sync_loop(work, expression, process_time)
        if len(calls) != len(KEYS):
            raise Broken(f"it computed {len(calls):,} times for {len(KEYS)} keys: these were not all hits")

    return setup


@contender("plain awaited call")
def _awaited(bench: Bench) -> Iterator[Sample]:
    with asyncio.Runner() as runner:
        yield async_loop(_async_two([]), runner.run, clock=process_time)


def _sync_panel(label: str, shape: Shape, expression: str, *, shared: bool = False) -> Panel:
    contenders = [_contender(name, maker, shape, expression) for name, maker in sync_memory.items()]
    if shared:
        contenders.insert(2, _contender("memocache", _shared, shape, expression, label="memocache, share=True"))
    return Panel(label, base="functools.lru_cache", contenders=tuple(contenders))


def _async_panel(label: str, shape: Shape, expression: str) -> Panel:
    contenders = (_contender(name, maker, shape, expression) for name, maker in async_memory.items())
    return Panel(label, base="plain awaited call", contenders=(_awaited, *contenders))


def _panels(bench: Bench) -> Iterator[Panel]:
    yield _sync_panel("sync, f(k, 3)", _two, "f(k, 3)")
    yield _sync_panel("sync, f(a=k, b=3)", _two, "f(a=k, b=3)")
    yield _sync_panel("sync, f(k), b left out", _two, "f(k)")
    yield _sync_panel("sync, method o.m(k, 3)", _method, "f.m(k, 3)")
    ours = sync_memory["memocache"]
    yield Panel(
        "memocache, a method beside a function",
        base="function f(k, 3)",
        contenders=(
            _contender("memocache", ours, _two, "f(k, 3)", label="function f(k, 3)"),
            _contender("memocache", ours, _method, "f.m(k, 3)", label="method o.m(k, 3)"),
        ),
    )
    if bench.effort.pick(full=True, quick=False, tiny=True):
        yield _sync_panel("sync, 1 argument", _one, "f(k)")
        yield _sync_panel("sync, 4 arguments", _four, "f(k, 1, 2, 3)")
        yield _sync_panel("sync, 8 arguments", _eight, "f(k, 1, 2, 3, 4, 5, 6, 7)")
        yield _sync_panel("sync, value of 100 kB (bytes)", _large, "f(k)")
        yield _sync_panel("sync, value is a list of 100 ints", _list, "f(k)", shared=True)
    yield _sync_panel("sync, value is a nested dict", _record, "f(k)", shared=True)
    yield _async_panel("async, await f(k)", _async_two, "f(k)")
    if bench.effort.pick(full=True, quick=False, tiny=True):
        yield _async_panel("async, await f(a=k, b=3)", _async_two, "f(a=k, b=3)")
        yield _async_panel("async, method await o.m(k, 3)", _async_method, "f.m(k, 3)")


SUITE = Suite(
    name="hit-process",
    about="a hit in the process, sync beside functools.lru_cache and async beside a plain awaited call",
    counted="processor time of one hit; 256 keys in turn, a cache of 1,024 entries",
    panels=_panels,
)
