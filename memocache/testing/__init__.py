"""Helpers for tests: of your own code that uses memocache, and of backends.

* For your code: `assert_hits`, `assert_computed`, `in_memory` and `FakeClock`, besides the pytest plugin's fixtures.
* For backends: `BackendContract` is the suite that each must pass. `FailingBackend` and `SlowBackend` wrap a backend,
  `FaultProxy` stands between a client and a real server, and `FakeServer` gives the answers that it is told to give.
* `ClusterServer` and `SentinelTrio` are fleets of real servers on loopback.

Everything but the clock and the assertions is loaded when it is asked for: `BackendContract` needs pytest, which a
program that only wants the clock may not have.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from memocache.testing.asserts import assert_computed, assert_hits
from memocache.testing.clock import FakeClock

if TYPE_CHECKING:
    from memocache.testing.caches_in_memory import in_memory
    from memocache.testing.contract import BackendContract
    from memocache.testing.faults import FailingBackend, SlowBackend
    from memocache.testing.proxy import FaultProxy
    from memocache.testing.server_topologies import ClusterServer, SentinelTrio
    from memocache.testing.stub_server import FakeServer

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
    "in_memory",
]

_HOMES = {
    "BackendContract": "contract",
    "ClusterServer": "server_topologies",
    "FailingBackend": "faults",
    "FakeServer": "stub_server",
    "FaultProxy": "proxy",
    "SentinelTrio": "server_topologies",
    "SlowBackend": "faults",
    "in_memory": "caches_in_memory",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"memocache.testing.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
