"""Bulk: many calls of one function, and the look-ups of loaders that take many ids (`memocache._calls.bulk_loader`).

All look-ups go out together, `BATCH` in a command; then only what is missing is computed, each under single-flight.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any, TypeAlias

from memocache._calls.bulk_claims import Claims, claimable
from memocache._calls.bulk_gates import Gates
from memocache._calls.call_and_lead import Call
from memocache._calls.call_key import Binding
from memocache._calls.engine import UNREACHABLE_FOUND, Engine
from memocache._calls.remote_hit import Question, address_of, question
from memocache._calls.signature import Values
from memocache._runtime.budget import Budget
from memocache._runtime.effects import Effect, Steps
from memocache._runtime.outcome import Outcome
from memocache._runtime.side_by_side import SideBySide
from memocache._stores.layered.unshared_entries import ProcessBoundStore
from memocache._stores.remote import envelope as _envelope
from memocache._stores.remote.envelope_io import UNFIT
from memocache._stores.remote.store import SharedStore
from memocache._stores.store import Address, Found, Store
from memocache.exceptions import BackendError
from memocache.stats import INVALIDATED

BATCH = 1000
"""How many look-ups go out in one command: more would keep the server from its other callers."""
CONCURRENCY = 64
"""How many misses of an async function are computed at a time."""


Asked: TypeAlias = tuple[Values, Question]
"""A call's values, and what is asked about it."""


def look_up(
    engine: Engine, binding: Binding, calls: Sequence[Values], *, again: bool = False, whole: bool = False
) -> Generator[Effect, Any, list[Outcome | Call]]:
    """Look for the fresh outcomes of calls; one round trip for all that are in the backend, up to `BATCH`.

    With `again` nothing is counted: these calls were counted as misses before. With `whole` each comes as the `Call`
    that knows what was found.
    """
    looked: list[Outcome | Call] = []
    asking = True
    shared, find = binding.places.shared, engine.tier.find
    for begin in range(0, len(calls), BATCH):
        batch = calls[begin : begin + BATCH]
        if not isinstance(shared, SharedStore):
            for values in batch:
                address, store = binding.address(values)
                # a `LocalStore`, where no other is: nothing is waited for
                found = store.found(address, find(address.table, address.key))  # type: ignore[attr-defined]  # see above
                looked.append(_judged(engine, Call(binding, values, address, store), found, again))
            continue
        questions = [(values, question(binding, shared, values)) for values in batch]
        held = _copies(engine, binding, shared, questions, again or whole)
        missing = [asked for asked, copy in zip(questions, held, strict=True) if copy is None]
        answers: list[Outcome | Call] | None = None
        if asking and missing:
            try:
                answers = yield from _ask(engine, binding, shared, missing, again, whole)
            except BackendError as fault:
                engine.leader.fault(binding.counters, fault)
                asking = False  # one stall is enough
        if answers is None:
            answers = [_unanswered(binding, shared, asked) for asked in missing]
        rest = iter(answers)
        looked += [next(rest) if copy is None else copy for copy in held]
    return looked


def _copies(
    engine: Engine, binding: Binding, shared: SharedStore, questions: list[Asked], whole: bool
) -> list[Outcome | None]:
    """What the process holds copies of, which is not asked for."""
    if not shared.tiered or whole or engine.emit is not None:
        return [None] * len(questions)
    return [
        None if asked[0] is None else shared.near_outcome(address_of(binding, shared, asked)[0])
        for _, asked in questions
    ]


def _unanswered(binding: Binding, shared: SharedStore, question: Asked) -> Call:
    """A call about which the backend could not be asked."""
    values, asked = question
    call = Call(binding, values, *address_of(binding, shared, asked))
    call.found, call.reachable = UNREACHABLE_FOUND, False
    return call


def _ask(
    engine: Engine, binding: Binding, shared: SharedStore, questions: list[Asked], again: bool, whole: bool
) -> Generator[Effect, Any, list[Outcome | Call]]:
    entries = [entry for _, (entry, _, _, _) in questions if entry is not None]
    lists = {id(some): some for _, (_, some, _, _) in questions}
    markers = list(dict.fromkeys(marker for some in lists.values() for marker in some))
    expected = [
        shared.expect(address_of(binding, shared, asked)[0]) if shared.tiered and asked[0] is not None else None
        for _, asked in questions
    ]
    replies = yield shared.guard.io("read", [*entries, *markers], budget=Budget())
    known = dict(zip(markers, replies[len(entries) :], strict=True))
    standing = {mine: [known[marker] for marker in some] for mine, some in lists.items()}
    generations = {mine: None if None in some else b"".join(some) for mine, some in standing.items()}
    plain = engine.emit is None and not binding.function.options.early and not shared.tiered
    plain = plain and not whole and not binding.function.options.idle
    now = shared.clock.time()
    raws = iter(replies)
    starts: dict[tuple[int, int], bytes] = {}
    looked: list[Outcome | Call] = []
    hits: list[str] = []
    for (values, asked), expectation in zip(questions, expected, strict=True):
        entry, mine = asked[0], id(asked[1])
        current = generations[mine]
        if entry is None:
            call = Call(binding, values, *address_of(binding, shared, asked))
            looked.append(_judged(engine, call, _held(engine, call.address, call.store, current), again))
            continue
        raw = next(raws)
        if plain and current is not None and type(raw) is bytes:
            key = entry.encode()
            # the echoes of one function's entries begin alike
            start = starts.get((mine, len(key)))
            if start is None:
                start = starts[mine, len(key)] = _envelope.echo_start(current, len(key))
            value = shared.fresh(raw, start + key, now)
            if value is not UNFIT:
                looked.append(Outcome(value))
                hits.append(entry)
                continue
        call = Call(binding, values, *address_of(binding, shared, asked))
        found = shared.read(call.address, shared.spot(call.address), [raw, *standing[mine]])
        shared.keep_when_loaded(call.address, found, expectation)
        looked.append(_judged(engine, call, found, again))
    if hits and not again:
        shared.touch_all(binding.table, hits)
    return looked


def _held(engine: Engine, address: Address, store: Store, generations: bytes | None) -> Found:
    """What the process holds, if the backend's markers are those it was computed under."""
    assert isinstance(store, ProcessBoundStore)
    entry = engine.tier.find(address.table, address.key)
    if entry is not None and entry.sealed != generations:
        return Found(entry, cause=INVALIDATED)
    return store.found(address, entry)


def _judged(engine: Engine, call: Call, found: Found, again: bool) -> Call:
    call.found, call.asked, call.missed = found, True, again
    call.outcome = engine.fresh(call)
    return call


def map_calls(
    engine: Engine, binding: Binding, calls: Sequence[Values], most: int = 1, made: list[Call] | None = None
) -> Generator[Effect, Any, Outcome]:
    """The list of the results of calls, in order, or the first failure; only what is missing is computed, each under
    single-flight and `most` of them at a time. Each call is noted in `made`, where that is given.
    """
    looked = yield from look_up(engine, binding, calls, whole=made is not None)
    if made is not None:
        made += [one for one in looked if not isinstance(one, Outcome)]
    asked = yield from _compute_together(engine, binding, calls, looked, most)
    results = []
    for values, one in zip(calls, looked, strict=True):
        if isinstance(one, Outcome):
            results.append(one.value)
            continue
        outcome = one.outcome
        if outcome is None:
            if one.address.key in asked:  # a call made twice was answered the first time
                one.begin_anew()
            asked.add(one.address.key)
            outcome = yield from _made(engine, binding, values, one)
        if outcome.error is not None:
            return outcome
        results.append(outcome.value)
    return Outcome(results)


def _made(engine: Engine, binding: Binding, values: Values, call: Call) -> Steps[Outcome]:
    """A call that was looked up with others, and is not fresh."""
    # a stale value may be past serving by now
    if not call.reachable or call.found.load is not None:
        call.begin_anew()
    call.begun = time.monotonic()
    return (yield from engine.call(binding, values, call))


def _compute_together(
    engine: Engine, binding: Binding, calls: Sequence[Values], looked: list[Outcome | Call], most: int
) -> Steps[set[Any]]:
    """Give each call that is not fresh its outcome, as far as none of them fails; those made twice are left, and those
    that are better made alone. Returns the keys of those that have one.
    """
    if most == 1 and not isinstance(binding.places.shared, SharedStore):  # there is nobody to ask together
        return set()
    missing: dict[Any, tuple[Values, Call]] = {}
    for values, one in zip(calls, looked, strict=True):
        if isinstance(one, Outcome):
            continue
        if one.outcome is None:
            missing.setdefault(one.address.key, (values, one))
        elif one.outcome.error is not None:
            break  # a remembered one: what comes after it is not asked for
    if len(missing) < 2:
        return set()
    if most > 1:
        yield from _compute_side_by_side(engine, binding, list(missing.values()), most)
    elif not binding.function.is_async:
        misses = [call for _, call in missing.values() if claimable(call)]
        make = partial(_made, engine, binding)
        yield from Claims(engine, binding).compute(misses, lambda call: make(call.values, call))
    return {key for key, (_, call) in missing.items() if call.outcome is not None}


def _compute_side_by_side(
    engine: Engine, binding: Binding, missing: list[tuple[Values, Call]], most: int
) -> Steps[None]:
    if isinstance(binding.places.shared, SharedStore):
        gates = Gates(engine.leader, fleet=binding.function.options.coalesce == "fleet")
        for _, call in missing:
            call.gates = gates
    each = [partial(_made, engine, binding, *pair) for pair in missing]
    outcomes = yield SideBySide(each, most)
    failed = [outcome for outcome in outcomes if outcome is not None and outcome.error is not None]
    for (_, call), outcome in zip(missing, outcomes, strict=True):
        call.outcome = failed[0] if outcome is None else outcome  # the failure is for all that were cut short


def map_directly(
    engine: Engine, binding: Binding, calls: Sequence[Values], most: int = 1
) -> Generator[Effect, Any, Outcome]:
    """As `map_calls`, with caching disabled."""
    return (yield from in_order([partial(engine.leader.direct, binding.function, values) for values in calls], most))


def in_order(each: Sequence[Callable[[], Steps[Outcome]]], most: int) -> Generator[Effect, Any, Outcome]:
    """The list of the values that steps come to, `most` of them at a time, or the first failure."""
    if most > 1 and len(each) > 1:
        outcomes = yield SideBySide(each, most)
        failed = [outcome for outcome in outcomes if outcome is not None and outcome.error is not None]
        return failed[0] if failed else Outcome([outcome.value for outcome in outcomes])
    results = []
    for make in each:
        outcome = yield from make()
        if outcome.error is not None:
            return outcome
        results.append(outcome.value)
    return Outcome(results)
