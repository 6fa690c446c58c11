"""The hit path's reading of an envelope beside the full one: it may decline, and never sees anything else."""

from __future__ import annotations

import random

import pytest

from memocache._stores.remote import envelope as _envelope
from memocache._stores.remote.envelope import HEAD_BYTES, Envelope, Flag, close, echo, fresh_payload, pack, read_front
from memocache.exceptions import DecodeError

GENERATIONS = bytes(range(16))
KEY = "memo:e::shop.price:0123456789abcdef"


def written(payload: bytes = b"\x01payload", flags: int = Flag.PLAIN, tags: tuple[str, ...] = ()) -> bytes:
    """An envelope that is fresh until 2,000."""
    envelope = Envelope(
        KEY, 1000.0, 2000.0, 2500.0, 0.25, GENERATIONS, payload, flags, "v1", tags, bytes(16 * len(tags)), b"storeid8"
    )
    return close(pack(envelope), b"")


EXPECTED = echo(GENERATIONS, KEY.encode())


def slow(raw: bytes, now: float) -> bytes | None:
    """What the full reading says."""
    at = HEAD_BYTES + len(EXPECTED)
    if raw[HEAD_BYTES:at] != EXPECTED or raw[2] != Flag.PLAIN:
        return None
    try:
        front = read_front(raw, at)
    except DecodeError:
        return None
    return bytes(front.payload) if now < front.expires else None


def quick(raw: bytes, now: float) -> bytes | None:
    """What the hit path says."""
    payload = fresh_payload(raw, EXPECTED, now)
    return None if payload is None else bytes(payload)


@pytest.mark.parametrize("payload", [b"", b"\xc0", bytes(300), b"\xc4\x00"])
@pytest.mark.parametrize("tags", [(), ("a", "b")])
def test_the_payload_of_a_fresh_envelope(payload: bytes, tags: tuple[str, ...]) -> None:
    """A whole, plain envelope gives its payload until it expires, whatever else it says of itself."""
    raw = written(payload, tags=tags)
    assert quick(raw, 1999.9) == payload
    assert quick(raw, 2000.0) is None


@pytest.mark.parametrize("flags", [Flag.ERROR, Flag.ABSENT, Flag.ZSTD, Flag.SIGNED])
def test_what_is_not_plain_is_left_to_the_full_reading(flags: int) -> None:
    """Errors, absences, and what is compressed or sealed are never served from the short one."""
    assert quick(written(flags=flags), 1500.0) is None


def test_another_question_is_not_answered() -> None:
    """An envelope of another key, or of other generations, gives nothing."""
    for expected in (echo(GENERATIONS, b"another"), echo(bytes(16), KEY.encode())):
        assert fresh_payload(written(), expected, 1500.0) is None


def test_it_accepts_nothing_that_the_full_reading_refuses() -> None:
    """With any byte changed, cut off or added, both readings say the same, or the short one declines."""
    raw = written()
    source = random.Random(1)
    changed = [raw[:size] for size in range(len(raw))] + [raw + b"\x00", raw + raw]
    for at in range(len(raw)):
        for byte in (0, 255, raw[at] ^ 1, raw[at] ^ 0x80, source.randrange(256)):
            changed.append(raw[:at] + bytes([byte]) + raw[at + 1 :])
    for one in changed:
        assert quick(one, 1500.0) in (None, slow(one, 1500.0) if len(one) > HEAD_BYTES else None)


def test_an_echo_begins_alike_for_keys_of_one_length() -> None:
    """`echo_start` and a key make the key's echo."""
    assert _envelope.echo_start(GENERATIONS, len(KEY)) + KEY.encode() == EXPECTED
