"""What a call costs while the server is refused, hangs, or is slow: the function's own time and what a cache adds."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

from benchmarks._loops import contender
from benchmarks._measure import Bench, Contender, Noted, Panel, Sample, Suite
from benchmarks._peers import OURS, async_server, sync_server
from benchmarks._units import spell_seconds

if TYPE_CHECKING:
    from memocache.testing.proxy import FaultProxy

Fault = Literal["refused", "hung", "slow"]
COMPUTE = 0.001
SLOW = 1.0
_FAULTS: dict[Fault, str] = {
    "refused": "the server is refused (its port is closed)",
    "hung": "the server is hung (connections stay open, nothing is answered)",
    "slow": f"the server is slow (every answer {SLOW:g} s late)",
}
_fresh = count(1)


def work(key: int) -> int:
    """Return `key` after a millisecond."""
    time.sleep(COMPUTE)
    return key


async def awork(key: int) -> int:
    """Return `key` after a millisecond."""
    await asyncio.sleep(COMPUTE)
    return key


def _calls(bench: Bench) -> int:
    return bench.effort.pick(full=20, quick=5, tiny=1)


def _patience(bench: Bench) -> float:
    """Seconds after which we call no more, and wait no longer for a call that has not come back."""
    return bench.effort.pick(full=8.0, quick=1.5, tiny=5.0)


def _break(proxy: FaultProxy, fault: Fault) -> None:
    if fault == "refused":
        proxy.close()
    elif fault == "hung":
        proxy.fault("stall")
    else:
        proxy.fault("delay", seconds=SLOW)


def _latency(call: Callable[[int], object], bench: Bench) -> Noted:
    """Call one after another, each with an argument of its own; the mean time of a call that was begun."""
    times: list[float] = []
    raised: list[str] = []
    begun = time.perf_counter()
    end = begun + _patience(bench)

    def run() -> None:
        nonlocal begun
        while len(times) < _calls(bench) and (begun := time.perf_counter()) < end:
            try:
                call(next(_fresh))
            except Exception as error:
                raised.append(type(error).__name__)
            times.append(time.perf_counter() - begun)

    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    worker.join(_patience(bench) + 0.5)
    seen = list(times)
    stuck = worker.is_alive()
    if stuck:
        seen.append(time.perf_counter() - begun)
    note = f"{len(seen)} calls, the slowest {spell_seconds(max(seen))}"
    if raised:
        note += f", {len(raised)} raised {raised[0]}"
    if stuck:
        note += ", one had not come back"
    return Noted(sum(seen) / len(seen), note)


@contextlib.contextmanager
def _loop() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """An event loop in a thread of its own, so that a call on it can be given up; yields what waits for a coroutine."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield lambda steps: asyncio.run_coroutine_threadsafe(steps, loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join(1.0)
    if not thread.is_alive():
        loop.close()


@contender("no cache")
def _none(bench: Bench) -> Iterator[Sample]:
    yield lambda number: _latency(work, bench)


def _sync(name: str, fault: Fault) -> Contender:
    @contender(name, peer=name not in OURS)
    def setup(bench: Bench) -> Iterator[Sample]:
        from memocache.testing.proxy import FaultProxy

        with FaultProxy(bench.server.port) as proxy, sync_server[name](proxy.url) as decorate:
            call = decorate(work)
            call(0)

            def sample(number: int) -> float:
                _break(proxy, fault)
                return _latency(call, bench)

            yield sample
            proxy.close()  # whoever still waits for an answer gets the end of the stream

    return setup


def _async(name: str, fault: Fault) -> Contender:
    label = name if name not in sync_server else f"{name}, async"

    @contender(label, peer=name not in OURS)
    def setup(bench: Bench) -> Iterator[Sample]:
        from memocache.testing.proxy import FaultProxy

        with _loop() as wait, FaultProxy(bench.server.port) as proxy:
            context = async_server[name](proxy.url)
            call = wait(context.__aenter__())(awork)
            wait(call(0))

            def sample(number: int) -> float:
                _break(proxy, fault)
                return _latency(lambda key: wait(call(key)), bench)

            yield sample
            proxy.close()
            with contextlib.suppress(Exception):  # a client may well fail to say goodbye to a server that is gone
                wait(asyncio.wait_for(context.__aexit__(None, None, None), _patience(bench)))

    return setup


def _panels(bench: Bench) -> Iterator[Panel]:
    sync = bench.effort.pick(full=list(sync_server), quick=["memocache", "dogpile.cache"], tiny=list(sync_server))
    awaited = bench.effort.pick(full=list(async_server), quick=["memocache"], tiny=list(async_server))
    for fault, meaning in _FAULTS.items():
        yield Panel(
            meaning,
            base="no cache",
            contenders=(
                _none,
                *(_sync(name, fault) for name in sync),
                *(_async(name, fault) for name in awaited),
            ),
            once=True,
            rounds=1,
        )


SUITE = Suite(
    name="outage",
    about="calls one after another while the server is refused, hung or slow, each with an argument of its own",
    counted=f"mean time of a call; the function itself takes {COMPUTE * 1000:g} ms",
    panels=_panels,
)
