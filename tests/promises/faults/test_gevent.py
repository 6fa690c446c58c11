"""Where gevent is installed: `gevent.Timeout`, a BaseException, in the middle of calls of a monkey-patched program."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memocache.testing.servers import Server
from tests.promises.faults.rig import share

pytest.importorskip("gevent", reason="gevent is not installed")
HERE = Path(__file__).parent


def outcome(server: Server, calls: int, *arguments: str) -> dict[str, int]:
    """What `gevent_program.py` counted."""
    program = [sys.executable, str(HERE / "gevent_program.py"), server.url, str(calls), *arguments]
    ended = subprocess.run(program, capture_output=True, timeout=200, text=True, check=False, cwd=HERE.parents[2])
    assert ended.returncode == 0, ended.stderr
    counts: dict[str, int] = json.loads(ended.stdout)
    return counts


def test_39_timeouts_of_greenlets(one_victim: Server, record_property: Callable[[str, Any], None]) -> None:
    """Row 39: calls of 20 greenlets cut short at any moment give 0 wrong values and lose no place in the pool; every
    later call is a hit.
    """
    counts = outcome(one_victim, share(5000, 600))
    figures = {name: counts[name] for name in ("calls", "wrong", "raised")}
    record_property("figures", figures | {"colour": "gevent", "worst": None, "recovery": None})
    assert counts["wrong"] == counts["raised"] == 0
    assert counts["cut"] > counts["calls"] / 20
    assert counts["places"] <= 3
    assert counts["alive"] == 40


def test_a_build_that_keeps_connections_is_caught(one_victim: Server) -> None:
    """Row 39: the same program reads wrong answers where a connection is used again after its call was cut short."""
    counts = outcome(one_victim, 1000, "keep")
    assert counts["wrong"] + counts["raised"] > 0
