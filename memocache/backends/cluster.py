"""`ClusterBackend`: a Redis or Valkey cluster, for threads and for any number of event loops.

It is `RedisBackend` with other parts. `_cluster.operations` makes a plan of each operation, `_cluster.router` finds the
nodes and mends the table of slots; both have no colour. Here are the two drivers that carry a plan out over the nodes'
own connections. A read or transaction within one bucket is one command to one node; what concerns many buckets goes to
all nodes at the same time, one round trip each.

It raises what `RedisBackend` raises, and `NodeFailure` for trouble of one node.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

from memocache.backends._cluster.node_plans import Job, Plan
from memocache.backends._cluster.operations import Call, ClusterCommands
from memocache.backends._cluster.router import Router
from memocache.backends._cluster.slots import slot_of
from memocache.backends._redis.server_checks import findings, slots, worst
from memocache.backends._settings import ClusterSettings, cluster_settings
from memocache.backends.redis import AsyncRedis, RedisBackend
from memocache.typing import Finding, ReadSoon, Watcher

T = TypeVar("T")


class ClusterBackend(RedisBackend):
    """A `memocache.typing.Backend` over a cluster; ``clustered``: keys live in 256 buckets, a hash tag each."""

    clustered = True

    def __init__(self, settings: ClusterSettings) -> None:
        router, timeout = Router(settings.seeds, settings.node), settings.node.timeout
        # in the places of commands, pool, listener and lanes stand what has the same methods
        say: Any = ClusterCommands(router, settings.node.wait)
        threads: Any = _Threads(router, timeout)
        listeners: Any = _Listeners(router)
        loops: Any = _Loops(router, timeout)
        self._router, self._node, self._credentials = router, settings.node, settings.node.credentials
        self._assemble(timeout, say, threads, listeners, _AsyncCluster, loops)
        self.tls = settings.node.tls

    @classmethod
    def from_url(cls, url: str) -> ClusterBackend:
        """Return the backend for a redis+cluster or rediss+cluster URL; raise ConfigurationError."""
        return cls(cluster_settings(url))

    def _track(self, starts: Sequence[str], watcher: Watcher) -> Callable[[], None] | None:
        return self._router.watch(starts, watcher)

    def nodes_left_alone(self) -> dict[str, bool]:
        """Whether this process leaves each primary known by now alone, by its address."""
        return self._router.left_alone()

    def _renew(self) -> None:
        """Nothing to do: one node says nothing about the others' connections, and each has a probe of its own."""

    def checkup(self, *, timeout: float | None = None) -> list[Finding]:
        """As of `RedisBackend`, of every primary: of each thing, what the node that is worst off says."""
        nodes, unheld = self._pool.run(cast(Any, self._say).checkup(), timeout)
        found = {}
        for node, (info, config, whoami, ahead) in nodes.items():
            found[node] = findings(info, config, whoami, ahead, replace(self._node, host=node))
        return [slots(len(nodes), unheld), *worst(found)]

    def close(self) -> None:
        """See `RedisBackend.close`."""
        self._router.rest()
        super().close()

    def together(self, calls: Sequence[Call], *, timeout: float | None = None) -> list[Any]:
        """Return the results of several operations ``(name, arguments, keywords)``, carried out at the same time."""
        done: list[Any] = self._pool.run(cast(Any, self._say).together(calls), timeout)
        return done


class _AsyncCluster(AsyncRedis):
    @property
    def read_soon(self) -> ReadSoon | None:
        """None: a command goes to one node, and every entry to its own."""
        return None

    async def together(self, calls: Sequence[Call], *, timeout: float | None = None) -> list[Any]:
        """See `ClusterBackend.together`."""
        done: list[Any] = await self.multiplexer.run(cast(Any, self._say).together(calls), timeout)
        return done


class _Threads:
    """Carries out plans in the calling thread."""

    def __init__(self, router: Router, timeout: float) -> None:
        self._router = router
        self._timeout = timeout

    def run(self, plan: Plan[T], timeout: float | None = None) -> T:
        """Return the plan's result, within `timeout` seconds; raise what it raises."""
        deadline = time.monotonic() + (self._timeout if timeout is None else timeout)
        reply: Any = None
        try:
            while True:
                wish = plan.send(reply)
                if not isinstance(wish, list):
                    reply = _left_after(wish, deadline)
                    if reply:
                        time.sleep(wish)
                elif len(wish) == 1:
                    node, op = wish[0]
                    try:
                        reply = [node.pool.run(op, deadline - time.monotonic())]
                    except Exception as failure:
                        reply = [failure]
                else:
                    reply = _scattered(wish, deadline)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def close(self) -> None:
        """Let go of the connections of threads."""
        for node in self._router.nodes():
            node.pool.close()


def _scattered(jobs: Sequence[Job], deadline: float) -> list[Any]:
    """Ask every node before waiting for the first answer."""
    steps = {index: job.node.pool.steps(job.op, deadline) for index, job in enumerate(jobs)}
    outcomes: list[Any] = [None] * len(jobs)
    while steps:
        for index, step in list(steps.items()):
            try:
                next(step)
                continue
            except StopIteration as stop:
                outcomes[index] = stop.value
            except Exception as failure:
                outcomes[index] = failure
            del steps[index]
    return outcomes


class _Loops:
    """Carries out plans in the calling task."""

    def __init__(self, router: Router, timeout: float) -> None:
        self._router = router
        self._timeout = timeout

    async def run(self, plan: Plan[T], timeout: float | None = None) -> T:
        """Return the plan's result, within `timeout` seconds; raise what it raises."""
        deadline = time.monotonic() + (self._timeout if timeout is None else timeout)
        reply: Any = None
        try:
            while True:
                wish = plan.send(reply)
                if not isinstance(wish, list):
                    reply = _left_after(wish, deadline)
                    if reply:
                        await asyncio.sleep(wish)
                elif len(wish) == 1:
                    node, op = wish[0]
                    try:
                        reply = [await node.multiplexer.run(op, deadline - time.monotonic())]
                    except Exception as failure:
                        reply = [failure]
                else:
                    left = deadline - time.monotonic()
                    asked = (job.node.multiplexer.run(job.op, left) for job in wish)
                    reply = await asyncio.gather(*asked, return_exceptions=True)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def close(self) -> None:
        """Let go of the connections of every loop."""
        for node in self._router.nodes():
            node.multiplexer.close()

    def close_here(self) -> None:
        """Let go of the running loop's connections."""
        for node in self._router.nodes():
            node.multiplexer.close_here()

    def doubt(self) -> None:
        """Send nothing more over the connections of now."""
        for node in self._router.nodes():
            node.multiplexer.doubt()


def _left_after(pause: float, deadline: float) -> float:
    return max(0.0, deadline - time.monotonic() - pause)


class _Listeners:
    """Sharded pub/sub: a channel is heard at the node that holds its slot when it is subscribed to.

    None (so that the caller polls) before anything else was asked of the cluster. When the slot moves meanwhile nothing
    more is heard, and the caller, who polls as well, finds out by that.
    """

    def __init__(self, router: Router) -> None:
        self._router = router

    def subscribe(self, channel: str, wake: Callable[[], None]) -> Callable[[], None] | None:
        """See `memocache.backends._redis.pubsub.Listener.subscribe`."""
        node = self._router.holder(slot_of(channel))
        return None if node is None or node.breaker.open else node.listener.subscribe(channel, wake)

    def close(self) -> None:
        """Forget every listener."""
        for node in self._router.nodes():
            node.listener.close()
