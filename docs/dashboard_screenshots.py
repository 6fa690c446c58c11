"""Make the pictures of the dashboard: ``python docs/dashboard_screenshots.py`` writes ``docs/images/dashboard-*.png``.

Each page as Chromium shows it, light and dark, on a desk and on a phone, while a load runs on a server that this
program starts. Needs Playwright (extra ``dev``) and the system's Chromium.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from memocache import Cache  # noqa: E402  # after the path
from memocache.testing import servers  # noqa: E402

QUIET = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync"
WATCHED = 75.0  # seconds of history in the plots
SIZES = {"desktop": (1440, 900), "phone": (390, 844)}
PAGES = {
    "overview": "",
    "functions": "functions",
    "processes": "processes",
    "function": "function?name=shop.price",
    "key": "key?key={key}",
    "health": "health",
    "question": "invalidate?kind=glob&target=shop.*",
    "audit": "audit",
}


def main() -> None:
    """Write every picture."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with servers.start("valkey") as server, Cache(server.url) as cache, sync_playwright() as playwright:
        load = subprocess.Popen([sys.executable, "-m", "tests.dashboard.load", server.url], cwd=ROOT)
        command = [sys.executable, "-m", "memocache.cli", "dashboard", "--url", server.url, "--port", "0"]
        dashboard = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        browser = playwright.chromium.launch(executable_path=chromium, args=[*QUIET.split(), "--no-first-run"])
        try:
            assert dashboard.stdout is not None
            found = re.search(r"http://\S+/", dashboard.stdout.readline())
            assert found is not None
            address = found[0]
            page = browser.new_page()
            page.goto(address)
            time.sleep(WATCHED)
            page.goto(f"{address}invalidate?kind=tag&target={quote('item:7')}")
            page.get_by_role("button", name="Forget").click()
            key = next(key for key in cache.keys("shop.price"))
            for size, (width, height) in SIZES.items():
                for scheme in ("light", "dark"):
                    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": height})
                    page = context.new_page()
                    for name, path in PAGES.items():
                        page.goto(address + path.format(key=quote(key)))
                        page.wait_for_timeout(1_000)
                        picture = ROOT / "docs" / "images" / f"dashboard-{name}-{size}-{scheme}.png"
                        page.screenshot(path=picture, full_page=name == "function")
                        print(picture.relative_to(ROOT))
                    context.close()
        finally:
            browser.close()
            for process in (load, dashboard):
                process.terminate()
                process.wait()


if __name__ == "__main__":
    main()
