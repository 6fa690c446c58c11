"""Misses of many ids are begun and stored in batches: few scripts, and to the same end as one id after the other."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memocache import Cache
from memocache._calls.leading import Leader
from memocache._stores.remote import lease_batch
from memocache.backends.memory import MemoryBackend
from memocache.testing import FakeClock
from tests.promises.behaviour.world import World
from tests.promises.bulk.support import commands, loader
from tests.promises.flight.support import BOUND, assert_quiet, until

_IDS = range(8)
_DEEDS = ["nothing", "put", "put", "forget", "forget_all", "forget_tag", "other_loads", "raise", "lack", "huge", "bad"]


def test_the_misses_of_many_are_a_few_scripts(served: World) -> None:
    """600 ids that are not there are begun in three scripts and stored in three, all of them."""
    load = loader(served, lambda ids: {one: [one] for one in ids})
    served.call(load, [-1])  # the server has seen the script
    with commands(served.server, "mget", "evalsha", "eval") as sent:
        assert served.call(load, range(600)) == {n: [n] for n in range(600)}
    assert sent == {"mget": 1, "evalsha": 6, "eval": 0}
    with commands(served.server, "mget", "evalsha", "eval") as sent:
        assert served.call(load, range(600)) == {n: [n] for n in range(600)}
    assert sent == {"mget": 1, "evalsha": 0, "eval": 0}
    assert_quiet(served.cache)


def test_who_waits_for_an_id_of_a_batch_is_woken(served: World) -> None:
    """A batch that is stored is published on the channel of each of its ids."""
    load = loader(served, lambda ids: {one: [one] for one in ids})
    served.call(load, [-1])
    shared: Any = served.cache._places.shared
    heard = {one: threading.Event() for one in (0, 3, 4)}
    stops = []
    for one, event in heard.items():
        address, _ = load._self_state.bound()[1].address((one,))
        channel = shared.spot(address).channel
        stops.append(shared.guard.subscribe(channel, event.set))
        until(lambda c=channel, e=event: not shared.guard.backend.transact([], publish=c) and e.wait(0.05))
    for event in heard.values():
        event.clear()
    served.call(load, range(5))
    assert all(event.wait(BOUND) for event in heard.values())
    for stop in stops:
        stop()


class _Fleet:
    """Two caches on one backend, and a loader whose body does what it is told between begin and commit."""

    def __init__(self, *, batches: bool, coalesce: str | None) -> None:
        self.coalesce = coalesce
        self.clock = FakeClock()
        self.backend = MemoryBackend(self.clock.monotonic)
        self.caches = [Cache(self.backend, clock=self.clock, max_value_bytes=100_000, max_wait=0.2) for _ in "ab"]
        self.batches = batches
        self.asked: list[Any] = []
        self.log: list[Any] = []
        self.todo: list[tuple[str, int]] = []
        self.loads = [self._load(cache, number) for number, cache in enumerate(self.caches)]

    def _load(self, cache: Cache, number: int) -> Any:
        def body(ids: list[int]) -> dict[int, Any]:
            self.asked.append((number, ids))
            values: dict[int, Any] = {one: [one, len(self.asked)] for one in ids}
            todo, self.todo = self.todo, []
            for deed, one in todo:
                self._do(deed, one, 1 - number, values)
            return values

        return cache.cached_many(name="load", tags=["t:{ids}"], ttl=60, coalesce=self.coalesce)(body)

    def _do(self, deed: str, one: int, other: int, values: dict[int, Any]) -> None:
        load, cache = self.loads[other], self.caches[other]
        if deed == "put":
            load.put("put", one)
        elif deed == "forget":
            load.invalidate(one)
        elif deed == "forget_all":
            load.invalidate_all()
        elif deed == "forget_tag":
            cache.invalidate(tag=f"t:{one}")
        elif deed == "other_loads":
            self.log.append(("inner", load([one, (one + 1) % 8])))
        elif deed == "raise":
            raise ValueError(one)
        elif one in values and deed == "lack":
            del values[one]
        elif one in values and deed == "huge":
            values[one] = "x" * 200_000
        elif one in values and deed == "bad":
            values[one] = object()

    def step(self, who: int, ids: list[int], todo: list[tuple[str, int]], seconds: float) -> None:
        """One bulk call, and all that can be seen of it."""
        self.todo = list(todo)
        self.clock.advance(seconds)
        with ExitStack() as stack:
            for name in () if self.batches else ("begin_many", "commit_many"):
                stack.enter_context(patch.object(Leader, name, lambda *_: iter(())))  # steps without effects
            try:
                came: Any = self.loads[who](ids)
            except Exception as error:
                came = (type(error), str(error))
        self.log.append(_without_objects(came))
        self.log.append([_figures(load) for load in self.loads])
        self.log.append([_without_objects(self.loads[0].peek(one)) for one in _IDS])
        for cache in self.caches:
            cache._places.shared.keeper._give_back()  # type: ignore[union-attr]  # it has one
            assert len(cache._flights) == 0
        kinds = [key.split(":")[1] for key in self.backend._cells if self.backend._get(key) is not None]
        self.log.append(sorted(kinds))
        assert "l" not in kinds


def _figures(load: Any) -> tuple[int, ...]:
    stats = load.stats()
    return stats.hits, stats.misses, stats.stores, stats.rejected, stats.coalesced, stats.backend_errors


def _without_objects(came: Any) -> Any:
    if isinstance(came, dict):
        return {one: _without_objects(value) for one, value in came.items()}
    return "object" if type(came) is object else came


_STEPS = st.tuples(
    st.sampled_from([0, 1]),
    st.lists(st.sampled_from(_IDS), min_size=1, unique=True),
    st.lists(st.tuples(st.sampled_from(_DEEDS), st.sampled_from(_IDS)), max_size=2),
    st.sampled_from([0, 0, 0, 70]),
)


@pytest.mark.filterwarnings("ignore::memocache.UncacheableWarning")
@given(
    steps=st.lists(_STEPS, max_size=6),
    limit=st.sampled_from([250, 3]),
    coalesce=st.sampled_from(["fleet", "fleet", "process", None]),
)
def test_batches_come_to_what_single_commands_come_to(
    steps: list[tuple[int, list[int], list[tuple[str, int]], float]], limit: int, coalesce: str | None
) -> None:
    """Whatever happens between begin and commit, values, loads, figures and what is left in the backend are those of
    one id after the other."""
    batches, single = (_Fleet(batches=way, coalesce=coalesce) for way in (True, False))
    with patch.object(lease_batch, "BATCH", limit):
        for step in steps:
            batches.step(*step)
            single.step(*step)
            assert batches.log == single.log
            assert batches.asked == single.asked
    for fleet in (batches, single):
        for cache in fleet.caches:
            cache.close()
