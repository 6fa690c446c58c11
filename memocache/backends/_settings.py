"""What backend URLs say: every part of one is checked here, before any client library is imported.

::

    memory://?maxsize=10000                          (maxsize=none: unbounded)
    redis://[user:password@]host[:port][/db][?…]     valkey:// is the same, rediss:// and valkeys:// are TLS
    unix://[user:password@]/path/to/socket[?db=…]
    disk:///path/to/directory[?max_bytes=2GB]
    redis+cluster://[user:password@]host[:port],host[:port][?…]                 rediss+cluster:// is TLS
    redis+sentinel://[user:password@]host[:port],host[:port]/service[/db][?…]   rediss+sentinel:// is TLS
    null://
    other://…                                        entry points of the group ``memocache.backends``: scheme → class

Messages of `ConfigurationError` name the culprit and what would be legal, and never the password or a whole URL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from memocache.exceptions import ConfigurationError

if TYPE_CHECKING:
    import ssl

DEFAULT_MAXSIZE: Final = 10_000
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
TCP = {"redis": False, "valkey": False, "rediss": True, "valkeys": True}
CLUSTER = {"redis+cluster": False, "rediss+cluster": True}
SENTINEL = {"redis+sentinel": False, "rediss+sentinel": True}
"""Schemes of one server, of clusters and of sentinels, and whether each is TLS."""
BUILT_IN: Final = ("disk", "memory", "null", "unix", *TCP, *CLUSTER, *SENTINEL)

_LEAST_BYTES: Final = 10**6
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([kmgt]?i?b|)", re.ASCII | re.IGNORECASE)
_UNITS = {"": 1, "b": 1} | {
    f"{letter}{suffix}": base**power
    for power, letter in enumerate("kmgt", 1)
    for suffix, base in (("b", 1000), ("ib", 1024))
}

Check: TypeAlias = tuple[Callable[[str], Any], str]
"""How an option's text becomes its value (ValueError or KeyError if not), and what it must be, in words."""


@dataclass(frozen=True, slots=True)
class MemorySettings:
    """``memory://``: at most `maxsize` entries, None for no bound."""

    maxsize: int | None = DEFAULT_MAXSIZE


@dataclass(frozen=True, slots=True)
class DiskSettings:
    """``disk://``: the directory, and how many bytes it may take (None: the backend's default)."""

    path: str
    max_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """Where a server is and how long to wait for it.

    `timeout` is seconds for a whole operation, `connect_timeout` seconds for each address and each answer while
    connecting. `path` is a Unix socket and replaces host and port. `tls_options` are redis-py's own names. `wait` is
    for how many replicas a delete (so an invalidation) waits, and for how many milliseconds at most. `credentials` is a
    `LiveCredentials` in place of user name and password, `tls_context` is in place of `tls_options`.
    """

    host: str = "localhost"
    port: int = 6379
    path: str | None = None
    tls: bool = False
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    client_name: str | None = None
    max_connections: int = 64
    timeout: float = 0.3
    connect_timeout: float = 0.25
    wait: tuple[int, int] | None = None
    tls_options: tuple[tuple[str, Any], ...] = field(default=(), repr=False)
    tls_context: ssl.SSLContext | None = field(default=None, repr=False)
    credentials: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """``redis+cluster://``: where to ask for the table of slots first, and how to speak to any node."""

    seeds: tuple[tuple[str, int], ...]
    node: RedisSettings


@dataclass(frozen=True, slots=True)
class SentinelSettings:
    """``redis+sentinel://``: where the sentinels are and how to speak to them, the name they know the master by, how to
    speak to master and replicas, and whether replicas are read from.
    """

    sentinels: tuple[RedisSettings, ...]
    service: str
    node: RedisSettings
    replicas: bool = False


def with_login(settings: Any, credentials: Any, context: ssl.SSLContext | None) -> Any:
    """The settings of a server, cluster or service with ``credentials=`` and ``tls=``; raises ConfigurationError."""
    node: RedisSettings = settings if isinstance(settings, RedisSettings) else settings.node
    if context is not None:
        if not node.tls:
            raise ConfigurationError("tls= needs a scheme that speaks TLS: rediss://, rediss+cluster://, …")
        if node.tls_options:
            raise ConfigurationError("TLS is set twice: by tls= and by the URL's ssl_ options; give one of them")
    if credentials is not None and (node.username is not None or node.password is not None):
        raise ConfigurationError("the login is given twice: by credentials= and by the URL; leave it out of the URL")
    fresh = replace(node, credentials=credentials, tls_context=context)
    if isinstance(settings, RedisSettings):
        return fresh
    if isinstance(settings, SentinelSettings):  # sentinels have logins of their own
        sentinels = tuple(replace(one, tls_context=context) for one in settings.sentinels)
        return replace(settings, node=fresh, sentinels=sentinels)
    return replace(settings, node=fresh)


def scheme_of(url: str) -> str | None:
    """Return the scheme of `url` in lower case; None if it has none. Raise ConfigurationError for white space."""
    _refuse_junk(url)
    scheme, separator, _ = url.partition("://")
    return scheme.lower() if separator and _SCHEME.fullmatch(scheme.lower()) else None


def memory_settings(url: str) -> MemorySettings:
    """Return what a memory URL says, checked; raise ConfigurationError."""
    return MemorySettings(**_options(_nowhere(url), _MEMORY_OPTIONS))


def check_null(url: str) -> None:
    """Raise ConfigurationError if a null URL says more than its scheme."""
    _options(_nowhere(url), {})


def disk_settings(url: str) -> DiskSettings:
    """Return what a disk URL says, checked; raise ConfigurationError."""
    parts = _split(url)
    path = unquote(parts.path)
    if parts.netloc:
        raise ConfigurationError(
            "disk:// takes no host but an absolute path, with three slashes: disk:///path/to/directory"
        )
    if not path.strip("/") or "\x00" in path:
        raise ConfigurationError("disk:// needs the path of a directory: disk:///path/to/directory")
    return DiskSettings(path, **_options(parts, _DISK_OPTIONS))


def redis_settings(url: str) -> RedisSettings:
    """Return what a redis, rediss, valkey, valkeys or unix URL says, checked; raise ConfigurationError."""
    parts = _split(url)
    scheme = parts.scheme
    tls = TCP.get(scheme, False)
    settings = _server_settings(parts, tls, _REDIS_OPTIONS)
    if scheme == "unix":
        if parts.netloc.rpartition("@")[2]:
            raise ConfigurationError("unix:// takes a path and no host: unix:///path/to/socket")
        if not parts.path.strip("/"):
            raise ConfigurationError("unix:// needs the path of a socket: unix:///path/to/socket")
        return RedisSettings(path=unquote(parts.path), **settings)
    if db := parts.path.strip("/"):
        if "db" in settings:
            raise ConfigurationError("the URL gives db twice")
        settings["db"] = _checked("db", db, _REDIS_OPTIONS["db"])
    try:
        port = parts.port
    except ValueError:
        raise ConfigurationError("the port of the URL must be a number from 1 to 65535") from None
    if port == 0:
        raise ConfigurationError("the port of the URL must be a number from 1 to 65535")
    # urlsplit lowers the case of a host, drops the brackets of IPv6 and knows no escapes.
    host = unquote(parts.hostname or "localhost")
    if "," in parts.netloc.rpartition("@")[2]:
        raise ConfigurationError(f"{scheme}:// takes one host")
    return RedisSettings(host=host, port=port or 6379, tls=tls, **settings)


def cluster_settings(url: str) -> ClusterSettings:
    """Return what a redis+cluster or rediss+cluster URL says, checked; raise ConfigurationError."""
    parts = _split(url)
    tls = CLUSTER[parts.scheme]
    legal = {name: check for name, check in _REDIS_OPTIONS.items() if name != "db"}
    if parts.path.strip("/") not in ("", "0"):
        raise ConfigurationError(f"{parts.scheme}:// takes no database: a cluster has only one")
    node = RedisSettings(tls=tls, **_server_settings(parts, tls, legal))
    return ClusterSettings(_hosts(parts, 6379), node)


def sentinel_settings(url: str) -> SentinelSettings:
    """Return what a redis+sentinel or rediss+sentinel URL says, checked; raise ConfigurationError."""
    parts = _split(url)
    tls = SENTINEL[parts.scheme]
    settings = _server_settings(parts, tls, _REDIS_OPTIONS | _SENTINEL_OPTIONS)
    service, _, db = unquote(parts.path).strip("/").partition("/")
    if not service:
        raise ConfigurationError(f"{parts.scheme}:// needs the service's name: {parts.scheme}://host:port/service/db")
    if db:
        if "db" in settings:
            raise ConfigurationError("the URL gives db twice")
        settings["db"] = _checked("db", db, _REDIS_OPTIONS["db"])
    replicas = settings.pop("replicas", False)
    identity = {name: settings.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    node = RedisSettings(tls=tls, **settings)
    asked = replace(node, db=0, **identity)
    sentinels = tuple(replace(asked, host=host, port=port) for host, port in _hosts(parts, 26379))
    return SentinelSettings(sentinels, service, node, replicas)


def _nowhere(url: str) -> SplitResult:
    """The parts of a URL that names no place."""
    parts = _split(url)
    if parts.netloc or parts.path.strip("/"):
        raise ConfigurationError(f"{parts.scheme}:// takes no host and no path")
    return parts


def _server_settings(parts: SplitResult, tls: bool, legal: Mapping[str, Check]) -> dict[str, Any]:
    """The options of a server's URL and what stands before the ``@``, as fields of `RedisSettings` and others."""
    options = _options(parts, {**legal, **(_TLS_OPTIONS if tls else {})})
    settings: dict[str, Any] = {name: options.pop(name) for name in list(options) if name in legal}
    if options:
        settings["tls_options"] = tuple(options.items())
    seconds = settings.pop("wait_timeout", 0.5)
    if "wait" in settings:
        settings["wait"] = (settings["wait"], max(1, int(seconds * 1000)))
    for name in ("username", "password"):
        text = getattr(parts, name)
        if text:
            if name in settings:
                raise ConfigurationError(f"the URL gives {name} twice")
            settings[name] = unquote(text)
    return settings


def _hosts(parts: SplitResult, default: int) -> tuple[tuple[str, int], ...]:
    """The hosts between ``@`` and path, separated by commas, each once."""
    found = []
    for place in parts.netloc.rpartition("@")[2].split(","):
        host, colon, port = place.partition(":") if not place.startswith("[") else place.partition("]:")
        host = host.removeprefix("[").removesuffix("]")
        if not host:
            raise ConfigurationError(f"the hosts of {parts.scheme}:// are written host:port,host:port")
        if colon and not (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536):
            raise ConfigurationError("the port of the URL must be a number from 1 to 65535")
        found.append((unquote(host).lower(), int(port) if colon else default))
    return tuple(dict.fromkeys(found))


def _refuse_junk(url: str) -> None:
    if any(char.isspace() or not char.isprintable() for char in url):
        raise ConfigurationError("the backend URL contains white space or control characters")


def _split(url: str) -> SplitResult:
    _refuse_junk(url)
    try:
        parts = urlsplit(url)
        parts.hostname  # noqa: B018  # a property that raises
    except ValueError:
        raise ConfigurationError("the backend URL cannot be parsed: check brackets and escapes") from None
    if "#" in url:
        raise ConfigurationError("a backend URL has no fragment; write # in a password as %23")
    if "@" in parts.query:
        raise ConfigurationError("an option of the URL contains @; write ? in a password as %3F and @ as %40")
    return parts


def _options(parts: SplitResult, legal: Mapping[str, Check]) -> dict[str, Any]:
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query), max_num_fields=100)
    except ValueError:
        raise ConfigurationError("the options of a backend URL are written ?name=value&name=value") from None
    options: dict[str, Any] = {}
    for name, text in pairs:
        if name not in legal:
            names = ", ".join(sorted(legal)) or "none"
            raise ConfigurationError(f"unknown option {name!r} for {parts.scheme}://; known options: {names}")
        if name in options:
            raise ConfigurationError(f"the URL gives {name} twice")
        options[name] = _checked(name, text, legal[name])
    return options


def _checked(name: str, text: str, check: Check) -> Any:
    parse, meaning = check
    try:
        return parse(text)
    except (ValueError, KeyError):
        raise ConfigurationError(f"the URL's {name} must be {meaning}") from None


def _whole(least: int) -> Check:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or int(text) < least:
            raise ValueError
        return int(text)

    return parse, f"a whole number from {least} on"


def _maxsize(text: str) -> int | None:
    return None if text.lower() == "none" else _whole(1)[0](text)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 3600:
        raise ValueError
    return seconds


def _size(text: str) -> int:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError
    size = int(float(found[1]) * _UNITS[found[2].lower()])
    if size < _LEAST_BYTES:
        raise ValueError
    return size


def _word(text: str) -> str:
    if not text or not text.isprintable() or " " in text:
        raise ValueError
    return text


def _some(text: str) -> str:
    if not text:
        raise ValueError
    return text


_TEXT: Check = (_some, "some text")
_SECONDS: Check = (_seconds, "a number of seconds over 0 and up to 3600")
_DISK_OPTIONS: dict[str, Check] = {
    "max_bytes": (_size, "a size of at least 1MB, such as 500MB, 2GB or 1.5GiB (a bare number is bytes)")
}
_MEMORY_OPTIONS: dict[str, Check] = {"maxsize": (_maxsize, "a whole number from 1 on, or none")}
_REDIS_OPTIONS: dict[str, Check] = {
    "db": _whole(0),
    "username": _TEXT,
    "password": _TEXT,
    "client_name": (_word, "a word without spaces"),
    "max_connections": _whole(1),
    "timeout": _SECONDS,
    "connect_timeout": _SECONDS,
    "wait": _whole(1),
    "wait_timeout": _SECONDS,
}
_SENTINEL_OPTIONS: dict[str, Check] = {
    "sentinel_username": _TEXT,
    "sentinel_password": _TEXT,
    "replicas": ({"read": True, "no": False}.__getitem__, "read or no"),
}
_TLS_OPTIONS: dict[str, Check] = {
    "ssl_ca_certs": _TEXT,
    "ssl_certfile": _TEXT,
    "ssl_keyfile": _TEXT,
    "ssl_check_hostname": (lambda text: {"true": True, "false": False}[text.lower()], "true or false"),
    "ssl_cert_reqs": (
        {name: name for name in ("none", "optional", "required")}.__getitem__,
        "none, optional or required",
    ),
}
