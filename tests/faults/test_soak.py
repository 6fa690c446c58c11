"""Everything at once: reads under a seeded mix of all faults. ``MEMOCACHE_SOAK=1000000`` for the long run."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from memocache import _breaker
from memocache.backends.redis import RedisBackend
from memocache.testing import FailingBackend, FakeServer, FaultProxy, servers
from memocache.testing.servers import Server
from tests.faults.rig import RECOVERY, SLACK, Rig, Trial

READS = int(os.environ.get("MEMOCACHE_SOAK", "20000"))
SEED = int(os.environ.get("MEMOCACHE_SOAK_SEED", "1"))
KEYS = 200
ERRORS = ("LOADING", "BUSY", "READONLY", "OOM", "MISCONF", "TRYAGAIN", "NOSCRIPT", "ERR", "NOPERM")
GARBAGE = (
    b"*2147483647\r\n",
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b":5\r\n",
    b"*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n",
)


class Mischief:
    """A thread that spoils a chain of backend wrapper, proxy and fake server before a real one, a little at a time."""

    def __init__(self, server: Server, fake: FakeServer, proxy: FaultProxy) -> None:
        self.server = server
        self.fake = fake
        self.proxy = proxy
        self.failing: list[FailingBackend] = []
        self.done: dict[str, int] = {}
        self._rng = random.Random(SEED)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop, with everything well again."""
        self._over.set()
        self._thread.join(20)

    def _work(self) -> None:
        rng = self._rng
        acts: list[Callable[[], Any]] = [
            self.delay, self.drip, self.drop, self.duplicate, self.swap, self.cut, self.reset, self.stall, self.refuse,
            self.error, self.garbage, self.stop, self.kill_clients, self.flush, self.forget_scripts, self.restart,
            self.fail,
        ]  # fmt: skip
        while not self._over.wait(rng.uniform(0.02, 0.15)):
            act = rng.choice(acts)
            self.done[act.__name__] = self.done.get(act.__name__, 0) + 1
            act()
            self._over.wait(rng.uniform(0.005, 0.04))
            self.proxy.heal()
            self.fake.heal()
            for one in self.failing:
                one.active = False

    def delay(self) -> None:
        self.proxy.fault("delay", seconds=self._rng.uniform(0, 0.5), times=3)

    def drip(self) -> None:
        self.proxy.fault("drip", seconds=0.005, times=5)

    def drop(self) -> None:
        self.proxy.fault("drop", times=self._rng.randrange(1, 4))

    def duplicate(self) -> None:
        self.proxy.fault("duplicate", times=10)

    def swap(self) -> None:
        self.proxy.fault("swap", times=10)

    def cut(self) -> None:
        self.proxy.fault("cut", after=self._rng.randrange(200), times=10)

    def reset(self) -> None:
        self.proxy.fault("reset", after=self._rng.randrange(200), times=10)

    def stall(self) -> None:
        self.proxy.fault("stall")

    def refuse(self) -> None:
        self.proxy.fault("refuse")

    def error(self) -> None:
        self.fake.answer(f"-{self._rng.choice(ERRORS)} no\r\n".encode(), *self._some(), times=20)

    def garbage(self) -> None:
        self.fake.answer(self._rng.choice(GARBAGE), *self._some(), times=10)

    def _some(self) -> tuple[str, ...]:
        return self._rng.choice([(), ("MGET",), ("EVALSHA",), ("EVALSHA", "MGET")])

    def stop(self) -> None:
        self.server.suspend()
        self._over.wait(self._rng.uniform(0, 0.4))
        self.server.resume()

    def kill_clients(self) -> None:
        with self.server.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def flush(self) -> None:
        with self.server.client() as client:
            client.flushall()

    def forget_scripts(self) -> None:
        with self.server.client() as client:
            client.script_flush()

    def restart(self) -> None:
        if self._rng.random() < 0.3:
            self.server.restart()

    def fail(self) -> None:
        for one in self.failing:
            one.active = True


def test_soak(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads by threads and by tasks under every fault in turn: 0 wrong values, 0 cache-side exceptions, and the cache
    is used again within 2 s of the last fault; the slowest call is printed.
    """
    # else the breaker keeps nearly every call from the faults
    monkeypatch.setattr(_breaker, "PROBE_AFTER", 0.01)
    monkeypatch.setattr(_breaker, "STALL_EVERY", 0.01)
    total = Trial()
    with (
        servers.start(servers.available_servers()[0]) as server,
        FakeServer(server.port) as fake,
        FaultProxy(fake.port) as proxy,
    ):
        mischief = Mischief(server, fake, proxy)
        begun = time.monotonic()
        rigs = [Rig("sync"), Rig("async")]
        functions = []
        for rig in rigs:
            secret = "soak" if rig.is_async else None
            failing = FailingBackend(RedisBackend.from_url(proxy.url), RuntimeError, probability=0.5, seed=SEED)
            failing.active = False
            mischief.failing.append(failing)
            functions.append(rig.cached(rig.cache(failing, prefix=rig.colour, secret=secret), ttl=1))
        rng = random.Random(SEED)
        try:
            while total.calls < READS:
                for rig, f in zip(rigs, functions, strict=True):
                    total += rig.trial(f, (rng.randrange(KEYS) for _ in range(500)), width=25)
        finally:
            mischief.end()
        lasted = time.monotonic() - begun
        recovered = [rig.recovers(f) for rig, f in zip(rigs, functions, strict=True)]
        hits = sum(f.cache_info().hits for f in functions)
        errors = sum(f.stats().backend_errors for f in functions)
        for rig in rigs:
            rig.close()
    with capsys.disabled():
        print(
            f"\nsoak: {total.calls} reads in {lasted:.1f} s, {hits} hits, {errors} backend errors, "
            f"{sum(mischief.done.values())} faults of {len(mischief.done)} kinds; {total.wrong} wrong, "
            f"{len(total.raised)} raised, slowest call {1000 * total.worst:.0f} ms, "
            f"used again after {1000 * max(recovered):.0f} ms"
        )
    total.check()
    assert hits > 0
    assert max(recovered) <= RECOVERY + SLACK
