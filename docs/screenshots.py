"""Make the pictures of the command line: ``python docs/screenshots.py`` writes ``docs/images/cli-*.svg``.

Each is what the command printed at a pseudo-terminal, on a server that this program starts and fills.
"""

from __future__ import annotations

import io
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from rich.console import Console  # noqa: E402  # after the path
from rich.text import Text  # noqa: E402

from memocache.testing import servers  # noqa: E402
from tests.cli import shop  # noqa: E402
from tests.cli.terminal import at_terminal  # noqa: E402

COLUMNS = 118
PICTURES = {
    "demo": ("demo",),
    "stats": ("stats",),
    "top": ("top", "--once", "--every", "1"),
    "inspect": ("inspect", "{key}"),
    "explain": ("explain", "tests.cli.shop:price", "3"),
    "doctor": ("doctor",),
}


def picture(title: str, raw: bytes) -> str:
    """What was printed, as SVG."""
    out = Console(width=COLUMNS, record=True, file=io.StringIO(), force_terminal=True)
    out.print(Text.from_ansi(raw.decode("utf-8", "replace").replace("\r\n", "\n").rstrip()))
    return out.export_svg(title=title)


def main() -> None:
    """Write every picture."""
    with servers.start(servers.available_servers()[0]) as server:
        shop.busy(server.url)
        key = shop.price.key_for(3)
        for name, template in PICTURES.items():
            words = [word.format(key=key) for word in template]
            load = threading.Thread(target=lambda: (time.sleep(0.5), shop.busy(server.url)))
            if name == "top":
                load.start()
            done = at_terminal(*words, "--url", server.url, cwd=ROOT, columns=COLUMNS)
            if name == "top":
                load.join()
            path = ROOT / "docs" / "images" / f"cli-{name}.svg"
            path.write_text(picture("memocache " + " ".join(words), done.raw), encoding="utf-8")
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
