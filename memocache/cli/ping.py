"""``memocache ping``: does the backend answer, and does it keep what it is given?"""

from __future__ import annotations

from memocache import Cache
from memocache.cli._common import Failure, UrlOption, check_there, console, where


def ping(url: UrlOption = "memory://") -> None:
    """Ask the backend whether it works. A probe key is written, read and deleted."""
    with Cache(url) as cache:
        check_there(cache, url)
        health = cache.health()
        if health.ok:
            health = cache.health()  # the first one connected, too
    if not health.ok:
        raise Failure(f"{where(url)} is not healthy: {health.detail}")
    came = "the probe key came back" if health.roundtrip_ok else health.detail
    console().print(f"{where(url)} is healthy: answered in {health.latency_ms:.2f} ms, {came}")
