"""A load in a process of its own, until it is ended: ``python -m tests.dashboard.load URL``."""

from __future__ import annotations

import itertools
import sys
import time

from memocache import Cache

FUNCTIONS = ("shop.price", "shop.report", "users.profile", "search.facets")


def main(url: str) -> None:
    """Call each function some hundred times a second."""
    cache = Cache(f"{url}?timeout=30")

    def made(name: str) -> object:
        return cache.cached(ttl="5m", name=name, tags="item:{item}")(lambda item: time.sleep(0.002) or item)

    functions = [made(name) for name in FUNCTIONS]
    for turn in itertools.count():
        for at, function in enumerate(functions):
            if turn % (at + 1) == 0:
                function(turn % 40)  # type: ignore[operator]
        time.sleep(0.005)


if __name__ == "__main__":
    main(sys.argv[1])
