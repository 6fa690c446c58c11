"""Arguments of types that Python 3.14 and 3.15 brought, said as tuples of simpler values: `LOWER`.

A frozendict is its items in any order, a template string its text and its interpolations, a sentinel its name where its
module holds it under that name. `functools.Placeholder` is itself. The table is empty where Python has none of them.
"""

from __future__ import annotations

import builtins
import functools
import sys
from collections.abc import Callable
from typing import Any

from memocache._runtime.object_identity import sentinel_path


def _lower_sentinel(value: Any) -> tuple[Any, ...] | None:
    path = sentinel_path(value)
    return None if path is None else ("sentinel", *path)


def _lower_template(value: Any) -> tuple[Any, ...]:
    parts = tuple([(part.value, part.expression, part.conversion, part.format_spec) for part in value.interpolations])
    return "Template", value.strings, parts


LOWER: dict[int, Callable[[Any], tuple[Any, ...] | None]] = {}
if sys.version_info >= (3, 14):
    from string.templatelib import Template

    LOWER[id(Template)] = _lower_template
    LOWER[id(type(functools.Placeholder))] = lambda value: ("Placeholder",)
if sys.version_info >= (3, 15):
    LOWER[id(builtins.frozendict)] = lambda value: ("frozendict", dict(value))
    LOWER[id(builtins.sentinel)] = _lower_sentinel
