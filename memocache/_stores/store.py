"""What the engine knows of a place that keeps outcomes: the vocabulary, and the `Store` protocol.

Three places implement it: `memocache._stores.memory.store` (this process), `memocache._stores.remote.store` (a backend
that others
share). All of them work in the same four steps, written as `Steps` so that they have no colour:

``look``    what is there, with the generations it must agree with; ``begin``   before computing: the right to compute
and, later, to store (a `Lease`), or what somebody else stored meanwhile; ``commit``  after computing: store, if
nothing was invalidated since ``begin``; says whether the outcome is valid; ``put``     store what the user gives,
voiding computations under way.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import inf
from typing import Any, NamedTuple, Protocol

from memocache._runtime.budget import Budget
from memocache._runtime.effects import Steps
from memocache._runtime.object_identity import Held
from memocache._runtime.outcome import Outcome
from memocache._runtime.singleflight import Flight
from memocache._stores.entry import Table


class Address:
    """Where one call's (or one plain key's) outcome is kept.

    `key` is its place in the process's `table`; `name` and `digest` name it in a backend (name "" for plain keys);
    `tags` are hashes of the rendered tags; `tokens` are the identity tokens of objects that the key dies with.
    `begun` is when the call began (`time.monotonic`) if that was before its steps did, `cause` why it missed.
    """

    __slots__ = ("_budget", "begun", "cause", "digest", "key", "name", "spot", "table", "tags", "tokens")

    def __init__(
        self,
        table: Table,
        key: Hashable,
        name: str,
        digest: str | None,
        tags: tuple[str, ...] = (),
        tokens: tuple[int | Held, ...] = (),
        budget: Budget | None = None,
    ) -> None:
        self.table = table
        self.key = key
        self.name = name
        self.digest = digest
        self.tags = tags
        self.tokens = tokens
        self._budget = budget
        self.spot: Any = None
        self.begun: float | None = None
        self.cause = ""

    def for_another_call(self) -> Address:
        """The same place, for a call with a budget of its own."""
        return Address(self.table, self.key, self.name, self.digest, self.tags, self.tokens, Budget())

    @property
    def flight_key(self) -> Hashable:
        """The key of the flights of this call, in the process."""
        return (id(self.table), self.key) if self.digest is None else (self.name, self.digest)

    @property
    def budget(self) -> Budget:
        """What the call may spend on its backend; made when first asked for, which a hit in a bulk never does."""
        budget = self._budget
        if budget is None:
            budget = self._budget = Budget()
        return budget

    @budget.setter
    def budget(self, budget: Budget) -> None:
        self._budget = budget


class Found:
    """What a look-up found. Times are on the store's own clock; nothing found has `expires` at minus infinity.

    `load` gives the outcome, and raises `DecodeError` if it cannot; `is_error` says that it is a remembered error,
    which is never served past its ttl; `seen` is what the store must find unchanged to begin; `cause` says why what is
    there cannot be served at all ("" where there is nothing, or something with an `expires`).
    """

    __slots__ = ("cause", "compute_seconds", "expires", "is_error", "load", "now", "seen", "stale_until")

    def __init__(
        self,
        seen: Any = None,
        now: float = 0.0,
        expires: float = -inf,
        stale_until: float = -inf,
        compute_seconds: float = 0.0,
        load: Callable[[], Outcome] | None = None,
        is_error: bool = False,
        cause: str = "",
    ) -> None:
        self.seen = seen
        self.now = now
        self.expires = expires
        self.stale_until = stale_until
        self.compute_seconds = compute_seconds
        self.load = load
        self.is_error = is_error
        self.cause = cause


class Record(NamedTuple):
    """An outcome to be stored: `ttl` seconds fresh (already jittered), `stale` and `keep` seconds servable and kept
    after that. `told` is called with why a part of it is held by reference, if one is. Unread for `idle` seconds it is
    gone (0: never for that).
    """

    outcome: Outcome
    ttl: float
    stale: float = 0.0
    keep: float = 0.0
    compute_seconds: float = 0.0
    version: str | None = None
    tags: tuple[str, ...] = ()
    share: bool = False
    told: Callable[[str], None] | None = None
    idle: float = 0.0


class Unstorable(Exception):
    """The record cannot be stored; `cause` as in `memocache._runtime.events.Rejected`, `detail` for the warning."""

    def __init__(self, cause: str, detail: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.detail = detail


class Lease(Protocol):
    """The right to store what is computed from now on, while nothing is invalidated."""


class Store(Protocol):
    """A place that keeps outcomes."""

    @property
    def cut_off(self) -> bool:
        """Whether a backend is left alone after failures, so that no outcome can be validated there."""
        ...

    def look(self, address: Address) -> Steps[Found]:
        """Find what is kept at `address`. Raises `BackendError`."""
        ...

    def touch(self, address: Address, found: Found) -> None:
        """Count a hit on what was found; never blocks."""
        ...

    def begin(
        self, address: Address, found: Found, flight: Flight, *, patient: float | None, force: bool = False
    ) -> Steps[Lease | Found | None]:
        """Become the one who computes; or be given what was stored since `found`; or None: somebody else computes.

        `patient` is for how many seconds to wait for somebody else's computation (None: not at all). With `force`
        nothing that others stored or do counts, and computations under way are voided. Raises `BackendError`.
        """
        ...

    def commit(self, address: Address, lease: Any, record: Record | None, flight: Flight) -> Steps[bool]:
        """Store `record` (None: nothing to store) unless something was invalidated since `begin`; whether nothing was.

        Raises `Unstorable` (before anything is sent) and `BackendError`.
        """
        ...

    def stands(self, address: Address, lease: Any, flight: Flight) -> Steps[bool]:
        """Whether nothing was invalidated since `begin` gave `lease`. Raises `BackendError`."""
        ...

    def give_up(self, lease: Any) -> None:
        """The computation of `lease` ended without outcome; let others begin. Never blocks, never raises."""
        ...

    def put(self, address: Address, record: Record) -> Steps[None]:
        """Store `record`, voiding computations of the same address. Raises `Unstorable` and `BackendError`."""
        ...

    def replace(self, address: Address, record: Record, found: Found, expires: float | None = None) -> Steps[bool]:
        """As `put`, if what was `found` is still what is there; whether it was. With `expires`, which is of `found`,
        the record is fresh until then and not for its ttl. Raises `Unstorable` and `BackendError`.
        """
        ...

    def add(self, address: Address, record: Record, found: Found) -> Steps[bool]:
        """As `put`, if nothing is there but what was `found`, which is dead; whether it was. Raises `Unstorable` and
        `BackendError`.
        """
        ...

    def forget(self, address: Address) -> Steps[bool]:
        """Remove the entry and void computations of it; whether there was anything. Raises `BackendError`."""
        ...
