"""What of a fuzzer's inputs is worth keeping: those that reach a branch of memocache which nothing kept so far does.

``python -m tests.fuzz.grow TARGET WORK``, in a process of its own: what it imports would count as the fuzzer's memory.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import memocache
from tests.fuzz.mutate import CORPUS, corpus
from tests.fuzz.targets import TARGETS, warm_up

_PACKAGE = str(Path(memocache.__file__).parent)
_LONGEST = 1500
_MOST_BYTES = 30_000

Arc = tuple[str, int, int]


def keep(name: str, work: Path) -> int:
    """Copy the inputs in `work` that reach new branches to the target's corpus, the shortest first; how many."""
    warm_up([name])
    run = TARGETS[name].run
    kept = corpus(name)
    seen: set[Arc] = set()
    for data in kept:
        seen |= arcs(run, data)
    room = _MOST_BYTES - sum(path.stat().st_size for path in (CORPUS / name).glob("*"))
    count = 0
    for data in sorted((path.read_bytes() for path in work.iterdir()), key=lambda data: (len(data), data)):
        if len(data) > min(_LONGEST, room):
            break
        reached = arcs(run, data)
        if not reached <= seen:
            seen |= reached
            room -= len(data)
            count += 1
            (CORPUS / name).mkdir(parents=True, exist_ok=True)
            (CORPUS / name / hashlib.sha1(data).hexdigest()[:16]).write_bytes(data)
    return count


def arcs(run: Callable[[bytes], None], data: bytes) -> set[Arc]:
    """The steps from line to line of memocache that running `data` takes."""
    found: set[Arc] = set()
    last: dict[FrameType, int] = {}

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        path = frame.f_code.co_filename
        if not path.startswith(_PACKAGE):
            return None
        found.add((path, last.get(frame, 0), frame.f_lineno))
        last[frame] = frame.f_lineno
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run(data)
    except Exception:  # a finding: reported by the fuzzer, and not kept
        return set()
    finally:
        sys.settrace(before)
    return found


if __name__ == "__main__":
    print(f"  kept {keep(sys.argv[1], Path(sys.argv[2]))} inputs for the branches that they reach")
