"""ClusterCommands and the router, driven by hand: no server, no socket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from memocache.backends._cluster.node import Node, NotConnected
from memocache.backends._cluster.node_plans import Plan, at_once
from memocache.backends._cluster.operations import ClusterCommands
from memocache.backends._cluster.router import Router
from memocache.backends._cluster.slots import SLOTS, Address, SlotTable
from memocache.backends._redis.resp import Ask, Op
from memocache.backends._settings import RedisSettings
from memocache.backends.base import Busy, NodeFailure, ReplyError

A, B, C = ("a", 1), ("b", 2), ("c", 3)


def _table(*owners: Address, epoch: int = 1, replicas: tuple[Address, ...] = ()) -> SlotTable:
    spread = tuple(owners[slot * len(owners) // SLOTS] for slot in range(SLOTS))
    return SlotTable(spread, owners, frozenset(replicas), epoch)


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> Iterator[Router]:
    """A router that knows two nodes and fetches nothing in the background."""
    router = Router([A], RedisSettings())
    router.table = _table(A, B)
    monkeypatch.setattr(router, "want", lambda: 0)
    yield router
    for node in router.nodes():
        node.close()


def _op(payload: bytes) -> Op[Any]:
    (reply,) = yield Ask(payload, 1)
    if isinstance(reply, ReplyError):
        raise reply
    return reply


def _answer(op: Op[Any], *replies: Any) -> Any:
    """What carrying out `op` came to, its asks answered in turn."""
    next(op)
    try:
        op.send(list(replies))
    except StopIteration as stop:
        return stop.value
    except ReplyError as error:
        return error
    raise AssertionError("it asked again")


def _end(plan: Plan[Any], reply: Any) -> Any:
    with pytest.raises(StopIteration) as stop:
        plan.send(reply)
    return stop.value.value


def test_work_for_one_node_leaves_together(router: Router) -> None:
    """Three pieces at two nodes are two jobs; each piece gets its own result, in order."""
    plan = at_once([router.work(slot, lambda slot=slot: _op(b"%d" % slot)) for slot in (1, SLOTS - 1, 2)])
    jobs = next(plan)
    assert isinstance(jobs, list)
    assert [job.node.address for job in jobs] == [A, B]
    outcomes = [_answer(jobs[0].op, b"one", b"two"), _answer(jobs[1].op, b"last")]
    assert _end(plan, outcomes) == [b"one", b"last", b"two"]


def test_moved_goes_on_at_the_new_owner(router: Router) -> None:
    """After MOVED the same piece is a job for the node named, and the table knows."""
    plan = router.work(5, lambda: _op(b"x"))
    next(plan)
    (job,) = plan.send([ReplyError("MOVED", "MOVED 5 c:3")])  # type: ignore[misc]  # a list of jobs
    assert job.node.address == C
    assert router.table is not None
    assert (router.table.owners[5], router.table.owners[6]) == (C, A)
    assert _end(plan, [b"there"]) == b"there"


def test_ask_is_for_this_once(router: Router) -> None:
    """After ASK the piece goes to the node named behind ASKING, and the table stays as it is."""
    plan = router.work(5, lambda: _op(b"x"))
    next(plan)
    (job,) = plan.send([ReplyError("ASK", "ASK 5 c:3")])  # type: ignore[misc]  # a list of jobs
    assert job.node.address == C
    assert next(job.op).payload.endswith(b"ASKING\r\nx")
    assert router.table is not None
    assert router.table.owners[5] == A


def test_nobody_is_sent_in_circles(router: Router) -> None:
    """Two nodes that each name the other end in a failure after a few rounds."""
    plan = router.work(5, lambda: _op(b"x"))
    next(plan)
    replies = [[ReplyError("MOVED", f"MOVED 5 {place}")] for _ in range(50) for place in ("b:2", "a:1")]
    with pytest.raises(NodeFailure, match="node to node"):
        list(map(plan.send, replies))


def test_tryagain_is_tried_again_and_then_a_failure(router: Router) -> None:
    """TRYAGAIN costs a few short pauses; a slot that is still half-way is one piece's failure, not the node's."""
    plan = router.work(5, lambda: _op(b"x"))
    next(plan)
    pauses: list[Any] = []

    def try_on() -> None:
        while True:
            pauses.append(plan.send([ReplyError("TRYAGAIN", "TRYAGAIN keys")]))
            plan.send(1.0)

    with pytest.raises(NodeFailure) as caught:
        try_on()
    assert caught.value.code == "TRYAGAIN"
    assert 0 < len(pauses) <= 5
    assert sum(pauses) < 0.1
    assert not router.node_at(A).breaker.open


@pytest.mark.parametrize("failure", [TimeoutError(), NotConnected()], ids=["silent", "gone"])
def test_a_node_that_is_silent_or_gone_is_left_alone(router: Router, failure: Exception) -> None:
    """One timeout or refused connection opens the breaker of that node: the next piece fails unasked, and another
    node's is asked as ever.
    """
    plan = router.work(5, lambda: _op(b"x"))
    next(plan)
    with pytest.raises(NodeFailure):
        [plan.send(reply) for reply in ([failure], 0.0)]
    with pytest.raises(NodeFailure, match="left alone"):
        next(router.work(6, lambda: _op(b"x")))
    assert isinstance(next(router.work(SLOTS - 1, lambda: _op(b"x"))), list)


def test_one_lost_connection_counts_once(router: Router) -> None:
    """A hundred pieces that one reset connection took with it are one failure of the node."""
    plan = at_once([router.work(slot, lambda: _op(b"x")) for slot in range(100)])
    next(plan)
    with pytest.raises(NodeFailure):
        plan.send([ConnectionResetError()])
    assert not router.node_at(A).breaker.open


def test_what_may_have_been_done_is_not_done_again(router: Router) -> None:
    """A write whose connection was lost fails; the same before it was sent, or a read, goes to the new owner."""
    for harmless, failure, again in (
        (False, ConnectionResetError(), False),
        (True, ConnectionResetError(), True),
        (False, NotConnected(), True),
    ):
        router.table, router._done = _table(A, B), -1  # nothing fresh has come yet
        router._nodes.clear()
        plan = router.work(5, lambda: _op(b"x"), harmless=harmless)
        next(plan)
        if not again:
            with pytest.raises(NodeFailure):
                plan.send([failure])
            continue
        assert isinstance(plan.send([failure]), float)
        router.table, router._done = _table(C, B), 0
        (job,) = plan.send(1.0)  # type: ignore[misc]  # a list of jobs
        assert job.node.address == C
        plan.close()


@pytest.mark.parametrize("failure", [ReplyError("OOM"), ReplyError("NOPERM"), Busy()], ids=["OOM", "NOPERM", "Busy"])
def test_what_says_nothing_of_the_node_comes_as_it_is(router: Router, failure: Exception) -> None:
    """A refused write, a refused user and one's own full pool are no node failures."""
    plan = router.work(5, lambda: _op(b"x"))
    next(plan)
    with pytest.raises(type(failure)) as caught:
        plan.send([failure])
    assert caught.value is failure
    assert not router.node_at(A).breaker.open


def test_an_old_opinion_is_not_taken(monkeypatch: pytest.MonkeyPatch, router: Router) -> None:
    """A table of an earlier epoch, of a primary that does not know yet that it was replaced, is passed over for a newer
    one; only if there is none at all it is better than nothing.
    """
    opinions: dict[Address, SlotTable | Exception] = {}

    class Pool:
        def __init__(self, address: Address) -> None:
            self.address = address

        def run(self, op: object, timeout: float) -> SlotTable:
            opinion = opinions[self.address]
            if isinstance(opinion, Exception):
                raise opinion
            return opinion

    def node_at(address: Address) -> Node:
        node = Node(address, RedisSettings())
        monkeypatch.setattr(node, "pool", Pool(address))
        return node

    monkeypatch.setattr(router, "node_at", node_at)
    router.table = _table(B, epoch=5, replicas=(C,))
    opinions |= {A: _table(A, epoch=4), B: ConnectionError(), C: _table(C, epoch=6)}
    assert router._fetch() == opinions[C]
    opinions |= {A: _table(A, epoch=5)}
    assert router._fetch() == opinions[A]
    opinions |= {A: _table(A, epoch=3), C: _table(C, epoch=4)}
    assert router._fetch() == opinions[C]
    opinions |= {A: ConnectionError(), C: ConnectionError()}
    assert router._fetch() is None


def test_keys_on_the_move_are_deleted_from_the_last(router: Router) -> None:
    """An entry is named before its witness and its lease, and goes after them: were it gone first, a computation that
    still has its witness could store it anew.
    """
    plan = ClusterCommands(router, None).delete(["{x}entry", "{x}witness", "{x}lease"])
    next(plan)
    reply: Any = [ReplyError("TRYAGAIN", "TRYAGAIN keys")]
    asked = []
    for _ in range(3):
        (job,) = plan.send(reply)  # type: ignore[misc]  # a list of jobs
        asked.append(next(job.op).payload.split(b"\r\n")[-2])
        reply = [1]
    assert asked == [b"{x}lease", b"{x}witness", b"{x}entry"]
    assert _end(plan, [1]) == 3
