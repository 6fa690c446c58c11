"""What a checkup of a cluster says, of what its nodes say."""

from __future__ import annotations

from types import SimpleNamespace

from memocache.backends._redis.server_checks import findings, slots, worst
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


def test_amounts_are_for_people() -> None:
    """Bytes have units, thousands a comma, and one is not many."""
    info = {"role": "master", "connected_slaves": "1", "connected_clients": "1", "maxclients": "10000"}
    info |= {
        "maxmemory": "2147483648",
        "maxmemory_policy": "allkeys-lru",
        "used_memory": "1048576",
        "evicted_keys": "1",
    }
    settings = SimpleNamespace(tls=False, path=None, host="localhost")
    found = {one.what: one.found for one in findings(info, None, "app", None, settings)}
    assert found["role"] == "primary with 1 replica"
    assert found["clients"] == "1 connected of 10,000"
    assert found["memory"] == "1.0 MiB of 2.0 GiB used, allkeys-lru, 1 key evicted"
