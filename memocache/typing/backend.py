"""The protocols that others may implement.

A **backend** is byte storage with one atomic operation. Everything memocache promises (single-flight, invalidation,
accepted stores) is built on `Backend.read` and `Backend.transact`; the rest has working defaults in
`memocache.backends.base.BaseBackend`. Keys are short `str` without control characters; values are `bytes`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, Self, TypeAlias, runtime_checkable


class Put(NamedTuple):
    """One write: `ttl_ms` is the life in whole milliseconds (at least 1), or None for no expiry."""

    key: str
    value: bytes
    ttl_ms: int | None = None


class Guard(NamedTuple):
    """One condition of a transaction: the key is absent (`head` None), or its value begins with the bytes `head`."""

    key: str
    head: bytes | None = None


class Pieces(bytes):
    """A large value in pieces, for backends that have `pieces_from`: as bytes it is only the first of them."""

    pieces: Sequence[bytes | memoryview]

    def __new__(cls, pieces: Sequence[bytes | memoryview]) -> Self:
        self = super().__new__(cls, pieces[0])
        self.pieces = pieces
        return self


class Once(NamedTuple):
    """The number of a step that must not be taken twice, and the key that remembers the last number for `ttl_ms`."""

    key: str
    number: int
    ttl_ms: int


class Tally(NamedTuple):
    """Figures for one key: numbers to add to its counters, numbers to set, and its life from now (None: no expiry).

    Tallies with the same `once` are one step, to be left out if its number, or a higher one, is remembered already.
    """

    key: str
    adds: Mapping[str, int]
    sets: Mapping[str, int]
    ttl_ms: int | None = None
    once: Once | None = None


class BackendFacts(NamedTuple):
    """What a backend knows of itself; None where it does not know."""

    name: str
    version: str | None = None
    memory_bytes: int | None = None
    expired: int | None = None
    evicted: int | None = None


class Finding(NamedTuple):
    """One thing that a check of a backend found: `level` is "ok", "note", "warn" or "fail"; `advice` may be empty."""

    level: str
    what: str
    found: str
    advice: str


Answer: TypeAlias = tuple[str, "bytes | None", "Sequence[bytes | None]"] | Exception
"""What came of reading one entry and its markers: the entry's key, its value, its markers' values; or what went wrong.

Entries that were asked about with the same list of markers may be given one list of values between them.
"""


class ReadSoon(Protocol):
    """Asks for one entry and its markers together with whatever else is asked for in this turn of the event loop."""

    def __call__(self, entry: str, markers: Sequence[str], timeout: float) -> Awaitable[Answer]:
        """To be awaited in the running loop; raises nothing. It may take `timeout` seconds from when it is sent."""
        ...


class Backend(Protocol):
    """Byte storage shared by everything that uses it; see `memocache.backends.base.BaseBackend` for the defaults.

    Every method takes ``timeout``: seconds the whole operation may take, or None for the backend's own bound.
    Any exception a method raises is translated by memocache; a backend need not translate its own.
    A ``read_now(keys)`` method, where the class has one, is `read` for what takes microseconds, or None where `read`
    must be asked; whatever it raises counts as raised by `read`. Sync hits ask it first, and give it no deadline: it
    has its own, of at most 0.3 s.

    A ``pieces_from`` attribute, where there is one, is from how many bytes on a value may come as `Pieces`; `read` then
    gives it back as a writable memoryview that is the reader's own.
    One whose transactions must keep to one of many buckets has a true ``clustered`` (keys then have a bucket: see
    docs/keys) and may have ``together(calls)``: the results of several operations ``(name, arguments, keywords)`` at
    the same time.
    An ``aio`` attribute, where there is one, has the same methods as coroutines (`close` too); without it the
    methods are called in a worker thread from async code, or directly where ``blocks`` is False. So they are under trio
    too, unless ``aio`` has a true ``any_library``: then its coroutines need no asyncio. A ``read_soon`` of its class,
    where that is not None, is a `ReadSoon`; async hits ask it first.
    """

    shared: bool
    """Whether other processes (or other caches) see what is written."""
    blocks: bool
    """Whether a call may wait for anything outside the process."""

    def read(self, keys: Sequence[str], *, timeout: float | None = None) -> list[bytes | None]:
        """Return the values of `keys` in their order, None for what is absent or expired. One round trip per node."""
        ...

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
        """Apply all writes at once if every guard holds, and return None; else change nothing and return the guards'
        values.

        `members` adds strings to sets (`(key, member)`), `publish` wakes the listeners of a channel (of several, one a
        line) after the writes.
        All keys of one call live in one bucket (see docs/keys), so that a cluster can do it on one node.
        """
        ...

    def delete(self, keys: Sequence[str], *, timeout: float | None = None) -> int:
        """Remove `keys` and return how many of them were there."""
        ...

    def scan(self, prefix: str, cursor: Any = None, *, timeout: float | None = None) -> tuple[Any, list[str]]:
        """Return `(next cursor, some keys that begin with prefix)`; begin with None, end when the cursor is None again.

        A key present during the whole scan is returned at least once.
        """
        ...

    def close(self) -> None:
        """Let go of connections and files. Using the backend again reopens it."""
        ...

    def ping(self, *, timeout: float | None = None) -> None:
        """Return if the backend answers; raise otherwise."""
        ...

    def members(self, key: str, *, timeout: float | None = None) -> set[str]:
        """Return the strings added under `key` by `transact(members=…)`."""
        ...

    def prolong(self, lives: Sequence[tuple[str, int]], *, timeout: float | None = None) -> None:
        """Let each of these keys that is there live for so many milliseconds (at least 1) from now."""
        ...

    def tally(self, tallies: Sequence[Tally], *, timeout: float | None = None) -> None:
        """Carry out all tallies, each at once, in one round trip per node; absent counters begin at 0.

        Those with the same `once` are one step, left out if it was taken already: a call whose answer was lost can be
        repeated.
        """
        ...

    def counts(self, keys: Sequence[str], *, timeout: float | None = None) -> list[dict[str, int]]:
        """Return the counters under each of `keys`, in their order; one round trip per node."""
        ...

    def subscribe(self, channel: str, wake: Callable[[], None]) -> Callable[[], None] | None:
        """Call `wake` (from any thread) after each publish on `channel` until the returned function is called.

        None means that this backend has no messages and the caller must poll.
        """
        ...

    def facts(self, *, timeout: float | None = None) -> BackendFacts:
        """Return what the backend knows of its version, memory, expiries and evictions."""
        ...

    def watch(self, starts: Sequence[str], watcher: Watcher) -> Callable[[], None] | None:
        """Tell `watcher` (from any thread) of changes to keys that begin with one of `starts`, until the returned
        function is called; returns at once.

        None means that this backend cannot tell.
        """
        ...


class Watcher(Protocol):
    """Who is told of changes in a backend; its methods are quick and do not raise."""

    def changed(self, keys: Iterable[str] | None) -> None:
        """These keys were written, removed or lost; None: any may have been."""
        ...

    def heard(self, since: float) -> None:
        """Every change acknowledged before `since` (as of `time.monotonic`) has been told; minus infinity: nothing is
        certain any more.
        """
        ...

    def refused(self) -> None:
        """The backend does not tell after all."""
        ...


@runtime_checkable
class Clock(Protocol):
    """Where time comes from: `time` is epoch seconds, `monotonic` only moves forward; both in seconds."""

    def time(self) -> float: ...

    def monotonic(self) -> float: ...


class Observer(Protocol):
    """A callable that is given each event: an object of a class that `memocache.instrumentation` exports.

    It runs in the thread of the call, so it must be quick. It must not raise.
    """

    def __call__(self, event: Any, /) -> None: ...
