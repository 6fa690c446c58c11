"""``memocache dashboard``: the fleet's figures, keys and invalidation in a browser."""

from __future__ import annotations

import os
import socket
from typing import Annotated

import typer

from memocache.cli._common import Failure, PrefixOption, UrlOption, console, opened, where


def dashboard(
    url: UrlOption = "memory://",
    prefix: PrefixOption = "memo",
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
        with opened(url, prefix, made=True) as cache:  # it may be running before the program is
            app = application(
                cache,
                token=token,
                read_only=read_only,
                show_values=show_values,
                hosts=allowed_host or (),
                title=where(url),
            )
            shown = f"[{host}]" if ":" in host else host
            console().print(f"http://{shown}:{listener.getsockname()[1]}/ shows {where(url)}; Ctrl-C ends it")
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
