"""Two processes, one cache: a shop that serves, and an operator who looks in and invalidates by name.

::

    python docs/examples/two_processes.py                       # starts a server of its own
    python docs/examples/two_processes.py redis://localhost/0   # or uses yours, under a prefix of its own

The shop decorates its functions and calls them. The operator is another process: it never imports the shop's functions
and knows the cache by URL and prefix alone. On a server of yours the figures of several runs add up.
"""

from __future__ import annotations

import subprocess
import sys
import time

from memocache import Cache
from memocache.testing import servers

PREFIX = "two-processes"


def main(url: str) -> None:
    """The shop: decorates, serves, and has the operator called in between."""
    with Cache(url, prefix=PREFIX, default_ttl="10m") as cache:
        cache.clear()
        computed: list[int] = []

        @cache.cached(name="shop.price", tags=("article:{article}",))
        def price(article: int) -> float:
            time.sleep(0.02)  # a database, say
            computed.append(article)
            return 9.99 + article

        @cache.cached(name="shop.stock", tags=("article:{article}",))
        def stock(article: int) -> int:
            computed.append(article)
            return article * 3

        def serve() -> None:
            """Every article's price, the first one's again and again, and one look at the stock."""
            computed.clear()
            for article in (1, 2, 3, 1, 1, 1):
                price(article)
            stock(1)
            say("shop", f"7 calls served, {len(computed)} computed")

        serve()
        serve()
        cache.stats("fleet")  # sends what this process counted, which otherwise happens once a second
        operator(url, "look")
        operator(url, "invalidate", "shop.price")
        serve()
        operator(url, "invalidate-tag", "article:1")
        serve()
        operator(url, "invalidate", "shop.*")
        serve()
        cache.stats("fleet")
        operator(url, "look")
        cache.clear()
        cache.purge()


def operator(url: str, *words: str) -> None:
    """Have the other process do something."""
    sys.stdout.flush()
    subprocess.run([sys.executable, __file__, "--operator", url, *words], check=True)


def operate(url: str, what: str, *names: str) -> None:
    """The operator: reads the fleet's statistics, or makes every process forget."""
    with Cache(url, prefix=PREFIX) as cache:
        if what == "invalidate":
            cache.invalidate(names[0])
            say("operator", f'cache.invalidate("{names[0]}")')
        elif what == "invalidate-tag":
            cache.invalidate(tag=names[0])
            say("operator", f'cache.invalidate(tag="{names[0]}")')
        else:
            look(cache)


def look(cache: Cache) -> None:
    """Print what the fleet's statistics say."""
    stats = cache.stats("fleet")
    say("operator", f"{stats.total_keys} keys, {stats.hits} hits, {stats.misses} misses, hit rate {stats.hit_rate:.0%}")
    for name, function in stats.functions.items():
        saved = f"{function.saved_seconds:.2f} s saved" if function.saved_seconds >= 0.01 else "nothing much saved"
        say("operator", f"  {name}: {function.hits} hits, {function.misses} misses, {saved}")
    info = cache.inspect(stats.most_accessed_keys[0])
    if info is not None:
        accesses = f"{info.access_count} accesses, {info.size_bytes} bytes"
        say("operator", f"  hottest: an entry of {info.function}, {accesses}")


def say(who: str, what: str) -> None:
    """Print a line."""
    print(f"{who:>8}: {what}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--operator"]:
        operate(*sys.argv[2:])
    elif sys.argv[1:]:
        main(sys.argv[1])
    elif kinds := servers.available_servers():
        with servers.start(kinds[0]) as server:
            main(server.url)
    else:
        sys.exit(f"there is no valkey-server or redis-server to start here; try {sys.argv[0]} redis://localhost/0")
