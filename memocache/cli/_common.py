"""What the commands share: the options, the cache, the console, units, and the one way to fail."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.text import Text

from memocache import BackendError, Cache, ConfigurationError, configure
from memocache._cache import tenants
from memocache._runtime.drivers import run
from memocache._runtime.humanize import amount, duration, printable, size

__all__ = [
    "Failure",
    "JsonOption",
    "PrefixOption",
    "TenantOption",
    "UrlOption",
    "YesOption",
    "amount",
    "bar",
    "check_there",
    "confirm",
    "console",
    "duration",
    "known_names",
    "opened",
    "print_json",
    "printable",
    "say",
    "size",
    "tenant_prefix",
    "text",
    "where",
]

UrlOption = Annotated[
    str,
    typer.Option(
        "--url", envvar="MEMOCACHE_URL", metavar="URL", show_default=True, help="The backend, e.g. redis://localhost."
    ),
]
PrefixOption = Annotated[
    str,
    typer.Option("--prefix", envvar="MEMOCACHE_PREFIX", metavar="TEXT", help="What the cache's keys begin with."),
]
TenantOption = Annotated[
    str | None,
    typer.Option("--tenant", metavar="NAME", help="Only this tenant's, of a cache with tenants=True."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


_PIPE = 10_000
"""Columns of a pipe, where COLUMNS does not say: more than any table needs."""


class Failure(Exception):
    """A command cannot go on: its text is the one line that the user sees on stderr."""


@contextmanager
def opened(url: str, prefix: str = "memo", *, made: bool = False) -> Iterator[Cache]:
    """The cache that a command works on: the default one, so that imported functions are on it too.

    A store that is not there yet is a `Failure`, or `made`. A secret comes from MEMOCACHE_SECRET alone: a command line
    can be seen by others.
    """
    with configure(url, prefix=prefix) as cache:
        if not made:
            check_there(cache, url)
        try:
            yield cache
        except BackendError as error:
            raise Failure(f"{where(url)}: {error}") from None


def tenant_prefix(prefix: str, tenant: str | None) -> str:
    """The prefix that a command works under: the cache's, or that of one of its tenants."""
    try:
        return prefix if tenant is None else tenants.tenant_prefix(prefix, tenant)
    except ConfigurationError as error:
        raise typer.BadParameter(str(error), param_hint="--tenant") from None


def check_there(cache: Cache, url: str) -> None:
    """Raise `Failure` where using the cache would make the store that a command is to look at: the URL may be wrong."""
    missing = getattr(cache.backend, "missing", None)
    if missing is not None:
        raise Failure(f"{where(url)}: {missing}; is the URL right?")


def known_names(cache: Cache) -> set[str]:
    """The names of functions that are known under the cache's prefix."""
    return run(cache._operations.names.known())


class _Plain(Console):
    """A console that shows no text of others as it is: see `printable`."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print; texts without what a terminal would obey."""
        super().print(*(printable(one) if isinstance(one, str) else one for one in objects), **options)


def text(shown: str, **options: Any) -> Text:
    """A text of somebody else's (a name, a key, a tag, an error) for a table."""
    return Text(printable(shown), **options)


def say(line: str, *, err: bool = False) -> None:
    """Print one line as it is, but for what a terminal would obey."""
    typer.echo(printable(line), err=err)


def console() -> Console:
    """Return a console on the present stdout: plain when piped or under NO_COLOR, and never marking up our text.

    A pipe has no width: nothing is folded there.
    """
    out = _Plain(highlight=False, markup=False)
    return out if out.is_terminal or "COLUMNS" in os.environ else _Plain(highlight=False, markup=False, width=_PIPE)


def print_json(thing: object) -> None:
    """Print as JSON what JSON can say; infinities and NaN are null."""
    json.dump(_plain(thing), sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")


def _plain(thing: Any) -> Any:
    if is_dataclass(thing) and not isinstance(thing, type):
        thing = asdict(thing)
    if isinstance(thing, dict):
        return {str(key): _plain(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [_plain(one) for one in thing]
    return None if isinstance(thing, float) and not math.isfinite(thing) else thing


def confirm(question: str, yes: bool) -> None:
    """Ask, unless told not to; end the command where the answer is no, or nobody is there to give one."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failure("this changes the cache, and nobody is at the terminal to be asked: give --yes")
    if not typer.confirm(question):
        raise Failure("nothing was changed")


def where(url: str) -> str:
    """Return `url` for display: without user, password and options, and of many hosts the first."""
    parts = urlsplit(url)
    first, *others = parts.netloc.rpartition("@")[2].split(",")
    more = f" (and {amount(len(others), 'more host')})" if others else ""
    return printable(f"{parts.scheme}://{first}{parts.path}{more}")


def bar(share: float, width: int = 12) -> str:
    """A share from 0 to 1 as a bar and a percentage."""
    filled = round(share * width)
    return f"{'█' * filled}{'░' * (width - filled)} {share:6.1%}"
