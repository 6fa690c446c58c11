"""Every suite runs, with tiny workloads and without other libraries: only the harness and memocache take part."""

from __future__ import annotations

import lzma
import subprocess
import sys
from contextlib import ExitStack

import pytest

from benchmarks import _measure, disk, hit_ratio
from benchmarks._measure import FULL, TINY, Bench, run_panel
from benchmarks._peers import sync_memory
from benchmarks._results import ROOT
from memocache.testing.servers import available_servers
from tests.worlds import full

_SUITES = _measure.suites()
_ON_A_SERVER = {"bulk", "hit-server", "invalidation", "miss", "outage", "stampede"}


@pytest.mark.parametrize("name", [name if name == "memory" else full(name) for name in _SUITES])
def test_a_suite_runs(name: str):
    """Each of its panels gives figures of memocache, or says why there are none."""
    if name in _ON_A_SERVER and not available_servers():
        pytest.skip("no server on this machine")
    with ExitStack() as stack:
        bench = Bench(stack, TINY)
        for panel in _SUITES[name].panels(bench):
            outcome = run_panel(panel, bench, peers=False)
            names = [one.contender for one in outcome.results]
            assert panel.base in names or panel.base in dict(outcome.skipped)
            ours = [one.name for one in panel.contenders if not one.peer]
            assert names + [name for name, _ in outcome.skipped] == ours or set(names) < set(ours)


def test_the_store_grows_as_far_as_is_asked():
    """The largest store that `disk` measures has a million entries, or as many as one says."""
    with ExitStack() as stack:
        for entries, largest in ((None, "1,000,000 entries"), (10_000_000, "10,000,000 entries")):
            *_, grown = disk.SUITE.panels(Bench(stack, FULL, entries=entries))
            assert grown.contenders[0].name == grown.base == "1,000 entries"
            assert grown.contenders[-1].name == largest


def test_traces_are_read_as_they_are_written(tmp_path):
    """Big-endian keys come out as numbers, all or the first of them, and the README's table gives sizes and figures."""
    path = tmp_path / "small.trace.xz"
    with lzma.open(path, "wb") as file:
        file.write(b"".join(number.to_bytes(4, "big") for number in (1, 256, 70_000)))
    assert list(hit_ratio.read_trace(path)) == [1, 256, 70_000]
    assert list(hit_ratio.read_trace(path, 2)) == [1, 256]
    rows = (
        "| trace@size | LRU | S3-FIFO |",
        "| --- | --- | --- |",
        "| small@10 (first 2 M) | 1.5 | 2.5 |",
        "| gone@1 | 1 | 2 |",
    )
    (tmp_path / "README.md").write_text("\n".join(rows), encoding="utf-8")
    assert hit_ratio.traces(tmp_path) == [hit_ratio.Trace(path, 10, 2_000_000, {"LRU": 1.5, "S3-FIFO": 2.5})]


def test_a_hit_ratio_is_exact():
    """Four requests of which two are for what lru_cache holds are 50 percent."""
    assert hit_ratio._ratio(sync_memory["functools.lru_cache"], 1, [1, 1, 2, 2]) == 50.0


def test_importing_the_harness_needs_no_peer():
    """Nothing but what the extra `cli` installs is imported before a contender is set up."""
    code = (
        "import sys, benchmarks._app, benchmarks._measure; benchmarks._measure.suites(); "
        "print([name for name in ('cachetools', 'cashews', 'aiocache', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
