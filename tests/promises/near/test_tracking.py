"""What is believed of a cluster by what its nodes say, in any order; the nodes are played."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from math import inf
from typing import Any

import pytest

from memocache.backends._cluster import client_tracking as _tracking
from memocache.backends._cluster.client_tracking import ClusterTracking
from memocache.backends._cluster.slots import Address

A, B, C, D = (("h", port) for port in (1, 2, 3, 4))


class Played:
    """A tracker that says what it is told to."""

    def __init__(
        self, dial: Any, starts: Any, watcher: Any, question: Any, judge: Callable[[Any], None], *, named: bool
    ) -> None:
        self.watcher = watcher
        self.judge = judge
        self.stopped = False
        self.address = dial
        if dial in world.barred:
            raise RuntimeError("no thread")
        world.nodes[dial] = self

    def stop(self) -> None:
        """Say that it was ended."""
        self.stopped = True


class World:
    """A tracking from the seed A, and what it told its watcher."""

    def __init__(self) -> None:
        self.nodes: dict[Address, Played] = {}
        self.barred: set[Address] = set()
        self.since = -inf
        self.forgotten = 0
        self.refusals = 0
        self.read_at: Iterable[Address] = ()
        self.mended = 0

    def begin(self) -> ClusterTracking:
        """Begin to be told."""
        dial: Any = lambda address: address  # noqa: E731  # a player needs no more
        return ClusterTracking(dial, [A], ["memo:"], self, reading=lambda: world.read_at, mend=lambda: world.mend())

    def mend(self) -> None:
        """Take down that the reader's table was doubted."""
        self.mended += 1

    def say(self, who: Address, since: float, *primaries: Address) -> None:
        """A node answers a question of `since`."""
        self.nodes[who].judge([[n, n, [host.encode(), port]] for n, (host, port) in enumerate(primaries)])
        self.nodes[who].watcher.heard(since)

    def changed(self, keys: Iterable[str] | None) -> None:
        """See `Watcher`."""
        self.forgotten += keys is None

    def heard(self, since: float) -> None:
        """See `Watcher`."""
        self.since = since

    def refused(self) -> None:
        """See `Watcher`."""
        self.refusals += 1


world = World()


@pytest.fixture(autouse=True)
def _played(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new world for each test."""
    global world
    world = World()
    monkeypatch.setattr(_tracking, "ClientTracking", Played)


def agreed() -> ClusterTracking:
    """A tracking whose nodes A and B agree."""
    tracking = world.begin()
    world.say(A, 5.0, A, B)
    assert world.since == -inf
    world.say(B, 4.0, A, B)
    assert world.since == 4.0
    return tracking


def test_the_earliest_word_counts() -> None:
    """Nothing is believed before every primary was heard, and then as of the one heard longest ago."""
    tracking = agreed()
    world.say(B, 9.0, A, B)
    assert world.since == 5.0
    tracking.stop()
    assert all(node.stopped for node in world.nodes.values())
    world.say(A, 10.0, A, B)
    assert world.since == 5.0


def test_a_loss_ends_belief_and_every_copy() -> None:
    """One lost node is enough, until it is heard again."""
    tracking, before = agreed(), world.forgotten
    world.nodes[B].watcher.heard(-inf)
    assert (world.since, world.forgotten) == (-inf, before + 1)
    world.say(A, 6.0, A, B)
    assert world.since == -inf
    world.say(B, 7.0, A, B)
    assert world.since == 6.0
    tracking.stop()


def test_a_primary_that_was_replaced_is_not_believed_alone() -> None:
    """As long as any primary names others nothing is believed; the new one is heard and the old one left."""
    tracking = agreed()
    world.say(B, 6.0, B, C)
    assert world.since == -inf
    world.say(A, 7.0, A, B)
    assert world.since == -inf
    world.say(C, 8.0, B, C)
    assert world.since == 6.0
    assert world.nodes[A].stopped
    world.say(A, 99.0, A)  # it does not know yet, and nobody asks
    assert world.since == 6.0
    tracking.stop()


def test_what_is_read_elsewhere_is_not_believed() -> None:
    """While the table for reading names a node that is not heard, nothing is believed, and the table is doubted."""
    tracking = agreed()
    world.read_at = (A, D)
    world.say(A, 6.0, A, B)
    assert (world.since, world.mended) == (-inf, 1)
    world.read_at = (A, B)
    world.say(A, 7.0, A, B)
    assert world.since == 4.0
    tracking.stop()


def test_a_node_met_by_a_redirection_is_heard_first() -> None:
    """From the redirection on nothing is believed until the node is heard; when it is lost it is left again."""
    tracking, before = agreed(), world.forgotten
    tracking.met(A)
    assert (world.since, world.forgotten) == (4.0, before)
    tracking.met(D)
    assert (world.since, world.forgotten) == (-inf, before + 1)
    world.say(A, 6.0, A, B)
    assert world.since == -inf
    world.say(D, 3.0, A, B)
    assert world.since == 3.0
    tracking.met(D)
    assert world.since == 3.0
    world.nodes[D].watcher.heard(-inf)
    assert world.since == 4.0
    assert world.nodes[D].stopped
    tracking.stop()
    tracking.met(C)
    assert C not in world.nodes


@pytest.mark.parametrize("how", ["denied", "no thread"])
def test_one_refusal_is_all_of_it(how: str) -> None:
    """Where a node denies, or no thread can be had for it, nobody is listened to and the watcher knows."""
    tracking = world.begin()
    world.barred = {C}
    if how == "denied":
        world.nodes[A].watcher.refused()
        world.nodes[A].watcher.refused()
    else:
        world.say(A, 5.0, A, C)
    assert world.refusals == 1
    assert world.nodes[A].stopped
    tracking.met(B)
    assert B not in world.nodes


def test_no_thread_at_the_start_is_raised() -> None:
    """The caller of `watch` is told at once."""
    world.barred = {A}
    with pytest.raises(RuntimeError):
        world.begin()


def test_a_watcher_that_is_gone_ends_it() -> None:
    """Nobody listens for nobody."""
    tracking = agreed()
    nodes = world.nodes
    _played_again()
    gc.collect()
    assert all(node.stopped for node in nodes.values())
    tracking.stop()


def _played_again() -> None:
    global world
    world = World()
