"""Compressed payloads: when they are, that any cache reads them, and that a bomb inflates to nothing."""

from __future__ import annotations

import random
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from memocache import Cache, ConfigurationError, UncacheableWarning
from memocache._stores.remote import compression as _compression
from memocache._stores.remote.compression import Compression
from memocache._stores.remote.envelope import Flag, close, pack, unpack
from memocache.backends.memory import MemoryBackend
from memocache.exceptions import DecodeError
from memocache.testing import FakeClock
from memocache.typing import Put

pytest.importorskip("lz4")
LIBRARIES = {"zstd": "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd", "lz4": "lz4.block"}
zstd: Any = pytest.importorskip(LIBRARIES["zstd"])
FLAGS = {"zstd": Flag.ZSTD, "lz4": Flag.LZ4}
TEXT = b"the same words again and " * 200
NOISE = random.Random(5).randbytes(5000)
MEGA = 2**20


@pytest.fixture(params=FLAGS)
def method(request: pytest.FixtureRequest) -> str:
    """Each method."""
    return str(request.param)


@pytest.mark.parametrize("view", [bytes, memoryview])
def test_what_was_deflated_is_inflated(method: str, view: Any) -> None:
    """A payload comes back as it was, from bytes and from a view into an envelope, and is smaller meanwhile."""
    packed, flag = Compression(method, 100).deflate(TEXT)
    assert flag == FLAGS[method]
    assert len(packed) < len(TEXT) / 10
    assert bytes(Compression().inflate(view(packed), flag | Flag.ERROR, len(TEXT))) == TEXT


def test_only_above_the_threshold_and_only_when_smaller(method: str) -> None:
    """At most `above` bytes, or what would not shrink, is stored as it is."""
    compression = Compression(method, len(TEXT))
    assert compression.deflate(TEXT) == (TEXT, 0)
    assert compression.deflate(TEXT + b" ")[1] == FLAGS[method]
    assert Compression(method, 0).deflate(NOISE) == (NOISE, 0)
    assert Compression(method, 0).deflate(b"") == (b"", 0)
    assert Compression(None, 0).deflate(TEXT) == (TEXT, 0)


def test_what_is_too_large_for_the_library_is_left(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond what an LZ4 block can hold nothing is compressed, rather than an error reaching the caller."""
    monkeypatch.setattr(_compression, "_LARGEST", len(TEXT) - 1)
    assert Compression(method, 0).deflate(TEXT) == (TEXT, 0)


def test_the_declared_size_is_checked_before(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A payload that says it is larger than allowed is refused before the library is asked to inflate it."""
    packed, flag = Compression(method, 0).deflate(TEXT)
    reader = Compression()
    assert reader.inflate(packed, flag, len(TEXT)) == TEXT
    library = reader._method(flag)
    for name in ("_zstd", "_block"):
        if hasattr(library, name):
            real = getattr(library, name)
            monkeypatch.setattr(library, name, NothingInflates(real))
    with pytest.raises(DecodeError, match="over"):
        reader.inflate(packed, flag, len(TEXT) - 1)


class NothingInflates:
    """A library whose inflating functions fail the test."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        if name in ("ZstdDecompressor", "decompress"):
            pytest.fail("it was inflated")
        return getattr(self._real, name)


def lies(method: str) -> dict[str, bytes]:
    """Payloads whose header does not say what is in them."""
    packed, _ = Compression(method, 0).deflate(TEXT)
    if method == "lz4":
        return {
            "more": (len(TEXT) + 1).to_bytes(4) + packed[4:],
            "less": (len(TEXT) - 1).to_bytes(4) + packed[4:],
            "nothing": packed[:4],
            "no size": packed[:3],
            "empty": b"",
        }
    unsized = zstd.compress(TEXT, options={zstd.CompressionParameter.content_size_flag: 0})
    assert zstd.get_frame_info(unsized).decompressed_size is None
    return {
        "no size": unsized,
        "two frames": packed + packed,
        "trailing": packed + b"\0",
        "cut": packed[:-1],
        "skippable": b"\x50\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"abc" + packed,
        "empty": b"",
    }


def test_lies_are_refused(method: str) -> None:
    """A payload that is not exactly what its header says, or says nothing, is DecodeError and no other error."""
    for what, lie in lies(method).items():
        with pytest.raises(DecodeError):
            pytest.fail(f"{what}: {len(Compression().inflate(lie, FLAGS[method], MEGA))} bytes")


def test_damage_is_refused_or_the_size_that_was_said(method: str) -> None:
    """What 2,000 damaged payloads come to is DecodeError or at most the bound, and nothing else is raised."""
    rng = random.Random(11)
    packed, flag = Compression(method, 0).deflate(TEXT)
    reader = Compression()
    refused = 0
    for _ in range(2000):
        damaged = bytearray(packed)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            assert len(reader.inflate(bytes(damaged), flag, 2 * len(TEXT))) <= 2 * len(TEXT)
        except DecodeError:
            refused += 1
    assert refused > 200


@pytest.mark.parametrize("flags", [Flag.ZSTD | Flag.LZ4, Flag.ZSTD | Flag.LZ4 | Flag.SIGNED])
def test_no_payload_is_both(flags: int) -> None:
    """Bits of two methods at once are none that can be read."""
    assert not Compression().reads(flags)
    assert Compression().reads(Flag.ZSTD)
    assert Compression().reads(Flag.LZ4 | Flag.ENCRYPTED)
    assert Compression().reads(Flag.SIGNED | Flag.ERROR)


BOMBS = """
    import sys
    from memocache._stores.remote.compression import Compression
    from memocache.exceptions import DecodeError

    def peak():  # not getrusage's, which begins at what the parent had
        with open("/proc/self/status") as status:
            return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmPeak"))

    MEGA = 2**20
    reader = Compression()
    for method, flag in (("zstd", 4), ("lz4", 8)):
        warm, _ = Compression(method, 0).deflate(bytes(4096))
        reader.inflate(warm, flag, MEGA)
    with open(sys.argv[1], "rb") as file:
        bombs = eval(file.read())
    before = peak()
    for flag, bomb in bombs:
        try:
            size = len(reader.inflate(bomb, flag, MEGA))
        except DecodeError:
            continue
        raise SystemExit(f"a bomb of {len(bomb)} bytes became {size}")
    print(peak() - before)
    flag, harmless = bombs[-1][0], Compression("lz4", 0).deflate(b"x" * (32 * MEGA))[0]
    reader.inflate(harmless, flag, 32 * MEGA)
    print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measured by /proc")
def test_bombs_stay_small(tmp_path: Any) -> None:
    """Payloads that would be 512 MB, by header or in spite of it, whole or cut off, are refused within 16 MB of address
    space where 1 MB is allowed.
    """
    large = 512 * MEGA
    compressor = zstd.ZstdCompressor()
    frame = b"".join(compressor.compress(bytes(MEGA)) for _ in range(512)) + compressor.flush()  # says no size
    # The same blocks behind a header that says 1,000 bytes: descriptor (2 bytes of size, no single segment), window.
    window = frame[5]
    lying = frame[:4] + b"\x40" + bytes([window]) + (1000 - 256).to_bytes(2, "little") + frame[6:]
    # A window of 128 MB that a frame of 1,000 bytes asks for.
    wide = frame[:4] + b"\x40" + bytes([17 << 3]) + (1000 - 256).to_bytes(2, "little") + frame[6:]
    honest = zstd.compress(bytes(large), options={zstd.CompressionParameter.window_log: 20})
    blocks: Any = pytest.importorskip("lz4.block")
    block = blocks.compress(bytes(large // 8), store_size=False)
    assert zstd.get_frame_info(lying).decompressed_size == 1000
    assert zstd.get_frame_info(honest).decompressed_size == large
    bombs = [(Flag.ZSTD, bomb) for bomb in (frame, lying, wide, honest, lying[:-9], wide[:-9])]
    bombs += [(Flag.LZ4, size.to_bytes(4) + block) for size in (large // 8, 1000, MEGA, 2**32 - 1)]
    (tmp_path / "bombs").write_text(repr(bombs))
    words = [sys.executable, "-c", textwrap.dedent(BOMBS), str(tmp_path / "bombs")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr + done.stdout
    bombs_took, harness_sees = map(int, done.stdout.split())
    assert bombs_took < 16 * MEGA < harness_sees


def stored(backend: MemoryBackend, key: str) -> bytes:
    raw = backend.read([f"memo:k:{key}"])[0]
    assert raw is not None
    return raw


@pytest.mark.parametrize("secrets", [{}, {"secret": "s"}, {"secret": "s", "encrypt": True}], ids=len)
def test_any_cache_reads_it(method: str, secrets: dict[str, Any]) -> None:
    """An entry compressed by one cache is a hit of every other, whatever its own `compress=`; extended by one that
    does not compress it stays compressed.
    """
    backend, clock = MemoryBackend(), FakeClock()
    value = {"text": TEXT.decode(), "list": list(range(100))}
    writer = Cache(backend, compress=method, clock=clock, **secrets)  # type: ignore[arg-type]  # a str of the two
    writer.set("a", value, ttl=60)
    raw = stored(backend, "a")
    assert unpack(raw).flags & (Flag.ZSTD | Flag.LZ4) == FLAGS[method]
    assert len(raw) < len(TEXT) / 5
    for other in (None, "zstd", "lz4"):
        reader = Cache(backend, compress=other, clock=clock, **secrets)  # type: ignore[arg-type]  # a str of the two
        assert reader.get("a") == value
        assert reader.expire("a", 120)
        assert unpack(stored(backend, "a")).flags == unpack(raw).flags
        assert reader.get("a") == value
        assert reader.stats().functions == {}


def test_the_threshold_of_a_cache(method: str) -> None:
    """Encoded results of at most `compress_above` bytes are stored as they are; 1,024 if nothing is said."""
    backend = MemoryBackend()
    for above, size, compressed in ((None, 1000, False), (None, 1100, True), (0, 100, True), (5000, 4000, False)):
        options: dict[str, Any] = {"compress": method} | ({} if above is None else {"compress_above": above})
        Cache(backend, **options).set("a", "x" * size)
        assert bool(unpack(stored(backend, "a")).flags & FLAGS[method]) is compressed


def test_the_bound_of_the_reader_holds(method: str) -> None:
    """What inflates to more than the reader's `max_value_bytes` is a counted miss, and is computed anew."""
    backend = MemoryBackend()

    def make(cache: Cache) -> Any:
        return cache.cached(name="f")(lambda x: "x" * 10_000)

    make(Cache(backend, compress=method, compress_above=10))(1)  # type: ignore[arg-type]  # a str of the two
    small = make(Cache(backend, max_value_bytes=9_999))
    with pytest.warns(UncacheableWarning):
        assert small(1) == "x" * 10_000
    stats = small.stats()
    assert (stats.hits, stats.misses, stats.decode_errors) == (0, 1, 1)
    assert make(wide := Cache(backend))(1) == "x" * 10_000
    assert wide.stats().hits == 1


def test_without_the_library_it_is_a_miss(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the library is not installed, the entry is a counted miss and overwritten, and nothing is raised."""
    backend = MemoryBackend()

    def make(cache: Cache) -> Any:
        return cache.cached(name="f")(lambda x: "x" * 10_000)

    make(Cache(backend, compress=method))(1)  # type: ignore[arg-type]  # a str of the two
    monkeypatch.setitem(sys.modules, LIBRARIES[method], None)
    poor = Cache(backend)
    f = make(poor)
    key = f.key_for(1)
    assert not poor.exists(key)
    assert not poor.expire(key, 5)
    assert f(1) == "x" * 10_000
    stats = f.stats()
    assert (stats.hits, stats.misses, stats.stores) == (0, 1, 1)
    assert stats.decode_errors >= 1
    assert f(1) == "x" * 10_000
    assert f.stats().hits == 1, "healed"
    with pytest.raises(ConfigurationError, match=rf'compress="{method}".*"memocache\[{method}\]"'):
        Cache(backend, compress=method)  # type: ignore[arg-type]  # a str of the two


@pytest.mark.parametrize("bad", ["gzip", "", True, 1, b"zstd", "ZSTD"])
def test_bad_methods_are_refused(bad: Any) -> None:
    """Another method is a ConfigurationError that names the parameter and what would be legal, on every backend."""
    for backend in ("memory://", "null://"):
        with pytest.raises(ConfigurationError, match='compress= takes "zstd", "lz4" or None'):
            Cache(backend, compress=bad)


@pytest.mark.parametrize("bad", [-1, 1.5, "1kb", None, True])
def test_bad_thresholds_are_refused(bad: Any) -> None:
    """Anything but a number of bytes names the parameter."""
    with pytest.raises(ConfigurationError, match="compress_above="):
        Cache("null://", compress_above=bad)


def test_a_planted_bomb_is_a_miss() -> None:
    """A bomb in the place of an entry costs the caller a computation, and is overwritten."""
    backend = MemoryBackend()
    cache = Cache(backend, compress="zstd", max_value_bytes=MEGA)
    f = cache.cached(name="f")(lambda x: "x" * 10_000)
    f(1)
    key = f.key_for(1)
    raw = backend.read([key])[0]
    assert raw is not None
    real = unpack(raw)
    bomb = zstd.compress(bytes(64 * MEGA))
    backend.transact([], [Put(key, close(pack(real._replace(payload=bomb)), b""), 60_000)])
    assert f(1) == "x" * 10_000
    assert f.stats().decode_errors == 1
    assert f(1) == "x" * 10_000
    assert f.stats().hits == 1
