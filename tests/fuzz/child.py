"""One target, fuzzed in a process of its own: ``python -m tests.fuzz.child TARGET WORK SECONDS``; `__main__` starts it.

With atheris (libFuzzer) inputs that reach new lines of memocache are kept in WORK and mutated further; without it the
corpus is mutated blindly. Findings go to WORK.findings, and the fuzzing goes on; the figures, to WORK.figures.
"""

from __future__ import annotations

import faulthandler
import hashlib
import json
import random
import sys
import time
from pathlib import Path

try:
    import atheris
except ImportError:
    atheris = None

if atheris is not None:
    with atheris.instrument_imports(include=["memocache"]):
        from tests.fuzz import mutate, targets, watch
else:
    from tests.fuzz import mutate, targets, watch

NEVER_ENDS = 30
"""Seconds after which an input is taken to hang for good, and the process given up."""

_COUNT_EVERY = 1.0


class Session:
    """The inputs run so far, and what came of them."""

    def __init__(self, name: str, work: Path) -> None:
        self.target = targets.TARGETS[name]
        self.work = work
        self.watch = watch.Watch()
        self.base = watch.peak_bytes()
        self.executions = 0
        self.found: dict[watch.Finding, str] = {}
        self.current = work.with_suffix(".current").open("wb", buffering=0)
        self._written = 0.0

    def run(self, data: bytes) -> None:
        """Run one input; new findings are kept with it."""
        self.current.seek(0)
        self.current.write(len(data).to_bytes(4) + data)  # the input to blame if the process dies of it
        finding = self.watch.run(self.target.run, data)
        self.executions += 1
        if finding is not None and finding not in self.found:
            path = self.work.with_suffix(".findings") / hashlib.sha1(data).hexdigest()
            path.write_bytes(data)
            self.found[finding] = str(path)
            self.save()
        elif time.monotonic() - self._written > _COUNT_EVERY:
            self.save()

    def save(self) -> None:
        """Write the figures so far."""
        self._written = time.monotonic()
        figures = {
            "executions": self.executions,
            "slowest": self.watch.slowest,
            "base_bytes": self.base,
            "peak_bytes": watch.peak_bytes(),
            "findings": [[*finding, path] for finding, path in self.found.items()],
        }
        self.work.with_suffix(".figures").write_text(json.dumps(figures))


def main(name: str, work: Path, seconds: float, options: list[str]) -> None:
    """Fuzz `name` for `seconds`; `options` are libFuzzer's."""
    faulthandler.enable()
    targets.warm_up([name])
    inputs = mutate.corpus(name)
    for directory in (work, work.with_suffix(".findings")):
        directory.mkdir(exist_ok=True)
    session = Session(name, work)
    watch.bound_memory()
    if atheris is None:
        blind(session, inputs, seconds)
    else:
        for data in inputs:
            (work / hashlib.sha1(data).hexdigest()).write_bytes(data)
        flags = [f"-max_total_time={seconds:.0f}", f"-max_len={session.target.longest}", f"-timeout={NEVER_ENDS}"]
        limits = ["-rss_limit_mb=0", f"-artifact_prefix={work}.", "-verbosity=0", "-print_final_stats=0"]
        atheris.Setup([sys.argv[0], *flags, *limits, *options, str(work)], session.run)
        atheris.Fuzz()


def blind(session: Session, inputs: list[bytes], seconds: float) -> None:
    """Without atheris: mutants of the corpus, in another order each time."""
    ends = time.monotonic() + seconds
    for data in mutate.mutants(inputs, random.Random(), session.target.longest):
        faulthandler.dump_traceback_later(NEVER_ENDS, exit=True)
        session.run(data)
        if time.monotonic() > ends:
            break
    faulthandler.cancel_dump_traceback_later()
    session.save()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])
