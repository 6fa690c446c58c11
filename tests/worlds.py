"""Which backends and colours the suites that run everywhere run on: clusters and sentinels cost a minute in full."""

from __future__ import annotations

import os
from collections.abc import Iterable

from memocache.testing import servers

COLOURS = ("sync", "async")
TIERED = ["tiered"] if servers.available_servers() else []
"""The kind of a server with copies held in the process."""
FLEETS = {"cluster": "async", "sentinel": "sync"} if servers.available_servers() else {}
"""Kinds of many servers, and the colour that stands for both where time counts."""


def worlds(kinds: Iterable[str]) -> list[str]:
    """``kind-colour`` for each kind in both colours; for fleets in one, but with ``MEMOCACHE_WORLDS=all`` in both."""
    everything = os.environ.get("MEMOCACHE_WORLDS") == "all"
    return [
        f"{kind}-{colour}" for kind in kinds for colour in COLOURS if everything or FLEETS.get(kind, colour) == colour
    ]
