"""All reads of one turn of an event loop as few commands: a hundred look-ups at once cost the server and us two.

A batch gives each reader its own answer, or its own error. It does not know which connection carries it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import chain, compress
from typing import Any, Self

from memocache.backends._redis.pipelined_connection import Request, ValueSize, like
from memocache.backends._redis.resp import Ask, command_bytes, values
from memocache.backends.base import ProtocolError
from memocache.typing import Answer

_MOST = 1000
"""Entries that one command reads, during which the server does nothing else."""
_MOST_BYTES = 1 << 20
"""Bytes that one command's answer is meant to have: readers of what comes first need not wait for all."""
_done = asyncio.Future.done
_NOTHING = Ask(b"", 1, harmless=True)


class ReadBatch(Request):
    """Reads that leave together, and may take `timeout` seconds from when they do; more are taken while it is `open`.

    `futures`, `entries` and `markers` have one element a reader: three lists, for a tuple each would be one more thing
    for the garbage collector to follow. What `new_future` makes is answered with an `Answer`. `size` is that of the
    loop's values, `full` how many readers it is not to wait for more with.
    """

    __slots__ = (
        "__weakref__",
        "_keys",
        "_size",
        "entries",
        "full",
        "futures",
        "loop",
        "markers",
        "new_future",
        "open",
        "timeout",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: float, size: ValueSize, full: int = 0) -> None:
        super().__init__(_NOTHING, 0.0)
        self.full = full
        self.loop = loop
        self.new_future = loop.create_future
        self.timeout = timeout
        self._size = size
        self.open = True
        self.futures: list[asyncio.Future[Answer]] = []
        self.entries: list[str] = []
        self.markers: list[Sequence[str]] = []
        self._keys: list[str] = []

    def parts(self, now: float) -> Iterator[Self]:
        """Close it at `now`, and give what is to be sent: several where it is large, none where nobody waits."""
        self.open = False
        if any(map(_done, self.futures)):
            waiting = [not future.done() for future in self.futures]
            self.futures = list(compress(self.futures, waiting))
            self.entries = list(compress(self.entries, waiting))
            self.markers = list(compress(self.markers, waiting))
        most = max(1, min(_MOST, int(_MOST_BYTES / max(1.0, self._size.bytes))))
        for at in range(0, len(self.futures), most):
            part = self
            if len(self.futures) > most:
                part = type(self)(self.loop, self.timeout, self._size)
                part.open = False
                part.futures = self.futures[at : at + most]
                part.entries = self.entries[at : at + most]
                part.markers = self.markers[at : at + most]
            lists = dict(zip(map(id, part.markers), part.markers, strict=True))
            part._keys = list(dict.fromkeys(chain(*lists.values(), part.entries)))
            part.ask = Ask(command_bytes("MGET", *part._keys), 1, harmless=True)
            part.deadline = now + self.timeout
            yield part

    def wanted(self) -> bool:
        """See `Request.wanted`."""
        return not all(map(_done, self.futures))

    def answered(self) -> None:
        """See `Request.answered`."""
        try:
            found = values(self.replies[0], len(self._keys))
        except Exception as error:
            self.fail(error)
            if isinstance(error, ProtocolError):
                raise
            return
        self._size.seen(found)
        known = dict(zip(self._keys, found, strict=True))
        before: Sequence[str] | None = None
        marks: list[Any] = []
        for future, entry, markers in zip(self.futures, self.entries, self.markers, strict=True):
            if markers is not before:  # most have those of the one before them
                before, marks = markers, [known[marker] for marker in markers]
            try:
                future.set_result((entry, known[entry], marks))
            except asyncio.InvalidStateError:  # it was cancelled
                pass

    def fail(self, error: Exception) -> None:
        """See `Request.fail`; each reader gets an error of its own."""
        for future in self.futures:
            if not future.done():
                future.set_result(like(error, str(error)))
