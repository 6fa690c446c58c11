"""The application: the pages of one cache, or of several with a switch between them, behind one gate."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Mount, Route

from memocache._cache.cache import Cache
from memocache.dashboard._pages import LogIns, Pages
from memocache.dashboard._poller import IDLE, WATCHED, Poller
from memocache.dashboard._requests import base
from memocache.dashboard._security import Gate
from memocache.dashboard._sessions import Sessions, Throttle
from memocache.exceptions import ConfigurationError


def dashboard(
    cache: Cache | Mapping[str, Cache],
    *,
    token: str | None = None,
    read_only: bool = False,
    show_values: bool = False,
    hosts: Iterable[str] = (),
    title: str = "",
    watched: float = WATCHED,
    idle: float = IDLE,
) -> Starlette:
    """An ASGI application that shows `cache` and its fleet; serve it alone or mount it under any path.

    Args:
        cache: the cache, or several by the names under which they are shown.
        token: what must be given to log in; None: only this machine is answered, unless `hosts` names others.
        read_only: refuse every action, on the server.
        show_values: show values of single keys (as ``repr``, at most 4,096 characters).
        hosts: the names by which it may be reached (the ``Host`` header, and the ``Origin`` of its own forms behind a
            proxy that does not pass ``Host``); left out, this machine's own without a token, any with one. Give them
            without a token only where your application asks who it is before us.
        title: what is shown beside the name, such as where the backend is; of several caches each has its own. Never
            give it a URL with a password.
        watched: seconds between looks at the backend while somebody watches.
        idle: the same while nobody does.

    Raises `ValueError` for an empty token, and where there is no cache; `ConfigurationError` for a cache with tenants.
    """
    if token is not None and not token.strip():
        raise ValueError("token= takes a text that is not empty")
    caches = dict(cache) if isinstance(cache, Mapping) else {title: cache}
    if not caches:
        raise ValueError("dashboard() takes a cache, or at least one by its name")
    if any(one._tenants is not None for one in caches.values()):
        raise ConfigurationError(
            "dashboard() takes no cache with tenants, whose pages would be of one of them: give it a cache for each "
            "that is to be seen, as in {'acme': Cache(url, prefix='memo/acme')}"
        )
    log_ins = LogIns(Sessions(), Throttle())
    siblings = [(str(number), name) for number, name in enumerate(caches, 1)] if len(caches) > 1 else []
    every = [
        Pages(one, token, read_only, show_values, name, Poller(one, watched=watched, idle=idle), log_ins, siblings)
        for name, one in caches.items()
    ]

    @asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        for pages in every:
            pages.poller.start()
        yield
        for pages in every:
            await pages.poller.stop()

    routes: list[Route | Mount] = every[0].routes()
    if siblings:
        mounts = [Mount(f"/{slug}", routes=one.routes()) for (slug, _), one in zip(siblings, every, strict=True)]
        routes = [Route("/", _first, methods=["GET"]), *mounts]
    app = Starlette(routes=routes, lifespan=life)
    app.add_middleware(Gate, token=token is not None, hosts=tuple(hosts))
    return app


async def _first(request: Request) -> RedirectResponse:
    return RedirectResponse(f"{base(request)}/1/", 303)
