"""Programs that write payloads: whatever bytes a fuzzer makes of one, lengths fit and nesting is closed.

A payload with a wrong length somewhere is refused at the first look, so that flipping its bytes hardly ever reaches the
code that rebuilds values. `build` reads its input as a program instead: one byte an operation, then what it needs.
`program` is its inverse, for seeds.
"""

from __future__ import annotations

import struct
from typing import Any

import msgpack

from memocache.codecs.dataframes import LOADS as FRAME_LOADS
from memocache.codecs.ext_types import ENUM, ERROR
from memocache.codecs.known.table import KNOWN
from memocache.codecs.newer_types import LOADS as NEWER_LOADS
from memocache.codecs.standard_types import LOADS

CODES = sorted({*LOADS, *FRAME_LOADS, *NEWER_LOADS, *range(ENUM, ERROR + 1), KNOWN, 127})
_CONSTANTS = (b"\xc0", b"\xc2", b"\xc3", b"\x00", b"\x01", b"\xff", b"\x90", b"\x80", b"\xa0", b"\xc4\x00")
_DEEPEST = 200  # twice what the codec accepts


def build(data: bytes, words: list[str]) -> bytes:
    """Return the payload that the program `data` writes; `words` are texts that it can name by number."""
    return _Builder(data, words).item()


class _Builder:
    def __init__(self, data: bytes, words: list[str]) -> None:
        self.data = data
        self.words = words
        self.at = 0
        self.depth = 0

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1] if self.at <= len(self.data) else 0

    def take(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at].ljust(count, b"\0")

    def item(self) -> bytes:
        if self.at >= len(self.data) or self.depth > _DEEPEST:
            return b"\xc0"
        self.depth += 1
        written = b"".join(self.operation())
        self.depth -= 1
        return written

    def operation(self) -> list[bytes]:
        match self.byte() % 9:
            case 0:
                return [_CONSTANTS[self.byte() % len(_CONSTANTS)]]
            case 1:
                return [b"\xd3", self.take(8)]
            case 2:
                return [b"\xcb", self.take(8)]
            case 3:
                return [msgpack.packb(self.words[self.byte() % len(self.words)])]
            case 4:
                text = self.take(self.byte())
                return [struct.pack(">BB", 0xD9, len(text)), text]
            case 5:
                blob = self.take(int.from_bytes(self.take(2)))
                return [struct.pack(">BH", 0xC5, len(blob)), blob]
            case 6:
                parts = [self.item() for _ in range(self.byte()) if self.at < len(self.data)]
                return [struct.pack(">BH", 0xDC, len(parts)), *parts]
            case 7:
                pairs = [self.item() + self.item() for _ in range(self.byte()) if self.at < len(self.data)]
                return [struct.pack(">BH", 0xDE, len(pairs)), *pairs]
            case _:
                return self.write_extension()

    def write_extension(self) -> list[bytes]:
        code = CODES[self.byte() % len(CODES)]
        form = self.byte()
        before = self.take(form >> 4)
        nested = b"".join(self.item() for _ in range(form & 7))
        if form & 8:
            nested = struct.pack(">I", len(nested)) + nested
        after = self.take(int.from_bytes(self.take(2)))
        return [extension(code, before + nested + after)]


def extension(code: int, body: bytes) -> bytes:
    """Return the payload of an extension."""
    return struct.pack(">BIb", 0xC9, len(body), code) + body


def program(payload: bytes, words: list[str]) -> bytes:
    """Return a program that writes `payload`, or something as near as makes no difference."""
    return _describe(_parse(payload), words)


def _parse(payload: bytes) -> Any:
    return msgpack.unpackb(payload, strict_map_key=False, unicode_errors="surrogatepass", ext_hook=msgpack.ExtType)


def _describe(thing: Any, words: list[str]) -> bytes:
    if thing is None or isinstance(thing, bool):
        return bytes((0, (None, False, True).index(thing)))
    if isinstance(thing, msgpack.ExtType):
        return _describe_extension(thing, words)
    if isinstance(thing, int):
        return b"\x01" + (thing & (2**64 - 1)).to_bytes(8)
    if isinstance(thing, float):
        return b"\x02" + struct.pack(">d", thing)
    if isinstance(thing, str):
        if thing in words:
            return bytes((3, words.index(thing)))
        text = thing.encode("utf-8", "surrogatepass")[:255]
        return bytes((4, len(text))) + text
    if isinstance(thing, bytes):
        return b"\x05" + len(thing[:65535]).to_bytes(2) + thing[:65535]
    if isinstance(thing, list):
        return bytes((6, len(thing[:255]))) + b"".join(_describe(part, words) for part in thing[:255])
    pairs = list(thing.items())[:255]
    return bytes((7, len(pairs))) + b"".join(_describe(part, words) for pair in pairs for part in pair)


def _describe_extension(thing: msgpack.ExtType, words: list[str]) -> bytes:
    start = bytes((8, CODES.index(thing.code)))
    body = thing.data
    for before in (0, 8, 12):  # what stands before the zone of a time or a datetime
        nested = body[before:]
        if nested and not (thing.code == 4 or (before and thing.code not in (17, 19))):
            try:
                inside = _parse(nested)
            except Exception:  # whatever it is, it is not nested
                continue
            if not isinstance(inside, int):
                return start + bytes((before << 4 | 1,)) + body[:before] + _describe(inside, words) + b"\0\0"
    if thing.code in (48, 49):
        size = int.from_bytes(body[:4])
        header, elements = _parse(body[4 : 4 + size]), body[4 + size :][:65535]
        return start + b"\x09" + _describe(header, words) + len(elements).to_bytes(2) + elements
    return start + b"\0" + len(body[:65535]).to_bytes(2) + body[:65535]
