"""What is particular about a cluster: where keys are, how many commands an operation is, slots on the move, one node
that fails.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from memocache import MISSING, BackendError, Cache
from memocache._cache import stats_reporter
from memocache.backends._cluster.slots import slot_of
from memocache.backends._registry import make_backend
from memocache.backends.base import NodeFailure
from memocache.testing import servers
from memocache.testing.server_topologies import ClusterServer, until
from memocache.testing.servers import Server
from memocache.typing import Put
from tests.patience import patient, unhurried  # noqa: F401  # the first is autouse

pytestmark = pytest.mark.skipif(not servers.available_servers(), reason="no server")

_OURS = ("mget", "evalsha", "eval", "unlink", "smembers", "hgetall", "hincrby", "get", "set", "wait")


@pytest.fixture
def cluster(running_server: Callable[[str], Any]) -> ClusterServer:
    """The session's cluster, emptied; its slots may have moved."""
    cluster: ClusterServer = running_server("cluster")
    cluster.flush()
    return cluster


@pytest.fixture
def cache(cluster: ClusterServer) -> Iterator[Cache]:
    """A cache on it that is in no hurry."""
    with Cache(unhurried(cluster.url)) as cache:
        yield cache


def _commands(cluster: ClusterServer) -> dict[int, Counter[str]]:
    """What each primary was asked so far, of the commands that are ours, by port."""
    asked = {}
    for server in cluster.primaries():
        with server.client() as client:
            stats = client.info("commandstats")
        names = {name.removeprefix("cmdstat_"): int(one["calls"]) for name, one in stats.items()}
        asked[server.port] = Counter({name: calls for name, calls in names.items() if name in _OURS})
    return asked


def _asked(cluster: ClusterServer, work: Callable[[], Any]) -> dict[int, Counter[str]]:
    before = _commands(cluster)
    work()
    return {port: after - before[port] for port, after in _commands(cluster).items()}


def _total(asked: dict[int, Counter[str]]) -> Counter[str]:
    return sum(asked.values(), Counter[str]())


# Where keys are, and how many commands


def test_a_function_is_spread_over_the_nodes(cluster: ClusterServer, cache: Cache) -> None:
    """Of 100,000 keys of one function no node of three has more than 40 %, counted on the servers."""
    f = cache.cached(name="shop.price")(lambda x: x)
    owners = {slot: member.server for member in cluster.view() for held in member.slots for slot in held}
    by_port: dict[int, list[str]] = {}
    for n in range(100_000):
        key = f.key_for(n)
        by_port.setdefault(owners[slot_of(key)].port, []).append(key)
    for server in cluster.primaries():
        with server.client() as client, client.pipeline(transaction=False) as pipeline:
            for key in by_port[server.port]:
                pipeline.set(key, b"")
            pipeline.execute()  # raises MOVED for a key that is not this server's
            held = client.dbsize()
        assert 100_000 / 4 < held <= 40_000
    cluster.flush()


@pytest.mark.filterwarnings("ignore::memocache.DuplicateNameWarning")  # two functions of one name, on purpose
@pytest.mark.parametrize("tags", [(), ("t",)])
def test_a_hit_is_one_command_to_one_node(cluster: ClusterServer, cache: Cache, tags: tuple[str, ...]) -> None:
    """Each of 60 hits is one MGET at the node that has the entry, and nothing else, in both colours."""
    f = cache.cached(name="f", tags=tags)(lambda x: [x])

    async def body(x: int) -> list[int]:
        return [x]

    g = cache.cached(name="f", tags=tags)(body)
    owners = {slot: member.server.port for member in cluster.view() for held in member.slots for slot in held}
    for x in range(30):
        f(x)
    cache._operations.statistics._reporter.flush()  # type: ignore[union-attr]  # so that none comes in between

    async def loop() -> None:
        for x in range(30):
            assert await g(x) == [x]
        asked.update(_since(cluster, before))  # closing, which sends what was counted, takes no part
        await cache.aio.close()

    asked: dict[int, Counter[str]] = {}
    before = _commands(cluster)
    for x in range(30):
        f(x)
    asyncio.run(loop())
    expected = Counter(owners[slot_of(f.key_for(x))] for x in range(30))
    assert {port: asked[port]["mget"] for port in asked} == {port: 2 * expected[port] for port in asked}
    assert _total(asked)["unlink"] == _total(asked)["smembers"] == _total(asked)["hgetall"] == 0


@pytest.mark.parametrize(
    "invalidate",
    [
        lambda cache: cache.invalidate("f"),
        lambda cache: cache.invalidate(tag="t"),
        lambda cache: cache.clear(),
        lambda cache: asyncio.run(cache.aio.invalidate("f")),
    ],
    ids=["function", "tag", "everything", "async"],
)
def test_an_invalidation_is_256_small_deletes(cluster: ClusterServer, cache: Cache, invalidate: Any) -> None:
    """A function, a tag or everything: 256 UNLINKs, about as many at each node, whatever there is."""
    f = cache.cached(name="f", tags=("t",))(lambda x: [x])
    for entries in (1, 40):
        for x in range(entries):
            f(x)
        asked = _asked(cluster, lambda: invalidate(cache))
        assert _total(asked)["unlink"] == 256
        assert all(60 <= one["unlink"] <= 110 for one in asked.values())
    before = f.cache_info().misses
    assert [f(x) for x in range(40)] == [[x] for x in range(40)]
    assert f.cache_info().misses == before + 40


def test_bulk_is_one_round_trip_a_node(cluster: ClusterServer, cache: Cache) -> None:
    """`get_many` of 500 keys is at most one MGET a bucket; what comes back is complete and in no other key's place."""
    values = {f"k{n}": n for n in range(500)}
    cache.set_many(values)
    asked = _asked(cluster, lambda: cache.get_many(values))
    assert _total(asked)["mget"] <= 256
    assert cache.get_many(values) == values
    assert cache.delete_many(values) == 500
    assert cache.get_many(values) == {}


def test_patterns_look_at_the_registry_once(
    cluster: ClusterServer, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pattern costs a look at 256 registries at once and 256 deletes at once; the first rebuilds them with a scan."""
    for name in ("shop.a", "shop.b", "other"):
        cache.cached(name=name)(lambda x: x)(1)
    cache.invalidate("shop.*")
    asked = _total(_asked(cluster, lambda: cache.invalidate("shop.*")))
    assert (asked["smembers"], asked["unlink"], asked["evalsha"]) == (256, 256, 0)
    trips: list[Any] = []
    run = cache._guard.backend._pool.run  # type: ignore[union-attr]  # shared
    monkeypatch.setattr(cache._guard.backend._pool, "run", lambda *args: trips.append(args) or run(*args))  # type: ignore[union-attr]
    cache.invalidate("shop.*")
    assert len(trips) == 2
    other = Cache(unhurried(cluster.url))
    assert {"shop.a", "shop.b", "other"} <= _names(other)
    other.close()


def _names(cache: Cache) -> set[str]:
    from memocache._runtime.drivers import run

    found: set[str] = run(cache._operations.names.known())
    return found


def test_every_node_is_looked_at(cluster: ClusterServer, cache: Cache) -> None:
    """`keys`, `stats`, `inspect`, `purge` and `clear` find what is at each of the three nodes."""
    f = cache.cached(name="f", tags=("t",))(lambda x: [x])
    keys = {f.key_for(x) for x in range(60)}
    for x in range(60):
        f(x)
    owners = {slot: member.server.port for member in cluster.view() for held in member.slots for slot in held}
    assert len({owners[slot_of(key)] for key in keys}) == 3
    assert set(cache.keys()) == set(cache.keys("f")) == keys
    for key in keys:
        info = cache.inspect(key)
        assert info is not None
        assert info.function == "f"
    stats = cache.stats("fleet")
    assert (stats.total_keys, stats.functions["f"].misses) == (60, 60)
    memory = 0
    for server in cluster.primaries():
        with server.client() as client:
            memory += client.info("memory")["used_memory"]
    assert stats.memory_usage_bytes == pytest.approx(memory, rel=0.2)
    cache.invalidate(tag="t")
    assert cache.purge() == 60
    assert not [key for key in cluster.onlooker.scan_iter() if key.startswith(b"memo:e:")]
    for x in range(60):
        f(x)
    cache.clear()
    assert list(cache.keys()) == []
    assert cache.health().ok


# Slots on the move


def _half_moved(cluster: ClusterServer, key: str, *moved: str) -> tuple[Server, Server, Callable[[], None]]:
    """Begin to move the slot of `key`, with the keys `moved` there already: from, to, and what moves it back."""
    slot = slot_of(key)
    source = cluster.primary_of(slot)
    target = next(server for server in cluster.primaries() if server is not source)
    ids = {member.server.port: member.id for member in cluster.view()}
    with source.client() as old, target.client() as new:
        new.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[source.port])
        old.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[target.port])
        if moved:
            old.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *moved)

    def back() -> None:
        with source.client() as old, target.client() as new:
            for client in (new, old):
                client.execute_command("CLUSTER SETSLOT", slot, "STABLE")
            cluster.flush()

    return source, target, back


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """`call(backend, name, *args)`: that method, in each colour, on one event loop."""
    with asyncio.Runner() as runner:

        def invoke(backend: Any, name: str, *args: Any, **options: Any) -> Any:
            if request.param == "sync":
                return getattr(backend, name)(*args, **options)
            return runner.run(getattr(backend.aio, name)(*args, **options))

        yield invoke


def test_a_slot_that_moved_is_followed(cluster: ClusterServer, call: Callable[..., Any]) -> None:
    """MOVED sends what was asked to the new owner within the call, once: afterwards the way is known."""
    backend: Any = make_backend(unhurried(cluster.url))
    call(backend, "transact", [], [Put("{a}1", b"1")])
    slot = slot_of("{a}1")
    source = cluster.primary_of(slot)
    target = next(server for server in cluster.primaries() if server is not source)
    try:
        cluster.move([slot], target)
        until(lambda: all(cluster.primary_of(slot, one) is target for one in cluster.servers), "not everybody knows")
        with source.client() as client:
            before = client.info("errorstats").get("errorstat_MOVED", {"count": 0})["count"]
            assert [call(backend, "read", ["{a}1"]) for _ in range(5)] == [[b"1"]] * 5
            assert call(backend, "transact", [], [Put("{a}1", b"2")]) is None
            assert call(backend, "delete", ["{a}1"]) == 1
            after = client.info("errorstats").get("errorstat_MOVED", {"count": 0})["count"]
        assert after - before == 1
    finally:
        cluster.move([slot], source)
        backend.close()


def test_keys_half_on_their_way_are_found(cluster: ClusterServer, call: Callable[..., Any]) -> None:
    """While a slot is being moved each key is read where it is, those not moved, those moved, and both in one read."""
    backend: Any = make_backend(unhurried(cluster.url))
    call(backend, "transact", [], [Put("{b}1", b"1"), Put("{b}2", b"2")])
    _, target, back = _half_moved(cluster, "{b}", "{b}2")
    try:
        assert call(backend, "read", ["{b}1"]) == [b"1"]
        assert call(backend, "read", ["{b}2"]) == [b"2"]
        assert call(backend, "read", ["{b}2", "{b}1", "{b}3"]) == [b"2", b"1", None]
        assert call(backend, "transact", [], [Put("{b}2", b"22")]) is None
        assert call(backend, "transact", [], [Put("{b}4", b"4")]) is None
        with target.client(decode_responses=True) as client:
            slot = slot_of("{b}")
            assert set(client.execute_command("CLUSTER GETKEYSINSLOT", slot, 10)) == {"{b}2", "{b}4"}
        assert call(backend, "delete", ["{b}4", "{b}5", "{b}1", "{b}2"]) == 3
        with pytest.raises(NodeFailure):  # the servers' own limit: several keys that are not all there yet
            call(backend, "transact", [], [Put("{b}6", b""), Put("{b}7", b"")])
    finally:
        back()
        backend.close()


def test_calls_go_on_while_their_slot_is_being_moved(cluster: ClusterServer, cache: Cache) -> None:
    """With its marker here and its entry there a call is a hit, what cannot be stored for now is computed, and
    invalidations are carried out.
    """
    f = cache.cached(name="f")(lambda x: [x])
    f(1)
    key = f.key_for(1)
    _, _, back = _half_moved(cluster, key, key)
    try:
        assert f(1) == [1]
        assert f.cache_info()[:2] == (1, 1)
        assert [f(x) for x in range(200)] == [[x] for x in range(200)]
        f.invalidate(1)
        assert f.peek(1) is MISSING
        f.invalidate_all()
        assert {f.peek(x) for x in range(200)} == {MISSING}
    finally:
        back()


# One node that fails


def test_an_idle_process_finds_the_new_primary_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failover that it did not notice, a process's first invalidation goes to the new primary, and its first
    call is answered: nothing was sent to the dead one, so it may be sent to another. At most that call does without.
    """
    monkeypatch.setattr(stats_reporter, "FLUSH_SECONDS", 60.0)  # idle: not even figures are sent
    with ClusterServer(servers.available_servers()[0], node_timeout=1.0) as cluster:
        cache, other = (Cache(unhurried(cluster.url)) for _ in range(2))
        f, g = (one.cached(name="f")(lambda x: [x]) for one in (cache, other))
        f(1)
        g(1)
        slot = slot_of(f.key_for(1))
        victim = cluster.primary_of(slot)
        heir = cluster.replica_of(victim)
        victim.kill()
        until(lambda: _is_primary_of(cluster, heir, slot), "nobody took over")
        f.invalidate_all()
        assert g(1) == [1]
        for one in (cache, other):
            one.close()
        assert g.stats().backend_errors <= 1  # none where the machine has time to ask the others


def test_figures_that_meet_a_dead_node_decide_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent in the background leaves no node alone: an invalidation soon after goes to the new primary."""
    monkeypatch.setattr(stats_reporter, "FLUSH_SECONDS", 60.0)  # they are sent when the test says so
    with ClusterServer(servers.available_servers()[0], node_timeout=1.0) as cluster, Cache(cluster.url) as cache:
        f = cache.cached(name="f", idle=60)(lambda x: [x])
        assert f(1) == f(1)
        slot = slot_of(f.key_for(1))
        victim = cluster.primary_of(slot)
        heir = cluster.replica_of(victim)
        victim.kill()
        store: Any = cache._places.shared
        assert store.hits.flush()
        assert store.prolonger.flush()
        assert set(cache.breaker().values()) == {"closed"}
        until(lambda: _is_primary_of(cluster, heir, slot), "nobody took over")
        f.invalidate_all()


def _is_primary_of(cluster: ClusterServer, server: Server, slot: int) -> bool:
    return all(
        any(not member.of and member.server is server and any(slot in held for held in member.slots) for member in view)
        and b"cluster_state:ok" in _info(one)
        for one in cluster.servers
        if one._process is not None
        for view in [cluster.view(one)]
    )


def _info(server: Server) -> bytes:
    with server.client() as client:
        connection = client.connection_pool.get_connection()
        connection.send_command("CLUSTER", "INFO")
        return bytes(connection.read_response())


def test_one_seed_is_enough_and_dead_ones_are_passed_over(cluster: ClusterServer, call: Callable[..., Any]) -> None:
    """Any one node that answers tells of all the others, as a managed service's single endpoint does."""
    port = cluster.servers[-1].port  # a replica, or has been one
    backend: Any = make_backend(unhurried(f"redis+cluster://127.0.0.1:1,127.0.0.1:{port}"))
    for name in ("{a}", "{b}", "{c}", "{d}"):
        assert call(backend, "transact", [], [Put(name, b"1")]) is None
        assert call(backend, "read", [name]) == [b"1"]
    backend.close()


def test_deletes_wait_for_replicas_where_asked(cluster: ClusterServer) -> None:
    """``wait=1``: one WAIT a node with the 256 deletes, not one each, and another after a nudge where nothing was
    removed; more replicas than there are is an error.
    """
    with Cache(unhurried(cluster.url) + "&wait=1&wait_timeout=30") as cache:
        f = cache.cached(name="f")(lambda x: [x])
        f(1)
        asked = _asked(cluster, lambda: cache.invalidate("f"))
        assert sorted(one["wait"] for one in asked.values()) == [1, 2, 2]
        assert {one["wait"] for one in asyncio.run(_invalidate(cluster, cache)).values()} == {2}
    with Cache(unhurried(cluster.url) + "&wait=2&wait_timeout=0.01") as cache:
        with pytest.raises(BackendError, match="fewer replicas"):
            cache.invalidate("f")
        f = cache.cached(name="f")(lambda x: [x])
        assert f(1) == [1]


async def _invalidate(cluster: ClusterServer, cache: Cache) -> dict[int, Counter[str]]:
    """What the nodes were asked for it; closing, which has things of its own to send, takes no part."""
    before = _commands(cluster)
    await cache.aio.invalidate("f")
    asked = _since(cluster, before)
    await cache.aio.close()
    return asked


def _since(cluster: ClusterServer, before: dict[int, Counter[str]]) -> dict[int, Counter[str]]:
    """What each node was asked since then."""
    return {port: counts - before[port] for port, counts in _commands(cluster).items()}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_goes_its_own_way(cluster: ClusterServer, cache: Cache) -> None:
    """After a fork parent and child read on, each over connections of its own."""
    f = cache.cached(name="f")(lambda x: [x])
    assert [f(x) for x in range(30)] == [[x] for x in range(30)]
    child = os.fork()
    if child == 0:
        try:
            good = [f(x) for x in range(30)] == [[x] for x in range(30)] and f.cache_info().hits == 30
        finally:
            os._exit(0 if good else 1)
    assert [f(x) for x in range(30)] == [[x] for x in range(30)]
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert f.cache_info().hits == 30


def test_a_scan_follows_slots_that_move_meanwhile(cluster: ClusterServer, call: Callable[..., Any]) -> None:
    """A key whose slot went from a node not yet looked at to one looked at before is found all the same."""
    backend: Any = make_backend(unhurried(cluster.url))
    names = [f"scan:{n}" for n in range(3000)]
    for name in names:
        cluster.onlooker.set(name, b"")
    cursor, found = call(backend, "scan", "scan:")
    first, last = cursor.nodes[0], cursor.nodes[-1]
    ports = {server.port: server for server in cluster.primaries()}
    slot = next(slot_of(name) for name in names if cluster.primary_of(slot_of(name)) is ports[last[1]])
    seen = set(found)
    while cursor is not None and cursor.nodes[0] == first:
        cursor, found = call(backend, "scan", "scan:", cursor)
        seen |= set(found)
    try:
        target = ports[first[1]]
        cluster.move([slot], target, step=1000)
        until(lambda: all(cluster.primary_of(slot, one) is target for one in cluster.servers), "not everybody knows")
        while cursor is not None:
            cursor, found = call(backend, "scan", "scan:", cursor)
            seen |= set(found)
        assert seen == set(names)
    finally:
        cluster.move([slot], ports[last[1]])
        backend.close()
