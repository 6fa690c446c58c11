"""The sentinel for no value, where ``None`` is a value."""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal


class Missing(Enum):
    """One-member enumeration: a typed sentinel that checkers can narrow."""

    MISSING = "MISSING"

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> Literal[False]:
        return False


Missing.__module__ = "memocache.typing"  # by which it is known in keys, and pickled
MISSING: Final = Missing.MISSING
"""Absence of a value, where ``None`` is a value. It is falsy; its type is `Missing`, and ``is MISSING`` narrows."""
