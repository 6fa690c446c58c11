"""What helps to test with memocache, and to test backends: `FakeClock`, `BackendContract`, real servers, faults.

`ClusterServer` and `SentinelTrio` are fleets of real servers. `FailingBackend` and `SlowBackend` wrap a backend,
`FaultProxy` stands between a client and a real server, and `FakeServer` is one that answers what it is told.
`assert_hits` and `assert_computed` are about your own functions. All but these and the clock are loaded when they are
asked for: `BackendContract` needs pytest, which a program that only wants the clock may not have.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from memocache.testing.asserts import assert_computed, assert_hits
from memocache.testing.clock import FakeClock

if TYPE_CHECKING:
    from memocache.testing.contract import BackendContract
    from memocache.testing.fakeserver import FakeServer
    from memocache.testing.faults import FailingBackend, SlowBackend
    from memocache.testing.fleet import ClusterServer, SentinelTrio
    from memocache.testing.proxy import FaultProxy

__all__ = [
    "BackendContract",
    "ClusterServer",
    "FailingBackend",
    "FakeClock",
    "FakeServer",
    "FaultProxy",
    "SentinelTrio",
    "SlowBackend",
    "assert_computed",
    "assert_hits",
]

_HOMES = {
    "BackendContract": "contract",
    "ClusterServer": "fleet",
    "FailingBackend": "faults",
    "FakeServer": "fakeserver",
    "FaultProxy": "proxy",
    "SentinelTrio": "fleet",
    "SlowBackend": "faults",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"memocache.testing.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
