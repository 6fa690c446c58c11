"""The budget of a call: the seconds that it may spend on its backend.

One `Budget` goes with a call through its look-up, its lease and its store, and each request takes from it (promise
5.2). It reads no clock: whoever waited says for how long.
"""

from __future__ import annotations

from typing import Final

CALL_SECONDS: Final = 0.28
"""Of the 300 ms promised for a decorated call: a loop notices up to 10 ms late, and waking takes its time too."""
DIRECT_SECONDS: Final = 5.0
"""For a key-value call or an invalidation, whose caller wants it done."""


class Budget:
    """Seconds that one call may spend on its backend, all requests together."""

    __slots__ = ("left",)

    def __init__(self, seconds: float = CALL_SECONDS) -> None:
        self.left = seconds
