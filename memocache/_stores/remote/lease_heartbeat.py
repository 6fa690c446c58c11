"""Signs of life: one daemon thread renews the leases that this process holds, and gives back those of dead
computations.

A lease is known by its first 8 bytes, random and its holder's own. One that may have been taken, its answer lost, is
given back too, and counts as ours until that is done or it has expired: a process never waits for its own lease.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import Protocol

from memocache._runtime.budget import Budget
from memocache._runtime.singleflight import Flight
from memocache._stores.remote.guard import BackendGuard
from memocache.exceptions import BackendError
from memocache.typing import Guard, Put

_ours: dict[bytes, Flight] = {}
"""The leases that this process knows it holds, by whatever cache, and for which flight."""

_mark = os.urandom(4)
"""What every lease of this process begins with: it also knows those for its own whose replies were lost."""


def mint(random: bytes | None = None) -> bytes:
    """A fresh lease of this process, 8 bytes; `random` are the 4 of them that are its own."""
    return _mark + (os.urandom(4) if random is None else random)


class HeldTogether(Protocol):
    """Leases that are held together, some for computations that have not begun."""

    def loosen(self) -> None:
        """Let others have them, without waiting for anything."""
        ...


class Keeper:
    """The leases held in this process; each is written anew, with a higher beat, every third of its life."""

    def __init__(self, guard: BackendGuard, seconds: float) -> None:
        self._guard = guard
        self._seconds = seconds
        self._held: dict[bytes, tuple[str, float, int, bytes, weakref.ref[object]]] = {}
        self._doomed: dict[bytes, tuple[str, str, float]] = {}
        self._reminded: dict[HeldTogether, float] = {}
        self._wake = threading.Event()
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._resting = False

    def announce(self, held: bytes, flight: Flight) -> None:
        """The lease `held` is being asked for: when it is granted, others here know at once whose it is."""
        _ours[held] = flight

    def hold(self, lease: object, key: str, held: bytes, generations: bytes, channel: str, flight: Flight) -> None:
        """Keep the lease `held` at `key` alive as long as the object `lease` lives and is not forgotten.

        A computation torn down by whatever exception drops its `lease`, and with it the key.
        """
        self.hold_soon(lease, key, held, generations, channel, flight)
        self.start()

    def hold_soon(self, lease: object, key: str, held: bytes, generations: bytes, channel: str, flight: Flight) -> None:
        """As `hold`, for many: who has taken them calls `start`."""
        self.announce(held, flight)
        # the callback may run wherever the collector does: it takes no lock
        ref = weakref.ref(lease, lambda _: self._dropped(key, held, channel))
        self._held[held] = (key, time.monotonic(), 0, generations, ref)

    def _dropped(self, key: str, held: bytes, channel: str) -> None:
        if self._held.pop(held, None) is not None:
            self._doom(key, held, channel)

    def forget(self, held: bytes) -> None:
        """It was not granted, or is renewed no longer."""
        self._held.pop(held, None)
        _ours.pop(held, None)

    def holds(self, value: bytes) -> bool:
        """Whether a lease's value is this process's own."""
        return value[:4] == _mark

    def holder(self, value: bytes) -> Flight | None:
        """The flight of this process that holds the lease, if one does."""
        return _ours.get(value[:8])

    def remind(self, claims: HeldTogether, seconds: float) -> None:
        """Have claims loosened that are held for longer, by up to a sixth of a lease's life."""
        self._reminded[claims] = time.monotonic() + seconds
        self.start()

    def forget_reminder(self, claims: HeldTogether) -> None:
        """These are held no longer."""
        self._reminded.pop(claims, None)

    def let_go(self, key: str, held: bytes, channel: str) -> None:
        """Delete a lease, if it is still `held`, and wake who waits for it; in the background, once the backend
        answers.
        """
        self._doom(key, held, channel)
        self.start()
        self._wake.set()

    def rest(self) -> None:
        """Let the thread end as soon as no lease is held, nor to be given back. The next lease starts another."""
        self._resting = True
        self._wake.set()

    def _doom(self, key: str, held: bytes, channel: str) -> None:
        _ours.pop(held, None)
        self._doomed[held] = (key, channel, time.monotonic() + self._seconds)

    def after_fork(self) -> None:
        """In a child: the leases are the parent's."""
        global _mark
        _mark = os.urandom(4)
        _ours.clear()
        self._held = {}
        self._doomed = {}
        self._reminded = {}
        self._wake = threading.Event()
        self._lock = threading.RLock()
        self._thread = None

    def start(self) -> None:
        """Have the thread run."""
        with self._lock:
            self._resting = False
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="memocache-leases", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # at exit, or no thread to be had: the leases expire by themselves
                    self._thread = None

    def _work(self) -> None:
        idle_since = time.monotonic()
        while True:
            self._wake.wait(self._seconds / 6)
            self._wake.clear()
            self._give_back()
            now = time.monotonic()
            for claims, due in self._reminded.copy().items():
                if now >= due and self._reminded.pop(claims, 0.0):
                    claims.loosen()
            # copies, here and below: the collector may drop a lease between any two steps
            for held, (key, renewed, beat, generations, ref) in self._held.copy().items():
                if now - renewed < self._seconds / 3:
                    continue
                if held in self._held:
                    self._held[held] = (key, now, beat + 1, generations, ref)
                    self._renew(key, held, beat + 1, generations)
            if self._held or self._doomed or self._reminded:
                idle_since = now
            elif self._resting or now - idle_since > 60:
                with self._lock:
                    if not self._held and not self._doomed and not self._reminded:
                        self._thread = None
                        return

    def _renew(self, key: str, held: bytes, beat: int, generations: bytes) -> None:
        value = held + beat.to_bytes(8) + generations
        put = Put(key, value, int(self._seconds * 1000))
        try:
            if self._guard.io("transact", [Guard(key, held)], [put], budget=Budget()).blocking() is not None:
                self.forget(held)  # it is another's by now, or gone
        except BackendError:
            pass  # counted by the guard; a lease that cannot be renewed expires, and nothing else depends on it

    def _give_back(self) -> None:
        well = True
        for held, (key, channel, until) in self._doomed.copy().items():
            if time.monotonic() < until:
                if not well:
                    continue
                io = self._guard.io("transact", [Guard(key, held)], (), [key], publish=channel, budget=Budget())
                try:
                    io.blocking()
                except BackendError:
                    well = False  # the others would fare no better; next time
                    continue
            self._doomed.pop(held, None)
            _ours.pop(held, None)
