"""``memocache stats`` and ``memocache top``: what each function's cache earns, and what is hot now."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Literal, NoReturn

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table

from memocache import BackendError, Cache, CacheStats, FunctionStats
from memocache.cli._common import (
    JsonOption,
    PrefixOption,
    TenantOption,
    UrlOption,
    amount,
    bar,
    console,
    duration,
    opened,
    print_json,
    size,
    tenant_prefix,
    text,
    where,
)

FleetOption = Annotated[
    bool,
    typer.Option("--fleet/--process", help="Of all processes on the backend, or of this one alone (for memory://)."),
]
WatchOption = Annotated[bool, typer.Option("--watch", "-w", help="Go on until Ctrl-C.")]
_COLUMNS = {
    "hits": 0,
    "misses": 1,
    "hit rate": 0,
    "stale": 2,
    "coalesced": 3,
    "rejected": 3,
    "faults": 2,
    "computing": 3,
    "saved": 1,
}
"""Each figure's heading, and how much room it needs: 3, that of a wide terminal; 0, none."""
_BARS = {3: 12, 2: 5, 1: 5, 0: 0}
"""The width of a bar where there is so much room."""
OperationsOption = Annotated[
    bool, typer.Option("--operations", "-o", help="Also what was asked of the backend, by kind, and how long it took.")
]
EveryOption = Annotated[float, typer.Option("--every", min=0.2, metavar="SECONDS", help="How often to look.")]


def stats(
    url: UrlOption = "memory://",
    prefix: PrefixOption = "memo",
    tenant: TenantOption = None,
    fleet: FleetOption = True,
    watch: WatchOption = False,
    every: EveryOption = 2.0,
    operations: OperationsOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show each function's hits, misses, time computed and saved."""
    if watch and as_json:
        raise typer.BadParameter("--json is of one look: not with --watch")
    scope: Literal["fleet", "process"] = "fleet" if fleet else "process"
    prefix = tenant_prefix(prefix, tenant)
    with opened(url, prefix) as cache:
        if watch:
            _live(lambda: _pages(cache, scope, url, every, operations), every)
        figures = cache.stats(scope)
        if as_json:
            print_json(figures)
        else:
            console().print(_page(figures, url, operations))


def top(
    url: UrlOption = "memory://",
    prefix: PrefixOption = "memo",
    tenant: TenantOption = None,
    fleet: FleetOption = True,
    every: EveryOption = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look twice, print, and end.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, metavar="N", help="How many of each.")] = 10,
) -> None:
    """Show what is called most now, and the hottest keys. Ctrl-C ends it."""
    scope: Literal["fleet", "process"] = "fleet" if fleet else "process"
    prefix = tenant_prefix(prefix, tenant)
    with opened(url, prefix) as cache:
        if once:
            console().print(next(_rates(cache, scope, lines, url, every)))
        else:
            _live(lambda: _rates(cache, scope, lines, url, every), every)


def _live(begin: Callable[[], Iterator[RenderableType]], every: float) -> NoReturn:
    """Show one page after another until Ctrl-C. Where the backend fails meanwhile, `begin` again: outages are what one
    watches for.
    """
    out = console()
    pages = begin()
    live = Live(next(pages), console=out, auto_refresh=False, screen=out.is_terminal)
    try:  # not `with`: Ctrl-C may come while it starts, and the cursor must come back
        live.start(refresh=True)
        while True:
            try:
                for page in pages:
                    live.update(page, refresh=True)
            except BackendError as error:
                live.update(text(f"{error}; trying again"), refresh=True)
                time.sleep(every)
                pages = begin()
    finally:
        live.stop()


def _pages(
    cache: Cache, scope: Literal["fleet", "process"], url: str, every: float, operations: bool
) -> Iterator[RenderableType]:
    while True:
        yield _page(cache.stats(scope, entries=False), url, operations)
        time.sleep(every)


def _page(figures: CacheStats, url: str, operations: bool) -> RenderableType:
    page = _of_functions(figures, url)
    return Group(page, _operations(figures)) if operations else page


def _operations(figures: CacheStats) -> RenderableType:
    table = Table(title="asked of the backend", title_justify="left")
    table.add_column("operation")
    for heading in ("count", "errors", "mean", "half within", "99% within"):
        table.add_column(heading, justify="right")
    for kind, one in figures.operations.items():
        if one.count:
            times = (one.seconds / one.count, one.histogram.quantile(0.5), one.histogram.quantile(0.99))
            table.add_row(kind, f"{one.count:,}", f"{one.errors:,}", *map(duration, times))
    return table if table.row_count else text("nothing has been asked of the backend yet")


def _of_functions(figures: CacheStats, url: str) -> RenderableType:
    out = console()
    unbound = out.options.update(width=10_000)
    # the widest that leaves every name whole, or the narrowest; `--json` has it all
    tables = [_functions(figures, url, room) for room in _BARS]
    table = next((one for one in tables if out.measure(one, options=unbound).maximum <= out.width), tables[-1])
    totals = [
        f"{amount(figures.hits, 'hit')}, {amount(figures.misses, 'miss', 'misses')}"
        + (f" ({figures.hit_rate:.1%} hits)" if figures.hits + figures.misses else ""),
    ]
    if (figures.total_keys is not None and figures.total_keys) or figures.memory_usage_bytes is not None:
        whole = " (the whole server)" if "redis" in url or "valkey" in url or url.startswith("unix") else ""
        totals.append(f"{amount(figures.total_keys or 0, 'key')}, {size(figures.memory_usage_bytes)}{whole}")
    if figures.average_ttl_seconds is not None:
        totals.append(
            f"on average {duration(figures.average_ttl_seconds)} to live (of {amount(figures.ttl_sample_size, 'key')})"
        )
    if figures.functions:
        return Group(table, text("; ".join(totals)))
    return Group(_none(url), text("; ".join(totals)))


def _functions(figures: CacheStats, url: str, room: int) -> Table:
    table = Table(title=f"functions on {where(url)}", title_justify="left")
    table.add_column("function", overflow="fold")
    for heading, needs in _COLUMNS.items():
        if needs <= room:
            table.add_column(heading, justify="left" if heading == "hit rate" else "right", no_wrap=True)
    for one in sorted(figures.functions.values(), key=lambda one: -(one.hits + one.misses)):
        calls = one.hits + one.misses
        cells = (
            f"{one.hits:,}",
            f"{one.misses:,}",
            bar(one.hits / calls, _BARS[room]).strip() if calls else "-",
            *(f"{n:,}" for n in (one.stale_hits, one.coalesced, one.rejected, one.faults)),
            duration(one.compute_seconds),
            duration(one.saved_seconds),
        )
        shown = (cell for cell, needs in zip(cells, _COLUMNS.values(), strict=True) if needs <= room)
        table.add_row(text(one.name), *shown)
    return table


def _none(url: str) -> RenderableType:
    alone = "; memory:// is in each process: give the --url of what yours share" if url.startswith("memory:") else ""
    return text(f"no function has been called yet{alone}")


def _rates(
    cache: Cache, scope: Literal["fleet", "process"], lines: int, url: str, every: float
) -> Iterator[RenderableType]:
    """A page for each pair of looks: calls a second between them."""
    before, looked_at = cache.stats(scope, entries=False).functions, time.monotonic()
    while True:
        time.sleep(every)
        figures = cache.stats(scope, entries=False)
        now = time.monotonic()
        elapsed = max(now - looked_at, 1e-9)
        rows = []
        for name, one in figures.functions.items():
            then = before.get(name, FunctionStats(name))
            hits, misses = max(0, one.hits - then.hits), max(0, one.misses - then.misses)
            rows.append((hits + misses, hits, name, one.compute_seconds - then.compute_seconds))
        busiest = _busiest(sorted(rows, reverse=True)[:lines], elapsed) if rows else _none(url)
        yield Group(busiest, _hottest(figures.most_accessed_keys[:lines]))
        before, looked_at = figures.functions, now


def _busiest(rows: Iterable[tuple[int, int, str, float]], elapsed: float) -> Table:
    table = Table(title=f"calls in the last {elapsed:.1f} s", title_justify="left")
    table.add_column("function", overflow="fold")
    table.add_column("calls/s", justify="right")
    table.add_column("hit rate")
    table.add_column("computing", justify="right")
    for calls, hits, name, computing in rows:
        rate = bar(hits / calls) if calls else "-"
        table.add_row(text(name), f"{calls / elapsed:,.1f}", rate, f"{max(0.0, computing) / elapsed:.0%}")
    return table


def _hottest(keys: Iterable[str]) -> RenderableType:
    table = Table(title="hottest keys", title_justify="left", show_header=False)
    for key in keys:
        table.add_row(text(key, overflow="fold"))
    return table if table.row_count else text("no hits have been counted yet")
