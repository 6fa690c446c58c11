"""What a backend's author starts from: `BaseBackend`, and the errors whose kind matters to the breaker.

A backend is five methods: `read`, `transact`, `delete`, `scan` and `close`. Everything else has a working default
here. In `transact`, an author without a native set stores `with_member(old value, member)` for each member, and one
without messages ignores `publish`::

    class Mine(BaseBackend):
        def transact(self, guards, puts=(), deletes=(), *, members=(), publish=None, timeout=None):
            with self.lock:
                found = self.read([guard.key for guard in guards])
                if not all(map(holds, guards, found)):
                    return found
                ...

Prove it with `memocache.testing.contract.BackendContract`.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from memocache.typing import BackendFacts, Guard, Once, Put, Tally, Watcher

PROBE_KEY = "memocache-probe"
NO_ROOM = "FULL"
"""The code of a `ReplyError` by which a backend of one's own says that it has no room."""
_BOUND = 5.0


class ReplyError(Exception):
    """The server answered with an error: `code` is its first word (``OOM``, ``NOPERM``, ``READONLY`` …).

    The server's own words are kept in `text` and out of the message, for they may quote keys and values.
    """

    def __init__(self, code: str, text: str = "") -> None:
        super().__init__(f"the server answered {code}")
        self.code = code
        self.text = text


class ProtocolError(ConnectionError):
    """An answer that cannot belong to the question; the connection it came on is dropped."""


class Hangup(ConnectionError):
    """The other side closed the connection."""


class NotReached(ConnectionError):
    """There is no connection to the right server. The text is the backend's own and quotes nothing."""


class NotAccepted(TimeoutError):
    """No connection was to be had in time."""


class NodeFailure(ConnectionError):
    """One node of several failed, which says nothing of the others; `code` is the cause in a word.

    The backend weighs it itself, with a breaker for each node.
    """

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code


class Busy(TimeoutError):
    """No connection of one's own pool came free in time; nothing was sent and the backend is not to blame."""


def holds(guard: Guard, value: bytes | None) -> bool:
    """Return whether `value`, found at the guard's key, satisfies it."""
    if guard.head is None:
        return value is None
    return value is not None and value.startswith(guard.head)


def with_member(blob: bytes | None, member: str) -> bytes:
    """Return the blob of a set of strings with one more in it; None and anything unreadable are the empty set."""
    return _pack(sorted(_members(blob) | {member}))


class BaseBackend(ABC):
    """Working defaults for all of `memocache.typing.Backend` but the five abstract methods.

    Sets and counters are JSON blobs changed by compare-and-set, which is exact under contention but not fast:
    a backend with native ones should use them.
    """

    shared = True
    blocks = True

    @abstractmethod
    def read(self, keys: Sequence[str], *, timeout: float | None = None) -> list[bytes | None]:
        """Return the values of `keys` in their order, None for what is absent or expired."""

    @abstractmethod
    def transact(
        self,
        guards: Sequence[Guard],
        puts: Sequence[Put] = (),
        deletes: Sequence[str] = (),
        *,
        members: Sequence[tuple[str, str]] = (),
        publish: str | None = None,
        timeout: float | None = None,
    ) -> list[bytes | None] | None:
        """Apply all writes at once if every guard `holds` and return None; else return the guards' values."""

    @abstractmethod
    def delete(self, keys: Sequence[str], *, timeout: float | None = None) -> int:
        """Remove `keys` and return how many of them were there."""

    @abstractmethod
    def scan(self, prefix: str, cursor: Any = None, *, timeout: float | None = None) -> tuple[Any, list[str]]:
        """Return `(next cursor, some keys that begin with prefix)`; None begins and ends."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections and files; using the backend again reopens it."""

    def ping(self, *, timeout: float | None = None) -> None:
        """Return if the backend answers a read; raise what it raises otherwise."""
        self.read([PROBE_KEY], timeout=timeout)

    def members(self, key: str, *, timeout: float | None = None) -> set[str]:
        """Return the strings added under `key` by `transact(members=…)`."""
        return _members(self.read([key], timeout=timeout)[0])

    def prolong(self, lives: Sequence[tuple[str, int]], *, timeout: float | None = None) -> None:
        """Write each key that is there anew, with so many milliseconds to live, unless it changes meanwhile."""
        for (key, ttl_ms), value in zip(lives, self.read([key for key, _ in lives], timeout=timeout), strict=True):
            if value is not None:
                self.transact([Guard(key, value)], [Put(key, value, ttl_ms)], timeout=timeout)

    def tally(self, tallies: Sequence[Tally], *, timeout: float | None = None) -> None:
        """Carry out each tally (each step of `once`) at once; raise TimeoutError if others always came first (5 s by
        default).
        """
        deadline = time.monotonic() + (_BOUND if timeout is None else timeout)
        for once, together in groupby(tallies, attrgetter("once")):
            for step in [list(together)] if once is not None else [[one] for one in together]:
                keys = list(dict.fromkeys(one.key for one in step))
                keys += [] if once is None else [once.key]
                old: list[bytes | None] | None = self.read(keys, timeout=timeout)
                while old is not None:
                    puts = counted(step, once, dict(zip(keys, old, strict=True)))
                    if not puts:
                        break
                    # JSON as we write it is no other's beginning, so these prefix guards are equalities.
                    guards = [Guard(key, value) for key, value in zip(keys, old, strict=True)]
                    old = self.transact(guards, puts, timeout=timeout)
                    if old is not None and time.monotonic() > deadline:
                        raise TimeoutError("the counters were always changed by others first")

    def counts(self, keys: Sequence[str], *, timeout: float | None = None) -> list[dict[str, int]]:
        """Return the counters under each of `keys`."""
        return [_counts(blob) for blob in self.read(keys, timeout=timeout)]

    def subscribe(self, channel: str, wake: Callable[[], None]) -> Callable[[], None] | None:
        """Return None: no messages, the caller polls."""
        return None

    def watch(self, starts: Sequence[str], watcher: Watcher) -> Callable[[], None] | None:
        """Return None: nobody is told of changes."""
        return None

    def facts(self, *, timeout: float | None = None) -> BackendFacts:
        """Return the class name as the backend's name, and nothing else."""
        return BackendFacts(type(self).__name__)


def counted(step: Sequence[Tally], once: Once | None, old: dict[str, bytes | None]) -> list[Put]:
    """What stands after a step under the keys of `old`; nothing if the step was taken before."""
    if once is not None and _counts(old[once.key]).get("done", -1) >= once.number:
        return []
    puts: dict[str, Put] = {}
    for one in step:
        total = _counts(puts[one.key].value if one.key in puts else old[one.key])
        for name, amount in one.adds.items():
            total[name] = total.get(name, 0) + amount
        total.update(one.sets)
        puts[one.key] = Put(one.key, _pack(total), one.ttl_ms)
    if once is not None:
        puts[once.key] = Put(once.key, _pack({"done": once.number}), once.ttl_ms)
    return list(puts.values())


def _pack(thing: list[str] | dict[str, int]) -> bytes:
    return json.dumps(thing, separators=(",", ":"), sort_keys=True).encode()


def _unpack(blob: bytes | None) -> Any:
    try:
        return json.loads(blob or b"null")
    except (ValueError, RecursionError):
        return None


def _members(blob: bytes | None) -> set[str]:
    thing = _unpack(blob)
    return {name for name in thing if isinstance(name, str)} if isinstance(thing, list) else set()


def _counts(blob: bytes | None) -> dict[str, int]:
    thing = _unpack(blob)
    return {name: n for name, n in thing.items() if type(n) is int} if isinstance(thing, dict) else {}
