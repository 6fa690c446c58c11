"""S3-FIFO: which entries stay when space is short.

Source: Yang, Zhang, Qiu, Yue, Rashmi, "FIFO Queues are All You Need for Cache Eviction", SOSP 2023, algorithm 1:
a small FIFO (10 %), a main FIFO, a ghost of keys as long as main, a counter up to 3, promotion above 1.

A hit does not come here: it adds one to the entry's own `hits`. The paper's saturating counter is recovered from it
when an entry is looked at: ``min(3, credit + hits since last look)``, which equals counting hit by hit, since hits only
ever add. What the queues know of an entry is one int, its `rank`: where it is (2 bits), its credit (2 bits), and the
hits it had when last looked at (the rest). All methods run under the owner's lock. Its weakness is a pure loop larger
than the cache.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, Protocol, TypeVar

_CAP = 3
_PROMOTE_ABOVE = 1
_SMALL_SHARE = 10
_TIDY_SHARE = 16
OUT, SMALL, MAIN = 0, 1, 2
_PLACE = 3


class Resident(Protocol):
    """What the queues know of an entry."""

    hits: int
    rank: int

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
        # not a dict: the first of one that has lost many is found behind all their gaps
        self._ghost: OrderedDict[int, None] = OrderedDict()
        self._residents = 0

    def __len__(self) -> int:
        return self._residents

    def add(self, entry: R, seen: int = 0, ghost: int | None = None) -> list[R]:
        """Take in a new entry, `seen` of whose hits are not its own; return the entries that had to go for it.

        Who knows its `ghost` already may give it.
        """
        evicted: list[R] = []
        if self.capacity is None:
            self._residents += 1
            entry.rank = _rank(MAIN, 0, seen)
            return evicted
        while self._residents >= self.capacity:
            evicted.append(self._evict())
        self._residents += 1
        if self._ghost.pop(entry.ghost() if ghost is None else ghost, self) is None:
            entry.rank = _rank(MAIN, 0, seen)
            self._main.append(entry)
        else:
            entry.rank = _rank(SMALL, 0, seen)
            self._small.append(entry)
        if len(self._small) + len(self._main) > 2 * self._residents + 64:
            self._tidy()
        return evicted

    def remove(self, entry: R) -> None:
        """Forget an entry that left for another reason; its queue skips it later."""
        if placed(entry.rank):
            entry.rank -= entry.rank & _PLACE
            self._residents -= 1

    def removed_many(self) -> None:
        """Let go of what `remove` was told, where that is a good part of the queues: constant time for each of them."""
        queued = len(self._small) + len(self._main)
        if (queued - self._residents) * _TIDY_SHARE >= queued:
            self._tidy()

    def _tidy(self) -> None:
        self._small = deque(e for e in self._small if placed(e.rank))
        self._main = deque(e for e in self._main if placed(e.rank))

    def clear(self) -> None:
        """Forget everything."""
        self._small.clear()
        self._main.clear()
        self._ghost.clear()
        self._residents = 0

    def _evict(self) -> R:
        assert self.capacity is not None
        small, main = self._small, self._main
        while True:
            # without a main queue to take from, small gives way whatever its share
            if small and (len(small) * _SMALL_SHARE >= self.capacity or not main):
                entry = small.popleft()
                rank = entry.rank
                if not rank & _PLACE:
                    continue
                hits = entry.hits
                if _credit(rank, hits) > _PROMOTE_ABOVE:
                    # promotion starts the main queue's count afresh, as the paper's algorithm does
                    entry.rank = _rank(MAIN, 0, hits)
                    main.append(entry)
                    continue
                self._haunt(entry.ghost())
            else:
                entry = main.popleft()
                rank = entry.rank
                if not rank & _PLACE:
                    continue
                hits = entry.hits
                credit = _credit(rank, hits)
                if credit:
                    entry.rank = _rank(MAIN, credit - 1, hits)
                    main.append(entry)
                    continue
            entry.rank = rank - (rank & _PLACE)
            self._residents -= 1
            return entry

    def _haunt(self, ghost: int) -> None:
        self._ghost[ghost] = None
        assert self.capacity is not None
        if len(self._ghost) > max(1, self.capacity - self.capacity // _SMALL_SHARE):
            self._ghost.popitem(last=False)


def placed(rank: int) -> bool:
    """Whether an entry of this rank is in a queue."""
    return rank & _PLACE != OUT


def _rank(place: int, credit: int, seen: int) -> int:
    return place | credit << 2 | seen << 4


def _credit(rank: int, hits: int) -> int:
    """The saturating counter of an entry of this rank that has had so many hits by now."""
    return min(_CAP, (rank >> 2 & 3) + hits - (rank >> 4))
