"""Server-assisted client-side caching: one connection that is told of every change to keys of some prefixes.

``CLIENT TRACKING ON BCAST`` over RESP3 (Redis 6 and newer, Valkey). The server writes its messages of one turn of its
event loop before the answers of that turn, so when the answer to a PING arrives, every change acknowledged to anybody
before that PING was sent has been told. That is what `Watcher.heard` passes on, and why a quiet connection is pinged.

Of one change the server tells nobody: ``SWAPDB`` puts another database in the place of ours. So the database has a name
of its own under a key of the prefix's (kind ``n``), which is read with each PING: another name, or none any more, is
another database, of which nothing is known. A server that takes no writes has no name, and is not asked again for long.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import hiredis

from memocache._runtime.randomness import random
from memocache.backends._redis.connect import Dial
from memocache.backends._redis.connection import Connection
from memocache.backends._redis.credentials import renewed
from memocache.backends._redis.resp import command_bytes
from memocache.backends.base import ReplyError
from memocache.typing import Watcher

BEAT_SECONDS = 0.3
"""How often it asks; what a watcher may believe lasts three of these."""
_ANSWER_SECONDS = 2.0
_RETRY = (0.05, 1.0)  # first and longest pause between attempts to connect
_NAME_SECONDS = 3600.0  # life of the database's name after the last process that read it
_NAME_AGAIN = 10.0  # seconds until a name is given again where it could not be
_REFUSED = frozenset({"NOPERM", "NOPROTO", "UNKNOWN", "ERR"})


class ClientTracking:
    """A daemon thread that tells `watcher` what a server says of keys that begin with one of `starts`, until it is
    stopped or the watcher is gone.

    `question` is what it asks instead of a PING, and `judge` is given each answer, before `watcher` is told that it
    came; it raises an OSError to have another connection. `named` is whether databases can be swapped there.
    """

    def __init__(
        self,
        dial: Dial,
        starts: Sequence[str],
        watcher: Watcher,
        question: Sequence[str] = ("PING",),
        judge: Callable[[Any], None] = lambda _: None,
        *,
        named: bool = True,
    ) -> None:
        self._dial = dial
        self._starts = starts
        self._question = command_bytes(*question)
        self._judge = judge
        self._watcher = weakref.ref(watcher, lambda _: self.stop())
        self._bell = socket.socketpair()
        for end in self._bell:
            end.setblocking(False)
        self._stopped = False
        self._connection: Connection | None = None
        self._owed: deque[tuple[float, Callable[[Any, float], None]]] = deque()
        """What the server owes an answer to: when it was sent, and who hears the answer."""
        self._name_key = f"{starts[0].partition(':')[0]}:n:database" if named and starts else None
        self._name: bytes | None = None
        self._name_at = -inf
        self._stale = False
        renewed(dial, self)
        _trackers.add(self)
        threading.Thread(target=self._track, name="memocache-tracker", daemon=True).start()

    def stop(self) -> None:
        """End the thread soon, without waiting for it."""
        self._stopped = True
        with contextlib.suppress(OSError):
            self._bell[1].send(b"!")

    def renew_logins(self) -> None:
        """Listen over another connection; copies begin anew."""
        self._stale = True
        with contextlib.suppress(OSError):
            self._bell[1].send(b"!")

    def after_fork(self) -> None:
        """In the child, where the thread does not exist: let go of its descriptors.

        A connection that the child kept open and never read would outlive the parent's, and the server's memory with
        what it has to say there would grow.
        """
        for end in self._bell:
            end.close()
        if self._connection is not None:
            self._connection.close()

    def _changed(self, keys: list[str] | None) -> None:
        watcher = self._watcher()
        if watcher is not None:
            watcher.changed(keys)

    def _heard(self, since: float) -> None:
        watcher = self._watcher()
        if watcher is not None:
            watcher.heard(since)

    def _track(self) -> None:
        pause = _RETRY[0]
        try:
            while not self._stopped:
                begun = time.monotonic()
                try:
                    self._converse()
                except ReplyError as error:
                    watcher = self._watcher()
                    if error.code in _REFUSED and watcher is not None and not self._stopped:
                        watcher.refused()
                        return
                    del watcher
                except Exception:
                    pass  # connect again, whatever it was: until then nothing is heard
                if self._stopped:
                    return
                self._heard(-inf)
                pause = _RETRY[0] if time.monotonic() - begun > _RETRY[1] else min(2 * pause, _RETRY[1])
                self._wait(pause * random.uniform(0.5, 1.0))
        finally:
            for end in self._bell:
                end.close()

    def _wait(self, seconds: float) -> None:
        with selectors.DefaultSelector() as events:
            events.register(self._bell[0], selectors.EVENT_READ)
            events.select(seconds)

    def _converse(self) -> None:
        """Serve one connection until it ends, by an exception or because nobody wants it any more."""
        connection = self._connection = Connection(self._dial())
        with contextlib.closing(connection), selectors.DefaultSelector() as events:
            events.register(connection, selectors.EVENT_READ)
            events.register(self._bell[0], selectors.EVENT_READ)
            prefixes = [word for start in self._starts for word in ("PREFIX", start)]
            # the answer to the first PING comes after these, and says that tracking is on
            self._send(
                connection, command_bytes("HELLO", "3") + command_bytes("CLIENT", "TRACKING", "ON", "BCAST", *prefixes)
            )
            next_at = time.monotonic()
            self._owed = deque([(next_at, self._greeted), (next_at, self._tracks)])
            self._name, self._name_at = None, -inf
            self._stale = False
            while not self._stopped and not self._stale:
                now = time.monotonic()
                if now >= next_at:
                    next_at = now + BEAT_SECONDS
                    self._send(connection, self._ask_name(now) + self._question)
                    self._owed.append((now, self._answered))
                ready = [key.fileobj for key, _ in events.select(max(0.0, next_at - now))]
                if self._bell[0] in ready:
                    with contextlib.suppress(BlockingIOError):
                        self._bell[0].recv(4096)
                if connection in ready:
                    self._hear(connection.receive())
                elif self._owed and now - self._owed[0][0] > _ANSWER_SECONDS:
                    raise TimeoutError("no answer to a question")

    @staticmethod
    def _send(connection: Connection, payload: bytes) -> None:
        if connection.send(payload) != len(payload):
            raise ConnectionError("the server takes no more bytes")

    def _hear(self, replies: list[Any]) -> None:
        for reply in replies:
            if not isinstance(reply, hiredis.PushNotification):
                sent, hear = self._owed.popleft()
                hear(reply, sent)
            elif reply[0] == b"invalidate" and reply[1] is not None:
                self._changed([key.decode("utf-8", "replace") for key in reply[1]])
            else:  # the whole database was emptied, or the server says something that we do not know
                self._changed(None)

    def _greeted(self, reply: Any, sent: float) -> None:
        if isinstance(reply, ReplyError):
            raise reply

    def _tracks(self, reply: Any, sent: float) -> None:
        self._greeted(reply, sent)
        self._changed(None)  # nobody told of what came before now

    def _answered(self, reply: Any, sent: float) -> None:
        self._greeted(reply, sent)
        self._judge(reply)
        self._heard(sent)

    # -- the database's name

    def _ask_name(self, now: float) -> bytes:
        """What to say to have the name read, made if there is none, and kept."""
        if self._name_key is None:
            return b""
        words = b""
        if now >= self._name_at:
            self._name_at = now + (_NAME_AGAIN if self._name is None else _NAME_SECONDS / 3)
            life = ("PX", int(_NAME_SECONDS * 1000))
            if self._name is None:
                words = command_bytes("SET", self._name_key, os.urandom(8).hex(), *life, "NX")
            else:
                words = command_bytes("PEXPIRE", self._name_key, life[1])
            self._owed.append((now, self._named))
        self._owed.append((now, self._heard_name))
        return words + command_bytes("GET", self._name_key)

    def _named(self, reply: Any, sent: float) -> None:
        if isinstance(reply, ReplyError) and reply.code in _REFUSED:
            self._name_key = None  # by ACL: nobody shall be asked in vain for ever

    def _heard_name(self, reply: Any, sent: float) -> None:
        if type(reply) is not bytes:
            reply, self._name_at = None, sent if self._name is not None else self._name_at
        if self._name not in (None, reply):
            self._changed(None)
        self._name = reply


_trackers: weakref.WeakSet[ClientTracking] = weakref.WeakSet()


def _after_fork() -> None:
    for tracker in list(_trackers):
        tracker.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
