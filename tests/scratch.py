"""Directories for stores on disk: in memory where the machine has such a place, so that the tests cost no disk."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

_IN_MEMORY = "/dev/shm"


def scratch() -> str:
    """A new directory; whoever asked removes it.

    A cache's own threads may use a closed backend once more, which makes its directory again: what is left at the end
    of the process goes then.
    """
    there = os.path.isdir(_IN_MEMORY) and os.access(_IN_MEMORY, os.W_OK)
    made = os.path.realpath(tempfile.mkdtemp(prefix="memocache-", dir=_IN_MEMORY if there else None))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made
