"""Why calls miss: what this process remembers of the places that it looks for in vain.

A look-up that finds something knows by itself why it cannot be served: it is past its time, was invalidated, or cannot
be read. Of a place with nothing there is only what this process did: it stored there, was refused, or forgot. Each
process judges by what it did itself and still remembers; a place it knows nothing of is cold. Pure policy: times are
passed in, in seconds of one clock.
"""

from __future__ import annotations

from typing import Final

from memocache.stats import COLD, EVICTED, EXPIRED

REMEMBERED: Final = 8192
"""Places of which the last thing is remembered, at most; at least the half of them, the newest."""
_GRACE = 0.01  # seconds before its end at which something may be gone: servers count whole milliseconds


class Causes:
    """The last thing that happened at each of the places, which are known by a hash, that this process last changed.

    Two generations of dicts, changed in single steps: threads need no lock. One that comes between may lose a place.
    """

    __slots__ = ("_half", "_old", "_young")

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._half = max(1, remembered // 2)
        self._young: dict[int, float | str] = {}
        self._old: dict[int, float | str] = {}

    def stored(self, place: int, until: float) -> None:
        """Something was stored there that is fresh until then."""
        self._note(place, until)

    def gone(self, place: int, cause: str) -> None:
        """What was there is no more, or what was to be stored there was not: for one of `CAUSES`."""
        self._note(place, cause)

    def why(self, place: int, now: float) -> str:
        """Why there is nothing at a place."""
        young, old = self._young, self._old
        last = young.get(place, old.get(place))
        if last is None:
            return COLD
        if isinstance(last, str):
            return last
        return EXPIRED if now >= last - _GRACE else EVICTED

    def _note(self, place: int, last: float | str) -> None:
        young = self._young
        young[place] = last
        if len(young) >= self._half:
            self._old, self._young = young, {}
