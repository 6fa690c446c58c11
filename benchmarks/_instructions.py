"""Hot paths run so many times in a forked child, for an instruction counter to watch: the program that `_guard` runs.

One line a child goes to the file named first on the command line: its process id, the path's name, and how many times
it was run. Nothing here measures. The rest of the command line is the two numbers of turns.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Turns = Callable[[int], object]
_WARM = 100


def _work(a: int, b: int = 3) -> int:
    return a * b


async def _awork(a: int, b: int = 3) -> int:
    return a * b


class _Owner:
    def __init__(self, decorate: Callable[..., Any]) -> None:
        type(self).m = decorate(type(self).plain)

    m: Any

    def plain(self, a: int) -> int:
        return a


def _record(key: int) -> dict[str, Any]:
    return {"id": key, "name": "Ada", "scores": [0.5, 1.5, 2.5], "tags": ["first", "second"], "active": True}


def _loop(expression: str, **names: Any) -> Turns:
    """Return a function that evaluates `expression` so many times, with nothing else in its loop."""
    scope = dict(names)
    exec(f"def run(turns):\n    for _ in range(turns): {expression}\n", scope)
    run: Turns = scope["run"]
    return run


def _decorator(**options: Any) -> Any:
    from memocache import Cache

    return Cache("memory://?maxsize=1024").cached(ttl=3_600, **options)


def positional() -> Turns:
    """A hit by position."""
    return _loop("f(1, 3)", f=_decorator()(_work))


def keyword() -> Turns:
    """A hit by keyword."""
    return _loop("f(a=1, b=3)", f=_decorator()(_work))


def default() -> Turns:
    """A hit with a default left out."""
    return _loop("f(1)", f=_decorator()(_work))


def method() -> Turns:
    """A hit of a method."""
    return _loop("o.m(1)", o=_Owner(_decorator()))


def awaited() -> Turns:
    """An awaited hit."""
    f = _decorator()(_awork)
    runner = asyncio.Runner()

    async def run(turns: int) -> None:
        for _ in range(turns):
            await f(1)

    return lambda turns: runner.run(run(turns))


def copied() -> Turns:
    """A hit whose value is copied: a small record."""
    return _loop("f(1)", f=_decorator()(_record))


def mapped() -> Turns:
    """One of a thousand hits asked for at once."""
    f = _decorator()(_work)
    return lambda turns: [f.map(range(1_000)) for _ in range(turns // 1_000 or 1)]


def decoded() -> Turns:
    """A hit on a shared backend that needs no wire: markers compared, envelope checked, record decoded."""
    from memocache import Cache
    from memocache.backends.memory import MemoryBackend

    return _loop("f(1)", f=Cache(MemoryBackend()).cached(ttl=3_600)(_record))


def on_disk() -> Turns:
    """A hit on the local disk: the same, read from the map."""
    from memocache import Cache

    # the guard's own directory, which it removes: this process ends without a word
    return _loop("f(1)", f=Cache(f"disk://{tempfile.mkdtemp()}/cache").cached(ttl=3_600)(_record))


PATHS: dict[str, Callable[[], Turns]] = {
    path.__name__: path for path in (positional, keyword, default, method, awaited, copied, mapped, decoded, on_disk)
}


def main(report: str, few: str, many: str) -> None:
    """Run each path in a child of its own, few times and many times."""
    import memocache._cache.cache
    import memocache._cache.stats_reporter
    from memocache.backends import disk
    from memocache.backends._disk import janitor as _disk_tidy

    # what is done once a second (hits sent, a directory looked at, a map brought to the disk): how often that falls
    # into a run is chance
    memocache._cache.stats_reporter.FLUSH_SECONDS = _disk_tidy.TICK_SECONDS = 3_600.0
    disk.LOOK_SECONDS = 3_600.0
    gc.disable()
    with Path(report).open("w", encoding="utf-8") as file:
        for name, path in PATHS.items():
            for turns in (int(few), int(many)):
                child = os.fork()
                if not child:
                    run = path()
                    run(_WARM)
                    run(turns)
                    os._exit(0)
                _, status = os.waitpid(child, 0)
                if status:
                    sys.exit(f"the path {name} failed")
                print(child, name, turns, file=file)


if __name__ == "__main__":
    main(*sys.argv[1:])
