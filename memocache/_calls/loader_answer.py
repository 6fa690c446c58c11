"""The answer of a loader: a mapping of ids to values, or a list of the values, made a mapping."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from memocache._runtime.outcome import Outcome


def ids_of(name: str, given: Any) -> list[Any]:
    """The ids that a loader is asked for, each once. Raises TypeError if `given` is no iterable of hashable ids."""
    if not isinstance(given, Iterable):
        raise TypeError(f"{name}: takes an iterable of ids, not {type(given).__name__}")
    ids = list(given)
    for one in ids:
        if not hashable(one):
            raise TypeError(f"{name}: ids are to be hashable, and one of these is a {type(one).__name__}")
    return list(dict.fromkeys(ids))


def by_id(name: str, ids: Sequence[Any], loaded: Outcome) -> Outcome:
    """The mapping that a loader's answer about `ids` is; the error, where it raised or its answer is none."""
    answer = loaded.value
    if loaded.error is not None or isinstance(answer, Mapping):
        return loaded
    if not isinstance(answer, list | tuple):
        kind = type(answer).__name__
        return Outcome(None, TypeError(f"{name} is to return a mapping of ids to values, or a list, not {kind}"))
    if len(answer) != len(ids):
        return Outcome(
            None,
            ValueError(
                f"{name} returned a list of {len(answer)} for {len(ids)} ids; a list holds one value for each id, in "
                "the order of the ids (memocache.MISSING for an id without one); a mapping may leave ids out"
            ),
        )
    return Outcome(dict(zip(ids, answer, strict=True)))


def hashable(value: Any) -> bool:
    """Whether a value can be an id."""
    try:
        hash(value)
    except TypeError:
        return False
    return True
