"""What `Cache` is told, checked and made into what the parts take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from memocache._calls.exclusions import checked_exclusions
from memocache._calls.options import ttl_setting
from memocache._stores.remote.compression import Compression
from memocache._stores.remote.encryption import Encrypted
from memocache._stores.remote.signing import Sealer, Signed, Unsealed, derive_keys
from memocache.backends._registry import make_backend
from memocache.backends._settings import MemorySettings
from memocache.exceptions import ConfigurationError
from memocache.typing import MISSING, Clock, Observer

MAX_VALUE_BYTES = 16 * 2**20
MOST_TENANTS = 1000
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


class Settings(NamedTuple):
    """The checked settings of a cache. Durations are seconds, infinite for never; `max_value_bytes` is a bound."""

    prefix: str
    default_ttl: float
    local: int
    digest_key: bytes
    sealer: Sealer
    compression: Compression
    on_error: str
    max_value_bytes: int
    max_wait: float
    clock: Clock
    observers: tuple[Observer, ...]
    exclude: Any
    tenants: int
    """How many tenants the process holds at a time; 0: the cache has none."""


def backend_of(backend: Any, credentials: Any, tls: Any) -> Any:
    """The backend that ``backend=`` means, or the settings of ``memory://``. Raises `ConfigurationError`."""
    if not isinstance(backend, str) and (credentials is not None or tls is not None):
        raise ConfigurationError("credentials= and tls= go with a URL; a backend object has its own")
    made: Any = make_backend(backend, credentials, tls) if isinstance(backend, str) else backend
    if not isinstance(made, MemorySettings) and not callable(getattr(made, "transact", None)):
        raise ConfigurationError("backend= takes a URL or an object with the methods of memocache.typing.Backend")
    return made


def checked(
    *,
    prefix: Any,
    default_ttl: Any,
    local: Any,
    secret: Any,
    encrypt: Any,
    compress: Any,
    compress_above: Any,
    on_error: Any,
    max_value_bytes: Any,
    max_wait: Any,
    clock: Any,
    observers: Any,
    exclude: Any,
    tenants: Any,
) -> Settings:
    """Check the settings of a cache. Raises `ConfigurationError` or `ValueError` for those that cannot work."""
    if not isinstance(prefix, str) or not prefix:
        raise ConfigurationError("prefix= takes a text that is not empty")
    if on_error not in ("compute", "raise"):
        raise ConfigurationError('on_error= takes "compute" or "raise"')
    if type(local) is not int or local < 0:
        raise ConfigurationError("local= takes how many entries to hold in the process: an int, 0 for none")
    if max_value_bytes is not None and (type(max_value_bytes) is not int or max_value_bytes < 1):
        raise ConfigurationError("max_value_bytes= takes an int of at least 1")
    if type(compress_above) is not int or compress_above < 0:
        raise ConfigurationError("compress_above= takes a number of bytes, an int of at least 0")
    observers = (observers,) if callable(observers) else observers
    if not isinstance(observers, Iterable) or not all(map(callable, observers := tuple(observers))):
        raise ConfigurationError("observers= takes callables of one event")
    if type(tenants) not in (bool, int) or tenants < 0:
        raise ConfigurationError("tenants= takes True, or how many tenants the process holds at a time")
    if tenants and local:
        raise ConfigurationError(
            "local= does not go with tenants=: each tenant would have a connection of its own that listens for "
            "invalidations; leave local= out, or give the few tenants that need it a Cache(prefix=…, local=…) each"
        )
    secrets = secrets_of(secret)
    return Settings(
        prefix,
        _duration(default_ttl, "default_ttl"),
        local,
        digest_key(secrets),
        sealer_of(secrets, encrypt),
        Compression(compress, compress_above),
        on_error,
        max_value_bytes or MAX_VALUE_BYTES,
        _duration(max_wait, "max_wait"),
        clock_of(clock),
        tuple(observers),
        checked_exclusions(exclude),
        MOST_TENANTS if tenants is True else int(tenants),
    )


def _duration(value: Any, name: str) -> float:
    made = ttl_setting(value, name)
    if made is MISSING or callable(made):
        raise ValueError(f"{name} takes a duration or None")
    return float(made)
