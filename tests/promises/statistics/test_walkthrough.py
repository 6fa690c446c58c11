"""The walk-through of the documentation runs, and what it prints is what the documentation promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from memocache.testing import servers
from memocache.testing.servers import Server

SCRIPT = Path(__file__).parents[3] / "docs" / "examples" / "two_processes.py"
EXPECTED = """\
    shop: 7 calls served, 4 computed
    shop: 7 calls served, 0 computed
operator: 4 keys, 10 hits, 4 misses, hit rate 71%
operator:   shop.price: 9 hits, 3 misses, N s saved
operator:   shop.stock: 1 hits, 1 misses, nothing much saved
operator:   hottest: an entry of shop.price, 7 accesses, 9 bytes
operator: cache.invalidate("shop.price")
    shop: 7 calls served, 3 computed
operator: cache.invalidate(tag="article:1")
    shop: 7 calls served, 2 computed
operator: cache.invalidate("shop.*")
    shop: 7 calls served, 4 computed
operator: 4 keys, 22 hits, 13 misses, hit rate 63%
operator:   shop.price: 20 hits, 10 misses, N s saved
operator:   shop.stock: 2 hits, 3 misses, nothing much saved
operator:   hottest: an entry of shop.price, 16 accesses, 9 bytes
"""


def run() -> str:
    """What the program prints; again where a busy machine kept it from its server, so that it computed more."""
    for _ in range(3):
        printed = run_once()
        if printed == EXPECTED:
            break
    return printed


def run_once(*args: str) -> str:
    done = subprocess.run([sys.executable, str(SCRIPT), *args], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines(keepends=True)
    return "".join(f"{line.rsplit(', ', 1)[0]}, N s saved\n" if " s saved" in line else line for line in lines)


@pytest.mark.skipif(not servers.available_servers(), reason="no server on this machine")
def test_it_runs_with_a_server_of_its_own() -> None:
    """Without an argument it starts a server, and shows both processes line by line."""
    assert run() == EXPECTED


def test_it_runs_on_a_given_server_and_cleans_up(valkey: Server) -> None:
    """With a URL it uses that server, and leaves no entry there."""
    for _ in range(3):
        printed = run_once(valkey.url)
        if printed == EXPECTED:
            break
        with valkey.client() as client:
            client.flushall()  # the figures of several runs add up
    assert printed == EXPECTED
    with valkey.client() as client:
        assert list(client.scan_iter("*:[ek]:*")) == []
