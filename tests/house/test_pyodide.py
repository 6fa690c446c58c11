"""Python in a browser: everything that needs neither thread nor server works under Pyodide, from pure wheels.

`MEMOCACHE_PYODIDE` is the folder of the npm package ``pyodide``; without it the package is looked for beside node.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import msgpack
import pytest

import memocache

HERE = Path(__file__).parent
KEPT = ["sync", "async", "cache", "stale", "timeouts"]


def pyodide() -> Path | None:
    """The folder of the npm package, or None."""
    named = os.environ.get("MEMOCACHE_PYODIDE")
    if named:
        return Path(named)
    npm = shutil.which("npm")
    if npm is None:
        return None
    root = subprocess.run([npm, "root", "-g"], capture_output=True, text=True, timeout=60).stdout.strip()
    found = Path(root or "/nowhere") / "pyodide"
    return found if found.is_dir() else None


def test_what_works_in_a_browser() -> None:
    """Sync and async functions, loaders, staleness and the key-value API work; servers are refused in words."""
    node, package = shutil.which("node"), pyodide()
    if node is None or package is None:
        pytest.skip("no node, or no npm package pyodide (MEMOCACHE_PYODIDE names its folder)")
    repository, site = Path(memocache.__file__).parents[1], Path(msgpack.__file__).parents[1]
    words = [node, HERE / "pyodide.mjs", package, repository, site, HERE / "in_a_browser.py"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    refused = [f"refused {scheme} True" for scheme in ("redis", "redis+cluster", "disk")]
    assert done.stdout.splitlines() == [*KEPT, *refused]
