"""Functions of an imagined shop, for the commands to look at; `busy` calls them."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from memocache import cached, configure, default_cache
from tests.patience import be_patient


@cached(ttl="5m", exclude=("trace",), tags=("item:{item}",), name="shop.price")
def price(item: int, currency: str = "EUR", *, trace: str = "") -> float:
    return item * 1.19


@cached(ttl="1h", name="shop.report")
def report(month: int) -> list[int]:
    return list(range(month * 100))


@cached(ttl="1h", idle="10m", stream=True, name="shop.tokens")
def tokens(prompt: str) -> Iterator[str]:
    yield from prompt.split()


def plain(item: int) -> int:
    return item


def busy(url: str, prefix: str = "memo") -> None:
    """Make entries and figures."""
    with configure(url, prefix=prefix):
        for n in range(60):
            price(n % 8)
            report(n % 30)
        default_cache().set("banner", "hello")
        default_cache().stats("fleet")  # sends what was counted


if __name__ == "__main__":
    be_patient()
    busy(sys.argv[1])
