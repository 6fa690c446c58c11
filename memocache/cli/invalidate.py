"""``memocache invalidate``, ``clear`` and ``purge``: what must no longer be served, and what may be thrown away."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from typing import Annotated

import typer
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from memocache import Cache
from memocache._cache.invalidation import is_glob
from memocache._calls.parse_duration import seconds
from memocache.cli._common import (
    Failure,
    PrefixOption,
    TenantOption,
    UrlOption,
    YesOption,
    amount,
    confirm,
    console,
    known_names,
    opened,
    tenant_prefix,
    where,
)


def invalidate(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME|GLOB", help="A function's name, or a pattern such as 'shop.*'.")
    ] = None,
    tag: Annotated[str | None, typer.Option("--tag", metavar="TAG", help="Every entry with this tag, instead.")] = None,
    url: UrlOption = "memory://",
    prefix: PrefixOption = "memo",
    tenant: TenantOption = None,
) -> None:
    """Forget all calls of a function, of a pattern, or of a tag. O(1) each: nothing is searched for."""
    if (name is None) == (tag is None):
        raise typer.BadParameter("give a function's name (or a pattern), or --tag, and not both")
    prefix = tenant_prefix(prefix, tenant)
    with opened(url, prefix) as cache:
        count = cache.invalidate(name, tag=tag)
        if not count:
            raise Failure(_unknown(cache, name or "", prefix, url))
    what = f"tag {tag}" if name is None else name if name and not is_glob(name) else amount(count, "function")
    at = f"under the prefix {prefix!r} on {where(url)}"
    console().print(f"invalidated {what} {at}: no call that begins now is served what was computed before")


def _unknown(cache: Cache, name: str, prefix: str, url: str) -> str:
    """Why nothing was invalidated: which names are nearest, or that there are none under this prefix."""
    known = known_names(cache)
    what = "no name matches" if is_glob(name) else "no function is called"
    said = f"{what} {name!r} under the prefix {prefix!r} on {where(url)}"
    near = get_close_matches(name, known, n=3, cutoff=0.5) or sorted(known)[:3]
    if near:
        return f"{said}; did you mean {', '.join(near)}?"
    return f"{said}; no function is known there: is the prefix right?"


def clear(
    url: UrlOption = "memory://", prefix: PrefixOption = "memo", tenant: TenantOption = None, yes: YesOption = False
) -> None:
    """Forget everything under the prefix."""
    prefix = tenant_prefix(prefix, tenant)
    with opened(url, prefix) as cache:
        confirm(f"Forget everything under the prefix {prefix!r} on {where(url)}?", yes)
        cache.clear()
    console().print(f"cleared the prefix {prefix!r} on {where(url)}; `memocache purge` also frees the memory at once")


def purge(
    url: UrlOption = "memory://",
    prefix: PrefixOption = "memo",
    tenant: TenantOption = None,
    unused: Annotated[
        str,
        typer.Option("--unused", metavar="DURATION", help="Forget names without entries that nobody called so long."),
    ] = "30d",
) -> None:
    """Delete what can no longer be served, and names out of use."""
    try:
        seconds(unused, "--unused")
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    bar = Progress(
        TextColumn("{task.description}"), TimeElapsedColumn(), console=console(), disable=not sys.stdout.isatty()
    )
    prefix = tenant_prefix(prefix, tenant)
    with opened(url, prefix) as cache, bar:
        task = bar.add_task("looking")

        def seen(looked: int, deleted: int) -> None:
            bar.update(task, description=f"looked at {amount(looked, 'entry', 'entries')}, deleted {deleted:,}")

        deleted = cache.purge(seen, unused=unused)
    console().print(f"deleted {amount(deleted, 'dead entry', 'dead entries')} on {where(url)}")
