"""The contract on real servers, with scripts and with scripts denied."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator

import pytest

from memocache.backends.redis import RedisBackend
from memocache.testing.contract import BackendContract
from memocache.testing.servers import Server
from memocache.typing import Backend, Guard, Once, Put, Tally


class TestRedisBackend(BackendContract):
    """Each kind of server on this machine."""

    @pytest.fixture(autouse=True)
    def _server(self, server: Server) -> None:
        self.server = server

    def make_backend(self) -> Backend:
        # Other tests share the two cores: bounds are tested elsewhere.
        return RedisBackend.from_url(f"{self.server.url}?timeout=10&connect_timeout=10")


class TestRedisBackendWithoutScripts(BackendContract):
    """A user whose ACL denies scripts, so transactions go by WATCH, MULTI and EXEC."""

    @pytest.fixture(autouse=True)
    def _user(self, server: Server) -> Iterator[None]:
        self.server, self.user = server, f"u{uuid.uuid4().hex}"
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", self.user, "on", ">p@ss", "~*", "&*", "+@all", "-@scripting")
            yield
            client.execute_command("ACL", "DELUSER", self.user)

    def make_backend(self) -> Backend:
        place = self.server.url.removeprefix("redis://")
        return RedisBackend.from_url(f"redis://{self.user}:p%40ss@{place}?timeout=10&connect_timeout=10")

    def test_the_denial_is_remembered(self, backend: Backend) -> None:
        """After the first transaction no script is tried again."""
        assert isinstance(backend, RedisBackend)
        backend.transact([], [Put("a", b"1")])
        assert not backend._say.scripts


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("aio", [False, True])
def test_foreign_types_count_as_absent_and_heal(url: str, scripts: bool, aio: bool) -> None:
    """A list or string where bytes, sets or counters of ours belong is no error and is overwritten."""
    backend = RedisBackend.from_url(url + "?timeout=10")
    backend._say.scripts = scripts

    async def scenario() -> None:
        async def call(name: str, *args: object, **options: object) -> object:
            result = getattr(backend.aio if aio else backend, name)(*args, **options)
            return await result if aio else result

        assert await call("read", ["list"]) == [None]
        assert await call("transact", [Guard("list", b"")]) == [None]
        assert await call("transact", [Guard("list")], [Put("list", b"1")], members=[("text", "m")]) is None
        assert await call("read", ["list"]) == [b"1"]
        assert await call("members", "text") == {"m"}
        assert await call("counts", ["text"]) == [{}]
        assert await call("members", "list") == set()
        await call("tally", [Tally("list", {"n": 2}, {})])
        assert await call("counts", ["list"]) == [{"n": 2}]
        for number, (key, adds, sets) in enumerate([("added", {"n": 1, "m": 2}, {"l": 3}), ("set", {}, {"l": 3})]):
            await call("transact", [], [Put(key, b"1")])
            await call("tally", [Tally(key, adds, sets, None, Once("once", number, 60_000))])
            assert await call("counts", [key]) == [{**adds, **sets}]
        await call("close")

    import redis

    with redis.Redis.from_url(url) as client:
        client.rpush("list", "x")
        client.set("text", "x")
    asyncio.run(scenario())


def test_a_script_the_server_forgot_is_sent_again(url: str) -> None:
    """SCRIPT FLUSH between two transactions costs one more round trip and nothing else."""
    import redis

    backend = RedisBackend.from_url(url)
    assert backend.transact([], [Put("a", b"1")]) is None
    with redis.Redis.from_url(url) as client:
        client.script_flush()
    assert backend.transact([Guard("a", b"1")], [Put("a", b"2")]) is None
    assert backend.read(["a"]) == [b"2"]
    backend.close()
