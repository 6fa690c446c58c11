"""Commands as bytes: what is handed to the native packer, and what comes of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memocache.backends._redis import pipelined_connection, resp
from memocache.backends._redis.commands import Commands, Transaction
from memocache.backends._redis.pipelined_connection import SingleRead, ValueSize
from memocache.typing import Guard, Put, Tally

_WORDS = st.lists(st.binary(max_size=40) | st.text(max_size=20) | st.integers(-(2**63), 2**63), min_size=1, max_size=8)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(_WORDS)
def test_a_command_is_an_array_of_its_words(words: list[Any]) -> None:
    """A command is its words, each with its length in bytes in front; text is UTF-8, numbers are decimal."""
    raw = [one if isinstance(one, bytes) else str(one).encode() for one in words]
    assert resp.command_bytes(*words) == b"*%d\r\n" % len(raw) + b"".join(
        b"$%d\r\n%b\r\n" % (len(one), one) for one in raw
    )


def test_the_native_packer_gets_bytes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a command is made of, native code is handed nothing but bytes."""
    seen: list[tuple[Any, ...]] = []
    honest = resp.pack

    def watching(words: tuple[Any, ...]) -> bytes:
        seen.append(words)
        return honest(words)

    for module in (resp, pipelined_connection):
        monkeypatch.setattr(module, "pack", watching)

    async def single() -> None:
        SingleRead("e", ["m", "n"], 0.0, asyncio.get_running_loop().create_future(), ValueSize())

    asyncio.run(single())
    say = Commands(wait=(1, 100))
    puts = [Put("k", b"v", 5), Put("l", b"v")]
    for op in (
        say.read(["a", "b"]),
        say.transact(Transaction([Guard("k"), Guard("l", b"x")], puts, ["m"], [("s", "x")], "c")),
        say.delete(["a"]),
        say.scan("p", 7),
        say.tally([Tally("t", {"n": 1}, {"last": 2}, 1000)]),
    ):
        next(op)  # type: ignore[call-overload]  # operations of any type
    assert len(seen) > 6
    assert {type(word) for words in seen for word in words} == {bytes}
