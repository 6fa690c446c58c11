"""Why a backend failed, in words: each kind of failure names its cause, and none repeats what the server said."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memocache.backends._error_messages import cause_of
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

CANARY = "c4n4ry"
PLAIN_PORT = ssl.SSLError(1, f"[SSL: WRONG_VERSION_NUMBER] wrong version number {CANARY}")
PLAIN_PORT.reason = "WRONG_VERSION_NUMBER"
UNTRUSTED = ssl.SSLCertVerificationError(1, CANARY)
UNTRUSTED.verify_message = "self-signed certificate"


def caused(error: Exception, cause: BaseException) -> Exception:
    """The error, as it comes out of ``raise error from cause``."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, CANARY), "connection refused"),
        (caused(NotReached("not reached"), ConnectionRefusedError(111, CANARY)), "connection refused"),
        (socket.gaierror(socket.EAI_NONAME, CANARY), "host not found"),
        (socket.gaierror(socket.EAI_AGAIN, CANARY), "cannot be resolved"),
        (UNTRUSTED, "certificate not trusted: self-signed"),
        (PLAIN_PORT, "does that port speak TLS"),
        (ssl.SSLEOFError(8, CANARY), "TLS"),
        (ReplyError("ERR", f"ERR DB index is out of range {CANARY}"), "no such database"),
        (ReplyError("ERR", "ERR invalid DB index"), "no such database"),
        (ReplyError("WRONGPASS", CANARY), "wrong user name or password"),
        (ReplyError("WRONGPASS", "AUTH called without any password configured"), "the server has none"),
        (ReplyError("NOAUTH", CANARY), "wants a password"),
        (ReplyError("NOPERM", f"NOPERM {CANARY} may not run the 'get' command"), "no permission for the command GET"),
        (ReplyError("NOPERM", f"NOPERM no permissions to access '{CANARY}' key"), "no permission"),
        (ReplyError("OOM", CANARY), "out of memory"),
        (ReplyError("READONLY", CANARY), "read-only"),
        (ReplyError("MISCONF", CANARY), "cannot save"),
        (ReplyError(NO_ROOM, CANARY), "full"),
        (ReplyError("WHATEVER", CANARY), "the server answered WHATEVER"),
        (Hangup(CANARY), "closed the connection"),
        (ConnectionResetError(104, CANARY), "lost"),
        (ProtocolError(CANARY), "no reply to what was asked"),
        (FileNotFoundError(2, CANARY), "no such file"),
        (OSError(errno.ENOSPC, CANARY), "no space left"),
        (NotAccepted(CANARY), "no connection in time"),
        (TimeoutError(CANARY), "no answer in time"),
        (Busy(CANARY), "in use"),
        (NodeFailure(CANARY, "Open"), "not asked after failures"),
        (caused(NodeFailure(CANARY, "OSError"), ConnectionRefusedError(111, CANARY)), "connection refused"),
        (NodeFailure(CANARY, "stalled"), "stalled"),
        (NodeFailure(CANARY, "WRONGPASS"), "wrong user name or password"),
        (NotReached("the sentinels know no service of that name"), "know no service"),
        (KeyError(CANARY), "KeyError"),
    ],
)  # fmt: skip
def test_each_failure_names_its_cause(error: Exception, words: str) -> None:
    """An operator reads what to look at; the server's own text, which may quote keys and values, is not there."""
    cause = cause_of(error)
    assert words in cause
    assert CANARY not in cause


def test_a_plain_port_behind_tls_says_nothing_in_time() -> None:
    """A server without TLS waits for more of what it takes for a command: over TLS a timeout says so."""
    assert "TLS" in cause_of(NotAccepted("no"), tls=True)
    assert "TLS" not in cause_of(TimeoutError("no"), tls=True), "it answered before: that is another trouble"


def test_what_the_caller_was_handling_is_not_the_cause() -> None:
    """A cached call in an ``except`` block carries the caller's exception as context, which has nothing to say."""
    error = TimeoutError(CANARY)
    error.__context__ = FileNotFoundError(2, CANARY)
    assert cause_of(error) == "no answer in time"


@given(st.sampled_from([OSError, ValueError, ReplyError, ConnectionError, TimeoutError, ProtocolError]), st.text())
def test_no_text_of_a_failure_is_repeated(kind: type[Exception], text: str) -> None:
    """Whatever an exception says, its cause is in our words, or the name of its class."""
    said = cause_of(ReplyError("ERR", f"{CANARY}{text}") if kind is ReplyError else kind(f"{CANARY}{text}"))
    assert said
    assert CANARY not in said
