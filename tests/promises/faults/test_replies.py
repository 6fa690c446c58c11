"""The parser's own bound: an array of an impossible length is refused wherever it stands and however it arrives."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from memocache.backends._redis.connection import Connection
from memocache.backends.base import ProtocolError

BOMB = b"*2147483647\r\n"
LOOKALIKE = b"x\r\n" + BOMB + b"\r\n*99999999\r\n\r\n*12"
GOOD = [
    (b"*1\r\n$%d\r\n" % len(LOOKALIKE) + LOOKALIKE + b"\r\n", [LOOKALIKE]),
    (b"*2\r\n$%d\r\n" % len(LOOKALIKE) + LOOKALIKE + b"\r\n*1\r\n$1\r\ny\r\n", [LOOKALIKE, [b"y"]]),
    (b"*3\r\n$-1\r\n$0\r\n\r\n$2\r\n\r\n\r\n", [None, b"", b"\r\n"]),
    (b"$%d\r\n" % len(BOMB) + BOMB + b"\r\n", BOMB),
]
BAD = [
    BOMB,
    b"*1\r\n" + BOMB,
    b"*2\r\n$1\r\nx\r\n" + BOMB,
    b"*2\r\n$%d\r\n" % len(LOOKALIKE) + LOOKALIKE + b"\r\n" + BOMB,
    b"*1\r\n*10000000\r\n",
    b":1\r\n" + BOMB,
]


@pytest.fixture
def feed() -> Iterator[Callable[..., list[Any]]]:
    """A function that sends pieces to a new wire and returns the replies they make."""
    ends: list[Any] = []

    def send(*pieces: bytes) -> list[Any]:
        ours, theirs = socket.socketpair()
        wire = Connection(ours)
        ends.extend((wire, theirs))
        replies = []
        for piece in pieces:
            theirs.sendall(piece)
            replies += wire.receive()
        return replies

    yield send
    for end in ends:
        end.close()


@pytest.mark.parametrize("number", range(len(GOOD)))
def test_strings_that_look_like_bombs_pass(feed: Callable[..., list[Any]], number: int) -> None:
    """Cut in two at any byte, replies whose strings contain headers of bombs come out as they are."""
    raw, expected = GOOD[number]
    for at in range(len(raw)):
        assert feed(raw[:at] or raw[:1], raw[at or 1 :] + raw) == [expected, expected]


@pytest.mark.parametrize("number", range(len(BAD)))
def test_bombs_do_not(feed: Callable[..., list[Any]], number: int) -> None:
    """Cut in two at any byte, a bomb is refused before room is made for it."""
    raw = BAD[number]
    for at in range(1, len(raw)):
        with pytest.raises(ProtocolError):
            feed(raw[:at], raw[at:] + b"$1\r\nx\r\n" * 9)
