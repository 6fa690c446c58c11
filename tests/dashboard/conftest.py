"""A real headless Chromium, a served dashboard, and a load beside it.

The browser's tests want Playwright (``pip install "memocache[dev]"``) and the system's own Chromium
(``apt-get install chromium``); without them they are skipped, saying so.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
QUIET = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync"


@pytest.fixture(scope="module")  # not longer: while Playwright runs, this thread counts as running an event loop
def browser() -> Iterator[Any]:
    """Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api", reason='Playwright is missing: pip install "memocache[dev]"')
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("Chromium is missing: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=[*QUIET.split(), "--no-first-run"])
        yield chromium
        chromium.close()


@pytest.fixture
def served(url: str) -> Iterator[Callable[..., str]]:
    """A function that runs ``memocache dashboard`` on the test's server and returns its address."""
    running = []

    def serve(*words: str, **env: str) -> str:
        import os

        command = [sys.executable, "-m", "memocache.cli", "dashboard", "--url", f"{url}?timeout=30", "--port", "0"]
        process = subprocess.Popen(
            [*command, *words], cwd=ROOT, env={**os.environ, **env}, stdout=subprocess.PIPE, text=True
        )
        running.append(process)
        assert process.stdout is not None
        found = re.search(r"http://\S+/", process.stdout.readline())
        assert found is not None
        return found[0]

    yield serve
    for process in running:
        process.terminate()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def load(url: str) -> Iterator[subprocess.Popen[bytes]]:
    """A load on the test's server, from another process."""
    process = subprocess.Popen([sys.executable, "-m", "tests.dashboard.load", url], cwd=ROOT)
    yield process
    process.kill()
    process.wait(30)
