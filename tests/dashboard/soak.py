"""A dashboard left open beside a load: ``python -m tests.dashboard.soak --minutes 60``.

Prints once a minute what the serving process holds (resident memory) and what the page holds after a collection (heap,
nodes, listeners), and ends with how the last tenth of the time compares with what was held at a tenth of it. The exit
status is 1 if any of them grew by more than a tenth.

The ring buffers hold an hour of points, so they are full when it begins: filling them is no growth, and what comes
after it is what nobody else looks at.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from playwright.sync_api import CDPSession, sync_playwright

from memocache.testing import servers
from tests.dashboard.conftest import QUIET, ROOT

GROWTH = 1.1
METRICS = ("JSHeapUsedSize", "Nodes", "JSEventListeners")


def resident(pid: int) -> int:
    """Bytes of a process that are in memory."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * 4096


def serve(url: str) -> None:
    """Serve the dashboard with an hour of history behind it, until this process is ended."""
    import uvicorn
    from starlette.applications import Starlette

    from memocache import Cache
    from memocache.dashboard._history import POINTS
    from memocache.dashboard._pages import Pages
    from memocache.dashboard._poller import WATCHED, Poller
    from memocache.dashboard._security import Gate

    with Cache(url) as cache, socket.create_server(("127.0.0.1", 0)) as listener:
        poller = Poller(cache)
        now, draw = time.time(), random.Random(0).uniform
        for number in range(POINTS, 0, -1):  # as a load leaves them: zeros would take the browser less than others
            at, memory = now - WATCHED * number, int(draw(2e6, 3e6))
            poller.history.looks.add(at, draw(300, 400), draw(0.9, 1.0), draw(0.5, 0.9), memory, draw(0, 1), draw(0, 1))
        app = Starlette(routes=Pages(cache, None, False, False, "", poller).routes())
        app.add_middleware(Gate, token=False, hosts=())
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listener])


def held(session: CDPSession, pid: int) -> dict[str, float]:
    """What process and page hold now."""
    session.send("HeapProfiler.collectGarbage")
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    return {"RSS": resident(pid)} | {name: metrics[name] for name in METRICS}


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description="A dashboard left open beside a load.")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--serve", metavar="URL", help=argparse.SUPPRESS)
    given = parser.parse_args()
    minutes = given.minutes
    if given.serve:
        serve(given.serve)
        return 0
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with servers.start("valkey") as server, sync_playwright() as playwright:
        load = subprocess.Popen([sys.executable, "-m", "tests.dashboard.load", server.url], cwd=ROOT)
        command = [sys.executable, "-m", "tests.dashboard.soak", "--serve", server.url]
        dashboard = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        browser = playwright.chromium.launch(executable_path=chromium, args=[*QUIET.split(), "--no-first-run"])
        try:
            assert dashboard.stdout is not None
            found = re.search(r"http://\S+/", dashboard.stdout.readline())
            assert found is not None
            page = browser.new_page()
            page.goto(found[0])
            session = page.context.new_cdp_session(page)
            session.send("Performance.enable")
            series = []
            step = min(60.0, minutes * 60 / 20)
            for number in range(1, int(minutes * 60 / step) + 1):
                page.wait_for_timeout(step * 1000)
                series.append(held(session, dashboard.pid))
                facts = ", ".join(f"{name} {value:,.0f}" for name, value in series[-1].items())
                print(f"{number * step / 60:5.1f} min: {facts}", flush=True)
        finally:
            browser.close()
            for process in (load, dashboard):
                process.terminate()
                process.wait()
    share = max(1, len(series) // 10)
    grown = False
    for name in series[0]:
        before = median(one[name] for one in series[share : 2 * share])
        after = median(one[name] for one in series[-share:])
        grown |= after > before * GROWTH
        print(f"{name}: {before:,.0f} at a tenth, {after:,.0f} at the end, ratio {after / before:.3f}")
    return int(grown)


if __name__ == "__main__":
    sys.exit(main())
