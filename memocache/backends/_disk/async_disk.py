"""The awaiting colour of a store on disk: what takes microseconds is done at once, the rest in worker threads.

It has the methods of `memocache.backends.disk.DiskBackend` as coroutines, and knows nothing of how they work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from memocache.backends._disk.blob_files import Filed
from memocache.backends._threads import in_thread, in_thread_unhurried
from memocache.typing import Guard, Pieces, Put

LARGE: Final = 2**20
"""Bytes from which on a value is a file of its own."""


class AsyncDisk:
    """The methods of a `DiskBackend` as coroutines: what takes microseconds at once, the rest in worker threads."""

    any_library = True
    """It waits for threads alone, so it is asked under trio too."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    async def read(self, keys: Sequence[str], *, timeout: float | None = None) -> list[Any]:
        """See `DiskBackend.read`."""
        found: list[Any] | None = self._backend.read_now(keys)
        if found is not None:
            return found
        read: list[Any] = await in_thread(self._backend.read, keys, timeout=timeout)
        return read

    async def transact(
        self, guards: Sequence[Guard], puts: Sequence[Put] = (), *args: Any, timeout: float | None = None, **kwargs: Any
    ) -> list[Any] | None:
        """See `DiskBackend.transact`; the time that large values take to be written is not counted."""
        backend = self._backend
        filed: dict[int, Filed] = {}
        if any(isinstance(put.value, Pieces) or len(put.value) >= LARGE for put in puts):
            filed = await in_thread_unhurried(backend.file_away, puts)
        conflict: list[Any] | None = await in_thread(
            backend.commit, filed, guards, puts, *args, timeout=timeout, **kwargs
        )
        return conflict

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._backend, name)
        return lambda *args, timeout=None, **kwargs: in_thread(method, *args, timeout=timeout, **kwargs)

    async def close(self) -> None:
        """See `DiskBackend.close`."""
        await in_thread_unhurried(self._backend.close)
