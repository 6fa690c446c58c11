"""`cached_many`: a loader that takes many ids, remembered id by id.

A call looks all ids up; what is missing it *claims*: it becomes leader of every id that nobody computes, here or in
another process. Then, in this order, it loads what it claimed in one call of the loader, stores and finishes each id
on its own, and only then waits for what others load. So two overlapping calls never wait for each other in a circle:
nobody waits while holding what another may wait for. Where all that is missing is being loaded by other processes,
it waits for the first of these, holding nothing else, and looks again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextvars import Token as Reset
from functools import partial
from inspect import Parameter
from typing import Any, cast

from memocache._calls import bulk_lookup as _many
from memocache._calls.cache_core import Core
from memocache._calls.call_and_lead import Call, Lead
from memocache._calls.call_key import Binding
from memocache._calls.engine import Engine
from memocache._calls.function import Function
from memocache._calls.lazy_binding import State, no_look
from memocache._calls.loader_answer import by_id, hashable, ids_of
from memocache._calls.signature import Values
from memocache._calls.with_status import bypassed, status_of
from memocache._calls.wrapper import Memoized
from memocache._runtime import events
from memocache._runtime.effects import Effect, Steps, Wait
from memocache._runtime.outcome import Outcome
from memocache._runtime.singleflight import LEADING, Flight, Role, stop_leading
from memocache._stores.store import Found, Record
from memocache.exceptions import BackendError, ConfigurationError
from memocache.stats import summary
from memocache.typing import MISSING


def memoize_loader(target: Any, settings: dict[str, Any], find_core: Callable[[], Core]) -> Memoized:
    """Decorate a loader; `settings` are those of `cached` and ``cache_missing``."""
    settings = dict(settings)
    cache_missing = settings.pop("cache_missing", False)
    if not isinstance(cache_missing, bool):
        raise ConfigurationError("cache_missing= takes True or False")
    function = Function(target, settings, bulk=True)
    made = cast("type[_MemoizedLoader]", type("MemoizedLoader", (_MemoizedLoader,), {}))
    loader = made(function, find_core, lambda *args: _LoaderState(*args, cache_missing=cache_missing))
    ids = function.signature.parameters[loader._self_state.ids_at :][:1]
    if not ids or ids[0].kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
        raise TypeError(f"cached_many() takes a loader whose first parameter is the ids; {function.name} has none")
    return loader


class _LoaderState(State):
    """Binds a loader; a call is one bulk look-up and one call of the loader for what is missing."""

    def __init__(self, *args: Any, cache_missing: bool) -> None:
        super().__init__(*args)
        self.cache_missing = cache_missing
        self.settings = {"cache_missing": cache_missing}

    @property
    def ids_at(self) -> int:
        """Which parameter the ids are."""
        return 1 if self.method and self.function.descriptor is not staticmethod else 0

    def fast_path(self, core: Core, binding: Binding) -> Callable[[Values], None]:
        """A bulk call has more than one look-up; `steps` makes them."""
        return no_look

    def steps(self, core: Core, binding: Binding, values: Values, begun: Any = None) -> Steps[Outcome]:
        """One call: the mapping of those ids that have a value."""
        return self.load(core, binding, values).steps()

    def direct(self, core: Core, values: Values) -> Steps[Outcome]:
        """One call with caching off: the loader is asked as ever, for all ids."""
        at, name = self.ids_at, self.function.name
        ids = ids_of(name, values[at])
        loaded = yield from core.engine.leader.direct(self.function, (*values[:at], list(ids), *values[at + 1 :]))
        return by_id(name, ids, loaded)

    def load(self, core: Core, binding: Binding, values: Values) -> _Load:
        """A call that is about to be made."""
        return _Load(core.engine, binding, values, self.ids_at, self.cache_missing)


class _MemoizedLoader(Memoized):
    """A decorated loader: a call is about many ids, the attributes that take arguments are about one."""

    _self_state: _LoaderState

    def cache_parameters(self) -> dict[str, Any]:
        """The settings in force, by name."""
        return super().cache_parameters() | {"cache_missing": self._self_state.cache_missing}

    def key_for(self, /, *args: Any, **kwargs: Any) -> str:
        """The key of one id as the backend sees it."""
        self._self_one(args, kwargs)
        return super().key_for(*args, **kwargs)

    def put(self, value: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Store the value of one id."""
        self._self_one(args, kwargs)
        return super().put(value, *args, **kwargs)

    def refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        """Load one id now, store its value and return it; MISSING, and the id forgotten, if it has none."""
        values = self._self_one(args, kwargs)
        core, binding = self._self_state.bound()
        return self._self_result(self._self_state.load(core, binding, values).refresh(), "refresh")

    def with_status(self, /, *args: Any, **kwargs: Any) -> Any:
        """The call: the mapping, and how the cache handled its ids, all as one."""
        return self._self_result(self._self_with_status(self._self_values(args, kwargs)), "with_status")

    def _self_with_status(self, values: Values) -> Steps[Outcome]:
        core, binding = self._self_state.bound()
        binding.check_name()
        if core.off():
            return bypassed(self._self_state.direct(core, values))
        return self._self_state.load(core, binding, values).with_status()

    def _self_map(self, calls: list[tuple[Any, ...]], cached: Any, direct: Any, name: str, most: int) -> Any:
        ask = self._self_state.call if name == "map" else self._self_with_status
        return self._self_result(
            _many.in_order([partial(ask, self._self_values(args, {})) for args in calls], most), name
        )

    def _self_do(
        self, what: Callable[..., Steps[Any]], args: tuple[Any, ...], kwargs: dict[str, Any], name: str
    ) -> Any:
        self._self_one(args, kwargs)
        return super()._self_do(what, args, kwargs, name)

    def _self_one(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Values:
        """The values of a call about one id. Raises TypeError for a list of ids, which would be about nothing."""
        values = self._self_values(args, kwargs)
        one = values[self._self_state.ids_at]
        if not hashable(one):
            raise TypeError(f"{self._self_function.name}: takes one id here, and this is a {type(one).__name__}")
        return values


class _Load:
    """One call of a loader under way; see the module for the order of things."""

    def __init__(self, engine: Engine, binding: Binding, values: Values, at: int, cache_missing: bool) -> None:
        self._engine = engine
        self._binding = binding
        self._values = values
        self._at = at
        self._cache_missing = cache_missing
        self._leading = LEADING.get()
        self._reset: Reset[tuple[Flight, ...]] | None = None
        self._results: dict[Any, Any] = {}  # MISSING: known to be absent
        self._missed: dict[Any, bool] = {}  # and whether somebody else's computation was waited for
        self._calls: dict[Any, Call] = {}  # the first look-up's, with what the last one found
        self._claims: dict[Any, Lead] = {}
        self._direct: set[Any] = set()  # recursive or circular: loaded here, and shared with nobody
        self._followed: dict[Any, tuple[Flight, bool, bool]] = {}  # was it open, the backend reachable?

    def with_status(self) -> Generator[Effect, Any, Outcome]:
        """As `steps`: the pair of the mapping and the status of all its ids as one."""
        outcome = yield from self.steps(whole=True)
        for one, call in self._calls.items():
            call.shared = call.shared or self._missed.get(one, False)
        made = [status_of(call) for call in self._calls.values()]
        return outcome if outcome.error is not None else Outcome((outcome.value, summary(made)))

    def steps(self, *, whole: bool = False) -> Generator[Effect, Any, Outcome]:
        """The call: the mapping of those ids that have a value, in the order asked for. `whole` as of `look_up`."""
        ids = ids_of(self._binding.function.name, self._values[self._at])
        coalesce = self._binding.function.options.coalesce
        begun, waiting = time.monotonic(), False
        while True:
            todo = yield from self._look([one for one in ids if one not in self._results], whole)
            left = self._engine.max_wait - (time.monotonic() - begun)
            if not todo:
                self._report()
                return Outcome({one: self._results[one] for one in ids if self._results[one] is not MISSING})
            try:
                if coalesce is None or left <= 0:
                    yield from self._claim(todo, 0.0, alone=True)
                elif coalesce == "process":
                    yield from self._claim(todo, 0.0)
                elif not waiting:
                    yield from self._claim(todo, None)
                else:
                    first, *rest = todo
                    yield from self._claim({first: todo[first]}, left)
                    if self._claims:  # whoever held it is gone
                        yield from self._claim({one: todo[one] for one in rest}, None)
                wanted = [one for one in todo if one in self._claims or one in self._direct]
                waiting = not (wanted or self._followed or waiting)
                failure = (yield from self._compute(wanted)) if wanted else None
                if failure is None:
                    failure = yield from self._follow(begun)
            finally:
                self._let_go()
            if failure is not None:
                self._report()
                return failure

    def refresh(self) -> Generator[Effect, Any, Outcome]:
        """Load one id now, voiding computations of it under way. Raises `BackendError`."""
        engine, one = self._engine, self._values[self._at]
        address, store = self._binding.address(self._values)
        marks = engine.tier.marks(address.name, address.tags)
        try:
            claim = self._claims[one] = Lead(address, store)
            engine.flights.takeover(address.flight_key, marks, claim)
            self._lead_claims()
            found = yield from store.look(address)
            claim.lease = yield from store.begin(address, found, claim.flight, patient=0.0, force=True)
            failure = yield from self._compute([one], force=True)
            if failure is not None:
                return failure
            if self._results[one] is MISSING and not self._cache_missing:
                yield from store.forget(address)
        except BackendError as fault:
            engine.leader.fault(self._binding.counters, fault, raising=True)
        finally:
            self._let_go()
        return Outcome(self._results[one])

    def _with(self, ids: Any) -> Values:
        """The values of this call about other ids (or one)."""
        return (*self._values[: self._at], ids, *self._values[self._at + 1 :])

    def _look(self, ids: list[Any], whole: bool) -> Generator[Effect, Any, dict[Any, Call]]:
        """Take what is there; return what the look-up knows of the other ids."""
        again = bool(self._missed)
        calls = [self._with(one) for one in ids]
        looked = yield from _many.look_up(self._engine, self._binding, calls, again=again, whole=whole)
        todo = {}
        for one, its in zip(ids, looked, strict=True):
            if isinstance(its, Outcome):
                self._results[one] = its.value
                continue
            self._calls.setdefault(one, its).found = its.found
            if its.outcome is not None and its.outcome.error is None:
                self._results[one] = its.outcome.value
            else:
                todo[one] = its
        if not again and todo:
            self._missed = dict.fromkeys(todo, False)
            for its in todo.values():
                its.missed = True
                self._engine.leader.count_miss(its)
        return todo

    def _claim(self, todo: Mapping[Any, Call], patient: float | None, *, alone: bool = False) -> Steps[None]:
        """Lead what nobody computes here and, as far as the backend answers, elsewhere; follow what others lead here.

        `patient` is as of `Store.begin`; at most one id is waited for. `alone`: follow nobody.
        """
        engine, counters = self._engine, self._binding.counters
        mine, coalesced = [], 0
        for one, call in todo.items():
            address = call.address
            marks, key = engine.tier.marks(address.name, address.tags), address.flight_key
            entered = self._claims[one] = Lead(address, call.store)
            if alone:
                engine.flights.solo(key, marks, entered)
                self._calls[one].flight = entered.flight
            else:
                flight, role, _ = engine.flights.enter(key, marks, self._leading, entered)
                self._calls[one].flight = flight
                if role is not Role.LEAD:
                    del self._claims[one]
                if role is Role.FOLLOW:
                    self._followed[one] = (flight, flight.open, todo[one].reachable)
                    coalesced += not self._missed[one]
                    self._missed[one] = True
                    continue
                if role is Role.DIRECT:
                    self._direct.add(one)
                    continue
            mine.append(one)
        self._lead_claims()
        if coalesced:
            counters.add(coalesced=coalesced)
        asked = [(self._claims[one], todo[one].found) for one in mine if todo[one].reachable]
        try:
            yield from engine.leader.begin_many(asked, patient)
        except BackendError as fault:
            engine.leader.fault(counters, fault)
            return  # it need not refuse each
        for one in mine:
            claim, call = self._claims[one], todo[one]
            if claim.lease is not None or not call.reachable:
                continue
            try:
                got = yield from claim.store.begin(claim.address, call.found, claim.flight, patient=patient)
            except BackendError as fault:
                engine.leader.fault(counters, fault)
                return  # it need not refuse each
            if got is None or isinstance(got, Found):
                engine.leader.end(self._claims.pop(one))
                self._calls[one].shared = True
            else:
                claim.lease = got

    def _compute(self, wanted: list[Any], *, force: bool = False) -> Generator[Effect, Any, Outcome | None]:
        """One call of the loader; every id is stored and finished on its own. Returns the first failure, if any."""
        engine, binding = self._engine, self._binding
        loaded, seconds = yield from engine.leader.compute(binding, self._with(list(wanted)))
        # the figures are an id's: a hit on one of them saves its share
        binding.counters.add(computations=len(wanted) - 1)
        seconds /= len(wanted)
        loaded = by_id(binding.function.name, wanted, loaded)
        failure = None
        results = [(one, self._claims.get(one), *self._result(one, loaded, seconds)) for one in wanted]
        yield from engine.leader.commit_many([(claim, record) for _, claim, _, record in results if claim is not None])
        for one, claim, outcome, record in results:
            if claim is not None:
                outcome = yield from engine.leader.settle(binding, claim, record, outcome, force=force)
            if outcome.error is None:
                self._results[one] = outcome.value
            elif failure is None:
                failure = outcome
        return failure

    def _result(self, one: Any, loaded: Outcome, seconds: float) -> tuple[Outcome, Record | None]:
        """What the loader's answer is for one id, and what is to be stored of that."""
        if loaded.error is not None:
            return loaded, None
        try:
            value = loaded.value.get(one, MISSING)
            if value is MISSING and not self._cache_missing:
                return Outcome(MISSING), None
            return Outcome(value), self._engine.leader.record(self._binding, value, seconds)
        except Exception as error:  # what the mapping or the ttl callable raised: this id's outcome, not the others'
            return Outcome(None, error, error.__traceback__), None

    def _follow(self, begun: float) -> Generator[Effect, Any, Outcome | None]:
        """Take what others lead in this process, until patience ends; returns the first failure, if any."""
        for one, (flight, joined_open, reachable) in self._followed.items():
            left = self._engine.max_wait - (time.monotonic() - begun)
            ended = yield Wait(flight.signal, max(0.0, left))
            outcome = flight.shared_outcome(reachable=reachable) if ended and joined_open else None
            if outcome is None:
                continue
            if outcome.error is not None:
                return outcome
            self._results[one] = outcome.value
        return None

    def _lead_claims(self) -> None:
        """Let calls from inside see what is led here."""
        reset, self._reset = self._reset, None
        if reset is not None:
            stop_leading(reset)
        self._reset = LEADING.set((*LEADING.get(), *(claim.flight for claim in self._claims.values())))

    def _let_go(self) -> None:
        """End what is held, however the pass ended."""
        reset, self._reset = self._reset, None
        if reset is not None:
            stop_leading(reset)
        for claim in self._claims.values():
            self._engine.leader.end(claim)
        for flight, *_ in self._followed.values():
            self._engine.flights.leave(flight, self._leading)
        self._followed, self._claims, self._direct = {}, {}, set()

    def _report(self) -> None:
        if self._engine.emit is not None:
            for shared in self._missed.values():
                self._engine.emit(events.Miss(self._binding.function.name, shared))
