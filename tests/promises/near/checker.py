"""The checker: how long after an invalidation elsewhere a stale answer is served.

``python -m tests.promises.near.checker --invalidations 10000 --kills`` runs two processes that call a cached function
without
pause, and invalidates its entries in a third. Each answer is the version that was true when it was computed. An answer
that begins after the invalidation of a later version returned is stale by the time in between; an invalidation's
staleness is that of the stalest such answer in any process, or nothing. With ``--kills``, connections that track are
ended all the while, on a seeded schedule.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import threading
import time
from typing import Any, NamedTuple

from memocache import Cache
from memocache.testing import servers

KEYS = 16
READERS = 2


class Report(NamedTuple):
    """Seconds of staleness by invalidation, ascending; answers in all, and how many of them the backend was not asked
    for; connections ended.
    """

    staleness: list[float]
    answers: int
    copies: int
    kills: int

    def quantile(self, share: float) -> float:
        """The staleness that `share` of the invalidations do not exceed."""
        return self.staleness[min(len(self.staleness) - 1, int(share * len(self.staleness)))]


class Board:
    """What the processes know of each other, in shared memory: clocks are the machine's, the same in all."""

    def __init__(self, versions: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.versions = versions
        self.true = context.Array("q", KEYS, lock=False)
        # when the invalidation of a version returned, by key and version
        self.returned = context.Array("d", KEYS * (versions + 1), lock=False)
        self.stale = [context.Array("d", KEYS * (versions + 1), lock=False) for _ in range(READERS)]
        self.answers = context.Array("q", READERS, lock=False)
        self.copies = context.Array("q", READERS, lock=False)
        self.ready = context.Semaphore(0)
        self.end = context.Event()


def function(cache: Cache, board: Board) -> Any:
    """The function that all processes share: the version that is true."""

    @cache.cached(name="truth", ttl=600, tags=["tag:{key}"])
    def truth(key: int) -> int:
        return int(board.true[key])

    return truth


def read(url: str, number: int, board: Board) -> None:
    """A process that calls."""
    with Cache(url, local=1000) as cache:
        truth, monotonic = function(cache, board), time.monotonic
        asked = [0]
        backend: Any = cache._guard.backend  # type: ignore[union-attr]  # it has one
        honest = backend.read

        def counting(*args: Any, **kwargs: Any) -> Any:
            asked[0] += 1
            return honest(*args, **kwargs)

        backend.read = counting
        truth(0)
        board.ready.release()
        answers, stale, returned, versions = 0, board.stale[number], board.returned, board.versions
        while not board.end.is_set():
            for _ in range(20):
                for key in range(KEYS):
                    begun = monotonic()
                    missed = key * (versions + 1) + truth(key) + 1
                    answers += 1
                    at = returned[missed] if missed < (key + 1) * (versions + 1) else 0.0
                    if 0.0 < at < begun and begun - at > stale[missed]:
                        stale[missed] = begun - at
            # the processes and the server take turns on a machine with few cores
            time.sleep(0.0005)
        board.answers[number] = answers
        board.copies[number] = answers - asked[0]


def kill_trackers(client: Any) -> int:
    """End every connection that tracks; how many."""
    doomed = [one["id"] for one in client.client_list() if "t" in one["flags"] or "B" in one["flags"]]
    for one in doomed:
        client.client_kill_filter(_id=one)
    return len(doomed)


def check(url: str, client: Any, invalidations: int, *, kills: bool, seed: int, after: float = 3.0) -> Report:
    """Run the processes, and for `after` seconds more than there are invalidations; the report."""
    board = Board(-(-invalidations // KEYS))
    context = multiprocessing.get_context("spawn")
    readers = [context.Process(target=read, args=(url, number, board)) for number in range(READERS)]
    killed, rng = [0], random.Random(seed)

    def kill() -> None:
        while not board.end.wait(rng.uniform(0.1, 1.0)):
            killed[0] += kill_trackers(client)

    try:
        for reader in readers:
            reader.start()
        for _ in readers:
            assert board.ready.acquire(timeout=60), "a reader did not begin"
        killer = threading.Thread(target=kill, daemon=True)
        if kills:
            killer.start()
        with Cache(f"{url}?timeout=5&connect_timeout=5") as cache:
            truth = function(cache, board)
            for number in range(invalidations):
                version, key = divmod(number, KEYS)
                board.true[key] = version + 1
                way = rng.randrange(20)
                if way == 0:
                    truth.invalidate_all()
                elif way < 6:
                    cache.invalidate(tag=f"tag:{key}")
                else:
                    truth.invalidate(key)
                board.returned[key * (board.versions + 1) + version + 1] = time.monotonic()
                time.sleep(rng.uniform(0.0, 0.004))
            time.sleep(after)  # for stale answers that should not come
    finally:
        board.end.set()
        for reader in readers:
            if reader.pid is not None:
                reader.join(30)
                reader.kill()
    places = [
        key * (board.versions + 1) + version + 1
        for version, key in (divmod(number, KEYS) for number in range(invalidations))
    ]
    staleness = sorted(max(stale[place] for stale in board.stale) for place in places)
    return Report(staleness, sum(board.answers), sum(board.copies), killed[0])


def main() -> None:
    """Run it and print the figures; exit with 1 where they are not as promised."""
    parser = argparse.ArgumentParser(description="staleness after an invalidation elsewhere")
    parser.add_argument("--invalidations", type=int, default=10_000)
    parser.add_argument("--kills", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--server", default=servers.available_servers()[0])
    options = parser.parse_args()
    with servers.start(options.server) as server, server.client() as client:
        report = check(server.url, client, options.invalidations, kills=options.kills, seed=options.seed)
    print(
        f"{options.server}: {len(report.staleness)} invalidations, {report.answers} answers, "
        f"{report.copies / report.answers:.1%} of them copies, {report.kills} tracking connections ended"
    )
    for name, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)):
        print(f"{name:6} {report.quantile(share) * 1000:9.3f} ms")
    sys.exit(report.quantile(0.999) > 1.0 or (options.kills and report.staleness[-1] > 1.0))


if __name__ == "__main__":
    main()
