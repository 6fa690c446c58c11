"""The command line: what it prints, where, and with which exit status."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from memocache.cli import main
from memocache.testing.servers import ValkeyServer

DEAD = "redis://127.0.0.1:1"  # nobody listens on port 1


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the caller's takes part, and tables do not depend on the terminal."""
    for name in ("MEMOCACHE_URL", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    """A real server, for as long as this module runs."""
    with ValkeyServer() as server:
        yield server.url


def one_line(text: str) -> str:
    """Return the only line of `text`; fail if there are more or fewer."""
    assert text.endswith("\n")
    (line,) = text.splitlines()
    assert line.startswith("memocache: ")
    return line


def rows(text: str) -> list[list[str]]:
    """Return the cells of every table row in `text`."""
    return [[cell.strip() for cell in re.split("[│┃|]", line)[1:-1]] for line in text.splitlines() if "│" in line]


def check_demo(text: str) -> None:
    """What the demo shows is what a cache must do."""
    steps = [cells for cells in rows(text) if len(cells) == 3]
    assert [what for _, what, _ in steps] == [
        *("computed", "served", "served", "served"),
        "forgotten, by name",
        *("computed", "served"),
    ]
    counters = {cells[0]: cells[1] for cells in rows(text) if len(cells) == 2}
    assert (counters["hits"], counters["misses"], counters["stores"]) == ("1,003", "2", "2")
    assert float(counters["seconds saved (hits x mean computation)"].replace(",", "")) > 0
    beside = {cells[0]: cells[1:3] for cells in rows(text) if len(cells) == 4}
    assert beside["10 callers at once"] == ["1 computed, 9 waited for it", "1"]
    assert beside["another process, the same call"] == ["served what this one computed", "0"]
    assert beside["the backend is away (injected)"] == ["computed, and no error", "1"]
    assert beside["the backend is back"] == ["served again", "0"]


def test_demo_on_the_default_backend(capsys: pytest.CaptureFixture[str]) -> None:
    """With no setting at all the demo runs in the process: computed once, served, invalidated, computed again."""
    assert main(["demo"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "memory://" in out
    check_demo(out)


def test_demo_on_a_server(server_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With --url the demo does the same on a server."""
    assert main(["demo", "--url", server_url]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    check_demo(out)


def test_the_environment_names_the_backend(
    server_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """MEMOCACHE_URL stands in for --url, which overrides it."""
    monkeypatch.setenv("MEMOCACHE_URL", DEAD)
    assert main(["ping"]) == 1
    assert main(["ping", "--url", server_url]) == 0
    assert "is healthy" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["demo", "ping"])
def test_a_backend_that_is_not_there(command: str) -> None:
    """An unreachable server is one line on stderr (and no log beside it), with status 1 and nothing on stdout."""
    words = [sys.executable, "-m", "memocache.cli", command, "--url", DEAD]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "127.0.0.1:1" in one_line(done.stderr)


def test_the_demo_cleans_up(server_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """However often it runs, the demo leaves no entry on the server and no growing number of other keys."""
    import redis

    with redis.Redis.from_url(server_url) as client:
        left = []
        for _ in range(2):
            assert main(["demo", "--url", server_url]) == 0
            left.append(sorted(client.scan_iter("memocache-demo*")))
    assert left[0] == left[1]
    assert not [key for key in left[1] if key.startswith(b"memocache-demo:e:")]


@pytest.mark.parametrize("url", ["", "nonsense", "gopher://localhost", "memory://?maxsise=3"])
def test_a_url_that_means_nothing(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A URL that cannot work is one line on stderr and status 1."""
    assert main(["ping", "--url", url]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    one_line(err)


def test_a_password_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither failure nor success prints what stands before the @ of a URL."""
    assert main(["ping", "--url", "redis://user:hunter2@127.0.0.1:1"]) == 1
    out, err = capsys.readouterr()
    assert "hunter2" not in out + err
    assert "user" not in out + err


@pytest.mark.parametrize("arguments", [["frobnicate"], ["ping", "--frobnicate"], ["ping", "extra"]])
def test_misuse(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown command, option or argument is one line on stderr and status 2."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    one_line(err)


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_help_lists_the_commands(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command, and with --help, the commands are listed on stdout with status 0."""
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "demo" in out
    assert "ping" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """--version prints the name and the installed version."""
    assert main(["--version"]) == 0
    assert re.fullmatch(r"memocache \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


def test_a_pipe_gets_plain_text() -> None:
    """What goes to a pipe has no escape codes, and a pipe that closes early is no traceback."""
    command = [sys.executable, "-m", "memocache.cli", "demo"]
    environment = os.environ | {"TERM": "xterm-256color"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=True)
    assert "\x1b" not in done.stdout
    assert done.stderr == ""

    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        cut = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, env=environment, timeout=120)
    assert "Traceback" not in cut.stderr


def test_colour_is_refused_by_no_color() -> None:
    """NO_COLOR wins over a terminal that could show colours: at most bold and italics are left."""
    command = [sys.executable, "-m", "memocache.cli", "demo"]
    environment = os.environ | {"NO_COLOR": "1", "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=True)
    assert not re.search(r"\x1b\[[0-9;]*(3[0-7]|9[0-7]|38|48|4[0-7])[;m]", done.stdout)


def test_ctrl_c_is_status_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An interrupt while the function computes ends the demo with status 130, without a traceback."""

    def interrupted(limit: int) -> int:
        signal.raise_signal(signal.SIGINT)
        return limit

    monkeypatch.setattr("memocache.cli.demo._primes_below", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite started with `&` ignores it
    try:
        assert main(["demo"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("absent", ["typer", "rich"])
def test_without_the_extra(absent: str) -> None:
    """Where typer or rich is missing, one line says what to install, with status 1."""
    code = f"import sys; sys.modules[{absent!r}] = None; from memocache.cli import main; sys.exit(main(['demo']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stdout == ""
    assert one_line(done.stderr).endswith('pip install "memocache[cli]"')
