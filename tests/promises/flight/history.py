"""Histories of calls, puts and invalidations, and the checker of promises 3.1 and 4.1 over them.

All times are `time.monotonic_ns` of one machine, so they compare across its processes. A value carries the identity of
the computation (or put) that made it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

FORGETTING = ("invalidate", "put")


class Op(NamedTuple):
    """One operation. `made` names the computation or put whose value a call returned, or which this op is."""

    kind: str  # "call", "compute", "put", "invalidate"
    key: int | None  # None: every key
    begin: int
    end: int
    made: str


class Recorder:
    """Collects the operations of one process; `name` is unlike that of any other process."""

    def __init__(self, name: str) -> None:
        self.ops: list[Op] = []
        self._name = name
        self._lock = threading.Lock()
        self._count = 0

    def identity(self) -> str:
        """A name for a computation or put."""
        with self._lock:
            self._count += 1
            return f"{self._name}:{self._count}"

    def compute(self, key: int, body: Callable[[], Any]) -> str:
        """A function's body: record it and return its identity as the value."""
        made, begin = self.identity(), time.monotonic_ns()
        body()
        self.ops.append(Op("compute", key, begin, time.monotonic_ns(), made))
        return made

    def call(self, key: int, call: Callable[[], Any]) -> Any:
        """A call, whose value names what made it."""
        begin = time.monotonic_ns()
        made = call()
        self.ops.append(Op("call", key, begin, time.monotonic_ns(), made))
        return made

    def put(self, key: int, put: Callable[[str], Any]) -> None:
        """A put of a value that names it."""
        made, begin = self.identity(), time.monotonic_ns()
        put(made)
        self.ops.append(Op("put", key, begin, time.monotonic_ns(), made))

    def invalidate(self, key: int | None, invalidate: Callable[[], Any]) -> None:
        """An invalidation of one key or of all."""
        begin = time.monotonic_ns()
        invalidate()
        self.ops.append(Op("invalidate", key, begin, time.monotonic_ns(), ""))


def violations(ops: Sequence[Op]) -> list[str]:
    """What in a history breaks promise 3.1 or 4.1, as texts."""
    return [*_stale(ops), *_twice(ops)]


def _forgets(op: Op, key: int | None) -> bool:
    return op.kind in FORGETTING and (op.key is None or op.key == key)


def _stale(ops: Sequence[Op]) -> list[str]:
    """Calls that began after an invalidation (or put) had returned, and gave a value from before it began."""
    # a value is as old as the beginning of its computation; one that was put may have taken effect at the put's end
    age = {op.made: op.begin for op in ops if op.kind == "compute"}
    age |= {op.made: op.end for op in ops if op.kind == "put"}
    found = []
    for call in (op for op in ops if op.kind == "call"):
        if call.made not in age:
            found.append(f"key {call.key}: a value that nobody made")
            continue
        before = [op for op in ops if _forgets(op, call.key) and op.end < call.begin]
        if any(age[call.made] < op.begin for op in before):
            found.append(f"key {call.key}: a value from before an invalidation")
    return found


def _twice(ops: Sequence[Op]) -> list[str]:
    """Computations of one key at once, without anything forgotten that would allow it."""
    led = {op.made: op for op in sorted((op for op in ops if op.kind == "call"), key=lambda op: -op.begin)}
    found = []
    by_key: dict[int | None, list[Op]] = {}
    for op in ops:
        if op.kind == "compute":
            by_key.setdefault(op.key, []).append(op)
    for key, computed in by_key.items():
        computed.sort(key=lambda op: op.begin)
        for first, second in pairwise(computed):
            if second.begin >= first.end:
                continue
            # either may have taken its lease as early as its call, and have computed much later
            since = min(led.get(op.made, op).begin for op in (first, second))
            if not any(_forgets(op, key) and op.end > since and op.begin < second.begin for op in ops):
                found.append(f"key {key}: two computations at once")
    return found
