"""What stands at one place of a shared backend: judged when it is read, and written as an envelope.

Whether it may be written, and when, is `memocache._stores.remote.store`'s.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from math import inf, isinf
from typing import Any, Final

from memocache._runtime.outcome import Outcome
from memocache._stores.remote import envelope as _envelope
from memocache._stores.remote.compression import Compression
from memocache._stores.remote.envelope import Envelope, Flag
from memocache._stores.remote.guard import BackendGuard
from memocache._stores.remote.keyspace import Spot
from memocache._stores.remote.signing import Sealer
from memocache._stores.remote.sliding_expiry import lateness
from memocache._stores.store import Address, Found, Record, Unstorable
from memocache.codecs.codec import Codec
from memocache.exceptions import DecodeError, EncodeError
from memocache.stats import INVALIDATED, UNREADABLE
from memocache.typing import MISSING, Clock, Pieces, Put

_ENVELOPE_SLACK = 100_000
UNFIT: Final = object()
"""What is said of a reply that has to be looked at with more care."""


class Shelf:
    """Reads and writes what a backend holds, with one codec, seal and compression."""

    def __init__(
        self,
        guard: BackendGuard,
        codec: Codec,
        clock: Clock,
        sealer: Sealer,
        compression: Compression,
        *,
        max_value_bytes: int,
        on_decode_error: Callable[[str], None],
    ) -> None:
        self.guard = guard
        self.codec = codec
        self.clock = clock
        self.sealer = sealer
        self.sealed = bool(sealer.flag)
        self._compression = compression
        self.max_value_bytes = max_value_bytes
        self._on_decode_error = on_decode_error
        # what is sealed or compressed is one piece
        in_pieces = not sealer.flag and not compression.writes
        self._pieces_from: float = getattr(guard.backend, "pieces_from", inf) if in_pieces else inf

    def fresh(self, raw: bytes, expected: bytes, now: float) -> Any:
        """What most replies hold, judged at least cost: a plain value that is fresh and echoes what is `expected`.

        `UNFIT` says nothing about what it is instead: ask `read`.
        """
        if len(raw) > self.max_value_bytes or self.sealed:
            return UNFIT
        payload = _envelope.fresh_payload(raw, expected, now)
        if payload is None:
            return UNFIT
        try:
            return self.codec.decode(payload)
        except DecodeError:
            return UNFIT

    def read(self, address: Address, spot: Spot, values: Sequence[bytes | None]) -> Found:
        """Judge what stands at the entry beside the markers that stand now."""
        raw, *markers = values
        if raw is None:
            return Found((None, markers))
        seen = (bytes(raw[: _envelope.HEAD_BYTES]), markers)  # a large value comes as a memoryview
        try:
            if None in markers:
                self.check(raw, spot)
                return Found(seen, cause=INVALIDATED)
            expected = _envelope.echo(b"".join(markers), spot.key)  # type: ignore[arg-type]  # none of them is None
            at = _envelope.HEAD_BYTES + len(expected)
            if raw[_envelope.HEAD_BYTES : at] != expected:
                self.check(raw, spot)
                return Found(seen, cause=INVALIDATED)  # sealed under other generations
            if len(raw) > self.max_value_bytes + _ENVELOPE_SLACK:
                raise DecodeError("too large")
            flags = raw[2]
            if flags and not self._can_read(flags):
                raise DecodeError("sealed or compressed in a way that this cache does not read")
            opened = self.check(raw, spot).payload if self.sealer.flag else None
            front = _envelope.read_front(raw, at)
        except DecodeError:
            self._on_decode_error(address.name)
            return Found(seen, cause=UNREADABLE)
        load = partial(self._load, flags, front.payload if opened is None else opened)
        is_error = bool(flags & Flag.ERROR)
        return Found(seen, self.clock.time(), front.expires, front.stale_until, front.compute_seconds, load, is_error)

    def check(self, raw: bytes, spot: Spot) -> Envelope:
        """Parse and open an envelope in full: bounds, echo and seal; raises `DecodeError`."""
        if len(raw) > self.max_value_bytes + _ENVELOPE_SLACK:
            raise DecodeError("too large")
        envelope = _envelope.unpack(raw)
        if envelope.key != spot.entry:
            self.guard.doubt()
            raise DecodeError("the envelope of another key")
        return self.sealer.open(raw, envelope)

    def _can_read(self, flags: int) -> bool:
        return flags <= Flag.KNOWN and flags & Flag.SEALED == self.sealer.flag and self._compression.reads(flags)

    def _load(self, flags: int, payload: bytes | memoryview) -> Outcome:
        if flags > Flag.ERROR:
            payload = self._compression.inflate(payload, flags, self.max_value_bytes)
        if flags & Flag.ERROR:
            return Outcome(None, self.codec.decode_error(payload))
        if flags & Flag.ABSENT:
            return Outcome(MISSING)
        return Outcome(self.codec.decode(payload))

    def put_of(
        self, address: Address, spot: Spot, record: Record, generations: bytes, expires: float | None = None
    ) -> Put:
        """The put that stores a record, fresh for its ttl, or until `expires`. Raises `Unstorable`."""
        if len(spot.key) > _envelope.MAX_KEY_BYTES:
            raise Unstorable("unencodable", f"its key in the backend is over {_envelope.MAX_KEY_BYTES} bytes")
        value, error, _ = record.outcome
        flags, size = Flag.PLAIN, 0
        pieces: Sequence[bytes | memoryview] = ()
        payload: bytes | memoryview
        try:
            if error is not None:
                payload, flags = self.codec.encode_error(error), Flag.ERROR
            elif value is MISSING:
                payload, flags = b"", Flag.ABSENT
            else:
                in_one = isinf(self._pieces_from)
                pieces = (self.codec.encode(value),) if in_one else self.codec.encode_pieces(value)
                size = sum(map(len, pieces))
                payload = b"".join(pieces) if size < self._pieces_from else pieces[0]
        except EncodeError as refused:
            raise Unstorable("unencodable", str(refused)) from None
        size = max(size, len(payload))
        if size > self.max_value_bytes:
            raise Unstorable("too large", f"its {size} bytes are over max_value_bytes={self.max_value_bytes}")
        now = self.clock.time()
        if expires is None:
            expires = now + record.ttl
        payload, compressed = self._compression.deflate(payload)
        envelope = Envelope(
            spot.entry,
            now,
            expires,
            expires + max(record.stale, record.keep),
            record.compute_seconds,
            generations,
            payload,
            flags | compressed,
            record.version,
            record.tags,
            bytes.fromhex("".join(address.tags)),
            os.urandom(8),
        )
        if size < self._pieces_from:
            raw = self.sealer.write(envelope)
        else:
            raw = Pieces((_envelope.clear(envelope, size), *pieces, _envelope.close(b"", b"")))
        life = record.ttl + record.keep
        if record.idle:
            life = min(life, record.idle + lateness(record.idle))
        return Put(spot.entry, raw, milliseconds(life))


def milliseconds(seconds: float) -> int | None:
    return None if isinf(seconds) else max(1, min(int(seconds * 1000), 2**53))
