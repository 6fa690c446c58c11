"""The entry of one call, handled without making the call: invalidate, put and peek.

Each function is `Steps` over an engine and a binding. Direct operations raise `BackendError` and may take
`DIRECT_SECONDS`.
"""

from __future__ import annotations

from typing import Any

from memocache._calls.call_key import Binding
from memocache._calls.engine import Engine
from memocache._calls.signature import Values
from memocache._runtime.budget import DIRECT_SECONDS, Budget
from memocache._runtime.effects import Steps
from memocache._stores.store import Unstorable
from memocache.exceptions import BackendError, DecodeError, EncodeError
from memocache.stats import INVALIDATED
from memocache.typing import MISSING


def invalidate_call(engine: Engine, binding: Binding, values: Values) -> Steps[None]:
    """Forget one call."""
    address, store = binding.address(values)
    address.budget = Budget(DIRECT_SECONDS)
    try:
        yield from store.forget(address)
        engine.leader.gone(address, store, INVALIDATED)
    finally:
        engine.flights.void(address.flight_key)


def put_call(engine: Engine, binding: Binding, values: Values, value: Any) -> Steps[None]:
    """Store a value for one call. Raises `EncodeError`."""
    address, store = binding.address(values)
    address.budget = Budget(DIRECT_SECONDS)
    now = engine.tier.clock.monotonic()
    try:
        record = engine.leader.record(binding, value)
        yield from store.put(address, record)
        engine.leader.stored(address, store, now + record.ttl)
    except Unstorable as refusal:
        raise EncodeError(f"{binding.function.name}: {refusal.detail or refusal.cause}") from None
    finally:
        engine.flights.void(address.flight_key)
    binding.counters.add(stores=1)


def peek_call(engine: Engine, binding: Binding, values: Values) -> Steps[Any]:
    """The cached value of one call, stale ones too, or MISSING; never computes, never counts."""
    address, store = binding.address(values)
    try:
        found = yield from store.look(address)
    except BackendError:
        return MISSING
    options = binding.function.options
    if found.load is None or found.now >= max(found.stale_until, found.expires + options.stale_if_error):
        return MISSING
    try:
        outcome = found.load()
    except DecodeError:
        return MISSING
    return MISSING if outcome.error is not None else outcome.value
