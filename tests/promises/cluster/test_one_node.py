"""A node, or all of them, that cannot be reached, with as little patience as calls have (so no hurry is taken away)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from memocache import BackendError, Cache
from memocache._runtime.budget import Budget
from memocache.backends._cluster.slots import slot_of
from memocache.testing import servers
from memocache.testing.server_topologies import ClusterServer, until

pytestmark = pytest.mark.skipif(not servers.available_servers(), reason="no server")


@pytest.fixture
def cluster(running_server: Callable[[str], Any]) -> ClusterServer:
    """The session's cluster, emptied."""
    cluster: ClusterServer = running_server("cluster")
    cluster.flush()
    return cluster


@pytest.fixture(autouse=True)
def _some_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call may take 3 s of its backend: a busy machine is none that has stopped."""
    monkeypatch.setattr(Budget.__init__, "__defaults__", (3.0,))


def test_a_stopped_node_does_not_keep_hits_from_the_others(cluster: ClusterServer) -> None:
    """With one of three primaries stopped, every call answers, entries elsewhere are hits, and only the first call
    to the stopped one waits: the breaker is the node's own.
    """
    with Cache(cluster.url + "?timeout=5&connect_timeout=5", max_wait=1) as cache:
        f = cache.cached(name="f")(lambda x: [x])
        for x in range(60):
            f(x)
        victim = cluster.primary_of(slot_of(f.key_for(0)))
        owners = {slot: member.server for member in cluster.view() for held in member.slots for slot in held}
        here = [x for x in range(60) if owners[slot_of(f.key_for(x))] is victim]
        elsewhere = [x for x in range(60) if x not in here]
        victim.suspend()
        try:
            assert f(here[0]) == [here[0]]
            router: Any = cache._guard.backend._say._router  # type: ignore[union-attr]  # shared
            node = router.node_at(("127.0.0.1", victim.port))
            assert node.breaker.open
            assert not cache._guard.breaker.open  # type: ignore[union-attr]  # shared
            before = f.cache_info().hits
            assert [f(x) for x in elsewhere] == [[x] for x in elsewhere]
            assert f.cache_info().hits == before + len(elsewhere)
            assert [f(x) for x in here] == [[x] for x in here]
            assert f.cache_info().hits == before + len(elsewhere)
            with pytest.raises(BackendError):
                f.invalidate_all()
        finally:
            victim.resume()
        until(lambda: f(here[0]) and not node.breaker.open, "the node is not used again")
        before = f.cache_info().hits
        f(here[0])
        f(here[0])
        assert f.cache_info().hits > before


def test_a_cluster_that_is_not_there_costs_one_wait() -> None:
    """Nobody at any seed: calls are computed, direct operations raise, and only one of them waits to find out."""
    with Cache("redis+cluster://127.0.0.1:1,127.0.0.1:2") as cache:
        f = cache.cached(lambda x: x * 2)
        assert [f(x) for x in range(50)] == [x * 2 for x in range(50)]
        with pytest.raises(BackendError, match="NotConnected"):
            cache.get("k")
        assert not cache.health().ok


def test_why_no_node_tells_is_said(cluster: ClusterServer) -> None:
    """A wrong password is said in words, a server that is no cluster by its error's code; calls are computed."""
    place = cluster.url.partition("://")[2]
    with servers.start(servers.available_servers()[0]) as single:
        wrong, alone = f"redis+cluster://nobody:wrong@{place}", f"redis+cluster://127.0.0.1:{single.port}"
        for url, words in {wrong: "wrong user name or password", alone: "ERR"}.items():
            with Cache(url + "?timeout=5&connect_timeout=5") as cache:
                with pytest.raises(BackendError, match=words):
                    cache.get("k")
                assert cache.cached(lambda x: x * 2)(4) == 8
