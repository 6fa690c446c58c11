"""Processes of threads that use one store on disk, invalidate and are killed, and what each of their calls must see.

    python -m tests.promises.disk.hammer DIRECTORY SECONDS SEED

A value names its key and the version of it that was current when its computation began, and its filling follows from
both: a torn, mixed up or foreign value cannot pass. Each key has one process that raises its version, invalidates the
call and then publishes the version in shared memory: no call that begins later may see an older one. A process that
dies in between has published nothing. Prints one JSON object.
"""

from __future__ import annotations

import faulthandler
import hashlib
import json
import mmap
import os
import random
import signal
import struct
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from memocache import Cache
from memocache.exceptions import BackendError
from tests.patience import be_patient

KEYS = 48
LARGE_KEYS = 4
PROCESSES, THREADS = 8, 4
MAX_BYTES = 4_000_000
ENOUGH = 20
_WORD = struct.Struct("<q")


def filling(key: int, version: int) -> bytes:
    """The bytes that follow from key and version; those of a few keys are large enough for a file."""
    seed = hashlib.blake2b(b"%d:%d" % (key, version)).digest()
    return seed * (20_000 if key < LARGE_KEYS else 1 + (key * 37) % 300)


class Board:
    """Numbers in memory that all processes share: versions and published versions of the keys, calls by process."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, (2 * KEYS + PROCESSES) * _WORD.size)

    def get(self, place: int) -> int:
        return int(_WORD.unpack_from(self._map, place * _WORD.size)[0])

    def set(self, place: int, number: int) -> None:
        _WORD.pack_into(self._map, place * _WORD.size, number)

    def version(self, key: int) -> int:
        return key

    def published(self, key: int) -> int:
        return KEYS + key

    def calls(self, process: int) -> int:
        return 2 * KEYS + process


def work(directory: str, process: int, board: Board, seed: int) -> None:
    """What one process does until it is killed."""
    be_patient()  # a busy machine must not look like an outage, which validates nothing
    cache = Cache(f"disk://{directory}/store?max_bytes={MAX_BYTES}", max_wait=10)

    @cache.cached(ttl=30, name="hammered")
    def hammered(key: int) -> tuple[int, int, bytes]:
        version = board.get(board.version(key))
        time.sleep(random.random() * 0.01)  # so that others invalidate meanwhile
        return key, version, filling(key, version)

    @cache.cached(ttl="200ms", name="brief")
    def brief(key: int) -> tuple[int, bytes]:
        return key, filling(key, 0)

    def complain(text: str) -> None:
        with open(f"{directory}/wrong", "a") as file:
            file.write(text + "\n")

    def thread(number: int) -> None:
        draw = random.Random(seed * 1000 + number)
        while True:
            key = draw.randrange(KEYS) if draw.random() < 0.8 else draw.randrange(8)
            if number == 0 and draw.random() < 0.15:
                key = key - key % PROCESSES + process
                raised = board.get(board.version(key)) + 1
                board.set(board.version(key), raised)
                try:
                    hammered.invalidate(key)
                except BackendError:
                    continue
                board.set(board.published(key), raised)
            elif draw.random() < 0.1:
                if brief(key) != (key, filling(key, 0)):
                    complain(f"brief {key}")
            else:
                least = board.get(board.published(key))
                value = hammered(key)
                if value[0] != key or value[2] != filling(key, value[1]):
                    complain(f"torn: asked {key}, got {value[0]}")
                elif value[1] < least:
                    complain(f"stale: {key} is {value[1]}, published was {least}")
            if number == 0:
                board.set(board.calls(process), board.get(board.calls(process)) + 1)

    for number in range(1, THREADS):
        threading.Thread(target=thread, args=(number,), daemon=True).start()
    thread(0)


def main(directory: str, seconds: float, seed: int) -> dict[str, Any]:
    """Run, kill and replace the processes for so many seconds; what came of it."""
    board, draw = Board(), random.Random(seed)
    faulthandler.enable()
    running: dict[int, int] = {}
    started = kills = died = 0

    def raised() -> int:
        return sum(board.get(board.version(key)) for key in range(KEYS))

    def start(process: int) -> None:
        nonlocal started
        started += 1
        child = os.fork()
        if child == 0:
            try:
                work(directory, process, board, seed + 7919 * started)
            except BaseException:
                traceback.print_exc()
            os._exit(1)
        running[process] = child

    for process in range(PROCESSES):
        start(process)
    end = time.monotonic() + seconds
    # on a busy machine as long as it takes for something to have happened
    while time.monotonic() < end or (raised() < ENOUGH and time.monotonic() < end + 60):
        time.sleep(draw.uniform(0.05, 0.4))
        process = draw.randrange(PROCESSES)
        os.kill(running[process], signal.SIGKILL)
        _, status = os.waitpid(running[process], 0)
        kills += 1
        died += not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL
        start(process)
    for child in running.values():
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        died += not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL
    wrong = Path(directory, "wrong")
    store = Path(directory, "store")
    with Cache(f"disk://{store}?max_bytes={MAX_BYTES}") as cache:
        kept = sum(1 for _ in cache.keys("hammered"))
        facts = cache._guard.backend.facts() if cache._guard is not None else None  # what every process counted

        @cache.cached(ttl=30, name="hammered")
        def hammered(key: int) -> tuple[int, int, bytes]:
            return key, -1, b""

        for key in range(KEYS):
            found = hammered.peek(key)
            if found and (found[0] != key or found[2] != filling(key, found[1])):
                wrong.write_text(f"afterwards {key}\n")
    return {
        "calls": THREADS * sum(board.get(board.calls(process)) for process in range(PROCESSES)),
        "invalidations": raised(),
        "kills": kills,
        "died": died,
        "wrong": wrong.read_text().splitlines() if wrong.exists() else [],
        "kept": kept,
        "expired": facts.expired if facts else None,
        "evicted": facts.evicted if facts else None,
        "set_aside": (store / "data.mdb.set-aside").exists(),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))))
