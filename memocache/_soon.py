"""The first look-up of an async call on a shared backend: as `Engine.look_now`, with the answer still to come.

It is asked for with everything else that the event loop's turn asks for, and most answers are fresh hits: no steps of
the engine are made for those.
"""

from __future__ import annotations

from collections.abc import Awaitable
from time import monotonic
from typing import Any

from memocache import _guard
from memocache._binding import Binding
from memocache._disabled import DISABLED
from memocache._engine import Begun, Engine
from memocache._questions import Question, question
from memocache._shelf import UNFIT
from memocache._signature import Values
from memocache._store_shared import SharedStore
from memocache.exceptions import BackendError
from memocache.stats import BUCKETS
from memocache.typing import Answer


class Soon:
    """A call that waits for `reply`; what that comes to is for `value`, and if it is `UNFIT`, for `rest`."""

    __slots__ = ("_answer", "_asked", "_begun", "_binding", "_engine", "_shared", "reply")

    def __init__(
        self, engine: Engine, binding: Binding, shared: SharedStore, asked: Question, reply: Awaitable[Answer]
    ) -> None:
        self._engine, self._binding, self._shared, self._asked = engine, binding, shared, asked
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

    def rest(self) -> Begun:
        """What `Engine.call` goes on with."""
        budget = _guard.Budget()
        budget.left -= monotonic() - self._begun
        try:
            reply: Any = self._shared.replied(self._answer, budget)
        except BackendError as fault:
            reply = fault
        return self._engine.looked(self._binding, self._asked, reply, budget, self._begun)


def look_soon(engine: Engine, binding: Binding, values: Values) -> Soon | None:
    """Ask for what there is of a call; None: `Engine.call` begins anew. Raises what `Binding.address` raises."""
    shared: SharedStore = binding.places.shared  # type: ignore[assignment]  # it is one; binding must not know
    if shared.tiered or not shared.reads_soon:
        return None
    if DISABLED.get() is not None or engine.emit is not None or binding.function.options.early:
        return None
    asked = question(binding, shared, values)
    entry = asked[0]
    reply = None if entry is None else shared.read_soon(entry, asked[1], _guard.CALL_SECONDS)
    return None if reply is None else Soon(engine, binding, shared, asked, reply)
