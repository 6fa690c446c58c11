"""Any backend at all, failing: `FailingBackend` and `SlowBackend` around the reference backend and a real one."""

from __future__ import annotations

import errno
import sys
import threading
from typing import Any

import pytest

from memocache import BackendError
from memocache._runtime.circuit_breaker import Breaker
from memocache.backends.memory import MemoryBackend
from memocache.backends.redis import RedisBackend
from memocache.testing import FailingBackend, SlowBackend, servers
from memocache.typing import Put
from tests.promises.faults.rig import RECOVERY, STALL, Rig, share, within

ERRORS = [
    ConnectionError,
    TimeoutError,
    RuntimeError,
    MemoryError,
    AttributeError,
    StopIteration,
    RecursionError,
    AssertionError,
    lambda: OSError(errno.EMFILE, "too many files"),
    lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "canary"),
    lambda: KeyError("canary"),
]


def _made(backend: Any, error: Any, **choice: Any) -> FailingBackend:
    return FailingBackend(backend, error, **choice)


@pytest.fixture(params=["object", "server"])
def inner(request: pytest.FixtureRequest, running_server: Any) -> Any:
    """The reference backend (one colour, never blocks), and a real server's (two colours)."""
    if request.param == "object":
        return MemoryBackend()
    server = running_server(servers.available_servers()[0])
    with server.client() as client:
        client.flushall()
    return RedisBackend.from_url(server.url + "?timeout=5&connect_timeout=5")


@pytest.mark.usefixtures("leisure")
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("error", ERRORS, ids=range(len(ERRORS)))
def test_whatever_is_raised_never_reaches_a_caller(rig: Rig, inner: Any, error: Any, when: Any) -> None:
    """Every third operation raises, before or after it took effect: 1,000 calls, none raises or is wrong."""
    failing = _made(inner, error, every=3, when=when)
    f = rig.cached(rig.cache(failing))
    rig.trial(f, (n % 40 + 1 for n in range(share(1000))), width=4).check()
    assert failing.disturbed > 0
    assert f.stats().backend_errors > 0


@pytest.mark.parametrize("operation", ["read", "transact", "tally", "ping", "subscribe"])
def test_one_operation_that_always_fails(rig: Rig, inner: Any, operation: str) -> None:
    """A backend on which one operation never works costs calls their caching at most, also while two wait for one
    key.
    """
    failing = FailingBackend(inner, RuntimeError, operations=[operation])
    f, g = rig.cached(rig.cache(failing)), rig.cached(rig.cache(failing))
    rig.trial(f, (n % 40 + 1 for n in range(200)), width=4).check()
    rig.trial(g, (n % 40 + 1 for n in range(200)), width=4).check()


def test_waiting_on_a_backend_that_cannot_subscribe(rig: Rig, inner: Any) -> None:
    """Whoever waits for another process's computation polls where `subscribe` raises."""
    failing = FailingBackend(inner, RuntimeError, operations=["subscribe"])
    f = rig.cached(rig.cache(failing))
    rig.trial(f, [1]).check()
    generations = b"".join(inner.read(["memo:g:p", "memo:g:f:truth"]))
    for x in range(2, 12):  # until one that no machine that stands still lets expire before it is seen
        lease = f.key_for(x).replace("memo:e:", "memo:l:e")
        inner.transact([], [Put(lease, b"somebody" + bytes(8) + generations, 300)])
        rig.trial(f, [x]).check()
        if failing.disturbed:
            break
    assert failing.disturbed == 1, "it did not wait"


def test_on_error_raise_says_what_failed_and_nothing_else(rig: Rig, inner: Any) -> None:
    """With ``on_error="raise"`` the error names operation and class, without the text of the cause."""
    failing = FailingBackend(inner, lambda: KeyError("canary"))
    f = rig.cached(rig.cache(failing, on_error="raise"))
    raised = rig.call(f, 1)
    assert isinstance(raised, BackendError)
    assert "KeyError" in str(raised)
    assert "canary" not in str(raised)
    assert raised.__cause__ is None
    failing.active = False
    rig.pause(0.01)


def test_direct_calls_raise(rig: Rig, inner: Any) -> None:
    """Invalidations and direct calls raise `BackendError`, and nothing else, whatever the backend raised."""
    failing = FailingBackend(inner, AttributeError)
    cache = rig.cache(failing)
    f = rig.cached(cache)
    for ask in (
        lambda: rig.ask(cache, "get", "k"),
        lambda: rig.ask(cache, "set", "k", 1),
        lambda: rig.ask(cache, "clear"),
        lambda: rig.run(f.invalidate(1)),
        lambda: rig.run(f.invalidate_all()),
    ):
        with pytest.raises(BackendError):
            ask()


def test_recovery(rig: Rig, inner: Any) -> None:
    """When a failing backend works again calls use it within 2 s."""
    failing = FailingBackend(inner, RuntimeError)
    f = rig.cached(rig.cache(failing))

    def measure() -> float:
        failing.active = True
        rig.trial(f, range(1, 40)).check()
        failing.active = False
        return rig.recovers(f)

    within(RECOVERY, measure)


@pytest.mark.parametrize("obedient", [True, False])
def test_a_slow_backend(rig: Rig, inner: Any, obedient: bool) -> None:
    """A backend that takes a second costs a call 0.3 s once and never blocks the loop; one that ignores its timeout
    costs tasks no more (a thread cannot be called back from it).
    """
    if not obedient and (not rig.is_async or hasattr(inner, "aio")):
        pytest.skip("the backend's own code, in the caller's thread or task, is not interrupted")
    backend: Any = SlowBackend(inner, 1.0, obedient=obedient)

    def measure() -> float:
        f = rig.cached(rig.cache(backend))
        trial = rig.must_tick(lambda: rig.trial(f, range(1, 10)))
        trial.check()
        return trial.worst

    within(STALL, measure)


def test_threads_share_a_breaker() -> None:
    """What one thread reports of the backend never disturbs another's weighing of it: nothing is raised."""
    breaker, over = Breaker(), threading.Event()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def succeed() -> None:
        while not over.is_set():
            breaker.succeeded(1.0)

    thread = threading.Thread(target=succeed)
    try:
        thread.start()
        for _ in range(20_000):
            breaker.failed(1.0, timeout=False)
            breaker.open = False
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(before)


def test_the_wrappers_do_as_told() -> None:
    """Every nth operation, a seeded probability, chosen operations, on and off; mistakes are errors."""
    failing = FailingBackend(MemoryBackend(), every=3)
    assert [_fails(failing) for _ in range(6)] == [False, False, True, False, False, True]
    failing.active = False
    assert not any(_fails(failing) for _ in range(6))
    one, two = (FailingBackend(MemoryBackend(), probability=0.5, seed=7) for _ in range(2))
    assert [_fails(one) for _ in range(50)] == [_fails(two) for _ in range(50)]
    assert 10 < one.disturbed < 40
    assert not _fails(FailingBackend(MemoryBackend(), operations=["transact"]))
    with pytest.raises(ValueError, match="unknown operations: reads"):
        FailingBackend(MemoryBackend(), operations=["reads"])


def _fails(backend: Any) -> bool:
    try:
        backend.read(["k"])
    except ConnectionError:
        return True
    return False


def test_after_means_done() -> None:
    """With ``when="after"`` the operation has taken effect."""
    inner = MemoryBackend()
    failing = FailingBackend(inner, when="after", operations=["transact"])
    with pytest.raises(ConnectionError):
        failing.transact([], [Put("k", b"1")])
    assert failing.read(["k"]) == [b"1"]
