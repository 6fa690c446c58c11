"""An observer that logs each event through the standard library.

::

    cache = Cache(observers=[LoggingObserver()])

A line has the event's name, the function's name and figures, and nothing of a call.
"""

from __future__ import annotations

import logging
from typing import Any

from memocache._runtime.humanize import printable
from memocache.instrumentation import BackendFault, Event


class LoggingObserver:
    """Logs every event at `level` on `logger`; backend faults at WARNING.

    Messages hold the event's name, the function's name and figures, never an argument, a key or a value.
    """

    def __init__(self, logger: logging.Logger | None = None, level: int = logging.DEBUG) -> None:
        self._logger = logger or logging.getLogger("memocache")
        self._level = level

    def __call__(self, event: Event) -> None:
        """Log one event."""
        level = logging.WARNING if isinstance(event, BackendFault) else self._level
        if self._logger.isEnabledFor(level):
            function = printable(event.function or "-")
            self._logger.log(level, "%s %s%s", type(event).__name__, function, _details(event))


def _details(event: Any) -> str:
    facts = [(name, getattr(event, name)) for name in event.__slots__ if name != "function"]
    return "".join(
        f" {name}={fact:.6f}" if isinstance(fact, float) else f" {name}={printable(str(fact))}"
        for name, fact in facts
        if fact is not None
    )
