"""`Call`: one call under way, and `Lead`: a flight that it leads.

The steps of `memocache._calls.engine` and `memocache._calls.leading` pass them along in place of long lists of
arguments. They hold facts and decide nothing.
"""

from __future__ import annotations

import time
from typing import Any

from memocache._calls.call_key import Binding
from memocache._calls.freshness import servable_on_failure
from memocache._calls.signature import Values
from memocache._runtime.budget import Budget
from memocache._runtime.outcome import Outcome
from memocache._runtime.singleflight import NO_FLIGHT, Flight, Token
from memocache._stores.store import Address, Found, Store
from memocache.exceptions import BackendError, DecodeError
from memocache.stats import UNREADABLE, bucket

NOTHING_FOUND = Found()


class Call:
    """A call: of which function on which cache, with which values, and how far it has come."""

    __slots__ = (
        "address",
        "alone",
        "asked",
        "begun",
        "binding",
        "flight",
        "found",
        "gates",
        "missed",
        "outcome",
        "reachable",
        "shared",
        "store",
        "tries",
        "values",
    )

    def __init__(self, binding: Binding, values: Values, address: Address, store: Store) -> None:
        self.binding = binding
        self.values = values
        self.address = address
        """Where its outcome is kept, in `store`."""
        self.store = store
        self.begun = time.monotonic() if address.begun is None else address.begun
        self.found = NOTHING_FOUND
        """What the last look-up found."""
        self.asked = False
        """Whether `found` is news: somebody looked for this call, and nobody has judged it yet."""
        self.reachable = True
        """Whether the store answered the last look-up."""
        self.missed = False
        """Whether it is counted as a miss."""
        self.shared = False
        """Whether it has waited for somebody else's computation."""
        self.flight = NO_FLIGHT
        """The flight that it led or followed last."""
        self.tries = 0
        """How often it has tried to lead or to follow."""
        self.alone = False
        """Whether it has given up on others, and computes by itself."""
        self.gates: Any = None
        """Of one of many that are computed side by side, where they ask the backend together."""
        self.outcome: Outcome | None = None
        """Of one of many, its fresh outcome where the look-up had to judge it."""

    def load(self) -> Outcome | None:
        """The outcome that was found; None, and counted, if it cannot be read."""
        found = self.found
        assert found.load is not None
        try:
            return found.load()
        except DecodeError:
            found.cause = UNREADABLE
            self.binding.counters.add(decode_errors=1)
            return None

    def servable(self) -> bool:
        """Whether what was found may be served in place of a failure."""
        found = self.found
        if found.load is None or found.is_error:
            return False
        stale_if_error = self.binding.function.options.stale_if_error
        return servable_on_failure(found.now, found.expires, found.stale_until, stale_if_error)

    def timed(self, times: list[int]) -> None:
        """Count the time since the call began in a histogram."""
        times[bucket(time.monotonic() - self.begun)] += 1

    def begin_anew(self) -> None:
        """Forget what was found, and begin at the look-up."""
        self.address.budget = Budget()
        self.begun = time.monotonic()
        self.found, self.asked, self.reachable = NOTHING_FOUND, False, True


class Lead:
    """A flight that a computation leads; `memocache._calls.leading.Leader.end` ends it, whatever happened."""

    __slots__ = (
        "address",
        "apart",
        "committed",
        "flight",
        "lease",
        "outcome",
        "raised",
        "recording",
        "store",
        "token",
        "waited",
    )

    def __init__(self, address: Address, store: Store) -> None:
        self.address = address
        self.store = store
        self.recording: Any = None
        """What the computation yields, for those who join its flight to read along."""
        self.flight: Flight = NO_FLIGHT
        """Set by `Flights`, with its `token`, before anybody can join the flight."""
        self.token: Token | None = None
        self.apart = False
        """Whether steps in the background lead, and end the flight."""
        self.lease: Any = None
        """The right to store, where the store has given one."""
        self.committed: bool | BackendError = False
        """Whether its outcome is stored already, as one of many; or how the backend failed at that."""
        self.outcome: Outcome | None = None
        """For the caller for whom it computes, once it is stored."""
        self.waited = False
        """Whether the caller for whom it computes in the background still waits."""
        self.raised: BaseException | None = None
        """The exception, of any class, by which steps in the background were torn down."""
