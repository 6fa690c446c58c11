"""How often a cold entry is computed when many ask for it at once: threads, tasks, processes."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks._loops import contender
from benchmarks._measure import Bench, Contender, Noted, Panel, Sample, Suite
from benchmarks._peers import (
    OURS,
    async_memory_locked,
    async_server_locked,
    sync_memory,
    sync_server,
)
from benchmarks._units import COUNT

ROOT = Path(__file__).parent.parent
COMPUTE = 0.05
_computed: list[int] = []
_fresh = count(1)


def slow(key: int) -> int:
    """Return `key` after a while; every call is counted."""
    _computed.append(key)
    time.sleep(COMPUTE)
    return key


async def aslow(key: int) -> int:
    """Return `key` after a while; every call is counted."""
    _computed.append(key)
    await asyncio.sleep(COMPUTE)
    return key


def _by_threads(call: Callable[[int], Any], number: int, key: int) -> float:
    """Have so many threads ask for `key` at once; return how often it was computed."""
    before, raised = len(_computed), 0
    barrier = threading.Barrier(number)

    def work() -> None:
        nonlocal raised
        barrier.wait()
        try:
            call(key)
        except Exception:
            raised += 1

    workers = [threading.Thread(target=work, daemon=True) for _ in range(number)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return _noted(len(_computed) - before, raised)


async def _by_tasks(call: Callable[[int], Any], number: int, key: int) -> float:
    before = len(_computed)
    done = await asyncio.gather(*(call(key) for _ in range(number)), return_exceptions=True)
    return _noted(len(_computed) - before, sum(isinstance(one, BaseException) for one in done))


def _noted(computed: float, raised: int) -> float:
    return Noted(computed, f"{raised} callers got an exception") if raised else float(computed)


# -- in one process


@contender("no cache")
def _none(bench: Bench) -> Iterator[Sample]:
    yield lambda number: _by_threads(slow, _many(bench), next(_fresh))


@contender("no cache")
def _none_async(bench: Bench) -> Iterator[Sample]:
    with asyncio.Runner() as runner:
        yield lambda number: runner.run(_by_tasks(aslow, _many(bench), next(_fresh)))


def _many(bench: Bench) -> int:
    return bench.effort.pick(full=50, quick=20, tiny=3)


def _memory(name: str) -> Contender:
    @contender(name, peer=name not in OURS)
    def setup(bench: Bench) -> Iterator[Sample]:
        call = sync_memory[name](1_024)(slow)
        yield lambda number: _by_threads(call, _many(bench), next(_fresh))

    return setup


def _memory_async(name: str) -> Contender:
    @contender(name, peer=name not in OURS)
    def setup(bench: Bench) -> Iterator[Sample]:
        call = async_memory_locked[name](1_024)(aslow)
        with asyncio.Runner() as runner:
            yield lambda number: runner.run(_by_tasks(call, _many(bench), next(_fresh)))

    return setup


# -- many processes on a server


def child(name: str, url: str, callers: int) -> None:
    """Be one of the processes: for each key on stdin, ask for it with so many callers, and say how often it was
    computed here.
    """
    # not `with` for everything: a process that is killed has nothing to close
    if name in async_server_locked:
        asyncio.run(_child_async(name, url, callers))
        return
    with sync_server[name](url) as decorate:
        call = decorate(slow)
        call(0)
        print("ready", flush=True)
        for line in sys.stdin:
            print(int(_by_threads(call, callers, int(line))), flush=True)


async def _child_async(name: str, url: str, callers: int) -> None:
    async with async_server_locked[name](url) as decorate:
        call = decorate(aslow)
        await call(0)
        print("ready", flush=True)
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            print(int(await _by_tasks(call, callers, int(line))), flush=True)


def _processes(name: str) -> Contender:
    @contender(name, peer=name not in OURS)
    def setup(bench: Bench) -> Iterator[Sample]:
        processes, callers = _fleet(bench)
        code = f"from benchmarks.stampede import child; child({name!r}, {bench.server_url!r}, {callers})"
        command = [sys.executable, "-W", "ignore", "-c", code]
        with contextlib.ExitStack() as stack:
            fleet = [
                stack.enter_context(
                    subprocess.Popen(
                        command,
                        cwd=ROOT,
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.DEVNULL,
                        text=True,
                        bufsize=1,
                    )
                )
                for _ in range(processes)
            ]
            for one in fleet:
                stack.callback(one.kill)
            for one in fleet:
                _await(one, "ready")

            def sample(number: int) -> float:
                key = next(_fresh)
                for one in fleet:
                    assert one.stdin is not None
                    one.stdin.write(f"{key}\n")
                return float(sum(int(_await(one)) for one in fleet))

            yield sample

    return setup


def _await(process: subprocess.Popen[str], word: str = "") -> str:
    """Return the next line that a process says, or the next that begins with `word`."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(word):
            return line
    raise ModuleNotFoundError(f"a process ended with status {process.wait()}: is the library installed?")


def _fleet(bench: Bench) -> tuple[int, int]:
    return bench.effort.pick(full=(8, 10), quick=(2, 5), tiny=(2, 2))


def _panels(bench: Bench) -> Iterator[Panel]:
    many, (processes, callers) = _many(bench), _fleet(bench)
    rounds = bench.effort.pick(full=7, quick=1, tiny=1)
    yield Panel(
        f"{many} threads, in the process",
        base="no cache",
        contenders=(_none, *map(_memory, sync_memory)),
        unit=COUNT,
        once=True,
        rounds=rounds,
    )
    yield Panel(
        f"{many} tasks, in the process",
        base="no cache",
        contenders=(_none_async, *map(_memory_async, async_memory_locked)),
        unit=COUNT,
        once=True,
        rounds=rounds,
    )
    names = [*sync_server, *(name for name in async_server_locked if name not in sync_server)]
    yield Panel(
        f"{processes} processes with {callers} callers each, on a server",
        base="memocache",
        contenders=tuple(map(_processes, bench.effort.pick(full=names, quick=names[:2], tiny=names))),
        unit=COUNT,
        once=True,
        rounds=rounds,
    )


SUITE = Suite(
    name="stampede",
    about="computations of one cold entry that many ask for at once; libraries with a lock are told to use it",
    counted="computations, of which one is needed",
    panels=_panels,
)
