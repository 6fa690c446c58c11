"""The blocking transport: a small LIFO pool of wires, and the driver that carries out an operation on one.

Rules, in the order they were paid for:

1. A wire is used by one operation at a time and goes back only if it is owed nothing and nothing went wrong; an
   exception of any kind (a signal handler's, GreenletExit) means it is closed, also between question and answer.
2. Capacity is the number of living `_Place` objects, not a counter: whoever is interrupted between taking and giving
   back loses the reference, and the place is free again. The weak callback is C code, which no signal can interrupt.
3. No plain lock is held while anything waits, so a signal handler that uses the cache cannot deadlock its thread.
4. After a fork the child starts empty; it closes its copies of the descriptors, which the parent does not notice.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Generator
from typing import TypeVar

from memocache.backends._redis.connection import HANGUPS, Dial, Wire, in_thread
from memocache.backends._redis.resp import Op
from memocache.backends.base import Busy, ProtocolError, ReplyError

T = TypeVar("T")

_SLICE = 0.05  # a wake-up lost to an interrupted thread costs at most this much


class _Place:
    """One unit of the pool's capacity, alive as long as its wire (or the attempt to open one)."""

    __slots__ = ("__weakref__",)


class _Waiter:
    """A thread that waits for a wire, and what became of its own attempt to open one."""

    __slots__ = ("_bell", "dialing", "error", "made")

    def __init__(self) -> None:
        self._bell = threading.Lock()
        self._bell.acquire()
        self.dialing = False
        self.made: Wire | None = None
        self.error: Exception | None = None

    def wait(self, seconds: float) -> None:
        self._bell.acquire(timeout=seconds)

    def ring(self) -> None:
        with contextlib.suppress(RuntimeError):  # rung already
            self._bell.release()


class Pool:
    """At most `size` wires; `timeout` is seconds an operation may take altogether when its caller does not say."""

    def __init__(self, dial: Dial, size: int, timeout: float) -> None:
        self._dial = dial
        self._size = size
        self._timeout = timeout
        self._idle: deque[Wire] = deque()
        self._waiters: deque[_Waiter] = deque()
        self._places: set[weakref.ref[_Place]] = set()
        self._growing = threading.RLock()
        _pools.add(self)

    def run(self, op: Op[T], timeout: float | None = None) -> T:
        """Carry out `op` on one wire and return its result.

        Raises Busy if no wire came free in time, TimeoutError, ConnectionError or another OSError for the transport,
        and what `op` raises.
        """
        steps = self.steps(op, time.monotonic() + (self._timeout if timeout is None else timeout))
        try:
            while True:
                next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def steps(self, op: Op[T], deadline: float) -> Generator[None, None, T]:
        """As `run`, until `deadline` (monotonic seconds), with a pause after each question, before its answer."""
        try:
            ask = next(op)
        except StopIteration as stop:
            result: T = stop.value
            return result
        home = self._idle
        wire = self._acquire(deadline)
        fine = retried = False
        try:
            while True:
                try:
                    wire.ask(ask.payload, ask.replies, deadline)
                    yield
                    replies = wire.answer(deadline)
                except HANGUPS:
                    if not ask.harmless or retried:
                        raise
                    retried = True
                    wire.close()
                    wire = self._acquire(deadline)
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
                if wire.dirty():
                    raise ProtocolError("a reply that nobody asked for")
        finally:
            if fine and not wire.owed and not wire.doubtful and home is self._idle:
                self._release(home, wire)
            else:
                wire.close()

    def close(self) -> None:
        """Close idle wires now and those in use when they are done; the pool can be used again."""
        idle, self._idle = self._idle, deque()
        while idle:
            with contextlib.suppress(IndexError):
                idle.pop().close()

    def renew(self) -> None:
        """Close idle wires, for one proved dead without a word, and so may be all that are as old; what is being opened
        meanwhile is young.
        """
        idle = self._idle
        with contextlib.suppress(IndexError):
            while True:
                idle.pop().close()

    def after_fork(self) -> None:
        """Forget everything in the child; only its own copies of the descriptors are closed."""
        idle, self._idle = self._idle, deque()
        self._waiters, self._places, self._growing = deque(), set(), threading.RLock()
        for wire in idle:
            wire.close()

    def _acquire(self, deadline: float) -> Wire:
        wire = self._pop()
        return self._wait(deadline) if wire is None else wire

    def _pop(self) -> Wire | None:
        while True:
            try:
                wire = self._idle.pop()
            except IndexError:
                return None
            if not wire.dirty():
                return wire
            if not wire.used:
                wire.refused = wire.refusal()
            wire.close()

    def _release(self, home: deque[Wire], wire: Wire) -> None:
        home.append(wire)
        self._ring()

    def _ring(self) -> None:
        with contextlib.suppress(IndexError):
            self._waiters.popleft().ring()

    def _wait(self, deadline: float) -> Wire:
        waiter = _Waiter()
        try:
            while True:
                # First in line, then look: a wire released in between rings this bell.
                if waiter not in self._waiters:
                    self._waiters.append(waiter)
                wire = self._pop()
                if wire is not None:
                    return wire
                if waiter.made is not None and waiter.made.refused is not None:
                    raise waiter.made.refused  # turned away at the door (maxclients, say)
                if waiter.error is not None:
                    raise waiter.error
                if not waiter.dialing:
                    self._grow(waiter)  # again, if another took the wire that this one made
                left = deadline - time.monotonic()
                if left <= 0:
                    if waiter.dialing:
                        raise TimeoutError("the server did not accept a connection in time")
                    raise Busy("every connection of the pool is in use")
                waiter.wait(min(left, _SLICE))
        finally:
            try:
                self._waiters.remove(waiter)
            except ValueError:
                self._ring()  # somebody rang for us, and we may not need it

    def _grow(self, waiter: _Waiter) -> None:
        """Begin to open another wire, if there is room; it comes back through the idle ones."""
        with self._growing:
            if len(self._places) >= self._size:
                return
            place = _Place()
            self._places.add(weakref.ref(place, self._places.discard))
        home = self._idle

        def done(wire: Wire | None, error: Exception | None) -> None:
            nonlocal place
            if wire is None:
                waiter.error = error
                del place
            elif home is self._idle:
                waiter.made = wire
                wire.place = place
                del place
                self._release(home, wire)
            else:
                wire.close()
                waiter.error = ConnectionError("the backend was closed meanwhile")
            waiter.dialing = False
            waiter.ring()

        waiter.dialing = True
        in_thread(self._dial, done)


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


def _after_fork() -> None:
    for pool in list(_pools):
        pool.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
