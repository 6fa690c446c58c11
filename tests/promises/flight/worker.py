"""A worker process: ``python -m tests.promises.flight.worker URL PREFIX LEASE_SECONDS``; a line of JSON in, a line of
JSON out.

Its function `f` counts its calls on the server under ``calls:N``, and while the key ``gate`` exists it waits there for
an item of the list ``go:N``.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from typing import Any

import redis

from memocache import Cache
from memocache._stores.remote import lease as _leases
from tests.patience import be_patient
from tests.promises.flight.history import Recorder
from tests.promises.flight.support import crowd


class Worker:
    """Carries out the commands."""

    def __init__(self, url: str, prefix: str) -> None:
        self.server = redis.Redis.from_url(url, protocol=2)
        self.cache = Cache(url, prefix=prefix)
        self.recorder = Recorder("")

        @self.cache.cached(name="f", ttl=600)
        def f(n: int) -> int:
            serial = int(self.server.incr(f"calls:{n}"))
            if self.server.exists("gate"):
                self.server.blpop([f"go:{n}"], 30)
            return serial

        @self.cache.cached(name="h", ttl=600, tags=("t:{key}",))
        def h(key: int) -> str:
            return self.recorder.compute(key, lambda: time.sleep(random.random() * 0.002))

        self.f, self.h = f, h
        f(-1)  # connections are open and markers made before anybody is measured

    def call(self, n: int, threads: int) -> dict[str, Any]:
        """`f(n)` in several threads at once."""
        return {"values": crowd(threads, lambda _: self.f(n)), "at": time.monotonic_ns()}

    def history(self, name: str, threads: int, ops: int, keys: int) -> dict[str, Any]:
        """Random operations in several threads, recorded."""
        self.recorder = recorder = Recorder(name)

        def run(thread: int) -> None:
            draw = random.Random(f"{name}{thread}")
            for _ in range(ops):
                self._one(recorder, draw.random(), draw.randrange(keys))

        errors = [repr(error) for error in crowd(threads, run) if error is not None]
        return {"ops": recorder.ops, "errors": errors, "faults": self.h.stats().backend_errors}

    def _one(self, recorder: Recorder, dice: float, key: int) -> None:
        if dice < 0.86:
            recorder.call(key, lambda: self.h(key))
        elif dice < 0.90:
            recorder.put(key, lambda made: self.h.put(made, key))
        elif dice < 0.95:
            recorder.invalidate(key, lambda: self.h.invalidate(key))
        elif dice < 0.97:
            recorder.invalidate(key, lambda: self.cache.invalidate(tag=f"t:{key}"))
        elif dice < 0.99:
            recorder.invalidate(None, lambda: self.cache.invalidate("h"))
        else:
            recorder.invalidate(None, self.cache.clear)


def main() -> None:
    url, prefix, lease = sys.argv[1:]
    be_patient()
    _leases.LEASE_SECONDS = float(lease)
    sys.setswitchinterval(1e-4)
    worker = Worker(url, prefix)
    print(json.dumps({"ready": threading.get_native_id()}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps(getattr(worker, command.pop("do"))(**command)), flush=True)
    worker.cache.close()


if __name__ == "__main__":
    main()
