"""A store on the local disk beside others: what a hit costs, what takes 100 MB, and stores of more entries."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks._loops import KEYS, contender, sync_loop
from benchmarks._measure import Bench, Broken, Contender, Panel, Sample, Suite
from benchmarks._peers import OURS, TTL, Decorator, on_disk
from benchmarks.hit_server import record, stored

_BATCH = 10_000
_WARM = 20_000
_PATIENCE = 60.0
"""Seconds that a batch may take to be stored."""
GROWN = "hit on a random entry, by entries in the store"


def _hit(name: str) -> Contender:
    @contender("diskcache memoize" if name == "diskcache" else name, peer=name not in OURS)
    def setup(bench: Bench) -> Iterator[Sample]:
        with on_disk[name]() as decorate:
            yield sync_loop(decorate(record))

    return setup


@contender("diskcache get", peer=True)
def _diskcache_get(bench: Bench) -> Iterator[Sample]:
    import diskcache

    with tempfile.TemporaryDirectory() as directory, diskcache.Cache(directory) as cache:
        for key in KEYS:
            cache.set(key, record(key), expire=TTL)
        yield sync_loop(cache.get)


@contender("read of one file")
def _file(bench: Bench) -> Iterator[Sample]:
    import msgpack

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "entry")
        path.write_bytes(stored(1))
        yield sync_loop(lambda key: msgpack.unpackb(path.read_bytes()))


def _length(bench: Bench) -> int:
    """Numbers in what is large."""
    return bench.effort.pick(full=100_000_000, quick=100_000_000, tiny=2_000_000) // 8


def _array(seed: int, length: int) -> Any:
    import numpy as np

    return np.random.default_rng(seed).random(length)


def _tensor(seed: int, length: int) -> Any:
    import torch

    return torch.from_numpy(_array(seed, length))


def _table(seed: int, length: int) -> Any:
    import pyarrow as pa

    return pa.table(dict(zip("abcdefghij", _array(seed, length).reshape(10, -1), strict=True)))


def _look(value: Any) -> None:
    """Read every page: a map that nobody looks into would cost nothing."""
    if not hasattr(value, "columns"):
        value[::512].sum()
        return
    for column in value.columns:
        for chunk in column.chunks:
            chunk.to_numpy()[::512].sum()


def _large(name: str, make: Callable[[int, int], Any], decorator: Callable[[], Any]) -> Contender:
    @contender(name, peer=name != "memocache")
    def setup(bench: Bench) -> Iterator[Sample]:
        length = _length(bench)

        def compute(seed: int) -> Any:
            return make(seed, length)

        with decorator() as decorate:
            function: Callable[[int], Any] = decorate(compute)
            function(1)
            yield _looked(lambda: function(1))

    return setup


def _looked(read: Callable[[], Any]) -> Sample:
    def sample(number: int) -> float:
        start = time.perf_counter()
        for _ in range(number):
            _look(read())
        return (time.perf_counter() - start) / number

    return sample


@contender("its IPC file, mapped")
def _mapped_table(bench: Bench) -> Iterator[Sample]:
    import pyarrow as pa

    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory, "table.arrow"))
        table = _table(1, _length(bench))
        with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)

        def read() -> Any:
            with pa.memory_map(path) as file:
                return pa.ipc.open_file(file).read_all()

        yield _looked(read)


def _joblib_mapped() -> Any:
    """joblib told to map arrays, which it does for all callers alike: read-only."""
    from contextlib import contextmanager

    @contextmanager
    def mapped() -> Iterator[Decorator]:
        import joblib

        with tempfile.TemporaryDirectory() as directory:
            yield joblib.Memory(directory, mmap_mode="r", verbose=0).cache

    return mapped()


def _refuse(number: int) -> int:
    raise Broken(f"it computed {number}, which is stored")


def _grown(entries: int) -> Contender:
    @contender(f"{entries:,} entries")
    def setup(bench: Bench) -> Iterator[Sample]:
        from memocache import Cache
        from memocache._runtime.budget import Budget
        from memocache._runtime.drivers import run
        from memocache._runtime.outcome import Outcome
        from memocache._stores.store import Record

        with tempfile.TemporaryDirectory() as directory, Cache(f"disk://{directory}/cache?max_bytes=30GB") as cache:
            function = cache.cached(ttl="30d")(_refuse)
            # in large transactions, which no public function offers for the entries of a function
            _, binding = function._self_state.bound()  # type: ignore[attr-defined]  # not for users
            for start in range(0, entries, _BATCH):
                places = [binding.address((n,)) for n in range(start, min(entries, start + _BATCH))]
                address, store = places[0]
                address.budget = Budget(_PATIENCE)
                run(
                    store.put_many([(address, Record(Outcome(n), TTL)) for n, (address, _) in enumerate(places, start)])
                )
            draw = random.Random(entries)

            def sample(number: int) -> float:
                keys = [draw.randrange(entries) for _ in range(number)]
                # nothing is waited for as long as the pages are in memory, and a busy machine would hide the slope; of
                # this thread: accesses of so many entries are reported by others, once a second
                start = time.thread_time()
                for key in keys:
                    function(key)
                return (time.thread_time() - start) / number

            if function(entries - 1) != entries - 1:
                raise Broken("it returned another's value")
            sample(min(entries, _WARM))
            yield sample

    return setup


def _panels(bench: Bench) -> Iterator[Panel]:
    yield Panel(
        "hit, one caller",
        base="memocache",
        contenders=(_hit("diskcache"), _diskcache_get, _hit("memocache"), _hit("joblib"), _hit("cachier"), _file),
        rounds=15,
    )
    yield Panel(
        "array of 100 MB",
        base="memocache",
        contenders=(
            _large("joblib", _array, on_disk["joblib"]),
            _large("memocache", _array, on_disk["memocache"]),
            _large("joblib, mmap_mode='r'", _array, _joblib_mapped),
            _large("diskcache", _array, on_disk["diskcache"]),
        ),
        rounds=9,
    )
    yield Panel(
        "tensor of 100 MB",
        base="memocache",
        contenders=(_large("joblib", _tensor, on_disk["joblib"]), _large("memocache", _tensor, on_disk["memocache"])),
        rounds=9,
    )
    yield Panel(
        "Arrow table of 100 MB",
        base="its IPC file, mapped",
        contenders=(
            _mapped_table,
            _large("memocache", _table, on_disk["memocache"]),
            _large("joblib", _table, on_disk["joblib"]),
        ),
        rounds=9,
    )
    least = bench.effort.pick(full=1_000, quick=1_000, tiny=10)
    most = bench.entries or bench.effort.pick(full=1_000_000, quick=100_000, tiny=100)
    sizes = [10**power for power in range(1, 10) if least <= 10**power <= most]
    yield Panel(GROWN, base=f"{least:,} entries", contenders=tuple(map(_grown, sizes)))


SUITE = Suite(
    name="disk",
    about="a store on the local disk: small hits, arrays and tables of 100 MB, and stores of more and more entries",
    counted="time of one hit, the file system's cache being warm; of what is large, with a look at every page; by "
    "entries, processor time of the calling thread",
    panels=_panels,
)
