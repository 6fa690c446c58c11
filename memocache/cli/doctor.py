"""``memocache doctor``: how the backend is set up, and what to change."""

from __future__ import annotations

import typer
from rich.table import Table

from memocache._cache.doctor import examine
from memocache.cli._common import (
    JsonOption,
    PrefixOption,
    TenantOption,
    UrlOption,
    console,
    opened,
    print_json,
    tenant_prefix,
    text,
    where,
)

_STYLES = {"ok": "green", "note": "cyan", "warn": "yellow", "fail": "bold red"}


def doctor(
    url: UrlOption = "memory://",
    prefix: PrefixOption = "memo",
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check the backend and its settings. The exit status is 1 if something fails."""
    prefix = tenant_prefix(prefix, tenant)
    with opened(url, prefix) as cache:
        findings = examine(cache)
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        table = Table(title=f"{where(url)}", title_justify="left")
        for heading in ("", "what", "found", "advice"):
            table.add_column(heading, overflow="fold")
        for finding in findings:
            level = text(finding.level, style=_STYLES[finding.level])
            table.add_row(level, finding.what, text(finding.found), text(finding.advice or "-"))
        console().print(table)
    if any(finding.level == "fail" for finding in findings):
        raise typer.Exit(1)
