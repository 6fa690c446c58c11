"""The events that observers are called with; `memocache.instrumentation` exports them.

Each is a frozen fact about the calls of one function. An event names the function, and never an argument, a key or a
value (promise 2.5).
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a function's calls; `function` is None for plain keys."""

    function: str | None


@dataclass(frozen=True, slots=True)
class Hit(Event):
    """A fresh value was served, `seconds` after the call began (None: it was one of many)."""

    seconds: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class StaleHit(Event):
    """A stale value was served, `seconds` after the call began (None: it was one of many)."""

    seconds: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Miss(Event):
    """Nothing could be served, and `seconds` after the call began (None: it was one of many) there was a result.

    `coalesced` says that another caller's computation was shared.
    """

    coalesced: bool = False
    seconds: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Computed(Event):
    """The function ran for `seconds`; `ok` is False if it raised, and `error` then names the class, never its text."""

    seconds: float
    ok: bool
    error: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Stored(Event):
    """A computed outcome was stored; `compute_seconds` is what it took."""

    compute_seconds: float


@dataclass(frozen=True, slots=True)
class Refreshed(Event):
    """A background refresh ended; `ok` is False if the function raised."""

    ok: bool


@dataclass(frozen=True, slots=True)
class Rejected(Event):
    """An outcome was not stored; `cause` is "condition", "unencodable", "too large" or "invalidated"."""

    cause: str


@dataclass(frozen=True, slots=True)
class Evicted(Event):
    """An entry left the process; `cause` is "size" or "expired"."""

    cause: str


@dataclass(frozen=True, slots=True)
class Asked(Event):
    """The backend was asked for something of a `kind` ("get", "set", "delete", "expire", "flush", "invalidate" or
    "scan"), for `seconds`; `error` names what it failed with, never its text (None: it did not).
    """

    kind: str
    seconds: float = field(compare=False)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class BackendFault(Event):
    """The backend failed or answered nonsense: the `operation`, the `error`'s class name (never its text), and the
    `cause` in words of our own.
    """

    operation: str
    error: str
    cause: str = ""
