"""What an import costs: each sample is a fresh interpreter, timed from inside around the import alone."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks._measure import Bench, Contender, Panel, Sample, Suite, contender

ROOT = Path(__file__).parent.parent


def _import(module: str, statement: str = "", name: str = "") -> Contender:
    statement = statement or f"import {module}"
    code = f"import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"

    @contender(name or statement)
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

SUITE = Suite(
    name="import",
    about="the time of an import, in fresh interpreters",
    panels=(
        Panel(
            "fresh interpreters",
            base="import redis",
            contenders=(
                _import("redis"),
                _import("memocache"),
                _import("memocache", FIRST_CALL, "import memocache, first call"),
                _import("wrapt"),
                _import("cachetools"),
                _import("dogpile.cache", "from dogpile.cache import make_region", "import dogpile.cache"),
                _import("cashews"),
                _import("aiocache"),
            ),
            once=True,
        ),
    ),
)
