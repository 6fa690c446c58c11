"""A `Watcher` of a whole cluster: a `ClientTracking` at every primary, whose words count together.

A copy may be believed only while it is known who all the primaries are and each of them was heard of. So a tracker's
question is ``CLUSTER SLOTS``, and an answer tells both: every change before the question, and whom that node takes for
primaries. What is heard of the cluster is the earliest of what was heard of its primaries, and nothing as long as these
do not agree on who they are: a primary that was replaced while it hung is the only one of its opinion, and a new one is
named by all others as soon as it may take writes. With every change of who they are every copy is forgotten.

Nor is anything believed while the table by which keys are read names others, or the moment that a redirection leads to
a node that is not heard: what was read there would be changed there, and nobody would tell. A key that moves between
two primaries that are heard needs no care: each tells of the changes that it makes.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import Any

from memocache.backends._cluster.slots import Address, parse_primaries
from memocache.backends._redis.client_tracking import ClientTracking
from memocache.backends._redis.connect import Dial
from memocache.typing import Watcher


class ClusterTracking:
    """Tells `watcher` of a cluster until it is stopped or the watcher is gone.

    `dial` makes the dial of an address, `seeds` are whom to ask who the primaries are, `reading` says whom the table
    names by which keys are read, and `mend` has that one fetched anew. Raises what a `ClientTracking` raises.
    """

    def __init__(
        self,
        dial: Callable[[Address], Dial],
        seeds: Iterable[Address],
        starts: Sequence[str],
        watcher: Watcher,
        *,
        reading: Callable[[], Iterable[Address]],
        mend: Callable[[], object],
    ) -> None:
        self._dial = dial
        self._seeds = tuple(seeds)
        self._starts = starts
        self._watcher = weakref.ref(watcher, lambda _: self.stop())
        self._reading = reading
        self._mend = mend
        self._lock = threading.RLock()
        self._parts: dict[Address, NodeTracking] = {}
        self._agreed: frozenset[Address] | None = None
        self._stopped = False
        try:
            # nobody waits here: whom this thread starts waits for it
            with self._lock:
                self._begin(self._seeds)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every tracker soon, without waiting for any lock."""
        self._stopped = True
        for part in list(self._parts.values()):
            part.stop()

    def met(self, address: Address) -> None:
        """Somebody is about to be asked for keys there: unless it is heard, believe nothing until it is."""
        with self._lock:
            if self._stopped or address in (self._agreed or ()):
                return
            part = self._parts.get(address)
            if part is None or not part.met:
                self._try_to_begin([address])
                if not self._stopped:
                    self._parts[address].met = True
                    self._weigh(forget=True)

    # -- what the trackers say

    def changed(self, keys: Iterable[str] | None) -> None:
        """Some primary says so."""
        watcher = self._watcher()
        if watcher is not None and not self._stopped:
            watcher.changed(keys)

    def refuse(self) -> None:
        """Nobody will tell: what one node does not tell, no other does."""
        with self._lock:
            watcher, done = self._watcher(), self._stopped
            self.stop()
            if watcher is not None and not done:
                watcher.refused()

    def answered(self, part: NodeTracking, since: float, view: frozenset[Address] | None) -> None:
        """A part's question of `since` was answered; minus infinity: it was lost."""
        with self._lock:
            part.since, part.view = since, view
            if view is None and part.met:
                part.met = False
                if self._parts.get(part.address) is part:
                    del self._parts[part.address]
                part.stop()
            self._weigh()

    # -- what comes of it

    def _begin(self, addresses: Iterable[Address]) -> None:
        for address in addresses:
            if address not in self._parts and not self._stopped:
                part = self._parts[address] = NodeTracking(self, address)
                part.begin(self._dial(address), self._starts)
        if self._stopped:
            self.stop()

    def _try_to_begin(self, addresses: Iterable[Address]) -> None:
        try:
            self._begin(addresses)
        except (OSError, RuntimeError):  # no descriptor or thread to be had
            self.refuse()

    def _weigh(self, *, forget: bool = False) -> None:
        """Pass on what is known by now, and follow who the primaries are."""
        views = {part.view for part in self._parts.values() if part.view is not None}
        self._try_to_begin(frozenset().union(*views) if views else self._seeds)
        watcher = self._watcher()
        if watcher is None or self._stopped:
            return
        unanimous = [view for view in views if all(self._parts[address].view == view for address in view)]
        agreed = unanimous[0] if len(unanimous) == 1 else None
        if agreed is not None:
            for address, part in list(self._parts.items()):
                part.met = part.met and address not in agreed
                if not part.met and address not in agreed:
                    del self._parts[address]
                    part.stop()
        if agreed != self._agreed or forget:
            self._agreed = agreed
            watcher.changed(None)
        since = -inf
        if agreed is not None:
            if self._parts.keys() >= set(self._reading()):
                since = min(part.since for part in self._parts.values())
            else:
                self._mend()
        watcher.heard(since)


class NodeTracking:
    """One node as it is heard."""

    def __init__(self, whole: ClusterTracking, address: Address) -> None:
        self.address = address
        self.since = -inf
        self.view: frozenset[Address] | None = None
        """Whom it takes for primaries."""
        self.met = False
        """Whether it is here because a redirection led there."""
        self._whole = whole
        self._tracker: ClientTracking | None = None
        self._said: frozenset[Address] | None = None

    def begin(self, dial: Dial, starts: Sequence[str]) -> None:
        self._tracker = ClientTracking(dial, starts, self, ("CLUSTER", "SLOTS"), self._hear, named=False)

    def stop(self) -> None:
        if self._tracker is not None:
            self._tracker.stop()

    def _hear(self, reply: Any) -> None:
        self._said = parse_primaries(reply, self.address)

    def changed(self, keys: Iterable[str] | None) -> None:
        self._whole.changed(keys)

    def heard(self, since: float) -> None:
        self._whole.answered(self, since, self._said if since > -inf else None)

    def refused(self) -> None:
        self._whole.refuse()
