"""Sealing of envelopes: signing with rotating secrets. Without a secret a seal is empty and nothing is checked.

A signed envelope carries a keyed BLAKE2b over every byte before it: format, flags, generations, key, times, payload,
version and tags. The first secret signs; any of them verifies. A reader with secrets refuses unsigned envelopes.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import blake2b

from memocache._envelope import Envelope, Flag, close
from memocache.exceptions import DecodeError

_PERSON = b"memocache-seal-1"


class Sealer:
    """What is done to a payload and its envelope after encoding and before decoding."""

    def __init__(self, secrets: Sequence[bytes] = ()) -> None:
        self._keys = [blake2b(secret, digest_size=32, person=_PERSON).digest() for secret in secrets]

    @property
    def seals(self) -> bool:
        """Whether envelopes are signed, so that nothing in them may be believed before `verify`."""
        return bool(self._keys)

    def wrap(self, payload: bytes, flags: int, context: bytes) -> tuple[bytes, int]:
        """Prepare a payload for its envelope."""
        return payload, flags | (Flag.SIGNED if self._keys else 0)

    def open(self, payload: memoryview, flags: int, context: bytes, max_bytes: int) -> memoryview:
        """Undo `wrap`; raises `DecodeError` for flags that this cache does not read."""
        if flags & ~(Flag.ERROR | Flag.ABSENT | Flag.SIGNED) or bool(flags & Flag.SIGNED) != self.seals:
            raise DecodeError("an envelope sealed in another way")
        return payload

    def seal(self, body: bytes) -> bytes:
        """The seal of an envelope's bytes."""
        return _mac(self._keys[0], body) if self._keys else b""

    def verify(self, raw: bytes, envelope: Envelope) -> None:
        """Raise `DecodeError` unless the seal is what one of the secrets gives."""
        if not self._keys:
            return
        seal = envelope.seal
        if not seal or not envelope.flags & Flag.SIGNED:
            raise DecodeError("an unsigned envelope")
        body = raw[: len(raw) - len(close(b"", seal))]
        matches = [hmac.compare_digest(_mac(key, body), seal) for key in self._keys]  # all of them, whichever fits
        if not any(matches):
            raise DecodeError("an envelope signed with another secret")


def _mac(key: bytes, body: bytes) -> bytes:
    return blake2b(body, key=key, digest_size=32).digest()
