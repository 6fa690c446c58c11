"""Row 42 of docs/reliability.md: the wall clock jumps by a day, forwards and back."""

from __future__ import annotations

from typing import Any

import pytest

from memocache import Cache
from memocache.backends.memory import MemoryBackend
from tests.promises.faults.rig import Rig

DAY = 86_400.0


class JumpingClock:
    """Wall time that can be set, and monotonic time that moves only by `pass_`."""

    def __init__(self) -> None:
        self.wall = 1_800_000_000.0
        self.passed = 1000.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.passed

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.passed += seconds


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_42_in_the_process_expiry_is_monotonic(rig: Rig, jump: float) -> None:
    """Row 42: a jump neither kills an entry in the process nor makes it live longer."""
    clock = JumpingClock()
    f = rig.cached(rig.cache("memory://", clock=clock), ttl=60)
    rig.trial(f, [1]).check()
    clock.wall += jump
    clock.pass_(59)
    rig.trial(f, [1]).check()
    assert f.cache_info()[:2] == (1, 1)
    clock.wall -= jump
    clock.pass_(2)
    rig.trial(f, [1]).check()
    assert f.cache_info()[:2] == (1, 2)


@pytest.mark.usefixtures("leisure")
@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_42_on_a_shared_backend_nothing_hangs(rig: Rig, jump: float) -> None:
    """Row 42: a jump forwards expires shared entries, one back leaves them to the server's own ttl; every value is
    right and every later call a hit.
    """
    clock = JumpingClock()
    backend = MemoryBackend(clock.monotonic)
    f = rig.cached(rig.cache(backend, clock=clock), ttl=60)
    rig.trial(f, range(1, 17)).check()
    clock.wall += jump
    rig.trial(f, range(1, 17)).check()
    assert f.cache_info()[:2] == ((0, 32) if jump > 0 else (16, 16))
    clock.pass_(61)
    rig.trial(f, range(1, 17)).check()
    assert f.cache_info().misses == (48 if jump > 0 else 32)
    rig.trial(f, range(1, 17)).check()
    assert f.cache_info().misses == (48 if jump > 0 else 32)


def test_42_two_machines_a_day_apart(rig: Rig) -> None:
    """Row 42: processes whose clocks differ by a day share right values or compute, and neither waits for the other."""
    backend: Any = MemoryBackend()
    clocks = JumpingClock(), JumpingClock()
    clocks[1].wall += DAY
    caches: list[Cache] = [rig.cache(backend, clock=clock) for clock in clocks]
    functions = [rig.cached(cache, ttl=60) for cache in caches]
    for _ in range(3):
        for f in functions:
            rig.trial(f, range(1, 17)).check()
