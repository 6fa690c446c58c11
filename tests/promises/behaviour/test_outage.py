"""A backend that is not there: decorated calls answer all the same, and direct calls say so."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from memocache import MISSING, BackendError, Cache
from memocache.testing import servers
from tests.promises.behaviour.world import as_async
from tests.worlds import SERVERS, several

COLOURS = ["sync", "async"]


def _refused_url() -> str:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"redis://127.0.0.1:{sock.getsockname()[1]}/0"


@pytest.fixture(params=["never there", *several(SERVERS)])
def gone(request: pytest.FixtureRequest) -> Iterator[tuple[str, Any]]:
    """(URL, what takes the server away) of a server that was never there, or that is killed."""
    if request.param == "never there":
        yield _refused_url(), lambda: None
        return
    with servers.start(request.param) as server:
        yield server.url, server.kill


def _run(colour: str, steps: Any) -> Any:
    """Carry out `steps(call)` where `call` awaits what is awaitable: on one event loop in an async world."""
    if colour == "async":
        return asyncio.run(steps())
    coroutine = steps()
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("a sync world waits for nothing")


async def _value(result: Any, colour: str) -> Any:
    return await result if colour == "async" else result


@pytest.mark.parametrize("colour", COLOURS)
def test_decorated_calls_answer_and_direct_calls_raise(gone: tuple[str, Any], colour: str) -> None:
    """The function's values and exceptions come out; invalidations and direct calls raise BackendError; counters add
    up.
    """
    url, take_away = gone
    cache = Cache(url)
    calls: list[int] = []

    def body(x: int) -> int:
        calls.append(x)
        return 10 // x

    f = cache.cached(name="f")(as_async(body) if colour == "async" else body)

    async def steps() -> None:
        before = 0
        if "killed" in url or take_away.__name__ == "kill":
            assert [await _value(f(1), colour) for _ in range(2)] == [10, 10]
            assert len(calls) == 1
            before = 2
        take_away()
        assert [await _value(f(x), colour) for x in (1, 2, 1)] == [10, 5, 10]
        with pytest.raises(ZeroDivisionError):
            await _value(f(0), colour)
        assert sum(f.cache_info()[:2]) == before + 4
        assert f.stats().backend_errors > 0
        for name, args in (
            ("invalidate", (1,)),
            ("invalidate_all", ()),
            ("cache_clear", ()),
            ("refresh", (1,)),
            ("put", (1, 1)),
        ):
            with pytest.raises(BackendError):
                await _value(getattr(f, name)(*args), colour)
        face = cache.aio if colour == "async" else cache
        direct = [
            ("get", ("k",)), ("set", ("k", 1)), ("delete", ("k",)), ("exists", ("k",)), ("ttl", ("k",)),
            ("expire", ("k", 5)), ("get_many", (["k"],)), ("set_many", ({"k": 1},)), ("delete_many", (["k"],)),
            ("clear", ()), ("inspect", ("k",)), ("invalidate", ("f",)), ("invalidate", ("f*",)), ("purge", ()),
        ]  # fmt: skip
        for name, args in direct:
            with pytest.raises(BackendError):
                await _value(getattr(face, name)(*args), colour)
        with pytest.raises(BackendError):
            await _value(face.invalidate(tag="t"), colour)
        figures = await _value(face.stats(), colour)
        assert figures.functions["f"].misses >= before // 2 + 2, "what this process counted is to be had"
        assert (figures.total_keys, figures.memory_usage_bytes, figures.average_ttl_seconds) == (None, None, None)
        with pytest.raises(BackendError):  # what others counted is not
            await _value(face.stats("fleet"), colour)
        assert await _value(f.peek(1), colour) is MISSING
        health = await _value(face.health(), colour)
        assert (health.ok, health.roundtrip_ok) == (False, False)
        assert f.key_for(1).startswith("memo:e:f:")
        if colour == "async":
            await cache.aio.close()

    _run(colour, steps)
    cache.close()


@pytest.mark.parametrize("colour", COLOURS)
def test_on_error_raise(colour: str) -> None:
    """With `on_error="raise"` a decorated call raises BackendError."""
    cache = Cache(_refused_url(), on_error="raise")
    body = lambda x: x  # noqa: E731  # a body for both colours
    f = cache.cached(name="f")(as_async(body) if colour == "async" else body)

    async def steps() -> None:
        for _ in range(2):
            with pytest.raises(BackendError):
                await _value(f(1), colour)
        if colour == "async":
            await cache.aio.close()

    _run(colour, steps)
    cache.close()


@pytest.mark.filterwarnings("ignore::memocache.UnsharedWarning")
@pytest.mark.parametrize("colour", COLOURS)
def test_methods_that_stay_in_the_process_answer_too(colour: str) -> None:
    """An entry held here whose markers cannot be asked for is not served, and the call is computed."""
    cache = Cache(_refused_url())
    body = lambda self, x: x  # noqa: E731  # a body for both colours

    class Thing:
        m = cache.cached(name="Thing.m")(as_async(body) if colour == "async" else body)

    async def steps() -> None:
        thing = Thing()
        assert [await _value(thing.m(1), colour) for _ in range(3)] == [1, 1, 1]
        with pytest.raises(BackendError):
            await _value(thing.m.invalidate_all(), colour)
        if colour == "async":
            await cache.aio.close()

    _run(colour, steps)
    cache.close()


def test_messages_of_failures_hold_no_arguments() -> None:
    """What a BackendError says names the operation and the kind of trouble, never a key, value or address."""
    cache = Cache(_refused_url().replace("127.0.0.1", "user:s3cret@127.0.0.1"))
    with pytest.raises(BackendError) as raised:
        cache.set("hush-key", "hush-value")
    assert "hush" not in str(raised.value)
    assert "s3cret" not in str(raised.value)
    assert raised.value.__cause__ is None
    cache.close()
