"""The threats of docs/reliability.md: who writes to the backend forges nothing, who reads it learns no argument."""

from __future__ import annotations

import logging
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from wrapt import FunctionWrapper

from memocache import BackendError, Cache
from memocache._cache.aio import AsyncCache
from memocache._stores.remote import envelope as env
from memocache.backends.memory import MemoryBackend
from memocache.testing import FakeClock, servers
from memocache.testing.servers import Server
from memocache.typing import Put
from tests.promises.faults.rig import BOUND, Rig, until
from tests.promises.faults.surface import ARGUMENT, CANARIES, VALUE, Surface

SECRET = "correct horse battery staple"


@pytest.fixture
def backend() -> MemoryBackend:
    """What an attacker can write to."""
    return MemoryBackend()


SEALS: dict[str, dict[str, Any]] = {"signed": {"secret": SECRET}, "encrypted": {"secret": SECRET, "encrypt": True}}


@pytest.fixture(params=SEALS)
def seal(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What makes a cache sign, or encrypt."""
    if request.param == "encrypted":
        pytest.importorskip("cryptography")
    return SEALS[request.param]


def _raw(backend: MemoryBackend, key: str) -> bytes:
    raw = backend.read([key])[0]
    assert raw is not None
    return raw


def test_every_flipped_bit_of_a_signed_envelope_is_rejected(
    rig: Rig, backend: MemoryBackend, seal: dict[str, Any]
) -> None:
    """Each bit of a sealed envelope flipped, one after another: every one is a miss, and none is a wrong value."""
    f = rig.cached(rig.cache(backend, **seal), lambda x: {"x": x})
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


def test_every_truncation_of_a_signed_envelope_is_rejected(
    rig: Rig, backend: MemoryBackend, seal: dict[str, Any]
) -> None:
    """So is an envelope cut off anywhere, and one with something added."""
    f = rig.cached(rig.cache(backend, **seal), lambda x: {"x": x})
    rig.call(f, 1)
    key = f.key_for(1)
    real = _raw(backend, key)
    for bad in [*(real[:size] for size in range(len(real))), real + b"\0", real + real]:
        backend.transact([], [Put(key, bad, 60_000)])
        misses = f.cache_info().misses
        assert rig.call(f, 1) == {"x": 1}
        assert f.cache_info().misses == misses + 1


def test_replay(rig: Rig, backend: MemoryBackend, seal: dict[str, Any]) -> None:
    """A sealed envelope under another key, after its expiry or an invalidation, or of another function is a miss."""
    clock = FakeClock()
    cache = rig.cache(backend, **seal, clock=clock)
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


def test_downgrade(rig: Rig, backend: MemoryBackend, seal: dict[str, Any]) -> None:
    """An envelope that is unsealed, sealed in the other way or under another secret is no entry of a cache with a
    secret, even by a forger who knows the key and the markers.
    """
    sealed = rig.cached(rig.cache(backend, **seal))
    rig.trial(sealed, [1]).check()
    key = sealed.key_for(1)
    others: list[dict[str, Any]] = [{}, {"secret": "another secret"}, {"secret": "another secret", "encrypt": True}]
    others += [way for way in SEALS.values() if way != seal]  # the right secret, used in the other way
    for other in others:
        forged = MemoryBackend()
        # the forger knows everything but the secret: the markers too
        cells = [(name, _raw(backend, name)) for name in list(backend._cells) if ":g:" in name]
        forged.transact([], [Put(name, raw) for name, raw in cells])
        forger = rig.cached(rig.cache(forged, **other), lambda x: "forged")
        rig.call(forger, 1)
        raw = _raw(forged, forger.key_for(1)).replace(forger.key_for(1).encode(), key.encode())
        assert key.encode() in raw
        backend.transact([], [Put(key, raw, 60_000)])
        misses = sealed.cache_info().misses
        rig.trial(sealed, [1]).check()
        assert sealed.cache_info().misses == misses + 1


def test_another_way_of_sealing_is_a_miss_and_no_error(rig: Rig, backend: MemoryBackend) -> None:
    """From signed to encrypted and back, and to a compressing cache: each finds the other's entries missing, computes,
    overwrites, and is a hit then; nothing is raised on the way.
    """
    pytest.importorskip("cryptography")
    ways: list[dict[str, Any]] = [SEALS["signed"], SEALS["encrypted"]]
    for number, way in enumerate([*ways, *ways]):
        f = rig.cached(rig.cache(backend, **way, on_error="raise"))
        rig.trial(f, range(1, 9)).check()
        assert f.cache_info()[:2] == (0, 8), f"switch {number}"
        assert f.stats().decode_errors == (8 if number else 0)
        rig.trial(f, range(1, 9)).check()
        assert f.cache_info()[:2] == (8, 8)


def test_rotation(rig: Rig, backend: MemoryBackend, seal: dict[str, Any]) -> None:
    """With ``secret=[new, old]`` entries of the old secret are hits at the same keys; new ones are sealed with the new
    one; where only the new one is known the old entries are none.
    """

    def make(secret: Any) -> Any:
        return rig.cached(rig.cache(backend, **(seal | {"secret": secret})))

    old, both = make("old"), make(["new", "old"])
    rig.trial(old, range(1, 17)).check()
    rig.trial(both, range(1, 17)).check()
    assert both.cache_info()[:2] == (16, 0)
    rig.trial(both, [18]).check()
    rig.trial(old, [18]).check()
    assert old.cache_info().hits == 0, "sealed with the new one"
    new = make("new")
    rig.trial(new, range(1, 17)).check()
    assert new.cache_info().hits == 0


def test_a_forgery_is_never_sealed_for_the_forger(rig: Rig, backend: MemoryBackend, seal: dict[str, Any]) -> None:
    """What a forger puts in the place of an entry between two steps of `expire` is not given a seal of ours, though it
    bears the entry's own head.
    """
    cache = rig.cache(backend, **seal)
    rig.ask(cache, "set", "a", "ours", ttl=60)
    real = _raw(backend, "memo:k:a")
    at = real.index(env.unpack(real).payload)
    forged = real[:at] + bytes([real[at] ^ 1]) + real[at + 1 :]
    reads = 0

    class Between(MemoryBackend):
        def read(self, keys: Any, **kwargs: Any) -> Any:
            nonlocal reads
            reads += 1
            if reads == 2:
                backend.transact([], [Put("memo:k:a", forged, 60_000)])
            return backend.read(keys, **kwargs)

        def transact(self, *args: Any, **kwargs: Any) -> Any:
            return backend.transact(*args, **kwargs)

    slow = rig.cache(Between(), **seal)
    assert rig.ask(slow, "expire", "a", 3600) is False
    assert reads >= 2
    assert _raw(backend, "memo:k:a") == forged, "left as it was, to be refused"
    assert rig.ask(cache, "get", "a") is None


def test_large_values_are_sealed_too(
    rig: Rig, one_victim: Server, seal: dict[str, Any], leisure: Callable[[str], str]
) -> None:
    """A value of a megabyte, which a server's reply is not copied for, is a hit under its seal, and none with a bit of
    its middle flipped.
    """
    value = bytes(range(256)) * 4096
    f = rig.cached(rig.cache(leisure(one_victim.url), **seal), lambda x: value)
    for _ in range(3):
        assert rig.call(f, 1) == value
    assert f.cache_info()[:2] == (2, 1)
    key = f.key_for(1)
    with one_victim.client() as client:
        raw = bytearray(client.get(key))
        raw[len(raw) // 2] ^= 1
        client.set(key, bytes(raw))
    assert rig.call(f, 1) == value
    assert f.cache_info()[:2] == (2, 2)
    assert f.stats().decode_errors == 1


def test_digests_are_macs(rig: Rig, backend: MemoryBackend) -> None:
    """The key of a call and the hash of a tag differ by secret, so who does not have it cannot try arguments; they are
    the same for the same secret.
    """
    secrets = (None, "a", "b", "a")
    functions = [rig.cached(rig.cache(backend, secret=secret), tags=["of:{x}"]) for secret in secrets]
    keys = [f.key_for("guess me") for f in functions]
    assert len(set(keys)) == 3
    assert keys[1] == keys[3]
    tags: list[set[str]] = []
    for f in functions:
        rig.call(f, 1)
        tags.append({name for name in backend._cells if ":g:t:" in name})
        backend._cells.clear()
    assert [len(names) for names in tags] == [1] * 4
    assert len(set.union(*tags)) == 3
    assert tags[1] == tags[3]


@pytest.fixture
def mortal() -> Iterator[Server]:
    """A server of one kind for one test alone, which may kill it."""
    kinds = servers.available_servers() or pytest.skip("no server")
    with servers.start(kinds[0]) as server:
        yield server


@pytest.fixture
def monitored(mortal: Server) -> Iterator[tuple[Server, list[bytes]]]:
    """A server, and the lines of MONITOR, raw: every command it was sent, each word quoted."""
    lines: list[bytes] = []
    with socket.create_connection(("127.0.0.1", mortal.port)) as sock, sock.makefile("rb") as stream:
        sock.sendall(b"MONITOR\r\n")
        assert stream.readline() == b"+OK\r\n"
        thread = threading.Thread(target=lambda: lines.extend(stream), daemon=True)
        thread.start()
        yield mortal, lines
        sock.shutdown(socket.SHUT_RDWR)
        thread.join(BOUND)


_WORD = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(rb"\\(x[0-9a-f]{2}|.)")
_CONTROLS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}


def _words(line: bytes) -> list[bytes]:
    """The words of a command, as they were sent, from MONITOR's quoted ones."""

    def plain(found: re.Match[bytes]) -> bytes:
        what = found[1]
        return bytes([int(what[1:], 16)]) if what[:1] == b"x" and len(what) == 3 else _CONTROLS.get(what, what)

    return [_ESCAPE.sub(plain, word) for word in _WORD.findall(line)]


def _without_payloads(words: list[bytes]) -> bytes:
    """A command without the one place where values may be: the payload of an envelope that is put at its own key, which
    is an entry's.
    """
    left = []
    for word in words:
        if word.startswith(env.START):
            envelope = env.unpack(word)
            assert envelope.key.encode() in words
            assert envelope.key.split(":")[1] in ("e", "k")
            word = env.clear(envelope, 0) + envelope.seal
        left.append(word)
    return b" ".join(left)


WAYS: dict[str, dict[str, Any]] = {"plain": {}} | SEALS


@pytest.mark.parametrize("way", WAYS)
def test_canaries(
    rig: Rig,
    monitored: tuple[Server, list[bytes]],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    leisure: Callable[[str], str],
    way: str,
) -> None:
    """With every method, option and error of the surface used, an argument appears nowhere in what the server is sent,
    and a value only in the payload of an envelope, encrypted not even there; neither in keys, channels, tags, logs,
    events, figures, reprs, warnings, errors, or what is printed.
    """
    if way == "encrypted":
        pytest.importorskip("cryptography")
    server, lines = monitored
    caplog.set_level(logging.DEBUG)
    surface = Surface(rig, leisure(server.url), **WAYS[way])
    surface.drive()
    with server.client() as client:
        held = [key.decode() for key in client.keys("*")]
        client.echo("the end")
    until(lambda: any(b"the end" in line for line in list(lines)))
    server.kill()
    f = surface.function(surface.cache, "f")
    rig.call(f, ARGUMENT)
    surface.refused(BackendError, lambda: surface.ask("get", "plain"))
    surface.ask("close")
    assert len(held) > 5
    read = [*surface.seen, *held, caplog.text, *capfd.readouterr()]
    assert caplog.text.count("the backend failed") > 1, "the harness sees logs"
    for text in read:
        assert not [canary for canary in CANARIES if canary in text], text
    commands = [_words(line) for line in list(lines)]
    for words in commands:
        told = _without_payloads(words)
        assert not [canary for canary in CANARIES if canary.encode() in told], words[0]
    anywhere = b"\n".join(word for words in commands for word in words)
    for canary in (ARGUMENT, VALUE):
        assert (canary.encode() in anywhere) is (way != "encrypted" and canary == VALUE), "what the harness sees"


def test_the_canaries_used_the_whole_surface(rig: Rig, one_victim: Server, leisure: Callable[[str], str]) -> None:
    """`Surface.drive` leaves out no public method of a cache and none of a decorated function."""
    surface = Surface(rig, leisure(one_victim.url))
    surface.drive()
    surface.used |= {"close", "aio"}  # by the test above; what everything async goes by
    methods = {name for name in (*dir(Cache), *dir(AsyncCache)) if not name.startswith("_")}
    plumbing = {"retire", "unbind"}  # for another default cache: they take and give nothing
    plumbing |= {"tenant"}  # takes a part of a prefix, which is shown as prefixes are
    assert methods - plumbing - surface.used == set()
    function = surface.function(surface.cache, "any")
    ours = {f".{name}" for name in {*dir(type(function))} - {*dir(FunctionWrapper)} if not name.startswith("_")}
    assert {".cache_info", ".map"} <= ours <= surface.used


def test_a_flood_of_arguments_leaves_nothing_for_ever(
    rig: Rig, one_victim: Server, leisure: Callable[[str], str]
) -> None:
    """However many distinct arguments and tags are sent: the process holds at most `maxsize` entries, and on the server
    all that does not expire is the prefix's marker, and the function's, its name, counters, details and settings,
    and one hash of what was asked.
    """
    held = rig.cached(rig.cache("memory://?maxsize=100"), lambda x: x)
    cache = rig.cache(leisure(one_victim.url))
    f = rig.cached(cache, lambda x: x, name="f", tags=["of:{x}"])
    for x in range(300):
        rig.call(held, x)
        rig.call(f, x)
    assert held.cache_info().currsize <= 100
    cache._operations.statistics._reporter.flush()
    with one_victim.client() as client:
        keys = client.keys("*")
        assert len(keys) > 600
        assert {key for key in keys if client.pttl(key) < 0} <= {
            b"memo:g:p",
            b"memo:g:f:f",
            b"memo:r:names",
            b"memo:s:f:f",
            b"memo:s:d:f",
            b"memo:s:p:f",
            b"memo:s:o",
        }
        assert client.scard("memo:r:names") <= 2  # the name, and that the set is whole


def test_plain_keys_are_the_users_own(rig: Rig, victim: Server) -> None:
    """The keys of `Cache.set` are names, not arguments: they stand in the backend, and in no error or event."""
    seen: list[str] = []
    cache = rig.cache(victim.url, observers=[lambda event: seen.append(repr(event))])
    rig.ask(cache, "set", ARGUMENT, 1)
    victim.kill()
    with pytest.raises(BackendError) as caught:
        rig.ask(cache, "get", ARGUMENT)
    assert ARGUMENT not in repr(caught.value) + "".join(seen)


def test_a_cache_shows_no_secret() -> None:
    """Neither the object nor its settings show the secret or a password."""
    cache = Cache("redis://user:hunter2@localhost:1/0", secret=SECRET)
    f = cache.cached(name="f")(lambda x: x)
    shown = repr(cache) + repr(f) + repr(f.cache_parameters()) + repr(vars(cache._guard))
    assert SECRET not in shown
    assert "hunter2" not in shown
