"""Which backend a URL names: the schemes of memocache, and those of other packages by entry point.

A backend's module is imported when a URL of its scheme is first used, so nobody pays for a client that he does not use.
`memocache.backends._settings` checks each part of the URL.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from memocache.backends import _settings as settings
from memocache.backends._settings import MemorySettings
from memocache.exceptions import ConfigurationError
from memocache.typing import Backend

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

ENTRY_POINTS: Final = "memocache.backends"
"""The group of entry points by which another package's scheme is found: scheme → class or function of the URL."""
_IN_C: Final = "It has parts in C, which an interpreter of another build or a subinterpreter may refuse"


def make_backend(url: str, credentials: Any = None, tls: Any = None) -> Backend | MemorySettings:
    """Return the backend that `url` names, not yet connected; for ``memory://`` its settings.

    `credentials` is a credential provider of redis-py's and `tls` an `ssl.SSLContext`, both for servers alone. Raises
    ConfigurationError for anything that is not understood.
    """
    if not url.strip():
        raise ConfigurationError("the backend URL is empty; memory:// is the in-process cache")
    scheme = settings.scheme_of(url)
    if scheme is None:
        raise ConfigurationError(f"a backend URL begins with a scheme and ://; known schemes: {_known()}")
    login = _login(scheme, credentials, tls)
    if scheme == "memory":
        return settings.memory_settings(url)
    if scheme == "null":
        from memocache.backends.null import NullBackend

        settings.check_null(url)
        return NullBackend()
    if scheme in settings.TCP or scheme == "unix" or scheme in settings.CLUSTER or scheme in settings.SENTINEL:
        return _server(scheme, url, login)
    if scheme == "disk":
        return _disk(settings.disk_settings(url))
    for entry in _entry_points():
        if entry.name == scheme:
            return _third_party(entry.load(), url)
    raise ConfigurationError(f"unknown URL scheme {scheme!r}; known schemes: {_known()}")


def _server(scheme: str, url: str, login: tuple[Any, Any]) -> Backend:
    if sys.platform in ("emscripten", "wasi"):
        raise ConfigurationError(f"{scheme}:// needs sockets, and Python in a browser has none; use memory://")
    try:
        if scheme in settings.CLUSTER:
            from memocache.backends.cluster import ClusterBackend

            return ClusterBackend(settings.with_login(settings.cluster_settings(url), *login))
        if scheme in settings.SENTINEL:
            from memocache.backends.sentinel import SentinelBackend

            return SentinelBackend(settings.with_login(settings.sentinel_settings(url), *login))
        from memocache.backends.redis import RedisBackend

        return RedisBackend(settings.with_login(settings.redis_settings(url), *login))
    except ImportError as error:
        package = (error.name or "hiredis").partition(".")[0]
        raise ConfigurationError(
            f"{scheme}:// needs the package {package}, which cannot be loaded here: pip install 'redis[hiredis]'. "
            f"{_IN_C}"
        ) from error


def _login(scheme: str, credentials: Any, tls: Any) -> tuple[Any, Any]:
    """What ``credentials=`` and ``tls=`` mean for servers of the scheme; raises ConfigurationError."""
    for name, given in (("credentials", credentials), ("tls", tls)):
        served = scheme in settings.TCP or scheme in settings.CLUSTER or scheme in settings.SENTINEL
        if given is not None and not (served or (scheme == "unix" and name == "credentials")):
            raise ConfigurationError(f"{name}= is for Redis and Valkey servers; {scheme}:// takes none")
    if tls is not None:
        from ssl import SSLContext  # slow to import, and most do without

        if not isinstance(tls, SSLContext):
            raise ConfigurationError("tls= takes an ssl.SSLContext, as ssl.create_default_context() gives")
    if credentials is None:
        return None, tls
    if not callable(getattr(credentials, "get_credentials", None)):
        raise ConfigurationError("credentials= takes a CredentialProvider of redis-py's, which has get_credentials()")
    from memocache.backends._redis.credentials import LiveCredentials

    return LiveCredentials(credentials), tls


def _disk(chosen: settings.DiskSettings) -> Backend:
    try:
        from memocache.backends.disk import DiskBackend
    except ImportError as error:
        if error.name == "fcntl":
            raise ConfigurationError("disk:// needs Linux or macOS") from None
        package = (error.name or "lmdb").partition(".")[0]
        raise ConfigurationError(
            f"disk:// needs the package {package}, which cannot be loaded here: pip install 'memocache[disk]'. {_IN_C}"
        ) from error
    if chosen.max_bytes is None:
        return DiskBackend(chosen.path)
    return DiskBackend(chosen.path, max_bytes=chosen.max_bytes)


def _third_party(kind: Any, url: str) -> Backend:
    make = getattr(kind, "from_url", kind)
    backend: Backend = make(url)
    return backend


def _entry_points() -> EntryPoints:
    from importlib.metadata import entry_points  # slow to import and rarely needed

    return entry_points(group=ENTRY_POINTS)


def _known() -> str:
    others = {entry.name for entry in _entry_points()}
    return ", ".join(f"{scheme}://" for scheme in sorted({*settings.BUILT_IN, *others}))
