"""Running the `memocache` command as a person would: at a terminal, a pseudo one."""

from __future__ import annotations

import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping
from fcntl import ioctl
from pathlib import Path
from typing import NamedTuple

BOUND = 60.0
_ESCAPE = re.compile(rb"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[=>()][0-9A-B]?)")


class Done(NamedTuple):
    """A command that ended: its status, what it wrote (stderr with it at a terminal), and that without escapes."""

    status: int
    raw: bytes
    text: str


def environment(**changes: str) -> dict[str, str]:
    """The caller's environment without what would change the output."""
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")}
    return {name: value for name, value in kept.items() if not name.startswith("MEMOCACHE_")} | changes


def plain(raw: bytes) -> str:
    """What is left of terminal output without its escapes."""
    return _ESCAPE.sub(b"", raw).replace(b"\r\n", b"\n").decode("utf-8", "replace")


def at_terminal(
    *words: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    typed: bytes = b"",
    interrupt_when: Callable[[str], bool] | None = None,
    interrupt_after: Callable[[], object] | None = None,
    columns: int = 120,
) -> Done:
    """Run a command at a terminal; `typed` is typed at once, Ctrl-C when what it wrote satisfies `interrupt_when`,
    or once `interrupt_after` returns.
    """
    ours, theirs = pty.openpty()

    def sit_down() -> None:  # in the child: the terminal is its own, and interrupts mean what they mean to a person
        ioctl(theirs, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # else a suite started with `&` hands down that it is ignored

    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "memocache.cli", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(TERM="xterm-256color", **(env or {})),
        cwd=cwd,
        start_new_session=True,
        preexec_fn=sit_down,
    ) as process:
        os.close(theirs)
        if typed:
            os.write(ours, typed)
        if interrupt_after is not None:

            def interrupt() -> None:
                interrupt_after()
                os.write(ours, b"\x03")

            threading.Thread(target=interrupt, daemon=True).start()
        raw, deadline = b"", time.monotonic() + BOUND
        try:
            while time.monotonic() < deadline:
                try:
                    piece = os.read(ours, 65536)
                except OSError:  # the last one at the other end has gone
                    break
                if not piece:
                    break
                raw += piece
                if interrupt_when is not None and interrupt_when(plain(raw)):
                    interrupt_when = None
                    os.write(ours, b"\x03")
            status = process.wait(BOUND)
        finally:
            if process.poll() is None:
                process.kill()
            os.close(ours)
    return Done(status, raw, plain(raw))
