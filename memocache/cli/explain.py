"""``memocache explain``: which key a call has, and why it would be a hit or a miss."""

from __future__ import annotations

import ast
import importlib
import os
import sys
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from memocache._cache.explain import Explanation, explain_call
from memocache._calls.wrapper import Memoized
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
    size,
    tenant_prefix,
    text,
)


def explain(
    function: Annotated[str, typer.Argument(metavar="MODULE:FUNCTION", help="e.g. shop.prices:price")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARGS", help="Python literals (7, 'EUR', [1, 2]) or plain text; name=value too."),
    ] = None,
    url: UrlOption = "memory://",
    prefix: PrefixOption = "memo",
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Explain a call without making it. Shown are its key, why it is a hit or a miss, and what would change the key."""
    prefix = tenant_prefix(prefix, tenant)
    with opened(url, prefix):
        target = _find(function)
        args, kwargs = _parsed(arguments or [])
        try:
            explanation = explain_call(target, tuple(args), kwargs)
        except TypeError as error:
            raise Failure(str(error)) from None
    if as_json:
        print_json(explanation)
    else:
        console().print(_page(explanation))


def _find(path: str) -> Any:
    """The decorated function at MODULE:FUNCTION."""
    module_name, colon, name = path.partition(":")
    if not colon or not module_name or not name:
        raise typer.BadParameter("takes MODULE:FUNCTION, such as shop.prices:price")
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the module's own code runs, and may fail in any way
        raise Failure(f"cannot import {module_name}: {type(error).__name__}: {error}") from None
    found: Any = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            decorated = ", ".join(n for n, one in vars(module).items() if issubclass(type(one), Memoized))
            there = f"; decorated there: {decorated}" if decorated else ""
            raise Failure(f"{module_name} has no {name}{there}") from None
    if not issubclass(type(found), Memoized):
        raise Failure(f"{path} is not a function decorated with cached()")
    return found


def _parsed(words: list[str]) -> tuple[list[Any], dict[str, Any]]:
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for word in words:
        name, equals, rest = word.partition("=")
        if equals and name.isidentifier():
            kwargs[name] = _literal(rest)
        else:
            args.append(_literal(word))
    return args, kwargs


def _literal(word: str) -> Any:
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return word


def _page(one: Explanation) -> Table:
    table = Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")  # a key is there to be copied
    moment = None if one.created_at is None else datetime.fromtimestamp(one.created_at).astimezone()
    rows = [
        ("function", one.function),
        ("key", one.key),
        ("kept in", "the backend" if one.shared else "this process alone"),
        ("now it is", f"a {one.verdict}: {one.why}"),
        ("fresh for", duration(one.left) if one.left is None or one.left > 0 else f"ended {duration(-one.left)} ago"),
        *([("gone if unread for", duration(one.idle))] if one.idle else []),
        *([("holds", "the items of a stream, as a list")] if one.stream else []),
        ("computed", "-" if moment is None else f"{moment.isoformat(' ', 'seconds')}"),
        ("took", duration(one.compute_seconds)),
        ("size", size(one.size_bytes)),
        *((f"marker of {what}", how) for what, how in one.markers),
        ("tags", ", ".join(one.tags) or "-"),
        ("being computed", "yes, by some process" if one.computing else "no"),
        ("the key depends on", ", ".join(one.depends)),
        ("and not on", ", ".join(one.ignored) or "-"),
    ]
    for name, shown in rows:
        table.add_row(name, text(shown))
    return table
