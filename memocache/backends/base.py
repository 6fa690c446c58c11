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
from typing import Any

from memocache.typing import BackendFacts, Guard, Put, Tally, Watcher

PROBE_KEY = "memocache-probe"
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


class Busy(TimeoutError):
    """No connection of one's own pool came free in time; nothing was sent and the backend is not to blame."""


def holds(guard: Guard, value: bytes | None) -> bool:
    """Return whether `value`, found at the guard's key, satisfies it."""
    if guard.head is None:
        return value is None
    return value is not None and value.startswith(guard.head)


async def in_thread(method: Callable[..., Any], *args: Any, timeout: float | None, **kwargs: Any) -> Any:
    """Await a blocking method in a worker thread, for at most its timeout: one that overruns it is left behind.

    Raises TimeoutError, and what the method raises.
    """
    import asyncio  # not when memocache is imported

    async with asyncio.timeout(timeout):
        return await asyncio.to_thread(method, *args, timeout=timeout, **kwargs)


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

    def tally(self, tallies: Sequence[Tally], *, timeout: float | None = None) -> None:
        """Carry out each tally at once; raise TimeoutError if others always came first (5 s by default)."""
        deadline = time.monotonic() + (_BOUND if timeout is None else timeout)
        for one in tallies:
            old = self.read([one.key], timeout=timeout)[0]
            while True:
                total = _counts(old)
                for name, amount in one.adds.items():
                    total[name] = total.get(name, 0) + amount
                total.update(one.sets)
                # A JSON object is no other object's beginning, so this prefix guard is an equality.
                put = Put(one.key, _pack(total), one.ttl_ms)
                found = self.transact([Guard(one.key, old)], [put], timeout=timeout)
                if found is None:
                    break
                old = found[0]
                if time.monotonic() > deadline:
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
