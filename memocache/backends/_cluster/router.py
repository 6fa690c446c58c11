"""Work on slots, carried to the nodes of a cluster that hold them: the table of slots, redirections, doubtful nodes.

An operation on a cluster is a plan of `memocache.backends._cluster.node_plans`.

1. A piece of work lives in one slot; the pieces of an operation are carried out `at_once`.
2. What a node refused to do (``MOVED``, ``ASK``, ``TRYAGAIN``) and what never reached one is done again where it
   belongs, within the call's deadline. What may have been done is not, unless it only reads.
3. Each node has a breaker of its own: one that fails is left alone, and the others' hits go on. What its failure
   raises is `NodeFailure`, which says nothing about the cluster as a whole.
4. The table is corrected by ``MOVED`` at once and fetched anew, in the background, after anything doubtful.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from memocache._runtime.randomness import random
from memocache.backends._cluster.client_tracking import ClusterTracking
from memocache.backends._cluster.node import DOUBTFUL, Node, may_repeat, translated, word_for
from memocache.backends._cluster.node_plans import Job, Plan
from memocache.backends._cluster.slots import Address, Redirect, SlotTable, parse_redirect, parse_slots
from memocache.backends._redis.combinators import asking
from memocache.backends._redis.connect import Dial, dialer
from memocache.backends._redis.resp import Ask, Op, command_bytes
from memocache.backends._settings import RedisSettings
from memocache.backends.base import Busy, NodeFailure, ReplyError
from memocache.typing import Watcher

T = TypeVar("T")

_ATTEMPTS = 8  # rounds of one call: a redirection costs one each, and nobody is sent in circles for ever
_POLL = 0.002  # seconds between looks at whether a fresh table has come
_SHARE = 0.5  # of a call's time, that it waits for a fresh table when it found a node gone
_AGAIN = (0.004, 0.008, 0.016)  # seconds before what could not be done in a slot on the move is tried again
_ASK_FOR = 0.4  # seconds a question of the background may take
_EVERY = 0.1  # seconds between two fresh tables while something is doubtful
_APART = 0.02  # seconds between two fresh tables at least
_WANTED = 30.0  # seconds without a caller after which the background rests


class Router:
    """The nodes of one cluster and the table of who holds what; `seeds` are where to ask for it first."""

    def __init__(self, seeds: Sequence[Address], settings: RedisSettings) -> None:
        self._seeds = seeds
        self._settings = settings
        self._nodes: dict[Address, Node] = {}
        self._lock = threading.RLock()
        self._unknown = False
        self._why = "Unknown"
        self._thread: threading.Thread | None = None
        self._wanted = 0
        self._wanted_at = 0.0
        self._done = 0
        self._trackings: weakref.WeakSet[ClusterTracking] = weakref.WeakSet()
        self.table: SlotTable | None = None
        _routers.add(self)

    # -- who holds what

    def node_at(self, address: Address) -> Node:
        """The node at an address."""
        node = self._nodes.get(address)
        if node is None:
            with self._lock:
                node = self._nodes.get(address)
                if node is None:
                    node = self._nodes[address] = Node(address, self._settings)
        return node

    def known(self) -> Plan[SlotTable]:
        """The table, fetched if there is none yet; one caller waits for that in vain, and the next ones not at all."""
        if self.table is None:
            if self._unknown:
                self.want()
            else:
                yield from self._await_fresh()
            if self.table is None:
                self._unknown = True
                raise NodeFailure("no node of the cluster tells who holds what", self._why)
        return self.table

    def primaries(self) -> Plan[list[Node]]:
        """Every node that holds slots, by a fresh table."""
        yield from self._await_fresh()
        table = yield from self.known()
        return [self.node_at(address) for address in table.primaries]

    def _await_fresh(self, share: float = 1.0) -> Plan[None]:
        """Wait until a table has come that is asked for now, for a `share` of the time left."""
        ticket = self.want()
        left: float | None = None
        while self._done < ticket:
            now_left: float = yield _POLL
            left = now_left if left is None else left
            if now_left <= left * (1 - share):
                return

    # -- work

    def at(self, node: Node, op: Op[T]) -> Plan[T]:
        """The result of an operation at one node, whatever it holds."""
        if node.breaker.open:
            self.want()
            raise NodeFailure("the node is being left alone", "Open")
        (outcome,) = yield [Job(node, op)]
        if isinstance(outcome, Exception):
            node.weigh(outcome)
            self._doubt(outcome)
            raise translated(outcome)
        node.weigh(None)
        return outcome  # type: ignore[no-any-return]  # jobs have results of any type

    def work(
        self,
        slot: int,
        make: Callable[[], Op[T]],
        *,
        harmless: bool = False,
        patient: bool = True,
        weighed: bool = True,
    ) -> Plan[T]:
        """The result of an operation within one slot; `make` makes it, as often as it must be tried.

        A `harmless` one only reads. One that is not `patient` has another way than to wait if its keys are being moved.
        The failure of one that is not `weighed` leaves the node's breaker as it is.
        """
        yield from self.known()
        pauses = iter(_AGAIN if patient else ())
        asked: Address | None = None
        waited = False
        for _ in range(_ATTEMPTS):
            node = self.holder(slot) if asked is None else self.node_at(asked)
            if node is None or node.breaker.open:
                self.want()
                raise NodeFailure("the node is being left alone", "Open")
            (outcome,) = yield [Job(node, make() if asked is None else asking(make()))]
            if not isinstance(outcome, Exception):
                node.weigh(None)
                return outcome  # type: ignore[no-any-return]  # jobs have results of any type
            redirect = parse_redirect(outcome, node.address)
            if redirect is not None:
                for tracking in list(self._trackings):
                    tracking.met(redirect.owner)
                asked = None if redirect.for_good else redirect.owner
                if redirect.for_good:
                    self._moved(redirect)
                continue
            if weighed:
                node.weigh(outcome)
            asked = None
            if isinstance(outcome, ReplyError) and outcome.code == "TRYAGAIN":
                pause = next(pauses, None)
                if pause is None or not (yield pause):
                    raise translated(outcome)
                continue
            self._doubt(outcome)
            if waited or not may_repeat(outcome, harmless):
                raise translated(outcome)
            waited = True
            yield from self._await_fresh(_SHARE)
            holder = self.holder(slot)
            if holder is not None and holder.address == node.address:
                raise translated(outcome)
        raise NodeFailure("sent from node to node in vain", "Redirected")

    def holder(self, slot: int) -> Node | None:
        """The node that is believed to hold a slot."""
        owner = None if self.table is None else self.table.owners[slot]
        return None if owner is None else self.node_at(owner)

    def left_alone(self) -> dict[str, bool]:
        """Whether each primary of the table, by its address, is left alone."""
        table = self.table
        addresses = () if table is None else table.primaries
        return {f"{host}:{port}": self.node_at((host, port)).breaker.open for host, port in addresses}

    def _moved(self, redirect: Redirect) -> None:
        with self._lock:
            if self.table is not None and self.table.owners[redirect.slot] != redirect.owner:
                self.table = self.table.moved(redirect.slot, redirect.owner)
        self.want()

    def _doubt(self, failure: Exception) -> None:
        code = failure.code if isinstance(failure, ReplyError) else None
        if code in DOUBTFUL or (code is None and not isinstance(failure, Busy)):
            self.want()

    # -- in the background

    def want(self) -> int:
        """Have a fresh table fetched in the background; it has come once `_done` reaches the number returned."""
        with self._lock:
            self._wanted += 1
            self._wanted_at = time.monotonic()
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._look_after, name="memocache-cluster", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # at exit, or no thread to be had; a later call tries again
                    self._thread = None
            return self._wanted

    def _look_after(self) -> None:
        try:
            self._look_after_nodes()
        finally:  # whatever it ended with, the next one who wants it starts it anew
            with self._lock:
                if self._thread is threading.current_thread():
                    self._thread = None

    def _look_after_nodes(self) -> None:
        """Fetch tables until nobody wants one and no node is left alone."""
        fetched_at = float("-inf")
        while True:
            time.sleep(max(0.0, fetched_at + _APART - time.monotonic()))
            fetched_at = time.monotonic()
            ticket = self._wanted
            table = self._fetch()
            if table is not None:
                with self._lock:
                    self.table, self._unknown = table, False
                self._tidy(table)
            self._done = ticket
            self._probe()
            with self._lock:
                doubtful = table is None or any(node.breaker.open for node in self._nodes.values())
                if doubtful and time.monotonic() - self._wanted_at > _WANTED:
                    doubtful = False
                    self._wanted = ticket
                if not doubtful and self._wanted == ticket:
                    self._thread = None
                    return
            if doubtful:
                time.sleep(_EVERY * random.uniform(0.5, 1.0))

    def _fetch(self) -> SlotTable | None:
        """A table from the first node, of those that are well first, that gives one not older than ours.

        A primary that was held up while another took its place believes for a moment that nothing has happened: it is
        the only one of its opinion, and its epoch is an old one. If there are only old ones (the cluster was made
        anew), the newest of them.
        """
        ours = self.table
        addresses = list(ours.primaries if ours is not None else ())
        random.shuffle(addresses)
        addresses = list(dict.fromkeys([*addresses, *self._seeds, *sorted(ours.replicas if ours is not None else ())]))
        addresses.sort(key=self._is_doubtful)
        old: list[SlotTable] = []
        for address in addresses:
            node = self.node_at(address)
            try:
                table = node.pool.run(_slots(address), _ASK_FOR)
            except Exception as failure:  # whatever it is, the next one may answer; only what callers meet is weighed
                self._why = word_for(failure)
                continue
            if ours is None or table.epoch >= ours.epoch:
                return table
            old.append(table)
        return max(old, key=lambda table: table.epoch, default=None)

    def _is_doubtful(self, address: Address) -> bool:
        node = self._nodes.get(address)
        return node is not None and node.breaker.open

    def _probe(self) -> None:
        """Have the breakers of nodes that are well again closed, each found out in a thread of its own: of a hundred
        nodes thirty may be silent, and neither the next table nor the next node waits for them.
        """
        for node in list(self._nodes.values()):
            if node.breaker.open:
                node.probe(_well, _ASK_FOR)

    def _tidy(self, table: SlotTable) -> None:
        """Let go of nodes that hold nothing (but not of one that only begins to get its first slots)."""
        with self._lock:
            gone = [
                self._nodes.pop(address)
                for address, node in list(self._nodes.items())
                if address not in table.primaries
                and (address in table.replicas or address in self._seeds or node.breaker.open)
            ]
        for node in gone:
            node.close()

    # -- who is told

    def watch(self, starts: Sequence[str], watcher: Watcher) -> Callable[[], None]:
        """See `memocache.backends.redis.RedisBackend.watch`; raises what a `ClientTracking` raises."""

        def dial(address: Address) -> Dial:
            return dialer(replace(self._settings, host=address[0], port=address[1]))

        def reading() -> Iterable[Address]:
            return () if self.table is None else self.table.primaries

        tracking = ClusterTracking(dial, self._seeds, starts, watcher, reading=reading, mend=self.want)
        self._trackings.add(tracking)
        return tracking.stop

    # -- life

    def rest(self) -> None:
        """Let the background end; the next call wakes it."""
        self._wanted_at = float("-inf")

    def nodes(self) -> list[Node]:
        """Every node that has been spoken to."""
        return list(self._nodes.values())

    def after_fork(self) -> None:
        """Forget the parent's threads."""
        self._lock = threading.RLock()
        self._trackings = weakref.WeakSet()
        self._thread = None
        for node in self.nodes():
            node.after_fork()


def _slots(asked: Address) -> Op[SlotTable]:
    slots, info = yield Ask(command_bytes("CLUSTER", "SLOTS") + command_bytes("CLUSTER", "INFO"), 2, harmless=True)
    return parse_slots(slots, info, asked)


def _well() -> Op[None]:
    """Ends quietly if the node finds the cluster able to serve."""
    (reply,) = yield Ask(command_bytes("CLUSTER", "INFO"), 1, harmless=True)
    if type(reply) is not bytes or b"cluster_state:ok" not in reply:
        raise reply if isinstance(reply, ReplyError) else ReplyError("CLUSTERDOWN")


_routers: weakref.WeakSet[Router] = weakref.WeakSet()


def _after_fork() -> None:
    for router in list(_routers):
        router.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
