"""Bulk: many calls of one function, and the look-ups of loaders that take many ids (`memocache._loader`).

All look-ups go out together, `BATCH` in a command; then only what is missing is computed, each under single-flight.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

from memocache._binding import Binding
from memocache._engine import Engine
from memocache._envelope import Outcome
from memocache._guard import Budget
from memocache._runtime import Effect
from memocache._signature import Values
from memocache._store import Address, Found, Store
from memocache._store_local import UnsharedStore
from memocache._store_shared import SharedStore
from memocache.exceptions import BackendError

BATCH = 1000
"""How many look-ups go out in one command: more would keep the server from its other callers."""


class Looked(NamedTuple):
    """Where a call's outcome is kept, what the look-up `found` there (None: it could not ask, or did not need to know),
    and the outcome if that is fresh.
    """

    address: Address
    store: Store
    found: Found | None = None
    outcome: Outcome | None = None


def look_up(
    engine: Engine, binding: Binding, calls: Sequence[Values], *, again: bool = False
) -> Generator[Effect, Any, list[Looked]]:
    """Look for the fresh outcomes of calls; one round trip for all that are in the backend, up to `BATCH`.

    With `again` nothing is counted: these calls were counted as misses before.
    """
    looked: list[Looked] = []
    asking = True
    shared = binding.places.shared
    for begin in range(0, len(calls), BATCH):
        places = [binding.address(values) for values in calls[begin : begin + BATCH]]
        if not isinstance(shared, SharedStore):
            for address, store in places:
                found = yield from store.look(address)
                looked.append(_judged(engine, binding, address, store, found, again))
            continue
        if asking:
            try:
                looked += yield from _look_near(engine, binding, shared, places, again)
                continue
            except BackendError as fault:
                engine.fault(binding.counters, fault)
                asking = False  # one stall is enough
        looked += [Looked(address, store) for address, store in places]
    return looked


def _look_near(
    engine: Engine, binding: Binding, shared: SharedStore, places: list[tuple[Address, Store]], again: bool
) -> Generator[Effect, Any, list[Looked]]:
    """What the process holds copies of is not asked for."""
    if not shared.tiered or engine.emit is not None or again:
        return (yield from _look_up_shared(engine, binding, shared, places, again))
    held = [shared.near_outcome(address) if store is shared else None for address, store in places]
    rest = [place for place, outcome in zip(places, held, strict=True) if outcome is None]
    asked = iter((yield from _look_up_shared(engine, binding, shared, rest, again)) if rest else ())
    binding.counters.hits += len(places) - len(rest)
    return [
        next(asked) if outcome is None else Looked(*place, None, outcome)
        for place, outcome in zip(places, held, strict=True)
    ]


def _look_up_shared(
    engine: Engine, binding: Binding, shared: SharedStore, places: list[tuple[Address, Store]], again: bool
) -> Generator[Effect, Any, list[Looked]]:
    spots = [shared.spot(address) for address, _ in places]
    entries = [spot.entry for spot, (_, store) in zip(spots, places, strict=True) if store is shared]
    # without tags, all spots of a function have one list of markers between them
    lists = {id(spot.markers): spot.markers for spot in spots}
    markers = list(dict.fromkeys(marker for some in lists.values() for marker in some))
    tiered = shared.tiered
    expected = [shared.expect(address) if tiered and store is shared else None for address, store in places]
    replies = yield shared.guard.io("read", [*entries, *markers], budget=Budget())
    known = dict(zip(markers, replies[len(entries) :], strict=True))
    standing = {mine: [known[marker] for marker in some] for mine, some in lists.items()}
    generations = {mine: None if None in some else b"".join(some) for mine, some in standing.items()}
    plain = engine.emit is None and not binding.function.options.early
    now = shared.clock.time()
    raws = iter(replies)
    looked, hits = [], 0
    for (address, store), spot, kept in zip(places, spots, expected, strict=True):
        mine = id(spot.markers)
        if isinstance(store, UnsharedStore):
            found = _held(engine, address, store, generations[mine])
            looked.append(_judged(engine, binding, address, store, found, again))
            continue
        raw = next(raws)
        fresh = shared.fresh(spot, raw, generations[mine], now) if plain else None
        if fresh is None:
            found = shared.read(address, spot, [raw, *standing[mine]])
            shared.keep_when_loaded(address, found, kept)
            looked.append(_judged(engine, binding, address, store, found, again))
            continue
        outcome, front = fresh
        if kept is not None:
            shared.keep(address, kept, outcome, front.expires - now, front.compute_seconds)
        looked.append(Looked(address, store, None, outcome))
        if not again:
            shared.touch(address, _NOT_NEEDED)
            hits += 1
    binding.counters.hits += hits
    return looked


_NOT_NEEDED = Found()


def _held(engine: Engine, address: Address, store: UnsharedStore, generations: bytes | None) -> Found:
    """What the process holds, if the backend's markers are those it was computed under."""
    entry = engine.tier.find(address.table, address.key)
    if entry is not None and entry.sealed != generations:
        return Found(entry)
    return store.found(address, entry)


def _judged(engine: Engine, binding: Binding, address: Address, store: Store, found: Found, again: bool) -> Looked:
    return Looked(address, store, found, engine.fresh(binding, address, store, found, counted=again))


def map_calls(engine: Engine, binding: Binding, calls: Sequence[Values]) -> Generator[Effect, Any, Outcome]:
    """The list of the results of calls, in order, or the first failure; only what is missing is computed, each under
    single-flight.
    """
    looked = yield from look_up(engine, binding, calls)
    results = []
    asked: set[Any] = set()
    for values, (address, store, found, outcome) in zip(calls, looked, strict=True):
        if outcome is None:
            # a stale value may be past serving by now, and a call made twice was answered the first time
            again = found is None or found.load is not None or address.key in asked
            asked.add(address.key)
            outcome = yield from engine.call(binding, values, None if again else (address, store, found))
        if outcome.error is not None:
            return outcome
        results.append(outcome.value)
    return Outcome(results)


def map_directly(engine: Engine, binding: Binding, calls: Sequence[Values]) -> Generator[Effect, Any, Outcome]:
    """As `map_calls`, with caching disabled."""
    results = []
    for values in calls:
        outcome = yield from engine.direct(binding.function, values)
        if outcome.error is not None:
            return outcome
        results.append(outcome.value)
    return Outcome(results)
