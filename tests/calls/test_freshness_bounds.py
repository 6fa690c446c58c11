"""Policy at the edges: defaults and bounds of the rules of freshness, the breaker, the queues, and marks."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from memocache._calls.freshness import Verdict, early_margin, judge
from memocache._calls.parse_duration import seconds
from memocache._runtime import circuit_breaker as _breaker
from memocache._runtime.circuit_breaker import Breaker
from memocache._runtime.generations import Mark, Marks
from memocache._stores.s3fifo import MAIN, OUT, S3Fifo
from tests.stores.test_s3fifo import Resident


def test_an_early_refresh_must_be_asked_for() -> None:
    """Left out, `early`, `cost` and `draw` each keep an entry fresh to its end."""
    assert judge(99.9, 100.0, 100.0, cost=1e9, draw=1e-9) is Verdict.FRESH
    assert judge(99.9, 100.0, 100.0, early=1e9, draw=1e-9) is Verdict.FRESH
    assert judge(99.9, 100.0, 100.0, early=1.0, cost=1e9) is Verdict.FRESH
    assert early_margin(1.0, 1.0) == math.log(1e9)


def test_the_longest_duration_is_one() -> None:
    """`timedelta.max` is in range as a timedelta and as a number; the next float is not."""
    longest = timedelta.max.total_seconds()
    assert seconds(timedelta.max) == seconds(longest) == longest
    with pytest.raises(ValueError, match="ttl"):
        seconds(math.nextafter(longest, math.inf))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x" * 40, "ttl: '" + "x" * 40 + "' is"),
        ("x" * 41, "ttl: this str is"),
        (-1, "ttl: -1 is"),
        (-(10**40), f"ttl: -{10**40} is"),
        (-(10**40) - 1, "ttl: this int is"),
        (10**40, f"ttl: {10**40} is"),
        (10**40 + 1, "ttl: this int is"),
    ],
    ids=range(7),
)
def test_a_culprit_is_shown_while_it_is_short(value: Any, shown: str) -> None:
    """Texts up to 40 characters and ints up to 10⁴⁰ are repeated, longer ones named by their class."""
    with pytest.raises(ValueError, match="^" + shown) as caught:
        seconds(value)
    assert str(caught.value).endswith(
        "; give more than 0 seconds as int or float, a timedelta, or a text such as "
        '"500ms", "90s", "5m", "1h30m", "7d", "2w"'
    )


def test_a_timeout_opens_at_once_and_other_failures_by_their_rate() -> None:
    """One timeout is enough; of other failures it takes five, and half of the calls of the last ten seconds."""
    assert Breaker().failed(0.0, timeout=True)
    few = Breaker()
    assert [few.failed(0.0, timeout=False) for _ in range(6)] == [False, False, False, False, True, False]
    assert few.open
    old = Breaker()
    for _ in range(4):
        assert not old.failed(0.0, timeout=False)
    assert not old.failed(10.001, timeout=False)
    edge = Breaker()
    for _ in range(4):
        assert not edge.failed(0.0, timeout=False)
    assert edge.failed(10.0, timeout=False)


@pytest.mark.parametrize(("answered", "opens"), [(4, True), (5, True), (6, False)])
def test_half_of_the_calls_must_fail(answered: int, opens: bool) -> None:
    """Five failures open it among ten calls, not among eleven."""
    breaker = Breaker()
    assert not breaker.failed(0.0, timeout=False)
    for _ in range(answered):
        breaker.succeeded(0.0)
    assert [breaker.failed(0.0, timeout=False) for _ in range(4)] == [False, False, False, opens]
    assert breaker.open is opens


def test_only_the_last_twenty_calls_count() -> None:
    """Success is forgotten as failure is: twenty answers push five failures out."""
    breaker = Breaker()
    for _ in range(4):
        breaker.failed(0.0, timeout=False)
    for _ in range(17):
        breaker.succeeded(0.0)
    assert breaker.outcomes.maxlen == 20
    for _ in range(9):
        breaker.failed(0.0, timeout=False)
    assert not breaker.open, "nine of twenty"
    breaker.failed(0.0, timeout=False)
    assert breaker.open, "ten of twenty"


def test_answers_weigh_nothing_while_nothing_fails() -> None:
    """Before the first failure no answer is kept, and after a probe nothing is."""
    breaker = Breaker()
    breaker.succeeded(0.0)
    assert not breaker.outcomes
    breaker.failed(0.0, timeout=True)
    breaker.succeeded(0.0)
    assert len(breaker.outcomes) == 2
    breaker.closed()
    assert (breaker.open, len(breaker.outcomes)) == (False, 0)


def test_probes_are_spread_and_callers_stall_at_most_once_a_second() -> None:
    """The pause is jittered by a quarter either way; after a timeout the next probe waits its second out."""
    breaker = Breaker()
    assert breaker.probe_in(0.0, 0.0) == pytest.approx(0.75 * _breaker.PROBE_AFTER) == pytest.approx(0.3)
    assert breaker.probe_in(0.0, 1.0) == pytest.approx(1.25 * _breaker.PROBE_AFTER) == pytest.approx(0.5)
    breaker.failed(100.0, timeout=True)
    assert breaker.probe_in(100.25, 0.0) == pytest.approx(0.75)
    assert breaker.probe_in(100.9, 0.0) == pytest.approx(0.3)


def test_an_unbounded_space_evicts_nothing() -> None:
    """Without a capacity every entry stays, and is of the main queue."""
    queues = S3Fifo[Resident](None)
    entries = [Resident(number) for number in range(100)]
    assert [queues.add(entry, seen=3) for entry in entries] == [[]] * 100
    assert {entry.rank for entry in entries} == {MAIN | 3 << 4}
    queues.remove(entries[0])
    assert len(queues) == 99


def test_what_left_is_forgotten_once() -> None:
    """An entry that is removed twice leaves once, keeps its hits' mark, and does not count as evicted."""
    queues = S3Fifo[Resident](2)
    entry = Resident(1)
    queues.add(entry, seen=2)
    queues.remove(entry)
    assert entry.rank == OUT | 2 << 4
    queues.remove(entry)
    assert len(queues) == 0


def test_queues_do_not_grow_by_what_left() -> None:
    """Entries that come and go one by one leave queues of bounded length behind."""
    queues = S3Fifo[Resident](10)
    stays = Resident(-1)
    queues.add(stays)
    for number in range(1000):
        entry = Resident(number)
        queues.add(entry)
        queues.remove(entry)
        assert len(queues._small) + len(queues._main) <= 2 * (len(queues) + 1) + 64
    assert stays in queues._small


def test_the_main_queue_is_cleaned_like_the_small_one() -> None:
    """Entries known from before go to the main queue, and those of them that left go from there too."""
    queues = S3Fifo[Resident](1)
    for number in range(200):
        queues._ghost[number] = None
        entry = Resident(number)
        queues.add(entry)
        assert entry.rank == MAIN
        queues.remove(entry)
    assert len(queues._main) <= 2 + 64


def test_what_left_is_passed_over() -> None:
    """A removed entry is never evicted from the main queue, whose next one is."""
    queues = S3Fifo[Resident](2)
    first, second, third = Resident(1), Resident(2), Resident(3)
    for entry in (first, second):
        queues._ghost[entry.key] = None
        queues.add(entry)
    queues.remove(first)
    queues._ghost[3] = None
    assert queues.add(third) == []
    queues._ghost[4] = None
    assert queues.add(Resident(4)) == [second]


def test_a_cleared_space_remembers_nothing() -> None:
    """After `clear` there is room again, and no ghost of what was evicted before."""
    queues = S3Fifo[Resident](1)
    queues.add(Resident(1))
    assert [gone.key for gone in queues.add(Resident(2))] == [1]
    queues.clear()
    assert len(queues) == 0
    again = Resident(1)
    assert queues.add(again) == []
    assert again.rank != MAIN


def test_a_mark_is_alive_until_what_it_stands_for_is_invalidated() -> None:
    """Killing a tag, a function or the prefix kills its mark and no other, and whoever asks next gets a new one."""
    marks = Marks()
    prefix, function, tag, other = marks.of("f", ("t", "u"))
    assert marks.of("f") == (prefix, function)
    marks.kill_tag("t")
    assert [mark.alive for mark in (prefix, function, tag, other)] == [True, True, False, True]
    marks.kill_function("f")
    assert [mark.alive for mark in (prefix, function, other)] == [True, False, True]
    marks.kill_prefix()
    assert [mark.alive for mark in (prefix, other)] == [False, True]
    assert all(mark.alive for mark in marks.of("f", ("t", "u")))


def test_killing_what_nobody_holds_is_no_error() -> None:
    """Only a tag's kill moves the epoch, whether or not anybody holds its mark."""
    marks = Marks()
    marks.kill_tag("t")
    assert marks.epoch == 1
    marks.kill_function("f")
    assert marks.kill_alone("t") is None
    assert marks.epoch == 1


def test_a_mark_of_ones_own_stands_for_a_tag_while_it_is_held() -> None:
    """`add` names a mark, `find` finds it, `kill_alone` gives it back dead without moving the epoch."""
    marks = Marks()
    mark = Mark()
    assert marks.find("t") is None
    marks.add("t", mark)
    assert marks.find("t") is mark
    assert marks.of("f", ("t",))[2] is mark
    assert marks.kill_alone("t") is mark
    assert (mark.alive, marks.epoch, marks.find("t")) == (False, 0, None)
