"""Workers that share results, and computations: a pool of processes over one backend. Celery tasks are the same.

``python workers.py`` uses a directory for as long as it runs (extra ``disk``),
``python workers.py redis://localhost:6379/0`` a server. Eight workers ask for four reports; each report is
computed once, whoever asks first.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time

from memocache import cached, configure


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
    with configure(url) as cache, multiprocessing.get_context("spawn").Pool(8, setup, (url,)) as pool:
        cache.invalidate("workers.report")
        answers = pool.map(task, [1, 2, 3, 4] * 4, chunksize=1)
    computed = {month: {pid for which, pid in answers if which == month} for month, _ in answers}
    for month, pids in sorted(computed.items()):
        times = sum(which == month for which, _ in answers)
        print(f"report {month}: computed by {len(pids)} process{'es' * (len(pids) > 1)}, served {times} times")


if __name__ == "__main__":
    if sys.argv[1:]:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as directory:
            main(f"disk://{directory}")
