"""Signed and encrypted envelopes: what is believed, what is refused, and that keys and nonces are never shared."""

from __future__ import annotations

import hashlib
import sys
from typing import Any

import pytest

from memocache import Cache, ConfigurationError
from memocache._cache.settings import digest_key
from memocache._stores.remote import envelope as env
from memocache._stores.remote.envelope import Envelope, Flag
from memocache._stores.remote.signing import Sealer, Signed, Unsealed, derive_keys
from memocache.backends.null import NullBackend
from memocache.exceptions import DecodeError

pytest.importorskip("cryptography")
from memocache._stores.remote.encryption import Encrypted

SECRET, OLD, OTHER = b"correct horse battery staple", b"the one before", b"somebody else's"
PLAINTEXT = b"a payload that nobody else may read"


def envelope(payload: bytes = PLAINTEXT, **changes: Any) -> Envelope:
    """An envelope with something in every field."""
    fields: dict[str, Any] = {
        "key": "memo:e:shop.price:9f2c",
        "created_at": 1_800_000_000.0,
        "expires_at": 1_800_000_060.0,
        "stale_until": 1_800_000_090.0,
        "compute_seconds": 0.25,
        "generations": bytes(range(16)),
        "payload": payload,
        "flags": Flag.PLAIN,
        "version": "7",
        "tags": ("price:{item}",),
        "tag_hashes": bytes(range(16)),
        "store_id": b"\x01\x02\x03\x04\x05\x06\x07\x08",
    }
    return Envelope(**fields | changes)


def opened(sealer: Sealer, raw: bytes) -> Envelope:
    """As a store reads it."""
    return sealer.open(raw, env.unpack(raw))


SEALERS = {"signed": Signed, "encrypted": Encrypted}


@pytest.fixture(params=SEALERS)
def kind(request: pytest.FixtureRequest) -> Any:
    """The sealers that need a secret."""
    return SEALERS[request.param]


@pytest.mark.parametrize("payload", [b"", b"x", PLAINTEXT, bytes(100_000)], ids=len)
@pytest.mark.parametrize("flags", [Flag.PLAIN, Flag.ERROR, Flag.ABSENT, Flag.ZSTD, Flag.LZ4])
def test_what_was_sealed_is_opened(kind: Any, payload: bytes, flags: int) -> None:
    """Every field comes back, and the flags say how it was sealed besides what they said."""
    before = envelope(payload, flags=flags)
    sealer = kind([SECRET])
    raw = sealer.write(before)
    after = opened(sealer, raw)
    assert bytes(after.payload) == payload
    assert after._replace(payload=payload, seal=b"", flags=flags) == before
    assert after.flags == flags | sealer.flag == raw[2]
    assert sealer.write(after) != raw or kind is Signed, "written again, it is encrypted anew"
    assert bytes(opened(sealer, sealer.write(after)).payload) == payload


def test_every_flipped_bit_is_refused(kind: Any) -> None:
    """100 % of the single-bit flips over a sealed envelope raise DecodeError, whichever byte they are in."""
    sealer = kind([SECRET])
    raw = sealer.write(envelope())
    for bit in range(8 * len(raw)):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecodeError):
            opened(sealer, bytes(changed))
    assert bytes(opened(sealer, raw).payload) == PLAINTEXT


def test_every_truncation_and_addition_is_refused(kind: Any) -> None:
    """So is an envelope cut off anywhere, or longer than it was."""
    sealer = kind([SECRET])
    raw = sealer.write(envelope())
    for changed in [*(raw[:size] for size in range(len(raw))), raw + b"\0", raw + raw]:
        with pytest.raises(DecodeError):
            opened(sealer, changed)


CLEAR = {
    "key": "memo:e:shop.price:0000", "created_at": 1_800_000_001.0, "expires_at": 1_800_000_061.0,
    "stale_until": 1_800_000_091.0, "compute_seconds": 0.5, "generations": bytes(16), "version": "8", "tags": ("x",),
    "tag_hashes": bytes(16), "store_id": bytes(8), "flags": Flag.ERROR,
}  # fmt: skip


@pytest.mark.parametrize("field", CLEAR)
def test_nothing_in_clear_can_be_exchanged(kind: Any, field: str) -> None:
    """The payload and seal of one envelope are refused under another key, another expiry, or any other clear field."""
    sealer = kind([SECRET])
    real = env.unpack(sealer.write(envelope()))
    flags = real.flags | CLEAR["flags"] if field == "flags" else real.flags
    forged = real._replace(**{field: CLEAR[field], "flags": flags})
    raw = env.close(env.pack(forged), real.seal)
    assert env.unpack(raw) != real
    with pytest.raises(DecodeError):
        opened(sealer, raw)


def test_every_other_way_of_sealing_is_refused() -> None:
    """Each cache believes its own way alone: unsealed, signed, encrypted, or the same under another secret."""
    sealers: list[Any] = [Unsealed(), Signed([SECRET]), Signed([OTHER]), Encrypted([SECRET]), Encrypted([OTHER])]
    for reader in sealers:
        for writer in sealers:
            raw = writer.write(envelope())
            if reader is writer:
                assert bytes(opened(reader, raw).payload) == PLAINTEXT
            else:
                with pytest.raises(DecodeError):
                    opened(reader, raw)


@pytest.mark.parametrize("flags", range(64))
def test_flags_alone_convince_nobody(flags: int) -> None:
    """An attacker's envelope under any flags, with any shape of seal, is refused by who has a secret."""
    for sealer in (Signed([SECRET]), Encrypted([SECRET])):
        for seal in (b"", bytes(32), bytes(44), bytes(255)):
            raw = env.close(env.pack(envelope(flags=flags)), seal)
            with pytest.raises(DecodeError):
                opened(sealer, raw)


def test_rotation(kind: Any) -> None:
    """The first secret writes, every one of the list reads, and one that left the list reads no more."""
    old, both, new = kind([OLD]), kind([SECRET, OLD]), kind([SECRET])
    assert bytes(opened(both, old.write(envelope())).payload) == PLAINTEXT
    assert bytes(opened(new, both.write(envelope())).payload) == PLAINTEXT
    for reader, writer in ((old, both), (new, old)):
        with pytest.raises(DecodeError, match="another secret"):
            opened(reader, writer.write(envelope()))


def test_an_encrypted_envelope_shows_no_value() -> None:
    """Neither the payload nor any piece of it stands in the bytes, and equal payloads become unequal bytes."""
    sealer = Encrypted([SECRET])
    raws = [sealer.write(envelope()) for _ in range(50)]
    pieces = [PLAINTEXT[i : i + 6] for i in range(len(PLAINTEXT) - 5)]
    for raw in raws:
        assert not any(piece in raw for piece in pieces)
    assert len({bytes(env.unpack(raw).payload) for raw in raws}) == 50


def test_no_two_envelopes_share_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each message has an AES key, a nonce and a salt of its own, and nothing of them follows from a counter."""
    sealer = Encrypted([SECRET])
    seen: list[tuple[bytes, bytes]] = []
    real = sealer._aead

    def watched(key: bytes) -> Any:
        cipher = real(key)

        class Watched:
            def encrypt(self, nonce: bytes, data: bytes, associated: bytes) -> bytes:
                seen.append((key, nonce))
                return bytes(cipher.encrypt(nonce, data, associated))

        return Watched()

    monkeypatch.setattr(sealer, "_aead", watched)
    raws = [sealer.write(envelope()) for _ in range(200)]
    assert len({key for key, _ in seen}) == len({nonce for _, nonce in seen}) == 200
    assert {len(key) for key, _ in seen} == {32}
    assert len({env.unpack(raw).seal[:24] for raw in raws}) == 200


def test_the_salt_is_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """The salt is 24 bytes of `os.urandom`, which neither a seeded generator nor a fork repeats."""
    asked: list[int] = []

    def urandom(count: int) -> bytes:
        asked.append(count)
        return bytes(range(count))

    monkeypatch.setattr("os.urandom", urandom)
    assert env.unpack(Encrypted([SECRET]).write(envelope())).seal[:24] == bytes(range(24))
    assert asked == [24]


def test_what_is_written_is_what_is_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    """The encryption, done again by hand from the words of `memocache._stores.remote.encryption`, gives the same
    bytes."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    monkeypatch.setattr("os.urandom", lambda count: bytes(range(count)))
    raw = Encrypted([SECRET]).write(envelope())
    master = hashlib.blake2b(SECRET, digest_size=32, person=b"memocache-aead-1").digest()
    made = hashlib.blake2b(bytes(range(24)), digest_size=64, key=master, person=b"memocache-aead-1").digest()
    before = raw[: raw.index(b"\xc6" + (len(PLAINTEXT) + 16).to_bytes(4)) + 5]
    sealed = AESGCM(made[:32]).encrypt(made[32:44], PLAINTEXT, before)
    assert raw == before + sealed + b"\xc4\x2c" + bytes(range(24)) + made[44:]


def test_purposes_have_keys_of_their_own() -> None:
    """Signing, encryption and key digests never use one key for two things, nor the secret itself."""
    keys = {
        *Signed([SECRET])._keys, *Encrypted([SECRET])._keys, digest_key([SECRET]), SECRET,
        *derive_keys([SECRET], b"another purpose"),
    }  # fmt: skip
    assert len(keys) == 5


def test_the_commitment_is_compared_before_anything_is_decrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ciphertext made for another key never reaches the cipher, so it cannot be tried against many secrets."""
    sealer = Encrypted([SECRET, OLD])
    monkeypatch.setattr(sealer, "_aead", lambda key: pytest.fail("decrypted"))
    with pytest.raises(DecodeError):
        opened(sealer, Encrypted([OTHER]).write(envelope()))


@pytest.fixture
def without_cryptography(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without the extra."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)


@pytest.mark.usefixtures("without_cryptography")
def test_the_missing_package_is_named() -> None:
    """encrypt=True without the package is a ConfigurationError that says what to install; signing needs nothing."""
    with pytest.raises(ConfigurationError, match=r'encrypt=True .*"memocache\[encryption\]"'):
        Cache(NullBackend(), secret=SECRET, encrypt=True)
    Cache(NullBackend(), secret=SECRET)


@pytest.mark.parametrize("backend", ["memory://", "null://"])
def test_bad_settings_are_refused(backend: str) -> None:
    """encrypt= without secret= names both; anything but True and False names encrypt=."""
    with pytest.raises(ConfigurationError, match=r"encrypt=True.*secret="):
        Cache(backend, encrypt=True)
    for bad in (1, "yes", None, "aes"):
        with pytest.raises(ConfigurationError, match="encrypt="):
            Cache(backend, secret=SECRET, encrypt=bad)  # type: ignore[arg-type]  # that is the point
    Cache(backend, secret=SECRET, encrypt=True).close()
