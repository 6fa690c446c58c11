"""What a process holds, and whether it holds more after more of the same.

RSS, file descriptors, threads, tasks, weak references, objects, and on a server the keys that never expire. Those with
a ttl go by themselves.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

_CALM = 20.0
"""Seconds until what was let go of must be gone: nothing outlives its last reference by more than 15 s."""

_OWN = 3
"""Threads that one cache in use may have."""


class Figures(NamedTuple):
    """What a process holds."""

    megabytes: float
    descriptors: int
    threads: int
    tasks: int
    references: int
    objects: int
    keys: int


SLACK = Figures(8.0, 2, 1, 0, 200, 2_000, 8)
"""How much more is still flat: room of allocators, and what each name and each interval of figures has once."""


def figures(client: Any) -> Figures:
    """What this process holds now, and what the server of the `client` (None: there is none) keeps for good."""
    for _ in range(3):
        gc.collect()
    getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None)(0)
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    things = gc.get_objects()
    return Figures(
        round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1),
        len(os.listdir("/proc/self/fd")),
        threading.active_count(),
        sum(isinstance(thing, asyncio.Task) for thing in things),
        sum(isinstance(thing, weakref.ReferenceType) for thing in things),
        len(things),
        0 if client is None else _keys_for_good(client),
    )


def _keys_for_good(client: Any) -> int:
    """How many keys of a server have no ttl."""
    keys = list(client.scan_iter(count=1000))
    with client.pipeline(transaction=False) as asked:
        for key in keys:
            asked.pttl(key)
        return sum(left == -1 for left in asked.execute())


def more(before: Figures, after: Figures, slack: Figures = SLACK) -> list[str]:
    """Which of the figures are not flat."""
    return [
        name for name, old, new, room in zip(Figures._fields, before, after, slack, strict=True) if new - old > room
    ]


def calm(client: Any, flat: Callable[[Figures], bool]) -> Figures:
    """The figures once they are `flat`, or once what was let go of must be gone."""
    deadline = time.monotonic() + _CALM
    while not flat(now := figures(client)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return now


def growth(
    turns: Callable[[int], None], count: int, client: Any, slack: Figures = SLACK
) -> tuple[Figures, Figures, Figures]:
    """The figures before, after half of `count` turns, and after all; flat is what the second half does not raise."""
    before = figures(client)
    turns(count // 2)
    few = before.threads + _OWN
    middle = calm(client, lambda now: now.threads <= few)
    turns(count - count // 2)
    return before, middle, calm(client, lambda now: not more(middle, now, slack))
