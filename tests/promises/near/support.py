"""What tests of near tiers share: waiting until a near tier has heard of everything that happened before."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from memocache import Cache
from memocache._stores.layered import near_cache as _near
from memocache.backends._redis import client_tracking as _tracker

BOUND = 20.0
"""Seconds after which something that should have come has not."""


class Heard:
    """Listens along with a cache's near tier."""

    def __init__(self, cache: Cache) -> None:
        near = self.near = cache._near
        assert near is not None
        self._backend = cache._guard.backend  # type: ignore[union-attr]  # a near tier has a backend
        self._news = threading.Condition()
        self._since = float("-inf")
        self.losses = 0
        self._pass_on, self._refuse = near.heard, near.refused
        # on this object alone
        near.heard = self._heard  # type: ignore[method-assign]
        near.refused = self._refused  # type: ignore[method-assign]

    def _heard(self, since: float) -> None:
        self._pass_on(since)
        with self._news:
            self.losses += since == float("-inf")
            self._since = since
            self._news.notify_all()

    def _refused(self) -> None:
        self._refuse()
        with self._news:
            self._news.notify_all()

    def settle(self) -> None:
        """Return when every change acknowledged before now has been told; at once where nobody tells."""
        now = time.monotonic()
        self.near.watch(self._backend)
        with self._news:
            assert self._news.wait_for(lambda: self._since >= now or self.near._lease, BOUND), "nothing was heard"

    def wait_for_loss(self, after: int) -> None:
        """Return when the channel was lost more than `after` times."""
        with self._news:
            assert self._news.wait_for(lambda: self.losses > after, BOUND), "the channel was not lost"


def hasten(monkeypatch: pytest.MonkeyPatch, *, trust: float | None = None) -> None:
    """Have trackers ask often; with `trust`, have copies believed for so long."""
    monkeypatch.setattr(_tracker, "BEAT_SECONDS", 0.02)
    if trust is not None:
        monkeypatch.setattr(_near, "TRUST_SECONDS", trust)


def held(function: Any) -> int:
    """How many copies of a function's entries its process holds."""
    core, binding = function._self_state.bound()
    return len(core.places.shared.beside(binding.table).entries)


@pytest.fixture(autouse=True)
def believing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies are believed as long as nothing is told: what the clock of a test does must not hide them."""
    hasten(monkeypatch, trust=1e9)
