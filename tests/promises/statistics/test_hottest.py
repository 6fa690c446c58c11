"""`most_accessed_keys` on real traces: the true top 20, in the process, beside a server, and of the fleet."""

from __future__ import annotations

import lzma
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from memocache import Cache
from memocache._stores.memory.space_saving import SpaceSaving
from memocache.backends.memory import MemoryBackend
from memocache.typing import Tally

TRACES = Path(__file__).parents[4] / "shared" / "traces"
NAMES = ("web07", "web12", "orm-busy", "orm-night")
REQUESTS = 100_000  # web07 and web12 whole
TOP = 20


@pytest.fixture(params=NAMES)
def trace(request: pytest.FixtureRequest) -> list[int]:
    """The first 100,000 requests of a trace."""
    path = TRACES / f"{request.param}.trace.xz"
    if not path.exists():
        pytest.skip(f"no trace {request.param} on this machine")
    with lzma.open(path) as file:
        keys = array("i", file.read(4 * REQUESTS))
    keys.byteswap()
    return keys.tolist()


def recall(found: list[str], trace: list[int], shown: Any) -> float:
    """The share of the true top 20 that was found; keys as hot as the twentieth are as good as it."""
    counts = Counter(trace)
    least = counts.most_common(TOP)[-1][1]
    good = {shown(key) for key, count in counts.items() if count >= least}
    assert len(found) == TOP == len(set(found))
    return len(good.intersection(found)) / TOP


def test_in_the_process(trace: list[int]) -> None:
    """2,000 entries in the process, most keys evicted again and again."""
    cache = Cache("memory://?maxsize=2000")

    @cache.cached(name="f", ttl=None)
    def f(n: int) -> int:
        return n

    for key in trace:
        f(key)
    assert recall(cache.stats().most_accessed_keys, trace, f.key_for) >= 0.95


def test_beside_a_server(trace: list[int]) -> None:
    """What a process counts of hits on a server, sent every 5,000 hits, is in its figures and the fleet's."""
    cache = Cache(MemoryBackend())
    f = cache.cached(name="f")(lambda n: n)
    _replay(cache, f, trace)
    assert recall(cache.stats("process").most_accessed_keys, trace, f.key_for) >= 0.95
    assert recall(cache.stats("fleet").most_accessed_keys, trace, f.key_for) >= 0.95


def test_of_a_fleet(trace: list[int]) -> None:
    """Two processes with half of the requests each: a third sees the hottest keys of both together."""
    backend = MemoryBackend()
    caches = [Cache(backend) for _ in range(2)]
    functions = [cache.cached(name="f")(lambda n: n) for cache in caches]
    for cache, f, part in zip(caches, functions, (trace[::2], trace[1::2]), strict=True):
        _replay(cache, f, part)
    found = Cache(backend).stats("fleet").most_accessed_keys
    assert recall(found, trace, functions[0].key_for) >= 0.95


def _replay(cache: Cache, f: Any, trace: list[int]) -> None:
    tallies: Any = cache._operations.statistics._reporter
    tallies.thread = object()  # the flushes are the test's
    key_for = {key: f.key_for(key) for key in set(trace)}
    for at in range(0, len(trace), 5000):
        for key in trace[at : at + 5000]:
            tallies.touch((key_for[key],))
        tallies.flush()


def test_real_hits_on_a_backend() -> None:
    """Hits of real calls, and of plain keys, are in the figures, hottest first, as users know the keys."""
    cache = Cache(MemoryBackend())

    @cache.cached(name="f")
    def f(n: int) -> int:
        return n

    cache.set("plain:key", 1)
    for n in range(8):
        for _ in range(2 * n + 1):
            f(n)
    for _ in range(3):
        cache.get("plain:key")
    expected = [f.key_for(n) for n in (7, 6, 5, 4, 3, 2)]
    expected.insert(5, "plain:key")
    for scope in ("process", "fleet"):
        found = cache.stats(scope).most_accessed_keys  # type: ignore[arg-type]  # a literal
        assert found[:5] == expected[:5]
        assert found.index("plain:key") < found.index(f.key_for(1)) == 7


def test_space_saving_keeps_its_bounds() -> None:
    """Counts are never too low, what is sure is never too high, and both are off by at most n / counters."""
    heavy: SpaceSaving[int] = SpaceSaving(16)
    true: Counter[int] = Counter()
    for step in range(20_000):
        key = (step * step) % 37 if step % 3 else step
        heavy.add(key)
        true[key] += 1
    assert len(heavy.counts) == 16
    for key, count in heavy.counts.items():
        assert heavy.sure(key) <= true[key] <= count
        assert count - heavy.sure(key) <= heavy.floor <= 20_000 / 16
    assert all(key in heavy.counts for key, count in true.items() if count > 20_000 / 16)


class Recorder(MemoryBackend):
    """Remembers the tallies of each request, and does nothing else with them."""

    def __init__(self) -> None:
        super().__init__()
        self.tallied: list[Sequence[Tally]] = []

    def tally(self, tallies: Sequence[Tally], *, timeout: float | None = None) -> None:
        self.tallied.append(tallies)


@pytest.fixture
def recorded() -> Iterator[tuple[Any, Recorder]]:
    """The tallies of a cache whose flushes are the test's, and where they go."""
    backend = Recorder()
    cache = Cache(backend)
    tallies: Any = cache._operations.statistics._reporter
    tallies.thread = object()
    yield tallies, backend
    del cache  # until here: a cache that is dropped flushes what it has, in a thread


def test_the_hash_of_hot_keys_stays_small(recorded: tuple[Any, Recorder]) -> None:
    """Fifty thousand keys that are hit once each do not get into what the fleet adds up; the one hot key does."""
    tallies, backend = recorded
    hot = "memo:e:f:" + "f" * 32
    for n in range(50_000):
        tallies.touch((f"memo:e:f:{n:032x}",))
        if n % 5 == 0:
            tallies.touch((hot,))
        if n % 500 == 499:
            tallies.flush()
    sent: Counter[str] = Counter()
    for batch in backend.tallied:
        for one in batch:
            if ":s:h:" in one.key:
                sent.update(one.adds)
    assert len(sent) <= 4096
    assert 10_000 - 2 * 60_000 / 4096 <= sent[hot] <= 10_000


def test_a_flush_carries_so_many_keys_at_most(recorded: tuple[Any, Recorder]) -> None:
    """More keys than one flush takes wait for the next, and none is lost or sent twice."""
    tallies, backend = recorded
    for n in range(50_000):
        tallies.touch((f"memo:e:f:{n % 45_000:032x}",))
    while tallies.flush():
        pass
    sizes = [[one.adds["n"] for one in batch if ":a:" in one.key] for batch in backend.tallied]
    assert [len(size) for size in sizes] == [20_000, 20_000, 5_000]
    assert sum(map(sum, sizes)) == 50_000
