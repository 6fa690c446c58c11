"""Every command that looks at or changes a cache, at a terminal and in a pipe, on a real server and in the process."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from memocache import Cache
from memocache.cli import main
from memocache.cli._app import app
from memocache.testing import servers
from tests.cli.terminal import Done, at_terminal
from tests.worlds import full

ROOT = Path(__file__).parents[2]
SHOP = "tests.cli.shop"


@pytest.fixture
def url(running_server: Callable[[str], servers.Server]) -> str:
    """A server on which another process has been busy."""
    kinds = servers.available_servers()
    if not kinds:
        pytest.skip("no server on this machine")
    server = running_server(kinds[0])
    address = f"{server.url}?timeout=30&connect_timeout=30"
    with server.client() as client:
        client.flushall()
        _made_busy(client, address)
    return address


_snapshot: list[tuple[str, int, bytes]] = []
_taken = float("-inf")


def _made_busy(client: Any, address: str) -> None:
    """Have the shop run in a process of its own, or put back what it left on the server less than a minute ago."""
    global _taken
    if time.monotonic() - _taken < 60:
        for key, ttl, value in _snapshot:
            client.restore(key, ttl, value)
        return
    subprocess.run([sys.executable, "-m", SHOP, address], check=True, cwd=ROOT, timeout=60)
    _taken = time.monotonic()
    _snapshot[:] = [(key, max(client.pttl(key), 0), client.dump(key)) for key in client.scan_iter()]


class Piped(NamedTuple):
    """A command that ended, its output in a pipe."""

    status: int
    out: str
    err: str


Pipe = Callable[..., Piped]


@pytest.fixture
def in_pipe(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Pipe:
    """Run a command in this process, where stdout is no terminal and nobody is at stdin."""
    for name in ("MEMOCACHE_URL", "MEMOCACHE_PREFIX", "MEMOCACHE_SECRET", "COLUMNS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(ROOT)

    def run(*words: str) -> Piped:
        capsys.readouterr()
        status = main(words)
        return Piped(status, *capsys.readouterr())

    return run


def told(done: Piped) -> str:
    """What a command that succeeded wrote to a pipe: plain text."""
    assert done.status == 0, done.err
    assert done.err == ""
    assert "\x1b" not in done.out
    return done.out


def shown(done: Done) -> str:
    """What a command that succeeded showed at a terminal."""
    assert done.status == 0, done.text
    assert "Traceback" not in done.text
    return done.text


def refused(done: Piped, status: int = 1) -> str:
    """The one line of a command that failed."""
    assert done.status == status
    (line,) = done.err.splitlines()
    assert line.startswith("memocache: ")
    return line


def test_stats(url: str, in_pipe: Pipe) -> None:
    """A table with a bar for each function; JSON has the very figures; of the fleet unless told otherwise."""
    for text in (told(in_pipe("stats", "--url", url)), shown(at_terminal("stats", "--url", url))):
        line = next(line for line in text.splitlines() if "shop.price" in line)
        assert "52" in line
        assert "86.7%" in line
        assert "█" in line
        assert "39 keys" in text
    figures = json.loads(told(in_pipe("stats", "--url", url, "--json")))
    assert figures["functions"]["shop.price"]["hits"] == 52
    assert figures["functions"]["shop.report"]["misses"] == 30
    assert figures["total_keys"] == 39
    assert "no function has been called yet" in told(in_pipe("stats", "--url", url, "--process"))
    assert "asked of the backend" not in text
    for text in (told(in_pipe("stats", "-o", "--url", url)), shown(at_terminal("stats", "--operations", "--url", url))):
        assert "asked of the backend" in text
        assert re.search(r"get +[\d,]+ +0 +[\d.]+ .?s", text) or re.search(r"get.+0.+s", text)
    assert figures["operations"]["get"]["count"] > 0
    assert "nothing has been asked of the backend yet" in told(in_pipe("stats", "--operations"))
    assert "no function has been called yet" in told(in_pipe("stats"))
    assert "not with --watch" in refused(in_pipe("stats", "--watch", "--json", "--url", url), 2)


@pytest.mark.parametrize(
    "words", [("stats", "--watch", "--every", "0.2"), ("top", "--every", "0.2")], ids=lambda w: w[0]
)
def test_what_goes_on_ends_with_ctrl_c(url: str, words: tuple[str, ...]) -> None:
    """Live pages show and end cleanly: status 130, no traceback, the cursor given back."""
    done = at_terminal(*words, "--every", "0.2", "--url", url, interrupt_when=lambda text: "shop.price" in text)
    assert done.status == 130
    assert "Traceback" not in done.text
    assert done.raw.rfind(b"\x1b[?25h") > done.raw.rfind(b"\x1b[?25l")


@pytest.mark.parametrize("words", [("stats", "--watch"), ("top",)], ids=lambda w: w[0])
def test_what_goes_on_outlives_an_outage(
    words: tuple[str, ...], running_server: Callable[[str], servers.Server]
) -> None:
    """While the server is away that is shown; once it is back, so are the figures (of a server that begins empty)."""
    kinds = servers.available_servers()
    if not kinds:
        pytest.skip("no server on this machine")
    with servers.start(kinds[0]) as server:
        subprocess.run([sys.executable, "-m", SHOP, server.url], check=True, cwd=ROOT, timeout=60)
        steps = [("shop.price", server.kill), ("trying again", server.restart), ("no function", lambda: None)]

        def done(text: str) -> bool:
            if steps and steps[0][0] in text:
                steps.pop(0)[1]()
            return not steps

        ended = at_terminal(*words, "--every", "0.2", "--url", server.url, interrupt_when=done)
    assert steps == []
    assert ended.status == 130
    assert "Traceback" not in ended.text


def test_top(url: str, in_pipe: Pipe) -> None:
    """Two looks, then the rates between them and the hottest keys."""
    text = told(in_pipe("top", "--url", url, "--once", "--every", "0.2"))
    assert "shop.price" in text
    assert "hottest keys" in text
    assert "memo:e:shop.price:" in text


def test_one_tenant(url: str, in_pipe: Pipe) -> None:
    """`--tenant` is about the entries of one tenant; a name that none can have is refused."""
    cache = Cache(url, tenants=True)
    f = cache.cached(ttl=60, name="of.tenants")(lambda x: x)
    for name in ("acme", "umbrella"):
        with cache.tenant(name):
            f(1), f(1)
    cache.close()
    (key,) = told(in_pipe("keys", "--url", url, "--tenant", "acme")).split()
    assert (
        json.loads(told(in_pipe("inspect", key, "--url", url, "--tenant", "acme", "--json")))["function"]
        == "of.tenants"
    )
    figures = json.loads(told(in_pipe("stats", "--url", url, "--tenant", "acme", "--json")))
    assert figures["functions"]["of.tenants"]["hits"] == 1
    told(in_pipe("clear", "--url", url, "--tenant", "acme", "--yes"))
    assert told(in_pipe("stats", "--url", url, "--tenant", "umbrella", "--json"))
    with Cache(url, tenants=True) as again, again.tenant("umbrella"):
        assert again.cached(ttl=60, name="of.tenants")(lambda x: x).peek(1) == 1
    assert "1 to 200 characters" in in_pipe("keys", "--url", url, "--tenant", "").err


def test_keys_and_inspect(url: str, in_pipe: Pipe) -> None:
    """Keys come one a line, for scripts; `inspect` tells of one, never its value; an unknown one is one line."""
    keys = told(in_pipe("keys", "shop.price", "--url", url)).split()
    assert len(keys) == 8
    assert len(told(in_pipe("keys", "--url", url)).split()) == 39
    assert len(json.loads(told(in_pipe("keys", "--url", url, "--json", "-n", "5")))) == 5
    assert shown(at_terminal("keys", "shop.price", "--url", url)).count("memo:e:shop.price") == 8
    page = shown(at_terminal("inspect", keys[0], "--url", url))
    assert "shop.price" in page
    assert "item:{item}" in page
    info = json.loads(told(in_pipe("inspect", keys[0], "--url", url, "--json")))
    assert info["function"] == "shop.price"
    assert info["access_count"] in (6, 7)
    assert "hello" not in told(in_pipe("inspect", "banner", "--url", url))
    assert "no entry" in refused(in_pipe("inspect", "nothing", "--url", url))


def test_no_keys(url: str, in_pipe: Pipe) -> None:
    """An unknown function is a failure with a way out; where nothing is live that is said, and no failure."""
    for how in ((), ("--json",)):
        assert "no function shop.pric on" in refused(in_pipe("keys", "shop.pric", "--url", url, *how))
    assert "under the prefix 'memo2'" in refused(in_pipe("keys", "--prefix", "memo2", "--url", url), 0)
    told(in_pipe("invalidate", "shop.report", "--url", url))
    assert "no entry of shop.report" in refused(in_pipe("keys", "shop.report", "--url", url), 0)
    assert json.loads(told(in_pipe("keys", "shop.report", "--url", url, "--json"))) == []


def test_invalidate(url: str, in_pipe: Pipe) -> None:
    """By name, by pattern and by tag, also at a terminal; without or with both, a word on what to give."""
    with Cache(url) as cache:
        told(in_pipe("invalidate", "shop.report", "--url", url))
        assert len(list(cache.keys("shop.report"))) == 0
        shown(at_terminal("invalidate", "--tag", "item:3", "--url", url))
        assert len(list(cache.keys("shop.price"))) == 7
        told(in_pipe("invalidate", "sho*", "--url", url))
        assert list(cache.keys()) == ["banner"]
    assert "not both" in refused(in_pipe("invalidate", "--url", url), 2)
    assert "not both" in refused(in_pipe("invalidate", "x", "--tag", "t", "--url", url), 2)


def test_invalidate_of_a_name_that_no_function_has(url: str, in_pipe: Pipe) -> None:
    """A mistyped name or pattern, or the wrong prefix, is an error that shows the nearest names; all stays."""
    for typed in ("shop.pric", "shp.*"):
        said = refused(in_pipe("invalidate", typed, "--url", url))
        assert f"{typed!r} under the prefix 'memo' on" in said
        assert "did you mean" in said
        assert "shop.price" in said
    elsewhere = refused(in_pipe("invalidate", "shop.price", "--url", url, "--prefix", "memo2"))
    assert "no function is known there: is the prefix right?" in elsewhere
    with Cache(url) as cache:
        assert len(list(cache.keys())) == 39
    told(in_pipe("invalidate", "shop.price", "--url", url))
    told(in_pipe("invalidate", "shop.price", "--url", url))  # known, though nothing of it is left
    assert "invalidated 2 functions under the prefix 'memo'" in told(in_pipe("invalidate", "sho*", "--url", url))


def test_names_of_others_move_no_cursor(url: str, in_pipe: Pipe) -> None:
    """Escape sequences, line feeds and marks of direction in names, keys and tags are spelled out by every command."""
    evil = "evil\x1b[2J\u202e\nfake: 99% hits"
    with Cache(url) as cache:
        cache.cached(name=evil, tags=(evil,))(lambda x: x)(1)
        cache.set(evil, 1, tags=(evil,))
        key = cache.cached(name=evil)(lambda x: x).key_for(1)
    commands = [
        ("stats",), ("top", "--once", "--every", "0.2"), ("keys",), ("inspect", evil), ("inspect", key),
        ("invalidate", "--tag", evil), ("invalidate", evil), ("invalidate", f"{evil}x"), ("keys", f"{evil}x"),
    ]  # fmt: skip
    for words in commands:
        done = in_pipe(*words, "--url", url)
        shown = done.out + done.err
        assert not set(shown) & {"\x1b", "\u202e"}, words
        assert not [line for line in shown.splitlines() if line.lstrip("│ ").startswith("fake")], words
    assert json.loads(told(in_pipe("stats", "--json", "--url", url)))["functions"][evil]["name"] == evil


def test_clear_asks(url: str, in_pipe: Pipe) -> None:
    """At a terminal it asks, and a no changes nothing; in a pipe it wants --yes."""
    assert "--yes" in refused(in_pipe("clear", "--url", url))
    declined = at_terminal("clear", "--url", url, typed=b"n\n")
    assert (declined.status, "nothing was changed" in declined.text) == (1, True)
    with Cache(url) as cache:
        assert len(list(cache.keys())) == 39
        shown(at_terminal("clear", "--url", url, typed=b"y\n"))
        assert list(cache.keys()) == []
    told(in_pipe("clear", "--yes", "--url", url))


def test_purge(url: str, in_pipe: Pipe) -> None:
    """What is dead is deleted, and said, with progress at a terminal."""
    told(in_pipe("invalidate", "shop.report", "--url", url))
    assert "deleted 30 dead entries" in shown(at_terminal("purge", "--url", url))
    assert "deleted 0 dead entries" in told(in_pipe("purge", "--url", url))


def test_explain(url: str, in_pipe: Pipe) -> None:
    """Why a call is a hit, or a miss, and what its key depends on; nothing is computed by asking."""
    call = ("explain", f"{SHOP}:price", "3", "--url", url)
    page = shown(at_terminal(*call))
    assert "a hit: fresh" in page
    found = json.loads(told(in_pipe(*call, "--json")))
    assert found["verdict"] == "hit"
    assert found["depends"][:2] == ["item", "currency"]
    assert found["ignored"] == ["trace"]
    with Cache(url) as cache:
        assert cache.inspect(found["key"]) is not None
    narrow = shown(at_terminal(*call, columns=50))  # the key is there to be copied: folded, never cut
    assert found["key"] in "".join(re.findall(r"│ [^│]+ │ +(\S+) +│", narrow))
    again = ("explain", f"{SHOP}:price", "item=3", "currency=EUR", "trace=x", "--url", url, "--json")
    assert json.loads(told(in_pipe(*again)))["key"] == found["key"]
    told(in_pipe("invalidate", "--tag", "item:3", "--url", url))
    found = json.loads(told(in_pipe(*call, "--json")))
    assert found["verdict"] == "miss"
    assert "by tag item:{item}" in found["why"]
    told(in_pipe("clear", "--yes", "--url", url))
    assert "prefix" in json.loads(told(in_pipe(*call, "--json")))["why"]
    assert json.loads(told(in_pipe("explain", f"{SHOP}:price", "99", "--json")))["verdict"] == "miss"


def test_idle_and_stream_are_said(url: str, in_pipe: Pipe) -> None:
    """`explain` and `inspect` say of an entry that it goes when nobody reads it, and that it holds a stream's items;
    of others they say neither.
    """
    with Cache(url) as cache:
        tokens = cache.cached(ttl="1h", idle="10m", stream=True, name="shop.tokens")(lambda prompt: (yield prompt))
        assert list(tokens("why")) == ["why"]
        key, other = tokens.key_for("why"), next(cache.keys("shop.price"))
        cache.stats("fleet")  # sends the settings too
    for words in (("explain", f"{SHOP}:tokens", "why"), ("inspect", key)):
        page = told(in_pipe(*words, "--url", url))
        assert re.search(r"gone if unread for\W+(10.0 min|600)", page), page
        assert "the items of a stream" in page
    assert json.loads(told(in_pipe("explain", f"{SHOP}:tokens", "why", "--url", url, "--json")))["idle"] == 600
    for words in (("explain", f"{SHOP}:price", "3"), ("inspect", other)):
        page = told(in_pipe(*words, "--url", url))
        assert "unread" not in page
        assert "stream" not in page


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((f"{SHOP}:price",), "item"),
        ((f"{SHOP}:nothing",), "has no nothing; decorated there: price, report"),
        ((f"{SHOP}:plain", "1"), "not a function decorated"),
        (("tests.cli.nowhere:f",), "cannot import"),
    ],
)
def test_explain_refuses(words: tuple[str, ...], line: str, in_pipe: Pipe) -> None:
    """A mistake is one line that names it."""
    assert line in refused(in_pipe("explain", *words))


def test_doctor(url: str, in_pipe: Pipe) -> None:
    """The server's own facts and what they mean, as a table and as JSON."""
    page = shown(at_terminal("doctor", "--url", url))
    assert "maxmemory" in page
    findings = json.loads(told(in_pipe("doctor", "--url", url, "--json")))
    levels = {one["what"]: one["level"] for one in findings}
    assert levels["memory"] == "warn"
    assert levels["role"] == "ok"
    assert {"latency", "server", "clients", "transport", "user", "clock"} <= set(levels)
    assert told(in_pipe("doctor"))


def test_doctor_on_a_replica(in_pipe: Pipe, running_server: Callable[[str], servers.Server]) -> None:
    """A replica is a failure: one line of advice and status 1."""
    kinds = servers.available_servers()
    if not kinds:
        pytest.skip("no server on this machine")
    with servers.start(kinds[0]) as replica, replica.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        done = in_pipe("doctor", "--url", f"{replica.url}?timeout=30", "--json")
        assert done.status == 1


@pytest.mark.parametrize("command", ["stats", "top", "keys", "purge", "doctor"])
def test_a_server_that_is_not_there(command: str, in_pipe: Pipe) -> None:
    """One line that says so, and status 1."""
    refused(in_pipe(command, "--url", "redis://127.0.0.1:1"))


def test_no_color(url: str) -> None:
    """NO_COLOR takes the colours away at a terminal too."""
    coloured = at_terminal("doctor", "--url", url)
    plain = at_terminal("doctor", "--url", url, env={"NO_COLOR": "1"})
    colour = re.compile(rb"\x1b\[[0-9;]*3[0-7]m")
    assert colour.search(coloured.raw)
    assert not colour.search(plain.raw)


@pytest.mark.parametrize("command", ["", *(full(command.name) for command in app.registered_commands)])
def test_help(command: str) -> None:
    """At 80 columns no summary is cut short, and what stands for an argument has a name in one pair of brackets."""
    text = shown(at_terminal(*command.split(), "--help", columns=80))
    assert "..." not in text.replace("[ARGS]...", "")
    assert not any(wrong in text for wrong in ("[[", "range>"))


@pytest.mark.parametrize("columns", [full(40), full(60), 80, full(200)])
def test_any_width(url: str, columns: int) -> None:
    """No line is wider than the terminal, and names are whole."""
    text = shown(at_terminal("stats", "--url", url, columns=columns))
    assert max(map(len, text.splitlines())) <= columns
    assert "shop.report" in text
