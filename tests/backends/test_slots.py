"""Slots, tables and redirections, without a server."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from memocache._stores.remote.keyspace import Layout
from memocache.backends._cluster.slots import (
    SLOTS,
    Redirect,
    SlotTable,
    parse_primaries,
    parse_redirect,
    parse_slots,
    slot_of,
)
from memocache.backends.base import ProtocolError, ReplyError

HERE = ("here", 7000)


@given(st.text(alphabet="ab{}:é", max_size=12))
def test_slots_are_the_servers_own(key: str) -> None:
    """Any key, with whatever braces, is in the slot that redis-py says."""
    assert slot_of(key) == key_slot(key.encode())


def test_every_bucket_has_slots_of_its_own() -> None:
    """The 256 buckets lie one in each 64 slots, whatever kind of key, so any even split of slots splits them evenly."""
    layout = Layout("a{b}c", clustered=True)
    found = {slot_of(layout.key(kind, bucket, "rest")) // 64 for bucket in layout.buckets for kind in "egwl"}
    assert found == set(range(256))
    for bucket in layout.buckets:
        assert len({slot_of(layout.key(kind, bucket, f"{kind}{{x}}")) for kind in "egwl"}) == 1


def _node(host: Any, port: int) -> list[Any]:
    return [host, port, b"id", []]


def test_a_table_is_read_from_a_reply() -> None:
    """Ranges, replicas, the epoch, and hosts that a node leaves out because it does not know its own."""
    reply = [
        [0, 99, _node(b"a", 1), _node(b"b", 2)],
        [100, 100, _node(b"", 3)],
        [101, 16000, _node(None, 4), _node(b"?", 5)],
    ]
    table = parse_slots(reply, b"cluster_state:ok\r\ncluster_current_epoch:12\r\n", HERE)
    assert (table.owners[0], table.owners[99], table.owners[100]) == (("a", 1), ("a", 1), ("here", 3))
    assert (table.owners[101], table.owners[16001], len(table.owners)) == (("here", 4), None, SLOTS)
    assert table.primaries == (("a", 1), ("here", 3), ("here", 4))
    assert parse_primaries(reply, HERE) == set(table.primaries)
    assert table.replicas == {("b", 2), ("here", 5)}
    assert table.epoch == 12


@pytest.mark.parametrize("reply", [None, 5, b"OK", [], [[]], [5], [[0, 1]], [[0, 1, []]], [[0, 1, _node(b"a", 0)]]])
def test_nonsense_names_no_primaries(reply: Any) -> None:
    """A node that names nobody is not believed."""
    with pytest.raises(ProtocolError):
        parse_primaries(reply, HERE)


@pytest.mark.parametrize(
    "reply",
    [
        None,
        5,
        b"OK",
        [],
        [[]],
        [5],
        [[0, 1]],
        [[0, 1, []]],
        [[0, 1, _node(b"a", 0)]],
        [[0, 1, _node(b"a", 70_000)]],
        [[0, 20_000, _node(b"a", 1)]],
        [[b"0", b"1", _node(b"a", 1)]],
    ],
    ids=range(12),
)
def test_nonsense_is_no_table(reply: Any) -> None:
    """What cannot be an answer to CLUSTER SLOTS is doubt about the connection."""
    with pytest.raises(ProtocolError):
        parse_slots(reply, b"", HERE)


def test_a_refusal_is_no_table() -> None:
    """A server without cluster support says so, and that is what is raised."""
    with pytest.raises(ReplyError):
        parse_slots(ReplyError("ERR", "This instance has cluster support disabled"), b"", HERE)


def test_redirections_correct_the_table() -> None:
    """MOVED and ASK are told apart; a slot that moved makes its new owner a primary, and changes nothing else."""
    assert parse_redirect(ReplyError("MOVED", "MOVED 3999 b:2"), HERE) == Redirect(3999, ("b", 2), True)
    assert parse_redirect(ReplyError("ASK", "ASK 3999 :2"), HERE) == Redirect(3999, ("here", 2), False)
    assert parse_redirect(ReplyError("MOVED", "MOVED 1 [::1]:2"), HERE) == Redirect(1, ("::1", 2), True)
    table = SlotTable((("a", 1),) * SLOTS, (("a", 1),), frozenset({("b", 2)}), 7)
    moved = table.moved(3999, ("b", 2))
    assert [slot for slot in range(SLOTS) if moved.owners[slot] != ("a", 1)] == [3999]
    assert (moved.primaries, moved.replicas, moved.epoch) == ((("a", 1), ("b", 2)), frozenset(), 7)


@pytest.mark.parametrize("text", ["MOVED", "MOVED x b:2", "MOVED 1 b", "MOVED 99999 b:2", "MOVED 1 b:x", "OOM no"])
def test_other_errors_redirect_nowhere(text: str) -> None:
    """A malformed redirection is none, and neither is another error or none at all."""
    assert parse_redirect(ReplyError(text.split()[0], text), HERE) is None
    assert parse_redirect(ConnectionError(text), HERE) is None
