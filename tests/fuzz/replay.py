"""The short run: ``python -m tests.fuzz.replay COUNT``: the whole corpus of every target, and COUNT mutants of it.

The mutants are the same each time. Prints the figures as JSON. With ``--planted`` each bug of `planted` is put into
memocache in turn, and its target runs until it finds the bug as what it is. Printed are the kinds of the findings, by
the bug's name. A busy machine may add a finding of another kind (an input that took a second), which hides no bug.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterable
from typing import Any

from tests.fuzz import mutate, planted, targets, watch

_SEED = 20_240


def replay(looking: watch.Watch, names: Iterable[str], count: int, *, until: str = "") -> dict[str, Any]:
    """Run corpus and mutants of the targets, up to the first finding of the kind `until`.

    Returns executions, the slowest input, and findings with their inputs.
    """
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
                if finding.kind == until:
                    break
    findings = [[*finding, *where] for finding, where in found.items()]
    return {"executions": executions, "slowest": looking.slowest, "findings": findings}


def plant_all(looking: watch.Watch, count: int) -> dict[str, list[str]]:
    """The kinds of the findings with each bug of `planted`, by the bug's name, up to the kind that the bug is of."""
    kinds = {}
    for name, plant in planted.PLANTS.items():
        with plant.bug():
            findings = replay(looking, [plant.target], count, until=plant.kind)["findings"]
        kinds[name] = [kind for kind, *_ in findings]
    return kinds


if __name__ == "__main__":
    targets.warm_up(targets.TARGETS)
    looking = watch.Watch()
    watch.bound_memory()
    count = int(sys.argv[1])
    print(json.dumps(plant_all(looking, count) if "--planted" in sys.argv else replay(looking, targets.TARGETS, count)))
