"""The harness catches what it is for: builds without the echo check, the breaker or the deadline fail its measures."""

from __future__ import annotations

from typing import Any

import pytest

from memocache._cache import stats_reporter as _reporter
from memocache._runtime.circuit_breaker import Breaker
from memocache._stores.remote import envelope as _envelope
from memocache._stores.remote.store import SharedStore
from memocache.testing import FaultProxy
from memocache.testing.servers import Server
from tests.promises.faults.rig import STALL, TIMES, Rig
from tests.promises.faults.test_transport import (
    Leisure,
    drip_cost,
    miscounted,
    timeouts_of,
    warmed,
    watched,
    wrong_after,
)


def test_a_build_without_the_echo_check_is_caught(
    rig: Rig, proxy: FaultProxy, leisure: Leisure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 8's measure counts wrong values where an envelope is believed whatever key it names."""
    honest_read, honest_now = SharedStore.read, SharedStore.look_now

    def disguised(spot: Any, values: Any) -> Any:
        try:
            key = _envelope.unpack(values[0]).key
        except Exception:
            return spot
        other = type("Spot", (), {name: getattr(spot, name) for name in spot.__slots__})()
        other.entry, other.key = key, key.encode()
        return other

    def read(self: SharedStore, address: Any, spot: Any, values: Any) -> Any:
        return honest_read(self, address, disguised(spot, values), values)

    def look_now(self: SharedStore, *args: Any) -> Any:
        _, values = honest_now(self, *args)
        return None, values

    monkeypatch.setattr(SharedStore, "read", read)
    monkeypatch.setattr(SharedStore, "look_now", look_now)
    f = warmed(rig, leisure(proxy.url))
    assert wrong_after(rig, proxy, f, "swap") > 0


def test_a_build_without_a_breaker_is_caught(rig: Rig, one_victim: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 2's measure is over its bound after 3 of its 50 calls where nothing keeps callers away."""
    monkeypatch.setattr(Breaker, "failed", lambda *args, **kwargs: False)
    f, faults = watched(rig, one_victim.url)
    rig.trial(f, range(1, 11)).check()
    one_victim.suspend()
    try:
        assert timeouts_of(rig, f, faults, 3)[0] > 2
    finally:
        one_victim.resume()


def test_a_build_without_a_deadline_is_caught(rig: Rig, proxy: FaultProxy, leisure: Leisure) -> None:
    """Row 3's measure is over its bound where a call may take as long as its answer drips."""
    drip_cost(rig, proxy, warmed(rig, leisure(proxy.url)))
    assert rig.seen.slowest > TIMES * STALL


def test_a_build_that_counts_a_flush_again_is_caught(
    rig: Rig, proxy: FaultProxy, leisure: Leisure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 5's measure finds counters that are too high where a flush is sent again under another number."""
    monkeypatch.setattr(_reporter, "FLUSH_SECONDS", 3600.0)

    def keep(self: _reporter.StatsReporter, batch: _reporter.Flush) -> None:
        anew = self._numbered([one._replace(once=None) for one in batch.tallies], batch.sender)
        self._unconfirmed.append(batch._replace(tallies=anew))

    monkeypatch.setattr(_reporter.StatsReporter, "keep", keep)
    assert miscounted(rig, proxy, leisure, scripts=True) > 0
