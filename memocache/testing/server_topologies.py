"""Fleets of real servers for tests: a cluster, and a master with a replica and three sentinels.

Both are made of `memocache.testing.servers` on free loopback ports, and are gone with the test. Each has the parts of
a `Server` that tests of any backend use (`url`, `client`, `suspend`, `resume`, `kill`, `restart`, `stop`)::

    with ClusterServer() as cluster:
        cluster.client().set("a", 1)
        cluster.primary_of(slot_of("a")).kill()
"""

from __future__ import annotations

import functools
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from memocache.testing import servers
from memocache.testing.servers import Server

if TYPE_CHECKING:
    import redis

SLOTS = 16384
SERVICE = "mymaster"
_READY = 30.0
_PAUSE = 0.01
# at once, and without a file that a server started anew would begin with
_REPLICATION = ("--repl-diskless-sync-delay", "0", "--rdb-del-sync-files", "yes")


def until(condition: Callable[[], Any], what: str, seconds: float = _READY) -> None:
    """Wait until `condition()` is true (an error of a server's client counts as not yet); raise RuntimeError if not."""
    import redis

    deadline = time.monotonic() + seconds
    error: Exception | None = None
    while True:
        try:
            if condition():
                return
        except (redis.RedisError, OSError) as failed:
            error = failed
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {seconds:g} s") from error
        time.sleep(_PAUSE)


class Member(NamedTuple):
    """One node of a cluster as the others see it; `of` is the id of the primary that a replica follows, else ``""``."""

    id: str
    server: Server
    of: str
    failed: bool
    slots: tuple[range, ...]


class _Fleet:
    """Servers that are started, stopped and suspended together."""

    def __init__(self) -> None:
        self.servers: list[Server] = []

    def suspend(self) -> None:
        """Stop every server in its tracks."""
        for server in self.servers:
            server.suspend()

    def resume(self) -> None:
        """Let every server go on."""
        for server in self.servers:
            server.resume()

    def kill(self) -> None:
        """End every server at once."""
        for server in self.servers:
            server.kill()

    def stop(self) -> None:
        """End every server and remove its files."""
        for server in self.servers:
            server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


class ClusterServer(_Fleet):
    """A cluster of `primaries` with one replica each, ready for use.

    `node_timeout` is seconds after which a silent node is thought failed: small for tests of failovers, and longer
    than a busy machine may pause a process for the others.
    Raises FileNotFoundError if there is no such server on this machine, RuntimeError if it does not come up.
    """

    def __init__(self, kind: str = "valkey", *, primaries: int = 3, node_timeout: float = 15.0) -> None:
        super().__init__()
        try:
            for _ in range(2 * primaries):
                self.servers.append(self._start(kind, node_timeout))
            self._join(primaries)
        except BaseException:
            self.stop()
            raise

    @staticmethod
    def _start(kind: str, node_timeout: float) -> Server:
        words = ["--cluster-enabled", "yes", "--cluster-port", str(servers._free_port())]
        words += ["--cluster-announce-ip", "127.0.0.1", "--cluster-node-timeout", str(int(node_timeout * 1000))]
        # a replica that the primary's last ping found far behind may stand for election all the same
        return servers.start(kind, *words, "--cluster-replica-validity-factor", "0", *_REPLICATION)

    def _join(self, primaries: int) -> None:
        clients: list[Any] = [server.client(decode_responses=True) for server in self.servers]
        bounds = [SLOTS * n // primaries for n in range(primaries + 1)]
        for n, client in enumerate(clients):
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", n + 1)
            if n < primaries:
                client.execute_command("CLUSTER ADDSLOTSRANGE", bounds[n], bounds[n + 1] - 1)
            if n:
                bus = client.config_get("cluster-port")["cluster-port"]
                clients[0].execute_command("CLUSTER MEET", "127.0.0.1", self.servers[n].port, bus)
        count = len(clients)
        ids = [client.execute_command("CLUSTER MYID") for client in clients]
        self._acquainted(ids)
        for n in range(primaries, count):
            clients[n].execute_command("CLUSTER REPLICATE", ids[n - primaries])
        for client in clients:
            client.close()
        self.settled()

    def _acquainted(self, ids: Iterable[str]) -> None:
        """Wait until every node knows all others by their names: who was only met has another one at first."""
        names = set(ids)
        until(
            lambda: all({member.id for member in self.view(server)} == names for server in self.servers),
            "the nodes do not know each other",
        )

    @property
    def url(self) -> str:
        """A URL that names every node."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    def client(self, **options: Any) -> redis.RedisCluster:
        """Return a new redis-py client of the whole cluster, with replies as bytes."""
        from redis.cluster import ClusterNode, RedisCluster

        make: Any = ClusterNode  # which has no types
        nodes = [make("127.0.0.1", server.port) for server in self.servers]
        return RedisCluster(startup_nodes=nodes, protocol=2, **options)

    def flush(self) -> None:
        """Empty every primary."""
        for server in self.primaries():
            with server.client() as client:
                client.flushall()

    @functools.cached_property
    def onlooker(self) -> redis.RedisCluster:
        """One client for many looks: to make one takes a while."""
        return self.client()

    def view(self, of: Server | None = None) -> list[Member]:
        """The nodes as `of` sees them, or the first that answers."""
        import redis

        for server in self.servers if of is None else [of]:
            try:
                with server.client(decode_responses=True, socket_timeout=1) as client:
                    lines = client.connection_pool.get_connection()
                    lines.send_command("CLUSTER", "NODES")
                    return [self._member(line) for line in str(lines.read_response()).splitlines()]
            except (redis.RedisError, OSError):
                continue
        raise RuntimeError("no node of the cluster answers")

    def _member(self, line: str) -> Member:
        name, place, flags, of, _, _, _, _, *slots = line.split()
        port = int(place.split("@")[0].rpartition(":")[2])
        server = next(one for one in self.servers if one.port == port)
        ranges = [slot.split("-") for slot in slots if not slot.startswith("[")]
        held = tuple(range(int(ends[0]), int(ends[-1]) + 1) for ends in ranges)
        return Member(name, server, "" if of == "-" else of, "fail" in flags.split(","), held)

    def primaries(self, of: Server | None = None) -> list[Server]:
        """The primaries that hold slots, as `of` or the first that answers sees them."""
        return [member.server for member in self.view(of) if not member.of and member.slots and not member.failed]

    def primary_of(self, slot: int, of: Server | None = None) -> Server:
        """The primary that holds a slot, as `of` or the first that answers sees it; raises RuntimeError while there is
        none.
        """
        for member in self.view(of):
            if not member.of and any(slot in held for held in member.slots):
                return member.server
        raise RuntimeError("nobody holds that slot")

    def replica_of(self, primary: Server) -> Server:
        """A replica of a primary that runs; raises RuntimeError if it has none."""
        members = self.view()
        name = next(member.id for member in members if member.server is primary)
        for member in members:
            if member.of == name and not member.failed:
                return member.server
        raise RuntimeError("that primary has no replica")

    def settled(self, seconds: float = _READY) -> None:
        """Wait until every node finds the cluster healthy and every replica is in step with its primary."""
        until(lambda: all(_healthy(server) for server in self.servers), "the cluster is not healthy", seconds)

    def failover(self, primary: Server) -> Server:
        """Have a replica take over from a primary that runs, losing nothing; return the new primary."""
        replica = self.replica_of(primary)
        with replica.client() as client:
            client.execute_command("CLUSTER FAILOVER")
        until(lambda: all(replica in self.primaries(one) for one in self.servers), "the replica has not taken over")
        self.settled()
        return replica

    def move(self, slots: Iterable[int], target: Server, step: int = 10, pause: float = 0.0) -> None:
        """Move slots with what is in them to another primary, `step` keys at a time with `pause` seconds between, as
        ``--cluster reshard`` does.
        """
        ids = {member.server.port: member.id for member in self.view()}
        for slot in slots:
            source = self.primary_of(slot)
            if source is target:
                continue
            with source.client() as old, target.client() as new:
                new.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[source.port])
                old.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[target.port])
                while keys := old.execute_command("CLUSTER GETKEYSINSLOT", slot, step):
                    old.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "REPLACE", "KEYS", *keys)
                    time.sleep(pause)
                new.execute_command("CLUSTER SETSLOT", slot, "NODE", ids[target.port])
                old.execute_command("CLUSTER SETSLOT", slot, "NODE", ids[target.port])

    def restart(self) -> None:
        """End what runs and start every node anew, empty, with the slots they had; wait until they are healthy."""
        self.kill()
        for server in self.servers:
            server.restart()
        self.settled()


class SentinelTrio(_Fleet):
    """A master, its replica and three sentinels that watch over them under the name `SERVICE`.

    `down_after` is seconds of silence after which a sentinel thinks the master down; see `ClusterServer`.
    """

    def __init__(self, kind: str = "valkey", *, down_after: float = 15.0, password: str | None = None) -> None:
        super().__init__()
        self.sentinels: list[Server] = []
        self._password = password
        try:
            master = servers.start(kind, *_REPLICATION)
            self.servers = [master]
            self.servers.append(servers.start(kind, *_REPLICATION, "--replicaof", "127.0.0.1", str(master.port)))
            sentinel = _sentinel(servers._KINDS[kind])
            # each knows the others from the start; else they would learn of each other by messages every 2 s
            places = [(servers._free_port(), secrets.token_hex(20)) for _ in range(3)]
            for place in places:
                self.sentinels.append(sentinel(places, place, self.servers, down_after, password))
            until(self._ready, "the sentinels are not ready")
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """A URL that names every sentinel."""
        return "redis+sentinel://" + ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels) + f"/{SERVICE}/0"

    def client(self, **options: Any) -> redis.Redis:
        """Return a new redis-py client of the master, with replies as bytes."""
        return self.master().client(**options)

    def master(self) -> Server:
        """The server that the sentinels call master now."""
        for sentinel in self.sentinels:
            if sentinel._process is not None:
                port = self._asked(sentinel, "GET-MASTER-ADDR-BY-NAME")[1]
                return next(server for server in self.servers if server.port == int(port))
        raise RuntimeError("no sentinel runs")

    def failover(self) -> Server:
        """Have the replica take over from a master that runs; return the new master."""
        old = self.master()
        self._asked(self.sentinels[0], "FAILOVER")
        until(lambda: self.master() is not old, "no failover")
        return self.master()

    def restart(self) -> None:
        """End master and replica and start them anew, empty."""
        for server in self.servers:
            server.kill()
        for server in self.servers:
            server.restart()
        until(self._ready, "the sentinels are not ready")

    def stop(self) -> None:
        """End every server and sentinel."""
        super().stop()
        for sentinel in self.sentinels:
            sentinel.stop()

    def _asked(self, sentinel: Server, word: str) -> Any:
        with sentinel.client(decode_responses=True, password=self._password, socket_timeout=1) as client:
            connection = client.connection_pool.get_connection()
            connection.send_command("SENTINEL", word, SERVICE)
            return connection.read_response()

    def _ready(self) -> bool:
        with self.master().client() as client:
            role: Any = client.execute_command("ROLE")
        if role[0] != b"master" or not role[2]:
            return False
        return all(str(self._asked(one, "CKQUORUM")).startswith("OK") for one in self.sentinels)


def _sentinel(base: type[Server]) -> Any:
    """Return the class of sentinels that are run by the binary of `base`."""

    class Sentinel(base):  # type: ignore[misc, valid-type]  # the kind of server is known at run time only
        def __init__(
            self,
            places: list[tuple[int, str]],
            place: tuple[int, str],
            watched: list[Server],
            down_after: float,
            password: str | None,
        ) -> None:
            self._place = place
            master = f"sentinel %s {SERVICE}"
            lines = [f"sentinel myid {place[1]}", f"{master % 'monitor'} 127.0.0.1 {watched[0].port} 2"]
            lines += [f"{master % 'down-after-milliseconds'} {int(down_after * 1000)}"]
            lines += [f"{master % 'failover-timeout'} {int(down_after * 4000)}"]
            lines += [f"{master % 'known-replica'} 127.0.0.1 {one.port}" for one in watched[1:]]
            lines += [
                f"{master % 'known-sentinel'} 127.0.0.1 {port} {name}" for port, name in places if port != place[0]
            ]
            if password is not None:
                lines += [f"requirepass {password}", f"sentinel sentinel-pass {password}"]
            self._lines = lines
            super().__init__()

        def _words(self) -> list[str]:
            self.port = self._place[0]
            file = Path(self._home.name, "sentinel.conf")
            if not file.exists():  # it is the sentinel's own memory once it runs
                file.write_text("\n".join(self._lines) + "\n", encoding="utf-8")
            words = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self._home.name]
            return [str(file), *words, "--daemonize", "no", "--sentinel"]

    return Sentinel


def _healthy(server: Server) -> bool:
    with server.client(decode_responses=True, socket_timeout=1) as client:
        connection = client.connection_pool.get_connection()
        connection.send_command("CLUSTER", "INFO")
        if "cluster_state:ok" not in str(connection.read_response()):
            return False
        connection.send_command("ROLE")
        role: Any = connection.read_response()
        return bool(role[2]) if role[0] == "master" else role[3] == "connected"
