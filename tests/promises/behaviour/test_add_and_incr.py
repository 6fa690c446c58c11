"""`add` and `incr` of plain keys: one compare-and-set each, so that of many callers none is lost or doubled."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest

from memocache import Cache, EncodeError
from memocache.testing import servers
from tests.patience import unhurried
from tests.promises.behaviour.test_processes import ROOT
from tests.promises.behaviour.world import World
from tests.worlds import SERVERS, several


def test_add_stores_where_nothing_is(world: World) -> None:
    """The first adds, later ones do not, and after the ttl, a delete or an invalidation of its tag there is room."""
    assert world.ask("add", "k", 1, ttl=60) is True
    assert world.ask("add", "k", 2) is False
    assert world.ask("get", "k") == 1
    assert world.ask("ttl", "k") == pytest.approx(60)
    world.clock.advance(61)
    world.settle()
    assert world.ask("add", "k", 3, tags=("red",)) is True
    assert world.ask("add", "k", 4, tags=("blue",)) is False
    assert world.ask("ttl", "k") == pytest.approx(3600)
    world.ask("invalidate", tag="red")
    assert world.ask("add", "k", 5, ttl=None) is True
    assert world.ask("ttl", "k") == math.inf
    world.ask("delete", "k")
    assert world.ask("add", "k", None) is True
    assert world.ask("add", "k", 6) is False
    assert world.ask("get", "k", "default") is None


def test_incr_keeps_ttl_and_tags(world: World) -> None:
    """The sum is stored in place of the number, for what is left of its ttl to the last bit, under its tags."""
    world.ask("set", "k", 41, ttl=60, tags=("red",))
    world.clock.advance(10)
    before = world.ask("ttl", "k")
    assert [world.ask("incr", "k") for _ in range(20)] == list(range(42, 62))
    assert world.ask("incr", "k", -20) == 41
    assert world.ask("get", "k") == 41
    assert world.ask("ttl", "k") == before
    world.settle()
    world.ask("invalidate", tag="red")
    assert world.ask("incr", "k") is None
    world.ask("set", "k", 2**63, ttl=None)
    assert world.ask("incr", "k", 2**70) == 2**63 + 2**70
    assert world.ask("ttl", "k") == math.inf
    world.ask("set", "k", Decimal("0.1"))
    assert world.ask("incr", "k", Decimal("0.2")) == Decimal("0.3")


def test_incr_of_nothing_and_of_no_number(world: World) -> None:
    """A key without value gives None and gets none; a value that is no number, and such a delta, are refused."""
    assert world.ask("incr", "k") is None
    assert world.ask("exists", "k") is False
    world.ask("set", "k", 1, ttl=60)
    world.clock.advance(61)
    world.settle()
    assert world.ask("incr", "k") is None
    for value in ("1", None, True, [1]):
        world.ask("set", "k", value)
        with pytest.raises(TypeError, match=f"has a {type(value).__name__}$"):
            world.ask("incr", "k")
        with pytest.raises(TypeError, match=f"^delta takes a number, not {type(value).__name__}$"):
            world.ask("incr", "k", value)
    assert world.ask("get", "k") == [1]


def test_bad_input(world: World) -> None:
    """As of `set`: keys that are no text, ttls that are none, and on a shared backend values without a code."""
    with pytest.raises(TypeError, match="key takes a str"):
        world.ask("add", 1, 2)
    with pytest.raises(TypeError, match="key takes a str"):
        world.ask("incr", 1)
    for ttl in (0, -1, True, "soon"):
        with pytest.raises(ValueError, match="ttl"):
            world.ask("add", "k", 1, ttl=ttl)
    if world.shared:
        with pytest.raises(EncodeError, match="cannot be stored"):
            world.ask("add", "k", object())
    assert world.ask("exists", "k") is False


def test_a_computation_under_way_does_not_undo_them(world: World) -> None:
    """What `get_or_compute` computes meanwhile is not stored over what was added or counted."""

    def load() -> str:
        assert world.cache.add("k", 1) is True
        assert world.cache.incr("k") == 2
        return "late"

    world.ask("get_or_compute", "k", world.colourful(load))
    assert world.ask("get", "k") == 2


def test_of_threads_one_adds_and_all_count(cache: Cache) -> None:
    """Of eight threads one stores, and of 400 steps none is lost."""
    with ThreadPoolExecutor(8) as threads:
        added = list(threads.map(lambda n: cache.add("k", 0), range(8)))
        assert added.count(True) == 1
        sums = list(threads.map(lambda n: cache.incr("k"), range(400)))
    assert sorted(sums) == list(range(1, 401))
    assert cache.get("k") == 400


_CONTENDER = """
import sys
from memocache import Cache
with Cache(sys.argv[1], prefix="functions") as cache:
    print("ready", flush=True)
    sys.stdin.readline()
    taken = sum(cache.add(f"lock:{n}", 1) for n in range(100))
    print(taken, [cache.incr("n") for _ in range(100)][-1])
"""


@pytest.mark.parametrize("kind", ["disk", *several(SERVERS)])
def test_of_processes_one_adds_and_all_count(
    kind: str, running_server: Callable[[str], servers.Server], tmp_path: Path
) -> None:
    """Three processes take a hundred locks: each lock is taken once, and their 300 steps add up."""
    url = f"disk://{tmp_path}" if kind == "disk" else unhurried(running_server(kind).url)
    with Cache(url, prefix="functions") as cache:
        cache.clear()
        cache.set("n", 0)
        contenders = [
            subprocess.Popen(
                [sys.executable, "-c", _CONTENDER, url],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": ROOT},
            )
            for _ in range(3)
        ]
        for contender in contenders:
            assert contender.stdout is not None
            assert contender.stdout.readline() == "ready\n"
        outputs = [contender.communicate(timeout=60)[0].split() for contender in _started(contenders)]
        assert sum(int(taken) for taken, _ in outputs) == 100
        assert max(int(last) for _, last in outputs) == 300
        assert cache.get("n") == 300


def _started(contenders: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    """The processes, which all begin now."""
    for contender in contenders:
        assert contender.stdin is not None
        contender.stdin.write("go\n")
        contender.stdin.flush()
    return contenders
