"""What `Cache` is told about its clock and its secrets, checked and made into what the parts take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from memocache._stores.remote.encryption import Encrypted
from memocache._stores.remote.signing import Sealer, Signed, Unsealed, derive_keys
from memocache.exceptions import ConfigurationError
from memocache.typing import Clock

_PERSON = b"memocache-keys-1"


class SystemClock:
    """The computer's own time."""

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)


class _OneClock:
    """A plain callable as a clock, for those who bring ``time.time`` or a lambda."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.time = self.monotonic = now


def clock_of(clock: Clock | Callable[[], float] | None) -> Clock:
    """The clock that ``clock=`` means."""
    if clock is None:
        return SystemClock()
    if isinstance(clock, Clock):
        return clock
    if callable(clock):
        return _OneClock(clock)
    raise ConfigurationError("clock= takes an object with time() and monotonic(), or a callable")


def secrets_of(secret: Any) -> list[bytes]:
    """The secrets that ``secret=`` means, as bytes."""
    if secret is None:
        return []
    several = [secret] if isinstance(secret, str | bytes) or not isinstance(secret, Iterable) else list(secret)
    if not several or not all(isinstance(one, str | bytes) and one for one in several):
        raise ConfigurationError("secret= takes a text or bytes that are not empty, or several of them")
    return [one.encode("utf-8", "surrogatepass") if isinstance(one, str) else one for one in several]


def digest_key(secrets: list[bytes]) -> bytes:
    """The key of digests: of the last (oldest) secret, so that a new one put in front leaves entries where they are."""
    return derive_keys(secrets, _PERSON)[-1] if secrets else b""


def sealer_of(secrets: list[bytes], encrypt: Any) -> Sealer:
    """How envelopes are sealed under these secrets."""
    if type(encrypt) is not bool:
        raise ConfigurationError("encrypt= takes True or False")
    if encrypt and not secrets:
        raise ConfigurationError("encrypt=True needs secret=, from which its keys are derived")
    if encrypt:
        return Encrypted(secrets)
    return Signed(secrets) if secrets else Unsealed()
