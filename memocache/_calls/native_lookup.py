"""Which functions are looked up in C, and what the C is told of one: its parameters, its table and its clock.

A function has a look-up in C while it is bound, beside the compiled one, which is asked whatever the C does not know.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from inspect import Parameter
from time import monotonic
from typing import Any, Final

from memocache._calls.function import Function
from memocache._runtime.disabled import DISABLED
from memocache._runtime.native import NATIVE

MOST_PARAMETERS: Final = 8
_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_KNOWN = frozenset({*_POSITIONAL, Parameter.KEYWORD_ONLY})


def arm(memoized: Any, function: Function, entries: Any, clock: Callable[[], float]) -> None:
    """Look the calls of a decorated function up in C, if they are simple enough, and the build has it."""
    if NATIVE is None or memoized is None or type(entries) is not dict or not knows(function):
        return
    parameters = function.signature.parameters
    hit = NATIVE.Hit(
        slow=type(memoized).__call__,
        entries=entries,
        names=tuple([None if p.kind is Parameter.POSITIONAL_ONLY else sys.intern(p.name) for p in parameters]),
        positional=sum(p.kind in _POSITIONAL for p in parameters),
        defaults=tuple([NATIVE.ABSENT if p.default is Parameter.empty else p.default for p in parameters]),
        off=DISABLED,
        clock=None if clock is monotonic and sys.platform == "linux" else clock,
    )
    NATIVE.arm(memoized, hit)


def knows(function: Function) -> bool:
    """Whether the C can look up the calls of a function: each parameter one part of the key, and nothing to weigh."""
    signature = function.signature
    return (
        not function.is_async
        and not function.options.tags
        and not signature.spelled
        and len(signature.parameters) <= MOST_PARAMETERS
        and all(parameter.kind in _KNOWN for parameter in signature.parameters)
        and function.included() == signature.names
    )


def disarm(memoized: Any) -> None:
    """Look its calls up in Python again."""
    if NATIVE is not None and memoized is not None:
        NATIVE.arm(memoized, None)
