"""FastAPI: a cached dependency, cached data, a `Cache-Status` header, and an endpoint that writes and invalidates.

``python fastapi_app.py`` serves http://localhost:8000/items/1; write with
``curl -X PUT 'http://localhost:8000/items/1?stock=9'``. ``MEMOCACHE_URL=redis://… uvicorn fastapi_app:app --workers 4``
shares the cache between workers.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Response

from memocache import cached

app = FastAPI()
STOCK = {1: 10, 2: 0}  # stands for a database


@cached(ttl="30s", stale="5m", tags="item:{item}")
async def stock_of(item: int) -> int:
    """The slow query. Cached here, and not the endpoint: what is remembered is data, not a response."""
    await asyncio.sleep(0.01)
    return STOCK[item]


@cached(ttl="5m", exclude=("token",), key="{tenant}")
async def settings_of(tenant: str, token: str = "") -> dict[str, str]:
    """What every request of a tenant needs; the token that fetches it does not change it."""
    return {"tenant": tenant, "currency": "EUR"}


async def tenant_settings(tenant: str = "acme") -> dict[str, str]:
    """A dependency over a cached function: FastAPI sees a plain one."""
    return await settings_of(tenant, token="t0ken")


@app.get("/items/{item}")
async def read(
    item: int, response: Response, settings: Annotated[dict[str, str], Depends(tenant_settings)]
) -> dict[str, object]:
    """Read through the cache, and say in the header of RFC 9211 what it did."""
    try:
        stock, status = await stock_of.with_status(item)
    except KeyError:
        raise HTTPException(404) from None
    response.headers["Cache-Status"] = str(status)
    return {"item": item, "stock": stock, "currency": settings["currency"]}


@app.put("/items/{item}")
async def write(item: int, stock: int) -> dict[str, int]:
    """Write, then invalidate: whoever reads after this returns, in any process, sees the write."""
    STOCK[item] = stock
    await stock_of.invalidate(item)
    return {"item": item, "stock": stock}


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app)
