"""Credentials that change while connections live: a credential provider of redis-py's, and who logged in by it.

Each connection is opened with what the provider gives at that moment. `LiveCredentials` has connections replaced before
what they logged in with can expire: when the provider pushes a new token, and every `RENEW_SECONDS`. It knows no
secret for longer than it takes to log in, and raises none.
"""

from __future__ import annotations

import os
import socket
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

from memocache.backends.base import NotReached, ReplyError

T = TypeVar("T")

RENEW_SECONDS: Final = 300.0
"""Cloud services' tokens are valid for 15 minutes and more."""
_LOGINS: Final = 3
"""Attempts to log in while the provider changes what it gives."""
_AGAIN_SECONDS = 10.0  # after a provider failed: until it gives something, the connections of now stay


class Renewable(Protocol):
    """Whoever keeps connections open."""

    def renew_logins(self) -> None:
        """Use the connections of now for nothing more, once what is under way is answered; from any thread."""
        ...


class LiveCredentials:
    """The credentials of one backend; passes for a provider itself, whose failures are `NotReached`."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self._holders: weakref.WeakSet[Renewable] = weakref.WeakSet()
        self._lock = threading.RLock()
        self._rested: threading.Event | None = None
        self._login = threading.local()
        _all.add(self)
        weak = weakref.WeakMethod(self.renew)
        if getattr(provider, "is_streaming", bool)():
            provider.on_next(lambda _: (renew := weak()) and renew())

    def get_credentials(self) -> Any:
        """Return what the provider gives now; raise `NotReached`, in which no word of the provider's stands."""
        try:
            found = self._provider.get_credentials()
        except Exception as error:
            raise NotReached(f"the credential provider failed: {type(error).__name__}") from None
        if not isinstance(found, tuple | list) or not 1 <= len(found) <= 2 or not all(found):
            raise NotReached("the credential provider gave no password, and no user name and password")
        self._look_after()
        used = getattr(self._login, "used", None)
        if used is not None:
            used[:] = found
        return found

    def log_in(self, dial: Callable[[], T]) -> T:
        """Dial, which asks for credentials; again, up to `_LOGINS` times in all, if they changed before they were used.

        Raises what `dial` raises.
        """
        for attempt in range(_LOGINS):
            used: list[Any] = []
            outer, self._login.used = getattr(self._login, "used", None), used
            try:
                return dial()
            except ReplyError as refused:
                if refused.code != "WRONGPASS" or attempt == _LOGINS - 1:
                    raise
                before = used.copy()
                if list(self.get_credentials()) == before:
                    raise
            finally:
                self._login.used = outer
                used.clear()  # secrets
        raise AssertionError("the last attempt returns or raises")

    def add(self, holder: Renewable) -> None:
        """Have the connections of `holder` replaced in time, as long as it lives."""
        self._holders.add(holder)

    def renew(self) -> bool:
        """Have every connection replaced, unless the provider has nothing to log in with; whether it had."""
        try:
            self.get_credentials()
        except NotReached:
            return False
        for holder in list(self._holders):
            holder.renew_logins()
        return True

    def rest(self) -> None:
        """Renew nothing more, until the next connection is opened."""
        with self._lock:
            rested, self._rested = self._rested, None
        if rested is not None:
            rested.set()

    def _look_after(self) -> None:
        """Renew in the background from now on."""
        with self._lock:
            if self._rested is not None:
                return
            rested = threading.Event()
            weak = weakref.ref(self, lambda _: rested.set())
            thread = threading.Thread(target=_renew, args=(weak, rested), name="memocache-credentials", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # none to be had; the next connection tries again
                return
            self._rested = rested

    def after_fork(self) -> None:
        """In a child the thread does not exist."""
        self._lock, self._rested = threading.RLock(), None


def _renew(weak: weakref.ref[LiveCredentials], rested: threading.Event) -> None:
    seconds = RENEW_SECONDS
    while not rested.wait(seconds):
        credentials = weak()
        if credentials is None:
            return
        seconds = RENEW_SECONDS if credentials.renew() else _AGAIN_SECONDS
        del credentials


class LoggingIn:
    """A dial whose connections log in with credentials that change."""

    def __init__(self, dial: Callable[[], socket.socket], credentials: LiveCredentials) -> None:
        self._dial = dial
        self.credentials = credentials

    def __call__(self) -> socket.socket:
        return self.credentials.log_in(self._dial)


def logging_in(dial: Callable[[], socket.socket], credentials: LiveCredentials | None) -> Callable[[], socket.socket]:
    """The dial, marked as one whose connections log in with `credentials`."""
    return dial if credentials is None else LoggingIn(dial, credentials)


def renewed(dial: Callable[[], Any], holder: Renewable) -> bool:
    """Have what `holder` opens by `dial` replaced in time; whether it has to be."""
    credentials: LiveCredentials | None = getattr(dial, "credentials", None)
    if credentials is not None:
        credentials.add(holder)
    return credentials is not None


_all: weakref.WeakSet[LiveCredentials] = weakref.WeakSet()


def _after_fork() -> None:
    for credentials in list(_all):
        credentials.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
