"""Directories for stores on disk: in memory where the machine has such a place, so that the tests cost no disk."""

from __future__ import annotations

import os
import tempfile

_IN_MEMORY = "/dev/shm"


def scratch() -> str:
    """A new directory; whoever asked removes it."""
    there = os.path.isdir(_IN_MEMORY) and os.access(_IN_MEMORY, os.W_OK)
    return os.path.realpath(tempfile.mkdtemp(prefix="memocache-", dir=_IN_MEMORY if there else None))
