"""The `memocache` command (extra ``cli``); one module per command group."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status; `arguments` defaults to those of the process."""
    try:
        from memocache.cli._app import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("typer", "rich"):
            raise
        print(f'memocache: {error.name} is not installed; try: pip install "memocache[cli]"', file=sys.stderr)
        return 1
    return run(arguments)
