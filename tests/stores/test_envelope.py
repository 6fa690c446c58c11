"""The envelope at the edges: every byte of format 1, and every way of not being one."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest

from memocache._stores.remote import envelope as _envelope
from memocache._stores.remote.envelope import (
    HEAD_BYTES,
    Envelope,
    Flag,
    close,
    echo,
    echo_start,
    fresh_payload,
    pack,
    read_front,
    unpack,
)
from memocache.exceptions import DecodeError

WHOLE = Envelope(
    key="memo:e:é",
    created_at=1000.0,
    expires_at=2000.0,
    stale_until=2500.0,
    compute_seconds=0.25,
    generations=bytes(range(16)),
    payload=b"\x01payload",
    flags=Flag.ERROR | Flag.SIGNED,
    version="v1",
    tags=("a", "b"),
    tag_hashes=bytes(range(32)),
    store_id=b"storeid8",
    seal=b"sealed",
)
RAW = close(pack(WHOLE), WHOLE.seal)
ABOUT = b"\xa2v1\x92\xa1a\xa1b\xc4\x20" + bytes(range(32))
BARE = Envelope("k", 1.0, 2.0, 2.0, 0.0, b"", b"", store_id=bytes(8))


def bare(**changes: Any) -> bytes:
    """The bytes of an envelope with little in it."""
    return close(pack(BARE._replace(**changes)), b"")


def test_the_bytes_of_format_1() -> None:
    """Every byte of a full envelope, spelled by hand."""
    assert (
        b"".join(
            (
                b"\x9c\x01\x11\xc4\x08storeid8",
                b"\xc5\x00\x10" + bytes(range(16)),
                b"\xc5\x00\x09memo:e:\xc3\xa9",
                *(b"\xcb" + struct.pack(">d", time) for time in (1000.0, 2000.0, 2500.0, 0.25)),
                b"\xc5" + len(ABOUT).to_bytes(2) + ABOUT,
                b"\xc6\x00\x00\x00\x08\x01payload",
                b"\xc4\x06sealed",
            )
        )
        == RAW
    )
    assert RAW.startswith(WHOLE.head)
    assert len(WHOLE.head) == HEAD_BYTES
    assert unpack(RAW)._replace(payload=b"") == WHOLE._replace(payload=b"")
    assert bytes(unpack(RAW).payload) == WHOLE.payload


def test_the_flags_of_format_1() -> None:
    """Each bit means today what it meant in what is stored, and no other is known."""
    flags = (Flag.ERROR, Flag.ABSENT, Flag.ZSTD, Flag.LZ4, Flag.SIGNED, Flag.ENCRYPTED)
    assert flags == (1, 2, 4, 8, 16, 32)
    assert (Flag.PLAIN, Flag.SEALED, Flag.KNOWN) == (0, 48, 63)


def test_what_is_left_out_is_empty() -> None:
    """An envelope that says no more than it must has no version, no tags, and reads back as it was."""
    read = unpack(bare())
    assert read._replace(payload=b"") == BARE
    assert read.flags == 0
    assert (read.version, read.tags, read.tag_hashes, read.seal) == (None, (), b"", b"")
    assert (Envelope("k", 1.0, 2.0, 2.0, 0.0, b"", b"").store_id, BARE.seal) == (b"", b"")


def test_lengths_take_two_bytes() -> None:
    """Markers, keys and tags beyond 255 bytes are read as written, and the longest key too."""
    wide = BARE._replace(key="k" * 65_535, generations=bytes(65_528), tags=("t" * 1000,))
    read = unpack(close(pack(wide), b""))
    assert (read.key, read.generations, read.tags) == (wide.key, wide.generations, wide.tags)
    assert echo_start(bytes(300), 515) == b"\xc5\x01\x2c" + bytes(300) + b"\xc5\x02\x03"


def test_a_seal_of_any_length() -> None:
    """The seal may have up to 255 bytes, and its length is checked."""
    for size in (0, 1, 16, 255):
        raw = close(pack(BARE), bytes(size))
        assert unpack(raw).seal == bytes(size)
        with pytest.raises(DecodeError):
            unpack(raw + b"\x00")
        with pytest.raises(DecodeError):
            unpack(raw[:-1])


@pytest.mark.parametrize(
    "times",
    [
        (math.nan, 2.0, 2.0, 0.0),
        (-math.inf, 2.0, 2.0, 0.0),
        (2.0, 2.0, 3.0, 0.0),
        (3.0, 2.0, 3.0, 0.0),
        (1.0, math.nan, 2.0, 0.0),
        (1.0, 2.0, 1.9, 0.0),
        (1.0, 2.0, math.nan, 0.0),
        (1.0, 2.0, 2.0, -1.0),
        (1.0, 2.0, 2.0, math.inf),
        (1.0, 2.0, 2.0, math.nan),
    ],
    ids=range(10),
)
def test_times_that_cannot_be(times: tuple[float, float, float, float]) -> None:
    """Created before it expires, stale after, and computed in a finite time: anything else is no envelope."""
    names = ("created_at", "expires_at", "stale_until", "compute_seconds")
    with pytest.raises(DecodeError):
        unpack(bare(**dict(zip(names, times, strict=True))))


def test_times_that_can_be() -> None:
    """What never expires, what has no stale time, and what took no time at all are envelopes."""
    read = unpack(bare(expires_at=math.inf, stale_until=math.inf))
    assert (read.expires_at, read.stale_until) == (math.inf, math.inf)
    assert unpack(bare(stale_until=2.0, compute_seconds=0.5)).compute_seconds == 0.5


@pytest.mark.parametrize(
    "about",
    [
        b"",
        b"\xc0\x90",
        b"\xc0\x90\xc4\x00\xc0",
        b"\x05\x90\xc4\x00",
        b"\xc0\xc0\xc4\x00",
        b"\xc0\x05\xc4\x00",
        b"\xc0\x91\x05\xc4\x00",
        b"\xc0\x92\xa1a\xc0\xc4\x00",
        b"\xc0\x90\xa0",
        b"\xc0\x90\xc0",
        b"\xc0\x90\xc4\x01a",
        b"\xc0\x90\xc4\x11" + bytes(17),
        b"\xc0\x80\xc4\x00",
        b"\xc0\x81\xc0\xc0\xc4\x00",
        b"\xc7\x00\x05\x90\xc4\x00",
        b"\xd4\x05\x00\x90\xc4\x00",
        b"\xc1\x90\xc4\x00",
        b"\xc0\xdc\x03\xe9" + b"\xa0" * 1001 + b"\xc4\x00",
    ],
    ids=range(18),
)
def test_what_is_not_about_an_entry(about: bytes) -> None:
    """Version, tags and hashes, each of its type and nothing after them: anything else is no envelope."""
    raw = bare()
    empty = b"\xc5\x00\x04\xc0\x90\xc4\x00"
    assert raw.count(empty) == 1
    with pytest.raises(DecodeError):
        unpack(raw.replace(empty, b"\xc5" + len(about).to_bytes(2) + about))


def test_a_thousand_tags_are_read() -> None:
    """The bound on tags is a thousand, and one hash is 16 bytes."""
    tags = tuple(map(str, range(1000)))
    assert unpack(bare(tags=tags, tag_hashes=bytes(16 * 1000))).tags == tags


def test_markers_are_whole() -> None:
    """Generations are markers of 8 bytes; a piece of one is none."""
    assert unpack(bare(generations=bytes(24))).generations == bytes(24)
    for size in (1, 7, 9, 12):
        with pytest.raises(DecodeError):
            unpack(bare(generations=bytes(size)))


def test_every_byte_of_the_frame_is_checked() -> None:
    """A mark of the format that is changed to anything else makes it no envelope, to either reading."""
    front = HEAD_BYTES + len(echo(WHOLE.generations, WHOLE.key.encode()))
    sealed = len(RAW) - len(WHOLE.seal) - 2
    marks = [0, 1, 3, 4, *(front + 9 * time for time in range(5)), front + 39 + len(ABOUT), sealed]
    for at in marks:
        for byte in (RAW[at] ^ 1, RAW[at] ^ 0x80, (RAW[at] + 1) % 256, (RAW[at] - 1) % 256):
            changed = RAW[:at] + bytes([byte]) + RAW[at + 1 :]
            with pytest.raises(DecodeError):
                read_front(changed, front)
            with pytest.raises(DecodeError):
                unpack(changed)
    for flags, legal in ((127, True), (128, False), (255, False)):
        changed = RAW[:2] + bytes([flags]) + RAW[3:]
        if legal:
            assert unpack(changed).flags == flags
        else:
            with pytest.raises(DecodeError):
                read_front(changed, front)


def test_the_marks_of_generations_and_key_are_checked() -> None:
    """The full reading looks at what the hit path compares as a whole."""
    for at in (HEAD_BYTES, HEAD_BYTES + 3 + len(WHOLE.generations)):
        assert RAW[at] == 0xC5
        for byte in (0xC4, 0xC6):
            with pytest.raises(DecodeError):
                unpack(RAW[:at] + bytes([byte]) + RAW[at + 1 :])
    with pytest.raises(DecodeError):
        unpack(b"\x9c\x01\x00\xc4\x08storeid8\xc5\xff\xff")


def test_a_front_is_what_a_hit_needs() -> None:
    """Expiry, stale time, cost, and a view of the payload that is not a copy."""
    front = read_front(RAW, HEAD_BYTES + len(echo(WHOLE.generations, WHOLE.key.encode())))
    assert front[:3] == (2000.0, 2500.0, 0.25)
    assert isinstance(front.payload, memoryview)
    assert front.payload.obj is RAW
    assert bytes(front.payload) == WHOLE.payload


def test_the_quick_reading_serves_what_is_plain_whole_and_fresh() -> None:
    """It gives the payload (a view of a large one), and declines for each reason by itself."""
    plain = WHOLE._replace(flags=Flag.PLAIN)
    expected = echo(plain.generations, plain.key.encode())
    raw = close(pack(plain), b"")
    served = fresh_payload(raw, expected, 1999.0)
    assert served is not None
    assert bytes(served) == plain.payload
    large = close(pack(plain._replace(payload=bytes(100_000))), b"")
    view = fresh_payload(large, expected, 1999.0)
    assert isinstance(view, memoryview)
    assert (bytes(view), view.obj) == (bytes(100_000), large)
    assert fresh_payload(raw, expected, 2000.0) is None
    assert fresh_payload(raw + b"\x00", expected, 1999.0) is None
    assert fresh_payload(raw[:-2] + b"\xc4\x01", expected, 1999.0) is None
    assert fresh_payload(raw[:-2] + b"\xc5\x00", expected, 1999.0) is None
    assert fresh_payload(close(pack(plain), b"s"), expected, 1999.0) is None
    front = HEAD_BYTES + len(expected)
    for at in (*(front + 9 * time for time in range(5)), front + 39 + len(ABOUT)):
        for byte in (raw[at] - 1, raw[at] + 1):
            assert fresh_payload(raw[:at] + bytes([byte]) + raw[at + 1 :], expected, 1999.0) is None


def test_a_payload_beyond_16_bits_is_read() -> None:
    """Its length has four bytes, and about has two."""
    payload = bytes(70_000)
    raw = bare(payload=payload, tags=("t" * 300,))
    assert bytes(unpack(raw).payload) == payload
    served = fresh_payload(raw, echo(b"", b"k"), 1.5)
    assert served is not None
    assert bytes(served) == payload


def test_an_error_says_which_format_was_expected() -> None:
    """Both readings say so, and nothing of what was read."""
    for read in (lambda: unpack(b"secret"), lambda: read_front(b"secret", 0)):
        with pytest.raises(DecodeError, match=r"^not an envelope of format 1$"):
            read()
    assert (_envelope.FORMAT, _envelope.MARKER_BYTES, _envelope.TAG_HASH_BYTES) == (1, 8, 16)
