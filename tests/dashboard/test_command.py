"""``memocache dashboard``: how it starts, and the one line with which it does not."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import memocache
from memocache.cli.dashboard import caches_of

pytest.importorskip("uvicorn")
ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "memocache.cli", "dashboard")


def fails(*words: str, program: str = "") -> str:
    """What the command says on stderr as it fails."""
    command = [sys.executable, "-c", program, *words] if program else [*COMMAND, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_ctrl_c_ends_it_cleanly() -> None:
    """It says where it is, and Ctrl-C ends it at once, with nothing on stderr."""
    process = subprocess.Popen(
        [*COMMAND, "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite started with `&` ignores it
    )
    assert process.stdout is not None
    found = re.search(r"http://127\.0\.0\.1:(\d+)/", process.stdout.readline())
    assert found is not None
    with socket.create_connection(("127.0.0.1", int(found[1]))) as link:
        link.sendall(b"GET /audit HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert link.recv(15) == b"HTTP/1.1 200 OK"
        while link.recv(4096):
            pass
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said == ""


def test_several_caches_are_named() -> None:
    """Each prefix on each backend is a cache of the dashboard, under a name of its own, without what a URL hides."""
    with caches_of(["memory://", "null://", "memory://"], ["a", "b"]) as caches:
        assert list(caches) == ["memory:// a", "memory:// b", "null:// a", "null:// b"]
    with caches_of(["redis://user:secret@h:1/0", "redis://h:1/0?timeout=1"], ["a"]) as caches:
        assert list(caches) == ["redis://h:1/0", "redis://h:1/0 again"]


def test_what_it_refuses() -> None:
    """A port in use, and a host beyond this machine without a token."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "try another --port" in fails("--port", str(taken.getsockname()[1]))
    os.environ.pop("MEMOCACHE_DASHBOARD_TOKEN", None)
    assert "MEMOCACHE_DASHBOARD_TOKEN" in fails("--host", "0.0.0.0", "--port", "0")


def test_a_missing_extra_is_named() -> None:
    """Without Starlette one line says what to install."""
    program = (
        "import sys; sys.modules['starlette'] = None; from memocache.cli import main; sys.exit(main(['dashboard']))"
    )
    assert 'pip install "memocache[dashboard]"' in fails(program=program)


def test_the_assets_are_packaged() -> None:
    """Every template and asset that pages use lies inside the package, with the charting library's licence."""
    static = Path(memocache.__file__).parent / "dashboard" / "static"
    used = re.findall(r"/static/([\w./]+)", (static.parent / "templates" / "base.html").read_text(encoding="utf-8"))
    assert len(used) == 5
    assert all((static / name).is_file() for name in used)
    assert "MIT" in (static / "vendor" / "uplot" / "LICENSE").read_text(encoding="utf-8")
    for file in (*static.glob("*.*"), *(static.parent / "templates").iterdir()):
        assert not re.search(r"(https?:)?//[a-z]+\.", file.read_text(encoding="utf-8")), file.name
