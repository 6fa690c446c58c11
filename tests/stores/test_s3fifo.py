"""S3-FIFO beside a plain reading of the paper's algorithm, which counts hit by hit."""

from __future__ import annotations

import random
from collections import deque

import pytest

from memocache._stores.s3fifo import S3Fifo, placed


class Resident:
    """What the queues hold."""

    def __init__(self, key: int) -> None:
        self.key = key
        self.hits = 0
        self.rank = 0

    def ghost(self) -> int:
        return self.key


class Paper:
    """Algorithm 1 of the paper, by the letter: a saturating counter a key, three FIFO queues of keys."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.small: deque[int] = deque()
        self.main: deque[int] = deque()
        self.ghost: deque[int] = deque()
        self.count: dict[int, int] = {}

    def ask(self, key: int) -> bool:
        """Whether `key` was there; it is afterwards."""
        if key in self.count:
            self.count[key] = min(3, self.count[key] + 1)
            return True
        while len(self.count) >= self.capacity:
            self.evict()
        if key in self.ghost:
            self.ghost.remove(key)
            self.main.append(key)
        else:
            self.small.append(key)
        self.count[key] = 0
        return False

    def evict(self) -> None:
        while self.small and (len(self.small) * 10 >= self.capacity or not self.main):
            key = self.small.popleft()
            if self.count[key] > 1:
                self.count[key] = 0
                self.main.append(key)
                continue
            del self.count[key]
            self.ghost.append(key)
            if len(self.ghost) > max(1, self.capacity - self.capacity // 10):
                self.ghost.popleft()
            return
        while True:
            key = self.main.popleft()
            if not self.count[key]:
                del self.count[key]
                return
            self.count[key] -= 1
            self.main.append(key)


@pytest.mark.parametrize("capacity", [1, 2, 7, 50, 200])
@pytest.mark.parametrize("skew", [0.6, 1.1])
def test_it_keeps_what_the_paper_keeps(capacity: int, skew: float) -> None:
    """Counting lazily, on the entry's own hits, evicts exactly what counting hit by hit evicts."""
    source = random.Random(f"{capacity} {skew}")
    keys = source.choices(range(1000), [1 / (n + 1) ** skew for n in range(1000)], k=6000)
    paper, queues, held = Paper(capacity), S3Fifo[Resident](capacity), dict[int, Resident]()
    for key in keys:
        there = key in held
        assert paper.ask(key) == there
        if there:
            held[key].hits += 1
            continue
        held[key] = Resident(key)
        for gone in queues.add(held[key]):
            assert not placed(gone.rank)
            del held[gone.key]
    assert held.keys() == paper.count.keys()
    assert len(queues) == len(held) <= capacity


def test_hits_of_a_former_entry_are_no_reason_to_stay() -> None:
    """An entry that takes over another's hits is judged by those it gets itself."""
    queues = S3Fifo[Resident](1)
    heir, other = Resident(1), Resident(2)
    heir.hits = 100
    assert queues.add(heir, seen=100) == []
    assert queues.add(other) == [heir]
