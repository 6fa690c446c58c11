"""What an import costs: each sample is a fresh interpreter, in which the import alone is timed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks._loops import contender
from benchmarks._measure import Bench, Contender, Panel, Sample, Suite

ROOT = Path(__file__).parent.parent


def _import(module: str, statement: str = "", name: str = "", *, peer: bool = False) -> Contender:
    statement = statement or f"import {module}"
    code = f"import time; start = time.process_time(); {statement}; print(time.process_time() - start)"

    @contender(name or statement, peer=peer)
    def setup(bench: Bench) -> Iterator[Sample]:
        if importlib.util.find_spec(module.partition(".")[0]) is None:
            raise ModuleNotFoundError(f"No module named {module!r}")

        # A bytecode cache of our own, so that all are measured compiled, whatever the environment says of __pycache__.
        with tempfile.TemporaryDirectory() as bytecode:
            environment = os.environ | {"PYTHONPYCACHEPREFIX": bytecode}
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            command = [sys.executable, "-c", code]

            def sample(number: int) -> float:
                done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
                return float(done.stdout)

            sample(1)  # compiles
            yield sample

    return setup


FIRST_CALL = "import memocache; f = memocache.cached(lambda x: x); f(1)"


def _panels(bench: Bench) -> Iterator[Panel]:
    ours = (
        _import("redis"),
        _import("memocache"),
        _import("memocache", FIRST_CALL, "import memocache, first call"),
        _import("wrapt"),
    )
    peers = (
        _import("cachetools", peer=True),
        _import("dogpile.cache", "from dogpile.cache import make_region", "import dogpile.cache", peer=True),
    )
    more = ("cachebox", "aiocache", "cashews", "diskcache", "joblib", "cachier", "cachekit")
    slow = tuple(_import(name, peer=True) for name in more)
    yield Panel(
        "fresh interpreters",
        base="import redis",
        contenders=bench.effort.pick(full=ours + peers + slow, quick=ours, tiny=ours[:2]),
        once=True,
        rounds=bench.effort.pick(full=None, quick=None, tiny=1),
    )


SUITE = Suite(
    name="import",
    about="the time of an import, in fresh interpreters",
    counted="processor time of the import alone, bytecode compiled before",
    panels=_panels,
)
