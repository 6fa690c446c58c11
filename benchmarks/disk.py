"""A store on the local disk beside others: small hits, an array of 100 MB, and stores that grow."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks._loops import contender, sync_loop
from benchmarks._measure import Bench, Contender, Panel, Sample, Suite
from benchmarks._peers import on_disk
from benchmarks.hit_server import record

_BATCH = 10_000


def _hit(name: str, label: str) -> Contender:
    @contender(label, peer=name != "memocache")
    def setup(bench: Bench) -> Iterator[Sample]:
        with on_disk[name]() as decorate:
            yield sync_loop(decorate(record))

    return setup


@contender("diskcache get", peer=True)
def _diskcache_get(bench: Bench) -> Iterator[Sample]:
    import diskcache

    with tempfile.TemporaryDirectory() as directory, diskcache.Cache(directory) as cache:

        def get(key: int) -> Any:
            found = cache.get(key)
            if found is None:
                cache.set(key, found := record(key), expire=3_600)
            return found

        yield sync_loop(get)


def _array(name: str) -> Contender:
    @contender(name, peer=name != "memocache")
    def setup(bench: Bench) -> Iterator[Sample]:
        import numpy as np

        length = bench.effort.pick(full=100_000_000, quick=100_000_000, tiny=2_000_000) // 8

        def compute(seed: int) -> Any:
            return np.random.default_rng(seed).random(length)

        with on_disk[name]() as decorate:
            function: Callable[[int], Any] = decorate(compute)
            function(1)

            def sample(number: int) -> float:
                start = time.perf_counter()
                for _ in range(number):
                    # every page is read: a map that nobody looks into would cost nothing
                    function(1)[::512].sum()
                return (time.perf_counter() - start) / number

            yield sample

    return setup


def _grown(entries: int) -> Contender:
    @contender(f"{entries:,} entries")
    def setup(bench: Bench) -> Iterator[Sample]:
        from memocache import Cache

        with tempfile.TemporaryDirectory() as directory, Cache(f"disk://{directory}/cache?max_bytes=30GB") as cache:
            for start in range(0, entries, _BATCH):
                cache.set_many({f"k{n}": record(n) for n in range(start, min(entries, start + _BATCH))})
            draw = random.Random(entries)

            def sample(number: int) -> float:
                keys = [f"k{draw.randrange(entries)}" for _ in range(number)]
                start = time.perf_counter()
                for key in keys:
                    cache.get(key)
                return (time.perf_counter() - start) / number

            yield sample

    return setup


def _panels(bench: Bench) -> Iterator[Panel]:
    yield Panel(
        "hit, one caller",
        base="memocache",
        contenders=(
            _hit("diskcache", "diskcache memoize"),
            _diskcache_get,
            _hit("memocache", "memocache"),
            _hit("joblib", "joblib"),
            _hit("cachier", "cachier"),
        ),
        rounds=9,
    )
    yield Panel(
        "array of 100 MB",
        base="memocache",
        contenders=(_array("joblib"), _array("memocache"), _array("diskcache")),
        rounds=9,
    )
    powers = bench.effort.pick(full=(3, 4, 5, 6), quick=(3, 4, 5), tiny=(1, 2))
    yield Panel(
        "get of a random key, by entries in the store",
        base=f"{10 ** powers[0]:,} entries",
        contenders=tuple(_grown(10**power) for power in powers),
        rounds=9,
    )


SUITE = Suite(
    name="disk",
    about="a store on the local disk: small hits, an array of 100 MB, and stores of more and more entries",
    counted="time of one hit, the file system's cache being warm; of arrays, with a look at every page",
    panels=_panels,
)
