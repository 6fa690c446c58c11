"""Whether this Python runs without its global lock, and the lock under which the compiled look-up then counts.

With the global lock ``hits += 1`` is exact, since threads change only at calls; without it two threads may count once.
Which value is served needs neither lock: every step on which that rests is one operation of a dict.
"""

from __future__ import annotations

import sys
import threading
from typing import Final

FREE_THREADED: Final[bool] = not getattr(sys, "_is_gil_enabled", lambda: True)()
COUNTING: Final = threading.Lock()
