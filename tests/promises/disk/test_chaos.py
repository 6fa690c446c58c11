"""Processes that are killed at random moments while they use one store; see `tests.promises.disk.hammer`.

``MEMOCACHE_HAMMER_SECONDS=60`` makes it as long as one wants, ``MEMOCACHE_HAMMER_SEED`` another run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SECONDS = float(os.environ.get("MEMOCACHE_HAMMER_SECONDS", "4"))
SEED = os.environ.get("MEMOCACHE_HAMMER_SEED", "1")


def test_killed_processes_leave_no_wrong_value(directory: str) -> None:
    """8 processes of 4 threads call, invalidate and are killed: no value is torn, another key's, or older than an
    invalidation that had returned; nobody dies of anything else; the store opens afterwards and was never set aside.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.promises.disk.hammer", directory, str(SECONDS), SEED],
        capture_output=True,
        text=True,
        timeout=SECONDS + 120,
        cwd=Path(__file__).parents[3],
    )
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert report["wrong"] == []
    assert report["died"] == 0
    assert report["set_aside"] is False
    assert report["kills"] > 0
    assert report["calls"] > 0
    assert report["invalidations"] > 0
