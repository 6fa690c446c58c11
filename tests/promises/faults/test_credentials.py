"""``credentials=`` and ``tls=``: logins that change while connections live, and contexts for TLS, on real servers."""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memocache import BackendError, Cache, ConfigurationError
from memocache.backends._redis import credentials as _credentials
from memocache.testing import FakeServer, servers
from memocache.testing.server_topologies import ClusterServer, SentinelTrio
from tests.promises.faults.rig import Rig, until

SECRET = "hunter2"
LEISURE = "?timeout=30&connect_timeout=30"
_KIND = servers.available_servers()[0]


class Provider:
    """A credential provider of redis-py's that also pushes, with a password that can be changed."""

    def __init__(self, password: str = "first") -> None:
        self.password = password
        self.error: Exception | None = None
        self.asked = 0
        self._tell: Callable[[Any], Any] = id

    def get_credentials(self) -> tuple[str, str]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return "app", self.password

    def is_streaming(self) -> bool:
        return True

    def on_next(self, callback: Callable[[Any], Any]) -> None:
        self._tell = callback

    def push(self, password: str) -> None:
        """As a token manager does when it has a new token."""
        self.password = password
        self._tell(password)


@pytest.fixture
def guarded(one_victim: servers.Server) -> Iterator[servers.Server]:
    """A server that lets nobody in but "app", whose password is "first"; `client()` is still the administrator's."""
    with one_victim.client() as admin:
        admin.acl_setuser("app", enabled=True, passwords=["+first"], keys=["*"], channels=["*"], categories=["+@all"])
        yield one_victim
        admin.acl_deluser("app")


def logins(server: servers.Server) -> set[int]:
    """The connections of "app"."""
    with server.client() as admin:
        return {int(one["id"]) for one in admin.client_list() if one["user"] == "app"}


def test_nothing_fails_while_the_password_rotates(guarded: servers.Server, leisure: Any) -> None:
    """While the user's password changes 20 times, the old one is taken away and its connections are ended by the next
    change, no call of threads and tasks fails, direct or decorated, and each is a hit or computed.
    """
    provider, over, failed, calls = Provider(), threading.Event(), [], [0]
    with Cache(guarded.url + LEISURE, credentials=provider, on_error="raise", local=100) as cache:
        f = cache.cached(ttl=600, name="f")(lambda key: [key])

        @cache.cached(ttl=600, name="g")
        async def g(key: int) -> list[int]:
            return [key]

        def work() -> None:
            number = 0
            while not over.is_set():
                number += 1
                try:
                    assert f(number % 50) == [number % 50]
                    cache.set("k", number, ttl=60)
                    assert cache.get("k") is not None
                except Exception as error:
                    failed.append(error)
                calls[0] += 1

        async def task(own: int) -> None:
            number = 0
            while not over.is_set():
                number += 1
                try:
                    assert await g(number % 50) == [number % 50]
                    await cache.aio.set(f"k{own}", number, ttl=60)
                    assert await cache.aio.get(f"k{own}") == number
                except Exception as error:
                    failed.append(error)
                calls[0] += 1

        async def tasks() -> None:
            await asyncio.gather(*map(task, range(3)))

        threads = [threading.Thread(target=work) for _ in range(2)]
        threads.append(threading.Thread(target=lambda: asyncio.run(tasks())))
        for thread in threads:
            thread.start()
        old = "first"
        with guarded.client() as admin:
            for number in range(20):
                new, before = f"password {number}", calls[0]
                admin.acl_setuser("app", enabled=True, passwords=["+" + new])
                provider.push(new)
                admin.acl_setuser("app", enabled=True, passwords=["-" + old])
                old = new
                until(lambda before=before: calls[0] > before + 10 or failed)  # type: ignore[misc]  # one lambda a turn
        over.set()
        for thread in threads:
            thread.join()
    assert not failed


@pytest.mark.parametrize("changes", [1, 9])
def test_a_login_that_a_change_overtakes_is_tried_anew(guarded: servers.Server, leisure: Any, changes: int) -> None:
    """A password that changes between the provider's answer and its use costs a caller nothing; one that changes each
    time is refused in words, after a few attempts.
    """
    with guarded.client() as admin:

        class Overtaken(Provider):
            def get_credentials(self) -> tuple[str, str]:
                given = super().get_credentials()
                if self.asked <= changes:
                    admin.acl_setuser("app", enabled=True, passwords=[f"-{self.password}", f"+{self.asked}"])
                    self.password = str(self.asked)
                return given

        provider = Overtaken()
        with Cache(guarded.url + LEISURE, credentials=provider, on_error="raise") as cache:
            if changes == 1:
                cache.set("k", 1)
                assert cache.get("k") == 1
            else:
                with pytest.raises(BackendError, match="wrong user name or password"):
                    cache.set("k", 1)
                assert provider.asked < changes


def test_a_pushed_token_replaces_every_connection(guarded: servers.Server, leisure: Any) -> None:
    """After a push, connections of threads and loops, the listener's and the tracker's are others, logged in anew."""
    provider = Provider()
    cache = Cache(guarded.url + LEISURE, credentials=provider, local=100)
    f = cache.cached(ttl=600, name="f")(lambda key: [key])

    async def scenario() -> None:
        await cache.aio.set("k", 1)
        stop = cache._guard.backend.subscribe("memo:c:x", lambda: None)  # type: ignore[union-attr]  # it has one
        f(1)
        until(lambda: len(logins(guarded)) >= 4)
        before = logins(guarded)
        provider.push("first")
        await cache.aio.get("k")
        cache.get("k")
        until(lambda: not before & logins(guarded) and len(logins(guarded)) >= 4)
        assert stop is not None
        stop()
        await cache.aio.close()

    asyncio.run(scenario())
    cache.close()


def test_connections_are_replaced_before_logins_expire(
    guarded: servers.Server, leisure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider that pushes nothing is asked again by and by; while it fails, the connections of now stay."""
    monkeypatch.setattr(_credentials, "RENEW_SECONDS", 0.02)
    monkeypatch.setattr(_credentials, "_AGAIN_SECONDS", 0.02)
    provider = Provider()
    with Cache(guarded.url + LEISURE, credentials=provider) as cache:
        cache.set("k", 1)
        first = logins(guarded)
        until(lambda: cache.get("k") == 1 and not first & logins(guarded))
        provider.error = RuntimeError(SECRET)
        asked = provider.asked
        until(lambda: provider.asked > asked + 5)
    provider.error = None


def test_nothing_is_left_running(guarded: servers.Server) -> None:
    """The thread that renews ends with the cache's close, and with its last reference."""

    def running() -> bool:
        return any(thread.name == "memocache-credentials" for thread in threading.enumerate())

    with Cache(guarded.url + LEISURE, credentials=Provider()) as cache:
        cache.set("k", 1)
        assert running()
    until(lambda: not running())
    backend: Any = cache._guard.backend  # type: ignore[union-attr]  # it has one
    cache.set("k", 1)
    until(running)
    cache.close()
    del backend
    until(lambda: not running())


def test_a_login_that_is_refused_is_made_again(rig: Rig, guarded: servers.Server, leisure: Any) -> None:
    """A connection that the server has logged out (NOAUTH) is replaced within the call, which is none the wiser."""
    with FakeServer(guarded.port) as fake:
        cache = rig.cache(fake.url + LEISURE, credentials=Provider(), on_error="raise")
        rig.ask(cache, "set", "k", 1)
        for _ in range(3):
            fake.answer(b"-NOAUTH Authentication required.\r\n", "MGET", times=1)
            assert rig.ask(cache, "get", "k") == 1
        fake.answer(b"-NOAUTH Authentication required.\r\n", "MGET")
        with pytest.raises(BackendError, match="password"):
            rig.ask(cache, "get", "k")


@pytest.mark.usefixtures("brisk")
def test_a_provider_that_fails(rig: Rig, guarded: servers.Server, caplog: pytest.LogCaptureFixture) -> None:
    """Decorated calls compute, direct ones say that the provider failed and by which class, no text holds its words,
    and once it gives a login again, calls use the server.
    """
    caplog.set_level(logging.DEBUG)
    provider = Provider()
    provider.error = RuntimeError(f"token {SECRET} refused")
    cache = rig.cache(guarded.url, credentials=provider)
    f = rig.cached(cache)
    rig.trial(f, [1, 1, *range(2, 40)]).check()
    assert f.cache_info().hits == 0
    assert cache.breaker()["redis"] == "open"
    until(lambda: "RuntimeError" in rig.ask(cache, "health").detail)
    assert SECRET not in rig.ask(cache, "health").detail + caplog.text
    provider.error = None
    rig.recovers(f)


class _Nothing:
    def get_credentials(self) -> tuple[str]:
        return ("",)


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("memory://", {"credentials": Provider()}, "credentials="),
        ("null://", {"tls": ssl.create_default_context()}, "tls="),
        ("redis://h", {"credentials": "password"}, "get_credentials"),
        ("redis://h", {"tls": ssl.create_default_context()}, "rediss://"),
        ("rediss://h", {"tls": True}, "SSLContext"),
        ("rediss://h?ssl_cert_reqs=none", {"tls": ssl.create_default_context()}, "twice"),
        ("redis://:p@h", {"credentials": Provider()}, "twice"),
        ("unix:///s", {"tls": ssl.create_default_context()}, "tls="),
    ],
)
def test_what_cannot_be_meant_is_said(url: str, options: dict[str, Any], words: str) -> None:
    """What does not fit the URL is an error that names the parameter, and holds no password."""
    with pytest.raises(ConfigurationError, match=words):
        Cache(url, **options)


def test_a_backend_object_has_a_login_of_its_own() -> None:
    """``credentials=`` beside a backend object is an error."""
    from memocache.backends.null import NullBackend

    with pytest.raises(ConfigurationError, match="credentials="):
        Cache(NullBackend(), credentials=Provider())


def test_a_provider_without_a_login(guarded: servers.Server) -> None:
    """An empty password is no login, and is said to be none."""
    with Cache(guarded.url, credentials=_Nothing()) as cache, pytest.raises(BackendError, match="no password"):
        cache.get("k")


@pytest.mark.parametrize("fleet", [ClusterServer, SentinelTrio])
def test_fleets_log_in(fleet: Any, leisure: Any) -> None:
    """Every node of a cluster, and the master that sentinels name, is logged in to with the provider's credentials."""
    with fleet(_KIND) as running:
        for server in running.servers:
            with server.client() as admin:
                admin.execute_command("ACL", "SETUSER", "app", "on", ">first", "~*", "&*", "+@all")
        with Cache(running.url + LEISURE, credentials=Provider(), on_error="raise") as cache:
            f = cache.cached(ttl=600, name="f")(lambda key: [key])
            for key in (*range(30), *range(30)):
                assert f(key) == [key]
            assert f.cache_info().hits == 30
            assert any(logins(server) for server in running.servers)


@pytest.mark.parametrize("client", [False, True])
def test_a_context_of_ones_own(
    rig: Rig, one_victim: servers.Server, tmp_path: Path, client: bool, leisure: Any
) -> None:
    """``tls=`` verifies by the context's own authorities, and shows its client certificate."""
    pytest.importorskip("cryptography")
    from tests.promises.faults.tls import Authority, Terminator

    ours, clients = Authority(tmp_path, "ours"), Authority(tmp_path, "clients")
    context = ssl.create_default_context(cafile=str(ours.path))
    if client:
        context.load_cert_chain(*clients.issue("client"))
    with Terminator(one_victim.port, ours.issue("127.0.0.1"), clients.path if client else None) as front:
        url = f"rediss://127.0.0.1:{front.port}{LEISURE}"
        cache = rig.cache(url, tls=context)
        rig.ask(cache, "set", "k", "v" * 100_000)
        assert rig.ask(cache, "get", "k") == "v" * 100_000
        assert front.handshakes
        assert "verified" in str(cache._guard.backend.checkup())  # type: ignore[union-attr]  # it has one
        strange = rig.cache(url, tls=ssl.create_default_context(cafile=str(clients.path)))
        with pytest.raises(BackendError, match="certificate"):
            rig.ask(strange, "get", "k")
