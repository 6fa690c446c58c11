"""Threads of memocache's own for blocking calls of async code, so that a full default executor of a loop delays none.

They are few and the process's. A call that finds none free in time ends with `Busy`, which says nothing of the backend.
It does not know what is called.
"""

from __future__ import annotations

import contextvars
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final

from memocache._runtime import async_library
from memocache.backends.base import Busy

MOST_THREADS: Final = 32
_IDLE_SECONDS = 0.5
_TOLD: Final = 0.9
"""The share of its time that a method is told."""
_STOOD_STILL: Final = 0.05
"""Seconds by which a loop is late that did not run meanwhile."""


class Workers:
    """Up to `most` daemon threads, which exit does not wait for and which end when there is nothing to do."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = self._idle = self._queued = 0

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        """Have `call` called, unless its future is cancelled before; raises `Busy` where there are no threads."""
        future: Future[Any] = Future()
        with self._lock:
            self._queued += 1
            self._calls.put((future, call))
            if self._queued > self._idle and self._threads < self._most:
                try:
                    threading.Thread(target=self._work, name="memocache-call", daemon=True).start()
                    self._threads += 1
                except RuntimeError:  # at exit, or none to be had
                    if not self._threads:
                        future.cancel()
                        raise Busy("no thread can be started") from None
        return future

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            try:
                future, call = self._calls.get(timeout=_IDLE_SECONDS)
            except Empty:
                with self._lock:
                    self._idle -= 1
                    if self._queued:
                        continue
                    self._threads -= 1
                    return
            with self._lock:
                self._idle -= 1
                self._queued -= 1
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:
                    future.set_exception(error)
            del future, call  # nothing is kept alive by a thread that waits


_workers = Workers(MOST_THREADS)


async def in_thread(method: Callable[..., Any], *args: Any, timeout: float | None, **kwargs: Any) -> Any:
    """Await a blocking method, which is told its `timeout`, in a thread, for at most that long.

    One that overruns it is left behind. Raises `Busy` if no thread came free in time, TimeoutError if the method took
    too long, and what the method raises.
    """
    # a little less for the method: its own word for the wait (`Busy`, say) comes before ours
    told = None if timeout is None else _TOLD * timeout
    return await _await(partial(method, *args, timeout=told, **kwargs), timeout)


async def in_thread_unhurried(method: Callable[..., Any], *args: Any) -> Any:
    """As `in_thread`, for work without a bound of its own."""
    return await _await(partial(method, *args), None)


async def _await(call: Callable[[], Any], timeout: float | None) -> Any:
    bell = async_library.here().new_bell()
    submitted = _workers.submit(partial(contextvars.copy_context().run, call))
    submitted.add_done_callback(lambda _: bell.ring())
    try:
        due = None if timeout is None else time.monotonic() + timeout
        await bell.heard(timeout)
        if due is not None and not submitted.done():
            late = time.monotonic() - due
            if late > _STOOD_STILL:
                # a loop, or a process, that stood still gave the call less time than it says: that much once more
                await bell.heard(timeout)
            elif late < -_STOOD_STILL:
                # a loop whose clock a test turns on: the thread's time is not over
                await _real_time(bell, -late)
        if submitted.done():
            return submitted.result()
        if submitted.cancel():
            raise Busy("every thread for blocking calls is in use")
        raise TimeoutError
    finally:
        submitted.cancel()
        del submitted  # an error's traceback holds this frame, and they the error


async def _real_time(bell: async_library.Bell, seconds: float) -> None:
    timer = threading.Timer(seconds, bell.ring)
    timer.daemon = True
    timer.start()
    try:
        await bell.heard(None)
    finally:
        timer.cancel()


def _after_fork() -> None:
    """In a child the parent's threads do not exist."""
    global _workers
    _workers = Workers(MOST_THREADS)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
