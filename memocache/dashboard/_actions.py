"""Invalidations asked for in the browser: what one would affect, doing it, and the trail it leaves."""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import json
import logging
import time
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote

from memocache._cache.cache import Cache
from memocache.exceptions import MemocacheError

log = logging.getLogger("memocache.dashboard")
KINDS = ("key", "function", "functions", "glob", "tag")
KEPT = 200


class Action(NamedTuple):
    """One line of the trail: when, from which address, what, and how it ended."""

    number: int
    at: float
    who: str
    kind: str
    target: str
    ok: bool
    result: str


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The function names that a pattern reaches."""
    return sorted(name for name in names if name == pattern or fnmatch.fnmatchcase(name, pattern))


def named(target: str) -> list[str]:
    """The names that stand in a target of several functions: each quoted, with a space between."""
    return [unquote(name, errors="surrogatepass") for name in target.split(" ") if name]


class Actions:
    """Does them, and remembers the last ones."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self.done: deque[Action] = deque(maxlen=KEPT)
        self._number = 0

    async def invalidate(self, kind: str, target: str, who: str, names: Iterable[str]) -> Action:
        """Forget what is meant; one line in the log and one in the trail, whatever becomes of it."""
        cache = self._cache.aio
        try:
            if kind == "key":
                there = await cache.delete(target)
                result = "the entry is gone" if there else "there was no such entry (any more)"
            elif kind == "function":
                await cache.invalidate(glob.escape(target))  # a name that looks like a pattern is only itself
                result = "every entry from before is forgotten, everywhere; the next call computes"
            elif kind == "glob":
                count = len(matching(target, names))
                await cache.invalidate(target)
                result = f"functions known here that matched, and are forgotten: {count}"
            else:
                await cache.invalidate(tag=target)
                result = "every entry with this tag is forgotten, everywhere"
            ok = True
        except (MemocacheError, OSError) as error:
            ok, result = False, f"not done, nothing may be believed forgotten: {error}"
        self._number += 1
        action = Action(self._number, time.time(), who, kind, target, ok, result)
        self.done.appendleft(action)
        line = {"action": "invalidate", "kind": kind, "what": self._logged(kind, target), "by": who, "ok": ok}
        log.log(logging.INFO if ok else logging.WARNING, "%s", json.dumps(line))
        return action

    def _logged(self, kind: str, target: str) -> str:
        """What the log may say: tags and plain keys can hold argument text, so there they are digested."""
        parsed = self._cache._places.layout.parse(target) if kind == "key" else None
        if kind in ("function", "glob") or (parsed is not None and parsed[0] == "e"):
            return target
        return "blake2b:" + hashlib.blake2b(target.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
