"""The short run: ``python -m tests.fuzz.replay COUNT``: the whole corpus of every target, and COUNT mutants of it.

The mutants are the same each time. Prints the figures as JSON. With ``--planted`` each bug of `planted` is put into
memocache in turn, its target runs until it finds it, and what is printed is the kind of finding by the bug's name.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterable
from typing import Any

from tests.fuzz import mutate, planted, targets, watch

_SEED = 20_240


def replay(looking: watch.Watch, names: Iterable[str], count: int, *, first_only: bool = False) -> dict[str, Any]:
    """Run corpus and mutants of the targets; executions, slowest input and findings with their inputs."""
    executions = 0
    found: dict[watch.Finding, list[str]] = {}
    for name in names:
        target = targets.TARGETS[name]
        kept = mutate.corpus(name)
        mutants = mutate.mutants(kept, random.Random(_SEED), target.longest)
        for data in [*kept, *(next(mutants) for _ in range(count))]:
            executions += 1
            finding = looking.run(target.run, data)
            if finding is not None:
                found.setdefault(finding, [name, data.hex()])
                if first_only:
                    break
    findings = [[*finding, *where] for finding, where in found.items()]
    return {"executions": executions, "slowest": looking.slowest, "findings": findings}


def plant_all(looking: watch.Watch, count: int) -> dict[str, str]:
    """The kind of the first finding with each bug of `planted`, by the bug's name; "" where there was none."""
    kinds = {}
    for name, plant in planted.PLANTS.items():
        with plant.bug():
            findings = replay(looking, [plant.target], count, first_only=True)["findings"]
        kinds[name] = findings[0][0] if findings else ""
    return kinds


if __name__ == "__main__":
    targets.warm_up(targets.TARGETS)
    looking = watch.Watch()
    watch.bound_memory()
    count = int(sys.argv[1])
    print(json.dumps(plant_all(looking, count) if "--planted" in sys.argv else replay(looking, targets.TARGETS, count)))
