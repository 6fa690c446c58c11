"""The near tier against reads, writes, messages, losses and time in any order; and broken builds that it must catch."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from memocache._stores.layered import near_cache as _near
from memocache._stores.layered.near_cache import Copies, NearTier
from memocache._stores.memory.tier import Mark
from memocache.testing import FakeClock

ENTRIES, MARKERS = ("e:1", "e:2"), ("g:f", "g:t")


class Server:
    """A server whose replies and messages arrive when they like, in front of it a near tier of two entries.

    What stands at an entry or a marker is the serial number of its last write. A copy is of an entry and the markers,
    so it holds three numbers.
    """

    maxsize = 2

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.near = NearTier(self.maxsize, self.clock, ["e:", "g:"])
        self.table = self.near.table("f", "f")
        self.table.users.add(self.near)
        self.serials = itertools.count(1)
        self.stands = dict.fromkeys((*ENTRIES, *MARKERS), 0)
        self.told = dict(self.stands)
        self.acknowledged: list[tuple[float, str, int]] = []
        self.messages: list[str | None] = []  # None: what PING asked at `pings` is answered
        self.pings: list[float] = []
        self.connected = True
        self.readers: list[Any] = [None] * 2
        self.served = 0

    def write(self, key: str) -> None:
        """Somebody writes, and is answered; the message is under way."""
        self.stands[key] = next(self.serials)
        self.acknowledged.append((self.clock.monotonic(), key, self.stands[key]))
        if self.connected:
            self.messages.append(key)

    def expect(self, which: int, key: str) -> None:
        """A reader announces itself."""
        self.readers[which] = [key, self.near.expect("f", MARKERS, key), None, 0.0]

    def read(self, which: int) -> None:
        """The server answers it."""
        reader = self.readers[which]
        if reader is not None and reader[2] is None:
            reader[2] = tuple(self.stands[key] for key in (reader[0], *MARKERS))

    def keep(self, which: int, ttl: float) -> None:
        """It has the answer, and keeps a copy."""
        self.read(which)
        reader, self.readers[which] = self.readers[which], None
        if reader is not None and reader[1] is not None:
            self.near.keep(reader[1], self.table, reader[0], reader[2], None, ttl=ttl, compute=0.0)

    def deliver(self, many: int) -> None:
        """What the server wrote arrives, in its order."""
        for _ in range(min(many, len(self.messages))):
            key = self.messages.pop(0)
            if key is None:
                self.near.heard(self.pings.pop(0))
            else:
                self.told[key] = max([n for at, k, n in self.acknowledged if k == key][: self._nth(key)])
                self.near.changed([key])

    def _nth(self, key: str) -> int:
        """Which write of a key the message told of: all but those whose messages are still under way."""
        return sum(k == key for _, k, _ in self.acknowledged) - self.messages.count(key)

    def ping(self) -> None:
        """The tracker asks; the answer comes after the messages of what was acknowledged before."""
        if self.connected:
            self.pings.append(self.clock.monotonic())
            self.messages.append(None)

    def beat(self) -> None:
        """A quiet moment: the tracker asks, and everything arrives."""
        self.ping()
        self.deliver(len(self.messages))

    def cut(self) -> None:
        """The connection is gone, with what was under way; nobody has noticed."""
        self.connected = False
        self.messages, self.pings = [], []

    def connect(self) -> None:
        """The tracker notices, and tracks anew."""
        if not self.connected:
            self.near.heard(float("-inf"))
            self.near.changed(None)
            self.near.changed(None)
            self.told = dict(self.stands)
            self.connected = True
            self.beat()

    def flush(self) -> None:
        """All is told to have changed."""
        for key in self.stands:
            self.stands[key] = next(self.serials)
        self.told = dict(self.stands)
        self.near.changed(None)

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    def no_copy_is_older_than_it_may_be(self) -> None:
        """What may be served is no older than what was told, nor older than promised than what was acknowledged."""
        now = self.clock.monotonic()
        copies = Copies(self.near, self.table)
        for key in ENTRIES:
            try:
                entry = copies[key]
            except KeyError:
                continue
            if entry.fresh_until <= now:
                continue
            self.served += 1
            for place, number in zip((key, *MARKERS), entry.value, strict=True):
                assert number >= self.told[place], "older than what was told"
                due = [n for at, k, n in self.acknowledged if k == place and at <= now - 1.0]
                assert number >= max(due, default=0), "more than 1 s behind"
        assert sum(len(table.entries) for table in self.near.tables()) <= self.maxsize


STEPS: tuple[Callable[[Server], None], ...] = (
    *[lambda server, n=key: server.write(n) for key in (*ENTRIES, *MARKERS)],
    *[lambda server, n=(which, key): server.expect(*n) for which in (0, 1) for key in ENTRIES],
    *[lambda server, n=which: server.read(n) for which in (0, 1)],
    *[lambda server, n=(which, ttl): server.keep(*n) for which in (0, 1) for ttl in (0.5, 100.0)],
    *[lambda server, n=many: server.deliver(n) for many in (1, 2)],
    *[lambda server, n=seconds: server.advance(n) for seconds in (0.01, 0.3, 0.6)],
    *[Server.beat] * 3,
    Server.ping,
    Server.cut,
    Server.connect,
    Server.flush,
)


def _run(examples: int) -> None:
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    @given(st.binary(min_size=100, max_size=200))
    def programs(program: bytes) -> None:
        with pytest.MonkeyPatch.context() as patch:
            server = Server()
            patch.setattr(_near, "time", SimpleNamespace(monotonic=server.clock.monotonic))
            server.beat()
            for code in program:
                STEPS[code % len(STEPS)](server)
                server.no_copy_is_older_than_it_may_be()
            served.append(server.served)

    served: list[int] = []
    programs()
    assert sum(served) > examples, "there was nothing to see"


def test_no_copy_is_older_than_it_may_be() -> None:
    """Whatever the order of reads, writes, messages, losses and time, a copy served is as new as promised."""
    _run(300)


def test_a_build_without_expectations_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeping what was read although it changed meanwhile fails the machine."""

    def keep(self: NearTier, expected: Any, table: Any, key: Any, value: Any, thaw: Any, **more: Any) -> None:
        again = self.expect("f", MARKERS, expected[0][-1].key)
        if again is not None:
            honest(self, again, table, key, value, thaw, **more)

    honest = NearTier.keep
    monkeypatch.setattr(NearTier, "keep", keep)
    with pytest.raises(AssertionError, match="older than what was told"):
        _run(300)


def test_a_build_without_a_deadline_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Believing copies until a loss is noticed fails the machine."""

    def heard(self: NearTier, since: float) -> None:
        self.until = since if since == float("-inf") else float("inf")

    monkeypatch.setattr(NearTier, "heard", heard)
    with pytest.raises(AssertionError, match="more than 1 s behind"):
        _run(300)


def test_a_build_deaf_to_markers_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not asking a copy's markers fails the machine."""
    honest = NearTier.invalidate_tag

    def invalidate_tag(self: NearTier, tag: str) -> None:
        mark: Mark | None = self.all_marks.find(tag)
        honest(self, tag)
        if mark is not None:
            mark.alive = True

    monkeypatch.setattr(NearTier, "invalidate_tag", invalidate_tag)
    with pytest.raises(AssertionError):
        _run(300)
