"""What to ask a shared backend about a call, with as little made as can be: most calls turn out to be hits.

An `Address` and its `Spot` are made only for calls that need them: those that are no plain fresh hits, have tags, or
may have a copy in the process.
"""

from __future__ import annotations

from typing import TypeAlias

from memocache._calls.call_key import Binding
from memocache._calls.signature import Values
from memocache._runtime.budget import Budget
from memocache._stores.remote.store import SharedStore
from memocache._stores.store import Address, Store

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


def place(
    binding: Binding, shared: SharedStore, asked: Question, budget: Budget | None = None
) -> tuple[Address, Store]:
    """Where the outcome of a call is kept that this was asked about; `budget` is what is left of its own."""
    _, _, digest, known = asked
    if known is not None:
        return known
    return Address(binding.table, digest, binding.function.name, digest, budget=budget), shared
