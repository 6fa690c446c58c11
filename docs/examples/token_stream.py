"""A stream of tokens, as a language model gives it, cached: the second reader of a prompt pays nothing.

``python token_stream.py`` asks twice at the same time and once more; the model is asked once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from memocache import cached

ASKED: list[str] = []


@cached(ttl="1h", stream=True)
async def answer(prompt: str) -> AsyncIterator[str]:
    """Stands for a call of a model, which costs money and gives its answer bit by bit."""
    ASKED.append(prompt)
    for token in f"You asked: {prompt}".split():
        await asyncio.sleep(0.01)
        yield token + " "


async def show(reader: str, prompt: str) -> str:
    """Read an answer as it comes."""
    text = ""
    async for token in answer(prompt):
        text += token
        print(f"{reader}: {text}")
    return text


async def main() -> None:
    """Two readers of one answer while it is given, and one afterwards."""
    await asyncio.gather(show("first", "why cache?"), show("second", "why cache?"))
    await show("later", "why cache?")
    print(f"the model was asked {len(ASKED)} time")


if __name__ == "__main__":
    asyncio.run(main())
