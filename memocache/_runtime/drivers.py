"""The two drivers: they carry out steps, in this thread or in this task.

`run` blocks and never makes an event loop; `arun` is a coroutine under asyncio or trio. Both promise to close the
steps, however they end. Background runs are bounded. The drivers know no cache: what is asked, and why, is the steps'
matter; how a task waits is that of `memocache._runtime.async_library`.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import warnings
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from memocache._runtime import async_library
from memocache._runtime.async_library import refuse_other_library
from memocache._runtime.effects import Compute, Io, Spawn, Steps, Wait
from memocache._runtime.outcome import Outcome
from memocache._runtime.singleflight import LEADING

T = TypeVar("T")

MAX_BACKGROUND = 64
"""How many background refreshes may run at once in a process; more are left for a later call to start."""

_background = 0
_background_lock = threading.Lock()


def _admit_background(urgent: bool) -> bool:
    global _background
    with _background_lock:
        if not urgent and _background >= MAX_BACKGROUND:
            return False
        _background += 1
        return True


def _background_ended() -> None:
    global _background
    with _background_lock:
        _background -= 1


def run(steps: Steps[T]) -> T:
    """Carry out `steps` in this thread."""
    send = steps.send
    reply: Any = None
    try:
        while True:
            try:
                effect = send(reply)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]  # StopIteration.value is Any
            send = steps.send
            if type(effect) is Compute:
                try:
                    reply = Outcome(effect.function(*effect.args, **effect.kwargs))
                except Exception as error:
                    reply = Outcome(None, error, error.__traceback__)
            elif isinstance(effect, Io):
                try:
                    reply = effect.blocking()
                except Exception as error:
                    # thrown in, so that the engine handles failure where it asked
                    send, reply = _thrower(steps, error), None
            elif type(effect) is Wait:
                reply = _wait(effect)
            else:
                reply = _spawn_thread(effect)
    finally:
        steps.close()


async def arun(steps: Steps[T]) -> T:
    """Carry out `steps` in this task. Raises RuntimeError under another async library than asyncio and trio."""
    try:
        refuse_other_library()
    except RuntimeError:
        steps.close()
        raise
    send = steps.send
    reply: Any = None
    try:
        while True:
            try:
                effect = send(reply)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]  # StopIteration.value is Any
            send = steps.send
            if type(effect) is Compute:
                try:
                    reply = Outcome(await effect.function(*effect.args, **effect.kwargs))
                except Exception as error:
                    reply = Outcome(None, error, error.__traceback__)
            elif isinstance(effect, Io):
                try:
                    reply = await effect.awaiting()
                except Exception as error:
                    send, reply = _thrower(steps, error), None
            elif type(effect) is Wait:
                reply = await _await(effect)
            else:
                reply = _spawn_task(effect)
    finally:
        steps.close()


def unwrap(outcome: Outcome) -> Any:
    """Return the value or raise the error, with the traceback it had when it was caught: sharing an error among callers
    or raising it again and again does not grow its traceback."""
    if outcome.error is None:
        return outcome.value
    try:
        raise outcome.error.with_traceback(outcome.trace)
    finally:
        del outcome  # else the error's traceback holds this frame, and the frame the error


def _thrower(steps: Steps[Any], error: Exception) -> Callable[[Any], Any]:
    def throw(_: Any) -> Any:
        return steps.throw(error)

    return throw


def _wait(effect: Wait) -> bool:
    bell: SimpleQueue[bool] = SimpleQueue()
    wake = partial(bell.put, True)  # C code, which no signal handler interrupts; to be woken twice is to be woken
    if not effect.signal.add(wake):
        return True
    try:
        timeout = effect.timeout
        return bell.get(timeout=None if timeout is None else min(max(timeout, 0), threading.TIMEOUT_MAX))
    except Empty:
        return False
    finally:
        effect.signal.discard(wake)


async def _await(effect: Wait) -> bool:
    bell = async_library.here().new_bell()
    if not effect.signal.add(bell.ring):
        return True
    try:
        return await bell.heard(effect.timeout)
    finally:
        effect.signal.discard(bell.ring)


def _spawn_thread(effect: Spawn) -> bool:
    if not _admit_background(effect.urgent):
        effect.steps.close()
        return False
    context = contextvars.copy_context()
    if not effect.urgent:
        context.run(LEADING.set, ())  # nobody who leads waits for a refresh

    def work() -> None:
        error: BaseException | None = None
        try:
            context.run(run, effect.steps)
        except BaseException as raised:
            error = raised
        _background_ended()
        _report_end(effect, error)

    try:
        # a daemon: exit is never delayed by a refresh
        threading.Thread(target=work, name="memocache-refresh", daemon=True).start()
    except RuntimeError:  # no thread to be had: at exit, out of resources, or in a browser
        if not effect.urgent and threading.main_thread().is_alive():  # not at exit, which nobody delays
            work()  # late for this caller, and not never for all of them
            return True
        _background_ended()
        effect.steps.close()
        if effect.urgent and threading.main_thread().is_alive():
            _warn_of_timeouts()
        return False
    return True


def _report_end(effect: Spawn, error: BaseException | None) -> None:
    taken = effect.ended(error)
    # an Exception that nobody waits for ends here: the engine has counted and reported what failed
    if error is not None and not taken and not isinstance(error, Exception):
        raise error


_warned_of_timeouts = False


def _warn_of_timeouts() -> None:
    global _warned_of_timeouts
    if _warned_of_timeouts:
        return
    _warned_of_timeouts = True
    with contextlib.suppress(RuntimeWarning):  # made an error by a filter, it would break off a call half way
        warnings.warn(
            "no thread can be started here: soft_timeout and hard_timeout of functions that are not async have no "
            "effect, and refreshes run in the call that finds them due",
            RuntimeWarning,
            stacklevel=2,
        )


def _spawn_task(effect: Spawn) -> bool:
    if not _admit_background(effect.urgent):
        effect.steps.close()
        return False
    reported: list[bool] = []

    async def work() -> None:
        if not effect.urgent:
            LEADING.set(())  # nobody who leads waits for a refresh
        error: BaseException | None = None
        try:
            await arun(effect.steps)
        except BaseException as raised:
            error = raised
        reported.append(True)
        _report_end(effect, error)

    def ended() -> None:
        _background_ended()
        if not reported:  # cancelled before its first step
            effect.ended(None)

    if not async_library.here().spawn(work, ended):
        _background_ended()
        effect.steps.close()
        return False
    return True
