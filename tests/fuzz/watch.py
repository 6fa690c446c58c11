"""Running one input under watch: what escapes, what runs that should not, and how much time and memory it takes."""

from __future__ import annotations

import importlib.util
import os
import resource
import sys
import threading
import time
import traceback
import zoneinfo
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tests.fuzz.shapes import Executed

SECONDS = 1.0
"""What one input may take, of this thread's processor time: the machine may be busy."""

MEGABYTES = 64
"""What one input of a few kilobytes may add to the largest resident size so far."""

_ROOM = 2 << 30
_PAGE_UNIT = 1 if sys.platform == "darwin" else 1024
_HARMLESS = frozenset(
    ("object.__getattr__", "object.__setattr__", "object.__delattr__", "sys._getframe", "builtins.id", "array.__new__")
)


class Finding(NamedTuple):
    """One broken promise: `kind` is crash, executed, hang or memory; `where` tells one from another."""

    kind: str
    where: str


class Watch:
    """Runs inputs in the thread that made it. The audit hook stays for the life of the process, as all of them do."""

    def __init__(self) -> None:
        self.slowest = 0.0
        self._armed = False
        self._thread = threading.get_ident()
        self._events: list[str] = []
        self._peak = peak_bytes()
        _zone_folders()
        sys.addaudithook(self._hear)

    def run(self, target: Callable[[bytes], None], data: bytes) -> Finding | None:
        """Run `target` on `data`; the first promise that it breaks."""
        finding = None
        self._events.clear()
        begun = time.thread_time()
        self._armed = True
        try:
            target(data)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._armed = False
            kind = (
                "executed" if isinstance(error, Executed) else "memory" if isinstance(error, MemoryError) else "crash"
            )
            finding = Finding(kind, _place(error))
        finally:
            self._armed = False
        took = time.thread_time() - begun
        self.slowest = max(self.slowest, took)
        if self._events:
            finding = Finding("executed", self._events[0])
        peak = peak_bytes()
        if finding is None and peak - self._peak > MEGABYTES << 20:
            finding = Finding("memory", f"more than {MEGABYTES} MB")  # first: on a busy machine its pages take a second
        if finding is None and took > SECONDS:
            finding = Finding("hang", f"more than {SECONDS:g} s")
        self._peak = peak
        return finding

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._armed and event not in _HARMLESS and threading.get_ident() == self._thread:
            self._armed = False  # for what follows, which may itself be heard
            if not _looks_for_a_zone(event, arguments):
                self._events.append(f"{event} {arguments[0]!s:.40}" if event == "import" else event)
            self._armed = True


def peak_bytes() -> int:
    """The largest resident size of this process so far."""
    try:  # what `getrusage` says on Linux begins with the size of the process that started this one
        with open("/proc/self/status", "rb") as status:
            return int(next(line for line in status if line.startswith(b"VmHWM:")).split()[1]) << 10
    except (OSError, StopIteration):
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _PAGE_UNIT


def bound_memory() -> None:
    """Bound the address space: an input that asks for gigabytes gets a MemoryError, which the targets tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _ROOM,) * 2)


@cache
def _zone_folders() -> tuple[str, ...]:
    specs = [importlib.util.find_spec(name) for name in ("tzdata", "pytz") if sys.modules.get(name)]
    folders = [folder for spec in specs if spec is not None for folder in spec.submodule_search_locations or ()]
    places = [*zoneinfo.TZPATH, *folders, "/usr/share/lib/zoneinfo", "/usr/share/zoneinfo", "/etc/zoneinfo"]
    return tuple(os.path.realpath(place) + os.sep for place in places)


def _looks_for_a_zone(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether it is a `ZoneInfo` looking for its file, under a name that the codec has checked.

    It looks in the system's folders, then in the package tzdata, whose folders are packages without code.
    """
    subject = arguments[0] if arguments else None
    if not isinstance(subject, str):
        return False
    if event == "import":
        return subject.startswith("tzdata.zoneinfo.")
    reads = event == "os.listdir" or (event == "open" and arguments[1] in ("r", "rb", None))
    return reads and (os.path.realpath(subject) + os.sep).startswith(_zone_folders())


def _place(error: BaseException) -> str:
    """The error's class and the innermost line of ours that it came through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "memocache" in frame.filename]
    frames = frames or list(traceback.extract_tb(error.__traceback__))
    frame = frames[-1]
    text = f": {error}" if isinstance(error, AssertionError) else ""
    return f"{type(error).__name__} at {os.path.basename(frame.filename)}:{frame.name}{text}"
