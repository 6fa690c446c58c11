"""One process of the storm (`tests.promises.cluster.storm`): reads in both colours, writes to the source and
invalidates.

It prints what it saw as JSON when its standard input ends. The truth is a file of rows of numbers that every process
maps, a number for each key: the source's versions, the version whose invalidation has returned last, and for each of
up to `MOST` workers when it had its last hit (monotonic nanoseconds).
"""

from __future__ import annotations

import asyncio
import json
import mmap
import random
import sys
import threading
import time
from collections import deque
from typing import Any

from memocache import BackendError, Cache

KEYS = 48
MOST = 8
ROWS = 2 + MOST
SIZE = KEYS * ROWS * 8
_PAUSE = 0.002
_COMPUTE = 0.001


class Truth:
    """The shared numbers: `source` is what a computation reads, `floor` what nobody may see less than; `hit_at`."""

    def __init__(self, path: str) -> None:
        with open(path, "r+b") as file:
            whole = memoryview(mmap.mmap(file.fileno(), SIZE)).cast("q")
        self.source = whole[:KEYS]
        self.floor = whole[KEYS : 2 * KEYS]
        self.hit_at = [whole[row * KEYS : (row + 1) * KEYS] for row in range(2, ROWS)]


class Worker:
    """What one process does and sees; each key has one process that writes it.

    Where answers may be `behind` by some seconds, it holds copies.
    """

    def __init__(self, url: str, truth: Truth, number: int, workers: int, seed: int, behind: float = 0.0) -> None:
        self.truth = truth
        self.behind = behind
        self.floors = deque([(float("-inf"), [0] * KEYS)])  # of past moments
        self.hit_at = truth.hit_at[number]
        self.mine = [key for key in range(KEYS) if key % workers == number]
        self.random = random.Random(seed * 1000 + number)
        self.ended = threading.Event()
        self.computed = [0.0] * KEYS  # when a computation of the key in this process ended last
        self.seen: dict[str, Any] = {"calls": 0, "hits": 0, "slowest": 0.0, "refused": 0, "invalidations": 0}
        self.raised: list[str] = []
        self.stale: list[tuple[int, int, int, float]] = []  # key, version seen, floor, when the call began
        self.returned: list[tuple[int, int, float]] = []  # key, version, when its invalidation returned
        self.cache = Cache(url, prefix="storm", local=1000 if behind else 0)
        self.sync = self.cache.cached(name="f", ttl=3600)(self.compute)
        self.aio = self.cache.cached(name="f", ttl=3600)(self.compute_later)

    def compute(self, key: int) -> list[int]:
        """The function under test."""
        version = self.truth.source[key]
        time.sleep(_COMPUTE)
        self.computed[key] = time.monotonic()
        return [key, version]

    async def compute_later(self, key: int) -> list[int]:
        """Its async twin."""
        version = self.truth.source[key]
        await asyncio.sleep(_COMPUTE)
        self.computed[key] = time.monotonic()
        return [key, version]

    def floor(self, key: int, begun: float) -> int:
        """The least version that a call may see that begins now."""
        if not self.behind:
            return self.truth.floor[key]
        return next(floor[key] for at, floor in reversed(list(self.floors)) if at <= begun - self.behind)

    def remember(self) -> None:
        """Take down the floor, where answers may be behind."""
        while self.behind and not self.ended.wait(0.02):
            self.floors.append((time.monotonic(), list(self.truth.floor)))

    def judge(self, key: int, floor: int, begun: float, result: Any) -> None:
        """Take in one answer."""
        now = time.monotonic()
        self.seen["calls"] += 1
        self.seen["slowest"] = max(self.seen["slowest"], now - begun)
        if isinstance(result, BaseException):
            self.raised.append(repr(result))
            return
        if result[0] != key or result[1] < floor:
            self.stale.append((key, result[1] if result[0] == key else -1, floor, begun))
        if self.computed[key] < begun:  # else by this call, or by one that it joined
            self.seen["hits"] += 1
            self.hit_at[key] = int(begun * 1e9)

    def read(self) -> None:
        """Calls in a thread."""
        draw = random.Random(self.random.random())
        while not self.ended.wait(_PAUSE):
            key = draw.randrange(KEYS)
            begun = time.monotonic()
            floor = self.floor(key, begun)
            result: Any
            try:
                result = self.sync(key)
            except BaseException as error:
                result = error
            self.judge(key, floor, begun, result)

    def read_in_loop(self) -> None:
        """Calls in tasks."""

        async def one(draw: random.Random) -> None:
            while not self.ended.is_set():
                await asyncio.sleep(_PAUSE)
                key = draw.randrange(KEYS)
                begun = time.monotonic()
                floor = self.floor(key, begun)
                result: Any
                try:
                    result = await self.aio(key)
                except BaseException as error:
                    result = error
                self.judge(key, floor, begun, result)

        async def all_of_them() -> None:
            await asyncio.gather(*(one(random.Random(self.random.random())) for _ in range(3)))
            await self.cache.aio.close()

        asyncio.run(all_of_them())

    def write(self) -> None:
        """Change the source and invalidate, one call or (now and then) the whole function."""
        draw = random.Random(self.random.random())
        while not self.ended.wait(draw.uniform(0.0, 0.02)):
            # one that holds copies would void them all itself, and need no message
            keys = self.mine if draw.random() < 0.05 and not self.behind else [draw.choice(self.mine)]
            for key in keys:
                self.truth.source[key] += 1
            try:
                if len(keys) > 1:
                    self.sync.invalidate_all()
                else:
                    self.sync.invalidate(keys[0])
            except BackendError:
                self.seen["refused"] += 1
                continue
            except BaseException as error:
                self.raised.append(repr(error))
                continue
            self.seen["invalidations"] += 1
            for key in keys:
                self.returned.append((key, self.truth.source[key], time.monotonic()))
                self.truth.floor[key] = self.truth.source[key]

    def run(self) -> None:
        """Work until standard input ends, then tell."""
        bodies = (self.read, self.read, self.read_in_loop, self.write, self.remember)
        threads = [threading.Thread(target=body) for body in bodies]
        for thread in threads:
            thread.start()
        print("ready", flush=True)
        sys.stdin.read()
        self.ended.set()
        for thread in threads:
            thread.join()
        lists = ("raised", "stale", "returned")
        print(json.dumps(self.seen | {name: getattr(self, name) for name in lists}), flush=True)
        self.cache.close()


def break_deletes() -> None:
    """The known-bad build: a delete says that it was done, and was not."""
    from memocache.backends.redis import RedisBackend

    RedisBackend.delete = lambda self, keys, *, timeout=None: 0  # type: ignore[method-assign]  # broken on purpose


if __name__ == "__main__":
    url, path, number, workers, seed, behind, broken = sys.argv[1:]
    if broken == "yes":
        break_deletes()
    Worker(url, Truth(path), int(number), int(workers), int(seed), float(behind)).run()
