"""Inputs kept, and inputs made of them at random: what the fuzzer does where it has no coverage to guide it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
_ODD = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\0\0\0\0",
    b"\xc9",
    b"\xdd",
    b"\r\n",
)


def corpus(name: str) -> list[bytes]:
    """The inputs kept for a target, its seeds first."""
    kept = sorted((CORPUS / name).glob("*")) if (CORPUS / name).is_dir() else []
    return [*TARGETS[name].seeds(), *(path.read_bytes() for path in kept)]


def mutants(inputs: list[bytes], rng: random.Random, longest: int) -> Iterator[bytes]:
    """Without end: one of `inputs`, changed in one to four places."""
    while True:
        data = bytearray(rng.choice(inputs))
        for _ in range(rng.randint(1, 4)):
            _change(data, inputs, rng)
        yield bytes(data[:longest])


def _change(data: bytearray, inputs: list[bytes], rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    end = min(len(data), at + rng.choice((1, 1, 2, 4, 16)))
    match rng.randrange(7):
        case 0 if at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        case 1 if at < len(data):
            data[at] = (data[at] + rng.choice((-1, 1))) % 256
        case 2:
            data[at:end] = rng.choice(_ODD)
        case 3:
            del data[at:end]
        case 4:
            data[at:at] = data[at:end] * rng.choice((1, 2, 50))
        case 5:
            data[at:end] = rng.randbytes(end - at)
        case _:
            other = rng.choice(inputs)
            start = rng.randrange(len(other) + 1)
            data[at:end] = other[start : start + rng.randrange(64)]
