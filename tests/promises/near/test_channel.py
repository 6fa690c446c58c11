"""Near tiers of real servers: what the server tells, and what happens when it cannot."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memocache import Cache
from memocache._cache import stats_reporter as _tally
from memocache._runtime.budget import Budget
from memocache._stores.layered.near_cache import NearTier
from memocache.backends._redis import client_tracking as _tracker
from memocache.testing import FakeServer, FaultProxy, servers
from tests.promises.near import checker
from tests.promises.near.support import BOUND, Heard, hasten, held

PROMISE = 1.0
"""Seconds that an answer may be behind an invalidation elsewhere."""


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no backend trouble here: what a call may spend is tested elsewhere."""
    monkeypatch.setattr(Budget.__init__, "__defaults__", (10.0,))


@pytest.fixture(scope="module")
def running_server() -> Iterator[Callable[[str], servers.Server]]:
    """Servers of these tests' own: they count the listeners, and others' may be slow to go."""
    with contextlib.ExitStack() as stack:
        running: dict[str, servers.Server] = {}

        def get(kind: str) -> servers.Server:
            if kind not in running:
                running[kind] = servers.start(kind)
                stack.callback(running[kind].stop)
            return running[kind]

        yield get


@pytest.fixture
def caches() -> Iterator[Callable[..., tuple[Cache, Heard]]]:
    """Makes caches that have heard of their server."""
    with contextlib.ExitStack() as stack:

        def make(url: str, **options: Any) -> tuple[Cache, Heard]:
            cache = stack.enter_context(Cache(f"{url}?timeout=5&connect_timeout=5", **{"local": 1000, **options}))
            heard = Heard(cache)
            heard.settle()
            return cache, heard

        yield make


@pytest.fixture
def one_server(running_server: Callable[[str], servers.Server]) -> servers.Server:
    """A server with nothing in it, where the processes are what is tested."""
    server = running_server(servers.available_servers()[0])
    with server.client() as client:
        client.flushall()
    return server


def counter(cache: Cache, **settings: Any) -> Any:
    """A function that gives another number each time it is computed, and has a copy of the first."""
    numbers = iter(range(10**6))
    function = cache.cached(name="f", **{"ttl": 600, **settings})(lambda x: next(numbers))
    # the messages of its own storing may still come, and end the first copies
    while not held(function):
        assert function(1) == 0
    return function


def settled(heard: Heard, function: Any) -> None:
    """Hold a copy that no message under way ends."""
    heard.settle()
    deadline = time.monotonic() + BOUND
    function(1)
    while not held(function):  # if the machine stood still, the channel was not believed
        function(1)
        assert time.monotonic() < deadline


def elsewhere(server: servers.Server, function: Any, how: str) -> float:
    """Change the entry as another program would; when that had been answered."""
    key = function.key_for(1)
    with server.client() as client:
        if how == "delete":
            assert client.delete(key) == 1
        elif how == "overwrite":
            client.set(key, b"noise")
        elif how == "expire":
            client.pexpire(key, 1)
            while client.exists(key):
                pass
        elif how == "function":
            assert client.delete("memo:g:f:f") == 1
        elif how == "tag":
            assert client.delete(*client.keys("memo:g:t:*")) == 1
        elif how == "clear":
            assert client.delete("memo:g:p") == 1
        elif how == "flush":
            client.flushall()
        elif how == "other database's flush":
            client.execute_command("FLUSHDB")
        elif how == "eviction":
            client.config_set("maxmemory-policy", "allkeys-random")
            client.config_set("maxmemory", 1)
            with contextlib.suppress(Exception):
                client.set("more", b"x")
            client.config_set("maxmemory", 0)
            client.config_set("maxmemory-policy", "noeviction")
    return time.monotonic()


def never_stale(function: Any, since: float, old: int = 0) -> None:
    """Call until the answer is new; no call that began later than promised may be given the old one."""
    while True:
        begun = time.monotonic()
        if function(1) != old:
            return
        assert begun <= since + PROMISE, f"stale {begun - since:.3f} s after the change"


CHANGES = ["delete", "overwrite", "expire", "function", "tag", "clear", "flush", "other database's flush", "eviction"]


@pytest.mark.parametrize("how", CHANGES)
def test_what_anybody_changes_is_told(
    server: servers.Server, caches: Callable[..., tuple[Cache, Heard]], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The messages alone end a copy: entries and markers deleted, overwritten, expired, flushed and evicted."""
    hasten(monkeypatch, trust=1e9)
    cache, heard = caches(server.url)
    function = counter(cache, tags=["t"])
    settled(heard, function)
    elsewhere(server, function, how)
    heard.settle()
    assert function(1) == 1


@pytest.mark.parametrize("reset", [False, True])
def test_a_lost_channel_ends_every_copy(
    server: servers.Server, caches: Callable[..., tuple[Cache, Heard]], monkeypatch: pytest.MonkeyPatch, reset: bool
) -> None:
    """Killed by the server, or cut on the way: what was told to nobody is not served, and a new channel is opened."""
    hasten(monkeypatch, trust=1e9)
    with FaultProxy(server.port) as proxy, server.client() as client:
        cache, heard = caches(proxy.url)
        function = counter(cache)
        for change in range(3):
            settled(heard, function)
            losses = heard.losses
            if reset:
                proxy.fault("refuse")  # so that the change falls between two channels
                elsewhere(server, function, "delete")
                proxy.heal()
            else:
                assert checker.kill_trackers(client) == 1
                elsewhere(server, function, "delete")
            heard.wait_for_loss(losses)
            heard.settle()
            assert function(1) == change + 1


def half_open(
    server: servers.Server, caches: Callable[..., tuple[Cache, Heard]], proxy: FaultProxy
) -> tuple[Heard, Any]:
    """Invalidate while what the server says to the tracker gets lost, and nobody notices."""
    cache, heard = caches(proxy.url)
    function = counter(cache)
    settled(heard, function)
    proxy.fault("drop", when=b"PING")
    never_stale(function, elsewhere(server, function, "delete"))
    return heard, function


def test_a_half_open_channel_is_bypassed(
    server: servers.Server, caches: Callable[..., tuple[Cache, Heard]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where messages get lost without a sign, copies are served for no longer than promised; then it is opened anew."""
    monkeypatch.setattr(_tracker, "_ANSWER_SECONDS", 0.5)
    with FaultProxy(server.port) as proxy:
        heard, function = half_open(server, caches, proxy)
        heard.wait_for_loss(0)
        proxy.heal()
        settled(heard, function)


def test_a_build_without_a_deadline_is_caught(
    server: servers.Server, caches: Callable[..., tuple[Cache, Heard]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Believing copies until a loss is noticed fails the half-open test."""

    def heard(self: NearTier, since: float) -> None:
        self.until = since if since == float("-inf") else float("inf")

    monkeypatch.setattr(NearTier, "heard", heard)
    with FaultProxy(server.port) as proxy, pytest.raises(AssertionError, match="stale"):
        half_open(server, caches, proxy)


def test_a_stopped_server_is_bypassed(caches: Callable[..., tuple[Cache, Heard]]) -> None:
    """While the server stands still, copies are believed for the trust window; when it goes on, there are new ones."""
    with servers.start(servers.available_servers()[0]) as server:
        cache, heard = caches(server.url)
        function = counter(cache)
        settled(heard, function)
        server.suspend()
        try:
            deadline = time.monotonic() + BOUND
            while cache._near.trusted():  # type: ignore[union-attr]  # it has one
                assert time.monotonic() < deadline
        finally:
            server.resume()
        since = elsewhere(server, function, "delete")
        never_stale(function, since)
        settled(heard, function)


def test_a_restarted_server_is_heard_again(caches: Callable[..., tuple[Cache, Heard]]) -> None:
    """A server that comes back empty has no copies left here, and tells again."""
    with servers.start(servers.available_servers()[0]) as server:
        cache, heard = caches(server.url)
        function = counter(cache)
        settled(heard, function)
        losses = heard.losses
        server.restart()
        heard.wait_for_loss(losses)
        heard.settle()
        deadline = time.monotonic() + BOUND
        while not held(function):  # the breaker lets calls through again soon
            assert function(1) > 0
            assert time.monotonic() < deadline
        assert not cache._near._lease  # type: ignore[union-attr]  # it has one


LOOP = """
import sys, time
from memocache import Cache
cache = Cache(sys.argv[1] + "?timeout=5&connect_timeout=5", local=100)
numbers = iter(range(10**9))

@cache.cached(name="f", ttl=600)
def f(x):
    return next(numbers)

f(1)
near = cache._near
while not any(table.entries for table in near.tables()):
    f(1)
print("ready", flush=True)
while True:
    begun = time.monotonic()
    value = f(1)
    print(begun, value, flush=True)
    if value > 0:
        break
"""


def test_a_process_that_stood_still_does_not_believe_its_copies(one_server: servers.Server) -> None:
    """Stopped and continued: what was changed meanwhile is not served, from the first call on."""
    child = subprocess.Popen(
        [sys.executable, "-c", LOOP, one_server.url],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        out = child.stdout
        assert out is not None
        assert out.readline() == "ready\n"
        # it goes on until somebody reads what it says, or stops it
        os.kill(child.pid, signal.SIGSTOP)
        with one_server.client() as client:
            client.delete("memo:g:f:f")
        since = time.monotonic()
        time.sleep(PROMISE + 0.1)  # the promise is one of time
        os.kill(child.pid, signal.SIGCONT)
        for line in out:
            begun, value = line.split()
            if int(value) == 0:
                assert float(begun) <= since + PROMISE, "a copy of before the stop was served after it"
        assert int(value) > 0
    finally:
        child.kill()
        child.wait()
        child.stdout.close()  # type: ignore[union-attr]  # it is a pipe


def test_a_server_that_denies_tracking_is_one_that_cannot_tell(
    server: servers.Server, caches: Callable[..., tuple[Cache, Heard]]
) -> None:
    """An ACL without CLIENT TRACKING: no copy is believed for longer than the trust window, and calls hear nothing."""
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "limited", "on", ">secret", "~*", "&*", "+@all", "-client|tracking")
    try:
        cache, _ = caches(f"redis://limited:secret@127.0.0.1:{server.port}/0")
        assert cache._near._lease  # type: ignore[union-attr]  # it has one
        function = counter(cache)
        never_stale(function, elsewhere(server, function, "delete"))
    finally:
        with server.client() as client:
            client.execute_command("ACL", "DELUSER", "limited")


@pytest.mark.parametrize("reply", [b"-NOPROTO unsupported protocol version\r\n", b"-ERR unknown command 'HELLO'\r\n"])
def test_an_old_server_is_one_that_cannot_tell(
    one_server: servers.Server, caches: Callable[..., tuple[Cache, Heard]], reply: bytes
) -> None:
    """A server or proxy without RESP3: copies are believed for the trust window."""
    with FakeServer(one_server.port) as fake:
        fake.answer(reply, "HELLO")
        cache, _ = caches(fake.url)
        assert cache._near._lease  # type: ignore[union-attr]  # it has one
        function = counter(cache)
        never_stale(function, elsewhere(one_server, function, "delete"))


def trackers(client: Any) -> int:
    """How many connections track."""
    return sum("t" in one["flags"] or "B" in one["flags"] for one in client.client_list())


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens in other threads or processes."""
    deadline = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_closing_ends_the_channel_and_use_opens_it(
    server: servers.Server, caches: Callable[..., tuple[Cache, Heard]]
) -> None:
    """One tracking connection a cache, none before its first look and after `close`, one again when it is used."""
    with server.client() as client:
        idle = Cache(server.url, local=10)
        assert trackers(client) == 0
        idle.close()
        cache, heard = caches(server.url)
        function = counter(cache)
        assert trackers(client) == 1
        cache.close()
        until(lambda: trackers(client) == 0)
        settled(heard, function)
        assert trackers(client) == 1


def test_a_cache_that_is_dropped_lets_go(server: servers.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `close` too: when its copies have expired and nobody refers to it, its threads and its channel end."""
    monkeypatch.setattr(_tally, "_IDLE_SECONDS", 0.0)
    monkeypatch.setattr(_tally, "FLUSH_SECONDS", 0.05)
    cache = Cache(f"{server.url}?timeout=5&connect_timeout=5", local=10)
    heard = Heard(cache)
    heard.settle()
    deadline = time.monotonic() + BOUND
    while not cache._near.holds():  # type: ignore[union-attr]  # it has one
        cache.set("k", 1, ttl=1)
        cache.get("k")
        assert time.monotonic() < deadline
    with server.client() as client:
        assert trackers(client) == 1
        near = weakref.ref(cache._near)  # type: ignore[arg-type]  # it has one
        del cache, heard

        def gone() -> bool:
            gc.collect()
            return near() is None and trackers(client) == 0

        until(gone)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_listens_for_itself(server: servers.Server, caches: Callable[..., tuple[Cache, Heard]]) -> None:
    """A fork's child opens a channel of its own, and does not keep its parent's open when that is closed."""
    cache, heard = caches(server.url)
    function = counter(cache)
    settled(heard, function)
    go, said = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.read(go[0], 1)
            deadline = time.monotonic() + BOUND
            function(1)
            while not held(function) and time.monotonic() < deadline:
                function(1)
            os.write(said[1], b"y" if held(function) else b"n")
            os.read(go[0], 1)
            while function(1) == 0 and time.monotonic() < deadline:
                pass
            os.write(said[1], b"y" if function(1) > 0 else b"n")
        finally:
            os._exit(0)
    try:
        with server.client() as client:
            cache.close()
            until(lambda: trackers(client) == 0)
            os.write(go[1], b"!")
            assert os.read(said[0], 1) == b"y"
            assert trackers(client) == 1
            elsewhere(server, function, "delete")
            os.write(go[1], b"!")
            assert os.read(said[0], 1) == b"y"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for end in (*go, *said):
            os.close(end)


def test_staleness_by_the_checker(one_server: servers.Server) -> None:
    """Two processes, invalidations in a third, and channels lost: no answer is further behind than promised."""
    with one_server.client() as client:
        report = checker.check(one_server.url, client, 200, kills=True, seed=7, after=1.2)
    assert report.staleness[-1] <= PROMISE
    assert report.copies > report.answers / 2
    assert report.kills


def test_another_database_ends_every_copy(server: servers.Server, caches: Callable[..., tuple[Cache, Heard]]) -> None:
    """After SWAPDB, of which the server tells nobody, copies are of another database and are forgotten; what is
    invalidated in the new one is heard of.
    """
    cache, heard = caches(server.url)
    function = counter(cache)
    settled(heard, function)
    with server.client() as client:
        for _ in range(3):  # to an empty database, back to the first, and to what is no longer empty
            heard.settle()  # the database's name is known
            settled(heard, function)
            client.execute_command("SWAPDB", 0, 1)
            heard.settle()
            assert not held(function)
    settled(heard, function)
    before = function(1)
    elsewhere(server, function, "delete")
    heard.settle()
    assert function(1) != before


def test_a_full_server_has_no_name_and_copies(
    server: servers.Server, caches: Callable[..., tuple[Cache, Heard]]
) -> None:
    """Where the database cannot be named, copies are served as before."""
    cache, heard = caches(server.url)
    function = counter(cache)
    function(1)
    with server.client() as client:
        client.config_set("maxmemory", 1)
        client.config_set("maxmemory-policy", "noeviction")
        client.delete("memo:n:database")
        heard.settle()
        settled(heard, function)
        heard.settle()
        assert held(function)
        assert not client.exists("memo:n:database")
        client.config_set("maxmemory", 0)
