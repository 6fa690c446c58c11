"""The blocking transport: a small pool of connections, and the driver that carries out an operation on one of them.

It promises that an operation has a connection to itself, and that no thread waits longer than its deadline. It does not
know what is asked. Its rules, in the order they were paid for:

1. A connection is used by one operation at a time. It goes back only if it is owed nothing and nothing went wrong; an
   exception of any kind (a signal handler's, GreenletExit) closes it, also between question and answer.
2. Capacity is the number of living `_Permit` objects, not a counter. A thread that is interrupted between taking and
   giving back loses the reference, and the permit is free again. The weak callback is C code, which no signal can
   interrupt.
3. No plain lock is held while anything waits, so a signal handler that uses the cache cannot deadlock its thread.
4. After a fork the child starts empty. It closes its copies of the descriptors, which the parent does not notice.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Generator
from typing import Any, TypeVar

from memocache.backends._redis.connect import Dial, connect_in_thread
from memocache.backends._redis.connection import HANGUPS, Connection
from memocache.backends._redis.credentials import renewed
from memocache.backends._redis.resp import Op, refused_login
from memocache.backends.base import Busy, NotAccepted, ProtocolError, ReplyError

T = TypeVar("T")

_SLICE = 0.05  # a wake-up lost to an interrupted thread costs at most this much


class _Permit:
    """One unit of the pool's capacity, alive as long as its connection (or the attempt to open one)."""

    __slots__ = ("__weakref__",)


class _Waiter:
    """A thread that waits for a connection, and what became of its own attempt to open one."""

    __slots__ = ("_bell", "dialing", "error", "made")

    def __init__(self) -> None:
        self._bell = threading.Lock()
        self._bell.acquire()
        self.dialing = False
        self.made: Connection | None = None
        self.error: Exception | None = None

    def wait(self, seconds: float) -> None:
        self._bell.acquire(timeout=seconds)

    def ring(self) -> None:
        with contextlib.suppress(RuntimeError):  # rung already
            self._bell.release()


class Pool:
    """At most `size` connections; `timeout` is seconds that an operation may take when its caller does not say."""

    def __init__(self, dial: Dial, size: int, timeout: float) -> None:
        self._dial = dial
        self._size = size
        self._timeout = timeout
        self._idle: deque[Connection] = deque()
        self._waiters: deque[_Waiter] = deque()
        self._permits: set[weakref.ref[_Permit]] = set()
        self._growing = threading.RLock()
        self._closings = 0
        self._logs_in = renewed(dial, self)
        _pools.add(self)

    def run(self, op: Op[T], timeout: float | None = None) -> T:
        """Carry out `op` on one connection and return its result.

        Raises Busy if no connection came free in time, TimeoutError, ConnectionError or another OSError for the
        transport, and what `op` raises.
        """
        steps = self.steps(op, time.monotonic() + (self._timeout if timeout is None else timeout))
        try:
            while True:
                next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def ask_now(self, question: bytes, deadline: float) -> Any:
        """The one reply to a harmless `question`, over an idle connection, before `deadline` (monotonic seconds).

        None where `run` has more to do: there is no idle connection, or it was closed. Raises TimeoutError,
        ConnectionError or another OSError.
        """
        home = self._idle
        try:
            connection = home.pop()
        except IndexError:
            return None
        fine = False
        try:
            if connection.dirty():
                fine = not connection.used  # turned away at the door: `run` reads why
                return None
            reply = connection.exchange(question, deadline)
            fine = not connection.doubtful and home is self._idle
            return reply
        except HANGUPS:
            return None
        finally:
            if fine:
                home.append(connection)
                if self._waiters:
                    self._ring()
            else:
                connection.close()

    def steps(self, op: Op[T], deadline: float) -> Generator[None, None, T]:
        """As `run`, until `deadline` (monotonic seconds), with a pause after each question, before its answer."""
        try:
            ask = next(op)
        except StopIteration as stop:
            result: T = stop.value
            return result
        home = self._idle
        connection = self._acquire(deadline)
        fine = retried = False
        try:
            while True:
                try:
                    connection.ask(ask.payload, ask.replies, deadline)
                    yield
                    replies = connection.answer(deadline)
                except HANGUPS:
                    if not ask.harmless or retried:
                        raise
                    retried = True
                    connection.close()
                    connection = self._acquire(deadline)
                    continue
                if connection.doubtful and self._logs_in and not retried and refused_login(replies):
                    retried = True  # none of it was carried out
                    connection.close()
                    connection = self._acquire(deadline)
                    continue
                try:
                    ask = op.send(replies)
                except StopIteration as stop:
                    result = stop.value
                    fine = True
                    return result
                except ReplyError:
                    fine = not ask.session
                    raise
                if connection.dirty():
                    raise ProtocolError("a reply that nobody asked for")
        finally:
            if fine and not connection.owed and not connection.doubtful and home is self._idle:
                self._release(home, connection)
            else:
                connection.close()

    def close(self) -> None:
        """Close idle connections now and those in use when they are done; the pool can be used again."""
        self._closings += 1
        self.renew_logins()

    def renew_logins(self) -> None:
        """Close idle connections now and those in use when they are done; what is being opened meanwhile is fresh."""
        idle, self._idle = self._idle, deque()
        while idle:
            with contextlib.suppress(IndexError):
                idle.pop().close()

    def renew(self) -> None:
        """Close idle connections: one proved dead without a word, and so may all be that are as old.

        A connection that is being opened meanwhile is young, and stays.
        """
        idle = self._idle
        with contextlib.suppress(IndexError):
            while True:
                idle.pop().close()

    def after_fork(self) -> None:
        """Forget everything in the child; only its own copies of the descriptors are closed."""
        idle, self._idle = self._idle, deque()
        self._waiters, self._permits, self._growing = deque(), set(), threading.RLock()
        for connection in idle:
            connection.close()

    def _acquire(self, deadline: float) -> Connection:
        connection = self._pop()
        return self._wait(deadline) if connection is None else connection

    def _pop(self) -> Connection | None:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if not connection.dirty():
                return connection
            if not connection.used:
                connection.refused = connection.refusal()
            connection.close()

    def _release(self, home: deque[Connection], connection: Connection) -> None:
        home.append(connection)
        self._ring()

    def _ring(self) -> None:
        with contextlib.suppress(IndexError):
            self._waiters.popleft().ring()

    def _wait(self, deadline: float) -> Connection:
        waiter = _Waiter()
        try:
            while True:
                # First in line, then look: a connection released in between rings this bell.
                if waiter not in self._waiters:
                    self._waiters.append(waiter)
                connection = self._pop()
                if connection is not None:
                    return connection
                if waiter.made is not None and waiter.made.refused is not None:
                    raise waiter.made.refused  # turned away at the door (maxclients, say)
                if waiter.error is not None:
                    raise waiter.error
                if not waiter.dialing:
                    self._grow(waiter)  # again, if another took the connection that this one made
                left = deadline - time.monotonic()
                if left <= 0:
                    if waiter.dialing:
                        raise NotAccepted("the server did not accept a connection in time")
                    raise Busy("every connection of the pool is in use")
                waiter.wait(min(left, _SLICE))
        finally:
            try:
                self._waiters.remove(waiter)
            except ValueError:
                self._ring()  # somebody rang for us, and we may not need it

    def _grow(self, waiter: _Waiter) -> None:
        """Begin to open another connection, if there is room; it comes back through the idle ones."""
        with self._growing:
            if len(self._permits) >= self._size:
                return
            permit = _Permit()
            self._permits.add(weakref.ref(permit, self._permits.discard))
        closings = self._closings

        def done(connection: Connection | None, error: Exception | None) -> None:
            nonlocal permit
            if connection is None:
                waiter.error = error
                del permit
            elif closings == self._closings:
                waiter.made = connection
                connection.permit = permit
                del permit
                self._release(self._idle, connection)
            else:
                connection.close()
                waiter.error = ConnectionError("the backend was closed meanwhile")
            waiter.dialing = False
            waiter.ring()

        waiter.dialing = True
        connect_in_thread(self._dial, done)


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


def _after_fork() -> None:
    for pool in list(_pools):
        pool.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
