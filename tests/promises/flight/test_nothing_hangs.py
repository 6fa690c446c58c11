"""Calls that waited for ever, ran again and again, or left something behind: each as a user meets it."""

from __future__ import annotations

import asyncio
import atexit
import gc
import signal
import sys
import threading
import time
import types
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memocache import MISSING, BackendError, Cache
from memocache._cache import default as defaults
from memocache._runtime.budget import CALL_SECONDS
from memocache._runtime.signal_exceptions import of_signal_handler
from memocache.backends.base import Busy
from memocache.backends.memory import MemoryBackend
from memocache.testing.servers import Server
from tests.promises.flight.support import join, start, until


@pytest.fixture(params=["memory", "disk", "server"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of each kind of backend."""
    if request.param == "server":
        server: Server = request.getfixturevalue("valkey")
        return server.url
    return "memory://" if request.param == "memory" else f"disk://{tmp_path}"


class Foreign(Exception):
    """What a program's signal handler raises: Celery's soft time limit is such an exception."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
@pytest.mark.parametrize("option", ["soft_timeout", "hard_timeout"])
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_base_exception_under_a_timeout_is_raised_once(
    colour: str, option: str, error: type[BaseException], make_cache: Callable[..., Cache]
) -> None:
    """The function runs once, and the caller for whom it ran gets the exception."""
    calls: list[int] = []

    def body(x: int) -> int:
        calls.append(x)
        if len(calls) > 5:
            return x
        raise error

    async def abody(x: int) -> int:
        return body(x)

    cached = make_cache().cached(name="f", **{option: 10})
    if colour == "sync":
        f = cached(body)
        with pytest.raises(error):
            f(1)
    else:
        g = cached(abody)

        async def main() -> str:
            try:
                await g(1)
            except BaseException as raised:
                return type(raised).__name__
            return "nothing"

        assert asyncio.run(main()) == error.__name__
    assert calls == [1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_follower_takes_over_from_a_base_exception_under_a_timeout(make_cache: Callable[..., Cache]) -> None:
    """One follower computes for the others: the function runs at most once for each caller."""
    go, calls = threading.Event(), []

    def body(x: int) -> int:
        calls.append(x)
        if len(calls) == 1:
            go.wait(20)
            raise SystemExit
        return x

    f: Any = make_cache().cached(name="f", hard_timeout=30)(body)

    def lead() -> None:
        with pytest.raises(SystemExit):
            f(1)

    leader, _ = start(lead)
    until(lambda: calls)
    follower, got = start(lambda: f(1))
    until(lambda: f.stats().coalesced == 1)
    go.set()
    join(leader, follower)
    assert (got, calls) == ([1], [1, 1])


@pytest.mark.parametrize("where", ["condition", "ttl", "Computed", "Stored", "Rejected"])
def test_a_call_of_the_same_key_from_the_call_runs_directly(url: str, where: str) -> None:
    """A user's callable that calls the function again, with the same argument, waits for nobody."""
    inner: list[int] = []

    def again(*_: Any) -> Any:
        if not inner:
            inner.append(0)
            inner[0] = f(1)
        return 60

    def observe(event: Any) -> None:
        if type(event).__name__ == where:
            again()

    options: dict[str, Any] = {where: again} if where in ("condition", "ttl") else {}
    if where == "Rejected":
        options["condition"] = lambda _: False
    observers = () if where in ("condition", "ttl") else (observe,)
    with Cache(url, prefix=f"again-{where}", observers=observers, max_wait=None) as cache:
        f: Any = cache.cached(name="f", **options)(lambda x: x)
        assert f(1) == 1
        assert inner == [1]
        assert len(cache._flights) == 0


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_refresh_that_meets_an_outage_leaves_nothing(valkey_of_own: Server, colour: str) -> None:
    """Who catches its `BackendError`, and keeps it, can call the function at once, as can every other thread."""
    with Cache(valkey_of_own.url, max_wait=None) as cache:
        valkey_of_own.stop()
        if colour == "sync":
            f = cache.cached(name="f")(lambda x: x)
            with pytest.raises(BackendError) as kept:
                f.refresh(1)
            other, got = start(lambda: f(1))
            assert f(1) == 1
            join(other)
            assert got == [1]
            assert f.peek(1) is MISSING
        else:

            @cache.cached(name="g")
            async def g(x: int) -> int:
                return x

            async def main() -> int:
                try:
                    await g.refresh(1)
                except BackendError:
                    return await g(1)
                return 0

            assert asyncio.run(main()) == 1
            kept = None  # type: ignore[assignment]  # there is none
        assert len(cache._flights) == 0
        del kept


@pytest.fixture
def valkey_of_own() -> Iterator[Server]:
    """A server that a test may stop or fill."""
    from memocache.testing import servers

    with servers.start(servers.available_servers()[0]) as server:
        yield server


def test_a_full_server_shares_nothing_from_before_an_invalidation(valkey_of_own: Server) -> None:
    """Writes are refused, deletes work: who calls after another process's invalidation computes."""
    computing, go = threading.Event(), threading.Event()
    source = ["old"]

    def read(x: int) -> str:
        value = source[0]
        if value == "old":
            computing.set()
            go.wait(20)
        return value

    with Cache(valkey_of_own.url) as cache, Cache(valkey_of_own.url) as elsewhere, valkey_of_own.client() as admin:
        f: Any = cache.cached(name="f")(read)
        admin.config_set("maxmemory-policy", "noeviction")
        admin.config_set("maxmemory", 1)
        first, old = start(lambda: f(1))
        assert computing.wait(20)
        source[0] = "new"
        elsewhere.invalidate("f")
        second, new = start(lambda: f(1))
        until(lambda: f.stats().coalesced == 1)
        go.set()
        join(first, second)
        assert (old, new) == (["old"], ["new"])


@pytest.mark.parametrize("step", ["look", "begin", "commit"])
@pytest.mark.parametrize("error", [Busy, ConnectionResetError])
@pytest.mark.parametrize("bulk", [False, True], ids=["one", "bulk"])
def test_one_request_that_fails_shares_nothing_from_before_an_invalidation(
    valkey: Server, step: str, error: type[Exception], bulk: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the one request of the leader that fails, while the backend is asked: who calls after another process's
    invalidation computes, in the flight's time too.
    """
    computing, go, source, failed = threading.Event(), threading.Event(), ["old"], []

    def read(x: int) -> str:
        value = source[0]
        if value == "old":
            computing.set()
            go.wait(20)
        return value

    with Cache(valkey.url) as cache, Cache(valkey.url) as elsewhere:
        f: Any = cache.cached(name="f")(read)
        call = (lambda: f.map([1])[0]) if bulk else lambda: f(1)
        ask = {"look": "read", "begin": "transact", "commit": "transact"}[step]
        real = getattr(cache.backend, ask)

        def failing(*args: Any, **kwargs: Any) -> Any:
            if not failed and computing.is_set() == (step == "commit"):
                failed.append(step)
                raise error
            return real(*args, **kwargs)

        monkeypatch.setattr(cache.backend, ask, failing)
        if step == "look":
            monkeypatch.setattr(type(cache.backend), "read_now", lambda *_: None)
        first, old = start(call)
        assert computing.wait(20)
        source[0] = "new"
        elsewhere.invalidate("f")
        second, new = start(call)
        until(lambda: f.stats().coalesced == 1)
        go.set()
        join(first, second)
        assert (old, new, failed) == (["old"], ["new"], [step])


def test_who_reaches_the_backend_takes_nothing_that_it_did_not_validate(
    valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call whose look-up was answered computes, though the backend is left alone when its flight ends."""
    computing, go, source = threading.Event(), threading.Event(), ["old"]

    def read(x: int) -> str:
        value = source[0]
        if value == "old":
            computing.set()
            go.wait(20)
        return value

    with Cache(valkey.url) as cache, Cache(valkey.url) as elsewhere:
        f: Any = cache.cached(name="f")(read)
        first, old = start(lambda: f(1))
        assert computing.wait(20)
        source[0] = "new"
        elsewhere.invalidate("f")
        second, new = start(lambda: f(1))
        until(lambda: f.stats().coalesced == 1)
        guard = cache._places.shared.guard
        monkeypatch.setattr(guard, "_probe", lambda: None)
        guard.breaker.open = True
        go.set()
        join(first, second)
        assert (old, new) == (["old"], ["new"])


@pytest.mark.usefixtures("hurried")
def test_a_turn_that_another_process_has_opens_no_breaker(tmp_path: Path) -> None:
    """An async call that waits in vain for the writers' lock of a store on disk says nothing of the store's health."""
    with Cache(f"disk://{tmp_path}") as cache:

        @cache.cached(name="f")
        async def f(x: int) -> int:
            return x

        async def main() -> None:
            assert await f(1) == 1
            with cache.backend._store.turn(1.0):  # type: ignore[attr-defined]  # a store on disk has one
                await asyncio.gather(*map(f, range(10, 14)))

        asyncio.run(main())
        assert cache.breaker() == {"disk": "closed"}


@pytest.mark.usefixtures("hurried")
def test_a_loop_that_stood_still_opens_no_breaker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was stopped while it wrote to disk is not cut off, for then its calls could share what began
    before an invalidation elsewhere.
    """
    begun = threading.Event()

    with Cache(f"disk://{tmp_path}") as cache:
        backend: Any = cache.backend
        commit = backend.commit

        def noted(*args: Any, **kwargs: Any) -> Any:
            begun.set()
            return commit(*args, **kwargs)

        @cache.cached(name="f")
        async def f(x: int) -> int:
            return x

        async def main() -> None:
            assert await f(1) == 1
            monkeypatch.setattr(backend, "commit", noted)
            with backend._store.turn(1.0):
                call = asyncio.create_task(f(2))
                while not begun.is_set():
                    await asyncio.sleep(0)
                time.sleep(2 * CALL_SECONDS)  # in the loop: as SIGSTOP has it
            assert await call == 2

        asyncio.run(main())
        assert cache.breaker() == {"disk": "closed"}


def test_default_cache_is_asked_while_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cached function that the backend's own making calls computes; afterwards it is on the default cache."""
    monkeypatch.setattr(defaults, "_cache", None)
    calls: list[int] = []

    @defaults.cached(name="discover")
    def discover(x: int) -> int:
        calls.append(x)
        return x

    class Discovered(MemoryBackend):
        @classmethod
        def from_url(cls, url: str) -> Discovered:
            assert discover(1) == 1
            return cls()

    monkeypatch.setattr("memocache._cache.settings.make_backend", lambda url, *more: Discovered.from_url(url))
    with defaults.default_cache() as cache:
        assert [discover(1), discover(1)] == [1, 1]
        assert isinstance(cache.backend, Discovered)
        assert calls == [1, 1]


def test_another_async_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under curio, say, the first await of an async function says which library it is and what runs."""

    class NotFound(Exception):
        pass

    found = types.SimpleNamespace(current_async_library=lambda: "curio", AsyncLibraryNotFoundError=NotFound)
    monkeypatch.setitem(sys.modules, "sniffio", found)  # type: ignore[arg-type]  # it stands for the module
    with Cache() as cache:

        @cache.cached(name="f")
        async def f(x: int) -> int:
            return x

        with pytest.raises(RuntimeError, match="curio"):
            f(1).send(None)
        assert len(cache._flights) == 0


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers here")
def test_what_a_signal_handler_raises_reaches_the_caller_and_opens_no_breaker() -> None:
    """A handler that raises while the backend is asked: its exception, no `BackendError`, and nothing is counted."""
    asked: list[int] = []

    class Slow(MemoryBackend):
        def read(self, keys: Any, **options: Any) -> Any:
            if not asked:
                asked.append(1)
                signal.raise_signal(signal.SIGUSR1)
            return super().read(keys, **options)

    def strike(number: int, frame: Any) -> None:
        raise Foreign

    before = signal.signal(signal.SIGUSR1, strike)
    try:
        with Cache(Slow()) as cache:
            f: Any = cache.cached(name="f")(lambda x: x)
            with pytest.raises(Foreign):
                f(1)
            assert f.stats().backend_errors == 0
            assert not cache._guard.breaker.outcomes  # type: ignore[union-attr]  # it has one
            assert len(cache._flights) == 0
            assert f(1) == 1
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("kind", ["function", "method", "object", "none"])
def test_a_handler_is_told_by_its_code(kind: str) -> None:
    """Functions, methods and callable objects are known as handlers while they are installed, and not before."""

    class Handler:
        def __call__(self, number: int, frame: Any) -> None:
            raise Foreign

        def method(self, number: int, frame: Any) -> None:
            raise Foreign

    def function(number: int, frame: Any) -> None:
        raise Foreign

    handler: Any = {"function": function, "method": Handler().method, "object": Handler(), "none": function}[kind]
    with pytest.raises(Foreign) as raised:
        handler(10, None)
    before = signal.getsignal(signal.SIGUSR1)
    try:
        if kind != "none":
            signal.signal(signal.SIGUSR1, handler)
        assert of_signal_handler(raised.value) is (kind != "none")
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("way", ["async with", "aio.close", "dropped"])
def test_nothing_outlives_a_cache(url: str, way: str) -> None:
    """However it ends, neither the cache nor a thread of its own is left."""
    before = set(threading.enumerate())

    def use(cache: Cache) -> weakref.ref[Any]:
        cache.set("x", 1, ttl=60)
        assert cache.get("x") == 1
        return weakref.ref(cache._core)

    async def closed() -> weakref.ref[Any]:
        cache = Cache(url, prefix="ends")
        if way == "async with":
            async with cache.aio as aio:
                await aio.get("x")
                return use(cache)
        ref = use(cache)
        await cache.aio.get("x")
        await cache.aio.close()
        return ref

    ref = use(Cache(url, prefix="ends")) if way == "dropped" else asyncio.run(closed())

    def gone() -> bool:
        gc.collect()
        return ref() is None and not set(threading.enumerate()) - before

    until(gone)


def test_a_cache_leaves_nothing_to_be_done_at_exit(url: str) -> None:
    """However many there were: each asks for nothing of its own."""

    def use() -> None:
        with Cache(url, prefix="exit") as cache:
            cache.set("x", 1, ttl=60)

    use()
    before = atexit._ncallbacks()
    for _ in range(3):
        use()
    assert atexit._ncallbacks() == before
