"""The outcome of a computation, a value or an exception, as one object.

Steps hand outcomes to each other, so no step needs to know which of the two it passes on.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, NamedTuple


class Outcome(NamedTuple):
    """What a computation came to: a value, or the exception it raised and its traceback when it was caught."""

    value: Any = None
    error: Exception | None = None
    trace: TracebackType | None = None
