"""What a checkup of a cluster says, of what its nodes say."""

from __future__ import annotations

from memocache.backends._checkup import slots, worst
from memocache.typing import Finding


def test_the_worst_node_speaks_for_all() -> None:
    """Each thing is told once: as the node says it that is worst off, by name, unless they all say the same."""
    fine, full = Finding("ok", "memory", "1 byte", ""), Finding("warn", "memory", "full", "make room")
    role = Finding("ok", "role", "primary", "")
    assert worst({"a:1": [role, fine], "b:2": [role, full], "c:3": [role, full]}) == [
        role,
        Finding("warn", "memory", "full at b:2", "make room"),
    ]
    assert worst({}) == []


def test_slots() -> None:
    """A slot that no node holds is a failure, with how many there are."""
    assert slots(3, 0) == Finding("ok", "slots", "all held, by 3 primaries", "")
    assert slots(2, 5461)[:3] == ("fail", "slots", "5461 are held by no node")
