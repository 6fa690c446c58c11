"""The guard around a backend: the one place where its failures are translated, timed and weighed.

Every request goes through `BackendGuard.io`, which makes an `Io` effect for either colour. A request gets what is left
of its call's `Budget`; anything the backend raises becomes a `BackendError` that says the cause in words of our own,
never the error's text (servers quote keys and values). A breaker keeps callers away from a backend that fails; a
daemon thread probes it.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, NoReturn

from memocache._runtime.async_library import in_trio
from memocache._runtime.budget import CALL_SECONDS, Budget
from memocache._runtime.circuit_breaker import Breaker
from memocache._runtime.effects import Io, Steps
from memocache._runtime.randomness import random
from memocache._runtime.signal_exceptions import of_signal_handler
from memocache._stores.remote.operation_counts import KIND_OF, OperationCounts
from memocache.backends._error_messages import cause_of
from memocache.backends._threads import in_thread
from memocache.backends.base import NO_ROOM, Busy, NodeFailure, NotAccepted, NotReached, ReplyError
from memocache.exceptions import BackendError, MemocacheError
from memocache.typing import Answer, Backend, ReadSoon, Watcher

_LOG_EVERY = 60.0
_DOUBT_EVERY = 0.1  # whoever can write to the backend could plant doubts: they must not cost more than this often
_PROBE_FOR = 30.0  # seconds without a caller after which probing rests
_REFUSALS = frozenset({"NOAUTH", "NOPERM", "WRONGPASS", "DENIED"})
_SICK = frozenset({"LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MAXCLIENTS", "UNBLOCKED"})
_DOING = {
    "counts": "reading figures",
    "delete": "deleting",
    "facts": "asking about the server",
    "members": "reading the names of functions",
    "ping": "asking whether it answers",
    "prolong": "prolonging entries",
    "read": "reading",
    "scan": "listing keys",
    "subscribe": "listening",
    "tally": "sending figures",
    "together": "asking several nodes",
    "transact": "writing",
}
"""What is done in an operation, in words for people."""
_NAMES: dict[type[Exception], str] = {NotAccepted: "TimeoutError", NotReached: "ConnectionError"}
"""What observers know these classes of ours by: metrics are labelled with it."""
_UNWEIGHED = frozenset({"prolong", "tally"})
"""What is sent in the background, at moments of its own: whether callers are let through is for callers to find out."""
_WRITES = frozenset({"delete", "together", "transact"})
_watchers: weakref.WeakValueDictionary[int, Watcher] = weakref.WeakValueDictionary()
_log = logging.getLogger("memocache")
_log.addHandler(logging.NullHandler())  # as libraries do: silent unless the application configures logging


class NoRoom(BackendError):
    """The backend is well, and has no room for what was to be written: a rejection, and no failure."""


class BackendGuard:
    """A backend, its breaker and its probe."""

    def __init__(
        self,
        backend: Backend,
        on_fault: Callable[[str, str, str], None] | None = None,
        on_asked: Callable[[str, float, str | None], None] | None = None,
    ) -> None:
        self.backend = backend
        self.operations = OperationCounts()
        self._on_asked = on_asked
        self.cause = ""
        """Why it failed last, in words."""
        self._opened_at = 0.0
        self.breaker = Breaker()
        self._outcomes = self.breaker.outcomes
        self._aio = getattr(backend, "aio", None)
        # of its own class: a wrapper around it may have more to do
        aio: Any = self._aio
        self._aio_anywhere: bool = getattr(aio, "any_library", False)
        self.ask_soon: ReadSoon | None = aio.read_soon if hasattr(type(aio), "read_soon") else None
        self._on_fault = on_fault
        self._probing = threading.Lock()
        self._wanted_at = 0.0
        self._doubted_at = float("-inf")
        self._logging = threading.Lock()
        self._logged_at = float("-inf")

    def io(self, operation: str, *args: Any, budget: Budget, kind: str | None = None, **kwargs: Any) -> Io:
        """The effect of asking the backend for `operation`; its failure is a `BackendError`. It is counted under `kind`
        (None: what such operations are).
        """
        return _Request(self, operation, args, kwargs, budget, kind or _kind(operation, args))

    @property
    def cut_off(self) -> bool:
        """Whether the backend or a node of it is not asked: nothing can be heard of what others invalidate there."""
        return "open" in self.breakers().values()

    def left_alone(self, now: float) -> str:
        """Since when the backend is not asked, and why, in words; nothing while it is asked."""
        if not self.breaker.open:
            return ""
        return f"not asked since {now - self._opened_at:.0f} s: {self.cause}"

    def connections(self, now: float) -> dict[str, str]:
        """The backend and its nodes by name: "connected", or since when and why they are not asked."""
        states = self.breakers()
        words = {
            name: "connected" if state == "closed" else "not asked after failures" for name, state in states.items()
        }
        if self.breaker.open:
            words[next(iter(words))] = self.left_alone(now).replace("not asked", "not asking the server")
        return words

    def read_soon(self, entry: str, markers: Sequence[str], seconds: float) -> Awaitable[Answer] | None:
        """As `memocache.typing.ReadSoon`; None where that is no way to ask, or something failed, lately or now, that
        has to be weighed.
        """
        if self._outcomes or self.ask_soon is None:
            return None
        try:
            return self.ask_soon(entry, markers, seconds)
        except Exception:  # no asyncio loop runs here, say: `awaiting` meets the same, and weighs it
            return None

    def each(self, calls: Sequence[tuple[str, tuple[Any, ...], dict[str, Any]]], *, budget: Budget) -> Steps[list[Any]]:
        """The answers to several operations with their arguments and keywords: asked at the same time where the backend
        has `together` (a cluster), and one after the other where it has not.
        """
        if len(calls) > 1 and hasattr(self.backend, "together"):
            together: list[Any] = yield self.io("together", calls, budget=budget)
            return together
        answers = []
        for operation, args, kwargs in calls:
            answers.append((yield self.io(operation, *args, budget=budget, **kwargs)))
        return answers

    def blocking(self, operation: str, args: Any, kwargs: Any, budget: Budget, kind: str | None) -> Any:
        """Ask in this thread."""
        begun = self._begin(operation, budget)
        try:
            reply = getattr(self.backend, operation)(*args, timeout=budget.left, **kwargs)
        except Exception as error:
            self.failed(operation, error, budget, begun, kind)
        self._answered(begun, budget, kind)
        return reply

    async def awaiting(self, operation: str, args: Any, kwargs: Any, budget: Budget, kind: str | None) -> Any:
        """Ask in this task."""
        begun = self._begin(operation, budget)
        try:
            reply = await self._ask(operation, *args, timeout=budget.left, **kwargs)
        except Exception as error:
            self.failed(operation, error, budget, begun, kind)
        self._answered(begun, budget, kind)
        return reply

    def _answered(self, begun: float, budget: Budget, kind: str | None) -> None:
        now = time.monotonic()
        took = now - begun
        budget.left -= took
        self.breaker.succeeded(now)
        if kind is not None:
            self.operations.by_kind[kind].add(took)
            if self._on_asked is not None:
                self._on_asked(kind, took, None)

    def subscribe(self, channel: str, wake: Callable[[], None]) -> Callable[[], None] | None:
        """As `Backend.subscribe`; None, so that the caller polls, also where the backend raises."""
        try:
            stop = self.backend.subscribe(channel, wake)
        except Exception as error:
            if of_signal_handler(error):
                raise
            self._report("subscribe", type(error).__name__, cause_of(error))
            return None
        return None if stop is None else lambda: self._stop(stop)

    def _stop(self, stop: Callable[[], None]) -> None:
        try:
            stop()
        except Exception as error:  # a subscription that does not end costs wakes that nobody hears
            self._report("subscribe", type(error).__name__, cause_of(error))

    def doubt(self) -> None:
        """An answer belonged to another question: have the transport drop its connections, and report it.

        All of them, for nobody can tell any more which one it was; a backend without `doubt` has none to drop.
        """
        now = time.monotonic()
        if now - self._doubted_at < _DOUBT_EVERY:
            return
        self._doubted_at = now
        drop = getattr(self.backend, "doubt", None)
        try:
            if drop is not None:
                drop()
        except Exception:
            pass  # the report below says what matters
        self._report("read", "EchoMismatch", "an answer belonged to another question")

    def breakers(self) -> dict[str, Literal["closed", "open"]]:
        """The breakers by name: the backend's own, and those that it has for its nodes."""
        kind = type(self.backend).__name__.removesuffix("Backend").lower()
        nodes: dict[str, bool] = getattr(self.backend, "nodes_left_alone", dict)()
        return {name: "open" if is_open else "closed" for name, is_open in ({kind: self.breaker.open} | nodes).items()}

    def _ask(self, operation: str, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        if self._aio is not None and (self._aio_anywhere or not in_trio()):
            asked: Awaitable[Any] = getattr(self._aio, operation)(*args, **kwargs)
            return asked
        method = getattr(self.backend, operation)
        if self.backend.blocks:
            return in_thread(method, *args, **kwargs)
        return _at_once(method, *args, **kwargs)

    def _begin(self, operation: str, budget: Budget) -> float:
        if self.breaker.open and operation != "ping":  # which asks whether it has to stay open
            self._probe()
            raise BackendError(f"the backend is {self.left_alone(time.monotonic())}")
        if budget.left <= 0:
            raise BackendError(f"no time left for {_DOING.get(operation, operation)}")
        return time.monotonic()

    def failed(
        self, operation: str, error: Exception, budget: Budget, begun: float, kind: str | None = "get"
    ) -> NoReturn:
        """Weigh what the backend raised in an operation that began at `begun`; raises `BackendError`."""
        now = time.monotonic()
        took = now - begun
        budget.left -= took
        if isinstance(error, MemocacheError) or of_signal_handler(error):
            raise error
        name = _NAMES.get(type(error), type(error).__name__)
        if isinstance(error, ReplyError | NodeFailure):
            name += f" {error.code}"
        if kind is not None:
            counter = self.operations.by_kind[kind]
            counter.errors += 1
            counter.add(took)
            if self._on_asked is not None:
                self._on_asked(kind, took, name)
        if operation in _UNWEIGHED:
            counts, timeout = False, False
        elif isinstance(error, ReplyError):
            # the server lives; a refused write says nothing about reads, a refused client or a sick server does
            counts, timeout = error.code in _SICK or error.code in _REFUSALS, False
        elif isinstance(error, Busy | NodeFailure):  # its own pool's; weighed there, node by node
            counts, timeout = False, False
        else:
            counts, timeout = True, _timed_out(error)
        self.cause = cause_of(error, tls=getattr(self.backend, "tls", False))
        if counts and self.breaker.failed(now, timeout=timeout):
            self._opened_at = now
            self._probe()
        self._report(operation, name, self.cause)
        told = f"{self.cause} (while {_DOING.get(operation, operation)})"
        # from None: the text of the original may quote keys and values
        full = isinstance(error, ReplyError) and error.code == NO_ROOM
        raise (NoRoom if full else BackendError)(told) from None

    def _report(self, operation: str, name: str, cause: str) -> None:
        if self._on_fault is not None:
            self._on_fault(operation, name, cause)
        if self._may_log(time.monotonic()):
            _log.warning("memocache: the backend failed while %s: %s", _DOING.get(operation, operation), cause)

    def _may_log(self, now: float) -> bool:
        if now - self._logged_at < _LOG_EVERY or not self._logging.acquire(blocking=False):
            return False
        try:
            may = now - self._logged_at >= _LOG_EVERY
            self._logged_at = max(now, self._logged_at)
            return may
        finally:
            self._logging.release()

    def _probe(self) -> None:
        self._wanted_at = time.monotonic()
        if not self._probing.acquire(blocking=False):
            return
        try:
            threading.Thread(target=self._probe_until_well, name="memocache-probe", daemon=True).start()
        except RuntimeError:  # no thread to be had; a later call tries again
            self._probing.release()

    def _probe_until_well(self) -> None:
        try:
            while self.breaker.open and time.monotonic() - self._wanted_at < _PROBE_FOR:
                time.sleep(self.breaker.probe_in(time.monotonic(), random.random()))
                try:
                    self.backend.ping(timeout=CALL_SECONDS)
                except Exception:  # whatever it is, the backend is not well yet
                    continue
                self.breaker.closed()
        finally:
            self._probing.release()

    def after_fork(self) -> None:
        """Forget, in a child, the parent's probe thread."""
        self._probing = threading.Lock()
        self._logging = threading.Lock()


class _Request(Io):
    """One request to a guarded backend."""

    __slots__ = ("_args", "_budget", "_guard", "_kind", "_kwargs", "_operation")

    def __init__(
        self, guard: BackendGuard, operation: str, args: Any, kwargs: Any, budget: Budget, kind: str | None
    ) -> None:
        self._guard = guard
        self._operation = operation
        self._args = args
        self._kwargs = kwargs
        self._budget = budget
        self._kind = kind

    def blocking(self) -> Any:
        try:
            return self._guard.blocking(self._operation, self._args, self._kwargs, self._budget, self._kind)
        finally:
            self._written()

    def awaiting(self) -> Awaitable[Any]:
        asked = self._guard.awaiting(self._operation, self._args, self._kwargs, self._budget, self._kind)
        return self._then_written(asked) if self._operation in _WRITES and _watchers else asked

    async def _then_written(self, asked: Awaitable[Any]) -> Any:
        try:
            return await asked
        finally:
            self._written()

    def _written(self) -> None:
        if self._operation not in _WRITES or not _watchers:
            return
        keys = _written_keys(self._operation, self._args)
        for ref in _watchers.valuerefs():
            watcher = ref()
            if watcher is not None:
                watcher.changed(keys)


def _kind(operation: str, args: Sequence[Any]) -> str | None:
    """What an operation is counted under; several at once under what the first of them is, for they are of one kind."""
    return KIND_OF.get(args[0][0][0] if operation == "together" else operation)


def _written_keys(operation: str, args: Sequence[Any]) -> list[str]:
    if operation == "delete":
        return list(args[0])
    if operation == "transact":
        _, puts, deletes = (*args, (), ())[:3]
        return [*(put.key for put in puts), *deletes]
    if operation == "together":
        return [key for name, some, _ in args[0] for key in _written_keys(name, some)]
    return []


def tell_of_writes(watcher: Watcher) -> None:
    """Tell `watcher` at once of what any cache of this process writes, also of a write that failed: it may have
    arrived.
    """
    _watchers[id(watcher)] = watcher


async def _at_once(method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return method(*args, **kwargs)


def _timed_out(error: BaseException) -> bool:
    return isinstance(error, TimeoutError)
