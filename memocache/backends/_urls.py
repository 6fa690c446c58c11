"""Backend URLs: every part of one is checked here, before any client library is imported.

::

    memory://?maxsize=10000                          (maxsize=none: unbounded)
    redis://[user:password@]host[:port][/db][?…]     valkey:// is the same, rediss:// and valkeys:// are TLS
    unix://[user:password@]/path/to/socket[?db=…]
    null://
    other://…                                        entry points of the group ``memocache.backends``: scheme → class

Messages of `ConfigurationError` name the culprit and what would be legal, and never the password or a whole URL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from memocache.exceptions import ConfigurationError
from memocache.typing import Backend

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

DEFAULT_MAXSIZE: Final = 10_000
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_ENTRY_POINTS = "memocache.backends"
_PLANNED = ("disk", "redis+cluster", "redis+sentinel")
_TCP = {"redis": False, "valkey": False, "rediss": True, "valkeys": True}
_BUILT_IN = ("memory", "null", "redis", "rediss", "unix", "valkey", "valkeys")

Check: TypeAlias = tuple[Callable[[str], Any], str]
"""How an option's text becomes its value (ValueError or KeyError if not), and what it must be, in words."""


@dataclass(frozen=True, slots=True)
class MemorySettings:
    """``memory://``: at most `maxsize` entries, None for no bound."""

    maxsize: int | None = DEFAULT_MAXSIZE


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """Where a server is and how long to wait for it.

    `timeout` is seconds for a whole operation, `connect_timeout` seconds for each address and each answer while
    connecting. `path` is a Unix socket and replaces host and port. `tls_options` are redis-py's own names.
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
    tls_options: tuple[tuple[str, Any], ...] = field(default=(), repr=False)


def make_backend(url: str) -> Backend | MemorySettings:
    """Return the backend that `url` names, not yet connected; for ``memory://`` its settings.

    Raises ConfigurationError for anything in the URL that is not understood.
    """
    if not url.strip():
        raise ConfigurationError("the backend URL is empty; memory:// is the in-process cache")
    _refuse_junk(url)
    scheme, separator, _ = url.partition("://")
    scheme = scheme.lower()
    if not separator or not _SCHEME.fullmatch(scheme):
        raise ConfigurationError(f"a backend URL begins with a scheme and ://; known schemes: {_known()}")
    if scheme in ("memory", "null"):
        parts = _split(url)
        if parts.netloc or parts.path.strip("/"):
            raise ConfigurationError(f"{scheme}:// takes no host and no path")
        if scheme == "memory":
            return MemorySettings(**_options(parts, _MEMORY_OPTIONS))
        from memocache.backends.null import NullBackend

        _options(parts, {})
        return NullBackend()
    if scheme in _TCP or scheme == "unix":
        from memocache.backends.redis import RedisBackend

        return RedisBackend(redis_settings(url))
    if scheme in _PLANNED:
        raise ConfigurationError(f"{scheme}:// is not available in this version; known schemes: {_known()}")
    for entry in _entry_points():
        if entry.name == scheme:
            return _third_party(entry.load(), url)
    raise ConfigurationError(f"unknown URL scheme {scheme!r}; known schemes: {_known()}")


def redis_settings(url: str) -> RedisSettings:
    """Return what a redis, rediss, valkey, valkeys or unix URL says, checked; raise ConfigurationError."""
    parts = _split(url)
    scheme = parts.scheme
    tls = _TCP.get(scheme, False)
    options = _options(parts, _REDIS_OPTIONS | (_TLS_OPTIONS if tls else {}))
    settings: dict[str, Any] = {name: options.pop(name) for name in list(options) if name in _REDIS_OPTIONS}
    if options:
        settings["tls_options"] = tuple(options.items())
    for name in ("username", "password"):
        text = getattr(parts, name)
        if text:
            if name in settings:
                raise ConfigurationError(f"the URL gives {name} twice")
            settings[name] = unquote(text)
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
_MEMORY_OPTIONS: dict[str, Check] = {"maxsize": (_maxsize, "a whole number from 1 on, or none")}
_REDIS_OPTIONS: dict[str, Check] = {
    "db": _whole(0),
    "username": _TEXT,
    "password": _TEXT,
    "client_name": (_word, "a word without spaces"),
    "max_connections": _whole(1),
    "timeout": _SECONDS,
    "connect_timeout": _SECONDS,
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


def _third_party(kind: Any, url: str) -> Backend:
    make = getattr(kind, "from_url", kind)
    backend: Backend = make(url)
    return backend


def _entry_points() -> EntryPoints:
    from importlib.metadata import entry_points  # slow to import and rarely needed

    return entry_points(group=_ENTRY_POINTS)


def _known() -> str:
    others = {entry.name for entry in _entry_points()}
    return ", ".join(f"{scheme}://" for scheme in sorted({*_BUILT_IN, *others}))
