"""``?wait=1``: an invalidation that returned is on a replica, also one that repeats another that raised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from memocache import Cache
from memocache.exceptions import BackendError
from memocache.testing import FaultProxy, servers
from memocache.testing.server_topologies import ClusterServer, until

_KIND = servers.available_servers()[0]
_SLOW = ("--repl-timeout", "60", "--repl-diskless-sync-delay", "0")


class Pair:
    """A primary, its replica, and the line between them."""

    def __init__(self, primary: servers.Server, replica: servers.Server, link: FaultProxy) -> None:
        self.url = primary.url + "?timeout=20&connect_timeout=20&wait=1&wait_timeout="
        self.link = link
        self.admin = primary.client()
        with replica.client() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", link.port)
        until(self.in_step, "the replica is not in step")

    def in_step(self) -> bool:
        """Whether the replica has what was just written."""
        self.admin.set("sync", 1)
        return int(self.admin.wait(1, 1000)) == 1


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A primary with a replica in step."""
    with servers.start(_KIND, *_SLOW) as primary, servers.start(_KIND) as replica, FaultProxy(primary.port) as link:
        pair = Pair(primary, replica, link)
        yield pair
        pair.admin.close()


WAYS: dict[str, Callable[[Cache, Any], Any]] = {
    "f.invalidate": lambda cache, f: f.invalidate(1),
    "f.invalidate_all": lambda cache, f: f.invalidate_all(),
    "invalidate a name": lambda cache, f: cache.invalidate("f"),
    "invalidate a tag": lambda cache, f: cache.invalidate(tag="t"),
    "clear": lambda cache, f: cache.clear(),
    "delete": lambda cache, f: cache.delete("plain"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_repetition_waits_as_well(pair: Pair, way: str) -> None:
    """While nothing reaches the replica an invalidation raises, and so does each repetition, which finds nothing left
    to remove; once the line is mended the next one returns.
    """
    with Cache(pair.url + "0.3") as cache:
        f = cache.cached(ttl=600, name="f", tags=["t"])(lambda key: key)
        f(1)
        cache.set("plain", 1)
        pair.link.fault("stall")
        for _ in range(3):
            with pytest.raises(BackendError):
                WAYS[way](cache, f)
    pair.link.heal()
    with Cache(pair.url + "20") as cache:
        f = cache.cached(ttl=600, name="f", tags=["t"])(lambda key: key)
        WAYS[way](cache, f)


def test_a_full_server_confirms_too(pair: Pair) -> None:
    """Removing what is not there is confirmed by a server that takes no more writes: the nudge needs no room."""
    pair.admin.config_set("maxmemory", 1)
    with Cache(pair.url + "20") as cache:
        assert cache.delete("nothing") is False


def test_a_cluster_confirms_what_is_not_there() -> None:
    """In a cluster an invalidation of what is not there waits too, and leaves nothing behind after a moment."""
    with ClusterServer(_KIND) as cluster:
        url = cluster.url + "?timeout=20&connect_timeout=20&wait=1&wait_timeout="
        with Cache(url + "20") as cache:
            cache.delete("nothing")
            cache.invalidate(tag="nothing")
            cache.clear()
        with Cache(url.replace("wait=1", "wait=9") + "0.01") as cache, pytest.raises(BackendError):
            cache.delete("nothing")
