"""The words of the protocol: packed commands, parsed replies, and `Ask`, one step of an operation.

Replies that cannot belong to the command raise `ProtocolError`. No I/O here, and no knowledge of what a command means.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeAlias, TypeVar

import hiredis

from memocache.backends.base import ProtocolError, ReplyError

T = TypeVar("T")

MORE = object()
"""What a reader returns while the next reply is incomplete."""

DROP_CODES = frozenset({"CLUSTERDOWN", "LOADING", "MASTERDOWN", "NOAUTH", "READONLY", "UNBLOCKED"})
"""Answers after which another connection may find a better server, so this one is dropped."""

_SCRIPT_ERROR = re.compile(r"-([A-Z]{2,}) ")


class Ask(NamedTuple):
    """One round trip: bytes to send and the number of replies they bring.

    With `session` the server keeps state between this step and the next (WATCH), so the steps that follow must go
    over the same connection and nobody else may use it. With `harmless` it only reads, so it may be sent once more when
    the connection turns out to have been closed; nothing else is ever sent twice. `nudge` is a harmless write that
    replicas are told of whatever stands on the server, for a step that may change nothing (see `confirmed`).
    """

    payload: bytes
    replies: int
    session: bool = False
    harmless: bool = False
    nudge: Ask | None = None


Op: TypeAlias = Generator[Ask, list[Any], T]
"""An operation: yields what it asks for, is sent the replies (errors among them as values), returns its result."""


pack: Callable[[tuple[bytes, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]  # its stub means tuple[…, ...]
"""One command in RESP, of words that are bytes."""


def command_bytes(*words: str | bytes | int) -> bytes:
    """Return one command in RESP."""
    # native code gets bytes alone: it makes nothing of its own then that could fail half-way
    try:
        parts = tuple(map(_encode, words))  # a read, mostly
    except TypeError:
        # without a call for each: a batch has thousands
        parts = tuple(
            [word if type(word) is bytes else word.encode() if type(word) is str else _bytes_of(word) for word in words]
        )
    return pack(parts)


_encode: Callable[[Any], bytes] = str.encode


def _bytes_of(word: str | bytes | int) -> bytes:
    if isinstance(word, bytes):
        return word
    return word.encode() if isinstance(word, str) else b"%d" % word


def new_reader() -> hiredis.Reader:
    """Return a reply parser that gives `MORE` for an incomplete reply and `ReplyError` values for error replies."""
    return hiredis.Reader(protocolError=ProtocolError, replyError=reply_error, notEnoughData=MORE)


def reply_error(text: str) -> ReplyError:
    """Return the error for an error reply; servers that hide the code inside the text are seen through."""
    code = text.split(" ", 1)[0].rstrip(":")
    if code == "ERR":
        if text.startswith("ERR unknown command"):
            code = "UNKNOWN"
        elif text.startswith("ERR max number of clients"):
            code = "MAXCLIENTS"
        elif "user_script" in text and (inner := _SCRIPT_ERROR.search(text)):
            code = inner[1]  # Redis before 7 wraps the error of a command inside a script
    return ReplyError(code if code.isupper() and code.isalpha() and len(code) < 32 else "an error", text)


def values(reply: Any, count: int) -> list[bytes | None]:
    """Return `reply` if it is an array of `count` byte strings and nils, else raise `ReplyError` or `ProtocolError`."""
    if type(reply) is not list or len(reply) != count:
        raise unexpected(reply)
    for value in reply:
        if value is not None and type(value) is not bytes:
            raise ProtocolError("a reply that does not belong to the command")
    return reply


def int_reply(reply: Any) -> int:
    """Return `reply` if it is an integer; raise `ReplyError` or `ProtocolError` if not."""
    if type(reply) is not int:
        raise unexpected(reply)
    return reply


def refused_login(replies: list[Any]) -> bool:
    """Return whether every reply says that the connection is not, or no more, logged in: nothing was carried out."""
    return all(type(reply) is ReplyError and reply.code == "NOAUTH" for reply in replies)


def unexpected(reply: Any) -> Exception:
    """Return what to raise for a reply that does not fit: the error it is, or doubt about the connection."""
    return reply if isinstance(reply, ReplyError) else ProtocolError("a reply that does not belong to the command")
