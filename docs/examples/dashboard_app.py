"""The dashboard inside an application of one's own, at /cache.

``python dashboard_app.py`` serves http://localhost:8000/prices/7, which is then counted at http://localhost:8000/cache/.
The dashboard answers this machine alone; ``MEMOCACHE_DASHBOARD_TOKEN`` opens it to whoever knows the token.
"""

from __future__ import annotations

import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from memocache import Cache
from memocache.dashboard import dashboard

cache = Cache(os.environ.get("MEMOCACHE_URL", "memory://"))


@cache.cached(ttl="5m", name="shop.price")
async def price(item: int) -> float:
    """The slow part."""
    return item * 1.19


async def show(request: Request) -> JSONResponse:
    """A page of the application's own."""
    return JSONResponse(await price(request.path_params["item"]))


app = Starlette(
    routes=[
        Route("/prices/{item:int}", show),
        Mount("/cache", dashboard(cache, token=os.environ.get("MEMOCACHE_DASHBOARD_TOKEN") or None)),
    ]
)

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app)
