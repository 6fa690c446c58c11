"""The end of a cache with a backend: what was counted is sent, and threads and connections go.

`Cache.close` and ``Cache.aio.close`` come here, and so does a cache that is dropped without either: its parts end with
the last reference to its core. Nothing here refers to cache or core, which could not be collected otherwise.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from typing import Any

from memocache._cache.stats_reporter import StatsReporter
from memocache._calls.cache_core import Core
from memocache._runtime.async_library import in_trio
from memocache._stores.layered.near_cache import NearTier
from memocache._stores.remote.lease_heartbeat import Keeper
from memocache._stores.remote.sliding_expiry import Prolonger
from memocache.backends._threads import in_thread_unhurried
from memocache.typing import Backend


class Lifetime:
    """Ends the parts of one cache; using the cache again begins them anew."""

    def __init__(
        self, backend: Backend, reporter: StatsReporter, near: NearTier | None, keeper: Keeper, prolonger: Prolonger
    ) -> None:
        self._backend = backend
        self._reporter = reporter
        self._near = near
        self._keeper = keeper
        self._prolonger = prolonger

    def end_with(self, core: Core, *, owned: bool) -> None:
        """End the parts when `core` is collected; a backend that is not `owned` stays open for who made it."""
        weakref.finalize(core, _dropped, self, owned).atexit = False  # at exit the reporter sends what was counted

    def close(self, *, backend: bool = True) -> None:
        """Send what was counted, and let go of threads, and of the connections unless the `backend` is another's."""
        self._reporter.close()
        self._prolonger.rest()
        self._rest()
        if backend:
            self._backend.close()

    async def aclose(self, *, backend: bool = True) -> None:
        """As `close`, without blocking the event loop."""
        await self._reporter.aclose()
        if self._prolonger.pending:  # else the loop would go on, and send what was to be refused
            await in_thread_unhurried(self._prolonger.rest)
        self._rest()
        if not backend:
            return
        # a trio run has no connections of its own
        aio: Any = None if in_trio() else getattr(self._backend, "aio", None)
        if aio is not None:
            await aio.close()
        if aio is None and self._backend.blocks:
            await in_thread_unhurried(self._backend.close)
        else:
            self._backend.close()

    def _rest(self) -> None:
        if self._near is not None:
            self._near.close()
        self._keeper.rest()


def _dropped(lifetime: Lifetime, owned: bool) -> None:
    # in a thread: the collector runs anywhere, and sending takes a moment
    with contextlib.suppress(RuntimeError):  # no thread to be had
        threading.Thread(target=lifetime.close, kwargs={"backend": owned}, name="memocache-end", daemon=True).start()
