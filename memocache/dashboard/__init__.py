"""The dashboard (extra ``dashboard``): the fleet's figures, keys and invalidation in a browser.

::

    from memocache.dashboard import dashboard

    app = dashboard(cache)  # an ASGI application: serve it, or mount it
    app = dashboard({"shop": cache, "search": other})  # several caches, one after the other
"""

from __future__ import annotations

from memocache.dashboard._factory import dashboard

__all__ = ["dashboard"]
