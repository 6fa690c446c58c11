"""The look-up in C, where it was built for this very source and this Python; otherwise there is none.

``MEMOCACHE_PURE=1`` leaves it out. So does whatever is not proved: a Python without the global lock, another
implementation than CPython, a compiled file of another version of its source. None of these is an error.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from pathlib import Path
from typing import Any, Final

from memocache._runtime import free_threading

PROVED: Final = ((3, 11), (3, 13))
"""The first and the last version of CPython that the look-up in C was proved on."""


class PureFields:
    """What every entry has, where there is no C: the same names that `EntryFields` has there."""

    __slots__ = ("fresh_until", "hits", "key", "last", "micros", "rank", "table", "thaw", "ttl", "value")


def _load() -> tuple[Any, str]:
    """The compiled module or None, and why there is none."""
    if os.environ.get("MEMOCACHE_PURE", "0") not in ("", "0"):
        return None, "MEMOCACHE_PURE is set"
    if sys.implementation.name != "cpython" or free_threading.FREE_THREADED:
        return None, "it is for CPython with its global lock"
    if not PROVED[0] <= sys.version_info[:2] <= PROVED[1]:
        return None, "it is not proved on this version of Python"
    try:
        found = importlib.import_module("memocache._runtime._native_hit")
        source = Path(__file__).with_name("native_hit.c").read_bytes()
    except (ImportError, OSError):
        return None, "it was not built"
    if getattr(found, "SOURCE", None) != hashlib.blake2b(source, digest_size=16).hexdigest():
        return None, "what was built is of another version"
    return found, ""


NATIVE, WHY_PURE = _load()
"""The compiled module, or None and the reason."""
EntryFields: Any = PureFields if NATIVE is None else NATIVE.EntryFields


def callable_over(base: Any) -> Any:
    """A base class for decorated functions: `base`, with what the C needs in each instance."""
    return base if NATIVE is None else NATIVE.callable_over(base)


def build() -> str:
    """Which look-up serves a hit in the process, in words."""
    return "native" if NATIVE is not None else f"pure ({WHY_PURE})"
