"""Outcome (a value or an error) and Envelope (what is stored), and the envelope's bytes, format 1.

An envelope is one msgpack array of 12 elements, each written in a fixed encoding so that everything a hit must check
stands at an offset known before reading:

====  ===========  ======================================  ==========================
elem  what         encoding                                offset
====  ===========  ======================================  ==========================
0     format       positive fixint, 1                      1
1     flags        positive fixint, bits of `Flag`         2
2     store id     bin 8 of 8 random bytes                 3
3     generations  bin 16, 8 bytes a marker                13
4     key          bin 16, UTF-8 of the backend key        after 3
5-8   times        4 × float 64: created_at, expires_at,   after 4
                   stale_until, which includes what is
                   kept for `stale_if_error` (epoch
                   seconds, infinity for never),
                   compute seconds
9     about        bin 16, itself msgpack: version (str    after 8
                   or nil), tags as declared, 16 bytes
                   of hash a tag
10    payload      bin 32; compressed, then encrypted,     after 9
                   if the flags say so
11    seal         bin 8: empty, or what                   after 10
                   `memocache._stores.remote.signing` makes of the
                   bytes before it
====  ===========  ======================================  ==========================

The first 13 bytes (`head`) identify one stored envelope: compare-and-set guards use them.
The value names its key: a reply that answers another question fails the echo and is a miss.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, cast

import msgpack

from memocache.exceptions import DecodeError

FORMAT = 1
HEAD_BYTES = 13
MARKER_BYTES = 8
TAG_HASH_BYTES = 16
MAX_KEY_BYTES = 65_535
START = bytes([0x9C, FORMAT])
_FRONT = struct.Struct(">cdcdcdcdcH")
_FRONT_BYTES, _BIN32_BYTES = _FRONT.size, 5
_MARKS = b"\xcb\xcb\xcb\xcb\xc5"
_TIME = 9  # bytes of a time with its mark
# of the front: the second time, and the length of what follows the four; then mark and size of the payload, where what
# is between them is the shortest that there is
_QUICK = struct.Struct(">xd18xxH4xcI")
_NO_ABOUT = 4
_PLAIN_HEAD = START + b"\x00\xc4\x08"
_NO_SEAL = b"\xc4\x00"
_SMALL = 1024  # bytes up to which a copy costs less than a view
_BIN32 = struct.Struct(">cI")
_FLOAT, _BIN16_MARK, _BIN32_MARK, _BIN8_MARK = b"\xcb", b"\xc5", b"\xc6", b"\xc4"
_packb: Callable[[object], bytes] = cast("Any", msgpack.packb)  # msgpack ships no types


class Flag:
    """What the payload is and what was done to it: bits of the flags byte, plain ints for speed."""

    PLAIN = 0
    ERROR = 1
    ABSENT = 2
    ZSTD = 4
    LZ4 = 8
    SIGNED = 16
    ENCRYPTED = 32
    SEALED = SIGNED | ENCRYPTED
    KNOWN = 63


class Envelope(NamedTuple):
    """A stored outcome and what is known about it; times are epoch seconds, `compute_seconds` a duration."""

    key: str
    created_at: float
    expires_at: float
    stale_until: float
    compute_seconds: float
    generations: bytes
    payload: bytes | memoryview
    flags: int = 0
    version: str | None = None
    tags: tuple[str, ...] = ()
    tag_hashes: bytes = b""
    store_id: bytes = b""
    seal: bytes = b""

    @property
    def head(self) -> bytes:
        """The bytes that identify this very store."""
        return START + bytes([self.flags]) + b"\xc4\x08" + self.store_id


def echo(generations: bytes, key: bytes) -> bytes:
    """The bytes a valid envelope has right after its head: generations and key."""
    return echo_start(generations, len(key)) + key


@lru_cache(maxsize=1024)  # the entries of one function ask for the same
def echo_start(generations: bytes, size: int) -> bytes:
    """What comes before the key in the `echo` of a key of `size` bytes."""
    return b"\xc5%b%b\xc5%b" % (len(generations).to_bytes(2), generations, size.to_bytes(2))


class Front(NamedTuple):
    """What a hit needs of an envelope: when it was fresh until and servable until, what it cost, and its payload."""

    expires: float
    stale_until: float
    compute_seconds: float
    payload: memoryview


def clear(envelope: Envelope, size: int) -> bytes:
    """Write `envelope` up to its payload, which will have `size` bytes: all that stays in clear in a sealed one."""
    about = b"".join(map(_packb, (envelope.version, envelope.tags, envelope.tag_hashes)))
    front = _FRONT.pack(
        _FLOAT,
        envelope.created_at,
        _FLOAT,
        envelope.expires_at,
        _FLOAT,
        envelope.stale_until,
        _FLOAT,
        envelope.compute_seconds,
        _BIN16_MARK,
        len(about),
    )
    key = envelope.key.encode()
    return b"".join((envelope.head, echo(envelope.generations, key), front, about, _BIN32.pack(_BIN32_MARK, size)))


def pack(envelope: Envelope) -> bytes:
    """Write `envelope`, all but its seal, as bytes; `close` adds the seal."""
    return clear(envelope, len(envelope.payload)) + envelope.payload


def close(body: bytes, seal: bytes) -> bytes:
    """Complete what `pack` wrote with its seal (empty: unsealed)."""
    return body + _BIN8_MARK + len(seal).to_bytes() + seal


def unpack(raw: bytes) -> Envelope:
    """Read an envelope; raises `DecodeError` for anything that `pack` and `close` would not have written.

    Reading allocates nothing beyond the size of `raw`: the payload is a view into it.
    """
    try:
        return _unpack(raw)
    except (struct.error, IndexError, ValueError, TypeError) as error:
        raise DecodeError(f"not an envelope of format {FORMAT}") from error


def _unpack(raw: bytes) -> Envelope:
    flags, store_id = raw[2], bytes(raw[5:HEAD_BYTES])
    generations, at = _bin16(raw, HEAD_BYTES)
    key, at = _bin16(raw, at)
    front = read_front(raw, at)
    created, about_size = _FRONT.unpack_from(raw, at)[1::8]
    at += _FRONT.size
    version, tags, hashes = _read_about(bytes(raw[at : at + about_size]))
    at += about_size + _BIN32.size + len(front.payload)
    seal = bytes(raw[at + 2 :])
    if len(generations) % MARKER_BYTES or not _sane(created, front.expires, front.stale_until, front.compute_seconds):
        raise ValueError("contents")
    return Envelope(
        key.decode(),
        created,
        front.expires,
        front.stale_until,
        front.compute_seconds,
        generations,
        front.payload,
        flags,
        version,
        tags,
        hashes,
        store_id,
        seal,
    )


def read_front(raw: bytes, at: int) -> Front:
    """Read what stands from offset `at` (the times) on, checking that the envelope is whole; raises `DecodeError`.

    For the hit path: the caller has compared `echo`, and looks into nothing else.
    """
    try:
        m1, _, m2, expires, m3, stale_until, m4, seconds, m5, about_size = _FRONT.unpack_from(raw, at)
        start = at + _FRONT.size + about_size
        mark, size = _BIN32.unpack_from(raw, start)
        end = start + _BIN32.size + size
        if (
            m1 + m2 + m3 + m4 + m5 == _MARKS
            and mark == _BIN32_MARK
            and raw[:2] == START
            and raw[3:5] == b"\xc4\x08"
            and raw[2] < 128
            and raw[end] == 0xC4
            and len(raw) == end + 2 + raw[end + 1]
        ):
            return Front(expires, stale_until, seconds, memoryview(raw)[end - size : end])
    except (struct.error, IndexError):
        pass
    raise DecodeError(f"not an envelope of format {FORMAT}")


def fresh_payload(raw: bytes, expected: bytes, now: float) -> bytes | memoryview | None:
    """The payload of a plain envelope that is whole, has `expected` (see `echo`) after its head and is fresh at `now`.

    For the hit path, which most replies end with; None says nothing about what it is instead: ask `read_front`.
    """
    at = HEAD_BYTES + len(expected)
    if not raw.startswith(_PLAIN_HEAD) or not raw.startswith(expected, HEAD_BYTES):
        return None
    try:
        expires, about_size, mark, size = _QUICK.unpack_from(raw, at + _TIME)
        start = at + _FRONT_BYTES + about_size
        if about_size != _NO_ABOUT:
            mark, size = _BIN32.unpack_from(raw, start)
    except struct.error:
        return None
    start += _BIN32_BYTES
    end = start + size
    if (
        now < expires
        and raw[at : at + _FRONT_BYTES : _TIME] == _MARKS
        and mark == _BIN32_MARK
        and len(raw) == end + 2
        and raw.endswith(_NO_SEAL)
    ):
        return raw[start:end] if size <= _SMALL else memoryview(raw)[start:end]
    return None


def _read_about(raw: bytes) -> tuple[str | None, tuple[str, ...], bytes]:
    """Version, tags and tag hashes; raises ValueError."""
    unpacker = msgpack.Unpacker(max_buffer_size=len(raw) or 1, max_array_len=1000, max_ext_len=0, max_map_len=0)
    unpacker.feed(raw)
    try:
        version, tags, hashes = (unpacker.unpack() for _ in range(3))
    except Exception as error:  # msgpack raises several unrelated classes for bad input
        raise ValueError("about") from error
    if (
        unpacker.tell() != len(raw)
        or not isinstance(version, str | None)
        or type(tags) is not list
        or not all(type(tag) is str for tag in tags)
        or type(hashes) is not bytes
        or len(hashes) % TAG_HASH_BYTES
    ):
        raise ValueError("about")
    return version, tuple(tags), hashes


def _bin16(raw: bytes, at: int) -> tuple[bytes, int]:
    if raw[at] != 0xC5:
        raise ValueError("bin 16 expected")
    end = at + 3 + int.from_bytes(raw[at + 1 : at + 3])
    if end > len(raw):
        raise ValueError("cut short")
    return bytes(raw[at + 3 : end]), end


def _sane(created: float, expires: float, stale_until: float, seconds: float) -> bool:
    return math.isfinite(created) and expires > created and stale_until >= expires and 0 <= seconds < math.inf
