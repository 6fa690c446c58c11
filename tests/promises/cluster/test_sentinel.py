"""What is particular about a master behind sentinels: finding it, leaving the old one, replicas, passwords."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from memocache import BackendError, Cache
from memocache.backends._registry import make_backend
from memocache.testing import servers
from memocache.testing.server_topologies import SERVICE, SentinelTrio, until
from memocache.typing import Put
from tests.patience import unhurried
from tests.worlds import each_server

_KINDS = each_server()


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """`call(backend, name, *args)`: that method, in each colour, on one event loop."""
    with asyncio.Runner() as runner:

        def invoke(backend: Any, name: str, *args: Any, **options: Any) -> Any:
            if request.param == "sync":
                return getattr(backend, name)(*args, **options)
            return runner.run(getattr(backend.aio, name)(*args, **options))

        yield invoke


@pytest.fixture
def trio(running_server: Callable[[str], Any]) -> SentinelTrio:
    """The session's trio, emptied."""
    if not servers.available_servers():
        pytest.skip("no server")
    trio: SentinelTrio = running_server("sentinel")
    with trio.client() as client:
        client.flushall()
    return trio


def _dead_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def test_sentinels_are_asked_in_turn(trio: SentinelTrio, call: Callable[..., Any]) -> None:
    """Sentinels that are gone are passed over, and remembered to be asked last."""
    dead = f"127.0.0.1:{_dead_port()},127.0.0.1:{_dead_port()}"
    url = f"redis+sentinel://{dead},127.0.0.1:{trio.sentinels[0].port}/{SERVICE}/0"
    backend: Any = make_backend(unhurried(url))
    call(backend, "transact", [], [Put("a", b"1")])
    assert call(backend, "read", ["a"]) == [b"1"]
    with backend._finder._sentinels[0]() as first:
        assert first.getpeername()[1] == trio.sentinels[0].port
    backend.close()


def test_a_service_nobody_knows_is_no_connection(trio: SentinelTrio, call: Callable[..., Any]) -> None:
    """A misspelt service raises at once, as a server that cannot be reached does."""
    backend: Any = make_backend(unhurried(f"redis+sentinel://127.0.0.1:{trio.sentinels[0].port}/nobody"))
    with pytest.raises(ConnectionError):
        call(backend, "read", ["a"])
    backend.close()


def test_the_database_of_the_url_is_used(trio: SentinelTrio) -> None:
    """The path's second part is the database, of the master alone: sentinels have none."""
    backend: Any = make_backend(unhurried(trio.url.removesuffix("/0") + "/3"))
    backend.transact([], [Put("a", b"1")])
    with trio.client(db=3) as client:
        assert client.get("a") == b"1"
    backend.close()


def test_replicas_are_read_only_where_that_is_asked_for(trio: SentinelTrio, call: Callable[..., Any]) -> None:
    """With ``replicas=read`` every MGET is the replica's and every write the master's; without it none is."""
    master = trio.master()
    replica = next(server for server in trio.servers if server is not master)
    until(lambda: _replica_is(trio, fit=True), "the sentinels do not find the replica fit")

    def reads() -> list[int]:
        found = []
        for server in (master, replica):
            with server.client() as client:
                found.append(int(client.info("commandstats").get("cmdstat_mget", {}).get("calls", 0)))
        return found

    plain, spread = (make_backend(unhurried(trio.url) + more) for more in ("", "&replicas=read"))
    before = reads()
    for _ in range(5):
        call(plain, "read", ["a"])
    assert [b - a for a, b in zip(before, reads(), strict=True)] == [5, 0]
    call(spread, "transact", [], [Put("a", b"1")])
    until(lambda: call(spread, "read", ["a"]) == [b"1"], "the replica is not in step")
    before = reads()
    for _ in range(5):
        call(spread, "read", ["a"])
    assert [b - a for a, b in zip(before, reads(), strict=True)] == [0, 5]
    for backend in (plain, spread):
        backend.close()  # type: ignore[union-attr]  # not memory://


def test_without_a_replica_the_master_is_read(call: Callable[..., Any]) -> None:
    """``replicas=read`` falls back on the master; a new connection finds the replica when it is there again."""
    if not servers.available_servers():
        pytest.skip("no server")
    with SentinelTrio(servers.available_servers()[0], down_after=0.5) as trio:
        replica = next(server for server in trio.servers if server is not trio.master())
        replica.kill()
        until(lambda: _replica_is(trio, fit=False), "the sentinels do not notice")
        backend: Any = make_backend(unhurried(trio.url) + "&replicas=read")
        call(backend, "transact", [], [Put("a", b"1")])
        assert call(backend, "read", ["a"]) == [b"1"]
        backend.close()


def _replica_is(trio: SentinelTrio, *, fit: bool) -> bool:
    """Whether every sentinel finds the replica fit, or every one finds it down."""
    for one in trio.sentinels:
        (fields,) = trio._asked(one, "REPLICAS")
        facts = dict(zip(fields[::2], fields[1::2], strict=True))
        well = facts["master-link-status"] == "ok" and facts["flags"] == "slave"
        if well != fit or (not fit and "s_down" not in facts["flags"]):
            return False
    return True


@pytest.mark.parametrize("kind", _KINDS)
def test_passwords_of_sentinels(kind: str) -> None:
    """`sentinel_password` is the sentinels', and a wrong one is a refusal that says so."""
    with SentinelTrio(kind, password="s3cret") as trio:
        good: Any = make_backend(unhurried(trio.url) + "&sentinel_password=s3cret")
        good.ping()
        good.close()
        with Cache(unhurried(trio.url) + "&sentinel_password=wrong") as cache:
            with pytest.raises(BackendError, match="wrong user name or password"):
                cache.get("k")
            assert cache.cached(lambda x: x * 2)(4) == 8


@pytest.mark.parametrize("kind", _KINDS)
def test_connections_to_the_old_master_are_left(kind: str) -> None:
    """After a failover no connection to the old master is used again, though it answers: idle ones of threads, the
    loop's, all are shut down as soon as a sentinel tells.
    """
    with SentinelTrio(kind, down_after=0.5) as trio, asyncio.Runner() as runner:
        backend: Any = make_backend(unhurried(trio.url))
        old = trio.master()
        backend.transact([], [Put("a", b"old")])
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: backend.read(["a"]), range(40)))
        assert runner.run(backend.aio.read(["a"])) == [b"old"]
        old.suspend()
        until(lambda: trio.master() is not old, "no failover")
        until(lambda: backend._finder._master == ("127.0.0.1", trio.master().port), "nobody was told")
        with trio.client() as client:
            client.set("a", b"new")
        old.resume()  # it believes that it is the master still, for some seconds
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda _: backend.read(["a"]), range(40)))
        assert found == [[b"new"]] * 40
        assert runner.run(backend.aio.read(["a"])) == [b"new"]
        runner.run(backend.aio.close())
        backend.close()
