"""A busy machine is no backend trouble: what a call may spend on its backend is tested in tests/promises/faults and
tests/backends/contract, and everywhere else it is much.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from memocache._runtime.budget import Budget
from memocache.backends._redis.multiplexer import Multiplexer
from memocache.typing import Answer

SECONDS = 60.0


def _patient_init(self: Budget, seconds: float = SECONDS) -> None:
    self.left = max(seconds, SECONDS)


_init = Budget.__init__
_read_soon = Multiplexer.read_soon


def _patient_read_soon(self: Multiplexer, entry: str, markers: Sequence[str], timeout: float) -> asyncio.Future[Answer]:
    return _read_soon(self, entry, markers, max(timeout, SECONDS))


def be_patient() -> None:
    """Let this process' calls wait for their backend, for good (for workers)."""
    Budget.__init__ = _patient_init  # type: ignore[method-assign]  # a test's business
    Multiplexer.read_soon = _patient_read_soon  # type: ignore[method-assign]  # as above


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let calls wait for their backend while a test runs; imported by the conftest of each folder that wants it."""
    monkeypatch.setattr(Budget, "__init__", _patient_init)
    monkeypatch.setattr(Multiplexer, "read_soon", _patient_read_soon)


@pytest.fixture
def hurried(patient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give calls the time of users' calls, in a test of a folder that is patient."""
    monkeypatch.setattr(Budget, "__init__", _init)
    monkeypatch.setattr(Multiplexer, "read_soon", _read_soon)


def unhurried(url: str) -> str:
    """The URL of a server, with as much time to connect."""
    return f"{url}?timeout={SECONDS:g}&connect_timeout={SECONDS:g}"
