"""The first look-up of a call on a shared backend, in either colour: plain functions, for most calls are fresh hits.

A sync call asks and waits in its thread. An async one is given a `Soon`: what it asks leaves with everything else that
the event loop's turn asks for. No steps of the engine are made for what is a plain fresh hit; `Engine.call` goes on
with the rest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from time import monotonic
from typing import Any

from memocache._calls.call import Call
from memocache._calls.call_key import Binding
from memocache._calls.engine import UNREACHABLE_FOUND, Engine
from memocache._calls.questions import Question, place, question
from memocache._calls.signature import Values
from memocache._runtime import budget as budgets
from memocache._runtime.disabled import DISABLED
from memocache._runtime.outcome import Outcome
from memocache._stores.remote.envelope_io import UNFIT
from memocache._stores.remote.store import SharedStore
from memocache.exceptions import BackendError
from memocache.stats import BUCKETS
from memocache.typing import Answer


class Soon:
    """A call that waits for `reply`; what that comes to is for `value`, and if it is `UNFIT`, for `rest`."""

    __slots__ = ("_answer", "_asked", "_begun", "_binding", "_engine", "_shared", "_values", "reply")

    def __init__(
        self,
        engine: Engine,
        binding: Binding,
        shared: SharedStore,
        values: Values,
        asked: Question,
        reply: Awaitable[Answer],
    ) -> None:
        self._engine, self._binding, self._shared, self._values, self._asked = engine, binding, shared, values, asked
        self._begun = monotonic()
        self.reply = reply

    def value(self, answer: Answer) -> Any:
        """The value to serve, counted as a hit; or `UNFIT`."""
        binding = self._binding
        value = self._shared.glance(binding.table, answer)
        if value is UNFIT:
            self._answer = answer
            return UNFIT
        times, index = binding.counters.hit_times, int((monotonic() - self._begun) * 1e6).bit_length()
        times[index if index < BUCKETS else -1] += 1
        return value

    def rest(self) -> Call:
        """What `Engine.call` goes on with."""
        budget = budgets.Budget()
        budget.left -= monotonic() - self._begun
        try:
            reply: Any = self._shared.replied(self._answer, budget)
        except BackendError as fault:
            reply = fault
        return _looked(self._engine, self._binding, self._values, self._asked, reply, budget, self._begun)


def look_now(engine: Engine, binding: Binding, values: Values) -> Outcome | Call | None:
    """An outcome to serve, or what `Engine.call` goes on with (None: it begins anew). Raises what `Binding.address`
    raises.
    """
    if DISABLED.get() is not None or engine.emit is not None or binding.function.options.early:
        return None
    begun = monotonic()
    shared: SharedStore = binding.places.shared  # type: ignore[assignment]  # it is one; binding must not know
    asked = question(binding, shared, values)
    entry, budget = asked[0], budgets.Budget()
    if shared.tiered and entry is not None:
        address, store = place(binding, shared, asked)
        return shared.near_outcome(address) or Call(binding, values, address, store)
    if entry is None:
        return Call(binding, values, *place(binding, shared, asked))
    try:
        outcome, reply = shared.look_now(entry, asked[1], budget)
    except BackendError as fault:
        return _looked(engine, binding, values, asked, fault, budget, begun)
    if outcome is None:
        return _looked(engine, binding, values, asked, reply, budget, begun)
    shared.touch_all(binding.table, (entry,))
    times, index = binding.counters.hit_times, int((monotonic() - begun) * 1e6).bit_length()
    times[index if index < BUCKETS else -1] += 1
    return outcome


def look_soon(engine: Engine, binding: Binding, values: Values) -> Soon | Call | None:
    """Ask for what there is of a call, or what `Engine.call` goes on with (None: it begins anew). Raises what
    `Binding.address` raises.
    """
    shared: SharedStore = binding.places.shared  # type: ignore[assignment]  # it is one; binding must not know
    if shared.tiered or not shared.reads_soon:
        return None
    if DISABLED.get() is not None or engine.emit is not None or binding.function.options.early:
        return None
    asked = question(binding, shared, values)
    entry = asked[0]
    reply = None if entry is None else shared.read_soon(entry, asked[1], budgets.CALL_SECONDS)
    if reply is None:  # the user's `key` and `tags` are asked once a call
        return Call(binding, values, *place(binding, shared, asked))
    return Soon(engine, binding, shared, values, asked, reply)


def _looked(
    engine: Engine,
    binding: Binding,
    values: Values,
    asked: Question,
    reply: Sequence[Any] | BackendError,
    budget: budgets.Budget,
    begun: float,
) -> Call:
    """What `Engine.call` goes on with after a look-up that began at `begun`, and found (or met) this."""
    shared: SharedStore = binding.places.shared  # type: ignore[assignment]  # as above
    address, store = place(binding, shared, asked, budget)
    address.begun = begun
    call = Call(binding, values, address, store)
    call.asked = True
    if isinstance(reply, BackendError):
        engine.leader.fault(binding.counters, reply)
        call.found, call.reachable = UNREACHABLE_FOUND, False
    else:
        call.found = shared.read(address, shared.spot(address), reply)
    return call
