"""A directory for a store, and scripts that other processes run on it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.patience import patient  # noqa: F401  # autouse
from tests.scratch import scratch


@pytest.fixture
def directory() -> Iterator[str]:
    """An empty directory, gone after the test."""
    made = scratch()
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def spawn() -> Iterator[Callable[..., Any]]:
    """A function that starts a script with arguments and waits for its first line; its process is killed at the end."""
    running: list[subprocess.Popen[str]] = []

    def start(script: str, *args: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", script, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()
