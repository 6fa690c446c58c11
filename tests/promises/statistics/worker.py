"""A process that calls: ``python -m tests.promises.statistics.worker URL CALLS KEYS``.

It calls ``fleet.f`` `CALLS` times over `KEYS` arguments and prints how many calls it made; each line on its standard
input means another round, the end of it the end.
"""

from __future__ import annotations

import sys

from memocache import Cache
from tests.patience import be_patient, unhurried


def main() -> None:
    url, calls, keys = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    be_patient()
    cache = Cache(unhurried(url))

    @cache.cached(name="fleet.f")
    def f(n: int) -> int:
        return n

    at = 0
    while True:
        for n in range(at, at + calls):
            f(n % keys)
        at += calls
        print(at, flush=True)
        if not sys.stdin.readline():
            return


if __name__ == "__main__":
    main()
