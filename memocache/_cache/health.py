"""Health: whether a cache's backend answers, and whether keys come back from it as they were written.

The question is asked whatever the circuit breaker says; an answer closes it. It never raises: what went wrong is in
the answer, in words.
"""

from __future__ import annotations

import os
import time

from memocache._cache.key_resolver import KeyResolver, S
from memocache._runtime.outcome import Outcome
from memocache._runtime.randomness import random
from memocache._stores.store import Record
from memocache.stats import Health

_PROBES = 12
"""Keys that are probed: where a proxy spreads them over two servers, all come back once in 4,096 times."""


class HealthCheck:
    """Asks after the health of one cache's backend."""

    def __init__(self, resolver: KeyResolver) -> None:
        self._resolver = resolver

    def check(self) -> S:
        """Ping, then write, read and delete probe keys. Never raises.

        There are several, one after the other: a proxy that spreads keys over servers loses some of them.
        """
        begun, store = time.perf_counter(), self._resolver.store
        probe = "memocache-probe-" + os.urandom(8).hex()
        value = random.getrandbits(60)
        back = 0
        try:
            if self._resolver.guard is not None:
                yield self._resolver.ask("ping")
                self._resolver.guard.breaker.closed()
            latency = (time.perf_counter() - begun) * 1000
            for number in range(_PROBES):
                address = self._resolver.plain_address(f"{probe}-{number}")  # past `set` and `get`: a probe is no call
                yield from store.put(address, Record(Outcome(value), 60.0))
                found, _ = yield from self._resolver.look(address, store)  # past copies in the process
                same = found.load is not None and found.load().value == value
                gone = yield from store.forget(address)
                back += bool(same and gone)
        except Exception as error:
            return Health(False, (time.perf_counter() - begun) * 1000, False, str(error))
        if back == _PROBES:
            return Health(True, latency, True, "ok")
        if back == 0:
            return Health(True, latency, False, "the probe key did not come back as written")
        lost = f"{_PROBES - back} of {_PROBES} probe keys did not come back as written"
        return Health(False, latency, False, f"{lost}: is there a proxy that spreads keys over several servers?")
