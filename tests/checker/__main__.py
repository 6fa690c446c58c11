"""The checker: ``python -m tests.checker WORLD [--calls N] [--faults NAME …]``.

Processes of threads and tasks call, put, refresh, map, are cancelled and invalidate in every way, against a source that
numbers its versions, while the faults named are brought about in an order drawn from the seed. It prints what was
wrong, what is excused and by which promise, how many computations overlapped, and what hung; it exits with 1 where
anything was wrong, raised or hung.
"""

from __future__ import annotations

import argparse
import random
import sys

from memocache.testing import servers
from tests.checker.storm import storm

_PROCESSES = ["kill_process", "stop_process"]
_SERVER = ["restart", "hang", "kill_clients", "kill_listeners", "pause", "flush", "swap", "evict", "full"]
FAULTS = {
    "server": [*_PROCESSES, *_SERVER],
    "near": [*_PROCESSES, *_SERVER],
    "cluster": [*_PROCESSES, "kill", "stop", "hand_over", "reshard", "down"],
    "sentinel": [*_PROCESSES, "kill", "stop", "hand_over"],
    "disk": _PROCESSES,
}
"""What can be done in each world."""
_BEHIND = 1.0
_MANY = 5_000  # rounds: more than any number of calls takes


def main() -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.checker")
    parser.add_argument("world", choices=FAULTS)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--processes", type=int, default=3, help="up to 8")
    parser.add_argument("--faults", nargs="*", help="of those of the world; all of them, if left out")
    parser.add_argument("--rounds", type=int, default=0, help="each fault so often, and no number of calls")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--wait", type=int, default=0, help="?wait= of the URL")
    parser.add_argument("--local", action="store_true", help="in a fleet: the last process holds copies")
    parser.add_argument("--kind", default=(servers.available_servers() or ["none"])[0], help="of server")
    asked = parser.parse_args()
    chosen = FAULTS[asked.world] if asked.faults is None else asked.faults
    if unknown := set(chosen) - set(FAULTS[asked.world]):
        parser.error(
            f"{asked.world} has no fault {', '.join(sorted(unknown))}; it has {', '.join(FAULTS[asked.world])}"
        )
    draw = random.Random(asked.seed)
    rounds = asked.rounds or _MANY
    steps = [step for _ in range(rounds if len(chosen) else 0) for step in draw.sample(chosen, len(chosen))]
    report = storm(
        asked.world,
        steps,
        seed=asked.seed,
        server=asked.kind,
        workers=asked.processes,
        wait=asked.wait,
        behind=_BEHIND if asked.local or asked.world == "near" else 0.0,
        calls=0 if asked.rounds else asked.calls,
    )
    print(f"{asked.world}: {asked.processes} processes, seed {asked.seed}, faults: {', '.join(chosen) or 'none'}")
    for name in ("calls", "hits", "invalidations", "puts", "cancelled", "refused", "cut_offs"):
        print(f"{name.replace('_', ' '):22}{getattr(report, name):>12,}")
    print(f"{'faults brought about':22}{len(report.steps):>12,}")
    print(f"{'wrong':22}{len(report.wrong):>12,}")
    print(f"{'excused':22}{report.exempt:>12,}  promise 3.1: the server lost the invalidation that it had acknowledged")
    print(f"{'':22}{report.cut_off:>12,}  limit of promise 3.1: the process was cut off, and shared what was under way")
    print(f"{'computations':22}{report.computations:>12,}")
    print(
        f"{'overlaps':22}{report.overlaps:>12,}  and {report.overlaps_excused:,} about faults, when leases may be lost"
    )
    print(f"{'raised':22}{len(report.raised):>12,}")
    print(f"{'hung':22}{report.hung:>12,}")
    print(f"{'slowest call':22}{report.slowest:>12.3f} s")
    for history in report.histories[:10]:
        print(history)
    for text in report.raised[:10]:
        print("raised:", text)
    sys.exit(bool(report.wrong or report.raised or report.hung))


if __name__ == "__main__":
    main()
