"""Everything at once: reads under a seeded mix of all faults. ``MEMOCACHE_SOAK=1000000`` for the long run.

What a call took beyond the function (which takes no time) is what the cache side added, less what the machine did: see
`Stalls`. The slowest is printed with what went on meanwhile.
"""

from __future__ import annotations

import os
import random
import threading
import time
from bisect import insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest

from memocache._runtime import circuit_breaker as _breaker
from memocache.backends.redis import RedisBackend
from memocache.instrumentation import BackendFault
from memocache.testing import FailingBackend, FakeServer, FaultProxy, servers
from memocache.testing.servers import Server
from tests import worlds
from tests.promises.faults.rig import FULL, STALL, TIMES, Rig, right, stalled

READS = int(os.environ.get("MEMOCACHE_SOAK", "100000" if FULL else "10000" if worlds.FULL else "2500"))
SEED = int(os.environ.get("MEMOCACHE_SOAK_SEED", "1"))
KEYS = 200
BATCH = 500
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
        self.log: deque[tuple[float, str]] = deque(maxlen=1000)
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
            self.log.append((time.perf_counter(), act.__name__))
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


class Call(NamedTuple):
    """One call: seconds that the cache side added, and what else happened meanwhile."""

    added: float
    colour: str
    stalls: float
    acts: list[str]
    faults: list[str]

    def __str__(self) -> str:
        meanwhile = f"{', '.join(self.acts) or 'no injected fault'}; reported: {', '.join(self.faults) or 'nothing'}"
        machine = f"besides {1000 * self.stalls:.0f} ms of the machine"
        return f"{1000 * self.added:.0f} ms ({self.colour}; {machine}; {meanwhile})"


@dataclass
class Account:
    """What became of the calls, and what they took."""

    mischief: Mischief
    faults: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=5000))
    calls: int = 0
    wrong: int = 0
    raised: list[BaseException] = field(default_factory=list)
    added: list[float] = field(default_factory=list)
    slowest: list[Call] = field(default_factory=list)

    def observe(self, event: Any) -> None:
        """Remember when the backend failed."""
        if isinstance(event, BackendFault):
            self.faults.append((time.perf_counter(), f"{event.error} in {event.operation}"))

    def add(self, colour: str, x: int, result: Any, begun: float, ended: float) -> None:
        """Take in one call."""
        self.calls += 1
        if not right(x, result):
            if isinstance(result, BaseException):
                self.raised.append(result)
            else:
                self.wrong += 1
        stalls = stalled(begun, ended) if ended - begun > 0.05 else 0.0
        self.added.append(ended - begun - stalls)
        if len(self.slowest) < 3 or self.added[-1] > self.slowest[0].added:
            acts = [act for at, act in list(self.mischief.log) if begun - 0.1 < at < ended]
            faults = [fault for at, fault in list(self.faults) if begun < at <= ended]
            insort(self.slowest, Call(self.added[-1], colour, stalls, acts, sorted(set(faults))))
            del self.slowest[:-3]

    def quantile(self, share: float) -> float:
        """Milliseconds within which this share of the calls was answered."""
        return 1000 * self.added[min(len(self.added) - 1, int(share * len(self.added)))]


def test_soak(capsys: Any, record_property: Callable[[str, Any], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads by threads and by tasks under every fault in turn: 0 wrong values, 0 cache-side exceptions, and the cache
    is used again after the last fault; what calls took longer is printed.
    """
    # else the breaker keeps nearly every call from the faults
    monkeypatch.setattr(_breaker, "PROBE_AFTER", 0.01)
    monkeypatch.setattr(_breaker, "STALL_EVERY", 0.01)
    with (
        servers.start(servers.available_servers()[0]) as server,
        FakeServer(server.port) as fake,
        FaultProxy(fake.port) as proxy,
    ):
        mischief = Mischief(server, fake, proxy)
        account = Account(mischief)
        begun = time.monotonic()
        rigs = [Rig("sync"), Rig("async")]
        functions = []
        for rig in rigs:
            secret = "soak" if rig.is_async else None
            failing = FailingBackend(RedisBackend.from_url(proxy.url), RuntimeError, probability=0.5, seed=SEED)
            failing.active = False
            mischief.failing.append(failing)
            cache = rig.cache(failing, prefix=rig.colour, secret=secret, observers=[account.observe])
            functions.append(rig.cached(cache, ttl=1))
        rng = random.Random(SEED)
        try:
            while account.calls < READS:
                for rig, f in zip(rigs, functions, strict=True):
                    rig.trial(f, (rng.randrange(KEYS) for _ in range(BATCH)), width=25, account=account.add)
        finally:
            mischief.end()
        lasted = time.monotonic() - begun
        recovered = [rig.recovers(f) for rig, f in zip(rigs, functions, strict=True)]
        hits = sum(f.cache_info().hits for f in functions)
        errors = sum(f.stats().backend_errors for f in functions)
        for rig in rigs:
            rig.close()
    account.added.sort()
    quantiles = {name: account.quantile(share) for name, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))}
    worst = account.slowest[-1]
    with capsys.disabled():
        print(
            f"\nsoak: {account.calls} reads in {lasted:.1f} s, {hits} hits, {errors} backend errors, "
            f"{sum(mischief.done.values())} faults of {len(mischief.done)} kinds; {account.wrong} wrong, "
            f"{len(account.raised)} raised, used again after {1000 * max(recovered):.0f} ms; added time "
            f"{', '.join(f'{name} {ms:.1f} ms' for name, ms in quantiles.items())}, worst {worst}"
        )
    figures = {"calls": account.calls, "wrong": account.wrong, "raised": len(account.raised), "worst": worst.added}
    soak = {"colour": "both", "seconds": lasted, "hits": hits, "faults": sum(mischief.done.values())}
    record_property(
        "figures", figures | soak | {"recovery": max(recovered), "quantiles": quantiles, "what": str(worst)}
    )
    assert account.raised == []
    assert account.wrong == 0
    assert hits > 0
    # of a thousand calls the slowest may be the machine's in ways that the control does not see
    assert account.quantile(0.999) <= 1000 * TIMES * STALL
