"""The decision table of docs/freshness.md, row by row, in both colours; rows "led" here and from another process.

What else is pinned of each option, and of all together, stands in `test_freshness` and in
tests/calls/test_freshness.py.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from memocache import MISSING, Cache, ComputeTimeout
from memocache._calls import engine as _engine
from memocache.testing import servers
from tests.promises.behaviour.world import World
from tests.promises.flight.scene import Scene
from tests.promises.flight.support import BOUND, assert_quiet, auntil, join, start, until

TABLE = Path(__file__).parents[3] / "docs" / "freshness.md"
TIMEOUT = 0.05


class Row(NamedTuple):
    """What the caller gets, whether it waits for the computation's end, and what stands in the cache when all is over.

    Values are serial numbers: 1 is the old one, 2 the first computation's, 3 what the caller computes if that failed.
    """

    gets: Any
    waits: bool
    stands: Any
    computations: int = 2


SERVED, REPLACED = Row(gets=1, waits=False, stands=2), Row(gets=2, waits=True, stands=2)
ROWS = {
    "fresh-ok-alone": SERVED,
    "fresh-raises-alone": SERVED._replace(stands=1),
    "fresh-slow-alone": SERVED,
    "fresh-hanging-alone": SERVED,
    "fresh-ok-led": SERVED,
    "fresh-raises-led": SERVED._replace(stands=1),
    "fresh-slow-led": SERVED,
    "fresh-hanging-led": SERVED,
    "stale-ok-alone": SERVED,
    "stale-raises-alone": SERVED._replace(stands=1),
    "stale-slow-alone": SERVED,
    "stale-hanging-alone": SERVED,
    "stale-ok-led": SERVED,
    "stale-raises-led": SERVED._replace(stands=1),
    "stale-slow-led": SERVED,
    "stale-hanging-led": SERVED,
    "kept-ok-alone": REPLACED,
    "kept-raises-alone": Row(gets=1, waits=True, stands=1),
    "kept-slow-alone": SERVED,
    "kept-hanging-alone": SERVED,
    "kept-ok-led": REPLACED,
    "kept-raises-led": Row(gets=1, waits=True, stands=1),
    "kept-raises-elsewhere": Row(gets=3, waits=True, stands=3, computations=3),
    "kept-slow-led": SERVED,
    "kept-hanging-led": SERVED,
    "gone-ok-alone": REPLACED,
    "gone-raises-alone": Row(gets=LookupError, waits=True, stands=MISSING),
    "gone-slow-alone": REPLACED,
    "gone-hanging-alone": Row(gets=ComputeTimeout, waits=False, stands=2),
    "gone-ok-led": REPLACED,
    "gone-raises-led": Row(gets=LookupError, waits=True, stands=MISSING),
    "gone-raises-elsewhere": Row(gets=3, waits=True, stands=3, computations=3),
    "gone-slow-led": REPLACED,
    "gone-hanging-led": Row(gets=ComputeTimeout, waits=False, stands=2),
}
SERVERS = servers.available_servers()[:1]


def _cells() -> list[Any]:
    """Every row on every kind of backend where it can be played; "led" rows both by a neighbour and from elsewhere."""
    cells = []
    for row in ROWS:
        leader = row.rpartition("-")[2]
        for kind in ("memory", *SERVERS):
            leaders = {"alone": ["alone"], "led": ["here"], "elsewhere": []}[leader]
            # whoever leads elsewhere and fails leaves the others to compute: rows of their own
            if (
                kind != "memory"
                and leader != "alone"
                and (not row.endswith("raises-led") or row[:5] in ("fresh", "stale"))
            ):
                leaders = [*leaders, "elsewhere"]
            cells += [pytest.param(row, kind, who, id=f"{row}-{kind}-{who}") for who in leaders]
    return cells


def test_every_row_has_a_test_and_every_test_a_row() -> None:
    """The rows of docs/freshness.md are those of this module, each once."""
    documented = re.findall(r"^\| `((?:fresh|stale|kept|gone)-[a-z-]+)` \|", TABLE.read_text(encoding="utf-8"), re.M)
    assert documented == list(ROWS)
    assert {cell.values[0] for cell in _cells()} == {row for row in ROWS if SERVERS or "elsewhere" not in row}


class Play:
    """A scene set for one row: what there is, a leader if there is one, and the caller whose call the row is about."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch, entry: str, computation: str) -> None:
        self.scene = scene = Scene(world)
        settings: dict[str, Any] = {"ttl": 10, "stale": 20, "stale_if_error": 50}
        if entry == "fresh":
            settings |= {"ttl": 100, "early": 1.0}
            scene.cost = 30.0
        settings |= {"slow": {"soft_timeout": TIMEOUT}, "hanging": {"hard_timeout": TIMEOUT}}.get(computation, {})
        scene.function(**settings)
        self.others: list[Cache] = []
        self._settings = settings
        self._refreshes = entry in ("fresh", "stale")
        if computation == "raises":
            scene.failing = {2}
        scene.world.call(scene.f.refresh, 1)  # no timeout bounds it
        scene.cost = 0.0
        scene.advance({"fresh": 0, "stale": 10, "kept": 30, "gone": 100}[entry])
        # a draw for which a value that took 30 s is due 207 s before its end
        monkeypatch.setattr(_engine.random, "random", lambda: 1.0 - 1e-3)
        scene.slow.go.clear()

    def leader(self, who: str) -> Callable[[], Any]:
        """The function the leader calls: the caller's own, or that of another cache, as another process has it."""
        if who == "here":
            return lambda: self.scene.f(1)
        self.others.append(self.scene.world.new_cache())
        f = self.others[0].cached(name="f", **self._settings)(self.scene.f.__wrapped__)
        return lambda: f(1)

    def waiting(self, who: str) -> bool:
        """Whether the caller has come as far as it comes before the computation ends."""
        if who == "alone":
            return self.scene.slow.calls == 2
        if who == "here":
            return bool(self.scene.f.stats().coalesced == 1)
        return len(self.scene.cache._flights) == 1

    def turned_away(self, who: str) -> bool:
        """Whether the caller's own refresh, if it began one, has found that somebody leads elsewhere."""
        return not (self._refreshes and who == "elsewhere" and len(self.scene.cache._flights))

    def sync(self, who: str, waits: bool) -> Any:
        """What the caller got, with threads."""
        slow = self.scene.slow
        threads = []
        if who != "alone":
            threads.append(start(self.leader(who))[0])
            until(lambda: slow.calls == 2)
        caller, got = start(lambda: self.scene.f(1))
        if waits:
            until(lambda: self.waiting(who))
            assert not got
            slow.go.set()
        join(caller)
        if who == "here" and not waits:
            join(*threads)  # the leader is as impatient: it must be served before there is a new value
        until(lambda: slow.calls >= 2 and self.turned_away(who))
        slow.go.set()
        join(*threads)
        return got[0]

    async def tasks(self, who: str, waits: bool) -> Any:
        """The same with tasks."""
        slow = self.scene.slow
        tasks = []
        if who != "alone":
            tasks.append(asyncio.ensure_future(self.leader(who)()))
            await auntil(lambda: slow.calls == 2)
        caller = asyncio.ensure_future(self.scene.f(1))
        if waits:
            await auntil(lambda: self.waiting(who))
            assert not caller.done()
            slow.go.set()
        async with asyncio.timeout(BOUND):
            (got,) = await asyncio.gather(caller, return_exceptions=True)
            await auntil(lambda: slow.calls >= 2 and self.turned_away(who))
            slow.go.set()
            await asyncio.gather(*tasks, return_exceptions=True)
        return got

    def settle(self) -> None:
        """Until nothing is under way anywhere."""
        self.scene.settle()
        for cache in self.others:
            self.scene.wait(lambda cache=cache: not len(cache._flights))
            assert_quiet(cache)
        assert_quiet(self.scene.cache)


@pytest.fixture
def make_world(running_server: Callable[[str], servers.Server]) -> Iterator[Callable[[str, str], World]]:
    """A function that makes a world of a kind and a colour."""
    made: list[World] = []

    def make(kind: str, colour: str) -> World:
        server = running_server(kind) if kind != "memory" else None
        if server is not None:
            with server.client() as client:
                client.flushall()
        made.append(World(kind, colour, server))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize(("row", "kind", "who"), _cells())
def test_row(
    row: str, kind: str, who: str, colour: str, make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller gets what the row says, and waits for the computation only if it says so; there are no more
    computations than needed; and what stands afterwards is what the row says.
    """
    entry, computation, _ = row.split("-")
    expected = ROWS[row]
    play = Play(make_world(kind, colour), monkeypatch, entry, computation)
    world, scene = play.scene.world, play.scene
    before = scene.counted()
    got = world.run(play.tasks(who, expected.waits)) if world.is_async else play.sync(who, expected.waits)
    play.settle()
    assert (type(got) if isinstance(got, Exception) else got) == expected.gets
    assert scene.slow.calls == expected.computations
    assert world.call(scene.f.peek, 1) == expected.stands
    hits, misses, stale_hits = (now - then for now, then in zip(scene.counted(), before, strict=True))
    calls = 2 if who == "here" else 1
    assert hits + misses == calls
    assert stale_hits == (0 if entry == "fresh" else hits)
    assert hits == (calls if expected.gets == 1 else 0)
