"""One process of the checker: calls in both colours in every way there is, changes the source, and invalidates.

It prints what it saw as JSON when its standard input ends. The truth is a file of rows of numbers that every process
maps, a number for each key: the source's versions, the version whose invalidation has returned last, the calls of each
process, and for each of up to `MOST` workers when it had its last hit (monotonic nanoseconds). A process whose number
is `MOST` or more has no keys of its own: it may be killed at any time, and nobody misses what it saw.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import json
import mmap
import random
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable
from typing import Any

from memocache import MISSING, BackendError, Cache

KEYS = 48
MOST = 8
ROWS = 3 + MOST
SIZE = KEYS * ROWS * 8
HUNG_SECONDS = 30.0
_MAX_WAIT = 5.0
_PAUSE = 0.002
_COMPUTE = 0.001
_REMEMBERED = 20
_APART = 0.2  # seconds between two times of being cut off

deliberate: contextvars.ContextVar[bool] = contextvars.ContextVar("deliberate", default=False)
"""Whether a computation is a refresh, which nobody can spare."""


class Truth:
    """The shared numbers: `source` is what a computation reads, `floor` what nobody may see less than; `hit_at`."""

    def __init__(self, path: str) -> None:
        with open(path, "r+b") as file:
            whole = memoryview(mmap.mmap(file.fileno(), SIZE)).cast("q")
        self.source = whole[:KEYS]
        self.floor = whole[KEYS : 2 * KEYS]
        self.calls = whole[2 * KEYS : 3 * KEYS]
        self.hit_at = [whole[row * KEYS : (row + 1) * KEYS] for row in range(3, ROWS)]


class Worker:
    """What one process does and sees; each key has one process that writes it.

    Where answers may be `behind` by some seconds, it holds copies.
    """

    def __init__(self, url: str, truth: Truth, number: int, workers: int, seed: int, behind: float = 0.0) -> None:
        self.truth = truth
        self.number = number
        self.behind = behind
        self.floors = deque([(float("-inf"), [0] * KEYS)])  # of past moments
        self.hit_at = truth.hit_at[min(number, MOST - 1)]
        self.mine = [key for key in range(KEYS) if key % workers == number]
        self.random = random.Random(seed * 1000 + number)
        self.ended = threading.Event()
        self.computed = [0.0] * KEYS  # when a computation of the key in this process ended last
        self.seen: dict[str, Any] = dict.fromkeys(
            ("calls", "hits", "slowest", "refused", "invalidations", "puts", "cancelled", "hung", "cut_offs"), 0
        )
        self.raised: list[str] = []
        # key, version seen, floor, when the call began, whether the process was cut off meanwhile, what led to it
        self.stale: list[tuple[int, int, int, float, bool, list[Any]]] = []
        self.history: list[deque[tuple[float, str, Any]]] = [deque(maxlen=_REMEMBERED) for _ in range(KEYS)]
        self.cut_off_at = float("-inf")  # when the backend was seen left alone last
        # key (-1: all), version, when its invalidation began and returned
        self.returned: list[tuple[int, int, float, float]] = []
        self.attempted: list[tuple[int, float, float]] = []  # the same, of those that raised
        self.computations: list[tuple[int, float, float]] = []  # key, begin, end; but for refreshes
        self.busy: dict[int, tuple[str, float]] = {}
        self.tickets = itertools.count()
        self.cache = Cache(url, prefix="storm", local=1000 if behind else 0, max_wait=_MAX_WAIT)
        options: dict[str, Any] = {"name": "f", "ttl": 3600, "tags": ["t:{key}"]}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # two functions of one name, on purpose
            self.sync = self.cache.cached(**options)(self.compute)
            self.aio = self.cache.cached(**options)(self.compute_later)

    # -- the source

    def compute(self, key: int) -> list[int]:
        """The function under test."""
        begun, version = time.monotonic(), self.truth.source[key]
        time.sleep(_COMPUTE)
        self._computed(key, begun, version)
        return [key, version]

    async def compute_later(self, key: int) -> list[int]:
        """Its async twin."""
        begun, version = time.monotonic(), self.truth.source[key]
        await asyncio.sleep(_COMPUTE)
        self._computed(key, begun, version)
        return [key, version]

    def _computed(self, key: int, begun: float, version: int) -> None:
        self.computed[key] = ended = time.monotonic()
        self.history[key].append((begun, "computed", version))
        if not deliberate.get():
            self.computations.append((key, begun, ended))

    # -- what may be seen

    def floor(self, key: int, begun: float) -> int:
        """The least version that a call may see that begins now."""
        if not self.behind:
            return self.truth.floor[key]
        return next(floor[key] for at, floor in reversed(list(self.floors)) if at <= begun - self.behind)

    def remember(self) -> None:
        """Take down the floor, where answers may be behind; and who has been at one thing for too long."""
        told: set[tuple[str, float]] = set()
        while not self.ended.wait(0.02):
            now = time.monotonic()
            self.look_if_cut_off()
            if self.behind:
                self.floors.append((now, list(self.truth.floor)))
                if len(self.floors) > 10_000:
                    self.floors.popleft()
            for one in list(self.busy.values()):
                if now - one[1] > HUNG_SECONDS and one not in told:
                    told.add(one)
                    self.seen["hung"] += 1

    def look_if_cut_off(self) -> bool:
        """Whether the backend, or a node of it, is left alone now after failures; noted, and counted once a time."""
        cut_off = "open" in self.cache.breaker().values()
        if cut_off:
            now = time.monotonic()
            self.seen["cut_offs"] += now - self.cut_off_at > _APART
            self.cut_off_at = now
        return cut_off

    def judge(self, key: int, floor: int, begun: float, result: Any, way: str) -> None:
        """Take in one answer, of a call made in this `way`."""
        now = time.monotonic()
        self.seen["calls"] += 1
        self.truth.calls[min(self.number, KEYS - 1)] += 1
        self.seen["slowest"] = max(self.seen["slowest"], now - begun)
        if isinstance(result, BaseException):
            self.raised.append(repr(result))
        elif not isinstance(result, list) or len(result) != 2 or result[0] != key:
            self.stale.append((key, -1, floor, begun, False, self._told(key, way)))
        elif result[1] < floor:
            here = any(what == "computed" and version == result[1] for _, what, version in self.history[key])
            cut_off = here and (self.look_if_cut_off() or self.cut_off_at >= begun)
            self.stale.append((key, result[1], floor, begun, cut_off, self._told(key, way)))
        self.history[key].append((begun, way, result[1] if isinstance(result, list) else repr(result)))
        if self.computed[key] < begun:
            self.seen["hits"] += 1
            self.hit_at[key] = int(begun * 1e9)

    def _told(self, key: int, way: str) -> list[Any]:
        """What this process saw of a key lately, for people to read."""
        return [time.monotonic(), way, self.cut_off_at, *self.history[key]]

    # -- calls

    def read(self) -> None:
        """Calls in a thread: plain ones, several at once, refreshes and peeks."""
        draw = random.Random(self.random.random())
        while not self.ended.wait(_PAUSE):
            keys = [draw.randrange(KEYS)]
            way = draw.random()
            if way < 0.1:
                keys = draw.sample(range(KEYS), 5)
            begun = time.monotonic()
            floors = [self.floor(key, begun) for key in keys]
            self.look_if_cut_off()
            results: list[Any]
            try:
                with self._at("call"):
                    name = "call"
                    if len(keys) > 1:
                        name, results = "map", self.sync.map(keys)
                    elif way < 0.15:
                        name, results = "refresh", [self._refresh(keys[0])]
                    elif way < 0.2:
                        name, results = "peek", [self.sync.peek(keys[0])]
                        if results[0] is MISSING:
                            continue
                    else:
                        results = [self.sync(keys[0])]
            except BackendError:  # a refresh that could not be stored
                self.seen["refused"] += 1
                continue
            except BaseException as error:
                results = [error] * len(keys)
            for key, floor, result in zip(keys, floors, results, strict=True):
                self.judge(key, floor, begun, result, name)

    def _refresh(self, key: int) -> Any:
        token = deliberate.set(True)
        try:
            return self.sync.refresh(key)
        finally:
            deliberate.reset(token)

    def read_in_loop(self) -> None:
        """Calls in tasks, some of which are cancelled."""

        async def one(draw: random.Random) -> None:
            while not self.ended.is_set():
                await asyncio.sleep(_PAUSE)
                keys = draw.sample(range(KEYS), 5) if draw.random() < 0.1 else [draw.randrange(KEYS)]
                begun = time.monotonic()
                floors = [self.floor(key, begun) for key in keys]
                self.look_if_cut_off()
                results: list[Any]
                patience = draw.uniform(0.0, 0.003) if draw.random() < 0.1 else None
                try:
                    with self._at("await"):
                        async with asyncio.timeout(patience):
                            results = await self.aio.map(keys) if len(keys) > 1 else [await self.aio(keys[0])]
                except TimeoutError:
                    self.seen["cancelled"] += 1
                    continue
                except BaseException as error:
                    results = [error] * len(keys)
                for key, floor, result in zip(keys, floors, results, strict=True):
                    self.judge(key, floor, begun, result, "await map" if len(keys) > 1 else "await")

        async def all_of_them() -> None:
            await asyncio.gather(*(one(random.Random(self.random.random())) for _ in range(3)))
            await self.cache.aio.close()

        asyncio.run(all_of_them())

    @contextlib.contextmanager
    def _at(self, what: str) -> Any:
        me = next(self.tickets)
        self.busy[me] = what, time.monotonic()
        try:
            yield
        finally:
            self.busy.pop(me, None)

    # -- changes

    def ways(self) -> list[Callable[[int], Any]]:
        """Every way to invalidate a key; those after the first three are about all keys."""
        return [
            self.sync.invalidate,
            lambda key: self.cache.invalidate(tag=f"t:{key}"),
            lambda key: self.cache.delete(self.sync.key_for(key)),
            lambda _: self.sync.invalidate_all(),
            lambda _: self.cache.invalidate("f"),
            lambda _: self.cache.invalidate("f*"),
            lambda _: self.cache.clear(),
            lambda _: self.sync.cache_clear(),
        ]

    def write(self) -> None:
        """Change the source and invalidate, one call or (now and then) all, or put what is true now."""
        draw = random.Random(self.random.random())
        ways = self.ways()
        while self.mine and not self.ended.wait(draw.uniform(0.0, 0.02)):
            # one that holds copies would void them all itself, and need no message
            together = draw.random() < 0.05 and not self.behind
            keys = self.mine if together else [draw.choice(self.mine)]
            way = draw.choice(ways[3:]) if together else draw.choice(ways[:3])
            for key in keys:
                self.truth.source[key] += 1
            begun = time.monotonic()
            try:
                with self._at("invalidate"):
                    if not together and draw.random() < 0.1:
                        self.history[keys[0]].append((begun, "put", self.truth.source[keys[0]]))
                        self.sync.put([keys[0], self.truth.source[keys[0]]], keys[0])
                        self.seen["puts"] += 1
                    way(keys[0])
            except BackendError:
                self.seen["refused"] += 1
                # part of it may have been done
                self.attempted.append((-1 if together else keys[0], begun, time.monotonic()))
                continue
            except BaseException as error:
                self.raised.append(repr(error))
                continue
            self.seen["invalidations"] += 1
            for key in keys:
                self.returned.append((key, self.truth.source[key], begun, time.monotonic()))
                self.truth.floor[key] = self.truth.source[key]
            if together:
                self.returned.append((-1, 0, begun, time.monotonic()))

    def run(self) -> None:
        """Work until standard input ends, then tell."""
        bodies = (self.read, self.read, self.read_in_loop, self.write, self.remember)
        threads = [threading.Thread(target=body, daemon=True) for body in bodies]
        for thread in threads:
            thread.start()
        print("ready", flush=True)
        sys.stdin.read()
        self.ended.set()
        deadline = time.monotonic() + HUNG_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            self.seen["hung"] += thread.is_alive()
        lists = ("raised", "stale", "returned", "attempted", "computations")
        print(json.dumps(self.seen | {name: getattr(self, name) for name in lists}), flush=True)
        self.cache.close()


def break_deletes() -> None:
    """The known-bad build: a delete says that it was done, and was not."""
    from memocache.backends.redis import RedisBackend

    RedisBackend.delete = lambda self, keys, *, timeout=None: 0  # type: ignore[method-assign]  # broken on purpose


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # two functions of one name, on purpose
    url, path, number, workers, seed, behind, broken = sys.argv[1:]
    if broken == "yes":
        break_deletes()
    Worker(url, Truth(path), int(number), int(workers), int(seed), float(behind)).run()
