"""Who is logged in, and who tries too often. Pure but for randomness; `now` is passed in, in seconds."""

from __future__ import annotations

import hmac
import secrets
from collections import deque
from dataclasses import dataclass

IDLE_SECONDS = 3600.0
LIFE_SECONDS = 12 * 3600.0
MAX_SESSIONS = 1000
TRIES = 5
TRIES_OF_ALL = 50
TRIES_SECONDS = 60.0
HELD_SECONDS = 1.0
"""For how long the answer to a wrong token is held back, after too many."""
MOST_HELD = 100
"""Answers that are held back at the same time, at most."""


@dataclass(slots=True)
class Session:
    """One browser: what its forms must repeat, and until when it lasts."""

    id: str
    csrf: str
    begun: float
    used: float


class Sessions:
    """The sessions of this process; the oldest goes where there are too many."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}

    def begin(self, now: float) -> Session:
        """A new session, of random ids."""
        while len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        session = Session(secrets.token_urlsafe(32), secrets.token_urlsafe(32), now, now)
        self._sessions[session.id] = session
        return session

    def find(self, given: str, now: float) -> Session | None:
        """The session of this id, unless it is over."""
        session = self._sessions.get(given)
        if session is None:
            return None
        if now - session.used > IDLE_SECONDS or now - session.begun > LIFE_SECONDS:
            del self._sessions[given]
            return None
        session.used = now
        return session

    def end(self, session: Session) -> None:
        """Log out."""
        self._sessions.pop(session.id, None)


def same(given: str, right: str) -> bool:
    """Whether two texts are one, in a time that does not tell where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), right.encode("utf-8", "surrogatepass"))


class Throttle:
    """Failed log-ins of the last minute, by address and in all; bounded by what it remembers.

    It slows guessing down, and keeps nobody out who knows the token: behind a proxy all share one address.
    """

    def __init__(self) -> None:
        self._failures: deque[tuple[float, str]] = deque(maxlen=TRIES_OF_ALL)
        self.waiting = 0
        """Wrong tries whose answer is held back now."""

    def wait(self, address: str, now: float) -> float:
        """Seconds until a wrong try of `address` is answered at once again; 0 if it is."""
        recent = [(at, who) for at, who in self._failures if now - at < TRIES_SECONDS]
        own = [at for at, who in recent if who == address]
        if len(own) >= TRIES:
            return own[-TRIES] + TRIES_SECONDS - now
        if len(recent) >= TRIES_OF_ALL:
            return recent[0][0] + TRIES_SECONDS - now
        return 0.0

    def failed(self, address: str, now: float) -> None:
        """A wrong token came from `address`."""
        self._failures.append((now, address))
