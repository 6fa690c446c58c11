"""Every command on every kind of backend, at a narrow terminal and in a pipe; and what users get wrong."""

from __future__ import annotations

import io
import itertools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from memocache import configure
from memocache.cli import main
from memocache.cli._app import app
from memocache.cli._common import where
from tests.cli import shop
from tests.cli.terminal import at_terminal, environment
from tests.worlds import FLEETS, SERVERS, full

ROOT = Path(__file__).parents[2]
PRICE = "tests.cli.shop:price"
NARROW = 60
KINDS = ["memory", "disk", *SERVERS[:1]]
KINDS += FLEETS
COMMANDS = {
    "demo": (),
    "ping": (),
    "stats": (),
    "top": ("--once", "--every", "0.2"),
    "keys": ("shop.price",),
    "inspect": ("{key}",),
    "explain": (PRICE, "3"),
    "invalidate": ("shop.price",),
    "clear": ("--yes",),
    "purge": (),
    "doctor": (),
}
SAYS = {
    "demo": "forgotten, by name",
    "ping": "is healthy",
    "stats": "86.7%",
    "top": "shop.price",
    "keys": "shop.price:",
    "inspect": "item:{item}",
    "explain": "a hit: fresh",
    "invalidate": "invalidated shop.price",
    "clear": "cleared the prefix",
    "purge": "deleted 0 dead entries",
    "doctor": "latency",
}
SAYS_ALONE = {
    "stats": "no function has been called yet",
    "top": "no hits have been counted yet",
    "keys": "there is no function shop.price",
    "inspect": "there is no entry",
    "invalidate": "no function is called 'shop.price'",
    "explain": "a miss",
    "doctor": "this process",
}
"""What is said of ``memory://``, which begins empty with each command."""
REFUSED = ("there is no", "no function is called")
"""How errors begin: one line on stderr, and a status of 1."""
WITH_JSON = ("stats", "keys", "inspect", "explain", "doctor")
_numbers = itertools.count()


class Place(NamedTuple):
    """A backend with entries under a prefix of the test's own, and the key of one of them."""

    kind: str
    url: str
    prefix: str
    key: str

    def words(self, command: str) -> tuple[str, ...]:
        words = (command, *(word.format(key=self.key) for word in COMMANDS[command]), "--url", self.url)
        return words if command in ("demo", "ping") else (*words, "--prefix", self.prefix)

    def says(self, command: str) -> str:
        return (SAYS | SAYS_ALONE if self.kind == "memory" else SAYS)[command]


def mostly(kind: str) -> Any:
    """A test on each kind of backend; the full run has those besides `kind`."""
    kinds = [one if one == kind else full(one) for one in KINDS]
    return pytest.mark.parametrize("place", kinds, indirect=True)


@pytest.fixture
def place(request: pytest.FixtureRequest, running_server: Callable[[str], Any], tmp_path: Path) -> Place:
    """Each kind of backend, after a program has been busy on it."""
    kind = request.param
    if kind == "memory":
        url = "memory://"
    elif kind == "disk":
        url = f"disk://{tmp_path / 'store'}"
    else:
        url = f"{running_server(kind).url}?timeout=30&connect_timeout=30"
    prefix = f"cli{next(_numbers)}"
    shop.busy(url, prefix)
    with configure(url, prefix=prefix):
        key = shop.price.key_for(3)
    configure("memory://").close()
    return Place(kind, url, prefix, key)


def in_pipe(*words: str, stdin: Any = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
    """A command whose output goes to a pipe."""
    program = [sys.executable, "-m", "memocache.cli", *words]
    return subprocess.run(
        program, capture_output=True, text=True, cwd=ROOT, env=environment(), stdin=stdin, timeout=120
    )


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(params=["here", full("a process of its own")])
def run(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command whose output goes to a pipe: in this process, and in one of its own."""
    if request.param != "here":
        return in_pipe
    for name in {*os.environ} - {*environment()}:
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(ROOT)

    def here(*words: str) -> subprocess.CompletedProcess[str]:
        capsys.readouterr()
        status = main(words)
        return subprocess.CompletedProcess(words, status, *capsys.readouterr())

    return here


def test_there_is_no_other_command() -> None:
    """What the application has is what is tested here, and the dashboard, which has tests of its own."""
    assert {command.name for command in app.registered_commands} - {"dashboard"} == set(COMMANDS)


@mostly((*SERVERS, "memory")[0])
@pytest.mark.parametrize("command", COMMANDS)
def test_at_a_terminal(place: Place, command: str) -> None:
    """It says what it should, with the status of success; no line of its is wider than the terminal, keys excepted."""
    done = at_terminal(*place.words(command), cwd=ROOT, columns=NARROW)
    text = " ".join(done.text.split())
    refused = place.says(command).startswith(REFUSED)
    if refused:
        assert done.status == 1
    else:
        assert done.status == 0, done.text
    assert "Traceback" not in text
    folded = "".join(text.split()).replace("│", "")  # a narrow table folds words
    assert "".join(place.says(command).split()) in folded
    if not refused and command not in (
        "keys",
        "purge",
        "inspect",
    ):  # keys are for scripts; a bar is redrawn in its line
        assert max(map(len, done.text.splitlines()), default=0) <= NARROW


@mostly("disk")
@pytest.mark.parametrize("command", COMMANDS)
def test_in_a_pipe(place: Place, command: str) -> None:
    """The same in plain text, nothing on stderr; and as JSON where a script would want it."""
    done = in_pipe(*place.words(command))
    if place.says(command).startswith(REFUSED):
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"memocache: {place.says(command)}")
        assert (done.returncode, done.stdout) == (1, "")
        return
    assert (done.returncode, done.stderr) == (0, "")
    assert place.says(command) in done.stdout
    assert "\x1b" not in done.stdout
    assert "looking" not in done.stdout  # a bar of progress is for a person
    if command in WITH_JSON:
        done = in_pipe(*place.words(command), "--json")
        assert (done.returncode, done.stderr) == (0, "")
        assert isinstance(json.loads(done.stdout), dict | list)


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"demo"}))
def test_a_store_that_is_not_there_is_not_made(tmp_path: Path, command: str, run: Run) -> None:
    """On a directory that is not there, or is no store, every command says so in one line and leaves it as it was."""
    (tmp_path / "other").mkdir()
    for name in ("typo", "other"):
        place = Place("disk", f"disk://{tmp_path / name}", "cli", "key")
        done = run(*place.words(command))
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert "there is no store yet" in line
        assert name in line
    assert [one.name for one in tmp_path.iterdir()] == ["other"]
    assert not list((tmp_path / "other").iterdir())


BROKEN = "tests.cli.broken"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("ping", "--url", "redis://127.0.0.1:1"), "127.0.0.1:1"),
        (("ping", "--url", "redis://127.0.0.1:port"), "port"),
        (("ping", "--url", "redis://127.0.0.1:99999"), "port"),
        (("ping", "--url", "http://127.0.0.1"), "http"),
        (("stats", "--url", "redis+cluster://127.0.0.1:1"), "127.0.0.1:1"),
        (("stats", "--url", "redis+sentinel://127.0.0.1:1/mymaster/0"), "127.0.0.1:1"),
        (("keys", "--url", "disk:///proc/no/such/place"), "/proc/no"),
        (("keys", "--url", "disk://relative/path"), "disk"),
        (("keys", "--prefix", "", "--url", "memory://"), "prefix"),
        (("inspect", "no such key"), "no entry"),
        (("inspect",), "see memocache inspect --help"),
        (("inspekt",), "see memocache --help"),
        (("keys", "--limit", "0"), "limit"),
        (("top", "--every", "0"), "every"),
        (("explain", "nowhere.at.all:f"), "cannot import nowhere"),
        (("explain", "no-colon"), "MODULE:FUNCTION"),
        (("explain", "tests.cli.shop:nothing"), "has no nothing"),
        (("explain", "tests.cli.shop:plain", "1"), "not a function decorated"),
        (("explain", PRICE), "item"),
        (("explain", PRICE, "1", "colour=red"), "colour"),
        (("explain", f"{BROKEN}:f"), "ZeroDivisionError"),
        (("explain", "..relative:f"), "cannot import"),
    ],
    ids=lambda one: "-".join(one)[:60] if isinstance(one, tuple) else "",
)
def test_a_mistake_is_one_line(words: tuple[str, ...], says: str, run: Run) -> None:
    """Whatever a user gets wrong is told in one line on stderr, with a status that is not 0, and no traceback."""
    done = run(*words)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("memocache: ")
    assert says in line
    assert done.returncode in (1, 2)


@pytest.mark.parametrize("command", ["demo", "ping", "stats", "purge", "doctor"])
def test_ctrl_c_while_it_waits(command: str) -> None:
    """Ctrl-C while a command waits for a server that never answers ends it with status 130 and no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"redis://127.0.0.1:{deaf.getsockname()[1]}?timeout=60&connect_timeout=60"
        callers: list[Any] = []
        done = at_terminal(command, "--url", url, cwd=ROOT, interrupt_after=lambda: callers.append(deaf.accept()[0]))
        callers.pop().close()
    assert done.status == 130, done.text
    assert "Traceback" not in done.text


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:secret@a:6379/2?timeout=1", "redis://a:6379/2"),
        ("redis+cluster://a:1,b:2", "redis+cluster://a:1 (and 1 more host)"),
        ("redis+sentinel://:secret@a:1,b:2,c:3/mymaster/0", "redis+sentinel://a:1/mymaster/0 (and 2 more hosts)"),
        ("disk:///tmp/x?max_bytes=1GB", "disk:///tmp/x"),
    ],
)
def test_where(url: str, shown: str) -> None:
    """A URL is shown without secrets and options, and where there are several hosts the first stands whole."""
    assert where(url) == shown


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_an_encoding_without_bars(tmp_path: Path, encoding: str) -> None:
    """What the encoding of a pipe cannot say is spelled in what it can, and is no traceback."""
    url = f"disk://{tmp_path / 'store'}"
    shop.busy(url)
    for command, says in (("stats", "##########..  86.7%"), ("doctor", "LMDB")):
        words = [sys.executable, "-m", "memocache.cli", command, "--url", url]
        done = subprocess.run(
            words, capture_output=True, cwd=ROOT, env=environment(PYTHONIOENCODING=encoding), timeout=120
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert says in done.stdout.decode(encoding)


def test_what_keeps_nothing() -> None:
    """``null://`` is well, and said to keep nothing; a program's `memory://` is not found empty without a word why."""
    assert "did not come back" in in_pipe("ping", "--url", "null://").stdout
    doctor = in_pipe("doctor", "--url", "null://")
    assert (doctor.returncode, "keeps nothing" in doctor.stdout) == (0, True)
    assert "memory:// is in each process" in in_pipe("top", "--once", "--every", "0.2").stdout
