"""``memocache keys`` and ``memocache inspect``: what is stored, by key."""

from __future__ import annotations

from datetime import datetime
from itertools import chain, islice
from math import isinf
from typing import Annotated

import typer
from rich.table import Table

from memocache.cli._common import (
    Failure,
    JsonOption,
    PrefixOption,
    TenantOption,
    UrlOption,
    console,
    duration,
    opened,
    print_json,
    say,
    size,
    tenant_prefix,
    text,
    where,
)


def keys(
    function: Annotated[str | None, typer.Argument(metavar="FUNCTION", help="Only this function's.")] = None,
    url: UrlOption = "memory://",
    prefix: PrefixOption = "memo",
    tenant: TenantOption = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, metavar="N", help="At most so many.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the keys of live entries, one a line, as they are found."""
    prefix = tenant_prefix(prefix, tenant)
    with opened(url, prefix) as cache:
        found = islice(cache.keys(function), limit)
        first = next(found, None)
        if first is None and function is not None and function not in cache.stats("fleet", entries=False).functions:
            raise Failure(f"there is no function {function} on {where(url)}; `memocache stats` names those there are")
        every = () if first is None else chain((first,), found)
        if as_json:
            print_json(list(every))
            return
        for key in every:
            say(key)
    if first is None:
        what = f"under the prefix {prefix!r}" if function is None else f"of {function}"
        say(f"memocache: no entry {what} is live on {where(url)} (now)", err=True)


def inspect(
    key: Annotated[str, typer.Argument(metavar="KEY", help="As `memocache keys` prints it.")],
    url: UrlOption = "memory://",
    prefix: PrefixOption = "memo",
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is known about one entry; never its value."""
    prefix = tenant_prefix(prefix, tenant)
    with opened(url, prefix) as cache:
        info = cache.inspect(key)
        of = None if info is None or info.function is None else cache.details(info.function, "fleet", entries=False)
    if info is None:
        raise Failure("there is no entry under this key (now); `memocache keys` prints those there are")
    if as_json:
        print_json(info)
        return
    settings = of.settings if of is not None and of.settings else {}
    table = Table(show_header=False)
    for name, shown in (
        ("function", info.function or "none: a plain key"),
        ("created", _moment(info.created_at)),
        ("expires", "never" if isinf(info.expires_at) else _moment(info.expires_at)),
        *([("gone if unread for", f"{settings['idle']} s")] if settings.get("idle", "None") != "None" else []),
        *([("holds", "the items of a stream, as a list")] if settings.get("stream") == "True" else []),
        ("hits", f"{info.access_count:,}"),
        ("last hit", "never" if info.last_accessed is None else _moment(info.last_accessed)),
        ("version", info.version or "-"),
        ("size", size(info.size_bytes)),
        ("took", duration(info.compute_seconds)),
        ("tags", ", ".join(info.tags) or "-"),
    ):
        table.add_row(name, text(shown))
    console().print(table)


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().isoformat(" ", "seconds")
