"""What a hit costs on the local disk."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks._loops import contender, sync_loop
from benchmarks._measure import Bench, Contender, Panel, Sample, Suite
from benchmarks._peers import OURS, on_disk
from benchmarks.hit_server import record, stored


@contender("read of one file")
def _file(bench: Bench) -> Iterator[Sample]:
    import tempfile
    from pathlib import Path

    import msgpack

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "entry")
        path.write_bytes(stored(1))
        yield sync_loop(lambda key: msgpack.unpackb(path.read_bytes()))


def _contender(name: str) -> Contender:
    @contender(name, peer=name not in OURS)
    def setup(bench: Bench) -> Iterator[Sample]:
        with on_disk[name]() as decorate:
            yield sync_loop(decorate(record))

    return setup


def _panels(bench: Bench) -> Iterator[Panel]:
    names = list(on_disk)
    yield Panel(
        "sync, one caller",
        base="read of one file",
        contenders=(_file, *map(_contender, bench.effort.pick(full=names, quick=names[:3], tiny=names))),
        rounds=9,
    )


SUITE = Suite(
    name="hit-disk",
    about="a hit on the local disk, beside reading one small file",
    counted="time of one hit, the file system's cache being warm",
    panels=_panels,
)
