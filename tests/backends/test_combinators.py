"""Operations made of operations, without a server."""

from __future__ import annotations

from typing import Any

import pytest

from memocache.backends._redis.combinators import asking, confirmed, merged
from memocache.backends._redis.resp import Ask, Op
from memocache.backends.base import ProtocolError, ReplyError


def _op(*asks: Ask, result: Any = None, error: Exception | None = None) -> Op[Any]:
    heard = []
    for ask in asks:
        heard.append((yield ask))
    if error is not None:
        raise error
    return heard if result is None else result


def _drive(op: Op[Any], *replies: list[Any]) -> tuple[list[Ask], Any]:
    """What `op` asked, told `replies` in turn, and its result."""
    asks, answers = [], iter(replies)
    try:
        asks.append(next(op))
        while True:
            asks.append(op.send(next(answers)))
    except StopIteration as stop:
        return asks, stop.value


def test_merged_operations_leave_together() -> None:
    """Each step of all is one round trip; every operation gets its own replies and its own outcome."""
    ops = [
        _op(Ask(b"a1", 1), Ask(b"a2", 2)),
        _op(Ask(b"b1", 2)),
        _op(result=5),
        _op(Ask(b"c1", 1), error=ReplyError("OOM")),
    ]
    outcomes: list[Any] = [None] * 4
    asks, _ = _drive(merged(ops, outcomes), [1, 2, 3, 4], [5, 6])
    assert [(ask.payload, ask.replies) for ask in asks] == [(b"a1b1c1", 4), (b"a2", 2)]
    assert outcomes[:3] == [[[1], [5, 6]], [[2, 3]], 5]
    assert isinstance(outcomes[3], ReplyError)


def test_what_was_done_before_a_failure_is_known() -> None:
    """When the connection is lost half-way, the outcomes of those that had ended stand."""
    outcomes: list[Any] = ["undone"] * 2
    op = merged([_op(Ask(b"a", 1)), _op(Ask(b"b", 1), Ask(b"b", 1))], outcomes)
    next(op)
    op.send([1, 2])
    with pytest.raises(ConnectionError):
        op.throw(ConnectionError())
    assert outcomes == [[[1]], "undone"]


def test_doubt_about_one_is_doubt_about_all() -> None:
    """A reply that cannot be one's own ends the merged operation: the connection is out of step."""
    op = merged([_op(Ask(b"a", 1), error=ProtocolError()), _op(Ask(b"b", 1))], [None, None])
    next(op)
    with pytest.raises(ProtocolError):
        op.send([1, 2])


def test_a_session_goes_by_itself() -> None:
    """An operation that needs a session is carried out alone, to its end, before the others go on."""
    outcomes: list[Any] = [None] * 2
    ops = [_op(Ask(b"a", 1)), _op(Ask(b"w", 1, session=True), Ask(b"x", 1, session=True))]
    asks, _ = _drive(merged(ops, outcomes), [1], [2], [3])
    assert [(ask.payload, ask.session) for ask in asks] == [(b"w", True), (b"x", True), (b"a", False)]
    assert outcomes == [[[3]], [[1], [2]]]


def test_only_readers_are_harmless_together() -> None:
    """One that writes makes the round trip one that must not be repeated."""
    read, write = Ask(b"r", 1, harmless=True), Ask(b"w", 1)
    assert next(merged([_op(read), _op(read)], [None, None])).harmless
    assert not next(merged([_op(read), _op(write)], [None, None])).harmless


def test_asking_goes_before_each_step() -> None:
    """Every step at a node that imports the slot begins with ASKING; without an OK to it nothing is believed."""
    asks, result = _drive(asking(_op(Ask(b"a", 1), Ask(b"b", 2))), [b"OK", 1], [b"OK", 2, 3])
    word = b"*1\r\n$6\r\nASKING\r\n"
    assert [(ask.payload, ask.replies) for ask in asks] == [(word + b"a", 2), (word + b"b", 3)]
    assert result == [[1], [2, 3]]
    op = asking(_op(Ask(b"a", 1)))
    next(op)
    with pytest.raises(ReplyError):
        op.send([ReplyError("NOPERM"), 1])
    with pytest.raises(ReplyError, match="TRYAGAIN"):
        next(asking(_op(Ask(b"w", 1, session=True))))


def test_confirmed_waits_for_replicas() -> None:
    """Each step ends with WAIT on a connection of one's own; too few replicas are an error, enough are not."""
    asks, result = _drive(confirmed(_op(Ask(b"a", 1), Ask(b"b", 1)), 2, 50), [7, 2], [8, 3])
    word = b"*3\r\n$4\r\nWAIT\r\n$1\r\n2\r\n$2\r\n50\r\n"
    assert [(ask.payload, ask.session) for ask in asks] == [(b"a" + word, True), (b"b" + word, True)]
    assert result == [[7], [8]]
    op = confirmed(_op(Ask(b"a", 1)), 2, 50)
    next(op)
    with pytest.raises(ReplyError, match="NOREPLICAS"):
        op.send([7, 1])
