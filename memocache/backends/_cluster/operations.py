"""The operations of `memocache.typing.Backend` on a cluster: each a plan made of pieces within one slot.

`ClusterCommands` stands where a single server has `Commands`. It says what goes to which slot; `router` finds the node
of a slot, and the drivers in `memocache.backends.cluster` carry the plan out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple, TypeAlias

from memocache.backends._cluster.node_plans import Plan, at_once
from memocache.backends._cluster.router import Router
from memocache.backends._cluster.slots import Address, slot_of
from memocache.backends._redis.commands import Commands, Transaction
from memocache.backends.base import NodeFailure
from memocache.typing import BackendFacts, Tally

Call: TypeAlias = tuple[str, tuple[Any, ...], dict[str, Any]]
"""An operation's name, its arguments and its keywords."""


class _Scan(NamedTuple):
    """Where a scan is: nodes to be looked at still, the cursor at the first, who held which slot at first."""

    nodes: tuple[Address, ...]
    at: int | None
    owners: tuple[Address | None, ...]


class ClusterCommands:
    """As `memocache.backends._redis.commands.Commands`, for a cluster."""

    def __init__(self, router: Router, wait: tuple[int, int] | None) -> None:
        self._router = router
        self._say = Commands(sharded=True, wait=wait)
        self._wait = wait

    def read(self, keys: Sequence[str]) -> Plan[list[bytes | None]]:
        """One MGET a slot."""
        slots = _by_slot(keys)
        if len(slots) == 1:
            return (yield from self._read(next(iter(slots)), keys))
        found = yield from at_once([self._read(slot, those) for slot, those in slots.items()])
        values = {
            key: value
            for those, some in zip(slots.values(), found, strict=True)
            for key, value in zip(those, some, strict=True)
        }
        return [values[key] for key in keys]

    def _read(self, slot: int, keys: Sequence[str]) -> Plan[list[bytes | None]]:
        work, say = self._router.work, self._say.read
        try:
            return (yield from work(slot, partial(say, keys), harmless=True, patient=False))
        except NodeFailure as failure:
            if failure.code != "TRYAGAIN":
                raise
        # The slot is being moved and some keys are there already: each by itself has a place. That they are not read in
        # one instant does no harm: every answer is of after the call began, and an entry must match its markers.
        singles = [work(slot, partial(say, [key]), harmless=True) for key in keys]
        return [value for (value,) in (yield from at_once(singles))]

    def transact(self, asked: Transaction) -> Plan[list[bytes | None] | None]:
        """One script at the node that holds the slot of all the keys."""
        key = next(asked.keys(), asked.publish or "")
        return (yield from self._router.work(slot_of(key), partial(self._say.transact, asked)))

    def delete(self, keys: Sequence[str]) -> Plan[int]:
        """One UNLINK a slot; one WAIT a node, where that is asked for."""
        plans = [self._delete(slot, some) for slot, some in _by_slot(keys).items()]
        return sum((yield from at_once(plans) if self._wait is None else at_once(plans, self._say.confirmed)))

    def _delete(self, slot: int, keys: Sequence[str]) -> Plan[int]:
        work, say = self._router.work, self._say.unconfirmed_delete
        try:
            return (yield from work(slot, partial(say, keys), patient=False))
        except NodeFailure as failure:
            if failure.code != "TRYAGAIN":
                raise
        # As `_read`, but from the last to the first: callers name an entry before its witness, and were the entry gone
        # first a computation under way could still store it anew.
        total = 0
        for key in reversed(keys):
            total += yield from work(slot, partial(say, [key]))
        return total

    def scan(self, prefix: str, cursor: Any = None) -> Plan[tuple[Any, list[str]]]:
        """One step of SCAN at one node after the other; at the end, those that slots have come to meanwhile again."""
        router = self._router
        if cursor is None:
            start, end = prefix.find("{"), prefix.find("}")
            if -1 < start < end - 1:  # all such keys are in one slot
                table = yield from router.known()
                owner = table.owners[slot_of(prefix)]
                nodes = table.primaries if owner is None else (owner,)
            else:
                nodes = tuple(node.address for node in (yield from router.primaries()))
                table = yield from router.known()
            cursor = _Scan(nodes, None, table.owners)
        at, keys = yield from router.at(router.node_at(cursor.nodes[0]), self._say.scan(prefix, cursor.at))
        if at is not None:
            return cursor._replace(at=at), keys
        nodes, owners = cursor.nodes[1:], cursor.owners
        if not nodes:
            yield from router.primaries()
            table = yield from router.known()
            pairs = set(zip(owners, table.owners, strict=True))
            nodes = tuple(sorted({new for old, new in pairs if old != new and new is not None}))
            owners = table.owners
        return (_Scan(nodes, None, owners) if nodes else None), keys

    def ping(self) -> Plan[None]:
        """PING every primary."""
        nodes = yield from self._router.primaries()
        yield from at_once([self._router.at(node, self._say.ping()) for node in nodes])

    def members(self, key: str) -> Plan[set[str]]:
        """SMEMBERS."""
        return (yield from self._router.work(slot_of(key), partial(self._say.members, key), harmless=True))

    def prolong(self, lives: Sequence[tuple[str, int]]) -> Plan[None]:
        """A round trip for the keys of each slot, at the same time."""
        ttls = dict(lives)
        work, say = partial(self._router.work, weighed=False), self._say.prolong
        slots = _by_slot(list(ttls)).items()
        yield from at_once([work(slot, partial(say, [(key, ttls[key]) for key in keys])) for slot, keys in slots])

    def tally(self, tallies: Sequence[Tally]) -> Plan[None]:
        """Each step that must be taken once, and each other tally, by itself."""
        steps: list[list[Tally]] = []
        for once, some in groupby(tallies, lambda one: one.once):
            step = list(some)
            steps += [[one] for one in step] if once is None else [step]
        work = partial(self._router.work, weighed=False)
        yield from at_once([work(slot_of(step[0].key), partial(self._say.tally, step)) for step in steps])

    def counts(self, keys: Sequence[str]) -> Plan[list[dict[str, int]]]:
        """HGETALL each."""
        work = self._router.work
        plans = [work(slot_of(key), partial(self._say.counts, [key]), harmless=True) for key in keys]
        return [counts for (counts,) in (yield from at_once(plans))]

    def facts(self) -> Plan[BackendFacts]:
        """INFO of every primary: memory, expiries and evictions added up."""
        nodes = yield from self._router.primaries()
        facts = yield from at_once([self._router.at(node, self._say.facts()) for node in nodes])
        sums = (
            None if None in figures else sum(figures)
            for figures in zip(*((one.memory_bytes, one.expired, one.evicted) for one in facts), strict=True)
        )
        return BackendFacts(facts[0].name, facts[0].version, *sums)

    def checkup(self) -> Plan[tuple[dict[str, Any], int]]:
        """What `Commands.checkup` asks, of every primary, by its address; and how many slots no node holds."""
        nodes = yield from self._router.primaries()
        table = yield from self._router.known()
        answers = yield from at_once([self._router.at(node, self._say.checkup()) for node in nodes])
        named = {f"{address[0]}:{address[1]}": answer for address, answer in zip(table.primaries, answers, strict=True)}
        return named, table.owners.count(None)

    def together(self, calls: Sequence[Call]) -> Plan[list[Any]]:
        """Several operations at the same time."""
        return (yield from at_once([self._called(*call) for call in calls]))

    def _called(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Plan[Any]:
        if name == "transact":
            return self.transact(Transaction(*args, **kwargs))
        plan: Plan[Any] = getattr(self, name)(*args, **kwargs)
        return plan


def _by_slot(keys: Sequence[str]) -> dict[int, list[str]]:
    slots: dict[int, list[str]] = {}
    for key in keys:
        slots.setdefault(slot_of(key), []).append(key)
    return slots
