"""``memocache dashboard``: the fleet's figures, keys and invalidation in a browser."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Annotated

import typer

from memocache import Cache
from memocache.cli._common import Failure, console, opened, where


@contextmanager
def caches_of(urls: Sequence[str], prefixes: Sequence[str]) -> Iterator[dict[str, Cache]]:
    """A cache for each prefix on each backend, by the name that is shown; one store may be there before the program
    that fills it.
    """
    urls, prefixes = list(dict.fromkeys(urls)), list(dict.fromkeys(prefixes))
    named: dict[str, Cache] = {}
    with ExitStack() as stack:
        for url in urls:
            for prefix in prefixes:
                name = where(url) if len(prefixes) == 1 else f"{where(url)} {prefix}"
                while name in named:  # the same place, by other options
                    name += " again"
                if named:
                    secret = os.environ.get("MEMOCACHE_SECRET") or None
                    named[name] = stack.enter_context(Cache(url, prefix=prefix, secret=secret))
                else:
                    named[name] = stack.enter_context(opened(url, prefix, made=True))
        yield named


def dashboard(
    url: Annotated[
        list[str] | None,
        typer.Option("--url", metavar="URL", help="The backend; several times for several.  [env var: MEMOCACHE_URL]"),
    ] = None,
    prefix: Annotated[
        list[str] | None,
        typer.Option("--prefix", metavar="TEXT", help="The prefix, or several.  [env var: MEMOCACHE_PREFIX]"),
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="Where to listen; beyond this machine a token is demanded.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="PORT", help="0: any that is free.")] = 8787,
    read_only: Annotated[bool, typer.Option("--read-only", help="Refuse every action.")] = False,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option("--allowed-host", metavar="NAME", help="A name it may be reached by; several times for several."),
    ] = None,
    proxy: Annotated[
        list[str] | None,
        typer.Option("--proxy", metavar="ADDRESS", help="A proxy whose X-Forwarded-For and -Proto are believed."),
    ] = None,
    show_values: Annotated[bool, typer.Option("--show-values", help="Show the value on the page of a key.")] = False,
) -> None:
    """Serve the dashboard until Ctrl-C. Its token comes from MEMOCACHE_DASHBOARD_TOKEN alone."""
    try:
        import uvicorn

        from memocache.dashboard import dashboard as application
        from memocache.dashboard._security import is_loopback
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "jinja2", "uvicorn"):
            raise
        raise Failure(f'{error.name} is not installed; try: pip install "memocache[dashboard]"') from None
    token = os.environ.get("MEMOCACHE_DASHBOARD_TOKEN") or None
    if token is None and not is_loopback(host):
        raise Failure(f"{host} can be reached by others: set MEMOCACHE_DASHBOARD_TOKEN to what they must know")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(128)  # before it is said where: who reads that may ask at once
        except OSError as error:
            raise Failure(f"cannot listen on {host} port {port}: {error.strerror}; try another --port") from None
        # not by envvar=: that would make two of a prefix with a space
        urls = url or [os.environ.get("MEMOCACHE_URL") or "memory://"]
        with caches_of(urls, prefix or [os.environ.get("MEMOCACHE_PREFIX") or "memo"]) as caches:
            app = application(
                caches, token=token, read_only=read_only, show_values=show_values, hosts=allowed_host or ()
            )
            shown = f"[{host}]" if ":" in host else host
            what = ", ".join(caches)
            console().print(f"http://{shown}:{listener.getsockname()[1]}/ shows {what}; Ctrl-C ends it")
            # no access log: addresses of pages name keys; only stated proxies are believed where a request came from
            config = uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                proxy_headers=bool(proxy),
                forwarded_allow_ips=proxy or [],
                server_header=False,
            )
            uvicorn.Server(config).run(sockets=[listener])
