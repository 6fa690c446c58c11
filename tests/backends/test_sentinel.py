"""Which sentinel is believed, driven by hand: no server, no socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from memocache.backends._settings import sentinel_settings
from memocache.backends.sentinel import MasterFinder

OLD, NEW = ("old", 1), ("new", 2)
_Opinion = tuple[tuple[str, int], int | None] | None


class Sentinels:
    """A finder of three sentinels, and what each of them says: the master and its epoch, or that it knows none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.finder = MasterFinder(sentinel_settings("redis+sentinel://a:1,b:2,c:3/mymaster"))
        self.names = dict(zip(self.finder._sentinels, "abc", strict=True))
        self.say: dict[str, _Opinion] = {}
        self.dead: set[tuple[str, int]] = set()
        self.asked: list[str] = []
        self.dialed: list[tuple[str, int]] = []
        monkeypatch.setattr(self.finder, "_watch", lambda: None)
        monkeypatch.setattr(self.finder, "_ask", self._ask)
        monkeypatch.setattr(self.finder, "_dial", self._dial)

    def _ask(self, *_: str) -> Iterator[Any]:
        for dial in list(self.finder._sentinels):
            name = self.names[dial]
            self.asked.append(name)
            opinion = self.say[name]
            if opinion is None:
                yield [None, None], dial
                continue
            (host, port), epoch = opinion
            facts = [b"config-epoch", b"%d" % epoch] if epoch is not None else None
            yield [[host.encode(), b"%d" % port], facts], dial

    def _dial(self, address: tuple[str, int], _: object) -> socket.socket:
        self.dialed.append(address)
        if address in self.dead:
            raise ConnectionRefusedError
        return socket.socket()


@pytest.fixture
def sentinels(monkeypatch: pytest.MonkeyPatch) -> Sentinels:
    """All three name the old master, of epoch 1, and nothing is known yet."""
    sentinels = Sentinels(monkeypatch)
    sentinels.say = dict.fromkeys("abc", (OLD, 1))
    return sentinels


def test_one_is_asked_as_long_as_it_is_not_behind(sentinels: Sentinels) -> None:
    """In good times a connection costs one question to one sentinel."""
    sentinels.finder.dial_master().close()
    sentinels.finder.dial_master().close()
    assert sentinels.asked == ["a", "a"]
    assert sentinels.dialed == [OLD, OLD]


def test_after_news_all_are_asked(sentinels: Sentinels) -> None:
    """The sentinel that is asked first may be the last to know: the newest word counts, and the old connections go."""
    old = sentinels.finder.dial_master()
    here, there = socket.socketpair()
    sentinels.finder._sockets.add(here)
    sentinels.say["c"] = (NEW, 2)
    sentinels.finder._look()
    assert sentinels.finder._master == NEW
    assert there.recv(1) == b""
    for end in (old, here, there):
        end.close()


def test_a_sentinel_that_is_behind_is_passed_over(sentinels: Sentinels) -> None:
    """Once a newer master is known, the word of one that still names the old one is not taken."""
    sentinels.say["c"] = (NEW, 2)
    sentinels.finder._look()
    sentinels.finder.dial_master().close()
    assert sentinels.dialed == [NEW]
    sentinels.say = dict.fromkeys("abc", (OLD, 0))  # the service was made anew
    sentinels.finder.dial_master().close()
    assert sentinels.dialed == [NEW, OLD]


def test_a_sentinel_that_names_a_dead_master_is_asked_last(sentinels: Sentinels) -> None:
    """One that has not heard of a failover, and never will, costs one attempt."""
    sentinels.dead.add(OLD)
    sentinels.say |= {"b": (NEW, 2), "c": (NEW, 2)}
    with pytest.raises(ConnectionError):
        sentinels.finder.dial_master()
    sentinels.finder.dial_master().close()
    assert sentinels.dialed == [OLD, NEW]


def test_one_that_knows_no_such_service_is_passed_over(sentinels: Sentinels) -> None:
    """Another may know it; if none does, that is said."""
    sentinels.say["a"] = None
    sentinels.finder.dial_master().close()
    assert sentinels.dialed == [OLD]
    sentinels.say = dict.fromkeys("abc")
    with pytest.raises(ConnectionError, match="no service of that name"):
        sentinels.finder.dial_master()


def test_without_epochs_the_first_is_believed(sentinels: Sentinels) -> None:
    """Where sentinels may not tell the epoch (by ACL), a switch is followed as the first of them names it."""
    sentinels.say = dict.fromkeys("abc", (OLD, None))
    sentinels.finder.dial_master().close()
    sentinels.say = dict.fromkeys("abc", (NEW, None))
    sentinels.finder.dial_master().close()
    assert sentinels.dialed == [OLD, NEW]


def test_a_late_answer_takes_nothing_back(sentinels: Sentinels, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer of before a failover that is taken in after it does not bring the old master back."""
    ask = sentinels._ask

    def slow(*words: str) -> Iterator[Any]:
        answers = list(ask(*words))
        monkeypatch.setattr(sentinels.finder, "_ask", ask)
        sentinels.say = dict.fromkeys("abc", (NEW, 2))
        sentinels.finder._look()  # another thread's, meanwhile
        yield from answers

    monkeypatch.setattr(sentinels.finder, "_ask", slow)
    with pytest.raises(ConnectionError, match="another one by now"):
        sentinels.finder.dial_master()
    assert sentinels.finder._master == NEW
