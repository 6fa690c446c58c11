"""Which node of a cluster holds which key: slots, the table of their owners, and the redirections that correct it.

A key's slot is CRC16 of its first non-empty ``{…}``, or of all of it, modulo 16,384 (Redis cluster specification,
"Key distribution model" and "Hash tags"); redis-py computes it. No I/O here.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from redis.crc import key_slot

from memocache.backends.base import ProtocolError, ReplyError

SLOTS = 16384
_EPOCH = re.compile(rb"cluster_current_epoch:([0-9]{1,20})")

Address = tuple[str, int]


def slot_of(key: str) -> int:
    """Return the slot of a key."""
    return key_slot(key.encode())


class SlotTable(NamedTuple):
    """One view of a cluster: `owners` by slot (None: nobody's), every primary once, every replica, and the cluster's
    `epoch`, which grows with every change of primaries.
    """

    owners: tuple[Address | None, ...]
    primaries: tuple[Address, ...]
    replicas: frozenset[Address]
    epoch: int = 0

    def moved(self, slot: int, owner: Address) -> SlotTable:
        """Return the table with one slot moved."""
        primaries = self.primaries if owner in self.primaries else (*self.primaries, owner)
        owners = (*self.owners[:slot], owner, *self.owners[slot + 1 :])
        return SlotTable(owners, primaries, self.replicas - {owner}, self.epoch)


class Redirect(NamedTuple):
    """Where a node says that a slot is: for good (``MOVED``) or for this one command (``ASK``)."""

    slot: int
    owner: Address
    for_good: bool


def parse_slots(reply: Any, info: Any, asked: Address) -> SlotTable:
    """Return the table in the replies to ``CLUSTER SLOTS`` and ``CLUSTER INFO``; a node that does not name its host is
    where we asked.

    Raises `ReplyError` or `ProtocolError` for anything else, also for a table without a single slot.
    """
    if isinstance(reply, ReplyError):
        raise reply
    owners: list[Address | None] = [None] * SLOTS
    primaries: dict[Address, None] = {}
    replicas: set[Address] = set()
    try:
        for start, end, primary, *others in reply:
            owner = _address(primary, asked[0])
            primaries[owner] = None
            owners[start : end + 1] = [owner] * (end + 1 - start)
            replicas.update(_address(other, asked[0]) for other in others)
    except (TypeError, ValueError, IndexError):
        raise ProtocolError("a reply that is no table of slots") from None
    if not primaries or len(owners) != SLOTS:
        raise ProtocolError("a table without slots")
    epoch = _EPOCH.search(info) if type(info) is bytes else None
    return SlotTable(
        tuple(owners), tuple(primaries), frozenset(replicas - set(primaries)), int(epoch[1]) if epoch else 0
    )


def parse_primaries(reply: Any, asked: Address) -> frozenset[Address]:
    """Return who holds slots by a reply to ``CLUSTER SLOTS``; raises `ProtocolError` if nobody does."""
    try:
        primaries = frozenset(_address(row[2], asked[0]) for row in reply)
    except (TypeError, ValueError, IndexError):
        raise ProtocolError("a reply that is no table of slots") from None
    if not primaries:
        raise ProtocolError("a table without slots")
    return primaries


def parse_redirect(error: BaseException | None, asked: Address) -> Redirect | None:
    """Return what an error reply of the node `asked` says about a slot, or None if it is about something else."""
    if not isinstance(error, ReplyError) or error.code not in ("MOVED", "ASK"):
        return None
    try:
        _, slot, place = error.text.split(" ")[:3]
        host, _, port = place.rpartition(":")
        owner = (host.strip("[]") or asked[0], int(port))
        return Redirect(int(slot), owner, error.code == "MOVED") if 0 <= int(slot) < SLOTS else None
    except ValueError:
        return None


def _address(node: Any, default: str) -> Address:
    host, port = node[:2]
    text = host.decode() if isinstance(host, bytes) else ""
    if not isinstance(port, int) or not 0 < port < 65536:
        raise ValueError
    return (text if text not in ("", "?") else default), port
