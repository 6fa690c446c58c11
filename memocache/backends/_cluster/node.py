"""One node of a cluster: its connections in both colours, its breaker, and what its failures mean.

A node that fails is left alone, and only it. It does not know which slots it holds.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from memocache._runtime.circuit_breaker import Breaker
from memocache._runtime.randomness import random
from memocache.backends._cluster.slots import Address
from memocache.backends._redis.connect import Dial, dialer
from memocache.backends._redis.credentials import logging_in
from memocache.backends._redis.multiplexer import Multiplexer
from memocache.backends._redis.pool import Pool
from memocache.backends._redis.pubsub import Listener
from memocache.backends._redis.resp import Op
from memocache.backends._settings import RedisSettings
from memocache.backends.base import Busy, NodeFailure, ProtocolError, ReplyError

DOUBTFUL = frozenset({"CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY", "UNBLOCKED"})
"""Answers after which the table is doubtful."""
_SICK = DOUBTFUL | {"BUSY", "MAXCLIENTS"}
"""Answers that count against the node."""
_MOVING = frozenset({"ASK", "MOVED", "TRYAGAIN"})
"""Answers that speak of the slot."""


class NotConnected(ConnectionError):
    """There was no connection to be had, so nothing was sent."""


class Node:
    """One server of the cluster: its connections in both colours, and its breaker."""

    def __init__(self, address: Address, settings: RedisSettings) -> None:
        dial = _telling(dialer(replace(settings, host=address[0], port=address[1])))
        dial = logging_in(dial, settings.credentials)
        self.address = address
        self.pool = Pool(dial, settings.max_connections, settings.timeout)
        self.multiplexer = Multiplexer(dial, settings.timeout)
        self.listener = Listener(dial, sharded=True)
        self.breaker = Breaker()
        self.probe_at = 0.0
        self._probing = threading.Lock()

    def close(self) -> None:
        """Let go of every connection."""
        self.listener.close()
        self.pool.close()
        self.multiplexer.close()

    def after_fork(self) -> None:
        """Forget, in a child, the parent's probe; connections see to themselves."""
        self._probing = threading.Lock()

    def weigh(self, failure: Exception | None) -> None:
        """Take in how something ended at this node; a failure that many had in common counts once."""
        now = time.monotonic()
        if (
            failure is None
            or isinstance(failure, Busy)
            or (isinstance(failure, ReplyError) and failure.code not in _SICK)
        ):
            self.breaker.succeeded(now)
            return
        if getattr(failure, "weighed", False):
            return
        failure.weighed = True  # type: ignore[attr-defined]  # ours alone; an exception takes any attribute
        # nobody there costs the next caller a wait as well
        if self.breaker.failed(now, timeout=isinstance(failure, TimeoutError) or unsent(failure)):
            self.probe_at = now + self.breaker.probe_in(now, random.random())

    def probe(self, question: Callable[[], Op[None]], seconds: float) -> None:
        """Close the breaker if the node answers `question` well within `seconds`; one at a time, without waiting."""
        if time.monotonic() < self.probe_at or not self._probing.acquire(blocking=False):
            return
        try:
            threading.Thread(target=self._probe, args=(question, seconds), name="memocache-probe", daemon=True).start()
        except RuntimeError:  # no thread to be had; the background comes by again
            self._probing.release()

    def _probe(self, question: Callable[[], Op[None]], seconds: float) -> None:
        try:
            self.pool.run(question(), seconds)
        except Exception:  # whatever it is, the node is not well yet
            self.pool.renew()
            self.multiplexer.doubt()
            now = time.monotonic()
            self.probe_at = now + self.breaker.probe_in(now, random.random())
        else:
            self.breaker.closed()
        finally:
            self._probing.release()


def _telling(dial: Dial) -> Dial:
    """A dial whose failures say that nothing was sent."""

    def telling() -> socket.socket:
        try:
            return dial()
        except TimeoutError:
            raise
        except OSError as error:
            raise NotConnected("the node could not be reached") from error

    return telling


def unsent(failure: BaseException) -> bool:
    """Whether there was not even a connection."""
    return isinstance(failure, NotConnected) or isinstance(failure.__cause__, NotConnected)


def may_repeat(failure: Exception, harmless: bool) -> bool:
    """Whether another node may be asked the same: nothing was sent, or it only reads and the connection was lost."""
    lost = isinstance(failure, ConnectionError) and not isinstance(failure, ProtocolError)
    return lost and (harmless or unsent(failure))


def translated(failure: Exception) -> Exception:
    """What to raise for what came of a job: what says nothing about the node or its slots as it is."""
    if isinstance(failure, ReplyError):
        if failure.code not in _SICK | _MOVING:
            return failure
    elif isinstance(failure, Busy) or not isinstance(failure, OSError):
        return failure
    fresh = NodeFailure("a node failed", word_for(failure))
    fresh.__cause__ = failure
    return fresh


def word_for(failure: Exception) -> str:
    """A failure in a word."""
    return failure.code if isinstance(failure, ReplyError) else type(failure).__name__
