"""Functions whose whole keys are pinned by `test_call_key_golden`: it must be importable under this very name."""

from __future__ import annotations

import functools
import types
from typing import Any


def plain(item: Any, country: str = "NL", *rest: Any, **more: Any) -> Any:
    return item


async def slow(item: Any) -> Any:
    return item


class Shop:
    @staticmethod
    def price(item: Any) -> Any:
        return item


def with_default(kind: Any = types.UnionType) -> Any:
    return kind


bound = functools.partial(plain, "book")
