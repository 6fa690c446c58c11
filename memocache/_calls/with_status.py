"""Calls that are asked how the cache handled them: the value, and its `CacheStatus`.

They look by the engine's steps, which keep what was found; the plain call's own look-ups note nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from memocache._calls.bulk_lookup import in_order, map_calls
from memocache._calls.call_and_lead import Call
from memocache._calls.call_key import Binding
from memocache._calls.engine import Engine
from memocache._calls.signature import Values
from memocache._runtime.effects import Steps
from memocache._runtime.outcome import Outcome
from memocache.stats import BYPASS, EXPIRED, CacheStatus


def call_with_status(engine: Engine, binding: Binding, values: Values) -> Steps[Outcome]:
    """One cached call: the pair of its value and its status, or its error."""
    call = Call(binding, values, *binding.address(values))
    outcome = yield from engine.call(binding, values, call)
    return outcome if outcome.error is not None else Outcome((outcome.value, status_of(call)))


def direct_with_status(engine: Engine, binding: Binding, values: Values) -> Steps[Outcome]:
    """As `call_with_status`, with caching disabled."""
    return bypassed(engine.leader.direct(binding.function, values))


def bypassed(steps: Steps[Outcome]) -> Steps[Outcome]:
    """A call with caching disabled: the pair of its value and its status, or its error."""
    outcome = yield from steps
    return outcome if outcome.error is not None else Outcome((outcome.value, BYPASS))


def map_with_status(engine: Engine, binding: Binding, calls: Sequence[Values], most: int = 1) -> Steps[Outcome]:
    """As `memocache._calls.bulk_lookup.map_calls`: pairs of value and status."""
    made: list[Call] = []
    outcome = yield from map_calls(engine, binding, calls, most, made)
    if outcome.error is not None:
        return outcome
    return Outcome([(value, status_of(call)) for value, call in zip(outcome.value, made, strict=True)])


def map_directly_with_status(
    engine: Engine, binding: Binding, calls: Sequence[Values], most: int = 1
) -> Steps[Outcome]:
    """As `map_with_status`, with caching disabled."""
    return (yield from in_order([partial(direct_with_status, engine, binding, values) for values in calls], most))


def status_of(call: Call) -> CacheStatus:
    """How a call that came to a value was handled."""
    found, key = call.found, call.binding.entry_key(call.address)
    left = None if found.load is None else found.expires - found.now
    if not call.missed:
        return CacheStatus(True, ttl=left, key=key)
    stored_for = call.flight.stored_for
    return CacheStatus(
        False,
        "stale" if call.address.cause == EXPIRED else "miss",
        collapsed=call.shared,
        stored=stored_for is not None and not call.shared,
        # what another process stored was found when this call looked again
        ttl=left if stored_for is None and left is not None and left > 0 else stored_for,
        key=key,
    )
