"""What the commands share: the URL option, the console, and the one way to fail."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.console import Console

UrlOption = Annotated[
    str,
    typer.Option(
        "--url", envvar="MEMOCACHE_URL", metavar="URL", show_default=True, help="The backend, e.g. redis://localhost."
    ),
]


class Failure(Exception):
    """A command cannot go on: its text is the one line that the user sees on stderr."""


def console() -> Console:
    """Return a console on the present stdout: plain when piped or under NO_COLOR, and never marking up our text."""
    return Console(highlight=False)


def where(url: str) -> str:
    """Return `url` for display: without user, password and options."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
