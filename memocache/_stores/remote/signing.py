"""Sealing of envelopes: an `Envelope` becomes the bytes that are stored, and is believed again or refused.

Three ways, of which a cache has one; an envelope sealed in another way, or in none, is refused:

* `Unsealed`: without a secret the seal is empty and nothing is checked.
* `Signed`: the seal is a keyed BLAKE2b (RFC 7693) over every byte before it: format, flags, store id, generations,
  key, times, version, tags and payload.
* `memocache._stores.remote.encryption.Encrypted`: the payload is encrypted, and every other byte authenticated with it.

The flags say how, and are under the seal like the rest. The first secret seals; any of them opens. Each purpose has a
key of its own: BLAKE2b's personalization separates the keys of signing, of encryption and of key digests, which all
come from one secret.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import blake2b
from typing import ClassVar, Protocol

from memocache._stores.remote.envelope import Envelope, Flag, close, pack
from memocache.exceptions import DecodeError

_PERSON = b"memocache-seal-1"


class Sealer(Protocol):
    """A way of sealing."""

    flag: ClassVar[int]
    """The bit of `Flag.SEALED` that its envelopes bear; with any, nothing in one may be believed before `open`."""

    def write(self, envelope: Envelope) -> bytes:
        """The bytes to store."""
        ...

    def open(self, raw: bytes, envelope: Envelope) -> Envelope:
        """The envelope that was written: `envelope`, parsed from `raw`, with its payload as it was.

        Raises `DecodeError` unless one of the secrets sealed it in this way.
        """
        ...


def derive_keys(secrets: Sequence[bytes], person: bytes) -> list[bytes]:
    """The keys that `secrets` give for one purpose, 32 bytes each."""
    return [blake2b(secret, digest_size=32, person=person).digest() for secret in secrets]


class Unsealed:
    """Without a secret."""

    flag: ClassVar[int] = 0

    def write(self, envelope: Envelope) -> bytes:
        """See `Sealer.write`."""
        return close(pack(envelope), b"")

    def open(self, raw: bytes, envelope: Envelope) -> Envelope:
        """See `Sealer.open`."""
        if envelope.flags & Flag.SEALED:
            raise DecodeError("a sealed envelope, where there is no secret")
        return envelope


class Signed:
    """Signed with the first of `secrets`."""

    flag: ClassVar[int] = Flag.SIGNED

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._keys = derive_keys(secrets, _PERSON)

    def write(self, envelope: Envelope) -> bytes:
        """See `Sealer.write`."""
        body = pack(envelope._replace(flags=envelope.flags | self.flag))
        return close(body, _mac(self._keys[0], body))

    def open(self, raw: bytes, envelope: Envelope) -> Envelope:
        """See `Sealer.open`."""
        body = raw[: len(raw) - len(close(b"", envelope.seal))]
        matches = [hmac.compare_digest(_mac(key, body), envelope.seal) for key in self._keys]  # all, whichever fits
        if not any(matches):
            raise DecodeError("an envelope signed with another secret")
        return envelope


def _mac(key: bytes, body: bytes) -> bytes:
    return blake2b(body, key=key, digest_size=32).digest()
