"""The worlds of the suites that run everywhere: a kind of backend and a colour, as ``memory-sync``.

Every promise runs once in each colour, and once on memory, on disk and on one server. The worlds beyond those bear the
marker `full`: they run with ``MEMOCACHE_WORLDS=all``, as in ``.ci/run`` (see `tests.conftest`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pytest

from memocache.testing import servers

FULL = os.environ.get("MEMOCACHE_WORLDS") == "all"
"""Whether the marker `full` leaves nothing out."""
COLOURS = ("sync", "async")
SERVERS = servers.available_servers()
"""The kinds of server on this machine; the first stands for all."""
TIERED = ["tiered"] if SERVERS else []
"""The kind of a server with copies held in the process."""
FLEETS = ["cluster", "sentinel"] if SERVERS else []
"""The kinds of many servers."""

# What stands for everything. Colours meet every kind of effect on a server; the disk is asked in one, for its async
# face is the sync one in a thread.
_QUICK = frozenset(
    {"memory-sync", "memory-async", "disk-sync", *(f"{kind}-{c}" for kind in SERVERS[:1] for c in COLOURS)}
)


def full(value: Any) -> Any:
    """`value` as a parameter that only the full run takes."""
    return pytest.param(value, marks=pytest.mark.full)


def worlds(kinds: Iterable[str]) -> list[Any]:
    """Return ``kind-colour`` for each kind in both colours; those beyond the quick ones are marked."""
    names = [f"{kind}-{colour}" for kind in kinds for colour in COLOURS]
    return [name if name in _QUICK else full(name) for name in names]


def several(kinds: Iterable[str]) -> list[Any]:
    """Return the kinds; of the servers all but the first, and the backend object, are marked."""
    return [full(kind) if kind == "object" or kind in SERVERS[1:] else kind for kind in kinds]


def each_server() -> list[Any]:
    """Return the kinds of server, all but the first marked; one parameter that is skipped where there is none."""
    return several(SERVERS) or [pytest.param("none", marks=pytest.mark.skip("no server"))]
