"""Records: how keys and values stand in the map of a store on disk.

Damage to a record is found before its value is used. No I/O here.

=======  ==========================================================================================
bytes    what
=======  ==========================================================================================
8        the end of its life, epoch milliseconds (all ones: never), big-endian, so that it sorts
1        what follows: `BARE` (a value), `CHECKED` (8 bytes of XXH3 over the rest; a value) or
         `FILED` (8 bytes of XXH3; name, offset, length and digest of a file; whether it is to be
         mapped; the first 32 bytes of the value), each with `LONG`: the key in full goes before it
=======  ==========================================================================================

What is shorter than 32 bytes is compared for equality by those who wrote it (markers, tokens): damage makes it unequal,
so it goes without a digest. A key longer than the map takes stands there cut off, with its own digest behind.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import Final, NamedTuple

from xxhash import xxh3_64_digest

from memocache.backends._disk.blob_files import Filed

FOREVER: Final = b"\xff" * 8
BARE, CHECKED, FILED, LONG = 0, 1, 2, 4
BODY: Final = 9
"""Where what follows begins."""
_BARE_BELOW = 32
_HEAD_BYTES = 32
_KEY_BYTES = 511  # LMDB's own bound
_CUT = 400
_LENGTH = struct.Struct(">H")
_FILED = struct.Struct(f">16sQQ16s?{_HEAD_BYTES}s")


class Value(NamedTuple):
    """What a record says: the value, or the file that holds it (to be `mapped` or read) and how it begins."""

    data: bytes | None
    filed: Filed | None = None
    mapped: bool = False
    head: bytes = b""


def place(key: str) -> bytes:
    """Where a key stands in the map."""
    name = key.encode()
    if 0 < len(name) <= _KEY_BYTES:
        return name
    return name[:_CUT] + b"\x00" + blake2b(name, digest_size=16).digest()


def first_place(prefix: str) -> bytes:
    """Where the keys that begin with `prefix` begin."""
    return prefix.encode()[:_CUT]


def key_at(at: bytes, record: bytes) -> str | None:
    """The key whose record stands at a place; None if the record is damaged."""
    if not record[8] & LONG:
        return at.decode()
    opened = _open(bytes(record))
    return None if opened is None else opened[0].decode()


def expiry(now_ms: int, ttl_ms: int | None) -> bytes:
    """The end of a life of `ttl_ms` milliseconds (None: never) from now."""
    return FOREVER if ttl_ms is None else min(now_ms + ttl_ms, 2**63).to_bytes(8)


def write(key: str, end: bytes, value: bytes) -> bytes:
    """The record of a value kept in the map."""
    if len(value) < _BARE_BELOW and len(key) <= _CUT // 4:
        return end + b"\x00" + value
    return _sealed(key, end, CHECKED, value)


def write_filed(key: str, end: bytes, filed: Filed, head: bytes, mapped: bool) -> bytes:
    """The record of a value kept in a file, which begins with `head`."""
    packed = _FILED.pack(bytes.fromhex(filed.name), filed.offset, filed.size, filed.digest, mapped, head[:_HEAD_BYTES])
    return _sealed(key, end, FILED, packed)


def _sealed(key: str, end: bytes, kind: int, body: bytes) -> bytes:
    name = key.encode()
    if not 0 < len(name) <= _KEY_BYTES:
        kind |= LONG
        body = _LENGTH.pack(len(name)) + name + body
    return b"".join((end, bytes((kind,)), xxh3_64_digest(body), body))


def _open(record: bytes) -> tuple[bytes, bytes] | None:
    """The key (empty unless it is long) and the body of a record with a digest; None if it is damaged."""
    body = record[BODY + 8 :]
    if xxh3_64_digest(body) != record[BODY : BODY + 8]:
        return None
    if not record[8] & LONG:
        return b"", body
    (length,) = _LENGTH.unpack_from(body)
    return body[2 : 2 + length], body[2 + length :]


def read(record: bytes) -> Value | None:
    """What a record says; None if it is damaged."""
    kind = record[8]
    if kind == BARE:
        return Value(record[BODY:])
    opened = _open(record)
    if opened is None:
        return None
    if kind & ~LONG == CHECKED:
        return Value(opened[1])
    if kind & ~LONG != FILED or len(opened[1]) != _FILED.size:
        return None
    name, offset, size, digest, mapped, head = _FILED.unpack(opened[1])
    return Value(None, Filed(name.hex(), offset, size, digest), mapped, head[:size])
