"""What stays behind: ``python -m tests.resources [--kinds memory disk server] [--scenes …] [--share 1.0]``.

Each scene of `tests.resources.scenes` runs in a process of its own, on each kind of backend and in both colours. It
prints what the process and the server hold before, after half of the turns and after all of them, and what is not flat
from the half on; it exits with 1 where anything is not.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
import warnings

from memocache.testing import servers
from tests.resources.growth import SLACK, Figures, growth, more
from tests.resources.scenes import SCENES

_KINDS = ("memory", "disk", "server")
_BOUND = {"memory": "?maxsize=500", "disk": "?max_bytes=8MB", "server": ""}
_LINE = "{:<28}" + "{:>14}" * len(Figures._fields)


def alone(scene: str, kind: str, colour: str, count: int) -> bool:
    """Run one scene in this process; whether it is flat."""
    warnings.simplefilter("ignore")  # functions of one name, and some that never hit: on purpose
    with contextlib.ExitStack() as stack:
        client = None
        if kind == "server":
            server = stack.enter_context(servers.start(servers.available_servers()[0]))
            client, url = stack.enter_context(server.client()), server.url
        else:
            home = stack.enter_context(tempfile.TemporaryDirectory(prefix="memocache-resources-"))
            url = "memory://" if kind == "memory" else f"disk://{home}/store"
        begun = time.monotonic()
        before, middle, after = growth(SCENES[scene][0](url + _BOUND[kind], colour), count, client)
        told = more(middle, after)
        title = f"{scene}, {kind}, {colour}"
        for what, row in ((title, before), (f"  after {count // 2:,}", middle), (f"  after {count:,}", after)):
            print(_LINE.format(what, *(f"{one:,}" for one in row)))
        print(f"  {'NOT FLAT: ' + ', '.join(told) if told else 'flat'}, {time.monotonic() - begun:.0f} s", flush=True)
    return not told


def main() -> None:
    """Run the scenes one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.resources")
    parser.add_argument("--scenes", nargs="*", choices=SCENES, default=list(SCENES))
    parser.add_argument("--kinds", nargs="*", choices=_KINDS, default=list(_KINDS))
    parser.add_argument("--colours", nargs="*", choices=("sync", "async"), default=["sync", "async"])
    parser.add_argument("--share", type=float, default=1.0, help="of the turns of each scene")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)  # the first of each, in this process
    asked = parser.parse_args()
    if asked.alone:
        scene, kind, colour = asked.scenes[0], asked.kinds[0], asked.colours[0]
        sys.exit(not alone(scene, kind, colour, int(SCENES[scene][1] * asked.share)))
    print(_LINE.format("", *Figures._fields))
    print(_LINE.format("flat is at most", *(f"{one:,}" for one in SLACK)), flush=True)
    failed = 0
    for scene in asked.scenes:
        for kind in asked.kinds:
            for colour in asked.colours:
                words = [
                    "--alone",
                    "--scenes",
                    scene,
                    "--kinds",
                    kind,
                    "--colours",
                    colour,
                    "--share",
                    str(asked.share),
                ]
                failed += subprocess.run([sys.executable, "-m", "tests.resources", *words], check=False).returncode != 0
    print(f"not flat: {failed}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
