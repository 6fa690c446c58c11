"""Workers that share results, and computations: a pool of processes over one backend. Celery tasks are the same.

``python workers.py redis://localhost:6379/0`` (or ``disk:///tmp/cache``). Eight workers ask for four reports; each
report is computed once, whoever asks first.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time

from memocache import cached, configure, default_cache


@cached(ttl="1h", name="workers.report")
def report(month: int) -> tuple[int, int]:
    """The expensive part; says which process did it."""
    time.sleep(0.2)
    return month, os.getpid()


def setup(url: str) -> None:
    """Once per worker: Celery has the signal `worker_process_init` for this."""
    configure(url)


def task(month: int) -> tuple[int, int]:
    """What a worker is asked to do: ``@app.task`` goes here, above a cached function and not below it."""
    return report(month)


def main(url: str) -> None:
    """Ask eight workers for every report twice, and say who computed what."""
    setup(url)
    default_cache().invalidate("workers.report")
    with multiprocessing.get_context("spawn").Pool(8, setup, (url,)) as pool:
        answers = pool.map(task, [1, 2, 3, 4] * 4, chunksize=1)
    computed = {month: {pid for which, pid in answers if which == month} for month, _ in answers}
    for month, pids in sorted(computed.items()):
        print(f"report {month}: computed by {len(pids)} process, served {sum(m == month for m, _ in answers)} times")


if __name__ == "__main__":
    main(sys.argv[1])
