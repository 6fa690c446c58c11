"""Encrypted envelopes: AES-256-GCM (NIST SP 800-38D) of the ``cryptography`` package, a fresh key for each envelope.

GCM's own 96-bit nonces, drawn at random, are good for 2^32 messages a key (SP 800-38D, section 8.3), which a fleet
writes in hours. So each envelope has a random salt of 192 bits, and keyed BLAKE2b (RFC 7693) makes of secret and salt
the AES key, the nonce and a *commitment*: the construction of DNDK-GCM (Gueron, draft-gueron-cfrg-dndkgcm, 2026) with
BLAKE2b as the derivation. No counter, so any number of processes may write, forked ones too: after 2^48 writes (a
million a second for nine years) the chance that any two share a salt is 2^-97. (AES-GCM-SIV would bear a repeated
nonce as well, but needs OpenSSL 3.2, which not every build of ``cryptography`` has.)

The commitment, 160 bits, is compared first, in constant time: it tells which of several secrets is meant, and ties the
ciphertext to one key, which GCM by itself does not (Len, Grubbs, Ristenpart, "Partitioning Oracle Attacks", USENIX
Security 2021).

====================  ==============================================================================================
associated data       every byte before the payload: format, flags, store id, generations, key, times, version, tags
payload               the ciphertext and its tag of 16 bytes
seal                  salt, commitment
====================  ==============================================================================================
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence
from hashlib import blake2b
from typing import ClassVar

from memocache._stores.remote.envelope import Envelope, Flag, clear, close
from memocache._stores.remote.signing import derive_keys
from memocache.exceptions import ConfigurationError, DecodeError

_PERSON = b"memocache-aead-1"
_SALT, _KEY, _NONCE, _COMMITMENT, _TAG = 24, 32, 12, 20, 16


class Encrypted:
    """Encrypted under the first of `secrets`. Raises `ConfigurationError` where ``cryptography`` is not installed."""

    flag: ClassVar[int] = Flag.ENCRYPTED

    def __init__(self, secrets: Sequence[bytes]) -> None:
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError:
            raise ConfigurationError(
                'encrypt=True needs the package cryptography: pip install "memocache[encryption]"'
            ) from None
        self._aead, self._invalid = AESGCM, InvalidTag
        self._keys = derive_keys(secrets, _PERSON)

    def write(self, envelope: Envelope) -> bytes:
        """See `memocache._stores.remote.signing.Sealer.write`."""
        salt = os.urandom(_SALT)
        key, nonce, commitment = _derive(self._keys[0], salt)
        payload = envelope.payload
        before = clear(envelope._replace(flags=envelope.flags | self.flag), len(payload) + _TAG)
        return close(before + self._aead(key).encrypt(nonce, payload, before), salt + commitment)

    def open(self, raw: bytes, envelope: Envelope) -> Envelope:
        """See `memocache._stores.remote.signing.Sealer.open`."""
        salt, committed = envelope.seal[:_SALT], envelope.seal[_SALT:]
        derived = [_derive(key, salt) for key in self._keys]
        matches = [one for one in derived if hmac.compare_digest(one[2], committed)]
        if not matches:
            raise DecodeError("an envelope encrypted under another secret")
        key, nonce, _ = matches[0]
        before = raw[: len(raw) - len(close(b"", envelope.seal)) - len(envelope.payload)]
        try:
            payload = self._aead(key).decrypt(nonce, envelope.payload, before)
        except self._invalid:
            raise DecodeError("an envelope that was changed") from None
        return envelope._replace(payload=payload)


def _derive(key: bytes, salt: bytes) -> tuple[bytes, bytes, bytes]:
    """The AES key, nonce and commitment of one envelope."""
    made = blake2b(salt, digest_size=_KEY + _NONCE + _COMMITMENT, key=key, person=_PERSON).digest()
    return made[:_KEY], made[_KEY : _KEY + _NONCE], made[_KEY + _NONCE :]
