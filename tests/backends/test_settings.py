"""What backend URLs mean, and that every mistake in one is named without giving a secret away."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from memocache.backends._registry import make_backend
from memocache.backends._settings import (
    ClusterSettings,
    MemorySettings,
    RedisSettings,
    SentinelSettings,
    cluster_settings,
    redis_settings,
    sentinel_settings,
)
from memocache.backends.null import NullBackend
from memocache.backends.redis import RedisBackend
from memocache.exceptions import ConfigurationError


@pytest.mark.parametrize(
    ("url", "maxsize"),
    [
        ("memory://", 10_000),
        ("MEMORY://", 10_000),
        ("memory:///", 10_000),
        ("memory://?maxsize=1", 1),
        ("memory://?maxsize=none", None),
    ],
)
def test_memory(url: str, maxsize: int | None) -> None:
    """memory:// gives its settings, bounded unless told otherwise."""
    assert make_backend(url) == MemorySettings(maxsize)


def test_null() -> None:
    """null:// is the backend that keeps nothing."""
    assert isinstance(make_backend("null://"), NullBackend)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", RedisSettings()),
        ("redis://h", RedisSettings(host="h")),
        ("redis://h:1234/5", RedisSettings(host="h", port=1234, db=5)),
        ("REDIS://h/", RedisSettings(host="h")),
        ("valkey://h?db=7", RedisSettings(host="h", db=7)),
        ("rediss://h", RedisSettings(host="h", tls=True)),
        ("valkeys://h", RedisSettings(host="h", tls=True)),
        ("redis://[::1]:7000", RedisSettings(host="::1", port=7000)),
        ("redis://[fe80::1%25eth0]", RedisSettings(host="fe80::1%eth0")),
        ("redis://:p%40s%2F%23%3A@h", RedisSettings(host="h", password="p@s/#:")),
        ("redis://u%C3%A9:p@h:1", RedisSettings(host="h", port=1, username="ué", password="p")),
        ("redis://h?username=u&password=p%26q", RedisSettings(host="h", username="u", password="p&q")),
        ("unix:///run/r.sock", RedisSettings(path="/run/r.sock")),
        ("unix://u:p@/run/a%20b.sock?db=2", RedisSettings(path="/run/a b.sock", db=2, username="u", password="p")),
        (
            "redis://h?max_connections=3&timeout=0.5&connect_timeout=1&client_name=me",
            RedisSettings(host="h", max_connections=3, timeout=0.5, connect_timeout=1.0, client_name="me"),
        ),
        (
            "rediss://h?ssl_ca_certs=/ca.pem&ssl_check_hostname=false&ssl_cert_reqs=none",
            RedisSettings(
                host="h",
                tls=True,
                tls_options=(("ssl_ca_certs", "/ca.pem"), ("ssl_check_hostname", False), ("ssl_cert_reqs", "none")),
            ),
        ),
    ],
)
def test_redis(url: str, expected: RedisSettings) -> None:
    """Each form of a server's URL says what it looks like it says."""
    assert redis_settings(url) == expected
    backend: Any = make_backend(url)
    assert isinstance(backend, RedisBackend)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("redis", "scheme"),
        ("localhost:6379", "scheme"),
        ("://h", "scheme"),
        ("mongodb://h", "mongodb"),
        ("redi://h", "redis://"),
        ("redis+cluster://a/1", "database"),
        ("redis+cluster://a?db=0", "db"),
        ("redis+cluster://a:0", "port"),
        ("redis+cluster://a:1,b:x", "port"),
        ("redis+cluster://a,,b", "hosts"),
        ("redis+cluster://", "hosts"),
        ("redis+cluster://a?replicas=read", "replicas"),
        ("redis+cluster://a?wait=0", "wait"),
        ("redis+cluster://a?ssl_ca_certs=/x", "ssl_ca_certs"),
        ("redis+sentinel://a", "service"),
        ("redis+sentinel://a/s/x", "db"),
        ("redis+sentinel://a/s/1?db=1", "db twice"),
        ("redis+sentinel://a/s?replicas=write", "replicas"),
        ("redis+sentinel:///s", "hosts"),
        ("disk://tmp/x", "disk:///"),
        ("disk:///", "disk:///"),
        ("disk:///tmp?max_byte=1GB", "max_bytes"),
        ("disk:///tmp?max_bytes=1", "at least 1MB"),
        ("disk:///tmp?max_bytes=2XB", "500MB"),
        ("memory://host", "no host"),
        ("memory:///path", "no path"),
        ("memory://?maxsize=0", "maxsize"),
        ("memory://?maxsize=-1", "maxsize"),
        ("memory://?maxsize=ten", "maxsize"),
        ("memory://?maxsize=", "maxsize"),
        ("memory://?max_size=1", "maxsize"),
        ("memory://?maxsize=1&maxsize=2", "twice"),
        ("memory://?maxsize", "name=value"),
        ("null://?x=1", "x"),
        ("null://h", "no host"),
        ("redis://h:0", "port"),
        ("redis://h:65536", "port"),
        ("redis://h:abc", "port"),
        ("redis://h:-1", "port"),
        ("redis://h/x", "db"),
        ("redis://h/1/2", "db"),
        ("redis://h/-1", "db"),
        ("redis://h/1?db=1", "db twice"),
        ("redis://h?db=one", "db"),
        ("redis://h?protocol=3", "protocol"),
        ("redis://h?ssl_ca_certs=/x", "ssl_ca_certs"),
        ("redis://h?timeout=0", "timeout"),
        ("redis://h?timeout=nan", "timeout"),
        ("redis://h?timeout=inf", "timeout"),
        ("redis://h?timeout=soon", "timeout"),
        ("redis://h?max_connections=0", "max_connections"),
        ("redis://h?client_name=a%20b", "client_name"),
        ("redis://u:p@h?password=q", "password twice"),
        ("redis://h#x", "fragment"),
        ("redis://h#", "fragment"),
        ("redis://a:1,b:2", "port"),
        ("redis://a,b", "one host"),
        ("redis://[::1", "brackets"),
        ("redis://h\n", "white space"),
        (" redis://h", "white space"),
        ("redis://h\x00", "control"),
        ("rediss://h?ssl_cert_reqs=maybe", "ssl_cert_reqs"),
        ("rediss://h?ssl_check_hostname=1", "ssl_check_hostname"),
        ("unix://", "path"),
        ("unix:///", "path"),
        ("unix://host/path", "no host"),
    ],
)
def test_mistakes_are_named(url: str, named: str) -> None:
    """Anything not understood is a ConfigurationError that names the culprit."""
    with pytest.raises(ConfigurationError, match="(?i)" + named.replace("+", r"\+").replace("?", r"\?")):
        make_backend(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://u:hunter2@h:bad",
        "redis://u:hunter2@h/x",
        "redis://u:hunter2@h?nope=1",
        "redis://u:hunter2@h?timeout=x",
        "redis://u:hunter2@h#x",
        "redis://u:hunter2#@h",
        "redis://u:hunter2@[h",
        "redis://u:hunter2@h?password=hunter2",
        "nope://u:hunter2@h",
        "redis://h?max_connections=hunter2",
        " redis://u:hunter2@h",
        "memory://u:hunter2@h",
        "redis+cluster://u:hunter2@h:x",
        "redis+sentinel://u:hunter2@h",
        "redis+sentinel://h/s?sentinel_password=hunter2&nope=1",
        "unix://u:hunter2@h/x",
        "u:hunter2@h://",
        "redis://u:x?hunter2=y@h",
        "redis://u:x/hunter2@h",
    ],
)
def test_no_error_quotes_the_password(url: str) -> None:
    """Neither the message nor the chain of an error holds what stands in the URL beside the culprit's name."""
    with pytest.raises(ConfigurationError) as caught:
        make_backend(url)
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in str(error)
        error = None if error.__suppress_context__ else error.__context__


def test_settings_hide_the_password() -> None:
    """The repr of the settings, which ends up in logs, has no password in it."""
    assert "hunter2" not in repr(redis_settings("redis://u:hunter2@h"))
    assert "hunter2" not in repr(cluster_settings("redis+cluster://u:hunter2@h"))
    assert "hunter2" not in repr(sentinel_settings("redis+sentinel://u:hunter2@h/s?sentinel_password=hunter2"))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis+cluster://a", ClusterSettings((("a", 6379),), RedisSettings())),
        ("redis+cluster://A:1,b,a:1/", ClusterSettings((("a", 1), ("b", 6379)), RedisSettings())),
        ("redis+cluster://[::1]:7,[::2]", ClusterSettings((("::1", 7), ("::2", 6379)), RedisSettings())),
        (
            "redis+cluster://u:p%40@a,b:2?timeout=1&wait=1&wait_timeout=0.25",
            ClusterSettings(
                (("a", 6379), ("b", 2)), RedisSettings(username="u", password="p@", timeout=1.0, wait=(1, 250))
            ),
        ),
        (
            "rediss+cluster://a?ssl_check_hostname=false",
            ClusterSettings((("a", 6379),), RedisSettings(tls=True, tls_options=(("ssl_check_hostname", False),))),
        ),
    ],
)
def test_clusters(url: str, expected: ClusterSettings) -> None:
    """Each form of a cluster's URL says what it looks like it says."""
    assert cluster_settings(url) == expected
    assert getattr(make_backend(url), "clustered", False)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis+sentinel://a/s", SentinelSettings((RedisSettings("a", 26379),), "s", RedisSettings())),
        (
            "redis+sentinel://u:p@a:1,b/my%20service/3?replicas=read&sentinel_username=x&sentinel_password=y",
            SentinelSettings(
                (
                    RedisSettings("a", 1, username="x", password="y"),
                    RedisSettings("b", 26379, username="x", password="y"),
                ),
                "my service",
                RedisSettings(db=3, username="u", password="p"),
                replicas=True,
            ),
        ),
        ("redis+sentinel://a/s?db=2", SentinelSettings((RedisSettings("a", 26379),), "s", RedisSettings(db=2))),
        (
            "rediss+sentinel://a/s",
            SentinelSettings((RedisSettings("a", 26379, tls=True),), "s", RedisSettings(tls=True)),
        ),
    ],
)
def test_sentinels(url: str, expected: SentinelSettings) -> None:
    """Sentinels' URLs: who they are, the service's name, the master's database and user, the sentinels' own."""
    assert sentinel_settings(url) == expected
    assert not getattr(make_backend(url), "clustered", False)


class _Mine:
    """A third party's backend, made from the whole URL."""

    def __init__(self, url: str) -> None:
        self.url = url


class _Other(_Mine):
    @classmethod
    def from_url(cls, url: str) -> _Other:
        return cls("from " + url)


@pytest.mark.parametrize(("name", "expected"), [("_Mine", "x-y://h?a=1"), ("_Other", "from x-y://h?a=1")])
def test_entry_points_add_schemes(monkeypatch: pytest.MonkeyPatch, name: str, expected: str) -> None:
    """A class of the group memocache.backends is called through from_url if it has it, else directly."""

    class Entry(EntryPoint):
        def load(self) -> Any:
            return globals()[name]

    def found(group: str) -> list[EntryPoint]:
        return [Entry("x-y", "irrelevant:here", group)]

    monkeypatch.setattr("importlib.metadata.entry_points", found)
    backend: Any = make_backend("x-y://h?a=1")
    assert backend.url == expected
    with pytest.raises(ConfigurationError, match="x-y://"):
        make_backend("z://")


def test_only_redis_urls_load_redis() -> None:
    """Choosing memory:// or null:// imports neither redis nor hiredis, and no URL opens a connection."""
    code = (
        "import sys; from memocache.backends._registry import make_backend\n"
        "make_backend('memory://'); make_backend('null://')\n"
        "assert not {'redis', 'hiredis'} & set(sys.modules)\n"
        "make_backend('redis://192.0.2.1:1/0')\n"
        "import threading; assert threading.active_count() == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
