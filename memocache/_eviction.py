"""S3-FIFO: which entries stay when space is short.

Source: Yang, Zhang, Qiu, Yue, Rashmi, "FIFO Queues are All You Need for Cache Eviction", SOSP 2023, algorithm 1:
a small FIFO (10 %), a main FIFO, a ghost of keys as long as main, a counter up to 3, promotion above 1.

A hit does not come here: it adds one to the entry's own `hits`. The paper's saturating counter is recovered from it
when an entry is looked at: ``min(3, credit + hits since last look)``, which equals counting hit by hit, since hits only
ever add. All methods run under the owner's lock. Its weakness is a pure loop larger than the cache.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, Protocol, TypeVar

_CAP = 3
_PROMOTE_ABOVE = 1
_SMALL_SHARE = 10
OUT, SMALL, MAIN = 0, 1, 2


class Resident(Protocol):
    """What the queues know of an entry."""

    hits: int
    mark: int
    credit: int
    place: int

    def ghost(self) -> int:
        """A hash that names the entry's key after the entry is gone."""
        ...


R = TypeVar("R", bound=Resident)


class S3Fifo(Generic[R]):
    """The queues of one bounded space of `capacity` entries (None: unbounded, nothing is ever evicted)."""

    __slots__ = ("_ghost", "_main", "_residents", "_small", "capacity")

    def __init__(self, capacity: int | None) -> None:
        self.capacity = capacity
        self._small: deque[R] = deque()
        self._main: deque[R] = deque()
        self._ghost: dict[int, None] = {}
        self._residents = 0

    def __len__(self) -> int:
        return self._residents

    def add(self, entry: R) -> list[R]:
        """Take in a new entry; return the entries that had to go for it."""
        evicted: list[R] = []
        if self.capacity is None:
            self._residents += 1
            entry.place = MAIN
            return evicted
        while self._residents >= self.capacity:
            evicted.append(self._evict())
        self._residents += 1
        if self._ghost.pop(entry.ghost(), self) is None:
            entry.place = MAIN
            self._main.append(entry)
        else:
            entry.place = SMALL
            self._small.append(entry)
        if len(self._small) + len(self._main) > 2 * self._residents + 64:
            self._small = deque(e for e in self._small if e.place)
            self._main = deque(e for e in self._main if e.place)
        return evicted

    def remove(self, entry: R) -> None:
        """Forget an entry that left for another reason; its queue skips it later."""
        if entry.place:
            entry.place = OUT
            self._residents -= 1

    def clear(self) -> None:
        """Forget everything."""
        self._small.clear()
        self._main.clear()
        self._ghost.clear()
        self._residents = 0

    def _evict(self) -> R:
        assert self.capacity is not None
        while True:
            small = self._small
            # without a main queue to take from, small gives way whatever its share
            if small and (len(small) * _SMALL_SHARE >= self.capacity or not self._main):
                entry = small.popleft()
                if not entry.place:
                    continue
                if _look(entry) > _PROMOTE_ABOVE:
                    # promotion starts the main queue's count afresh, as the paper's algorithm does
                    entry.credit = 0
                    entry.place = MAIN
                    self._main.append(entry)
                    continue
                self._haunt(entry.ghost())
            else:
                entry = self._main.popleft()
                if not entry.place:
                    continue
                credit = _look(entry)
                if credit:
                    entry.credit = credit - 1
                    self._main.append(entry)
                    continue
            self.remove(entry)
            return entry

    def _haunt(self, ghost: int) -> None:
        self._ghost[ghost] = None
        assert self.capacity is not None
        if len(self._ghost) > max(1, self.capacity - self.capacity // _SMALL_SHARE):
            del self._ghost[next(iter(self._ghost))]


def _look(entry: Resident) -> int:
    """Bring the entry's saturating counter up to date and return it."""
    entry.credit = min(_CAP, entry.credit + entry.hits - entry.mark)
    entry.mark = entry.hits
    return entry.credit
