"""The threats of FAULTS.md: who writes to the backend forges nothing, who reads it learns no argument."""

from __future__ import annotations

import logging
import re
import socket
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from memocache import BackendError, Cache, EncodeError, UnstableKeyError
from memocache.backends.memory import MemoryBackend
from memocache.instrumentation.logging import LoggingObserver
from memocache.testing import FailingBackend, FakeClock
from memocache.testing.servers import Server
from memocache.typing import Put
from tests.faults.rig import BOUND, Rig, until

SECRET = "correct horse battery staple"


@pytest.fixture
def backend() -> MemoryBackend:
    """What an attacker can write to."""
    return MemoryBackend()


def _raw(backend: MemoryBackend, key: str) -> bytes:
    raw = backend.read([key])[0]
    assert raw is not None
    return raw


def test_every_flipped_bit_of_a_signed_envelope_is_rejected(rig: Rig, backend: MemoryBackend) -> None:
    """Each bit of a signed envelope flipped, one after another: every one is a miss, and none is a wrong value."""
    f = rig.cached(rig.cache(backend, secret=SECRET), lambda x: {"x": x})
    assert rig.call(f, 1) == {"x": 1}
    key = f.key_for(1)
    real = _raw(backend, key)
    for bit in range(8 * len(real)):
        flipped = bytearray(real)
        flipped[bit // 8] ^= 1 << bit % 8
        backend.transact([], [Put(key, bytes(flipped), 60_000)])
        misses = f.cache_info().misses
        assert rig.call(f, 1) == {"x": 1}
        assert f.cache_info().misses == misses + 1, f"bit {bit} of {8 * len(real)} was believed"
    backend.transact([], [Put(key, real, 60_000)])
    hits = f.cache_info().hits
    assert rig.call(f, 1) == {"x": 1}
    assert f.cache_info().hits == hits + 1


def test_every_truncation_of_a_signed_envelope_is_rejected(rig: Rig, backend: MemoryBackend) -> None:
    """So is an envelope cut off anywhere, and one with something added."""
    f = rig.cached(rig.cache(backend, secret=SECRET), lambda x: {"x": x})
    rig.call(f, 1)
    key = f.key_for(1)
    real = _raw(backend, key)
    for bad in [*(real[:size] for size in range(len(real))), real + b"\0", real + real]:
        backend.transact([], [Put(key, bad, 60_000)])
        misses = f.cache_info().misses
        assert rig.call(f, 1) == {"x": 1}
        assert f.cache_info().misses == misses + 1


def test_replay(rig: Rig, backend: MemoryBackend) -> None:
    """A signed envelope under another key, after its expiry or an invalidation, or of another function is a miss."""
    clock = FakeClock()
    cache = rig.cache(backend, secret=SECRET, clock=clock)
    f, g = rig.cached(cache, ttl=60), rig.cached(cache, lambda x: -x, name="other", ttl=60)
    rig.trial(f, [1, 2]).check()
    rig.call(g, 1)
    one, two = f.key_for(1), f.key_for(2)
    real = _raw(backend, one)

    def misses(function: Any, x: int, key: str, raw: bytes) -> bool:
        backend.transact([], [Put(key, raw, None)])
        before = function.cache_info().misses
        result = rig.call(function, x)
        assert result == (-x if function is g else {"x": x, "square": x * x, "text": f"value of {x} " * 3})
        return bool(function.cache_info().misses == before + 1)

    assert misses(f, 2, two, real), "under another key"
    assert misses(g, 1, g.key_for(1), real), "of another function"
    assert not misses(f, 1, one, real), "the harness's own check: where it belongs it is a hit"
    clock.advance(61)
    assert misses(f, 1, one, real), "after its expiry"
    fresh = _raw(backend, one)
    rig.run(f.invalidate_all())
    assert misses(f, 1, one, fresh), "after an invalidation"


def test_downgrade(rig: Rig, backend: MemoryBackend) -> None:
    """An unsigned envelope is no entry of a cache with a secret, and one signed with another secret neither."""
    signed = rig.cached(rig.cache(backend, secret=SECRET))
    rig.trial(signed, [1]).check()
    key = signed.key_for(1)
    for other in (None, "another secret"):
        forged = MemoryBackend()
        # the forger knows everything but the secret: the markers too
        cells = [(name, _raw(backend, name)) for name in list(backend._cells) if ":g:" in name]
        forged.transact([], [Put(name, raw) for name, raw in cells])
        forger = rig.cached(rig.cache(forged, secret=other), lambda x: "forged")
        rig.call(forger, 1)
        raw = _raw(forged, forger.key_for(1)).replace(forger.key_for(1).encode(), key.encode())
        assert key.encode() in raw
        backend.transact([], [Put(key, raw, 60_000)])
        misses = signed.cache_info().misses
        rig.trial(signed, [1]).check()
        assert signed.cache_info().misses == misses + 1


def test_rotation(rig: Rig, backend: MemoryBackend) -> None:
    """With ``secret=[new, old]`` entries of the old secret are hits at the same keys; new ones are signed with the new
    one; where only the new one is known the old entries are none.
    """
    old = rig.cached(rig.cache(backend, secret="old"))
    both = rig.cached(rig.cache(backend, secret=["new", "old"]))
    rig.trial(old, range(1, 17)).check()
    rig.trial(both, range(1, 17)).check()
    assert both.cache_info()[:2] == (16, 0)
    rig.trial(both, [18]).check()
    rig.trial(old, [18]).check()
    assert old.cache_info().hits == 0, "signed with the new one"
    new = rig.cached(rig.cache(backend, secret="new"))
    rig.trial(new, range(1, 17)).check()
    assert new.cache_info().hits == 0


def test_digests_are_macs(rig: Rig, backend: MemoryBackend) -> None:
    """The key of a call differs by secret, so who does not have it cannot try arguments; it is the same for the same
    secret.
    """
    secrets = (None, "a", "b", "a")
    keys = [rig.cached(rig.cache(backend, secret=secret)).key_for("guess me") for secret in secrets]
    assert len(set(keys)) == 3
    assert keys[1] == keys[3]


CANARY_ARGUMENT = "canary-argument-7f3a"
CANARY_VALUE = "canary-value-91c2"


@pytest.fixture
def monitored(victim: Server) -> Iterator[tuple[Server, list[str]]]:
    """A server, and the lines of MONITOR, raw: every command it was sent, each word quoted."""
    lines: list[str] = []
    with socket.create_connection(("127.0.0.1", victim.port)) as sock, sock.makefile("rb") as stream:
        sock.sendall(b"MONITOR\r\n")
        assert stream.readline() == b"+OK\r\n"
        thread = threading.Thread(target=lambda: lines.extend(line.decode("latin-1") for line in stream), daemon=True)
        thread.start()
        yield victim, lines
        sock.shutdown(socket.SHUT_RDWR)
        thread.join(BOUND)


@pytest.mark.parametrize("secret", [None, SECRET])
def test_canaries(
    rig: Rig,
    monitored: tuple[Server, list[str]],
    caplog: pytest.LogCaptureFixture,
    secret: str | None,
) -> None:
    """An argument appears nowhere in what the server is sent; a value only as the payload of an envelope; neither in
    keys, channels, tags, logs, events, figures, warnings or errors, with everything going wrong that can.
    """
    server, lines = monitored
    seen: list[str] = []
    caplog.set_level(logging.DEBUG)

    class Unencodable:
        def __repr__(self) -> str:
            return CANARY_VALUE

    def body(x: Any) -> Any:
        if "raise" in x:
            raise ValueError(CANARY_VALUE)
        return Unencodable() if "refuse" in x else {"value": CANARY_VALUE, "of": [CANARY_VALUE] * 3}

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        cache = rig.cache(server.url, secret=secret, observers=[lambda e: seen.append(repr(e)), LoggingObserver()])
        f = rig.cached(cache, body, name="f", tags=["about:{x}"], errors=(ValueError,), stale=60)
        strict = rig.cached(cache, body, name="strict", strict=True)
        for x in (CANARY_ARGUMENT, f"{CANARY_ARGUMENT} refuse", f"{CANARY_ARGUMENT} raise"):
            for _ in range(2):
                rig.call(f, x)
                refused = rig.call(strict, x)
                if isinstance(refused, EncodeError):
                    seen.append(str(refused))
        seen.append(f.key_for(CANARY_ARGUMENT))
        unstable = rig.call(f, object())
        assert isinstance(unstable, UnstableKeyError)
        seen.append(str(unstable))
        rig.run(f.map([CANARY_ARGUMENT, f"{CANARY_ARGUMENT} 2"]))
        rig.run(f.put({"v": CANARY_VALUE}, f"{CANARY_ARGUMENT} 3"))
        rig.run(f.refresh(CANARY_ARGUMENT))
        rig.run(f.invalidate(CANARY_ARGUMENT))
        rig.ask(cache, "invalidate", tag=f"about:{CANARY_ARGUMENT}")
        seen.append(repr(rig.ask(cache, "stats")))
        seen.append(repr(rig.ask(cache, "stats", "fleet")))
        seen.append(repr((f.stats(), f.cache_info(), cache)))
        cache._statistics._tallies.flush()
        for failing in (FailingBackend(cache._guard.backend, lambda: KeyError(CANARY_VALUE, CANARY_ARGUMENT)),):
            sick = rig.cache(failing, on_error="raise", observers=[lambda e: seen.append(repr(e))])
            raised = rig.call(rig.cached(sick, body, name="sick"), CANARY_ARGUMENT)
            assert isinstance(raised, BackendError)
            seen.append(repr(raised))
            for method, arguments in (("get", (CANARY_ARGUMENT,)), ("set", (CANARY_ARGUMENT, CANARY_VALUE))):
                with pytest.raises(BackendError) as caught:
                    rig.ask(sick, method, *arguments)
                seen.append(repr(caught.value))
        with server.client() as client:
            keys = [key.decode() for key in client.keys("*")]
        client = server.client()
        client.echo("the end")
        client.close()
    until(lambda: any("the end" in line for line in list(lines)))
    assert any(CANARY_VALUE in line for line in lines), "the harness sees no payload"
    for text in (*seen, caplog.text, *(str(one.message) for one in warned), *keys):
        assert CANARY_ARGUMENT not in text
        assert CANARY_VALUE not in text
    for line in list(lines):
        assert CANARY_ARGUMENT not in line
        words = re.findall(r'"(?:[^"\\]|\\.)*"', line)
        for word in words:
            assert CANARY_VALUE not in word or word.startswith('"\\x9c\\x01'), "a value outside an envelope"


def test_plain_keys_are_the_users_own(rig: Rig, victim: Server) -> None:
    """The keys of `Cache.set` are names, not arguments: they stand in the backend, and in no error or event."""
    seen: list[str] = []
    cache = rig.cache(victim.url, observers=[lambda event: seen.append(repr(event))])
    rig.ask(cache, "set", CANARY_ARGUMENT, 1)
    victim.kill()
    with pytest.raises(BackendError) as caught:
        rig.ask(cache, "get", CANARY_ARGUMENT)
    assert CANARY_ARGUMENT not in repr(caught.value) + "".join(seen)


def test_a_cache_shows_no_secret() -> None:
    """Neither the object nor its settings show the secret or a password."""
    cache = Cache("redis://user:hunter2@localhost:1/0", secret=SECRET)
    f = cache.cached(name="f")(lambda x: x)
    shown = repr(cache) + repr(f) + repr(f.cache_parameters()) + repr(vars(cache._guard))
    assert SECRET not in shown
    assert "hunter2" not in shown
