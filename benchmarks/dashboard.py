"""What the dashboard costs beside many functions and keys: ``python -m benchmarks dashboard``.

A Valkey that is started here is filled with 1,000 functions and 1,000,000 live keys; an hour of history is put into
the dashboard's ring buffers; then one look at the backend is timed and its commands are counted on the server, and each
page is asked for 30 times over ASGI, without network. Where Playwright and Chromium are at hand, the overview and the
table of functions are left open for 20 s each, and the browser tells how long its main thread was held up.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.table import Table

from memocache import Cache
from memocache.testing import servers

ABOUT = "server time of the dashboard's pages, commands of one look, and how long a browser is held up"
FUNCTIONS = 1_000
KEYS = 1_000_000
BATCH = 5_000
TIMES = 30
OPEN_SECONDS = 20
LOOKS = 1_800


def run(out: Console, *, functions: int = FUNCTIONS, keys: int = KEYS) -> None:
    """Fill, measure, print."""
    with servers.start("valkey") as server, server.client() as client, Cache(f"{server.url}?timeout=30") as cache:
        begun = time.perf_counter()
        for number in range(functions):
            function = cache.cached(name=f"app.module{number % 37}.function{number}")(lambda x: x)
            for x in (1, 1, 2):
                function(x)
        for first in range(0, keys, BATCH):
            cache.set_many(dict.fromkeys(map("k{}".format, range(first, min(keys, first + BATCH))), 1))
        cache.stats("fleet", entries=False)
        out.print(f"{client.dbsize():,} keys on the server, filled in {time.perf_counter() - begun:.0f} s")
        asyncio.run(_pages(out, cache, client, key=function.key_for(1)))
        _browser(out, server.url)


async def _pages(out: Console, cache: Cache, client: Any, key: str) -> None:
    from memocache.dashboard._pages import Gate, Pages
    from memocache.dashboard._poller import Poller

    def commands() -> dict[str, int]:
        return {name.removeprefix("cmdstat_"): one["calls"] for name, one in client.info("commandstats").items()}

    poller = Poller(cache)
    await poller.look()
    before, begun = commands(), time.perf_counter()
    await poller.look()
    took, after = time.perf_counter() - begun, commands()
    before["info"] += 1  # our own
    asked = {name: count - before.get(name, 0) for name, count in after.items()}
    told = ", ".join(f"{count:,} {name.upper()}" for name, count in sorted(asked.items()) if count)
    out.print(f"one look: {took * 1e3:.1f} ms, {told}")
    assert poller.stats is not None
    now = time.time()
    for number in range(LOOKS):
        poller.history.seen(poller.stats, now - 2.0 * (LOOKS - number))

    from starlette.applications import Starlette

    app = Starlette(routes=Pages(cache, None, False, False, "", poller).routes())
    app.add_middleware(Gate, token=False, hosts=())
    table = Table(title=f"server time of a page, {TIMES} times, ms", title_justify="left")
    for heading in ("page", "median", "worst", "kB"):
        table.add_column(heading, justify="left" if heading == "page" else "right")
    name = poller.stats.functions[next(iter(poller.stats.functions))].name
    paths = ["/", "/data", "/functions", "/functions?q=module3", f"/function?name={quote(name)}"]
    paths += [f"/function?name={quote(name)}&keys=1", f"/key?key={quote(key)}"]
    for path in paths:
        times = []
        for _ in range(TIMES):
            begun = time.perf_counter()
            status, size = await _ask(app, path)
            times.append((time.perf_counter() - begun) * 1e3)
            assert status == 200, path
        table.add_row(path, f"{statistics.median(times):.1f}", f"{max(times):.1f}", f"{size / 1e3:.0f}")
    out.print(table)
    await poller.stop()


async def _ask(app: Callable[..., Any], path: str) -> tuple[int, int]:
    """Ask for a page as a browser of this machine would: the status, and how many bytes came."""
    path, _, query = path.partition("?")
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http"}
    scope |= {"path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": ""}
    scope |= {"headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)}
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], sum(len(message.get("body", b"")) for message in sent[1:])


def _browser(out: Console, url: str) -> None:
    try:
        import uvicorn
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError as error:
        out.print(f"how long a browser is held up: not measured, {error.name} is missing")
        return
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        out.print("how long a browser is held up: not measured, there is no chromium")
        return
    from memocache.dashboard import dashboard

    with Cache(f"{url}?timeout=30") as cache, sync_playwright() as playwright:
        server = uvicorn.Server(uvicorn.Config(dashboard(cache), port=0, log_level="warning"))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        try:
            for path in ("", "functions"):
                page = browser.new_page()
                page.goto(address + path)
                page.evaluate(
                    "window.held = []; new PerformanceObserver(l => held.push(...l.getEntries().map(e => e.duration)))"
                    ".observe({ entryTypes: ['longtask'] })"
                )
                page.wait_for_timeout(OPEN_SECONDS * 1000)
                held = page.evaluate("window.held")
                found = f"{len(held)} tasks of over 50 ms, the longest {max(held, default=0):.0f} ms"
                out.print(f"/{path} open for {OPEN_SECONDS} s: {found}")
                page.close()
        finally:
            browser.close()
            server.should_exit = True
            thread.join()
