"""Exceptions out of nowhere (a signal handler's, another thread's) in a leader: its followers are freed."""

from __future__ import annotations

import ctypes
import dis
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import memocache
from memocache import Cache
from memocache._runtime.budget import Budget
from tests.promises.flight.support import BOUND, Slow, assert_quiet, crowd, join, start, until

_CORE = tuple(
    str(Path(memocache.__file__).parent / f"{name}.py")
    for name in (
        "_calls/call",
        "_calls/engine",
        "_calls/leading",
        "_calls/memory_miss",
        "_runtime/singleflight",
        "_runtime/drivers",
        "_stores/remote/envelope_io",
        "_stores/remote/lease",
        "_stores/remote/store",
    )
)
_SOON = 3.0


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch, patient: None) -> None:
    """An interrupt may cost a call its answer; it then waits for as long as its budget lasts, which is to be less than
    `BOUND`.
    """

    def init(self: Budget, seconds: float = 5.0) -> None:
        self.left = 5.0

    monkeypatch.setattr(Budget, "__init__", init)


class Interrupt(BaseException):
    """As KeyboardInterrupt, without pytest's own ideas about that."""


def test_a_base_exception_hands_over(cache: Cache) -> None:
    """A leader that dies of a BaseException keeps it to itself: one follower computes for the others."""
    slow = Slow()

    @cache.cached(name="f")
    def f(n: int) -> int:
        serial = slow()
        if serial == 1:
            raise Interrupt
        return serial

    thread, results = start(lambda: crowd(10, lambda n: f(1)))
    until(lambda: f.stats().coalesced == 9)
    slow.go.set()
    join(thread)
    assert sum(type(result) is Interrupt for result in results[0]) == 1
    assert [result for result in results[0] if type(result) is int] == [2] * 9
    assert_quiet(cache)


class _Injector:
    """Raises `Interrupt` at the k-th moment at which the interpreter would run a signal handler in memocache's core.

    Those moments are the beginning of a function and the end of a call; not, say, between a lock's release and the
    `with` that asked for it, where no handler runs and no program could be safe.
    """

    def __init__(self, k: int) -> None:
        self.left = k
        self.at: str | None = None
        self._called: set[int] = set()  # ids: to hold a frame would be to hold the leader's token

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        code = frame.f_code
        if code.co_filename not in _CORE:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            name = dis.opname[code.co_code[frame.f_lasti]]
            struck = id(frame) in self._called or name == "JUMP_BACKWARD"
            self._called.discard(id(frame))
            if name in ("CALL", "CALL_FUNCTION_EX", "CALL_KW", "RESUME"):
                self._called.add(id(frame))
            if struck:
                self._strike(frame)
        return self

    def _strike(self, frame: FrameType) -> None:
        self.left -= 1
        if self.left == -1:
            self.at = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
            raise Interrupt


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="sys.settrace tells of only some opcodes since 3.12")
@pytest.mark.parametrize("kept", [False, True], ids=["dropped", "kept"])
def test_an_interrupt_at_every_moment_frees_the_follower(make_cache: Callable[..., Cache], kept: bool) -> None:
    """Wherever in the engine the leader is interrupted, a follower that waits for it has an answer soon, also while
    somebody keeps the exception, and with its traceback the leader's frames.
    """
    hung: list[str] = []
    cache, k, done = make_cache(), 0, False
    while not done and len(hung) < 3:

        @cache.cached(name=f"f{k}")
        def f(n: int) -> str:
            if threading.current_thread().name == "leader":
                until(lambda: f.stats().coalesced == 1)
                return "leader's"
            return "follower's"

        injector = _Injector(k)

        def lead(f: Any = f, injector: Any = injector) -> Any:
            threading.current_thread().name = "leader"
            sys.settrace(injector)
            try:
                return f(1)
            except Interrupt as error:
                return error if kept else None  # its traceback keeps the leader's frames alive
            finally:
                sys.settrace(None)

        leader, _ = start(lead)
        until(lambda leader=leader: len(cache._flights) or not leader.is_alive())
        follower, followed = start(lambda f=f: f(1))
        follower.join(_SOON)
        if not followed or followed[0] not in ("leader's", "follower's"):
            hung.append(f"{injector.at}: {followed}")
        leader.join(_SOON)
        done = injector.at is None
        k += 1
    assert not hung, "; ".join(hung)
    assert k > 50
    assert_quiet(cache)


def _interrupt(thread: threading.Thread) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Interrupt))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_asynchronous_exceptions_leave_no_follower_behind(cache: Cache) -> None:
    """Interrupts thrown from outside at random moments of a leader's life: every follower has an answer, every time."""
    # What runs in the background is started here, by a thread that nobody interrupts: CPython gives an interrupt for a
    # thread that is starting another to that other one, which then dies unborn while its starter waits for it.
    warm = cache.cached(name="warm")(lambda x: x)
    assert warm(1) == warm(1)
    draw = random.Random(7)
    rounds = 60

    for n in range(rounds):

        @cache.cached(name=f"f{n}")
        def f(x: int) -> int:
            threading.Event().wait(0.0005)
            return x

        inside, over = threading.Event(), threading.Event()

        def lead(f: Any = f, inside: Any = inside, over: Any = over) -> None:
            # the interrupt must come in here, and not in the thread's own beginning or end; it never comes out of a
            # weakref's callback
            try:
                inside.set()
                f(1)
                while not over.is_set():
                    time.sleep(0)
            except Interrupt:
                pass

        leader, _ = start(lead)
        assert inside.wait(BOUND)
        followers = [start(lambda f=f: f(1)) for _ in range(3)]
        for _ in range(draw.randrange(3000)):
            pass
        _interrupt(leader)
        join(*(thread for thread, _ in followers))
        over.set()
        join(leader)
        assert [results[0] for _, results in followers] == [1] * 3
    assert_quiet(cache)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers here")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_signal_handlers_exception_leaves_no_follower_behind(cache: Cache) -> None:
    """The same with SIGALRM, whose handler raises in the main thread while it leads."""

    fired: list[int] = []

    def handler(signum: int, frame: Any) -> None:
        fired.append(signum)
        raise Interrupt

    draw = random.Random(11)
    old = signal.signal(signal.SIGALRM, handler)
    try:
        for n in range(60):

            @cache.cached(name=f"f{n}")
            def f(x: int) -> int:
                threading.Event().wait(0.0005)
                return x

            followers = [start(lambda f=f: f(1)) for _ in range(3)]
            try:
                signal.setitimer(signal.ITIMER_REAL, draw.uniform(1e-5, 2e-3))
                f(1)
                until(lambda n=n: len(fired) > n)  # a call: since 3.13 a bare loop's own jump is outside the `try`
            except Interrupt:
                pass
            join(*(thread for thread, _ in followers))
            assert [results[0] for _, results in followers] == [1] * 3
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert_quiet(cache)
