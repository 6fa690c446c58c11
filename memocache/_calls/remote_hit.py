"""The first look-up of a call on a shared backend, in either colour: plain functions, for most calls are fresh hits.

A `FastPath` is bound when its function is, so a hit makes no `Address`, no steps and no coroutine of its own. A sync
call asks and waits in its thread. An async one is given a `Soon`: the question leaves with everything else that the
event loop's turn asks for. For everything but a plain fresh hit, `Engine.call` goes on with the `Call` made here.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Any, TypeAlias

from memocache._calls.call_and_lead import Call
from memocache._calls.call_key import Binding
from memocache._calls.engine import UNREACHABLE_FOUND, Engine
from memocache._calls.signature import Values
from memocache._runtime import budget as budgets
from memocache._runtime.disabled import DISABLED
from memocache._runtime.outcome import Outcome
from memocache._stores.remote.fast_read import Soon
from memocache._stores.remote.store import SharedStore
from memocache._stores.store import Address, Store
from memocache.exceptions import BackendError
from memocache.stats import BUCKETS
from memocache.typing import Answer

Question: TypeAlias = tuple[str | None, list[str], str, tuple[Address, Store] | None]
"""A call's entry in the backend (None: it stays in the process), its markers, its digest, and its place if known.

Without tags, all calls of a function (in one bucket of a cluster) have one list of markers between them.
"""


def question(binding: Binding, shared: SharedStore, values: Values) -> Question:
    """What to ask about a call. Raises what `Binding.address` raises."""
    known = binding.function.options.tags or shared.tiered
    digest = None if known else binding.shared_digest(values)
    if digest is not None:
        site = shared.site(binding.function.name, digest)
        return site.entries + digest, site.markers, digest, None
    place = address, store = binding.address(values)
    spot = shared.spot(address)
    return (spot.entry if store is shared else None), spot.markers, "", place


def address_of(
    binding: Binding, shared: SharedStore, asked: Question, budget: budgets.Budget | None = None
) -> tuple[Address, Store]:
    """Where the outcome of a call is kept that this was asked about; `budget` is what is left of its own."""
    _, _, digest, known = asked
    if known is not None:
        return known
    return Address(binding.table, digest, binding.function.name, digest, budget=budget), shared


class FastPath:
    """The first look-up of the calls of one function; see `looks` for which functions have one."""

    __slots__ = ("_binding", "_digest", "_engine", "_entries", "_markers", "_shared", "_simple", "_table")

    def __init__(self, engine: Engine, binding: Binding) -> None:
        shared: SharedStore = binding.places.shared  # type: ignore[assignment]  # it is one; binding must not know
        self._engine, self._binding, self._shared = engine, binding, shared
        self._table, self._digest = binding.table, binding.shared_digest
        # all entries in one bucket, and nothing but the function's own markers
        self._simple = not binding.function.options.tags and not shared.tiered and len(shared.layout.buckets) == 1
        site = shared.site(binding.function.name, "")
        self._entries, self._markers = site.entries, site.markers

    @staticmethod
    def looks(engine: Engine, binding: Binding) -> bool:
        """Whether calls look here: those with something to weigh, to note or to tell, go by the engine's steps."""
        shared = isinstance(binding.places.shared, SharedStore)
        options = binding.function.options
        return shared and engine.emit is None and not options.early and not options.idle

    def look(self, values: Values) -> Outcome | Call | None:
        """An outcome to serve, or what `Engine.call` goes on with (None: it begins anew). Raises what
        `Binding.address` raises.
        """
        if DISABLED.get() is not None:
            return None
        begun = monotonic()
        asked: Question | None = None
        if self._simple:
            digest = self._digest(values)
            if digest is None:  # the user's `key` is asked no third time
                return Call(self._binding, values, *self._binding.address(values))
            entry, markers = self._entries + digest, self._markers
        else:
            asked = question(self._binding, self._shared, values)
            if asked[0] is None or self._shared.tiered:
                return self._near(values, asked)
            entry, markers = asked[0], asked[1]
            digest = asked[2]
        reply: Sequence[Any] | BackendError
        try:
            outcome, reply = self._shared.look_now(self._table, entry, markers, begun)
        except BackendError as fault:
            outcome, reply = None, fault
        if outcome is None:
            return self._rest(values, asked or (entry, markers, digest, None), reply, begun)
        times, index = self._binding.counters.hit_times, int((monotonic() - begun) * 1e6).bit_length()
        times[index if index < BUCKETS else -1] += 1
        return outcome

    def look_soon(self, values: Values) -> Soon | Call | None:
        """Ask for what there is of a call, or what `Engine.call` goes on with (None: it begins anew). Raises what
        `Binding.address` raises.
        """
        shared, ask = self._shared, self._shared.ask_soon
        if ask is None or shared.tiered or DISABLED.get() is not None:
            return None
        if self._simple:
            digest = self._digest(values)
            if digest is None:  # the user's `key` is asked no third time
                return Call(self._binding, values, *self._binding.address(values))
            asked: Question = self._entries + digest, self._markers, digest, None
        else:
            asked = question(self._binding, shared, values)
        entry = asked[0]
        begun = monotonic()
        reply = None
        if entry is not None and not shared.outcomes:  # while nothing fails there is nothing to weigh
            try:
                reply = ask(entry, asked[1], budgets.CALL_SECONDS)
            except Exception:  # no asyncio loop runs here, say: the engine meets the same, and weighs it
                pass
        if reply is None:  # the user's `key` and `tags` are asked once a call
            return Call(self._binding, values, *address_of(self._binding, shared, asked))
        counters = self._binding.counters
        # past the named tuple's own `__new__`, which is Python code
        return tuple.__new__(Soon, (reply, begun, shared, self._table, counters.hit_times, self, values, asked))

    def rest(self, begun: Soon, answer: Answer) -> Call:
        """What `Engine.call` goes on with after an answer that was none to serve."""
        try:
            reply: Any = self._shared.replied(answer, budgets.Budget(), begun.begun)
        except BackendError as fault:
            reply = fault
        return self._rest(begun.values, begun.asked, reply, begun.begun)

    def _near(self, values: Values, asked: Question) -> Outcome | Call:
        """A copy in the process, or the call of an entry that may have one, or stays in the process."""
        address, store = address_of(self._binding, self._shared, asked)
        near = self._shared.near_outcome(address) if asked[0] is not None else None
        return near or Call(self._binding, values, address, store)

    def _rest(
        self,
        values: Values,
        asked: Question,
        reply: Sequence[Any] | BackendError,
        begun: float,
    ) -> Call:
        """What `Engine.call` goes on with after a look-up that began at `begun`, and found (or met) this."""
        binding, shared = self._binding, self._shared
        budget = budgets.Budget()
        budget.left -= monotonic() - begun
        address, store = address_of(binding, shared, asked, budget)
        address.begun = begun
        call = Call(binding, values, address, store)
        call.asked = True
        if isinstance(reply, BackendError):
            self._engine.leader.fault(binding.counters, reply)
            call.found, call.reachable = UNREACHABLE_FOUND, False
        else:
            call.found = shared.read(address, shared.spot(address), reply)
        return call
