"""TLS in front of real servers: verified unless told otherwise; a server that fails the check is like a dead one."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from memocache import BackendError
from memocache.testing import servers
from memocache.testing.servers import RedisServer, Server
from tests.promises.faults.rig import STALL, Rig, right, until, within

pytest.importorskip("cryptography")
from tests.promises.faults.tls import DAY, Authority, Terminator

PATIENT = "timeout=30&connect_timeout=30"  # seconds: a handshake is work, and this machine may be busy
SHORT = "timeout=0.5&connect_timeout=0.5"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The authority that the client trusts."""
    return Authority(tmp_path, "ours")


def _native_tls() -> bool:
    """Whether redis-server here speaks TLS itself."""
    binary = RedisServer.find()
    if binary is None or shutil.which("ldd") is None:
        return False
    linked = subprocess.run(["ldd", binary], capture_output=True, text=True)
    return linked.returncode == 0 and "libssl" in linked.stdout


def _works(rig: Rig, url: str) -> None:
    """Decorated and direct calls go through; a cold connection may take longer than a call's budget."""
    cache = rig.cache(url)
    f = rig.cached(cache)
    until(lambda: rig.ask(cache, "health").ok)
    rig.recovers(f)
    rig.ask(cache, "set", "a", "b" * 200_000)
    assert rig.ask(cache, "get", "a") == "b" * 200_000
    assert rig.ask(cache, "stats", "fleet").total_keys > 0


def _refused(rig: Rig, url: str) -> None:
    """Decorated calls compute, all of them; direct ones raise, and say no more than what kind of error it was."""
    cache = rig.cache(url)
    f = rig.cached(cache)
    for x in (1, 1, 2, 17):
        assert right(x, rig.call(f, x))
    assert f.cache_info().hits == 0
    assert not rig.ask(cache, "health").ok
    with pytest.raises(BackendError):
        rig.ask(cache, "get", "a")


@pytest.mark.usefixtures("leisure")
def test_a_server_of_the_trusted_authority(rig: Rig, victim: Server, authority: Authority) -> None:
    """With the right authority, an unexpired certificate and its own host, everything works over TLS, by name and by
    address; the same with a client's certificate where the server asks for one.
    """
    for host, more in (("localhost", None), ("127.0.0.1", None), ("localhost", authority.path)):
        with Terminator(victim.port, authority.issue(host), more) as front:
            url = f"rediss://{host}:{front.port}/0?{PATIENT}&ssl_ca_certs={authority.path}"
            if more is not None:
                certificate, key = authority.issue("client")
                url += f"&ssl_certfile={certificate}&ssl_keyfile={key}"
            _works(rig, url)
            assert front.handshakes > 0


REFUSALS = ["another authority", "the system's authorities", "another host", "expired", "not yet", "no client"]


@pytest.mark.parametrize("why", REFUSALS)
@pytest.mark.usefixtures("leisure")
def test_what_is_refused(rig: Rig, authority: Authority, tmp_path: Path, why: str) -> None:
    """A certificate of another authority, for another host, out of its time, or a client without one where one is asked
    for: the server is as good as dead, nothing is sent to it, and no caller of a decorated function notices.
    """
    trusted, host, options, clients = f"&ssl_ca_certs={authority.path}", "localhost", {}, None
    issuer = authority
    if why == "another authority":
        issuer = Authority(tmp_path, "theirs")
    elif why == "the system's authorities":
        trusted = ""
    elif why == "another host":
        host = "cache.example"
    elif why == "expired":
        options = {"since": -2 * DAY, "until": -DAY}
    elif why == "not yet":
        options = {"since": DAY, "until": 2 * DAY}
    elif why == "no client":
        clients = authority.path
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        upstream.settimeout(0)
        port = upstream.getsockname()[1]
        with Terminator(port, issuer.issue(host, **options), clients) as front:
            _refused(rig, f"rediss://localhost:{front.port}/0?{PATIENT}{trusted}")
            until(lambda: front.refusals)
        with pytest.raises(BlockingIOError):
            upstream.accept()


@pytest.mark.usefixtures("leisure")
def test_what_is_told_to_be_let_pass(rig: Rig, one_victim: Server, authority: Authority) -> None:
    """`ssl_check_hostname=false` lets another host's certificate pass, and nothing else; `ssl_cert_reqs=none` all."""
    with Terminator(one_victim.port, authority.issue("cache.example")) as front:
        at = f"rediss://localhost:{front.port}/0?{PATIENT}"
        _works(rig, f"{at}&ssl_ca_certs={authority.path}&ssl_check_hostname=false")
        _works(rig, f"{at}&ssl_cert_reqs=none")
        _refused(rig, f"{at}&ssl_check_hostname=false")


def test_plain_text_is_no_tls(rig: Rig, one_victim: Server, authority: Authority) -> None:
    """`rediss://` to a server without TLS is refused, never continued in clear; `redis://` to one with TLS neither."""
    _refused(rig, f"rediss://127.0.0.1:{one_victim.port}/0?{SHORT}&ssl_ca_certs={authority.path}")
    with Terminator(one_victim.port, authority.issue("127.0.0.1")) as front:
        _refused(rig, f"redis://127.0.0.1:{front.port}/0?{SHORT}")


@pytest.fixture
def native(authority: Authority, tmp_path: Path) -> Iterator[tuple[Server, int]]:
    """A Redis server that speaks TLS itself, and its TLS port."""
    certificate, key = authority.issue("localhost")
    for _ in range(5):
        port = servers._free_port()
        words = ["--tls-port", str(port), "--tls-cert-file", certificate, "--tls-key-file", key]
        words += ["--tls-ca-cert-file", str(authority.path), "--tls-auth-clients", "no"]
        try:
            server = servers.start("redis", *words)
        except RuntimeError:  # somebody else took the port meanwhile
            continue
        with server:
            yield server, port
        return
    pytest.fail("no port to be had")


@pytest.mark.skipif(not _native_tls(), reason="no redis-server here that speaks TLS itself")
@pytest.mark.usefixtures("leisure")
def test_a_server_that_speaks_tls_itself(rig: Rig, native: tuple[Server, int], authority: Authority) -> None:
    """The same over a server's own TLS: works with its authority, is refused without."""
    server, port = native
    _works(rig, f"rediss://localhost:{port}/0?{PATIENT}&ssl_ca_certs={authority.path}")
    _refused(rig, f"rediss://localhost:{port}/0?{PATIENT}")
    assert server.pid


def test_a_handshake_that_never_ends_is_bounded(rig: Rig, authority: Authority) -> None:
    """A server that takes the connection and never says a word costs a decorated call its budget, not its caller."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rediss://localhost:{silent.getsockname()[1]}/0?ssl_ca_certs={authority.path}"
        f = rig.cached(rig.cache(url))
        within(STALL, lambda: rig.trial(f, [1]).worst)
        assert f.cache_info().hits == 0
