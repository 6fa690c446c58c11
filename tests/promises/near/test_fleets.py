"""Near tiers of a cluster and of a master behind sentinels: who is listened to, and what follows from a loss."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from memocache import Cache
from memocache.backends._cluster import client_tracking as _tracking
from memocache.backends._cluster.slots import slot_of
from memocache.testing import servers
from memocache.testing.server_topologies import ClusterServer, SentinelTrio, until
from memocache.testing.servers import Server
from tests.patience import patient, unhurried  # noqa: F401  # the first is autouse
from tests.promises.near.support import Heard, believing, hasten, held  # noqa: F401  # the second is autouse

pytestmark = pytest.mark.skipif(not servers.available_servers(), reason="no server")

_CALLS = range(24)
"""So many that every primary of three has some of their entries."""
_TRUST = 0.3
"""Seconds that copies are believed where that is what is tested."""
_TRACKING = {"t", "B"}
"""The flags of a connection that tracks."""


@pytest.fixture(params=["cluster", "sentinel"])
def fleet(request: pytest.FixtureRequest, running_server: Callable[[str], Any]) -> ClusterServer | SentinelTrio:
    """The session's fleet of each kind, emptied; slots and masters may have moved."""
    return emptied(running_server(request.param))


@pytest.fixture
def cluster(running_server: Callable[[str], Any]) -> ClusterServer:
    """The session's cluster, emptied."""
    cluster = emptied(running_server("cluster"))
    assert isinstance(cluster, ClusterServer)
    return cluster


@pytest.fixture
def trio(running_server: Callable[[str], Any]) -> SentinelTrio:
    """The session's trio, emptied."""
    trio = emptied(running_server("sentinel"))
    assert isinstance(trio, SentinelTrio)
    return trio


@pytest.fixture
def caches() -> Iterator[Callable[[str], tuple[Cache, Heard]]]:
    """Makes caches that have heard of their fleet."""
    with contextlib.ExitStack() as stack:

        def make(url: str) -> tuple[Cache, Heard]:
            cache = stack.enter_context(Cache(unhurried(url), local=1000))
            heard = Heard(cache)
            heard.settle()
            return cache, heard

        yield make


def emptied(fleet: ClusterServer | SentinelTrio) -> ClusterServer | SentinelTrio:
    """The fleet with nothing in it."""
    if isinstance(fleet, ClusterServer):
        fleet.flush()
    else:
        with fleet.client() as client:
            client.flushall()
    return fleet


def primaries(fleet: ClusterServer | SentinelTrio) -> list[Server]:
    """Who must be listened to."""
    return fleet.primaries() if isinstance(fleet, ClusterServer) else [fleet.master()]


def trackers(server: Server) -> int:
    """How many connections to a server track."""
    with server.client() as client:
        return sum(bool(_TRACKING & set(one["flags"])) for one in client.client_list())


def counter(cache: Cache) -> Any:
    """A function that gives another number each time it is computed."""
    numbers = itertools.count()
    return cache.cached(name="f", ttl=600)(lambda x: next(numbers))


def copied(heard: Heard, function: Any, calls: range = _CALLS) -> list[int]:
    """The answers to some calls, of each of which there is a copy that no message under way ends."""
    answers: list[int] = []

    def all_held() -> bool:
        answers[:] = [function(x) for x in calls]
        heard.settle()
        return held(function) >= len(calls) and [function(x) for x in calls] == answers and heard.near.trusted()

    until(all_held, "not all calls were copied")
    return answers


def changes_are_told(heard: Heard, function: Any, client: Any) -> None:
    """Delete every entry as another program would; no copy may be served once that was told."""
    old = copied(heard, function)
    for x in _CALLS:
        assert client.delete(function.key_for(x)) == 1
    heard.settle()
    assert not {function(x) for x in _CALLS} & set(old), "stale"


def test_copies_are_served_until_anybody_changes_them(
    fleet: ClusterServer | SentinelTrio, caches: Callable[..., tuple[Cache, Heard]]
) -> None:
    """Hits ask no server, and what another program deletes at any primary is gone here once that was told."""
    cache, heard = caches(fleet.url)
    function = counter(cache)
    answers = copied(heard, function)
    backend: Any = cache._guard.backend  # type: ignore[union-attr]  # it has one
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "read", None)
        assert [function(x) for x in _CALLS] == answers
    assert not heard.near._lease
    with fleet.client() as client:
        changes_are_told(heard, function, client)


def test_a_build_that_listens_to_one_primary_is_caught(
    cluster: ClusterServer, caches: Callable[..., tuple[Cache, Heard]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one primary stands for all, copies of what the others hold are stale."""

    def answered(self: _tracking.ClusterTracking, part: Any, since: float, view: Any) -> None:
        watcher = self._watcher()
        if watcher is not None:
            watcher.heard(since)

    monkeypatch.setattr(_tracking.ClusterTracking, "answered", answered)
    cache, heard = caches(f"redis+cluster://127.0.0.1:{cluster.primaries()[0].port}")
    with cluster.client() as client, pytest.raises(AssertionError, match="stale"):
        changes_are_told(heard, counter(cache), client)


@pytest.mark.parametrize("which", [0, -1])
def test_every_primary_must_be_heard(
    fleet: ClusterServer | SentinelTrio,
    caches: Callable[..., tuple[Cache, Heard]],
    monkeypatch: pytest.MonkeyPatch,
    which: int,
) -> None:
    """While one primary stands still, whichever, copies are believed for the trust window and no longer."""
    hasten(monkeypatch, trust=_TRUST)
    heard = caches(fleet.url)[1]
    primary = primaries(fleet)[which]
    primary.suspend()
    try:
        until(lambda: not heard.near.trusted(), "copies were believed without a primary", 10.0)
    finally:
        primary.resume()
    until(heard.near.trusted, "no copy was believed again")


def test_a_build_that_believes_the_last_word_is_caught(
    cluster: ClusterServer, caches: Callable[..., tuple[Cache, Heard]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the latest of all primaries counts, one that stands still goes unnoticed."""
    hasten(monkeypatch, trust=_TRUST)
    monkeypatch.setattr(_tracking, "min", max, raising=False)
    heard = caches(cluster.url)[1]
    primary = cluster.primaries()[0]
    primary.suspend()
    try:
        time.sleep(2 * _TRUST)
        until(heard.near.trusted, "the last word was not enough")
    finally:
        primary.resume()


def test_a_lost_connection_forgets_what_every_primary_holds(
    fleet: ClusterServer | SentinelTrio, caches: Callable[..., tuple[Cache, Heard]]
) -> None:
    """What was changed while one primary was not heard is not served after it is heard again."""
    cache, heard = caches(fleet.url)
    function = counter(cache)
    for primary in primaries(fleet):
        old = copied(heard, function)
        losses = heard.losses
        with primary.client() as alone, alone.pipeline(transaction=False) as together:
            here = {key.decode() for key in alone.scan_iter("memo:e:*")}
            mine = [x for x in _CALLS if function.key_for(x) in here]
            for one in alone.client_list():
                if _TRACKING & set(one["flags"]):
                    together.client_kill_filter(_id=one["id"])
            for x in mine:
                together.delete(function.key_for(x))
            assert set(together.execute()) == {1}
        heard.wait_for_loss(losses)
        heard.settle()
        assert not {function(x) for x in mine} & set(old)


def test_a_replica_that_takes_over_is_listened_to(
    fleet: ClusterServer | SentinelTrio, caches: Callable[..., tuple[Cache, Heard]]
) -> None:
    """After a failover in good order copies are served again, and what is changed at the new primary is told."""
    cache, heard = caches(fleet.url)
    function = counter(cache)
    copied(heard, function)
    new = fleet.failover(fleet.primaries()[0]) if isinstance(fleet, ClusterServer) else fleet.failover()
    until(lambda: trackers(new) == 1, "the new primary is not listened to")
    heard.settle()
    with fleet.client() as client:
        changes_are_told(heard, function, client)
    until(lambda: sum(map(trackers, fleet.servers)) == len(primaries(fleet)), "the old primary is still listened to")


def test_slots_on_the_move_lose_no_message(cluster: ClusterServer, caches: Callable[..., tuple[Cache, Heard]]) -> None:
    """While the slots of all entries go round the primaries, every deletion is seen once it was told."""
    cache, heard = caches(cluster.url)
    source = dict.fromkeys(_CALLS, 0)
    function = cache.cached(name="moving", ttl=600)(lambda x: source[x])
    slots = {slot_of(function.key_for(x)) for x in _CALLS}
    copied(heard, function)
    moved: list[BaseException | None] = []

    def move() -> None:
        try:
            for target in cluster.primaries():
                cluster.move(slots, target)
            moved.append(None)
        except BaseException as error:
            moved.append(error)

    mover = threading.Thread(target=move)
    mover.start()
    rounds = 0
    try:
        with cluster.client() as client:
            while not moved or rounds < 2:
                for x in _CALLS:
                    source[x] += 1
                    client.delete(function.key_for(x))
                heard.settle()
                assert {x: function(x) for x in _CALLS} == source
                rounds += 1
    finally:
        mover.join()
    assert moved == [None]


class Newcomer:
    """A cluster of one primary, and a second one without slots that begins to get that of `key`."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        cluster = self.cluster = stack.enter_context(ClusterServer(servers.available_servers()[0], primaries=1))
        self.old = cluster.primaries()[0]
        self.new = cluster._start(servers.available_servers()[0], 15.0)
        cluster.servers.append(self.new)
        with self.old.client(decode_responses=True) as client:
            bus = self.new.client().config_get("cluster-port")
            client.execute_command("CLUSTER MEET", "127.0.0.1", self.new.port, int(*bus.values()))
        self.names = {}
        for server in cluster.servers:
            with server.client(decode_responses=True) as client:
                self.names[server.port] = client.execute_command("CLUSTER MYID")
        cluster._acquainted(self.names.values())
        with self.new.client() as client:
            until(lambda: client.cluster("INFO")["cluster_state"] == "ok", "the newcomer does not serve")

    def half_way(self, key: str) -> None:
        """Move what is in the key's slot, and the slot not yet."""
        slot = slot_of(key)
        with self.old.client() as old, self.new.client() as new:
            new.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", self.names[self.old.port])
            old.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", self.names[self.new.port])
            keys = old.execute_command("CLUSTER GETKEYSINSLOT", slot, 100)
            old.execute_command("MIGRATE", "127.0.0.1", self.new.port, "", 0, 5000, "KEYS", *keys)

    def all_the_way(self, key: str) -> None:
        """Move the slot too."""
        for server in (self.new, self.old):
            with server.client() as client:
                client.execute_command("CLUSTER SETSLOT", slot_of(key), "NODE", self.names[self.new.port])
        until(lambda: len(self.cluster.primaries(self.old)) == 2, "the old one does not know")

    def delete(self, key: str) -> None:
        """Delete it at the newcomer."""
        with self.new.client() as client, client.pipeline(transaction=False) as pipeline:
            pipeline.execute_command("ASKING")
            pipeline.delete(key)
            assert pipeline.execute()[-1] == 1


def newcomer_is_heard(newcomer: Newcomer, caches: Callable[..., tuple[Cache, Heard]], x: int) -> None:
    """Copy what the newcomer holds, and change it there: before the slot is its own, and after."""
    cache, heard = caches(newcomer.cluster.url)
    function, one = counter(cache), range(x, x + 1)
    key = function.key_for(x)
    copied(heard, function, one)
    newcomer.half_way(key)
    for step in (lambda key: None, newcomer.all_the_way):
        step(key)
        heard.settle()
        (old,) = copied(heard, function, one)
        newcomer.delete(key)
        heard.settle()
        assert function(x) != old, "stale"


def test_a_new_primary_is_listened_to_before_anything_is_copied_from_it(
    caches: Callable[..., tuple[Cache, Heard]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that begins to get its first slot is in no table, yet no copy of what it holds is stale; a build that does
    not heed redirections is caught.
    """
    with contextlib.ExitStack() as stack:
        newcomer = Newcomer(stack)
        with monkeypatch.context() as broken:
            broken.setattr(_tracking.ClusterTracking, "met", lambda self, address: None)
            with pytest.raises(AssertionError, match="stale"):
                newcomer_is_heard(newcomer, caches, 1)
        newcomer_is_heard(newcomer, caches, 0)


def test_one_node_that_denies_tracking_is_a_cluster_that_cannot_tell(
    cluster: ClusterServer, caches: Callable[..., tuple[Cache, Heard]]
) -> None:
    """Copies are believed for the trust window after they were read, whoever else would tell."""
    user = ["ACL", "SETUSER", "limited", "on", ">secret", "~*", "&*", "+@all"]
    nodes = cluster.primaries()
    for number, server in enumerate(nodes):
        with server.client() as client:
            client.execute_command(*user, *(["-client|tracking"] if number == 1 else []))
    try:
        heard = caches(f"redis+cluster://limited:secret@127.0.0.1:{nodes[0].port}")[1]
        until(lambda: heard.near._lease, "nobody noticed")
        until(lambda: sum(map(trackers, nodes)) == 0, "some are listened to for nothing")
    finally:
        for server in nodes:
            with server.client() as client:
                client.execute_command("ACL", "DELUSER", "limited")


def test_what_replicas_say_is_not_believed_for_long(
    trio: SentinelTrio, caches: Callable[..., tuple[Cache, Heard]]
) -> None:
    """With ``replicas=read`` copies are believed for the trust window: a replica may be behind the master's word."""
    with Cache(f"{trio.url}?replicas=read", local=10) as cache:
        cache.get("k")
        assert cache._near._lease  # type: ignore[union-attr]  # it has one
        assert trackers(trio.master()) == 0


def test_closing_ends_every_channel_and_use_opens_them(
    fleet: ClusterServer | SentinelTrio, caches: Callable[..., tuple[Cache, Heard]]
) -> None:
    """One tracking connection at each primary and none elsewhere; none after `close`, again when it is used."""
    cache, heard = caches(fleet.url)
    function = counter(cache)
    for _ in range(2):
        copied(heard, function)
        until(lambda: [trackers(one) for one in primaries(fleet)] == [1] * len(primaries(fleet)), "not each once")
        until(lambda: sum(map(trackers, fleet.servers)) == len(primaries(fleet)), "a replica is listened to")
        cache.close()
        until(lambda: not any(map(trackers, fleet.servers)), "a channel outlived its cache")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_listens_for_itself(cluster: ClusterServer, caches: Callable[..., tuple[Cache, Heard]]) -> None:
    """A fork's child has channels of its own when it looks, and ends none of its parent's."""
    cache, heard = caches(cluster.url)
    function = counter(cache)
    copied(heard, function)
    losses = heard.losses
    child = os.fork()
    if child == 0:
        try:
            copied(heard, function)
            os._exit(0 if sum(map(trackers, cluster.servers)) == 2 * len(cluster.primaries()) else 2)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    with cluster.client() as client:
        changes_are_told(heard, function, client)
    assert heard.losses == losses
