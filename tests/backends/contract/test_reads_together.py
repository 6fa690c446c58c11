"""Look-ups of one turn of an event loop are one command, and each caller gets just what it would have got alone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import memocache
from memocache import BackendError, Cache, UnsharedWarning
from memocache._cache.default import replaced
from memocache._stores.remote.envelope import Envelope, Flag, close, echo, pack
from memocache._stores.remote.envelope_io import UNFIT
from memocache.backends._redis import multiplexer as _lanes
from memocache.backends._redis import pipelined_connection as _lane
from memocache.backends._redis import read_batching as _reads
from memocache.backends._redis.connection import Connection
from memocache.backends._redis.multiplexer import LoopConnections, Multiplexer
from memocache.backends._redis.pipelined_connection import PipelinedConnection, Step, ValueSize
from memocache.backends._redis.read_batching import ReadBatch
from memocache.backends._redis.resp import Ask
from memocache.backends.base import ReplyError
from memocache.exceptions import EncodeError
from memocache.testing import FailingBackend, FakeClock, FakeServer, FaultProxy, servers
from memocache.testing.servers import Server

LEISURE = "?timeout=30&connect_timeout=30"
"""Deadlines that a machine which stands still for seconds does not meet."""


@pytest.fixture
def leisurely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls have half a minute for their look-up."""
    monkeypatch.setattr("memocache._runtime.budget.CALL_SECONDS", 30.0)
    monkeypatch.setattr("memocache._runtime.budget.Budget.__init__.__defaults__", (30.0,))


@pytest.fixture
def cache(server: Server, leisurely: None) -> Iterator[Cache]:
    """A cache on a real server."""
    with Cache(server.url + LEISURE) as cache:
        yield cache


def run(cache: Cache, scenario: Callable[[], Any]) -> Any:
    """Run `scenario` in a loop of its own and let go of that loop's connections."""

    async def main() -> Any:
        try:
            return await scenario()
        finally:
            await cache.aio.close()

    return asyncio.run(main())


def commands(server: Server, name: str) -> int:
    """How many commands of a name the server has carried out."""
    with server.client() as client:
        return int(client.info("commandstats").get(f"cmdstat_{name}", {"calls": 0})["calls"])


async def crowd(cache: Cache) -> None:
    """Two gets at once, so that more than one is expected of the next turn too; it also connects."""
    await asyncio.gather(cache.aio.get("k0"), cache.aio.get("k0"))


def test_a_hundred_gets_are_two_commands(server: Server, cache: Cache) -> None:
    """100 distinct gets begun in one turn cost the server two MGETs, and give each its own value."""
    cache.set_many({f"k{n}": n for n in range(100)})

    async def scenario() -> None:
        await crowd(cache)
        before = commands(server, "mget")
        assert await asyncio.gather(*(cache.aio.get(f"k{n}") for n in range(100))) == list(range(100))
        assert commands(server, "mget") == before + 2

    run(cache, scenario)


def test_a_hundred_calls_are_two_commands(server: Server, cache: Cache) -> None:
    """100 hits of async functions, of different functions and with tags, begun in one turn, are two MGETs and count."""

    @cache.cached(ttl=60, name="plain")
    async def plain(n: int) -> int:
        return n

    @cache.cached(ttl=60, name="tagged", tags="item:{n}")
    async def tagged(n: int) -> int:
        return -n

    async def scenario() -> None:
        expected = list(range(50)) + [-n for n in range(50)]
        for _ in range(2):
            before = commands(server, "mget")
            answers = await asyncio.gather(*map(plain, range(50)), *map(tagged, range(50)))
            assert answers == expected
        assert commands(server, "mget") == before + 2

    run(cache, scenario)
    for function in (plain, tagged):
        assert function.cache_info()[:2] == (50, 50)


def test_one_after_the_other_is_sent_without_waiting(
    server: Server, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A get that follows one that was alone is on its way when it waits; one that follows a crowd waits for more."""
    cache.set_many({f"k{n}": n for n in range(20)})
    sent: list[int] = []
    honest = _lanes.LoopConnections.leave

    def leave(lanes: LoopConnections, batch: ReadBatch) -> None:
        if batch.open:
            sent.append(len(batch.futures))
        honest(lanes, batch)

    read = PipelinedConnection.read

    def alone(connection: PipelinedConnection, *one: Any) -> None:
        sent.append(1)
        read(connection, *one)

    monkeypatch.setattr(_lanes.LoopConnections, "leave", leave)
    monkeypatch.setattr(PipelinedConnection, "read", alone)

    async def scenario() -> None:
        async def begun(key: str) -> int:
            """How many reads have left when this one waits."""
            del sent[:]
            task = asyncio.ensure_future(cache.aio.get(key))
            await asyncio.sleep(0)
            count = sum(sent)
            await task
            return count

        assert [await begun(f"k{n}") for n in range(4)] == [0, 1, 1, 1]
        await asyncio.gather(*(cache.aio.get(f"k{n}") for n in range(20)))
        assert [await begun(f"k{n}") for n in range(3)] == [0, 1, 1]

    run(cache, scenario)


def test_values_defaults_and_the_stale_keep_apart(server: Server, leisurely: None) -> None:
    """Of gets begun together, each has its own value or default; hits and misses are counted one by one."""
    clock = FakeClock(time.time())
    with Cache(server.url + LEISURE, clock=clock) as cache:
        cache.set_many({f"old{n}": n for n in range(30)}, ttl=10)
        cache.set_many({f"new{n}": [n] for n in range(30)}, ttl=100)
        clock.advance(11)
        names = [f"{kind}{n}" for n in range(30) for kind in ("old", "new", "none")]

        async def scenario() -> None:
            answers = await asyncio.gather(*(cache.aio.get(name, default=name) for name in names))
            assert answers == [[int(name[3:])] if name.startswith("new") else name for name in names]

        run(cache, scenario)
        stats = cache.stats()
        assert (stats.hits, stats.misses) == (30, 60)


def test_the_same_key_at_once(cache: Cache) -> None:
    """The same key asked for many times at once is read once, and each caller has a value of its own."""
    cache.set("k", [1])

    async def scenario() -> None:
        answers = await asyncio.gather(*(cache.aio.get("k") for _ in range(20)))
        assert answers == [[1]] * 20
        assert len(set(map(id, answers))) == 20

    run(cache, scenario)
    assert cache.stats().hits == 20


@pytest.mark.parametrize("when", ["gathering", "sent"])
def test_cancelling_some_harms_no_other(server: Server, leisurely: None, when: str) -> None:
    """Every third of 60 gets is cancelled, before their command is sent or after: each other gets its own value."""
    with Cache(server.url + LEISURE) as writer:
        writer.set_many({f"k{n}": n for n in range(60)})
    with FaultProxy(server.port) as proxy, Cache(proxy.url + LEISURE) as cache:

        async def scenario() -> None:
            await crowd(cache)
            if when == "sent":
                proxy.fault("stall")
            tasks = [asyncio.ensure_future(cache.aio.get(f"k{n}")) for n in range(60)]
            await asyncio.sleep(0)  # they ask
            if when == "sent":
                await asyncio.sleep(0)  # the command leaves
            for task in tasks[::3]:
                task.cancel()
            proxy.heal()
            for n, outcome in enumerate(await asyncio.gather(*tasks, return_exceptions=True)):
                assert isinstance(outcome, asyncio.CancelledError) if n % 3 == 0 else outcome == n

        run(cache, scenario)


def test_nothing_is_sent_for_nobody(server: Server, cache: Cache) -> None:
    """Gets that were all cancelled before their command left cost the server nothing."""
    cache.set("k", 1)

    async def scenario() -> None:
        await crowd(cache)
        before = commands(server, "mget")
        tasks = [asyncio.ensure_future(cache.aio.get("k")) for _ in range(5)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert await cache.aio.get("k") == 1
        assert commands(server, "mget") == before + 1

    run(cache, scenario)


def test_an_error_is_everybodys_own() -> None:
    """An error reply raises a `BackendError` of its own in each get, and lets each cached call compute."""
    with FakeServer() as fake, Cache(fake.url + LEISURE) as cache:
        fake.answer(b"-NOPERM no permission for that\r\n", "MGET")

        @cache.cached(ttl=60)
        async def f(n: int) -> int:
            return n

        async def scenario() -> None:
            gets = await asyncio.gather(*(cache.aio.get(f"k{n}") for n in range(4)), return_exceptions=True)
            assert all(isinstance(error, BackendError) and "no permission" in str(error) for error in gets)
            assert len(set(map(id, gets))) == 4
            assert await asyncio.gather(*map(f, range(4))) == list(range(4))

        run(cache, scenario)
        assert f.stats().backend_errors >= 4


@pytest.mark.parametrize("reply", [b"*1\r\n$1\r\nx\r\n", b":7\r\n", b"*4\r\n:1\r\n:2\r\n:3\r\n:4\r\n", b"+OK\r\n"])
def test_a_reply_that_is_none_ends_the_connection(server: Server, reply: bytes) -> None:
    """A reply that cannot be the answer is everybody's `BackendError`, and ends the connection."""
    with FakeServer(server.port) as fake, Cache(fake.url + LEISURE) as cache:
        cache.set_many({f"k{n}": n for n in range(3)})

        async def scenario() -> None:
            await crowd(cache)
            opened = fake.opened
            fake.answer(reply, "MGET", times=1)
            gets = await asyncio.gather(*(cache.aio.get(f"k{n}") for n in range(3)), return_exceptions=True)
            assert all(isinstance(error, BackendError) for error in gets), gets
            assert await asyncio.gather(*(cache.aio.get(f"k{n}") for n in range(3))) == [0, 1, 2]
            assert fake.opened > opened

        run(cache, scenario)


def test_a_connection_closed_while_idle_is_not_noticed(server: Server, cache: Cache) -> None:
    """Gets over a connection that the server closed meanwhile are asked again over a new one."""
    cache.set_many({f"k{n}": n for n in range(20)})

    async def scenario() -> None:
        await crowd(cache)

        def kick() -> None:
            with server.client() as client:
                client.client_kill_filter(_type="normal", skipme=True)

        await asyncio.to_thread(kick)
        assert await asyncio.gather(*(cache.aio.get(f"k{n}") for n in range(20))) == list(range(20))

    run(cache, scenario)
    assert cache.breaker() == {"redis": "closed"}


def test_a_server_that_hangs_costs_each_call_its_deadline() -> None:
    """Cached calls that ask a suspended server together all compute, once each, and no second command is sent."""
    computed: list[int] = []
    with servers.start(servers.available_servers()[0]) as own, Cache(own.url) as cache:

        @cache.cached(ttl=60)
        async def f(n: int) -> int:
            computed.append(n)
            return n

        async def scenario() -> None:
            assert await f(-1) == -1
            own.suspend()
            try:
                assert await asyncio.gather(*map(f, range(20))) == list(range(20))
            finally:
                own.resume()

        run(cache, scenario)
    assert sorted(computed) == list(range(-1, 20))


class Ahead:
    """The clock of the lanes: it can leap, as the real one does for a loop that stood still."""

    def __init__(self) -> None:
        self.by = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.by


@pytest.mark.parametrize("when", ["gathering", "sent"])
def test_a_loop_that_stood_still_is_no_backend_trouble(
    server: Server, leisurely: None, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """A caller that blocks the loop for longer than look-ups may take spoils none of them, answered yet or not."""
    clock = Ahead()
    for module in (_lane, _lanes):
        monkeypatch.setattr(module, "time", clock)
    with FaultProxy(server.port) as proxy, Cache(proxy.url + LEISURE) as cache:

        @cache.cached(ttl=60)
        async def f(n: int) -> int:
            return n

        async def scenario() -> None:
            await asyncio.gather(*map(f, range(20)))
            proxy.fault("stall")
            tasks = [asyncio.ensure_future(f(n)) for n in range(20)]
            for _ in range({"gathering": 1, "sent": 2}[when]):
                await asyncio.sleep(0)
            clock.by += 100.0
            backend: Any = cache.backend
            lanes = backend.aio.multiplexer._loops[asyncio.get_running_loop()]
            due = lanes._tick_due
            while lanes._ticking and lanes._tick_due < due + 50.0:  # until the clock was looked at
                await asyncio.sleep(0)
            proxy.heal()
            assert await asyncio.gather(*tasks) == list(range(20))

        run(cache, scenario)
        assert cache.breaker() == {"redis": "closed"}
        assert (f.stats().backend_errors, f.stats().hits) == (0, 20)


def test_a_loop_that_is_held_up_over_and_over_ends_the_wait_too(server: Server) -> None:
    """A call on a server that hangs is answered after a few turns of a loop that each of its turns blocks."""
    with FaultProxy(server.port) as proxy, Cache(proxy.url) as cache:

        @cache.cached(ttl=60)
        async def f(n: int) -> int:
            return n

        async def scenario() -> None:
            await f(1)
            proxy.fault("stall")
            call = asyncio.ensure_future(f(1))
            turns = 0
            while not call.done():
                time.sleep(0.15)  # the block itself is the point
                await asyncio.sleep(0.001)
                turns += 1
            assert await call == 1
            assert turns < 10
            proxy.heal()

        run(cache, scenario)


def test_only_what_waited_is_excused_and_once() -> None:
    """A loop that stood still gives what waited meanwhile that much time, once; what is sent after it has its own."""

    async def scenario() -> None:
        dialled = threading.Event()

        def dial() -> Connection:
            dialled.wait()
            raise OSError

        loop = asyncio.get_running_loop()
        lanes = LoopConnections(dial)
        until = time.monotonic() + 1000
        before, after = (Step(Ask(b"", 1), until, loop.create_future()) for _ in range(2))
        lanes._send(lanes._choose(), before)
        lanes._tick_due -= 5000
        lanes._send(lanes._choose(), after)
        lanes._tick()
        assert (before.deadline > until + 4900, after.deadline) == (True, until)
        excused = before.deadline
        lanes._tick_due -= 5000
        lanes._tick()
        assert (before.deadline, after.deadline > until + 4900) == (excused, True)
        lanes.close()
        dialled.set()
        for request in (before, after):
            with pytest.raises(ConnectionError):
                await request.future

    asyncio.run(scenario())


def test_many_are_several_commands(server: Server, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a command's share of gets are several commands, in one write, and each has its own value."""
    monkeypatch.setattr(_reads, "_MOST", 10)
    cache.set_many({f"k{n}": n for n in range(95)})

    async def scenario() -> None:
        await crowd(cache)
        before = commands(server, "mget")
        assert await asyncio.gather(*(cache.aio.get(f"k{n}") for n in range(95))) == list(range(95))
        assert commands(server, "mget") == before + 10

    run(cache, scenario)


def test_large_values_are_read_in_smaller_commands(server: Server, cache: Cache) -> None:
    """Once values are known to be large, gets begun together are commands of about 1 MiB each, and one again later."""
    cache.set_many({f"large{n}": bytes(300_000) for n in range(8)})
    cache.set_many({f"small{n}": n for n in range(8)})

    async def cost(kind: str) -> int:
        before = commands(server, "mget")
        answers = await asyncio.gather(*(cache.aio.get(f"{kind}{n}") for n in range(8)))
        assert answers == (list(range(8)) if kind == "small" else [bytes(300_000)] * 8)
        return commands(server, "mget") - before

    async def scenario() -> None:
        assert await cost("large") == 1  # nobody knew
        assert await cost("large") == 3
        assert await cost("small") > 1
        for _ in range(20):
            await cost("small")
        assert await cost("small") == 1

    run(cache, scenario)


def test_a_key_too_long_for_an_envelope_is_refused(cache: Cache) -> None:
    """What does not fit an envelope's key is an `EncodeError` that says so, and is never found."""
    with pytest.raises(EncodeError, match="65535 bytes"):
        cache.set("k" * 70_000, 1)
    with pytest.raises(EncodeError, match="65535 bytes"):
        cache.set_many({"k" * 70_000: 1})
    assert cache.get("k" * 70_000, "none") == "none"
    assert run(cache, lambda: cache.aio.get("k" * 70_000, "none")) == "none"


def test_two_loops_at_once(cache: Cache) -> None:
    """Loops of two threads that take turns with every get never get each other's."""
    cache.set_many({f"k{n}": n for n in range(50)})
    wrong: list[Any] = []
    barrier = threading.Barrier(2)

    def work(first: int) -> None:
        async def scenario() -> None:
            for turn in range(200):
                keys = [(first + turn + n) % 50 for n in range(5)]
                answers = await asyncio.gather(*(cache.aio.get(f"k{n}") for n in keys))
                if answers != keys:
                    wrong.append((keys, answers))

        barrier.wait()
        asyncio.run(scenario())  # to close the cache would end the other's connections too

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_what_cannot_be_sent_is_told(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a command cannot even be made, each get raises and each call computes; nobody waits for ever."""

    def refuse(*words: object) -> bytes:
        raise MemoryError

    @cache.cached(ttl=60)
    async def f(n: int) -> int:
        return n

    async def scenario() -> None:
        await crowd(cache)
        with monkeypatch.context() as patch:
            patch.setattr(_reads, "command_bytes", refuse)
            gets = await asyncio.gather(*(cache.aio.get(f"k{n}") for n in range(3)), return_exceptions=True)
            assert all(isinstance(error, BackendError) for error in gets), gets
            cache._guard.breaker.closed()  # type: ignore[union-attr]  # it is shared; ask in the same way once more
            assert await asyncio.gather(*map(f, range(3))) == list(range(3))

    run(cache, scenario)


def test_closed_while_gathering(cache: Cache) -> None:
    """Gets that had not left when the loop's connections were closed raise, and later ones are answered."""

    # nothing was asked before, so closing has nothing to send, and waits for nothing
    async def scenario() -> None:
        tasks = [asyncio.ensure_future(cache.aio.get("k")) for _ in range(3)]
        await asyncio.sleep(0)
        await cache.aio.close()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, BackendError) for one in outcomes), outcomes

    run(cache, scenario)
    assert run(cache, lambda: cache.aio.get("k", "nothing")) == "nothing"


def test_a_wrapped_backend_is_not_passed_by(server: Server) -> None:
    """A backend that wraps another sees every read of async callers too."""
    with Cache(server.url + LEISURE) as plain:
        assert plain.backend is not None
        with Cache(FailingBackend(plain.backend, operations=("read",))) as cache:

            async def scenario() -> None:
                with pytest.raises(BackendError):
                    await cache.aio.get("k")

            asyncio.run(scenario())


@pytest.mark.parametrize("failing", [False, True])
def test_key_and_tags_are_asked_once_a_call(cache: Cache, failing: bool) -> None:
    """The user's ``key`` and ``tags`` are called once for each call, also while a failure is being weighed."""
    asked: list[Any] = []

    @cache.cached(ttl=60, key=lambda n: asked.append(n) or n, tags=lambda n: asked.append("t") or ["a"])
    async def f(n: int) -> int:
        return n

    async def scenario() -> None:
        assert await f(1) == 1
        assert cache._guard is not None
        if failing:
            cache._guard.breaker.outcomes.append((time.monotonic(), False))
        asked.clear()
        assert await f(1) == 1
        assert asked == ["t", 1]

    run(cache, scenario)
    assert f.cache_info().hits == 1


def test_a_call_that_stays_in_the_process_asks_its_key_as_often(cache: Cache) -> None:
    """A call whose key nobody else can name has its ``key`` called as often in async code as in sync code."""
    asked: list[str] = []

    @dataclass(frozen=True)
    class Local:
        n: int

    @cache.cached(ttl=60, key=lambda: asked.append("async") or Local(1))
    async def f() -> int:
        return 1

    @cache.cached(ttl=60, key=lambda: asked.append("sync") or Local(1))
    def g() -> int:
        return 1

    async def scenario() -> None:
        assert (await f(), g()) == (1, 1)
        asked.clear()
        assert (await f(), g()) == (1, 1)
        assert asked.count("async") == asked.count("sync")

    with pytest.warns(UnsharedWarning):
        run(cache, scenario)


def test_without_an_asyncio_loop_a_call_computes(cache: Cache) -> None:
    """A coroutine that something else than asyncio drives costs the call its caching, not its answer."""

    @cache.cached(ttl=60)
    async def f(n: int) -> int:
        return n

    with pytest.raises(StopIteration) as stop:
        f(1).send(None)
    assert stop.value.value == 1
    with pytest.raises(BackendError):
        cache.aio.get("k").send(None)


def test_a_cache_replaced_meanwhile_is_not_gone_on_with(server: Server) -> None:
    """A call whose default cache is replaced while it waits is a call of the new one: counted and stored there."""
    computed: list[int] = []

    @memocache.cached(ttl=60)
    async def f(n: int) -> int:
        computed.append(n)
        return n

    async def scenario(proxy: FaultProxy, new: Cache) -> None:
        with Cache(proxy.url) as old, replaced(old):
            assert await f(0) == 0
            proxy.fault("stall")
            calls = [asyncio.ensure_future(f(n)) for n in (1, 2)]
            for _ in range(2):  # they ask, and the command leaves
                await asyncio.sleep(0)
            with replaced(new):
                old.close()
                proxy.heal()
                assert await asyncio.gather(*calls) == [1, 2]
                assert await asyncio.gather(f(1), f(2)) == [1, 2]
                assert f.cache_info()[:2] == (2, 2)
        assert computed == [0, 1, 2]

    with FaultProxy(server.port) as proxy, Cache(server.url + LEISURE) as new:
        run(new, lambda: scenario(proxy, new))


# -- the batch by itself

KEYS = [f"e{n}" for n in range(6)]
MARKERS = [["p"], ["p", "f"], ["p"], ["p", "g", "t"]]
ASKED = st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(range(4)), st.booleans()), min_size=1, max_size=12)


@given(ASKED, st.dictionaries(st.sampled_from([*KEYS, "p", "f", "g", "t"]), st.binary(max_size=3)))
def test_everybody_is_given_what_stands_at_their_own_keys(asked: Any, there: dict[str, bytes]) -> None:
    """Whoever asked for what, with whatever cancelled, is told the values of their own entry and markers."""
    loop = asyncio.new_event_loop()
    try:
        batch = ReadBatch(loop, 1.0, ValueSize())
        for entry, which, _ in asked:
            batch.futures.append(batch.new_future())
            batch.entries.append(entry)
            batch.markers.append(MARKERS[which])
        futures = batch.futures
        for future, (_, _, cancelled) in zip(futures, asked, strict=True):
            if cancelled:
                future.cancel()
        for part in batch.parts(0.0):
            part.replies.append([there.get(key) for key in part._keys])
            part.answered()
        for future, (entry, which, cancelled) in zip(futures, asked, strict=True):
            if not cancelled:
                assert future.result() == (entry, there.get(entry), [there.get(marker) for marker in MARKERS[which]])
    finally:
        loop.close()


def test_each_has_an_error_of_its_own() -> None:
    """An error that ends a batch is a new one of its kind for each who waits: their tracebacks stay apart."""
    loop = asyncio.new_event_loop()
    try:
        for error in (ReplyError("OOM", "OOM text"), TimeoutError("late"), ConnectionResetError("gone")):
            batch = ReadBatch(loop, 1.0, ValueSize())
            futures = [batch.new_future() for _ in range(3)]
            batch.futures += futures
            batch.fail(error)
            results = [future.result() for future in futures]
            assert len({*map(id, results), id(error)}) == 4
            assert all(isinstance(one, Exception) and isinstance(error, type(one)) for one in results)
    finally:
        loop.close()


def test_loops_are_forgotten_with_their_batch() -> None:
    """What a backend remembers of the latest batch keeps neither it nor its loop."""
    import gc
    import weakref

    lanes = Multiplexer(lambda: (_ for _ in ()).throw(OSError()), 1.0)
    loop = asyncio.new_event_loop()

    async def ask() -> None:
        lanes.read_soon("e", ["p"], 1.0).cancel()
        await asyncio.sleep(0)

    loop.run_until_complete(ask())
    loop.close()
    gone = weakref.ref(loop)
    del loop
    gc.collect()
    assert gone() is None


# -- a glance at what was found

GENERATIONS = b"12345678" * 2
WHOLE = Envelope("memo:k:k", 1000.0, 2000.0, 2500.0, 0.25, GENERATIONS, b"\x07", Flag.PLAIN, store_id=bytes(8))


@given(st.data())
def test_a_glance_agrees_with_reading(data: st.DataObject) -> None:
    """Whatever stands there, a glance serves the value that reading it with care would serve, or nothing."""
    clock = FakeClock(1500.0)
    with FakeServer() as fake, Cache(fake.url, clock=clock) as cache:
        store: Any = cache._places.shared
        table = cache._operations.key_value.plain
        flags = data.draw(st.sampled_from([0, 1, 2, 4, 16]))
        key = data.draw(st.sampled_from(["memo:k:k", "memo:k:other"]))
        expires = data.draw(st.sampled_from([1400.0, 1500.0, 1600.0]))
        payload = data.draw(st.sampled_from([b"\x07", b"\xc1", b"\xa1x", b""]))
        seal = data.draw(st.sampled_from([b"", b"s"]))
        envelope = WHOLE._replace(key=key, flags=flags, expires_at=expires, payload=payload)
        raw = bytearray(close(pack(envelope), seal))
        for _ in range(data.draw(st.integers(0, 2))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        marks = data.draw(
            st.sampled_from([[GENERATIONS[:8], GENERATIONS[8:]], [b"00000000", b"12345678"], [None, b"1"]])
        )
        seen = store.glance(table, ("memo:k:k", bytes(raw), marks))
        address = cache._operations.key_value._address("k")
        values = [bytes(raw), *marks]
        found: Any = store.read(address, store.spot(address), values)
        assert (seen is UNFIT) or (found.load is not None and found.now < found.expires and found.load().value == seen)
        assert table.counters.hits == (seen is not UNFIT)


def test_a_glance_serves_a_plain_fresh_value() -> None:
    """It does serve what most are, counted; the markers' values are joined once for all that share their list."""
    with FakeServer() as fake, Cache(fake.url, clock=FakeClock(1500.0)) as cache:
        store: Any = cache._places.shared
        table = cache._operations.key_value.plain
        raw = close(pack(WHOLE), b"")
        assert echo(GENERATIONS, b"memo:k:k") in raw
        marks = [GENERATIONS[:8], GENERATIONS[8:]]
        assert [store.glance(table, ("memo:k:k", raw, marks)) for _ in range(3)] == [7, 7, 7]
        assert table.counters.hits == 3
        assert store.glance(table, ("memo:k:k", raw, [None, GENERATIONS[8:]])) is UNFIT
        assert store.glance(table, ("memo:k:k", None, marks)) is UNFIT
        assert store.glance(table, TimeoutError()) is UNFIT
