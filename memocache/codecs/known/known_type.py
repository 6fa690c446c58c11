"""A known type: one entry says how its values are taken apart into simpler ones, and put together again.

Bytes, keys and copies all follow from that, so a type is declared once, in the module of its library. An entry knows
its class by name alone: nothing is imported, and what is not loaded can neither come by nor be put together.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from memocache.exceptions import DecodeError


class KnownType(NamedTuple):
    """One type, or several that are taken apart alike.

    `number` stands for it in payloads and keys and never changes meaning. `classes` are ``module:qualname`` as the
    classes spell it. `apart` gives values that have codes themselves, `together` takes what `apart` gave, checks it,
    and may raise whatever it likes. `key` is what identifies a value as an argument (left out: what `apart` gives).
    `immutable`: it can be handed to any number of callers. `family`: its library's subclasses are taken apart alike.
    `results`: they can be stored; left so if they are known as arguments alone. `key` may answer None for a value that
    has no identity across processes. `note` is what docs/values.md says beside its name.
    """

    number: int
    classes: tuple[str, ...]
    apart: Callable[[Any], Any]
    together: Callable[[Any], Any]
    key: Callable[[Any], Any] | None = None
    immutable: bool = False
    family: bool = False
    note: str = ""
    results: bool = True


def loaded(name: str) -> Any:
    """Return what goes by ``module:qualname``; DecodeError if its library is not loaded."""
    found = find_loaded(name)
    if found is None:
        raise DecodeError("payload holds a value of a library that is not loaded")
    return found


def find_loaded(name: str) -> Any:
    """Return what goes by ``module:qualname`` in a module that is loaded, or None; no attribute hooks run."""
    module, _, qualname = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = None if found is None else vars(found).get(part)
    return found
