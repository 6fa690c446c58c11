"""What is said of an argument that has no value: where in it the trouble lies, and the ways out."""

from __future__ import annotations

from typing import Any, Final

from memocache._runtime.object_identity import NoIdentity
from memocache.codecs.refusals import way_out
from memocache.codecs.value_paths import path_to_instance

_WAYS_OUT: Final = (
    "give its class a __cache_key__() method (or teach the cache somebody else's class with Cache.register), or pass "
    "key= (a template or callable that picks what identifies the call), or exclude= for a parameter that does not "
    "change the result"
)


def trouble(name: str, value: Any, refusal: NoIdentity) -> str:
    """Which parameter holds what; the path is of positions and fields, never of a key or a value."""
    path = path_to_instance(refusal.cls, value)
    return f"parameter {name!r} holds a {refusal.type_name}{path and f' ({name}{path})'}"


def ways_out(refusal: NoIdentity) -> str:
    """What to do: what to pass instead, where that is known of the class, or what says which argument it is."""
    instead = refusal.way_out or way_out(refusal.cls)
    return f"{instead}, or {_WAYS_OUT}" if instead else _WAYS_OUT
