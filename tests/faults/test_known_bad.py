"""The harness catches what it is for: builds without the echo check, the breaker or the deadline fail its measures."""

from __future__ import annotations

from typing import Any

import pytest

from memocache import _envelope
from memocache._breaker import Breaker
from memocache._guard import Budget
from memocache._store_shared import SharedStore
from memocache.testing import FaultProxy
from memocache.testing.servers import Server
from tests.faults.rig import SLACK, STALL, Rig
from tests.faults.test_transport import drip_cost, total_of, warmed, wrong_after


def test_a_build_without_the_echo_check_is_caught(rig: Rig, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
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

    def look_now(self: SharedStore, address: Any) -> Any:
        _, values = honest_now(self, address)
        return None, values

    monkeypatch.setattr(SharedStore, "read", read)
    monkeypatch.setattr(SharedStore, "look_now", look_now)
    f = warmed(rig, proxy.url)
    assert wrong_after(rig, proxy, f, "swap") > 0


def test_a_build_without_a_breaker_is_caught(rig: Rig, one_victim: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 2's measure is over its bound after 5 of its 50 calls where nothing keeps callers away."""
    monkeypatch.setattr(Breaker, "failed", lambda *args, **kwargs: False)
    f = warmed(rig, one_victim.url)
    one_victim.suspend()
    try:
        assert total_of(rig, f, 5) > 0.6 + SLACK
    finally:
        one_victim.resume()


def test_a_build_without_a_deadline_is_caught(rig: Rig, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 3's measure is over its bound where a call may take as long as its answer drips."""
    f = warmed(rig, proxy.url)
    monkeypatch.setattr(Budget.__init__, "__defaults__", (60.0,))
    assert drip_cost(rig, proxy, f) > STALL + SLACK
