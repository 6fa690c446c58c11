"""Why a backend failed, in words that name what to look at.

An exception goes in, a short text comes out. The text is made of the exception's class, its error number and the
server's error code; what the server said is never repeated, for servers quote keys and values. It promises nothing
about whose fault it is, and knows neither breaker nor budget.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from collections.abc import Iterator

from memocache.backends.base import (
    NO_ROOM,
    Busy,
    Hangup,
    NodeFailure,
    NotAccepted,
    NotReached,
    ProtocolError,
    ReplyError,
)

_REPLIES = {
    "BUSY": "a script keeps the server busy",
    "CLUSTERDOWN": "the cluster is down: some slots are held by no node",
    "CROSSSLOT": "keys of several slots in one command: is it a cluster (redis+cluster://)?",
    "LOADING": "the server is still loading its data",
    "MASTERDOWN": "the replica has lost its primary",
    "MAXCLIENTS": "the server has as many clients as it takes",
    "MISCONF": "the server refuses writes: it cannot save its data to disk",
    "MOVED": "the server is one of a cluster: use redis+cluster://",
    "NOAUTH": "the server wants a password",
    "NOPERM": "no permission",
    "NOREPLICAS": "fewer replicas have the write than wait= demands",
    NO_ROOM: "the store is full",
    "OOM": "out of memory: the server refuses writes",
    "READONLY": "read-only: the server is a replica",
    "TRYAGAIN": "the slot is being moved to another node",
    "UNKNOWN": "the server does not know a command: is it Redis or Valkey?",
    "WRONGPASS": "wrong user name or password",
}
"""What error codes of servers mean."""
_TEXTS = {
    "index is out of range": "no such database: its number is out of range",
    "invalid DB index": "no such database: its number is out of range",
    "without any password": "a password was given, and the server has none",
    "SELECT is not allowed": "no such database: a cluster has number 0 alone",
}
"""What some servers say under one code for many things, and what it means."""
_COMMAND = re.compile(r"the '([a-z|]{1,40})' command")
_CLASSES: tuple[tuple[type[BaseException], str], ...] = (
    (ssl.SSLEOFError, "the server ended the TLS handshake: does that port speak TLS?"),
    (ConnectionRefusedError, "connection refused: nothing listens there"),
    (Hangup, "the server closed the connection"),
    (ConnectionResetError, "the connection was lost"),
    (BrokenPipeError, "the connection was lost"),
    (ProtocolError, "an answer that is no reply to what was asked: does that port speak TLS, or another protocol?"),
    (FileNotFoundError, "no such file or socket"),
    (NotAccepted, "no connection in time"),
    (Busy, "every connection is in use, or its turn did not come in time"),
    (TimeoutError, "no answer in time"),
    (ConnectionError, "the connection was lost"),
)
_TLS_TIMEOUT = "no TLS connection in time: a port that speaks plain text does not answer"
_NODES = {
    "Open": "the node is not asked after failures",
    "Redirected": "the nodes of the cluster send a command round in circles",
}


def cause_of(error: BaseException, *, tls: bool = False) -> str:
    """Why a backend failed, in words; `tls` says that it is spoken to over TLS, which has failures of its own."""
    for one in _chain(error):
        words = _said(one, tls)
        if words:
            return words
    return error.code if isinstance(error, NodeFailure) else type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and the ones that it came of, the first cause first: it says most. What was being handled meanwhile
    (`__context__`) may be the caller's own.
    """
    chain: list[BaseException] = []
    while error not in chain and len(chain) < 10:
        chain.append(error)
        if error.__cause__ is None:
            break
        error = error.__cause__
    return reversed(chain)


def _said(error: BaseException, tls: bool) -> str | None:
    """What one exception means; None for one that says nothing."""
    if isinstance(error, ReplyError):
        return _replied(error)
    if isinstance(error, NotReached):
        return str(error)
    if isinstance(error, NodeFailure):
        return _NODES.get(error.code) or _REPLIES.get(error.code)
    if isinstance(error, socket.gaierror):
        later = error.errno == socket.EAI_AGAIN
        return "the host name cannot be resolved now" if later else "host not found: no such name"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not trusted: {error.verify_message}"
    if tls and isinstance(error, NotAccepted):
        return _TLS_TIMEOUT
    for class_, words in _CLASSES:
        if isinstance(error, class_):
            return words
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "no reason given").replace("_", " ").lower()
        return f"TLS failed ({reason}): does that port speak TLS?"
    if isinstance(error, OSError) and type(error.errno) is int and error.errno in errno.errorcode:
        return os.strerror(error.errno).lower()
    return None


def _replied(error: ReplyError) -> str:
    """What an error reply means."""
    for part, words in _TEXTS.items():
        if part in error.text:
            return words
    words = _REPLIES.get(error.code, f"the server answered {error.code}")
    command = _COMMAND.search(error.text) if error.code == "NOPERM" else None
    return f"{words} for the command {command[1].upper()}" if command is not None else words
