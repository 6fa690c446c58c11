"""Server, rows 15 to 20 of docs/reliability.md: answers that are errors or nonsense, a full or guarded server."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from memocache import BackendError, Cache
from memocache._runtime.budget import Budget
from memocache._stores.remote import guard as _guard
from memocache.testing import FakeServer, servers
from memocache.testing.servers import Server
from tests.promises.faults.rig import Rig, share, until, within

KEYS = range(1, 41)
Leisure = Callable[[str], str]
WRITES = ("EVALSHA", "EVAL", "SET", "EXEC", "HINCRBY")


def warmed(rig: Rig, url: str, **options: Any) -> Any:
    """A function of which every key is in the backend."""
    f = rig.cached(rig.cache(url, **options))
    rig.trial(f, KEYS).check()
    return f


@pytest.mark.parametrize(
    "code", ["LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOAUTH", "NOPERM", "WRONGPASS"]
)
@pytest.mark.usefixtures("brisk")
def test_15_18_a_server_that_refuses_everything(
    rig: Rig, fake: FakeServer, caplog: pytest.LogCaptureFixture, leisure: Leisure, code: str
) -> None:
    """Rows 15 and 18: 1,000 calls of a server that answers nothing but this error: none raises, each request is sent
    once, the breaker opens, one line is logged, and the cache is used again.
    """
    faults: list[str] = []
    cache = rig.cache(leisure(fake.url), observers=[lambda event: faults.append(type(event).__name__)])
    f = rig.cached(cache)
    rig.trial(f, KEYS).check()
    fake.answer(f"-{code} this server is in no mood\r\n".encode())
    fake.received.clear()
    with caplog.at_level(logging.DEBUG, "memocache"):
        rig.trial(f, (n % 40 + 1 for n in range(share(1000))), width=4).check()
    assert cache._guard is not None
    assert cache._guard.breaker.open
    assert len(caplog.records) == 1
    asked = [words for words in fake.received if words[0] not in (b"PING", b"HINCRBY")]
    assert len(asked) <= faults.count("BackendFault") <= 50
    fake.heal()
    rig.recovers(f)


def test_16_a_master_that_became_a_replica(rig: Rig, victim: Server, leisure: Leisure) -> None:
    """Row 16: under READONLY hits are served and writes are skipped; a second after the promotion writes work again,
    over other connections.
    """
    f = warmed(rig, leisure(victim.url))
    calls = share(500)
    keys = iter(range(1000, 1100))
    with victim.client() as client:
        before = {one["id"] for one in client.client_list()}
        client.config_set("replica-read-only", "yes")
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        hits = f.cache_info().hits
        rig.trial(f, (n % 16 + 1 for n in range(calls)), width=4).check()
        assert f.cache_info().hits == hits + calls
        rig.trial(f, range(100, 100 + calls), width=4).check()
        assert f.stats().stores <= 40

        def measure() -> float:
            client.execute_command("REPLICAOF", "127.0.0.1", "1")
            x = next(keys)
            rig.trial(f, [x]).check()
            client.execute_command("REPLICAOF", "NO", "ONE")
            return rig.recovers(f, [x])

        within(1.0, measure)
        after = {one["id"] for one in client.client_list()} - before
        assert after, "not one new connection"


def test_17_a_server_out_of_memory(rig: Rig, victim: Server, leisure: Leisure) -> None:
    """Row 17: under OOM hits go on and writes are skipped, and later writes work at once."""
    f = warmed(rig, leisure(victim.url))
    rounds = share(16, 3)
    with victim.client() as client:
        client.config_set("maxmemory", 1)
        hits = f.cache_info().hits
        for start in range(100, 100 + 50 * rounds, 50):
            rig.trial(f, [*range(start, start + 50), *range(1, 17)], width=3).check()
        assert f.cache_info().hits == hits + 16 * rounds
        rig.run(f.invalidate(1))
        client.config_set("maxmemory", 0)
    rig.recovers(f, [1])


@pytest.mark.parametrize("error", ["MISCONF Redis is configured to save RDB snapshots", "READONLY You can't write",
                                   "NOREPLICAS Not enough good replicas", "OOM command not allowed"])  # fmt: skip
def test_17_refused_writes_never_stop_hits(rig: Rig, fake: FakeServer, leisure: Leisure, error: str) -> None:
    """Row 17 and promise 5.4: while every write is refused 1,000 calls are served, hits among them all along."""
    f = warmed(rig, leisure(fake.url))
    rounds = share(10, 2)
    fake.answer(f"-{error}\r\n".encode(), *WRITES)
    hits = f.cache_info().hits
    for start in range(100, 100 + 100 * rounds, 100):
        rig.trial(f, [*range(start, start + 84), *range(1, 17)], width=4).check()
    assert f.cache_info().hits == hits + 16 * rounds
    fake.heal()
    rig.recovers(f, [1])


@pytest.mark.usefixtures("brisk")
def test_18_a_password_that_was_set(
    rig: Rig, victim: Server, caplog: pytest.LogCaptureFixture, leisure: Leisure
) -> None:
    """Row 18: a server that asks for a password all of a sudden, and a URL with the wrong one: computed, one log line a
    minute each, without the password, and few attempts.
    """
    f = warmed(rig, leisure(victim.url))
    g = rig.cached(rig.cache(leisure(victim.url.replace("127", "user:hunter3@127"))), name="wrong")
    calls = share(500)
    with victim.client() as client:
        client.config_set("requirepass", "hunter2")
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        with caplog.at_level(logging.DEBUG, "memocache"):
            rig.trial(f, (n % 40 + 1 for n in range(calls)), width=4).check()
            made, begun = client.info("stats")["total_connections_received"], time.monotonic()
            rig.trial(g, (n % 40 + 1 for n in range(calls)), width=4).check()
            # besides those before the breaker opened, the probes of both caches
            probes = 2 * (time.monotonic() - begun) / 0.03
            assert client.info("stats")["total_connections_received"] - made < 50 + probes
        assert len(caplog.records) == 2
        assert "hunter" not in caplog.text
        client.config_set("requirepass", "")
    rig.recovers(f)


@pytest.mark.usefixtures("brisk")
def test_19_no_room_for_another_client(rig: Rig, victim: Server, leisure: Leisure) -> None:
    """Row 19: a server that takes no more clients is knocked at a few times, not all the time, and is used again."""
    with victim.client() as client:
        client.ping()
        client.config_set("maxclients", 1)
        f = rig.cached(rig.cache(leisure(victim.url)))
        before, begun = client.info("stats"), time.monotonic()
        rig.trial(f, (n % 40 + 1 for n in range(share(1000))), width=4).check()
        after, probes = client.info("stats"), (time.monotonic() - begun) / 0.03
        assert after["rejected_connections"] > before["rejected_connections"]
        assert after["total_connections_received"] - before["total_connections_received"] < 100 + probes
        client.config_set("maxclients", 100)
        rig.recovers(f)


@pytest.mark.parametrize("kind", ["string", "list", "hash", "set"])
@pytest.mark.parametrize("place", ["entry", "marker", "witness", "lease", "names", "counters"])
def test_20_another_type_at_our_keys(rig: Rig, one_victim: Server, leisure: Leisure, kind: str, place: str) -> None:
    """Row 20: foreign values and WRONGTYPE at any of our keys: right values, and hits again after a call or two."""
    f = warmed(rig, leisure(one_victim.url))
    entry = f.key_for(1)
    key = {
        "entry": entry,
        "marker": "memo:g:f:truth",
        "witness": entry.replace("memo:e:", "memo:w:e"),
        "lease": entry.replace("memo:e:", "memo:l:e"),
        "names": "memo:r:names",
        "counters": "memo:s:f:truth",
    }[place]
    with one_victim.client() as client:
        if place in ("entry", "marker"):
            assert client.exists(key), "the test plants at the wrong key"
        client.delete(key)
        if place in ("witness", "lease"):
            client.delete(entry)
        plant = {
            "string": lambda: client.set(key, b"nonsense"),
            "list": lambda: client.rpush(key, b"x"),
            "hash": lambda: client.hset(key, "a", "b"),
            "set": lambda: client.sadd(key, b"x"),
        }
        plant[kind]()
    rig.trial(f, (n % 40 + 1 for n in range(share(1000))), width=2).check()
    hits = f.cache_info().hits
    rig.trial(f, range(1, 17)).check()
    assert f.cache_info().hits == hits + 16
    cache = rig.caches[-1]
    cache._operations.statistics._reporter.flush()
    rig.ask(cache, "invalidate", "truth")
    rig.trial(f, range(1, 17)).check()
    assert f.cache_info().hits == hits + 16


NONSENSE = {
    "an int": b":5\r\n",
    "nil": b"$-1\r\n",
    "a nil array": b"*-1\r\n",
    "text": b"+OK\r\n",
    "ints": b"*3\r\n:1\r\n:2\r\n:3\r\n",
    "texts": b"*3\r\n+a\r\n+b\r\n+c\r\n",
    "too few": b"*1\r\n$1\r\nx\r\n",
    "arrays": b"*3\r\n*0\r\n*0\r\n*0\r\n",
    "errors": b"*3\r\n-ERR a\r\n-ERR b\r\n-ERR c\r\n",
    "three strings": b"*3\r\n$1\r\na\r\n$8\r\nabcdefgh\r\n$8\r\nabcdefgh\r\n",
    "a bool": b"#t\r\n",
    "a map": b"%1\r\n+a\r\n+b\r\n",
    "a push": b">2\r\n+invalidate\r\n*0\r\n",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "noise": bytes(range(256)) * 3,
    "an error that is no text": b"-\xff\xfe\x80\r\n",
    "nested": b"*1\r\n" * 10_000 + b":1\r\n",
    "a bomb": b"*2147483647\r\n$1\r\nx\r\n",
    "a nested bomb": b"*1\r\n*2147483647\r\n",
    "a later bomb": b"*3\r\n$1\r\nx\r\n*2147483647\r\n",
    "a long string": b"$536870912\r\nx",
    "a negative length": b"*-5\r\n$-7\r\n",
    "silence and the end": None,
}


@pytest.mark.usefixtures("brisk")
@pytest.mark.parametrize("what", NONSENSE)
def test_20_nonsense(rig: Rig, fake: FakeServer, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Row 20: whatever a server answers, to every third request or to all, calls have their value, the process lives,
    and the cache is used again.
    """
    f = warmed(rig, fake.url)

    def between(number: int) -> None:
        if number % 3 == 0:
            fake.answer(NONSENSE[what], "MGET", "EVALSHA", times=1)

    monkeypatch.setattr(Budget.__init__, "__defaults__", (0.1,))  # some of it makes callers wait
    rig.trial(f, (n % 40 + 1 for n in range(share(500, 30))), between=between).check()
    fake.answer(NONSENSE[what])
    rig.trial(f, (n % 40 + 1 for n in range(share(500, 30))), width=2).check()
    fake.heal()
    rig.recovers(f)


def test_on_error_raise(rig: Rig, fake: FakeServer, leisure: Leisure) -> None:
    """With ``on_error="raise"`` each of these errors is a `BackendError` that quotes nothing, and hits are as ever."""
    f = rig.cached(rig.cache(leisure(fake.url), on_error="raise"))
    rig.trial(f, KEYS).check()
    fake.answer(b"-OOM secret words\r\n", *WRITES)
    rig.trial(f, range(1, 17)).check()
    for x in (101, 103):
        refused = rig.call(f, x)
        assert isinstance(refused, BackendError)
        assert "secret" not in str(refused)
        assert "out of memory" in str(refused)
    fake.heal()
    rig.trial(f, range(101, 110)).check()


def test_the_log_stays_quiet(rig: Rig, fake: FakeServer, caplog: pytest.LogCaptureFixture, leisure: Leisure) -> None:
    """Faults of every kind at once from many callers make one log line a minute, and none of it quotes the server."""
    f = warmed(rig, leisure(fake.url))
    with caplog.at_level(logging.DEBUG, "memocache"):
        for error in (b"-OOM canary\r\n", b"-ERR canary\r\n", b"-LOADING canary\r\n"):
            fake.answer(error)
            rig.trial(f, range(100, 200), width=20).check()
    assert len(caplog.records) == 1
    assert "canary" not in caplog.text


@pytest.mark.usefixtures("brisk")
def test_a_closed_cache_probes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks any more: the probe of a server that is gone rests, and begins again with the next caller."""
    monkeypatch.setattr(_guard, "_PROBE_FOR", 0.2)
    with servers.start(servers.available_servers()[0]) as victim:
        cache = Cache(victim.url)
        rig = Rig("sync")
        f = rig.cached(cache)
        victim.kill()
        rig.trial(f, range(1, 20)).check()
        cache.close()
        assert cache._guard is not None
        guard = cache._guard
        until(lambda: not guard._probing.locked())
        assert guard.breaker.open
        victim.restart()
        rig.recovers(f)
        cache.close()
