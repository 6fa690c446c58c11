"""The short run of the fuzzer; ``python -m tests.fuzz --minutes 10`` is the long one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.fuzz import mutate, planted, targets

ROOT = Path(__file__).parents[2]


def replay(*words: str) -> dict[str, Any]:
    """Run the corpus in a process of its own, for its audit hook cannot be taken out again."""
    command = [sys.executable, "-m", "tests.fuzz.replay", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=250)
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def test_no_kept_input_and_no_mutant_of_one_breaks_a_promise() -> None:
    """Everything the fuzzer kept, and 150 mutants of it a target, give no undocumented error, run no code, and take
    neither a second nor 64 MB.
    """
    figures = replay("150")
    assert figures["findings"] == []
    assert figures["executions"] > 150 * len(targets.TARGETS)


def test_planted_bugs_are_found() -> None:
    """With a bug in memocache the very same run reports it, as what it is."""
    found = replay("4000", "--planted")
    assert found.keys() == planted.PLANTS.keys()
    assert {name: found[name] for name, plant in planted.PLANTS.items() if plant.kind not in found[name]} == {}


def test_the_corpus_is_small_and_of_targets_alone() -> None:
    """Every folder of the corpus is a target's, and all of it stays under 300 KB."""
    files = [path for path in mutate.CORPUS.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} <= {*targets.TARGETS, "encrypted"}
    assert sum(path.stat().st_size for path in files) < 300_000
