"""Golden envelopes: the stored bytes of format 1, in every way they are sealed and compressed, are still believed.

A file is never changed. To add files for new ways: ``python tests/stores/test_envelope_golden.py`` writes those
missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from memocache import Cache
from memocache._stores.remote.envelope import Flag, unpack
from memocache.backends.memory import MemoryBackend
from memocache.testing import FakeClock
from memocache.typing import Put

GOLDEN = Path(__file__).parents[1] / "golden" / "envelope-1"
VALUE = {"text": "the same words again and " * 100, "of": ("a", 1, None)}
SECRET = "golden secret"
SIGNED: dict[str, Any] = {"secret": SECRET}
ENCRYPTED: dict[str, Any] = {"secret": SECRET, "encrypt": True}
WAYS: dict[str, tuple[dict[str, Any], int, bool]] = {
    # settings of the cache, flags, whether the bytes depend on the version of a compression library
    "plain": ({}, Flag.PLAIN, False),
    "signed": (SIGNED, Flag.SIGNED, False),
    "encrypted": (ENCRYPTED, Flag.ENCRYPTED, False),
    "zstd": ({"compress": "zstd"}, Flag.ZSTD, True),
    "lz4": ({"compress": "lz4"}, Flag.LZ4, True),
    "zstd-signed": ({"compress": "zstd", **SIGNED}, Flag.ZSTD | Flag.SIGNED, True),
    "lz4-encrypted": ({"compress": "lz4", **ENCRYPTED}, Flag.LZ4 | Flag.ENCRYPTED, True),
}
TAG = "golden:{tag}"


def settings(name: str) -> dict[str, Any]:
    """The options of a cache, or a skip where it cannot be had."""
    options = WAYS[name][0]
    if "encrypt" in options:
        pytest.importorskip("cryptography")
    return options


def write(options: dict[str, Any]) -> tuple[MemoryBackend, bytes]:
    """What a cache stores when every random byte is fixed, and where."""
    backend = MemoryBackend()
    cache = Cache(backend, clock=FakeClock(), **options)
    with mock.patch("os.urandom", lambda count: bytes(range(count))):
        cache.set("golden", VALUE, ttl=60, tags=[TAG])
    raw = backend.read(["memo:k:golden"])[0]
    assert raw is not None
    return backend, raw


def read(options: dict[str, Any], raw: bytes, seconds: float) -> Any:
    """What a cache makes of `raw`, `seconds` after it was stored."""
    backend, _ = write(options)  # the markers stand there
    backend.transact([], [Put("memo:k:golden", raw, 3_600_000)])
    clock = FakeClock()
    clock.advance(seconds)
    return Cache(backend, clock=clock, **options).get("golden")


@pytest.mark.parametrize("name", WAYS)
def test_golden_envelope(name: str) -> None:
    """The file is a hit with its value until its expiry, bears its flags, and is what would be written today."""
    options = settings(name)
    _, flags, varies = WAYS[name]
    raw = (GOLDEN / f"{name}.bin").read_bytes()
    envelope = unpack(raw)
    assert raw[:3] == bytes([0x9C, 1, flags])
    assert (envelope.key, envelope.tags) == ("memo:k:golden", (TAG,))
    assert envelope.expires_at - envelope.created_at == 60
    assert read(options, raw, 59) == VALUE
    assert read(options, raw, 61) is None
    if not varies:
        assert write(options)[1] == raw


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("reader", WAYS)
def test_each_way_is_one_caches_own(name: str, reader: str) -> None:
    """Compression makes no difference to who may read; the way of sealing does: another's is a miss."""
    options = settings(reader)
    raw = (GOLDEN / f"{name}.bin").read_bytes()
    same = (WAYS[name][1] & Flag.SEALED) == (WAYS[reader][1] & Flag.SEALED)
    assert read(options, raw, 1) == (VALUE if same else None)


def test_every_way_has_a_file() -> None:
    """No way is without its golden file, and no file is forgotten by the tests."""
    assert {path.stem for path in GOLDEN.glob("*.bin")} == set(WAYS)
    bits = {1 << bit for bit in range(7) if any(flags & 1 << bit for _, flags, _ in WAYS.values())}
    assert bits == {Flag.ZSTD, Flag.LZ4, Flag.SIGNED, Flag.ENCRYPTED}


if __name__ == "__main__":
    for name, (options, _, _) in WAYS.items():
        path = GOLDEN / f"{name}.bin"
        if not path.exists():
            path.write_bytes(write(options)[1])
            print("wrote", path.name)
