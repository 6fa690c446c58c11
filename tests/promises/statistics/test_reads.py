"""A read is never a write: neither bytes nor ttl of an entry change, and the server is asked for nothing but reads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from memocache import Cache
from memocache._cache import stats_reporter as _tally
from memocache.testing.servers import Server
from tests.promises.behaviour.world import World
from tests.promises.invalidation.test_commands import Counted


@pytest.fixture
def cache(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cache]:
    """A cache that flushes only when the test has it flush."""
    monkeypatch.setattr(_tally, "FLUSH_SECONDS", 3600.0)
    with Cache(valkey.url) as made:
        yield made


def test_reads_send_reads(cache: Cache, valkey: Server) -> None:
    """Hits, peeks, gets, keys and inspections send no writing command, before the interval has passed."""
    f = cache.cached(name="f", ttl=100, tags=("t",))(lambda n: [n])
    f(1)
    cache.set("k", 1)
    with valkey.client() as client:
        counted = Counted(client)
        for _ in range(20):
            f(1)
            f.peek(1)
            cache.get("k")
            cache.get_many(["k", "nothing"])
            cache.exists("k")
            cache.ttl("k")
            cache.inspect("k")
            cache.inspect(f.key_for(1))
            list(cache.keys())
            cache.stats()
        # the fleet's registry of names, its counters and INFO are read by stats; listeners of other caches may ping
        assert set(counted()) <= {"mget", "scan", "smembers", "hgetall", "ping"}


def test_a_flush_writes_no_entry(cache: Cache, valkey: Server) -> None:
    """A flush touches statistics alone: hashes of their own, never an entry."""
    f = cache.cached(name="f", ttl=100)(lambda n: [n])
    f(1)
    with valkey.client() as client:
        raw, expires = client.get(f.key_for(1)), client.pexpiretime(f.key_for(1))
        for _ in range(10):
            f(1)
        counted = Counted(client)
        assert cache._operations.statistics._reporter.flush()  # type: ignore[union-attr]  # beside a server there is one
        # beside the hashes, the number of the flush is looked at and set
        assert set(counted()) - {"evalsha", "eval", "type", "get"} == {"hincrby", "hset", "pexpire", "set"}
        assert (client.get(f.key_for(1)), client.pexpiretime(f.key_for(1))) == (raw, expires)
        assert cache.inspect(f.key_for(1)).access_count == 10  # type: ignore[union-attr]  # it is there
        assert 0 < client.pttl(f"memo:a:{f.key_for(1).removeprefix('memo:').replace(':', '', 1)}") <= 86_400_000


def test_reads_change_nothing_of_an_entry(shared: World) -> None:
    """Bytes and deadline of an entry stand after any number of reads, in the middle of its life."""
    f = shared.cached(lambda n: [n], name="f", ttl=100, stale=100)
    shared.call(f, 1)
    shared.ask("set", "k", 1, ttl=100)
    keys = [f.key_for(1), "memo:k:k"]
    before = [(shared.read_raw(key), shared.deadline_raw(key)) for key in keys]
    for _ in range(5):
        shared.clock.advance(10)
        shared.call(f, 1)
        shared.call(f.peek, 1)
        shared.ask("get", "k")
        shared.ask("inspect", f.key_for(1))
        shared.ask("keys")
        shared.ask("stats", "fleet")
    assert [(shared.read_raw(key), shared.deadline_raw(key)) for key in keys] == before
