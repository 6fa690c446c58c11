"""Compressed payloads: zstd frames (RFC 8878), or LZ4 blocks behind their inflated size in 4 bytes, big-endian.

A cache writes one of them, or none, and reads both wherever their library is installed: the flags of an envelope say
which it is. Reading is bounded before it begins: a payload says how large it will be, more than `max_bytes` is refused,
and no more than it said is ever inflated.

Compression goes before encryption, so the length of a ciphertext tells how well its value compressed. That matters
where one value mixes a secret with text that an observer of lengths chooses (as in CRIME and BREACH against TLS): leave
`compress=` off for a cache of such values.
"""

from __future__ import annotations

import struct
import sys
from importlib import import_module
from typing import Any, Protocol, TypeAlias

from memocache._stores.remote.envelope import Flag
from memocache.exceptions import ConfigurationError, DecodeError

Buffer: TypeAlias = bytes | memoryview
_SIZE = struct.Struct(">I")
_COMPRESSED = Flag.ZSTD | Flag.LZ4
_LARGEST = 0x7E000000  # bytes: LZ4's own limit of a block


class Method(Protocol):
    """One way of compressing; raises ImportError when made where its library is not installed."""

    def deflate(self, payload: Buffer) -> bytes:
        """The payload made smaller, or not."""
        ...

    def inflate(self, packed: Buffer, max_bytes: int) -> bytes:
        """Undo `deflate`; raises anything at all where the result is not what it said, or over `max_bytes`."""
        ...


class _Zstd:
    def __init__(self) -> None:
        # one and the same module: the standard library's from 3.14 on, its backport before
        self._zstd: Any = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")

    def deflate(self, payload: Buffer) -> bytes:
        packed: bytes = self._zstd.compress(payload)
        return packed

    def inflate(self, packed: Buffer, max_bytes: int) -> bytes:
        size = self._zstd.get_frame_info(packed).decompressed_size
        if size is None or size > max_bytes:
            raise ValueError("size")
        # The window that a frame may ask for, up to 128 MB, is never made larger than what it says it holds.
        reader = self._zstd.ZstdDecompressor()
        payload: bytes = reader.decompress(packed, size + 1)
        if not reader.eof or reader.unused_data or len(payload) != size:
            raise ValueError("another size than it says")
        return payload


class _Lz4:
    def __init__(self) -> None:
        self._block: Any = import_module("lz4.block")

    def deflate(self, payload: Buffer) -> bytes:
        packed: bytes = self._block.compress(payload, store_size=False)
        return _SIZE.pack(len(payload)) + packed

    def inflate(self, packed: Buffer, max_bytes: int) -> bytes:
        (size,) = _SIZE.unpack_from(packed)
        if size > max_bytes:
            raise ValueError("size")
        payload: bytes = self._block.decompress(memoryview(packed)[_SIZE.size :], uncompressed_size=size)
        if len(payload) != size:
            raise ValueError("another size than it says")
        return payload


_METHODS: dict[int, type[Method]] = {Flag.ZSTD: _Zstd, Flag.LZ4: _Lz4}
_FLAGS = {"zstd": Flag.ZSTD, "lz4": Flag.LZ4}


class Compression:
    """Compresses by `method` ("zstd", "lz4" or None) payloads of more than `above` bytes that it makes smaller.

    Raises `ConfigurationError` for another method, or where its library is not installed.
    """

    def __init__(self, method: str | None = None, above: int = 0) -> None:
        self._methods: dict[int, Method | None] = {}
        self._above = above
        self._flag = 0
        if method is not None:
            if method not in _FLAGS:
                raise ConfigurationError('compress= takes "zstd", "lz4" or None')
            self._flag = _FLAGS[method]
            if self._method(self._flag) is None:
                raise ConfigurationError(
                    f'compress="{method}" needs a package that is not installed: pip install "memocache[{method}]"'
                )

    @property
    def writes(self) -> bool:
        """Whether anything is compressed."""
        return bool(self._flag)

    def deflate(self, payload: Buffer) -> tuple[Buffer, int]:
        """The payload to store, and the bit of `Flag` that says what was done to it: 0 for nothing."""
        if not self._flag or not self._above < len(payload) <= _LARGEST:
            return payload, 0
        method = self._method(self._flag)
        assert method is not None
        packed = method.deflate(payload)
        return (packed, self._flag) if len(packed) < len(payload) else (payload, 0)

    def reads(self, flags: int) -> bool:
        """Whether a payload with these bits of `Flag` can be inflated here: the library it takes is installed."""
        flag = flags & _COMPRESSED
        return not flag or (flag in _METHODS and self._method(flag) is not None)

    def inflate(self, payload: Buffer, flags: int, max_bytes: int) -> Buffer:
        """Undo `deflate`, for flags that it `reads`; raises `DecodeError` for what is malformed or over `max_bytes`."""
        flag = flags & _COMPRESSED
        if not flag:
            return payload
        method = self._method(flag)
        assert method is not None
        try:
            return method.inflate(payload, max_bytes)
        except Exception:  # each library has errors of its own for bad input
            raise DecodeError(f"a compressed payload that is malformed or over {max_bytes} bytes") from None

    def _method(self, flag: int) -> Method | None:
        if flag not in self._methods:
            try:
                self._methods[flag] = _METHODS[flag]()
            except ImportError:
                self._methods[flag] = None  # looked for once: imports that fail are slow
        return self._methods[flag]
