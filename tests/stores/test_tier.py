"""The process tiers, where another thread or the collector comes in between, and what a child makes of them."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from memocache._stores.layered.near_cache import Copies, NearTier
from memocache._stores.memory.tier import LocalTier
from memocache.testing import FakeClock


class Meanwhile:
    """In place of an owner's lock: `step` is what another thread does before the lock is had for the first time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: Any, step: Callable[[], Any]) -> None:
        self._lock = owner.lock
        self._owner = owner
        self._step = step
        monkeypatch.setattr(owner, "lock", self)

    def __enter__(self) -> None:
        self._owner.lock = self._lock
        self._step()
        self._lock.acquire()

    def __exit__(self, *exc: object) -> None:
        self._lock.release()


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


def test_what_was_replaced_as_it_was_found_past_keeping_stays(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who finds an entry past keeping removes that entry, and not the one that took its place."""
    tier = LocalTier(10, clock)
    table = tier.table("f", 1)
    tier.put(table, "key", "old", None, ttl=1.0)
    clock.advance(1.0)
    Meanwhile(monkeypatch, tier, lambda: tier.put(table, "key", "new", None, ttl=1.0))
    assert tier.find(table, "key") is None
    assert table.entries["key"].value == "new"
    assert tier.expired == 0


def test_another_ttl_for_what_is_not_there(clock: FakeClock) -> None:
    """Nothing is made of it, and it is said."""
    tier = LocalTier(10, clock)
    assert not tier.expire(tier.table("f", 1), "key", 5.0)


def test_an_entry_goes_with_the_object_it_is_named_by(clock: FakeClock) -> None:
    """Also where its key holds another one by then, which stays; what tokens name that left is not remembered."""

    class Thing:
        """Something that hashes by identity."""

    tier = LocalTier(1000, clock)
    table = tier.table("f", 1)
    table.users.add(table)
    things = [Thing() for _ in range(3)]
    numbers = [tier.identities.identity(thing) for thing in things]
    for number in numbers:
        tier.put(table, number, "value", None, ttl=10.0, tokens=(number,))
    tier.put(table, numbers[1], "another's", None, ttl=10.0)
    del things[0]
    del things[0]
    gc.collect()
    tier.put(table, "unrelated", "value", None, ttl=1.0)
    assert set(table.entries) == {numbers[1], numbers[2], "unrelated"}
    assert set(tier.lifetimes._entries) == {numbers[2]}
    assert tier.sweep() == 0
    assert set(tier.lifetimes._entries) == {numbers[2]}, "its object lives"
    clock.advance(1.0)
    tier.discard(table, numbers[2])
    assert tier.sweep() == 1, "what is past keeping goes unasked"
    assert set(table.entries) == {numbers[1]}
    assert tier.lifetimes._entries == {}


@pytest.mark.parametrize("held", [True, False])
def test_a_child_trusts_no_tables_that_were_being_changed(clock: FakeClock, held: bool) -> None:
    """It empties them where a thread that it does not have held the lock, and keeps what they counted."""
    tier = LocalTier(10, clock)
    table = tier.table("f", 1)
    tier.put(table, "key", "value", None, ttl=10.0)
    table.entries["key"].hits = 3
    taken, over = threading.Event(), threading.Event()

    def hold() -> None:
        with tier.lock:
            taken.set()
            over.wait(20.0)

    holder = threading.Thread(target=hold)
    if held:
        holder.start()
        assert taken.wait(20.0)
    before = table.entries["key"]
    tier.after_fork()
    over.set()
    if held:
        holder.join(20.0)
    assert (tier.find(table, "key") is None) == held
    assert (before.fresh_until == float("-inf")) == held
    assert tier.counted(table)["hits"] == 3
    assert tier.put(table, "key", "new", None, ttl=10.0), "its lock is free"
    assert tier.find(table, "key") is not None


class NoBackend:
    """Fails the test that asks it to watch."""

    def watch(self, starts: Any, watcher: Any) -> None:
        pytest.fail("asked to watch again")


def test_only_one_thread_begins_to_watch(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes for it as another has begun leaves it at that."""
    near = NearTier(10, clock, [])
    backend: Any = NoBackend()
    Meanwhile(monkeypatch, near, lambda: setattr(near, "_watching", True))
    near.watch(backend)


def test_who_was_refused_hears_nothing(clock: FakeClock) -> None:
    """What is still said on a channel that was given up does not shorten the trust in copies that end by themselves."""
    near = NearTier(10, clock, [])
    near.refused()
    near.heard(float("-inf"))
    assert near.trusted()


def test_copies_that_are_past_do_not_keep_anybody_busy(clock: FakeClock) -> None:
    """A near tier holds something only as long as some copy is fresh."""
    near = NearTier(10, clock, [])
    near.refused()
    assert not near.holds()
    expected = near.expect("f", [], "e:1")
    assert expected is not None
    near.keep(expected, near.table("f", 1), 1, "value", None, ttl=0.5, compute=0.0)
    assert near.holds()
    clock.advance(0.5)
    assert not near.holds()


def test_what_was_replaced_as_its_tag_was_asked_stays(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who finds an entry whose tag was invalidated removes that entry, and not the one that took its place."""
    tier = LocalTier(10, clock)
    table = tier.table("f", 1)
    tier.put(table, "key", "old", None, ttl=9.0, marks=tier.marks("f", ("t",)), tags=("t",))
    tier.invalidate_tag("t")
    Meanwhile(monkeypatch, tier, lambda: tier.put(table, "key", "new", None, ttl=9.0))
    assert tier.find(table, "key") is None
    assert table.entries["key"].value == "new"


class Telling:
    """A backend that tells who watches it, and counts how often it was told to stop."""

    stopped = 0

    def watch(self, starts: Any, watcher: Any) -> Callable[[], None]:
        def stop() -> None:
            self.stopped += 1

        return stop


def test_copies_wait_for_what_is_told(clock: FakeClock) -> None:
    """Where the backend tells, nothing is kept or served before it has said that it does; and it is told to stop."""
    near, backend = NearTier(10, clock, []), Telling()
    near.watch(backend)  # type: ignore[arg-type]  # all that is asked of it
    assert near.expect("f", [], "e:1") is None
    near.heard(time.monotonic())
    expected, table = near.expect("f", [], "e:1"), near.table("f", 1)
    assert expected is not None
    near.keep(expected, table, 1, "value", None, ttl=9.0, compute=0.0)
    copies = Copies(near, table)
    assert copies[1].value == "value"
    near.heard(float("-inf"))
    with pytest.raises(KeyError):
        copies[1]
    near.close()
    assert backend.stopped == 1
    assert table.entries == {}
