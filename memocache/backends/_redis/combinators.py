"""Operations made of operations: several in one round trip, one in a slot on the move, one that replicas confirm.

Each takes and returns an `Op` of `memocache.backends._redis.resp` and does no I/O. None knows what the operation says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from memocache.backends._redis.resp import Ask, Op, command_bytes, int_reply
from memocache.backends.base import ProtocolError, ReplyError

T = TypeVar("T")
_REDIRECTIONS = frozenset({"ASK", "MOVED", "TRYAGAIN"})


def merged(ops: Sequence[Op[Any]], outcomes: list[Any]) -> Op[None]:
    """Carry out `ops` together, each step of all of them in one round trip; what needs a session goes by itself.

    `outcomes` (one for each op) gets each result, or the `ReplyError` it ended with, as soon as it is known: an
    operation that is cut short has left the others' there.
    """
    asks: dict[int, Ask] = {}

    def resume(index: int, replies: list[Any] | None) -> None:
        asks.pop(index, None)
        try:
            asks[index] = next(ops[index]) if replies is None else ops[index].send(replies)
        except StopIteration as stop:
            outcomes[index] = stop.value
        except ReplyError as error:
            outcomes[index] = error

    for index in range(len(ops)):
        resume(index, None)
    while asks:
        alone = next((index for index, ask in asks.items() if ask.session), None)
        together = list(asks.items()) if alone is None else [(alone, asks[alone])]
        payload = b"".join(ask.payload for _, ask in together)
        harmless = all(ask.harmless for _, ask in together)
        nudge = together[0][1].nudge  # one for all: replicas hear of writes in order
        replies = yield Ask(payload, sum(ask.replies for _, ask in together), alone is not None, harmless, nudge)
        at = 0
        for index, ask in together:
            resume(index, replies[at : at + ask.replies])
            at += ask.replies


def asking(op: Op[T]) -> Op[T]:
    """Carry out `op`, each step of it one command or transaction, at a node that its slot is being moved to."""
    try:
        ask = next(op)
        while True:
            if ask.session:  # its commands would need the word each
                raise ReplyError("TRYAGAIN")
            said, *replies = yield _asked(ask._replace(nudge=ask.nudge and _asked(ask.nudge)))
            if said != b"OK":
                raise said if isinstance(said, ReplyError) else ProtocolError("no answer to ASKING")
            ask = op.send(replies)
    except StopIteration as stop:
        result: T = stop.value
        return result


def _asked(ask: Ask) -> Ask:
    return ask._replace(payload=command_bytes("ASKING") + ask.payload, replies=ask.replies + 1)


def confirmed(op: Op[T], replicas: int, milliseconds: int) -> Op[T]:
    """Carry out `op`, whose replies are how many keys it removed, and wait after each step for so many replicas.

    WAIT is about the last write of its connection. A step that removed nothing has written nothing, though an earlier
    removal of the same keys, over another connection, may not have reached a replica; so its `nudge` is written first.
    Raises `ReplyError` with the code NOREPLICAS if they do not have it within the time; the writes stand all the same.
    """
    wait = command_bytes("WAIT", replicas, milliseconds)
    try:
        ask = next(op)
        while True:
            # a connection of one's own: others must not wait behind it
            *replies, reached = yield Ask(ask.payload + wait, ask.replies + 1, session=True)
            if ask.nudge is not None and not any(type(reply) is int and reply for reply in replies):
                *_, told, reached = yield Ask(ask.nudge.payload + wait, ask.nudge.replies + 1, session=True)
                if isinstance(told, ReplyError):
                    raise told if told.code in _REDIRECTIONS else ReplyError("NOREPLICAS", "nothing could be written")
            if int_reply(reached) < replicas:
                raise ReplyError("NOREPLICAS", "too few replicas have the write")
            ask = op.send(replies)
    except StopIteration as stop:
        result: T = stop.value
        return result
