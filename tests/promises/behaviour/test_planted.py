"""Bytes that others planted at our keys: every one a miss, every one healed, nothing executed."""

from __future__ import annotations

import json
import pickle
import random
import subprocess
import sys
from typing import Any

import msgpack
import pytest

from tests.promises.behaviour.world import World

COUNT = 200


class Bomb:
    """What an attacker would like unpickled."""

    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('executed')",)


def foreign_bytes(seed: int) -> list[bytes]:
    """200 things that are no envelopes: noise, pickles, JSON, msgpack of hostile shape, beginnings of envelopes."""
    rng = random.Random(seed)
    hostile = [
        b"", b"\x00", b"\x9e", b"\x9e\x01", b"\x9e\x01\x00", b"\x9e\x02\x00\xc4\x08" + bytes(8),
        b"\x9e\x01\x00\xc4\x08" + bytes(8), b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff",
        b"\x91" * 5000, b"\x81" * 5000, b"null", b"{}", b"1", pickle.dumps(Bomb()), pickle.dumps(Bomb(), 0),
        pickle.dumps([1]), json.dumps({"value": 1}).encode(), msgpack.packb([1, 2, 3]), msgpack.packb(list(range(14))),
        msgpack.packb(msgpack.ExtType(5, b"os.system")), b"\x9e\x01\x00\xc4\x08" + bytes(8) + b"\xc5\xff\xff",
        b"\x9e\x01\x00\xc4\x08" + bytes(8) + b"\xc5\x00\x10" + bytes(16) + b"\xc5\xff\xff",
    ]  # fmt: skip
    while len(hostile) < COUNT:
        start = rng.choice([b"", b"\x9e\x01", b"\x9e\x01\x00\xc4\x08", b"\x80\x04", b"("])
        hostile.append(start + rng.randbytes(rng.choice([1, 10, 100, 1000])))
    return hostile


def planted(world: World, what: str, f: Any, key: str) -> list[bytes]:
    """200 byte strings of a sort, made of the very envelope at `key`."""
    rng = random.Random(7)
    real = world.read_raw(key)
    assert real is not None
    if what == "foreign":
        return foreign_bytes(7)
    if what == "truncated":
        return [real[: rng.randrange(len(real))] for _ in range(COUNT)]
    if what == "prolonged":
        return [real + rng.randbytes(rng.randrange(1, 50)) for _ in range(COUNT)]
    others = []
    for x in range(1000, 1000 + COUNT):
        world.call(f, x)
        others.append(world.read_raw(f.key_for(x)))
    return others  # type: ignore[return-value]  # each was just stored


@pytest.mark.parametrize("secret", [None, "s3cret"])
@pytest.mark.parametrize("what", ["foreign", "truncated", "of other keys"])
def test_planted_bytes_are_misses_and_healed(shared: World, what: str, secret: str | None) -> None:
    """200 of each: the call computes and counts a miss, overwrites, and the next call is a hit on the right value."""
    cache = shared.new_cache(secret=secret)
    f = shared.cached(lambda x: {"x": x, "list": [1, 2, 3], "text": "abc" * 20}, cache=cache, name="planted")
    expected = shared.call(f, 1)
    key = f.key_for(1)
    bad = planted(shared, what, f, key)
    assert len(bad) == COUNT
    if secret is not None:  # where all is checked before anything is read; a fourth of them will do
        bad = bad[::4]
    for number, raw in enumerate(bad):
        shared.write_raw(key, raw)
        hits, misses = f.cache_info()[:2]
        assert shared.call(f, 1) == expected
        assert f.cache_info()[:2] == (hits, misses + 1), (number, raw[:60])
        assert shared.read_raw(key) != raw
        assert shared.call(f, 1) == expected
        assert f.cache_info()[:2] == (hits + 1, misses + 1), (number, raw[:60])
    assert f.stats().decode_errors >= len(bad) * 0.9
    assert f.stats().backend_errors == 0


@pytest.mark.parametrize("what", ["foreign", "truncated"])
def test_planted_bytes_at_plain_keys(shared: World, what: str) -> None:
    """At plain keys too: not there for get, get_many, exists, ttl and inspect; `set` heals."""
    shared.ask("set", "k", {"a": [1, 2, 3], "b": "text" * 10})
    name = shared.full_raw("memo:k:k")
    for raw in planted(shared, what, None, name)[::5]:
        shared.write_raw(name, raw)
        assert shared.ask("get", "k") is None
        assert shared.ask("get_many", ["k"]) == {}
        assert shared.ask("exists", "k") is False
        assert shared.ask("ttl", "k") is None
        assert shared.ask("inspect", "k") is None
        assert shared.ask("expire", "k", 5) is False
        shared.ask("set", "k", 1)
        assert shared.ask("get", "k") == 1


def test_flipped_bits_never_give_a_wrong_value_of_a_signed_entry(shared: World) -> None:
    """With a secret, any changed byte of an envelope makes it a miss."""
    cache = shared.new_cache(secret="s3cret")
    f = shared.cached(lambda x: {"x": x}, cache=cache, name="signed")
    expected = shared.call(f, 1)
    key, rng = f.key_for(1), random.Random(3)
    for _ in range(50):
        raw = bytearray(shared.read_raw(key) or b"")
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        shared.write_raw(key, bytes(raw))
        misses = f.cache_info().misses
        assert shared.call(f, 1) == expected
        assert f.cache_info().misses == misses + 1


@pytest.mark.parametrize("what", ["marker of the function", "marker of the prefix"])
def test_planted_markers(shared: World, what: str) -> None:
    """Nonsense at a marker's key makes entries misses, and is replaced."""
    f = shared.cached(lambda x: [x], name="f")
    shared.call(f, 1)
    marker = shared.full_raw("memo:g:f:f" if "function" in what else "memo:g:p")
    assert shared.read_raw(marker) is not None
    for raw in (b"", b"x", b"y" * 8, b"z" * 1000):
        shared.write_raw(marker, raw)
        before = f.cache_info()
        assert [shared.call(f, 1) for _ in range(2)] == [[1], [1]]
        assert f.cache_info()[:2] == (before.hits + 1, before.misses + 1)


SCRIPT = """
import sys
sys.path.insert(0, {root!r})
import memocache
from memocache.backends.memory import MemoryBackend
from memocache.typing import Put
from tests.promises.behaviour.test_planted import foreign_bytes
import dataclasses, datetime, decimal, uuid

backend = MemoryBackend()
cache = memocache.Cache(backend)
f = cache.cached(name="f")(lambda x: (x, [datetime.date(2024, 1, 1), decimal.Decimal(1), uuid.UUID(int=1)]))
expected = f(1)
assert f(1) == expected
key = f.key_for(1)
real = backend.read([key])[0]
bad = foreign_bytes(11) + [real[:n] for n in range(len(real))]
seen = []
def hook(event, args):
    if event.partition(".")[0] in ("exec", "compile", "import", "subprocess", "os", "open", "pickle", "code", "ctypes"):
        seen.append((event, str(args)[:80]))
sys.addaudithook(hook)
for raw in bad:
    backend.transact([], [Put(key, raw)])
    assert f(1) == expected
    assert f(1) == expected
audited, seen = seen, []
print(len(bad), f.cache_info().misses, sorted(set(audited)))
"""


def test_planted_bytes_execute_nothing() -> None:
    """While planted bytes are read, the interpreter audits no exec, compile, import, open, unpickling or subprocess."""
    import pathlib

    root = str(pathlib.Path(__file__).parents[3])
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(root=root)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    planted_count, misses, audited = done.stdout.split(maxsplit=2)
    assert int(misses) == int(planted_count) + 1 >= COUNT
    assert audited.strip() == "[]"
