"""Pub/sub: one daemon thread and one connection per backend, only while somebody listens.

Messages are hints to look again, so none may be missed silently. After every SUBSCRIBE that the server confirms (the
first one, and those of each reconnect) the listeners are woken once. The connection is pinged while it is quiet, so
that a dead one is noticed. Nobody here knows what a message is about.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from memocache._runtime.randomness import random
from memocache.backends._redis.connect import Dial
from memocache.backends._redis.connection import Connection
from memocache.backends._redis.credentials import renewed
from memocache.backends._redis.resp import command_bytes
from memocache.backends.base import ReplyError

_LINGER = 5.0  # seconds the thread outlives its last listener, for the next is often close behind
_BEAT = 1.0  # seconds of quiet before a PING, and how long its answer may take
_RETRY = (0.05, 1.0)  # first and longest pause between attempts to connect

Wake = Callable[[], None]


class Listener:
    """Calls wakes on messages; `refused` is set once the server has denied pub/sub (by ACL, or too old for it).

    A `sharded` one hears what is published with SPUBLISH, at the cluster's node that holds the channel's slot.
    """

    def __init__(self, dial: Dial, *, sharded: bool = False) -> None:
        self._dial = dial
        self._shard = b"S" if sharded else b""
        self.refused = False
        self._lock = threading.RLock()
        self._wakes: dict[bytes, dict[object, Wake]] = {}
        self._confirmed: set[bytes] = set()
        self._thread: threading.Thread | None = None
        self._bell: tuple[socket.socket, socket.socket] | None = None
        self._closing = False
        self._stale = False
        renewed(dial, self)
        _listeners.add(self)

    def subscribe(self, channel: str, wake: Wake) -> Callable[[], None] | None:
        """Call `wake` from the listener's thread, once when subscribed and after each message, until told to stop.

        None if that cannot be had, and the caller must poll.
        """
        if self.refused:
            return None
        name, token = channel.encode(), object()
        with self._lock:
            self._wakes[name] = {**self._wakes.get(name, {}), token: wake}
            confirmed = name in self._confirmed
            if self._thread is None and not self._begin():
                del self._wakes[name][token]
                return None
        self._ring()
        if confirmed:
            _call(wake)

        def stop() -> None:
            with self._lock:
                left = {key: value for key, value in self._wakes.get(name, {}).items() if key is not token}
                if left:
                    self._wakes[name] = left
                elif self._wakes.pop(name, None) is not None:
                    self._ring()

        return stop

    def _begin(self) -> bool:
        """Start the thread; False if there is no descriptor or thread to be had."""
        try:
            bell = socket.socketpair()
        except OSError:
            return False
        for end in bell:
            end.setblocking(False)
        self._bell = bell
        self._thread = threading.Thread(target=self._listen, name="memocache-listener", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._thread, self._bell = None, None
            for end in bell:
                end.close()
            return False
        return True

    def close(self) -> None:
        """Forget every listener and end the thread soon, without waiting for it."""
        with self._lock:
            self._wakes.clear()
            self._closing = True
        self._ring()

    def renew_logins(self) -> None:
        """Listen over another connection."""
        self._stale = True
        self._ring()

    def after_fork(self) -> None:
        """Begin anew in the child: its parent's listeners are threads that do not exist here."""
        bell = self._bell
        self._lock = threading.RLock()
        self._wakes, self._confirmed = {}, set()
        self._thread, self._bell, self._closing = None, None, False
        for end in bell or ():
            end.close()

    def _ring(self) -> None:
        bell = self._bell
        if bell is not None:
            with contextlib.suppress(OSError):
                bell[1].send(b"!")

    def _listen(self) -> None:
        pause = _RETRY[0]
        while True:
            try:
                if self._converse(Connection(self._dial())):
                    return
                pause = _RETRY[0]
            except ReplyError as error:
                if error.code in ("NOPERM", "UNKNOWN"):
                    self.refused = True
            except Exception:
                pass  # reconnect: whatever it was, listeners poll meanwhile
            with self._lock:
                self._confirmed.clear()
            if self._finish():
                return
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, _RETRY[1])

    def _converse(self, connection: Connection) -> bool:
        """Serve one connection; return True to end the thread, False or an exception to reconnect."""
        bell = self._bell
        assert bell is not None
        events = selectors.DefaultSelector()
        events.register(connection, selectors.EVENT_READ)
        events.register(bell[0], selectors.EVENT_READ)
        asked: set[bytes] = set()
        heard = time.monotonic()
        pinged = False
        unwanted_since: float | None = None
        self._stale = False
        try:
            while not self._stale:
                with self._lock:
                    wanted = set(self._wakes)
                self._send(connection, self._shard + b"SUBSCRIBE", wanted - asked)
                self._send(connection, self._shard + b"UNSUBSCRIBE", asked - wanted)
                asked = wanted
                now = time.monotonic()
                unwanted_since = None if wanted else unwanted_since or now
                if unwanted_since is not None and (self._closing or now - unwanted_since > _LINGER) and self._finish():
                    return True
                if now - heard > _BEAT:
                    if pinged and now - heard > 2 * _BEAT:
                        return False
                    if not pinged:
                        pinged = True
                        connection.send(command_bytes("PING"))
                for ready, _ in events.select(_BEAT / 2):
                    if ready.fileobj is bell[0]:
                        with contextlib.suppress(BlockingIOError):
                            bell[0].recv(4096)
                    else:
                        for reply in connection.receive():
                            self._hear(reply)
                        heard, pinged = time.monotonic(), False
            return False
        finally:
            events.close()
            connection.close()

    def _send(self, connection: Connection, verb: bytes, channels: set[bytes]) -> None:
        if channels:
            # in a cluster one command speaks of one slot
            payload = (
                b"".join(command_bytes(verb, one) for one in channels)
                if self._shard
                else command_bytes(verb, *channels)
            )
            if connection.send(payload) != len(payload):
                raise ConnectionError("the server takes no subscriptions")

    def _hear(self, reply: Any) -> None:
        if isinstance(reply, ReplyError):
            raise reply
        if not isinstance(reply, list) or len(reply) < 2:
            return  # the answer to a PING without subscriptions
        kind, channel = reply[:2]
        if self._shard and type(kind) is bytes:
            kind = kind.removeprefix(b"s")  # ssubscribe, smessage
        with self._lock:
            if kind == b"subscribe":
                self._confirmed.add(channel)
            elif kind == b"unsubscribe":
                self._confirmed.discard(channel)
                return
            wakes = list(self._wakes.get(channel, {}).values()) if kind in (b"subscribe", b"message") else []
        for wake in wakes:
            _call(wake)

    def _finish(self) -> bool:
        """End the thread if nobody listens; the next listener starts another."""
        with self._lock:
            if self._wakes and not self.refused:
                return False
            self._thread, self._closing = None, False
            self._confirmed.clear()
            bell, self._bell = self._bell, None
        for end in bell or ():
            end.close()
        return True


def _call(wake: Wake) -> None:
    with contextlib.suppress(Exception):  # the thread serves others as well
        wake()


_listeners: weakref.WeakSet[Listener] = weakref.WeakSet()


def _after_fork() -> None:
    for listener in list(_listeners):
        listener.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
