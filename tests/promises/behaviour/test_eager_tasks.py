"""Tasks that run at once when they are made (Python 3.12): one computation per key, as with any other tasks."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from memocache import Cache


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are Python 3.12's")
def test_eager_tasks_share_a_computation() -> None:
    """Nine eager calls of three keys compute three times, and each caller gets a value of its own."""
    cache, calls = Cache(), []

    @cache.cached(ttl=60)
    async def f(x: int) -> list[int]:
        calls.append(x)
        await asyncio.sleep(0)
        return [x]

    async def main() -> list[list[int]]:
        asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009
        return await asyncio.gather(*(f(i % 3) for i in range(9)))

    values: Any = asyncio.run(main())
    assert values == [[i % 3] for i in range(9)]
    assert sorted(calls) == [0, 1, 2]
    assert len({id(value) for value in values}) == 9
